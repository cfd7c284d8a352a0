//! Commands that need no lab and no privilege, and mistakes in their use.

use crate::transcript::Transcript;

#[test]
fn check() {
    let mut said = Transcript::new("check");
    let bad = said.folder().join("bad.yaml");
    let text =
        "name: bad\ndomain: example\nnodes:\n  sr-1: { kind: sr }\n  pod-1: { kind: pods }\nlinks:\n  - [sr-1, sr-2]\n";
    std::fs::write(bad, text).expect("our own folder");
    said.damc("check line")
        .damc("check line fig2 tiered")
        .damc("check --json line")
        .damc("check FOLDER/bad.yaml")
        .damc("check line FOLDER/bad.yaml --json")
        .damc("check fig3")
        .damc("check FOLDER/none.yaml")
        .damc("check");
    insta::assert_snapshot!(said.text());
}

#[test]
fn init() {
    let mut said = Transcript::new("init");
    let folder = said.folder().clone();
    let file = |name: &str| std::fs::read_to_string(folder.join(name)).expect(name);
    said.damc("init FOLDER/mine.yaml").damc("init FOLDER/mine.yaml").damc("init FOLDER/other.yaml");
    said.damc("init FOLDER/Not-A-Name.yaml").damc("init FOLDER/none/mine.yaml");
    said.damc("check FOLDER/mine.yaml");
    insta::assert_snapshot!(said.text());
    let judged = said.run("run FOLDER/mine.yaml --virtual --case rib-01 --seed 1 --results FOLDER/results");
    assert!(judged.status.success(), "{judged:?}");
    let schema: serde_json::Value = serde_json::from_str(&file("topology.schema.json")).expect("JSON");
    assert_eq!(schema["$id"], "urn:damc-testbed:schema:topology:1");
    assert_eq!(file("other.yaml"), file("mine.yaml").replace("mine", "other"));
}

/// What an installed command has to work with: nothing beside it, and a home.
#[test]
fn shipped_topologies_are_inside_the_command() {
    let mut said = Transcript::new("alone");
    let (home, bin) = (said.folder().join("home"), said.folder().join("bin"));
    std::fs::create_dir_all(&home).expect("our own folder");
    std::fs::create_dir_all(&bin).expect("our own folder");
    let alone = bin.join("damc");
    // By a process of its own: a child that another test starts meanwhile would inherit the descriptor that writes here, and
    // no file is executed while somebody may write to it.
    let copied = std::process::Command::new("cp").arg(env!("CARGO_BIN_EXE_damc")).arg(&alone).status();
    assert!(copied.is_ok_and(|status| status.success()), "a copy of the command");
    let run = |line: &str, home: Option<&std::path::Path>| {
        let mut command = std::process::Command::new(&alone);
        command.args(line.split(' ')).current_dir(&bin).env_remove("XDG_CACHE_HOME").env_remove("DAMC_TOPOLOGIES");
        match home {
            Some(home) => command.env("HOME", home),
            None => command.env_remove("HOME"),
        };
        command.output().expect("the copy starts")
    };
    let checked = run("check fig2 shop line", Some(&home));
    assert!(checked.status.success(), "{checked:?}");
    let simulated = run("simulate line", Some(&home));
    assert!(simulated.status.success(), "{simulated:?}");
    let cached: Vec<_> = std::fs::read_dir(home.join(".cache/damc")).expect("a cache").collect();
    assert_eq!(cached.len(), 1, "{cached:?}");
    let cached = cached.into_iter().next().expect("one folder").expect("its entry").path();
    assert!(cached.join("apps/shop.py").is_file() && cached.join("fig2.yaml").is_file(), "{}", cached.display());
    let homeless = run("plan fig2", None);
    assert_eq!(homeless.status.code(), Some(3), "{homeless:?}");
    let text = String::from_utf8_lossy(&homeless.stderr).into_owned();
    assert!(text.contains("set HOME or XDG_CACHE_HOME"), "{text}");
    said.damc("check nowhere");
    assert!(said.text().contains("inside the command"), "{}", said.text());
}

#[test]
fn version_completions_and_man_pages() {
    let mut said = Transcript::new("man");
    let version = String::from_utf8(said.run("--version").stdout).expect("text");
    let form = regex::Regex::new(r"^damc \d+\.\d+\.\d+ \(([0-9a-f]{12}|no commit known)\)\n$").expect("a pattern");
    assert!(form.is_match(&version), "{version}");
    for (shell, holds) in [("bash", "damc__subcmd__run"), ("zsh", "#compdef damc"), ("fish", "complete -c damc")] {
        let script = String::from_utf8(said.run(&format!("completions {shell}")).stdout).expect("text");
        assert!(script.contains(holds) && script.contains("keep-on-failure"), "{shell}: {script}");
    }
    let page = String::from_utf8(said.run("man link").stdout).expect("text");
    assert!(page.contains(".TH damc-link 1") && page.contains("Show or change a link"), "{page}");
    said.damc("completions cmd").damc("man dance").damc("man --to FOLDER/man").damc("man run --to FOLDER/man");
    insta::assert_snapshot!(said.text());
    let help = String::from_utf8(said.run("--help").stdout).expect("text");
    for name in crate::help::subcommands(&help) {
        assert!(said.folder().join(format!("man/damc-{name}.1")).is_file(), "no page of {name}");
    }
    assert!(said.folder().join("man/damc.1").is_file());
}

#[test]
fn plan_graph_and_generate() {
    let mut said = Transcript::new("plan");
    said.damc("plan line")
        .damc("plan line --lab other --seed 7")
        .damc("plan line --seed x")
        .damc("graph line --format mermaid")
        .damc("graph line --format dot --path sg-1,sr-1,sg-2")
        .damc("graph line --path sg-1,sg-2")
        .damc("graph line --format png")
        .damc("generate ring --nodes 3 --gateways 2")
        .damc("generate tree --nodes 0")
        .damc("import FOLDER/none.gml")
        .damc("import topologies/line.yaml");
    insta::assert_snapshot!(said.text());
}

#[test]
fn simulate_repeats_itself() {
    let mut said = Transcript::new("simulate").vary(r"\b\d+(\.\d+)?\b", "N");
    said.damc("simulate line").damc("simulate line --seed 2 --within 0").damc("simulate nowhere");
    insta::assert_snapshot!(said.text());
    let json = |line| said.run(line).stdout;
    let (first, again) = (json("simulate line --seed 3 --json"), json("simulate line --seed 3 --json"));
    assert!(!first.is_empty());
    let parse = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).expect("JSON");
    // What the run cost this machine is set apart from what happened in virtual time.
    let result = |mut value: serde_json::Value| {
        assert!(value.as_object_mut().expect("an object").remove("host").is_some(), "no host in {value}");
        value
    };
    assert_eq!(result(parse(&first)), result(parse(&again)));
}

#[test]
fn without_a_lab() {
    let mut said = Transcript::new("nolab");
    said.damc("ps")
        .damc("ps --json")
        .damc("down")
        .damc("down nope")
        .damc("show sr-1 fib")
        .damc("logs sr-1")
        .damc("exec sr-1 -- true")
        .damc("link a b show")
        .damc("node sr-1 kill")
        .damc("call pod-1 /B/2 ping")
        .damc("capture sr-1")
        .damc("show sr-1 fib --lab nope");
    insta::assert_snapshot!(said.text());
}

#[test]
fn why_of_a_run() {
    let mut said = Transcript::new("why");
    let run = said.run("run line --virtual --seed 7 --case reg-02 --results FOLDER/results");
    assert!(said.folder().join("results/latest/state/end.json").exists(), "{}", String::from_utf8_lossy(&run.stderr));
    said.damc("why sg-1 /B/2 --run FOLDER/results/latest")
        .damc("why-not sr-1 /B/2/and/more --run FOLDER/results/latest")
        .damc("why-not sr-1 /nowhere --run FOLDER/results/latest")
        .damc("why sr-9 /B/2 --run FOLDER/results/latest")
        .damc("why pod-1 /B/2 --run FOLDER/results/latest")
        .damc("why sr-1 B/2 --run FOLDER/results/latest")
        .damc("why 0123456789abcdef --run FOLDER/results/latest")
        .damc("why sr-1 /B/2 --run FOLDER/results/latest --case reg-02")
        .damc("why sr-1 /B/2 --run FOLDER")
        .damc("why-not sr-1")
        .damc("why sr-1 /B/2 --lab x --run FOLDER");
    insta::assert_snapshot!(said.text());
    let json = said.run("why sg-1 /B/2 --run FOLDER/results/latest --json").stdout;
    let chain: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(chain["question"], "why sg-1 /B/2");
    assert!(chain["steps"].as_array().is_some_and(|steps| steps.iter().any(|step| step["mark"] == "root")), "{chain}");
}

#[test]
fn mistakes_of_usage() {
    let mut said = Transcript::new("usage");
    said.damc("")
        .damc("emulate fig2")
        .damc("run")
        .damc("run fig3")
        .damc("run line --suite everything")
        .damc("run line --links rope")
        .damc("run line --kernel minix")
        .damc("run line --case no-such-case")
        .damc("up line --seed -1")
        .damc("show sr-1")
        .damc("node sr-1 hug")
        .damc("link a b twist")
        .damc("top");
    insta::assert_snapshot!(said.text());
}
