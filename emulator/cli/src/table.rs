//! Tables as wide as the terminal, and colour where there is one.

use std::io::IsTerminal as _;

use damc_conformance::report::Look;
use tabled::builder::Builder;
use tabled::settings::Color;

/// Width where there is no terminal to ask.
const WIDTH: usize = 80;

/// How tables look on standard output: in the width of the terminal, else of `COLUMNS`, else 80; in colour on a terminal,
/// unless `NO_COLOR` is set.
pub fn look() -> Look {
    let terminal = std::io::stdout().is_terminal();
    let own = terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0));
    let told = || std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let width = own.filter(|_| terminal).or_else(told).filter(|width| *width > 0).unwrap_or(WIDTH);
    Look { width, colour: terminal && colour_wanted() }
}

/// Whether nobody asked for no colour (no-color.org), and the terminal can do it.
pub fn colour_wanted() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refused && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// The text of a table, with the states in one column in colour.
pub fn with_states(table: Builder, column: usize) -> String {
    look().coloured(table, column, colour_of)
}

/// A text in colour, as it is where there is none.
pub fn painted(text: &str, colour: &Color) -> String {
    if look().colour { colour.colorize(text) } else { text.to_owned() }
}

/// The colour of a state of a node, an adjacency, a service or a check.
pub fn colour_of(state: &str) -> Option<Color> {
    Some(match state {
        "ready" | "full" | "accepted" | "up" | "ok" | "✓" => Color::FG_GREEN,
        "starting" | "paused" | "pending" | "waiting" | "–" => Color::FG_YELLOW,
        "failed" | "stopped" | "refused" | "down" | "off" => Color::FG_RED,
        _ => return None,
    })
}
