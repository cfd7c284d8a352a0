//! Styles. Without colour, only what every terminal has: bold and reversed.

use ratatui::style::{Color, Modifier, Style};

/// Whether there is colour.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    pub colour: bool,
}

impl Paint {
    /// The head line.
    pub(super) fn title(self) -> Style {
        Style::default().add_modifier(Modifier::BOLD)
    }

    /// The selected row.
    pub(super) fn selected(self) -> Style {
        Style::default().add_modifier(Modifier::REVERSED)
    }

    /// What is as it should be, what is not, and what is on its way.
    pub(super) fn state(self, state: &str) -> Style {
        match state {
            "ready" | "up" | "active" => self.of(Color::Green),
            "failed" | "stopped" | "cut" | "violated" => self.of(Color::Red),
            "starting" | "paused" | "silent" | "pending" => self.of(Color::Yellow),
            _ => Style::default(),
        }
    }

    /// Bad news.
    pub(super) fn news(self, bad: bool) -> Style {
        if bad { self.of(Color::Red) } else { Style::default() }
    }

    /// A box: the one that keys act on, and others.
    pub(super) fn border(self, focused: bool) -> Style {
        if focused { self.of(Color::Cyan) } else { Style::default() }
    }

    fn of(self, colour: Color) -> Style {
        if self.colour { Style::default().fg(colour) } else { Style::default() }
    }
}
