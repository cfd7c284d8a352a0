//! Keys that the user presses.

use damc_top::Key;
use ratatui::termion::event::Key as Pressed;
use ratatui::termion::input::TermRead as _;
use tokio::sync::mpsc;

/// Keys as they are pressed, from a thread that ends with the process: nothing else can be done about a read that waits for
/// a terminal. Ends with the terminal.
pub(super) fn keys() -> mpsc::UnboundedReceiver<Key> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for pressed in std::io::stdin().keys() {
            let Ok(pressed) = pressed else { return };
            if let Some(key) = known(pressed)
                && sender.send(key).is_err()
            {
                return;
            }
        }
    });
    receiver
}

fn known(pressed: Pressed) -> Option<Key> {
    Some(match pressed {
        Pressed::Ctrl('c') => Key::Interrupt,
        // What terminals send for Enter and Tab.
        Pressed::Char('\n' | '\r') => Key::Enter,
        Pressed::Char('\t') => Key::Tab,
        Pressed::Char(letter) => Key::Char(letter),
        Pressed::BackTab => Key::BackTab,
        Pressed::Up => Key::Up,
        Pressed::Down => Key::Down,
        Pressed::PageUp => Key::PageUp,
        Pressed::PageDown => Key::PageDown,
        Pressed::Home => Key::Home,
        Pressed::End => Key::End,
        Pressed::Esc => Key::Escape,
        Pressed::Backspace => Key::Backspace,
        _ => return None,
    })
}
