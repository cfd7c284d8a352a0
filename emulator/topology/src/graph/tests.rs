use std::path::Path as FilePath;

use super::*;
use crate::shipped::{self, topology as shipped};

fn id(text: &str) -> NodeId {
    NodeId::new(text).unwrap()
}

#[test]
fn a_drawing_is_the_same_every_time_and_names_every_node() {
    for name in shipped::names() {
        let topology = shipped(name);
        let drawing = Drawing { title: Some("a <title>".to_owned()), ..Drawing::default() };
        let text = svg(&topology, &drawing);
        assert_eq!(text, svg(&topology, &drawing));
        assert!(text.contains("a &lt;title&gt;"));
        assert_eq!(text.matches("<title>").count(), topology.links().len());
        for node in topology.nodes().keys() {
            assert!(text.contains(&format!(">{node}</text>")), "{name} lacks {node}");
        }
    }
}

#[test]
fn no_two_nodes_of_a_shipped_topology_overlap() {
    for name in shipped::names() {
        let places: Vec<_> = layout(&shipped(name)).into_iter().collect();
        for (i, (a, p)) in places.iter().enumerate() {
            for (b, q) in &places[i + 1..] {
                let apart = (p.x - q.x).abs() > 0.6 || (p.y - q.y).abs() > 0.4;
                assert!(apart, "{name}: {a} at {p:?} and {b} at {q:?}");
            }
        }
    }
}

#[test]
fn paths_are_drawn_and_explained() {
    let topology = shipped("fig2");
    let path =
        |label: &str, nodes: &[&str]| Path { label: label.to_owned(), nodes: nodes.iter().map(|n| id(n)).collect() };
    let plain = svg(&topology, &Drawing::default());
    let paths = vec![
        path("pod-1 to /B", &["pod-1", "sg-1", "sr-right", "sg-4", "pod-4"]),
        path("with & unknown", &["pod-1", "nobody", "sg-1"]),
    ];
    let text = svg(&topology, &Drawing { paths, ..Drawing::default() });
    assert_eq!(text.matches("<polygon").count(), 2, "an arrow for each path");
    // Four hops, one hop (the unknown node is skipped), two lines in the legend.
    assert_eq!(text.matches("<line").count() - plain.matches("<line").count(), 4 + 1 + 2);
    assert!(text.contains("with &amp; unknown"));
}

#[test]
fn labels_say_what_differs() {
    let topology = shipped("ring");
    let labels = link_labels(&topology, Labels::Different);
    let of = |a: &str, b: &str| {
        let index = topology.links().iter().position(|link| (link.a.as_str(), link.b.as_str()) == (a, b)).unwrap();
        labels[index].joined()
    };
    assert_eq!(of("sr-1", "sr-2"), "→ cost 1 ← cost 5");
    assert_eq!(of("sg-1", "sr-1"), "");
    assert_eq!(of("sg-3", "sr-2"), "cost 10");
    assert!(
        link_labels(&topology, Labels::All)
            .iter()
            .all(|label| label.joined().starts_with("delay 1ms rate 1gbit cost") || label.joined().starts_with("→"))
    );
}

#[test]
fn line_for_other_tools() {
    let topology = shipped("line");
    insta::assert_snapshot!("line_mermaid", mermaid(&topology));
}

#[test]
fn every_shipped_topology_is_drawn_like_this() {
    for name in shipped::names() {
        insta::assert_snapshot!(format!("{name}_dot"), dot(&shipped(name)));
    }
}

#[test]
fn the_largest_topology_is_drawn_in_bounded_work() {
    let count = 600;
    let nodes: String = (0..count).map(|i| format!("  r{i}: {{ kind: sr }}\n")).collect();
    let links: String = (1..count).map(|i| format!("  - [r{}, r{i}]\n", i / 2)).collect();
    let topology =
        crate::parse("x", &format!("name: x\ndomain: d\nnodes:\n{nodes}links:\n{links}"), FilePath::new("")).unwrap();
    assert!(layout(&topology).values().all(|point| point.x.is_finite() && point.y.is_finite()));
}
