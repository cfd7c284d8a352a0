//! Whose folders, sockets and namespaces are used: only the caller's own.
//!
//! Labs are found by name in a folder that may lie in /tmp. Whoever makes that folder first, or a socket in it, would
//! otherwise hand out namespaces in which the caller then runs programs.

use std::fs::{self, Metadata};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::geteuid;

use crate::error::{LabError, Result};

/// Mode bits that let others than the owner write.
const OTHERS_WRITE: u32 = 0o022;
/// Mode bit of a folder in which everybody can remove only what is theirs.
const STICKY: u32 = 0o1000;

/// Checks that a folder is the caller's, that nobody else can write in it, and that nobody else can put another in its
/// place.
///
/// # Errors
/// [`LabError::Untrusted`] when it is not so; when it cannot be looked at.
pub(crate) fn check_folder(path: &Path) -> Result<()> {
    let look = |path: &Path| fs::symlink_metadata(path).map_err(LabError::io(format!("look at {}", path.display())));
    let metadata = look(path)?;
    if !metadata.is_dir() {
        return Err(untrusted(path, "it is no folder, or a link to one"));
    }
    own(path, &metadata)?;
    let whole = path.canonicalize().map_err(LabError::io(format!("look at {}", path.display())))?;
    for ancestor in whole.ancestors().skip(1) {
        let metadata = look(ancestor)?;
        if !is_ours_or_systems(metadata.uid()) {
            return Err(untrusted(path, &format!("{} belongs to user {}", ancestor.display(), metadata.uid())));
        }
        if metadata.mode() & OTHERS_WRITE != 0 && metadata.mode() & STICKY == 0 {
            return Err(untrusted(path, &format!("others can rename what is in {}", ancestor.display())));
        }
    }
    Ok(())
}

/// Connects to a socket of the caller's that a process of the caller's serves. Blocks for as long as connecting takes.
///
/// # Errors
/// `PermissionDenied` when it is somebody else's; as connecting itself.
pub(crate) fn connect(path: &Path) -> io::Result<UnixStream> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("{} is no socket", path.display())));
    }
    check_user(path, metadata.uid())?;
    let stream = UnixStream::connect(path)?;
    check_user(path, peer(&stream)?)?;
    Ok(stream)
}

/// The user whose process is at the other end of a connection.
pub(crate) fn peer(stream: &impl AsFd) -> io::Result<u32> {
    Ok(getsockopt(stream, PeerCredentials)?.uid())
}

/// Checks that a user namespace was made by the caller: whoever made it has all capabilities in it.
///
/// # Errors
/// [`LabError::Untrusted`] when it was made by somebody else; when the kernel does not tell.
pub(crate) fn check_user_namespace(namespace: &impl AsFd) -> Result<()> {
    let mut owner: libc::uid_t = 0;
    // SAFETY: NS_GET_OWNER_UID writes a uid_t to the pointer, which is to a live one; the descriptor is open.
    let told = unsafe { libc::ioctl(namespace.as_fd().as_raw_fd(), libc::NS_GET_OWNER_UID, &raw mut owner) };
    if told < 0 {
        return Err(LabError::io("ask whose the lab's user namespace is")(io::Error::last_os_error()));
    }
    if owner == geteuid().as_raw() {
        return Ok(());
    }
    Err(LabError::Untrusted {
        what: "the lab's user namespace".to_owned(),
        why: format!("it was made by user {owner}, not by user {}", geteuid()),
    })
}

fn own(path: &Path, metadata: &Metadata) -> Result<()> {
    if metadata.uid() != geteuid().as_raw() {
        return Err(untrusted(path, &format!("it belongs to user {}, not to user {}", metadata.uid(), geteuid())));
    }
    if metadata.mode() & OTHERS_WRITE != 0 {
        return Err(untrusted(path, &format!("others can write in it (mode {:03o})", metadata.mode() & 0o777)));
    }
    Ok(())
}

fn untrusted(path: &Path, why: &str) -> LabError {
    LabError::Untrusted { what: path.display().to_string(), why: why.to_owned() }
}

fn check_user(path: &Path, user: u32) -> io::Result<()> {
    if user == geteuid().as_raw() {
        return Ok(());
    }
    let why = format!("{} is served by user {user}, not by user {}", path.display(), geteuid());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

/// Folders above may be the system's. In a user namespace that maps some users only, the system's show as the overflow user.
fn is_ours_or_systems(user: u32) -> bool {
    user == 0 || user == geteuid().as_raw() || (is_partial_namespace() && Some(user) == overflow_user())
}

fn overflow_user() -> Option<u32> {
    fs::read_to_string("/proc/sys/kernel/overflowuid").ok()?.trim().parse().ok()
}

/// Whether there are users of the host that have no number here.
fn is_partial_namespace() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let mapped = map.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok()).sum::<u64>();
    mapped < u64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn folder(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("damc-ownership-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        path
    }

    #[test]
    fn a_folder_must_be_own_and_closed_to_others_with_all_above_it() {
        let path = folder("modes");
        check_folder(&path).unwrap();
        for mode in [0o770, 0o707, 0o777] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = check_folder(&path).unwrap_err().to_string();
            assert!(error.contains("others can write in it"), "{error}");
        }
        let inner = path.join("inner");
        fs::create_dir(&inner).unwrap();
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o700)).unwrap();
        let error = check_folder(&inner).unwrap_err().to_string();
        assert!(error.contains("others can rename"), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o1777)).unwrap();
        check_folder(&inner).unwrap();
        let link = path.join("link");
        std::os::unix::fs::symlink(&inner, &link).unwrap();
        assert!(check_folder(&link).unwrap_err().to_string().contains("a link"));
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn a_socket_must_be_one_and_be_served_by_the_caller() {
        let path = folder("socket");
        let socket = path.join("a.sock");
        let _listener = UnixListener::bind(&socket).unwrap();
        assert_eq!(peer(&connect(&socket).unwrap()).unwrap(), geteuid().as_raw());
        fs::write(path.join("file"), "").unwrap();
        assert_eq!(connect(&path.join("file")).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        let error = check_user(&socket, geteuid().as_raw() + 1).unwrap_err();
        assert!(error.to_string().contains("is served by user"), "{error}");
        fs::remove_dir_all(&path).unwrap();
    }
}
