//! `damc compare`: of runs and sweeps in virtual time, as they are and with something planted.

use std::path::{Path, PathBuf};

use crate::transcript::Transcript;

/// Runs `line` and returns its folder.
fn run(said: &Transcript, results: &str, seed: u64) -> PathBuf {
    let line = format!("run line --virtual --seed {seed} --case rmi-0* --results FOLDER/{results}");
    let output = said.run(&line);
    let folder = said.folder().join(results).join("latest").canonicalize();
    folder.unwrap_or_else(|error| panic!("{line}: {error}\n{}", String::from_utf8_lossy(&output.stderr)))
}

/// Puts other text into a file; what is to be replaced must be there.
fn edit(file: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    assert!(text.contains(from), "{} has no {from}:\n{text}", file.display());
    std::fs::write(file, text.replacen(from, to, 1)).expect("our own folder");
}

fn compares(test: &str) -> Transcript {
    Transcript::new(test)
        .vary(r"\d{8}T\d{6}Z-[0-9a-f]{8}", "RUN")
        .vary(r"compare [0-9a-f]{8} ", "compare ID ")
        .vary(r"│ [0-9a-f]{12} +│ [0-9a-f]{12} +│", "│ HASH │ HASH │")
}

#[test]
fn runs() {
    let mut said = compares("compare");
    let (a, again, other) = (run(&said, "a", 7), run(&said, "again", 7), run(&said, "b", 8));
    said.damc("compare FOLDER/a/latest FOLDER/again/latest --fail-on-regression")
        .damc("compare FOLDER/a/latest FOLDER/b/latest --fail-on-regression");
    // A case that passed fails, and a router has another route.
    edit(
        &again.join("report.json"),
        "\"verdict\": \"pass\"",
        "\"verdict\": \"fail\", \"reason\": \"lost 3 of 10 calls\"",
    );
    edit(&again.join("fib/sr-1.txt"), "sg-2", "sg-1");
    said.damc("compare FOLDER/a/latest FOLDER/again/latest")
        .damc("compare FOLDER/a/latest FOLDER/again/latest --fail-on-regression");
    edit(
        &other.join("report.json"),
        "\"verdict\": \"pass\"",
        "\"verdict\": \"inconclusive\", \"reason\": \"the host stalled\"",
    );
    said.damc("compare FOLDER/a/latest FOLDER/b/latest --fail-on-regression");
    let name = a.file_name().expect("a folder").to_string_lossy().into_owned();
    let id = name.rsplit('-').next().expect("an id");
    said.damc(&format!("compare {id} latest --results FOLDER/a"))
        .damc("compare FOLDER/a/latest nothing --results FOLDER/a")
        .damc("compare FOLDER/a/latest FOLDER/b")
        .damc("compare latest");
    insta::assert_snapshot!(said.text());
    let json = said.run("compare FOLDER/a/latest FOLDER/again/latest --json").stdout;
    let comparison: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(comparison["conclusion"], "regression", "{comparison}");
    assert_eq!(comparison["verdicts"]["changed"][0]["shift"], "worse", "{comparison}");
    assert_eq!(comparison["fibs"][0]["node"], "sr-1", "{comparison}");
}

#[test]
fn sweeps() {
    let mut said = compares("comparesweeps");
    let line = include_str!("../../../../topologies/line.yaml");
    let text = line.replace("  - [sg-1, sr-1]\n", "  - { name: wan, between: [sg-1, sr-1] }\n");
    assert!(text.contains("wan"));
    std::fs::write(said.folder().join("wan.yaml"), text).expect("our own folder");
    let sweep = |said: &Transcript, results: &str, seeds: &str, delay: &str| {
        let line = format!(
            "sweep FOLDER/wan.yaml --virtual --seeds {seeds} --set links.wan.delay={delay} --case rmi-02 --jobs 1 \
             --results FOLDER/{results}"
        );
        let output = said.run(&line);
        assert!(output.status.success(), "{line}: {output:?}");
        let made = std::fs::read_dir(said.folder().join(results).join("sweeps")).expect("a folder of sweeps");
        let made = made.into_iter().next().expect("a sweep").expect("its folder").path();
        // Its name follows from the text of the topology.
        std::fs::rename(made, said.folder().join(format!("sweep-{results}"))).expect("our own folder");
        format!("FOLDER/sweep-{results}")
    };
    let before = sweep(&said, "before", "1..6", "1ms");
    let again = sweep(&said, "again", "11..16", "1ms");
    let slower = sweep(&said, "slower", "11..16", "3ms");
    said.damc(&format!("compare {before} {again} --fail-on-regression"));
    assert!(said.text().contains("NO REGRESSION"), "two sweeps of the same network:\n{}", said.text());
    said.damc(&format!("compare {before} {slower} --fail-on-regression"))
        .damc(&format!("compare {slower} {before} --fail-on-regression"));
    let run = format!("{before}/runs/p1-s1");
    said.damc(&format!("compare {before} {run}"));
    insta::assert_snapshot!(said.text());
}
