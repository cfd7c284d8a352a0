//! Topology files that cannot be read: what is said of them.

use std::path::Path;

use damc_lab::topology_file::load;
use damc_topology::{MistakeKind, Mistakes};
use miette::{GraphicalReportHandler, GraphicalTheme};

fn render(mistakes: &Mistakes) -> String {
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(120);
    let mut text = String::new();
    handler.render_report(&mut text, mistakes).unwrap();
    text
}

#[test]
fn files_that_cannot_be_read_say_so() {
    let missing = load(Path::new("/no/such/file.yaml")).unwrap_err();
    assert_eq!(missing.listed()[0].kind, MistakeKind::Unreadable);
    insta::assert_snapshot!("unreadable", render(&missing));
    let folder = load(Path::new("/")).unwrap_err();
    assert_eq!(folder.listed()[0].kind, MistakeKind::Unreadable);
}

#[test]
fn binary_garbage_is_no_topology() {
    let garbage = load(&std::env::current_exe().unwrap()).unwrap_err();
    assert!(matches!(garbage.listed()[0].kind, MistakeKind::NotYaml | MistakeKind::TooLarge));
    // Endless: read up to the limit and no further.
    let endless = load(Path::new("/dev/zero")).unwrap_err();
    assert_eq!(endless.listed()[0].kind, MistakeKind::TooLarge);
}
