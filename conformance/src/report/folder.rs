//! The folder of a run. A folder that cannot be written never stops a run: errors are kept and listed at the end.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::packed::packed;
use super::{Annex, Report, html, junit, junit_of_set_up, markdown};

/// `results/<topology>/<UTC time>-<id>/`.
#[derive(Debug)]
pub struct RunFolder {
    path: Option<PathBuf>,
    errors: Vec<String>,
}

impl RunFolder {
    /// Creates a new folder. An existing one is never reused: a second run with the same id gets a number.
    #[must_use]
    pub fn create(results: &Path, topology: &str, started: Timestamp, id: &str) -> Self {
        let time = started.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ");
        let parent = results.join(topology);
        let mut folder = Self { path: None, errors: Vec::new() };
        if let Err(e) = fs::create_dir_all(&parent) {
            folder.failed(&parent, &e);
            return folder;
        }
        for attempt in 1..=1_000 {
            let name = if attempt == 1 { format!("{time}-{id}") } else { format!("{time}-{id}-{attempt}") };
            let path = parent.join(name);
            match fs::create_dir(&path) {
                Ok(()) => {
                    folder.path = Some(path);
                    return folder;
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => {
                    folder.failed(&path, &e);
                    return folder;
                }
            }
        }
        folder
    }

    /// A folder that takes everything and keeps nothing.
    #[must_use]
    pub const fn nowhere() -> Self {
        Self { path: None, errors: Vec::new() }
    }

    /// Its path; `None` where it could not be created.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// What could not be written.
    #[must_use]
    pub fn errors(&self) -> &[String] {
        &self.errors
    }

    /// Writes a file, by its path inside the folder.
    pub fn write(&mut self, name: &str, content: impl AsRef<[u8]>) {
        let Some(path) = self.path.as_ref().map(|p| p.join(name)) else { return };
        let parent = path.parent().map_or(Ok(()), fs::create_dir_all);
        if let Err(e) = parent.and_then(|()| fs::write(&path, content)) {
            self.failed(&path, &e);
        }
    }

    /// Writes what a build server needs of a run whose lab could not be set up.
    pub fn finish_without_lab(&mut self, topology: &str, reason: &str, results: &Path) {
        match junit_of_set_up(topology, reason) {
            Ok(xml) => self.write("junit.xml", xml),
            Err(e) => self.errors.push(format!("junit.xml: {e}")),
        }
        self.point_latest(results);
    }

    /// Writes a text; a long one is compressed, and its name ends with `.gz` then. [`super::read_text`] reads both.
    pub fn write_text(&mut self, name: &str, text: impl AsRef<[u8]>) {
        let (bytes, end) = packed(text.as_ref());
        match bytes {
            Some(bytes) => self.write(&format!("{name}{end}"), bytes),
            None => self.write(name, text),
        }
    }

    /// Copies a text into the folder, as [`RunFolder::write_text`] writes it.
    pub fn copy_text(&mut self, from: &Path, name: &str) {
        match fs::read(from) {
            Ok(text) => self.write_text(name, text),
            Err(e) => self.failed(from, &e),
        }
    }

    /// Writes the report in every form and points `latest` here. The written report lists what could not be written
    /// before it; errors of writing the report itself are added to `report` for the caller.
    pub fn finish(&mut self, report: &mut Report, results: &Path) {
        report.write_errors.clone_from(&self.errors);
        match junit(report) {
            Ok(xml) => self.write("junit.xml", xml),
            Err(e) => self.errors.push(format!("junit.xml: {e}")),
        }
        let annex = self.path().map(Annex::of).unwrap_or_default();
        self.write("report.md", markdown(report, annex.timelines.as_ref()));
        self.write("report.html", html(report, &annex));
        match report.to_json() {
            Ok(json) => self.write("report.json", json),
            Err(e) => self.errors.push(format!("report.json: {e}")),
        }
        self.point_latest(results);
        report.write_errors.clone_from(&self.errors);
    }

    /// Replaces `results/latest`. The link is made under another name and renamed, so that there is always one.
    fn point_latest(&mut self, results: &Path) {
        let Some(path) = &self.path else { return };
        let target = path.strip_prefix(results).unwrap_or(path).to_path_buf();
        let (fresh, latest) = (results.join(format!(".latest-{}", std::process::id())), results.join("latest"));
        if let Err(e) = symlink(target, &fresh).and_then(|()| fs::rename(&fresh, &latest)) {
            self.failed(&latest, &e);
        }
    }

    fn failed(&mut self, path: &Path, error: &io::Error) {
        self.errors.push(format!("{}: {error}", path.display()));
    }
}
