//! The boxes: nodes, links, policies and changes.

use damc_lab::control::{LinkStatus, NodeStatus};
use damc_mgmt::words::AdjacencyState;
use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::widgets::{Block, Cell, Row, Table, TableState};

use super::paint::Paint;
use crate::measure::{Triple, count};
use crate::state::{Pane, Top};

pub(super) fn nodes(top: &Top, frame: &mut Frame<'_>, area: Rect, paint: Paint) {
    let head = ["node", "kind", "state", "adj.", "LSAs", "calls/s", "frames/s", "drops/s", "memory"];
    let widths = [
        Constraint::Min(12),
        Constraint::Length(4),
        Constraint::Length(8),
        Constraint::Length(5),
        Constraint::Length(5),
        Constraint::Length(7),
        Constraint::Length(8),
        Constraint::Length(7),
        Constraint::Length(8),
    ];
    let rows = top.now.status.nodes.iter().map(|node| node_row(top, node, paint));
    let title = format!("nodes {}", top.now.status.nodes.len());
    table(top, frame, area, paint, Pane::Nodes, &title, Some(Row::new(head)), rows.collect(), &widths);
}

fn node_row(top: &Top, node: &NodeStatus, paint: Paint) -> Row<'static> {
    let look = top.now.nodes.get(&node.name);
    let full = look.and_then(|look| look.neighbors.as_ref()).map(|view| {
        let full = view.neighbors.iter().filter(|neighbor| neighbor.state == AdjacencyState::Full).count();
        format!("{full}/{}", view.neighbors.len())
    });
    let lsas = look
        .and_then(|look| look.counters.as_ref())
        .map(|counters| counters.protocol.get(damc_mgmt::words::ProtocolCounter::Lsas).to_string());
    let rates = top.per_second(&node.name);
    let said = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let state = node.state.label();
    Row::new([
        Cell::from(node.name.clone()),
        Cell::from(node.kind.clone()),
        Cell::from(state).style(paint.state(state)),
        Cell::from(said(full)),
        Cell::from(said(lsas)),
        Cell::from(said(rates.map(|rates| count(rates.calls)))),
        Cell::from(said(rates.map(|rates| count(rates.frames)))),
        Cell::from(said(rates.map(|rates| count(rates.drops)))),
        Cell::from(format!("{:.1} MB", node.resident_bytes as f64 / 1e6)),
    ])
}

pub(super) fn links(top: &Top, frame: &mut Frame<'_>, area: Rect, paint: Paint) {
    let head = ["link", "state", "asked", "→ bit/s delay loss", "← bit/s delay loss"];
    let widths = [
        Constraint::Min(19),
        Constraint::Length(6),
        Constraint::Length(13),
        Constraint::Length(18),
        Constraint::Length(18),
    ];
    let count = top.now.status.links.len();
    let rows = (0..count).filter_map(|number| Some(link_row(top, top.now.link(number)?, paint)));
    let title = format!("links {count}");
    table(top, frame, area, paint, Pane::Links, &title, Some(Row::new(head)), rows.collect(), &widths);
}

fn link_row(top: &Top, link: &LinkStatus, paint: Paint) -> Row<'static> {
    let state = match link {
        LinkStatus { up: false, .. } => "cut",
        LinkStatus { forward, backward, .. } if forward.silent || backward.silent => "silent",
        LinkStatus { .. } => "up",
    };
    let [forward, backward] = [&link.forward, &link.backward].map(Triple::asked).map(|asked| asked.text());
    let asked = if forward == backward { forward } else { format!("{forward} / {backward}") };
    let [there, back] = top.measured(link);
    Row::new([
        Cell::from(format!("{}–{}", link.a, link.b)),
        Cell::from(state).style(paint.state(state)),
        Cell::from(asked),
        Cell::from(there.text()),
        Cell::from(back.text()),
    ])
}

pub(super) fn policies(top: &Top, frame: &mut Frame<'_>, area: Rect, paint: Paint) {
    let widths = [
        Constraint::Length(6),
        Constraint::Length(12),
        Constraint::Min(12),
        Constraint::Length(9),
        Constraint::Length(12),
        Constraint::Length(9),
    ];
    let policies = top.now.policies.iter().map(|policy| {
        let state = if policy.active { "active" } else { "pending" };
        Row::new([
            Cell::from(policy.label.to_string()),
            Cell::from(policy.recipient.clone()),
            Cell::from(policy.prefix.clone()),
            Cell::from(policy.action.label()),
            Cell::from(policy.next_hop.clone().unwrap_or_default()),
            Cell::from(state).style(paint.state(state)),
        ])
    });
    let violated = top.now.violated.iter().map(|path| {
        let metrics: Vec<&str> = path.violated.iter().map(|metric| metric.label()).collect();
        Row::new([
            Cell::from(path.label.to_string()),
            Cell::from(path.source.clone()),
            Cell::from(path.target.clone()),
            Cell::from(""),
            Cell::from(metrics.join(" ")),
            Cell::from("violated").style(paint.state("violated")),
        ])
    });
    let rows: Vec<Row<'_>> = policies.chain(violated).collect();
    let title = format!("policies {}, violations {}", top.now.policies.len(), top.now.violated.len());
    let head = Row::new(["label", "at", "prefix", "action", "next hop", "state"]);
    table(top, frame, area, paint, Pane::Policies, &title, Some(head), rows, &widths);
}

pub(super) fn changes(top: &Top, frame: &mut Frame<'_>, area: Rect, paint: Paint) {
    let widths = [Constraint::Length(12), Constraint::Length(15), Constraint::Fill(1)];
    let ready = top.now.status.ready_at_ns;
    let rows = top.changes.iter().rev().map(|change| {
        let seconds = (i128::from(change.at_ns) - i128::from(ready)) as f64 / 1e9;
        let what = Cell::from(change.what.clone()).style(paint.news(change.bad));
        Row::new([Cell::from(format!("{seconds:.3} s")), Cell::from(change.place.clone()), what])
    });
    table(top, frame, area, paint, Pane::Changes, "changes, the newest first", None, rows.collect(), &widths);
}

#[expect(clippy::too_many_arguments, reason = "each box says all of it once")]
fn table(
    top: &Top,
    frame: &mut Frame<'_>,
    area: Rect,
    paint: Paint,
    pane: Pane,
    title: &str,
    head: Option<Row<'_>>,
    rows: Vec<Row<'_>>,
    widths: &[Constraint],
) {
    let focused = top.pane == pane;
    let mark = if focused { "▸ " } else { " " };
    let block = Block::bordered().title(format!("{mark}{title} ")).border_style(paint.border(focused));
    let mut table = Table::new(rows, widths).block(block);
    if let Some(head) = head {
        table = table.header(head.style(paint.title()));
    }
    if focused {
        table = table.row_highlight_style(paint.selected());
    }
    // The row that is selected is visible also where keys act on another box.
    let mut state = TableState::new().with_selected(Some(top.selected(pane)));
    frame.render_stateful_widget(table, area, &mut state);
}
