//! `damc sweep`: what it says, and every mistake at once.

use crate::transcript::Transcript;

/// `line`, with a link that has a name.
const NAMED: &str = "  - { name: wan, between: [sg-1, sr-1] }\n";

#[test]
fn over_values_and_seeds() {
    let mut said = sweeps("sweep");
    said.damc("sweep FOLDER/wan.yaml --virtual --seeds 1..2 --set links.wan.delay=1ms,20ms --case rmi-02 --jobs 1 --results FOLDER/results")
        .damc("sweep FOLDER/wan.yaml --virtual --seeds 1..2 --set links.wan.delay=1ms,20ms --case rmi-02 --jobs 1 --results FOLDER/results")
        .damc("run FOLDER/wan.yaml --virtual --seed 1 --set links.wan.delay=1 --results FOLDER/results")
        .damc("run FOLDER/wan.yaml --virtual --seed 1 --set links.lan.delay=1ms --results FOLDER/results")
        .damc("run FOLDER/wan.yaml --virtual --seed 1 --set links");
    insta::assert_snapshot!(said.text());
    let runs = std::fs::read_dir(said.folder().join("results/sweeps")).expect("a sweep").next().expect("its folder");
    let table = std::fs::read_to_string(runs.expect("a folder").path().join("runs.csv")).expect("runs.csv");
    let calls: Vec<f64> =
        table.lines().skip(1).map(|row| row.split(',').next_back().unwrap().parse().unwrap()).collect();
    let [near, .., far] = calls[..] else { panic!("{table}") };
    assert!(far > near + 30.0, "a round trip over 20 ms instead of 1 ms: {table}");
}

#[test]
fn mistakes_are_told_all_at_once() {
    let mut said = sweeps("sweeps");
    let bad = said.folder().join("bad.yaml");
    std::fs::write(bad, "name: bad\nnodes: {}\n").expect("our own folder");
    said.damc("sweep")
        .damc("sweep nowhere --seeds 5..1")
        .damc("sweep FOLDER/bad.yaml --set a=1")
        .damc(
            "sweep FOLDER/wan.yaml --virtual --seeds 1,x --set links.wan.delay=10ms,10,20 --set links.lan.rate=1gbit \
             --set defaults.link.dely=1ms --set links.wan=1 --set qos.probe.interval=1ms,,2ms --set name",
        )
        .damc("sweep FOLDER/wan.yaml --virtual --seeds 1..2 --jobs 1 --case no-such-case --results FOLDER/none")
        .damc("sweep FOLDER/wan.yaml --virtual --links relay")
        .damc("sweep collect FOLDER")
        .damc("sweep collect");
    insta::assert_snapshot!(said.text());
}

/// A transcript whose folder has a topology with a named link.
fn sweeps(name: &str) -> Transcript {
    let said = Transcript::new(name).vary(r"(sweeps/[a-z]+)-[0-9a-f]{8}", "$1-ID").vary(r"about \d+ \w+", "about N s");
    let line = include_str!("../../../../topologies/line.yaml");
    let text = line.replace("  - [sg-1, sr-1]\n", NAMED);
    assert!(text.contains("wan"));
    std::fs::write(said.folder().join("wan.yaml"), text).expect("our own folder");
    said
}
