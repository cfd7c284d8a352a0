//! `damc explore`: what it leaves and how it exits. Its numbers depend on nothing but topology and seed, not on how many
//! schedules go at once.

use serde_json::Value;

use crate::transcript::Transcript;

fn explored(said: &Transcript, line: &str) -> (Value, Option<i32>) {
    let output = said.run(line);
    let text = String::from_utf8_lossy(&output.stdout);
    let report = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{line}: {e}: {output:?}"));
    (report, output.status.code())
}

#[test]
fn a_sound_network_and_the_same_again_with_other_jobs() {
    let said = Transcript::new("explore");
    let (one, code) = explored(&said, "explore line --schedules 4 --seed 2 --jobs 1 --out FOLDER/one --json");
    assert_eq!((code, &one["schedules"], &one["violations"]), (Some(0), &4.into(), &Value::Array(Vec::new())));
    assert!(one["states"].as_u64().is_some_and(|states| states > 40), "{one}");
    let (two, _) = explored(&said, "explore line --schedules 4 --seed 2 --jobs 3 --out FOLDER/two --json");
    for key in ["states", "looks", "events", "topology", "seed"] {
        assert_eq!(one[key], two[key], "{key}");
    }
    let (other, _) = explored(&said, "explore line --schedules 4 --seed 3 --out FOLDER/other --json");
    assert_ne!(one["events"], other["events"]);
}

#[test]
fn what_cannot_be_explored() {
    let mut said = Transcript::new("explored");
    said.damc("explore --for 5")
        .damc("explore --for 5s --schedules 3")
        .damc("explore --schedules 0")
        .damc("explore nowhere");
    let text = said.text();
    assert_eq!(text.matches("[exit 2]").count(), 4, "{text}");
    assert!(text.contains("`` is no unit of time") && text.contains("there is no topology `nowhere`"), "{text}");
}
