//! The seed of a lab's keys: 256 bits of the system's randomness, in a file that only its owner reads.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use damc_topology::plan::KeySeed;

use crate::error::{LabError, Result};

/// Bytes of a file, at most: the hexadecimal digits and the end of the line.
const LONGEST: u64 = 2 * KeySeed::BYTES as u64 + 1;

/// A new seed.
///
/// # Errors
/// When the system has no randomness.
pub(super) fn drawn() -> Result<KeySeed> {
    let mut bytes = [0; KeySeed::BYTES];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(LabError::io("read random numbers"))?;
    Ok(KeySeed::from_bytes(bytes))
}

/// The seed in a file, which is made with a new one where it is not there: so a later lab has the same keys.
///
/// # Errors
/// When others can read the file, when it is not the caller's, or when it holds no seed; when it can be neither read nor
/// made.
pub fn of_file(path: &Path) -> Result<KeySeed> {
    match read(path) {
        Err(LabError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            let seed = drawn()?;
            write(path, &seed)?;
            Ok(seed)
        }
        other => other,
    }
}

/// Reads a seed.
///
/// # Errors
/// As [`of_file`], and when there is no such file.
pub(crate) fn read(path: &Path) -> Result<KeySeed> {
    let doing = || format!("read {}", path.display());
    let file =
        OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path).map_err(LabError::io(doing()))?;
    let metadata = file.metadata().map_err(LabError::io(doing()))?;
    let refuse = |why: &str| Err(LabError::Lab(format!("{} is no file of keys: {why}", path.display())));
    if metadata.uid() != nix::unistd::geteuid().as_raw() {
        return refuse("it belongs to somebody else");
    }
    if metadata.mode() & 0o077 != 0 {
        return refuse(
            "others can read or change it; `chmod 600` it, and take another one if somebody may have read it",
        );
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).map_err(LabError::io(doing()))?;
    let Some(seed) = KeySeed::from_hex(text.trim_end()) else {
        return refuse("it should hold 64 hexadecimal digits; one that is not there is made");
    };
    Ok(seed)
}

/// Writes a seed for its owner's eyes, to a file that is not there yet.
///
/// # Errors
/// When the file is there, or cannot be written.
pub(super) fn write(path: &Path, seed: &KeySeed) -> Result<()> {
    let options = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = options.and_then(|mut file| writeln!(file, "{}", seed.to_hex()));
    written.map_err(LabError::io(format!("write {}", path.display())))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("damc-keys-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_file_of_keys_is_made_once_and_is_its_owners_alone() {
        let folder = folder("made");
        let path = folder.join("keys");
        let first = of_file(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(of_file(&path).unwrap().to_hex(), first.to_hex());
        assert_ne!(drawn().unwrap().to_hex(), first.to_hex());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_file_that_others_read_or_that_holds_something_else_is_refused() {
        let folder = folder("refused");
        let path = folder.join("keys");
        of_file(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(of_file(&path).unwrap_err().to_string().contains("chmod 600"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "7\n").unwrap();
        assert!(of_file(&path).unwrap_err().to_string().contains("64 hexadecimal digits"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
