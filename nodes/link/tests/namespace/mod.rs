//! A private network namespace for a test: a thread of its own that has left the host's namespace.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use damc_link::CarrierWatch;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::{LinkUnspec, LinkVeth};

/// Runs `test` on a thread in a new network namespace. Without privilege the test is skipped, loudly; where `CI` is set
/// that is a failure, so that a pipeline cannot pass by skipping.
pub fn in_private_namespace(test: impl FnOnce(&mut Links) + Send + 'static) {
    let outcome = thread::spawn(move || {
        if let Err(e) = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET) {
            assert!(std::env::var_os("CI").is_none(), "cannot make a network namespace: {e}");
            eprintln!("SKIPPED: cannot make a network namespace: {e}");
            return;
        }
        test(&mut Links::open());
    })
    .join();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// Makes and changes interfaces in the namespace of the thread that opened it.
pub struct Links {
    runtime: tokio::runtime::Runtime,
    handle: rtnetlink::Handle,
}

impl Links {
    /// Opens route netlink in the current namespace.
    pub fn open() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let handle = runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection().unwrap();
            tokio::spawn(connection);
            handle
        });
        Self { runtime, handle }
    }

    /// A veth pair, both ends up and carrying frames.
    pub fn pair(&mut self, a: &str, b: &str) {
        let message = LinkVeth::new(a, b).build();
        self.runtime.block_on(self.handle.link().add(message).execute()).unwrap();
        self.set(a, true);
        self.set(b, true);
        self.wait_for_carrier(&[a, b]);
    }

    /// Waits until the kernel says that these interfaces carry frames.
    fn wait_for_carrier(&mut self, names: &[&str]) {
        let mut missing: BTreeSet<u32> = names.iter().map(|name| index(name)).collect();
        let mut watch = CarrierWatch::open().unwrap();
        let deadline = Instant::now() + Duration::from_secs(3);
        while !missing.is_empty() {
            assert!(Instant::now() < deadline, "no carrier on interfaces {missing:?}");
            let mut fds = [PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::from(100_u8)).unwrap();
            watch.poll(|index, up| _ = up && missing.remove(&index)).unwrap();
        }
    }

    /// Sets an interface up or down.
    pub fn set(&mut self, name: &str, up: bool) {
        let index = index(name);
        let link = LinkUnspec::new_with_index(index);
        let message: LinkMessage = if up { link.up() } else { link.down() }.build();
        self.runtime.block_on(self.handle.link().change(message).execute()).unwrap();
    }

    /// Sets the longest payload of an interface, bytes.
    #[allow(dead_code, reason = "not every test needs it")]
    pub fn mtu(&mut self, name: &str, bytes: u32) {
        let message: LinkMessage = LinkUnspec::new_with_index(index(name)).mtu(bytes).build();
        self.runtime.block_on(self.handle.link().change(message).execute()).unwrap();
    }
}

fn index(name: &str) -> u32 {
    nix::net::if_::if_nametoindex(name).unwrap()
}
