//! What keys mean.

use damc_testbed::{LinkChange, NodeAction};

use crate::state::{Mode, Pane, Question, Top};

/// A key, as far as the view knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "keys have names")]
pub enum Key {
    Char(char),
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Tab,
    BackTab,
    Enter,
    Escape,
    Backspace,
    /// Ctrl-C.
    Interrupt,
}

/// What a key asks somebody else to do.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum Wish {
    /// End the view.
    Quit,
    /// Change a link.
    Link {
        /// One end.
        a: String,
        /// The other end.
        b: String,
        /// How.
        change: LinkChange,
    },
    /// Impair both directions of a link as a text says.
    Impair {
        /// One end.
        a: String,
        /// The other end.
        b: String,
        /// Properties as in `damc link … set`.
        properties: String,
    },
    /// Change the process of a node.
    Node {
        /// The node.
        node: String,
        /// How.
        action: NodeAction,
    },
    /// Say why a node forwards a name as it does, or does not.
    Why {
        /// The node.
        node: String,
        /// The name.
        name: String,
    },
}

/// Rows that a page key goes.
const PAGE: isize = 10;

impl Top {
    /// Takes a key; returns what it asks for.
    pub fn key(&mut self, key: Key) -> Option<Wish> {
        if key == Key::Interrupt {
            return Some(Wish::Quit);
        }
        match &mut self.mode {
            Mode::Look => self.looking(key),
            Mode::Help => {
                self.mode = Mode::Look;
                None
            }
            Mode::Ask { .. } => self.asking(key),
            Mode::Answer { scroll, lines, .. } => {
                let last = lines.len().saturating_sub(1);
                match moved(key) {
                    Some(by) => *scroll = scroll.saturating_add_signed(by).min(last),
                    None => self.mode = Mode::Look,
                }
                None
            }
        }
    }

    fn looking(&mut self, key: Key) -> Option<Wish> {
        self.message = None;
        match key {
            Key::Char('q') | Key::Escape => return Some(Wish::Quit),
            Key::Char('?' | 'h') => self.mode = Mode::Help,
            Key::Tab => self.pane = self.pane.next(),
            Key::BackTab => self.pane = self.pane.previous(),
            Key::Char('w') => self.ask_why(),
            Key::Char(letter) => return self.on_selected(letter),
            _ => {
                if let Some(by) = moved(key) {
                    self.select(by);
                }
            }
        }
        None
    }

    /// A letter that does something to the selected row.
    fn on_selected(&mut self, letter: char) -> Option<Wish> {
        match self.pane {
            Pane::Nodes => {
                let node = self.selected_node()?.to_owned();
                let action = match letter {
                    'k' => NodeAction::Kill,
                    's' => NodeAction::Start,
                    'p' => NodeAction::Pause,
                    'r' => NodeAction::Resume,
                    _ => return self.unknown(letter),
                };
                self.message = Some(format!("{} {node} …", action.label()));
                Some(Wish::Node { node, action })
            }
            Pane::Links => {
                let (a, b) = self.selected_link()?;
                let change = match letter {
                    'c' => LinkChange::Down,
                    'm' => LinkChange::Clear,
                    'i' => {
                        self.mode = Mode::Ask { question: Question::Impair { a, b }, text: String::new() };
                        return None;
                    }
                    _ => return self.unknown(letter),
                };
                self.message = Some(format!("{} {a} – {b} …", if letter == 'c' { "cut" } else { "mend" }));
                Some(Wish::Link { a, b, change })
            }
            Pane::Policies | Pane::Changes => self.unknown(letter),
        }
    }

    fn unknown(&mut self, letter: char) -> Option<Wish> {
        self.message = Some(format!("`{letter}` does nothing here; ? shows the keys"));
        None
    }

    fn ask_why(&mut self) {
        if let Some(node) = self.selected_node().map(str::to_owned) {
            let text = self.asked.clone();
            self.mode = Mode::Ask { question: Question::Why { node }, text };
        }
    }

    fn asking(&mut self, key: Key) -> Option<Wish> {
        let Mode::Ask { question, text } = &mut self.mode else { return None };
        match key {
            Key::Char(letter) => text.push(letter),
            Key::Backspace => {
                text.pop();
            }
            Key::Escape => self.mode = Mode::Look,
            Key::Enter => {
                let (question, text) = (question.clone(), text.trim().to_owned());
                self.mode = Mode::Look;
                return self.asked(question, text);
            }
            _ => {}
        }
        None
    }

    fn asked(&mut self, question: Question, text: String) -> Option<Wish> {
        if text.is_empty() {
            return None;
        }
        Some(match question {
            Question::Impair { a, b } => {
                self.message = Some(format!("{a} – {b}: {text} …"));
                Wish::Impair { a, b, properties: text }
            }
            Question::Why { node } => {
                self.asked.clone_from(&text);
                self.message = Some(format!("why {node} {text} …"));
                Wish::Why { node, name: text }
            }
        })
    }
}

/// Rows that a key goes.
const fn moved(key: Key) -> Option<isize> {
    Some(match key {
        Key::Up => -1,
        Key::Down => 1,
        Key::PageUp => -PAGE,
        Key::PageDown => PAGE,
        Key::Home => isize::MIN,
        Key::End => isize::MAX,
        _ => return None,
    })
}
