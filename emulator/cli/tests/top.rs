//! `damc top` in a terminal, on a real lab: what it shows, what its keys do, and what it leaves of the terminal.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

mod support;

use support::cannot;

/// How long anything may take to be seen on a busy machine.
const WITHIN: Duration = Duration::from_secs(60);

/// A lab of the topology `line`, in a folder of its own.
struct Lab(PathBuf);

impl Lab {
    fn up(test: &str) -> Self {
        let lab = Self(std::env::temp_dir().join(format!("damc-{test}-{}", std::process::id())));
        std::fs::create_dir_all(&lab.0).expect("the temporary folder is writable");
        let up = lab.damc(&["up", "line", "--detach", "--links", "relay", "--seed", "1"]);
        assert!(up.status.success(), "{up:?}");
        lab
    }

    fn damc(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_damc"));
        command.args(words).env("DAMC_RUN_DIR", self.0.join("run")).stdin(Stdio::null());
        command.output().expect("damc starts")
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.damc(&["down"]);
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a terminal of 80 by 24 shows, and all that was sent to it.
#[derive(Default)]
struct Shown {
    screen: vt100::Parser,
    sent: Vec<u8>,
    ended: bool,
}

/// `damc top` on a terminal made by script(1).
struct Session {
    script: Child,
    keys: ChildStdin,
    shown: Arc<(Mutex<Shown>, Condvar)>,
}

impl Session {
    /// Starts it. The shell keeps the terminal's settings from before and from after in files, and says how it ended.
    fn start(lab: &Lab) -> Self {
        let shell = "stty rows 24 cols 80; stty -g > before; sh -c 'echo $$ > pid; exec \"$DAMC\" top'; code=$?; \
                     stty -g > after; echo it ended with $code";
        let mut script = Command::new("script")
            .args(["--quiet", "--flush", "--command", shell, "/dev/null"])
            .current_dir(&lab.0)
            .envs([("TERM", "xterm"), ("NO_COLOR", "1"), ("SHELL", "/bin/sh"), ("DAMC", env!("CARGO_BIN_EXE_damc"))])
            .env("DAMC_RUN_DIR", lab.0.join("run"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script starts: it is part of util-linux");
        let shown = Arc::new((Mutex::new(Shown::default()), Condvar::new()));
        let (mut output, seen) = (script.stdout.take().expect("piped"), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            loop {
                let length = output.read(&mut bytes).unwrap_or(0);
                let mut shown = seen.0.lock().expect("nobody panics with it");
                shown.screen.process(&bytes[..length]);
                shown.sent.extend_from_slice(&bytes[..length]);
                shown.ended = length == 0;
                seen.1.notify_all();
                if length == 0 {
                    return;
                }
            }
        });
        let keys = script.stdin.take().expect("piped");
        Self { script, keys, shown }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).and_then(|()| self.keys.flush()).expect("script takes keys");
    }

    /// Waits until the screen shows something; prints the last screen where it does not come.
    fn until(&self, what: &str, holds: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + WITHIN;
        let mut shown = self.shown.0.lock().expect("the reader does not panic");
        loop {
            let text = shown.screen.screen().contents();
            if holds(&text) {
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || shown.ended {
                drop(shown);
                panic!("not within {WITHIN:?}: {what}. The last screen:\n{text}");
            }
            shown = self.shown.1.wait_timeout(shown, left).expect("the reader does not panic").0;
        }
    }

    /// Waits for the end and compares what is left of the terminal with what was before.
    fn ends(mut self, lab: &Lab, code: u8) {
        self.until("the end", |screen| screen.contains(&format!("it ended with {code}")));
        let shown = self.shown.0.lock().expect("the reader does not panic");
        let screen = shown.screen.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor(), "the screen was not given back");
        let (before, after) = (lab.file("before"), lab.file("after"));
        assert!(!before.is_empty() && before == after, "settings before:\n{before}after:\n{after}");
        drop(shown);
        let _ = self.script.wait();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The terminal goes with it, and all that is on it.
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

/// The line of the screen that begins, after the border, with a text.
fn row<'a>(screen: &'a str, begin: &str) -> &'a str {
    screen.lines().find(|line| line.trim_start_matches('│').starts_with(begin)).unwrap_or_default()
}

#[test]
fn a_lab_is_watched_and_changed() {
    if cannot() {
        return;
    }
    let lab = Lab::up("top");
    let mut session = Session::start(&lab);
    session.until("all nodes", |screen| {
        screen.contains("▸ nodes 8") && row(screen, "sr-1 ").contains("ready") && row(screen, "sr-1 ").contains("/")
    });
    session.press("\t");
    session.until("the box of links", |screen| screen.contains("▸ links 7"));
    // The first link of the file.
    let link = |screen: &str| screen.lines().find(|line| line.contains("sg-1–sr-1  ")).unwrap_or_default().to_owned();
    session.press("c");
    session.until("the link is cut", |screen| link(screen).contains(" cut "));
    let shown = lab.damc(&["link", "sg-1", "sr-1", "show", "--json"]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("\"up\":false"), "{shown:?}");
    // Whichever of them is among the newest.
    let news = ["link set: down", "carrier of", "does not answer probes"];
    session.until("what changed", |screen| news.iter().any(|change| screen.contains(change)));
    session.press("m");
    session.until("it is mended", |screen| link(screen).contains(" up ") && screen.contains("mended: as"));
    session.press("idelay=80ms\r");
    // On a busy machine more than was asked for.
    let delay = regex::Regex::new(r"([89]\d|1\d\d)(\.\d)?ms").expect("a pattern");
    session.until("the delay that is asked for, and measured both ways", |screen| {
        delay.find_iter(&link(screen)).count() == 3
    });
    session.press("m");
    session.until("it is as it was", |screen| link(screen).contains(" 1ms ") && screen.contains("mended: as"));
    session.press("\x1b[Z");
    session.until("the box of nodes", |screen| screen.contains("▸ nodes 8"));
    session.press("w/B/2\r");
    session.until("why", |screen| screen.contains("why sr-1 /B/2 (") && screen.contains("pod-2 announced /B/2"));
    session.press("x");
    session.until("the tables again", |screen| !screen.contains("announced"));
    session.press("?");
    session.until("help", |screen| screen.contains("Any key ends this"));
    session.press("xk");
    session
        .until("the router is dead", |screen| row(screen, "sr-1 ").contains("stopped") && screen.contains("kill done"));
    session.press("s");
    session
        .until("the router is back", |screen| row(screen, "sr-1 ").contains("ready") && screen.contains("start done"));
    let coloured = |shown: &Shown| String::from_utf8_lossy(&shown.sent).contains("\u{1b}[38;");
    assert!(!coloured(&session.shown.0.lock().expect("the reader does not panic")), "colour in spite of NO_COLOR");
    session.press("q");
    session.ends(&lab, 0);
    assert!(lab.damc(&["ps"]).stdout.starts_with(b"line"), "the lab goes on");
}

#[test]
fn a_signal_gives_the_terminal_back() {
    if cannot() {
        return;
    }
    let lab = Lab::up("topsig");
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let session = Session::start(&lab);
        session.until("all nodes", |screen| screen.contains("▸ nodes 8"));
        let pid = lab.file("pid").trim().parse().expect("the shell wrote it before");
        kill(Pid::from_raw(pid), signal).expect("our own child");
        session.ends(&lab, 130);
    }
}

#[test]
fn a_lab_that_ends_ends_the_view() {
    if cannot() {
        return;
    }
    let lab = Lab::up("topdown");
    let session = Session::start(&lab);
    session.until("all nodes", |screen| screen.contains("▸ nodes 8"));
    assert!(lab.damc(&["down"]).status.success());
    session.until("why it ended", |screen| screen.contains("does not answer"));
    session.ends(&lab, 1);
}
