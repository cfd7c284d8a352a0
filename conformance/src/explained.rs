//! What a run leaves for `damc why`, and what that says of a case that did not pass.

use std::collections::BTreeSet;

use damc_explain::{Evidence, Frames, Mark, Passing, course};
use damc_wire::Name;

use crate::chronicle::{Chronicle, telemetry};
use crate::report::{RunFolder, Timelines};
use crate::testbed::Testbed;
use crate::verdict::CaseResult;

/// Events of a node in the evidence of one case.
const EVENTS_OF_CASE: usize = 500;
/// Nodes and names of a reason that are asked about.
const ASKED: usize = 2;

/// Writes what the world and its nodes say at the end of a case that did not pass, and adds to its evidence why the tables
/// are as they are that its reason speaks of.
pub async fn of_case(testbed: &Testbed, from_ns: u64, folder: &mut RunFolder, result: &mut CaseResult) {
    let Some(mut evidence) = gathered(testbed).await else { return };
    evidence.nodes.values_mut().for_each(|witness| witness.keep_newest(EVENTS_OF_CASE));
    folder.write(&format!("state/{}.json", result.id), serde_json::to_string(&evidence).unwrap_or_default());
    let asked = pairs(&evidence, result.verdict.reason());
    if asked.is_empty() {
        return;
    }
    let frames = frames(testbed, from_ns).await;
    for (node, name) in asked {
        let Ok(chain) = damc_explain::why(&evidence, &frames, &node, &name) else { continue };
        result.evidence.push(format!("why: {}", chain.answer));
        for root in chain.roots() {
            let rule = root.rule.filter(|_| root.mark == Mark::Broken).map(|rule| format!(", which breaks {rule}"));
            result.evidence.push(format!("why: root: {}: {}{}", root.node, root.what, rule.unwrap_or_default()));
        }
    }
}

/// Writes tables at the end of a run, the events that each node remembers, and the course of the run.
pub async fn at_end(testbed: &Testbed, chronicle: &Chronicle, folder: &mut RunFolder) {
    let Some(mut evidence) = gathered(testbed).await else { return };
    let began_ns = evidence.began_ns;
    let timelines = Timelines {
        course: course(&evidence, chronicle.converged_ns.saturating_sub(began_ns), chronicle.crossings()),
        cases: chronicle.cases(began_ns),
        calls: chronicle.calls(began_ns),
        paths: telemetry(testbed, began_ns).await,
    };
    folder.write_text("course.json", serde_json::to_string(&timelines).unwrap_or_default());
    for (node, witness) in &mut evidence.nodes {
        let events = std::mem::take(&mut witness.events).into_iter();
        let lines: String = events.filter_map(|event| Some(serde_json::to_string(&event).ok()? + "\n")).collect();
        folder.write_text(&format!("events/{node}.jsonl"), lines);
    }
    folder.write("state/end.json", serde_json::to_string(&evidence).unwrap_or_default());
}

async fn gathered(testbed: &Testbed) -> Option<Evidence> {
    // A world that is gone has nothing to tell; the report says that it is.
    let evidence = Evidence::gather(&*testbed.lab).await.ok()?;
    Some(Evidence { realtime_offset_ns: testbed.lab.recorded().realtime_offset_ns, ..evidence })
}

/// The frames of a case.
async fn frames(testbed: &Testbed, from_ns: u64) -> Frames {
    let mut frames = Frames::default();
    let records = testbed.records(from_ns).await.map(|(_, records)| records).unwrap_or_default();
    for record in &records {
        let (node, port, sent) = (record.node.as_str(), record.port.as_str(), record.sent);
        frames.note(&Passing { node, port, sent, at_ns: record.at_ns, frame: &record.frame, place: None });
    }
    frames
}

/// Routers and names in a reason, each with each.
fn pairs(evidence: &Evidence, reason: &str) -> Vec<(String, String)> {
    let words = || reason.split(|c: char| c.is_whitespace() || ",;:()'\"".contains(c));
    let is_router = |word: &&str| evidence.nodes.get(*word).is_some_and(|witness| witness.fib.is_some());
    let is_name = |word: &&str| word.len() > 1 && word.starts_with('/') && word.parse::<Name>().is_ok();
    let nodes: BTreeSet<&str> = words().filter(is_router).collect();
    let names: BTreeSet<&str> = words().filter(is_name).collect();
    let each = nodes.iter().take(ASKED).flat_map(|node| names.iter().take(ASKED).map(move |name| (*node, *name)));
    each.map(|(node, name)| (node.to_owned(), name.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use damc_explain::Witness;
    use damc_mgmt::view::FibView;

    use super::*;

    #[test]
    fn a_reason_asks_about_its_routers_and_names() {
        let router = Witness { fib: Some(FibView::default()), ..Witness::default() };
        let nodes = [("sr-left", router.clone()), ("sg-1", router), ("pod-1", Witness::default())];
        let nodes = nodes.map(|(node, witness)| (node.to_owned(), witness)).into();
        let evidence = Evidence { nodes, ..Evidence::default() };
        let reason = "expected within 500 ms: sr-left routes /A/1; saw: no entry (pod-1, sg-2)";
        assert_eq!(pairs(&evidence, reason), [("sr-left".to_owned(), "/A/1".to_owned())]);
        assert_eq!(pairs(&evidence, "expected: 12 ms / hop; saw: 15 ms"), []);
    }
}
