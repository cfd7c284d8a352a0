//! The files that a program finds.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};

use super::Confinement;

/// Sockets and keys of the host's services lie here.
const RUN: &str = "/run";
/// Where programs look for the DNS; a link into [`RUN`] on many hosts.
const RESOLVER: &str = "/etc/resolv.conf";
/// Devices that every program may have.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Links in /dev, with what they name.
const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Something that is to be there although what is around it is hidden.
struct Kept {
    path: PathBuf,
    file: File,
}

impl Kept {
    fn new(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).custom_flags(OFlag::O_PATH.bits()).open(path);
        Ok(Self { path: path.to_owned(), file: file.map_err(|e| told("open", path, &e))? })
    }

    /// Mounts it at its path, which is made if it is not there.
    fn restore(&self) -> io::Result<()> {
        let is_folder = self.file.metadata()?.is_dir();
        if is_folder {
            fs::create_dir_all(&self.path)?;
        } else if !self.path.exists() {
            fs::create_dir_all(self.path.parent().unwrap_or(&self.path))?;
            File::create(&self.path)?;
        }
        let source = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        mount(Some(source.as_str()), &self.path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .map_err(|e| told("mount", &self.path, &e.into()))
    }
}

/// Leaves of the host's files what a program may have.
pub(super) fn confine(confinement: &Confinement) -> io::Result<()> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    fs::create_dir_all(&confinement.folder)?;
    let folder = confinement.folder.canonicalize()?;
    let mut kept = vec![Kept::new(&folder)?];
    for path in [confinement.key.as_path(), Path::new(RESOLVER)] {
        if let Ok(path) = path.canonicalize() {
            kept.push(Kept::new(&path)?);
        }
    }
    let devices = DEVICES.map(|name| Path::new("/dev").join(name)).into_iter().filter(|path| path.exists());
    let devices: Vec<Kept> = devices.map(|path| Kept::new(&path)).collect::<io::Result<_>>()?;
    show_own_processes();
    hide_all(&confinement.hidden)?;
    kept.iter().try_for_each(Kept::restore)?;
    make_devices(&devices)?;
    protect(&folder)
}

/// A /proc of the program's own pid namespace. Containers that mask parts of theirs refuse another one: then the old one
/// stays, whose other processes the program's user namespace keeps it from.
fn show_own_processes() {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    if let Err(errno) = mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>) {
        tracing::warn!("a program sees the processes of its lab: {errno}");
    }
}

/// Puts an empty folder in place of [`RUN`] and each of these.
fn hide_all(hidden: &[PathBuf]) -> io::Result<()> {
    let mut done: Vec<PathBuf> = Vec::new();
    for path in [Path::new(RUN)].into_iter().chain(hidden.iter().map(PathBuf::as_path)) {
        // What is not there is hidden well enough.
        let Ok(path) = path.canonicalize() else { continue };
        if done.iter().any(|hidden| path.starts_with(hidden)) {
            continue;
        }
        empty(&path, "mode=0755,size=1m")?;
        done.push(path);
    }
    Ok(())
}

/// A /dev of a few harmless devices, and a place for shared memory.
fn make_devices(devices: &[Kept]) -> io::Result<()> {
    let dev = Path::new("/dev");
    empty(dev, "mode=0755,size=1m")?;
    devices.iter().try_for_each(Kept::restore)?;
    for (link, to) in LINKS {
        symlink(to, dev.join(link))?;
    }
    let shared = dev.join("shm");
    fs::create_dir(&shared)?;
    empty(&shared, "mode=1777,size=64m")
}

fn empty(path: &Path, options: &str) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some(options)).map_err(|e| told("hide", path, &e.into()))
}

/// Makes every mount read-only and without devices, except those that have to be otherwise.
fn protect(folder: &Path) -> io::Result<()> {
    for (path, flags) in mounted(&fs::read_to_string("/proc/self/mountinfo")?) {
        let is_device = path.parent() == Some(Path::new("/dev")) && path != Path::new("/dev/shm");
        let writable = path == folder || path == Path::new("/dev/shm");
        let mut flags = flags | MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_NOSUID;
        flags.set(MsFlags::MS_RDONLY, flags.contains(MsFlags::MS_RDONLY) || !writable);
        flags.set(MsFlags::MS_NODEV, flags.contains(MsFlags::MS_NODEV) || !is_device);
        match mount(None::<&str>, &path, None::<&str>, flags, None::<&str>) {
            // Hidden by another mount, or in a folder that the program cannot enter either.
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES) => {}
            Err(errno) => return Err(told("protect", &path, &errno.into())),
        }
    }
    Ok(())
}

/// Reads `mountinfo` (proc(5)): what each mount says of itself, to which a user namespace may add and from which it may take
/// nothing away. Of several at one place only the last can be reached (a lab mounts its /sys over the host's).
fn mounted(mountinfo: &str) -> BTreeMap<PathBuf, MsFlags> {
    let one = |line: &str| {
        let mut fields = line.split(' ').skip(4);
        let path = PathBuf::from(unescaped(fields.next()?));
        let mut flags: MsFlags = fields.next()?.split(',').filter_map(flag).collect();
        // Said by silence, and lost by a remount that is silent as well.
        flags.set(MsFlags::MS_STRICTATIME, !flags.intersects(MsFlags::MS_NOATIME | MsFlags::MS_RELATIME));
        Some((path, flags))
    };
    mountinfo.lines().filter_map(one).collect()
}

fn flag(option: &str) -> Option<MsFlags> {
    Some(match option {
        "ro" => MsFlags::MS_RDONLY,
        "nosuid" => MsFlags::MS_NOSUID,
        "nodev" => MsFlags::MS_NODEV,
        "noexec" => MsFlags::MS_NOEXEC,
        "noatime" => MsFlags::MS_NOATIME,
        "nodiratime" => MsFlags::MS_NODIRATIME,
        "relatime" => MsFlags::MS_RELATIME,
        _ => return None,
    })
}

/// A path as it was before blanks, tabs, line ends and backslashes became `\` and three octal digits.
fn unescaped(field: &str) -> String {
    let mut parts = field.split('\\');
    let mut path = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                path.push(char::from(byte));
                path.push_str(&part[3..]);
            }
            None => {
                path.push('\\');
                path.push_str(part);
            }
        }
    }
    path
}

fn told(what: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_with_their_flags_and_blanks() {
        let text = "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
                    23 21 0:6 / /a\\040b rw,relatime - sysfs sysfs rw\n\
                    22 21 0:5 / /a\\040b ro,nosuid,nodev,noexec,noatime - tmpfs tmpfs rw,size=1k\n\
                    nonsense\n";
        let path = |text: &str| PathBuf::from(text);
        let flags =
            MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_NOATIME;
        assert_eq!(
            mounted(text),
            BTreeMap::from([(path("/"), MsFlags::MS_RELATIME), (path("/a b"), flags)]),
            "of two mounts at one place the upper one counts"
        );
        assert_eq!(unescaped("/a\\134x\\9"), "/a\\x\\9");
    }
}
