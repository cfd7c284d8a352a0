//! A relay between real veth pairs in private namespaces: node ends in one, wire ends in another.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use damc_lab::relay::{self, RelayClient, RelayConfig};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rtnetlink::packet_route::link::{InfoData, InfoVeth, LinkMessage};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVeth};

/// Runs `test` on a thread in a namespace of its own, which holds the node ends `n0`, `n1` … of `links` links; their
/// other ends are joined by a relay as `config` says (its links are named `l0`, `l1` …). Without privilege the test is
/// skipped, loudly; where `CI` is set that is a failure, so that a pipeline cannot pass by skipping.
pub fn with_relay(config: RelayConfig, test: impl FnOnce(&mut RelayClient) + Send + 'static) {
    let outcome = thread::spawn(move || {
        if let Err(e) = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET) {
            assert!(std::env::var_os("CI").is_none(), "cannot make a network namespace: {e}");
            eprintln!("SKIPPED: cannot make a network namespace: {e}");
            return;
        }
        let (ours, theirs) = UnixStream::pair().unwrap();
        let links = config.links.len();
        let (wire, relay) = start_relay(theirs);
        quiet_ipv6();
        let runtime = runtime();
        runtime.block_on(async {
            let handle = netlink();
            for i in 0..links {
                for (node, wire_end) in [
                    (format!("n{}", 2 * i), format!("w{}", 2 * i)),
                    (format!("n{}", 2 * i + 1), format!("w{}", 2 * i + 1)),
                ] {
                    let peer =
                        LinkMessageBuilder::<LinkUnspec>::new().name(wire_end).setns_by_fd(wire.netns.as_raw_fd());
                    let message =
                        LinkVeth::new(&node, "unused").set_info_data(InfoData::Veth(InfoVeth::Peer(peer.build())));
                    handle.link().add(message.up().build()).execute().await.unwrap();
                }
            }
        });
        wire.raise.send(2 * links).unwrap();
        wire.raised.recv().unwrap();
        wait_for_carrier(2 * links);
        let mut client = RelayClient::start(ours, &config).unwrap();
        test(&mut client);
        drop(client);
        relay.join().unwrap();
    })
    .join();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// Waits until the kernel says that the node ends carry frames: it switches their queues on some time after their peers
/// came up, and loses what is sent before.
fn wait_for_carrier(ends: usize) {
    let mut missing: BTreeSet<u32> = (0..ends).map(|i| damc_link::ifindex(&format!("n{i}")).unwrap()).collect();
    let mut watch = damc_link::CarrierWatch::open().unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while !missing.is_empty() {
        assert!(Instant::now() < deadline, "no carrier on interfaces {missing:?}");
        let mut fds = [PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(100_u8)).unwrap();
        watch.poll(|index, up| _ = up && missing.remove(&index)).unwrap();
    }
}

/// The wire namespace and the way to have its ends set up.
struct Wire {
    netns: File,
    raise: mpsc::Sender<usize>,
    raised: mpsc::Receiver<()>,
}

fn start_relay(control: UnixStream) -> (Wire, thread::JoinHandle<()>) {
    let (give, take) = mpsc::channel();
    let (raise, to_raise) = mpsc::channel();
    let (tell, raised) = mpsc::channel();
    let thread = thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        quiet_ipv6();
        give.send(File::open("/proc/thread-self/ns/net").unwrap()).unwrap();
        let count: usize = to_raise.recv().unwrap();
        runtime().block_on(async {
            let handle = netlink();
            for i in 0..count {
                let index = nix::net::if_::if_nametoindex(format!("w{i}").as_str()).unwrap();
                let message: LinkMessage = LinkUnspec::new_with_index(index).up().build();
                handle.link().change(message).execute().await.unwrap();
            }
        });
        tell.send(()).unwrap();
        relay::main(control).unwrap();
    });
    (Wire { netns: take.recv().unwrap(), raise, raised }, thread)
}

fn quiet_ipv6() {
    for scope in ["all", "default"] {
        // Kernels without IPv6 have nothing to silence.
        let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1");
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap()
}

fn netlink() -> rtnetlink::Handle {
    let (connection, handle, _) = rtnetlink::new_connection().unwrap();
    tokio::spawn(connection);
    handle
}
