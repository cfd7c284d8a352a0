//! Files of test vectors: comments, then bytes in hexadecimal. `DAMC_BLESS=1` writes them anew.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use damc_wire::Frame;
use damc_wire::hex::{from_hex, to_hex};

/// The folder of all vectors, or one below it.
pub fn folder(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../wire/tests/vectors").join(below)
}

/// Names of the vectors in a folder, in order.
pub fn titles(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let mut titles: Vec<String> = files.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    titles.sort();
    titles
}

/// The bytes of a file that says exactly `comment` and `bytes`.
pub fn agreed(folder: &Path, title: &str, comment: &str, bytes: &[u8]) -> Vec<u8> {
    let mut text: String = comment.lines().map(|line| format!("# {line}\n")).collect();
    for row in bytes.chunks(32) {
        writeln!(text, "{}", to_hex(row)).unwrap();
    }
    let path = folder.join(format!("{title}.hex"));
    if std::env::var_os("DAMC_BLESS").is_some() {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(there, text, "{title}");
    from_hex(&there.lines().filter(|line| !line.starts_with('#')).collect::<String>()).unwrap()
}

/// The line form of a frame and its value, as comments of its vector.
pub fn described(frame: &Frame) -> String {
    let mut text = format!("{frame}\n");
    let debug = format!("{frame:#?}");
    let mut lines = debug.lines().peekable();
    while let Some(line) = lines.next() {
        // Keys, signatures and payloads are read as hexadecimal, not as one number for each line.
        let mut bytes = Vec::new();
        if line.ends_with('[') {
            bytes.extend(std::iter::from_fn(|| lines.next_if(|l| number(l).is_some()).and_then(number)));
        }
        // What closes the array follows at once.
        let close = if bytes.is_empty() { "" } else { lines.next().unwrap_or_default().trim() };
        writeln!(text, "{line}{}{close}", to_hex(&bytes)).unwrap();
    }
    text
}

/// The element of a byte array on a line of its own.
fn number(line: &str) -> Option<u8> {
    line.trim().strip_suffix(',')?.parse().ok()
}
