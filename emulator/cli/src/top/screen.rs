//! The terminal while the view has it: raw, on its alternate screen. It is as it was before when the view ends, whatever ends
//! it: a key, an error, a signal, a panic.

use std::io::{self, Stdout, Write as _, stdout};
use std::sync::Arc;

use damc_top::Top;
use ratatui::Terminal;
use ratatui::backend::TermionBackend;
use ratatui::termion::raw::{IntoRawMode as _, RawTerminal};
use ratatui::termion::screen::{ToAlternateScreen, ToMainScreen};
use ratatui::termion::{clear, cursor};

use crate::table::colour_wanted;

/// The terminal, given back when this is dropped.
pub(super) struct Screen {
    terminal: Terminal<TermionBackend<Stdout>>,
    raw: Arc<RawTerminal<Stdout>>,
    colour: bool,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// It cannot be made raw or written to.
    pub(super) fn enter() -> io::Result<Self> {
        let raw = Arc::new(stdout().into_raw_mode()?);
        let (of_hook, before) = (Arc::clone(&raw), std::panic::take_hook());
        // A message on the alternate screen would go with it.
        std::panic::set_hook(Box::new(move |panic| {
            give_back(&of_hook);
            before(panic);
        }));
        let screen = Self { terminal: Terminal::new(TermionBackend::new(stdout()))?, raw, colour: colour_wanted() };
        // `Terminal::clear` would ask the terminal where its cursor is, and take the answer from the keys.
        write!(stdout(), "{ToAlternateScreen}{}{}", clear::All, cursor::Hide)?;
        stdout().flush()?;
        Ok(screen)
    }

    /// Draws the view.
    ///
    /// # Errors
    /// The terminal cannot be written to.
    pub(super) fn draw(&mut self, top: &Top) -> io::Result<()> {
        let colour = self.colour;
        self.terminal.draw(|frame| damc_top::draw(top, frame, colour)).map(|_| ())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back(&self.raw);
    }
}

fn give_back(raw: &RawTerminal<Stdout>) {
    // A terminal that is gone has nothing to be given back.
    let _ = write!(stdout(), "{ToMainScreen}{}", cursor::Show);
    let _ = stdout().flush();
    let _ = raw.suspend_raw_mode();
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Output};

    use super::*;

    const MESSAGE: &str = "something broke on the screen";

    /// Not a test of its own: the next one runs it in a terminal.
    #[test]
    #[ignore = "it panics, in a terminal that the next test makes"]
    fn panics_on_the_screen() {
        let _screen = Screen::enter().expect("a terminal");
        panic!("{MESSAGE}");
    }

    fn in_a_terminal(shell: &str) -> Output {
        let mut script = Command::new("script");
        script.args(["--quiet", "--command", shell, "/dev/null"]).env("SHELL", "/bin/sh").env("TERM", "xterm");
        script.output().expect("script starts: it is part of util-linux")
    }

    #[test]
    fn a_panic_gives_the_terminal_back_and_is_read() {
        let program = std::env::current_exe().expect("this test");
        let test =
            format!("'{}' --ignored --exact top::screen::tests::panics_on_the_screen --nocapture", program.display());
        let said = in_a_terminal(&format!("stty -g; {test}; stty -g"));
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        let settings: Vec<&str> = text.lines().filter(|line| line.matches(':').count() > 20).collect();
        assert!(settings.len() == 2 && settings[0] == settings[1], "{text:?}");
        let (entered, left) = (text.find("\u{1b}[?1049h"), text.find("\u{1b}[?1049l"));
        let told = text.find(MESSAGE);
        assert!(
            entered.is_some() && entered < left && left < told,
            "the message is on the screen that is gone: {text:?}"
        );
        assert!(text.contains("\u{1b}[?25h"), "no cursor: {text:?}");
    }
}
