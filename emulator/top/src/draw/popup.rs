//! What stands above the tables: help, a line to be typed, an answer to be read.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};

use crate::state::Question;

const HELP: &str = "\
↑ ↓ PgUp PgDn Home End   select a row            Tab, Shift-Tab   next box
q, Escape                end                     ?                this help

nodes    k kill    s start    p pause    r resume
links    c cut     m mend: back to what the topology file says
         i impair, for example: delay=80ms loss=1% rate=10Mbit silent=on
w        why does the selected node forward a name as it does, or not?

adj.     adjacencies that are full, of all ports
calls/s  calls that a pod executed; frames/s: forwarded and delivered
asked    rate, delay and loss of a link as it is told; where directions differ,
         those of the first end, then of the second
→ ←      the same as measured since the last look, by the relay or the kernel;
         the delay by echoes of the two nodes where no frame tells it

Any key ends this.";

pub(super) fn help(frame: &mut Frame<'_>, area: Rect) {
    let height = u16::try_from(HELP.lines().count()).unwrap_or(u16::MAX).saturating_add(2);
    let area = area.centered(Constraint::Length(80), Constraint::Length(height));
    shown(frame, area, "help", Paragraph::new(HELP));
}

pub(super) fn ask(frame: &mut Frame<'_>, area: Rect, question: &Question, text: &str) {
    let title = match question {
        Question::Impair { a, b } => format!("impair {a} – {b}, both ways: delay=80ms loss=1% …"),
        Question::Why { node } => format!("why does {node} forward … or not? a name, for example /A/1"),
    };
    let area = area.centered(Constraint::Length(76), Constraint::Length(3));
    shown(frame, area, &title, Paragraph::new(format!("{text}▏")));
}

pub(super) fn answer(frame: &mut Frame<'_>, area: Rect, title: &str, lines: &[String], scroll: usize) {
    let from = scroll.min(lines.len());
    let paragraph = Paragraph::new(lines[from..].join("\n")).wrap(Wrap { trim: false });
    shown(frame, area, &format!("{title} (↑↓ scroll, any other key ends this)"), paragraph);
}

fn shown(frame: &mut Frame<'_>, area: Rect, title: &str, paragraph: Paragraph<'_>) {
    frame.render_widget(Clear, area);
    frame.render_widget(paragraph.block(Block::bordered().title(format!(" {title} "))), area);
}
