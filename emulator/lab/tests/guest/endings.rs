//! Guests end, in order or not, and leave nothing.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Host, eventually, processes_of};
use crate::{follow, left, options};

/// Commands for the inside of a guest.
pub fn command(command: &str) -> Option<ExitCode> {
    match command {
        "guest-says" => {
            println!("to standard output");
            eprintln!("to standard error");
            Some(ExitCode::from(42))
        }
        // Until somebody ends it: the default of SIGINT is to.
        "guest-waits" => {
            println!("waiting");
            std::thread::sleep(Duration::from_secs(300));
            Some(ExitCode::SUCCESS)
        }
        "guest-crashes" => {
            let crashed = std::fs::write("/proc/sysrq-trigger", "c");
            println!("still here: {crashed:?}");
            Some(ExitCode::SUCCESS)
        }
        "guest-writes" => {
            let (root, home) = (std::fs::write("/damc-was-here", ""), std::fs::write("/usr/damc-was-here", ""));
            println!("{}", root.is_err() && home.is_err());
            Some(ExitCode::SUCCESS)
        }
        "guest-raw" => Some(send_raw().map_or_else(
            |error| {
                eprintln!("{error}");
                ExitCode::FAILURE
            },
            |()| ExitCode::SUCCESS,
        )),
        _ => None,
    }
}

/// Nine frames by a socket that goes around the queueing discipline.
fn send_raw() -> std::io::Result<()> {
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    const PACKET_QDISC_BYPASS: libc::c_int = 20;
    let check = |result: libc::c_int| if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(result) };
    // SAFETY: plain system calls on a descriptor owned below; the address and the option live across their calls.
    #[allow(unsafe_code, reason = "no crate sets PACKET_QDISC_BYPASS")]
    unsafe {
        let socket = OwnedFd::from_raw_fd(check(libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0))?);
        let on: libc::c_int = 1;
        let size = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or_default();
        let option = (&raw const on).cast();
        check(libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, PACKET_QDISC_BYPASS, option, size))?;
        let mut address: libc::sockaddr_ll = std::mem::zeroed();
        address.sll_family = libc::AF_PACKET.cast_unsigned() as u16;
        address.sll_ifindex = check(libc::if_nametoindex(c"right".as_ptr()).cast_signed())?;
        let size = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or_default();
        let mut frame = [0xff_u8; 64];
        frame[12..14].copy_from_slice(&damc_link::ETHERTYPE.to_be_bytes());
        for _ in 0..9 {
            let (bytes, to) = (frame.as_ptr().cast(), (&raw const address).cast());
            if libc::sendto(socket.as_raw_fd(), bytes, frame.len(), 0, to, size) < 0 {
                return Err(std::io::Error::last_os_error());
            }
        }
    }
    Ok(())
}

pub fn a_guest_brings_its_exit_code_and_output() -> Result<(), Failed> {
    let (end, heard) = follow(&options("guest-says")?, None);
    assert_eq!(end?.code, 42);
    assert_eq!(String::from_utf8_lossy(&heard.stdout), "to standard output\n");
    assert_eq!(String::from_utf8_lossy(&heard.stderr), "to standard error\n");
    println!("booted in {:?}", heard.booted);
    assert_eq!(left(), Vec::<std::path::PathBuf>::new());
    Ok(())
}

pub fn an_interrupt_reaches_the_program() -> Result<(), Failed> {
    let (end, _) = follow(&options("guest-waits")?, Some("waiting"));
    // The program leaves SIGINT as it is, so that it dies of it.
    let error = end.expect_err("a signal is no exit code").to_string();
    assert!(error.contains("SIGINT ended the guest's program"), "{error}");
    assert_eq!(left(), Vec::<std::path::PathBuf>::new());
    Ok(())
}

pub fn a_crash_is_told_with_the_console() -> Result<(), Failed> {
    let began = Instant::now();
    let (end, _) = follow(&options("guest-crashes")?, None);
    let error = end.expect_err("a crash is no orderly end").to_string();
    assert!(error.contains("the guest's kernel died") && error.contains("Kernel panic"), "{error}");
    let log = std::env::temp_dir().join(format!("uml-console-{}.log", std::process::id()));
    assert!(std::fs::read_to_string(&log)?.contains("Kernel panic"), "the console's log is kept");
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    assert_eq!(left(), Vec::<std::path::PathBuf>::new());
    Ok(())
}

pub fn a_guest_that_hangs_is_ended() -> Result<(), Failed> {
    let mut options = options("guest-waits")?;
    options.silent_for = Duration::from_secs(4);
    let stopper = std::thread::spawn(|| {
        // The kernel itself: it has the guest's folder in its command line, and the keeper has another program's name.
        let kernel =
            || processes_of(&format!("guests/{}-", std::process::id())).into_iter().find(|pid| is_kernel(*pid));
        eventually("a kernel", || kernel().is_some())?;
        kill(Pid::from_raw(kernel().unwrap_or(0)), Signal::SIGSTOP)?;
        Ok::<(), Failed>(())
    });
    let (end, _) = follow(&options, None);
    stopper.join().map_err(|_| "the stopping thread panicked")??;
    let error = end.expect_err("it hangs").to_string();
    assert!(error.contains("no sign of life for 4 s") || error.contains("did not run its program"), "{error}");
    assert_eq!(left(), Vec::<std::path::PathBuf>::new());
    Ok(())
}

fn is_kernel(pid: i32) -> bool {
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&command).contains("rootfstype=hostfs")
}

/// Holds a guest until somebody kills this process.
pub fn hold() -> Result<(), Failed> {
    let (end, _) = follow_printing()?;
    Err(format!("the guest ended: {end}").into())
}

fn follow_printing() -> Result<(String, ()), Failed> {
    struct Printing;
    impl damc_lab::uml::Output for Printing {
        fn booted(&mut self, _: Duration) {
            println!("booted");
        }
        fn stdout(&mut self, _: &[u8]) {}
        fn stderr(&mut self, _: &[u8]) {}
        fn progress(&mut self, _: &str) {}
    }
    let options = options("guest-waits")?;
    let end = crate::support::run(async {
        let (_interrupt, mut interrupts) = tokio::sync::mpsc::unbounded_channel();
        damc_lab::uml::Guest::boot(&options)?.follow(&mut Printing, &mut interrupts).await
    });
    Ok((format!("{end:?}"), ()))
}

fn holder() -> Result<Command, Failed> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("guest-hold").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command)
}

fn ends_when_killed(mut command: Command) -> Result<(), Failed> {
    let mut child = command.spawn()?;
    let pid = child.id();
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL)?;
    let output = child.wait_with_output()?;
    if line != "booted\n" {
        return Err(format!("it said {line:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let mark = format!("guests/{pid}-");
    eventually("the guest's processes are gone", || processes_of(&mark).is_empty())
}

pub fn killing_the_caller_ends_the_guest() -> Result<(), Failed> {
    ends_when_killed(holder()?)
}

/// As nobody, who has no capabilities, with a home of its own.
pub fn a_guest_needs_no_privilege() -> Result<(), Failed> {
    const NOBODY: u32 = 65534;
    if !nix::unistd::geteuid().is_root() {
        // Then the other tests show it.
        return Ok(());
    }
    let home = std::env::temp_dir().join(format!("damc-nobody-{}", std::process::id()));
    std::fs::create_dir_all(&home)?;
    std::os::unix::fs::chown(&home, Some(NOBODY), Some(NOBODY))?;
    let mut command = holder()?;
    command.uid(NOBODY).gid(NOBODY).env("HOME", &home).env("DAMC_RUN_DIR", home.join("run")).current_dir(&home);
    let outcome = ends_when_killed(command);
    std::fs::remove_dir_all(&home)?;
    outcome
}

pub fn a_guest_changes_nothing_on_the_host() -> Result<(), Failed> {
    let before = Host::now();
    let (end, heard) = follow(&options("guest-writes")?, None);
    assert_eq!(end?.code, 0);
    assert_eq!(String::from_utf8_lossy(&heard.stdout), "true\n", "the guest could write where it must not");
    assert_eq!(before, Host::now());
    assert!(!std::path::Path::new("/damc-was-here").exists());
    Ok(())
}
