//! Long texts of a run's folder are compressed: logs and events say much the same again and again.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

/// Texts of this many bytes and more are compressed.
const FROM: usize = 128 * 1024;
/// What ends the name of a compressed text.
pub(super) const END: &str = ".gz";

/// A text as its file has it, and what its name gets. The same text always gives the same bytes.
pub(super) fn packed(text: &[u8]) -> (Option<Vec<u8>>, &'static str) {
    if text.len() < FROM {
        return (None, "");
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 8), Compression::default());
    match encoder.write_all(text).and_then(|()| encoder.finish()) {
        Ok(bytes) => (Some(bytes), END),
        // Writing into memory does not fail; if it did, the text itself is as good.
        Err(_) => (None, ""),
    }
}

/// Reads a text of a run's folder by the name that it has uncompressed. Bytes that are not UTF-8 become replacement
/// characters: logs hold what programs print.
///
/// # Errors
/// There is neither `path` nor `path` with `.gz` behind it, or what is there cannot be read.
pub fn read_text(path: &Path) -> io::Result<String> {
    let bytes = match fs::read(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let mut bytes = Vec::new();
            GzDecoder::new(File::open(compressed(path)).map_err(|_| e)?).read_to_end(&mut bytes)?;
            bytes
        }
        other => other?,
    };
    Ok(String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
}

fn compressed(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(END);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_comes_back_whether_it_was_compressed_or_not() {
        let folder = std::env::temp_dir().join(format!("damc-packed-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a temporary folder");
        let line = "INFO event: {\"sequence\":7}\n";
        for (name, text) in [("short.log", line.to_owned()), ("long.log", line.repeat(FROM / line.len() + 1))] {
            let (bytes, end) = packed(text.as_bytes());
            assert_eq!(bytes.is_some(), name == "long.log");
            let bytes = bytes.unwrap_or_else(|| text.clone().into_bytes());
            assert!(bytes.len() <= FROM / 20, "{name}: {} bytes", bytes.len());
            fs::write(folder.join(format!("{name}{end}")), bytes).expect("a temporary folder");
            assert_eq!(read_text(&folder.join(name)).expect("a text"), text, "{name}");
        }
        let missing = read_text(&folder.join("no.log")).expect_err("nothing there");
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        fs::remove_dir_all(&folder).expect("a temporary folder");
    }
}
