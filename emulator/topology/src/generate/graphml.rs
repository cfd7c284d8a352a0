//! GraphML (graphml.graphdrawing.org), as far as the Topology Zoo uses it.

use std::collections::BTreeMap;

use roxmltree::{Document, Node};

use super::Backbone;
use super::import::{Line, Place, assemble};

/// Reads a map.
pub(super) fn read(text: &str) -> Result<Backbone, String> {
    let document = Document::parse(text).map_err(|e| format!("line {}: {e}", e.pos().row))?;
    let elements = |name: &'static str| document.descendants().filter(move |n| is_element(n, name));
    // What `<data key="d5">` means is declared by `<key id="d5" attr.name="Latitude">`.
    let meanings: BTreeMap<&str, &str> =
        elements("key").filter_map(|key| Some((key.attribute("id")?, key.attribute("attr.name")?))).collect();
    let member = |of: Node<'_, '_>, name: &str| {
        let data = of.children().filter(|n| is_element(n, "data"));
        let mut named = data.filter(|d| d.attribute("key").and_then(|key| meanings.get(key)) == Some(&name));
        named.next().and_then(|d| d.text()).map(ToOwned::to_owned)
    };
    let graph = elements("graph").next().ok_or("there is no <graph> in it")?;
    let label = member(graph, "label").or_else(|| member(graph, "Network")).unwrap_or_default();
    let mut places = Vec::new();
    for node in elements("node") {
        let id = node.attribute("id").ok_or_else(|| at(&document, node, "a <node> has no id"))?;
        let number = |name| member(node, name).and_then(|text| text.parse().ok());
        places.push(Place {
            id: id.to_owned(),
            label: member(node, "label"),
            latitude: number("Latitude"),
            longitude: number("Longitude"),
        });
    }
    let mut lines = Vec::new();
    for edge in elements("edge") {
        let end = |name: &str| {
            edge.attribute(name)
                .map(ToOwned::to_owned)
                .ok_or_else(|| at(&document, edge, &format!("an <edge> has no {name}")))
        };
        let bits_per_second = member(edge, "LinkSpeedRaw").and_then(|text| text.parse().ok());
        lines.push(Line { source: end("source")?, target: end("target")?, bits_per_second });
    }
    assemble(label, places, &lines)
}

fn at(document: &Document<'_>, node: Node<'_, '_>, what: &str) -> String {
    format!("line {}: {what}", document.text_pos_at(node.range().start).row)
}

/// Whether this is an element of that name, in whatever namespace.
fn is_element(node: &Node<'_, '_>, name: &str) -> bool {
    node.is_element() && node.tag_name().name() == name
}
