//! The drawing: a head line, nodes, links, changes or policies, and a line of keys.

mod paint;
mod popup;
mod tables;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use crate::measure::count;
use crate::state::{Mode, Pane, Top};
use paint::Paint;

/// Columns below which nothing but a request for more is drawn.
pub const LEAST_WIDTH: u16 = 80;
/// Rows below which likewise.
pub const LEAST_HEIGHT: u16 = 24;
/// Columns from which on tables stand side by side.
const WIDE: u16 = 150;
/// Rows of the lowest box.
const LOWEST: u16 = 6;
/// Rows of a box in addition to those of its table: borders and head.
const AROUND: u16 = 3;

/// Draws the view; in colour where the terminal has and its user wants some.
pub fn draw(top: &Top, frame: &mut Frame<'_>, colour: bool) {
    let (area, paint) = (frame.area(), Paint { colour });
    if area.width < LEAST_WIDTH || area.height < LEAST_HEIGHT {
        let (width, height) = (area.width, area.height);
        let text = format!("damc top needs {LEAST_WIDTH}×{LEAST_HEIGHT}; this is {width}×{height}. q ends it.");
        frame.render_widget(Paragraph::new(text), area);
        return;
    }
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)]).areas(area);
    frame.render_widget(Paragraph::new(headline(top)).style(paint.title()), head);
    boxes(top, frame, body, paint);
    frame.render_widget(Paragraph::new(footline(top)), foot);
    match &top.mode {
        Mode::Look => {}
        Mode::Help => popup::help(frame, body),
        Mode::Ask { question, text } => popup::ask(frame, body, question, text),
        Mode::Answer { title, lines, scroll } => popup::answer(frame, body, title, lines, *scroll),
    }
}

fn boxes(top: &Top, frame: &mut Frame<'_>, area: Rect, paint: Paint) {
    let rows = |count: usize| u16::try_from(count).unwrap_or(u16::MAX).saturating_add(AROUND);
    let (nodes, links) = (rows(top.now.status.nodes.len()), rows(top.now.status.links.len()));
    let room = area.height.saturating_sub(LOWEST);
    if area.width >= WIDE {
        let upper = nodes.max(links).min(room);
        let [upper, lower] = Layout::vertical([Constraint::Length(upper), Constraint::Fill(1)]).areas(area);
        let halves = |area| Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(area);
        let ([a, b], [c, d]) = (halves(upper), halves(lower));
        tables::nodes(top, frame, a, paint);
        tables::links(top, frame, b, paint);
        tables::changes(top, frame, c, paint);
        tables::policies(top, frame, d, paint);
        return;
    }
    let of_links = links.min((room / 2).max(room.saturating_sub(nodes)));
    let of_nodes = nodes.min(room.saturating_sub(of_links));
    let [a, b, c] =
        Layout::vertical([Constraint::Length(of_nodes), Constraint::Length(of_links), Constraint::Fill(1)]).areas(area);
    tables::nodes(top, frame, a, paint);
    tables::links(top, frame, b, paint);
    if top.pane == Pane::Policies {
        tables::policies(top, frame, c, paint);
    } else {
        tables::changes(top, frame, c, paint);
    }
}

fn headline(top: &Top) -> Line<'static> {
    let status = &top.now.status;
    let name = if status.lab == status.topology {
        status.lab.clone()
    } else {
        format!("{} ({})", status.lab, status.topology)
    };
    let up = top.now.at_ns.saturating_sub(status.ready_at_ns) / 1_000_000_000;
    let calls: f64 = status.nodes.iter().filter_map(|node| top.per_second(&node.name)).map(|rates| rates.calls).sum();
    let active = top.now.policies.iter().filter(|policy| policy.active).count();
    let state = match &status.failure {
        None => "in order".to_owned(),
        Some(failure) => format!("NOT IN ORDER: {}", failure.lines().next().unwrap_or_default()),
    };
    let (minutes, seconds) = (up / 60, up % 60);
    Line::from(format!(
        " {name}  {}  up {minutes}:{seconds:02}  {} calls/s  {active} policies  {} violations  {state}",
        status.backend.label(),
        count(calls),
        top.now.violated.len(),
    ))
}

fn footline(top: &Top) -> Line<'static> {
    if let Some(message) = &top.message {
        return Line::from(format!(" {message}"));
    }
    let keys = match top.pane {
        Pane::Nodes => "k kill  s start  p pause  r resume  w why",
        Pane::Links => "c cut  m mend  i impair  w why",
        Pane::Policies | Pane::Changes => "w why",
    };
    Line::from(format!(" {keys}  ↑↓ select  Tab next  ? help  q quit"))
}
