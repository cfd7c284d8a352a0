//! The help of the command and of each subcommand.

use crate::transcript::Transcript;

/// The subcommands that `damc --help` lists.
pub fn subcommands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // A long description goes on in lines that are indented further.
    let starts = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    starts.filter_map(|line| line.split_whitespace().next()).map(String::from).filter(|name| name != "help").collect()
}

#[test]
fn of_every_command() {
    let mut help = Transcript::new("help");
    help.damc("--help");
    let names = subcommands(help.text());
    assert!(names.len() >= 18, "found only {names:?}");
    insta::assert_snapshot!("damc", help.text());
    for name in names {
        let mut help = Transcript::new("help");
        help.damc(&format!("{name} --help"));
        insta::assert_snapshot!(name, help.text());
    }
}
