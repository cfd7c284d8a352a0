//! What a run leaves behind: one model, written for machines (JSON, JUnit) and for people (HTML, Markdown,
//! terminal).

mod folder;
mod html;
mod junit;
mod look;
mod markdown;
mod model;
mod packed;
mod text;
mod timelines;

pub use folder::RunFolder;
pub use html::{Annex, html};
pub use junit::{junit, junit_of_set_up};
pub use look::{Look, colour_of};
pub use markdown::markdown;
pub use model::{Happened, Headline, LabInfo, NodeInfo, Report, RowResult, RunInfo, Summary, coverage};
pub use packed::read_text;
pub use text::{cases_table, coverage_table, figures_table, summary_line, unmet};
pub use timelines::Timelines;

#[cfg(test)]
pub(super) mod tests;
