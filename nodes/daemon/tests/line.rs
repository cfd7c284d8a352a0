//! The smallest domain, sg–sr–sg with a pod and an SPA at each end, as real processes on real sockets.

#[allow(dead_code, reason = "each test needs a part of it")]
mod domain;
#[path = "../../link/tests/namespace/mod.rs"]
mod namespace;

use std::collections::BTreeMap;
use std::time::Duration;

use damc_link::{Filter, RawSocket, Transmit};
use damc_mgmt::config::{Ready, Restart, RunConfig};
use domain::{Folder, Node, configurations, interface, log_of, until};
use namespace::{Links, in_private_namespace};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const LINKS: [(&str, &str); 6] =
    [("sg-1", "sr-1"), ("sr-1", "sg-2"), ("pod-1", "sg-1"), ("spa-1", "sg-1"), ("pod-2", "sg-2"), ("spa-2", "sg-2")];

/// Starts all nodes and waits until pod-1 can call pod-2's service.
fn start(links: &mut Links, folder: &Folder) -> BTreeMap<String, Node> {
    for (a, b) in LINKS {
        links.pair(&interface(a, b), &interface(b, a));
    }
    let services: [(&str, &[&str]); 2] = [("pod-1", &["/A/1", "/C/1"]), ("pod-2", &["/B/2"])];
    let configs = configurations(folder.path(), &LINKS, &services);
    let nodes: BTreeMap<String, Node> =
        configs.iter().map(|(name, config)| (name.clone(), Node::start(folder.path(), config))).collect();
    let reply = until("call", || nodes["pod-1"].call("/B/2", "add", &["2", "3"]), |reply| reply.result.is_some());
    assert_eq!(reply.result.as_deref(), Some("5"));
    assert_eq!(reply.path, ["sg-1", "sr-1", "sg-2"]);
    assert_eq!(reply.return_path, ["sg-2", "sr-1", "sg-1"]);
    nodes
}

#[test]
fn a_call_crosses_the_domain_and_every_node_can_be_asked() {
    in_private_namespace(|links| {
        let folder = Folder::new("line");
        let nodes = start(links, &folder);
        let pod = &nodes["pod-1"];
        assert_eq!(pod.call("/B/2", "whoami", &[]).result.as_deref(), Some("/B/2"));
        assert_eq!(pod.call("/B/2", "fly", &[]).error.as_deref(), Some("no-such-method"));
        assert_eq!(pod.call("/nobody", "echo", &["x"]).error.as_deref(), Some("no-route"));
        let fib = nodes["sr-1"].get("/fib").to_string();
        assert!(fib.contains("/A/1") && fib.contains("/B/2"), "{fib}");
        for path in ["/rib", "/lsdb", "/neighbors", "/policies"] {
            assert_eq!(nodes["sr-1"].get(path)["node"], "sr-1", "{path}");
        }
        let counters = nodes["sr-1"].get("/counters");
        assert!(counters["forwarded"].as_u64().unwrap() > 0, "{counters}");
        assert!(counters["received"]["hello"].as_u64().unwrap() > 0, "{counters}");
        let (status, metrics) = nodes["sr-1"].http("GET", "/metrics", "");
        assert_eq!(status, 200);
        assert!(metrics.contains("damc_frames_dropped_total{node=\"sr-1\",reason=\"no-route\"}"), "{metrics}");
        let (_, events) = nodes["sr-1"].http("GET", "/events?follow=false", "");
        assert!(events.starts_with("{\"at_ns\":") && events.contains("\"event\":\"ready\""), "{events}");
        let (status, _) = nodes["sr-1"].order(r#"{"order":"probe"}"#);
        assert_eq!(status, 422, "an SR probes nothing");
        assert_eq!(nodes["sg-1"].http("POST", "/call", "{}").0, 422);
    });
}

#[test]
fn a_service_process_that_dies_is_withdrawn_and_comes_back() {
    in_private_namespace(|links| {
        let folder = Folder::new("service");
        let nodes = start(links, &folder);
        let (pod, far) = (&nodes["pod-1"], &nodes["pod-2"]);
        assert_eq!(far.order(r#"{"order":"stop-service","prefix":"/B/2"}"#).0, 200);
        let reply = until("refusal", || pod.call("/B/2", "echo", &["x"]), |reply| reply.error.is_some());
        assert_ne!(reply.error.as_deref(), Some("timeout"));
        assert_eq!(far.order(r#"{"order":"kill-service","prefix":"/B/2"}"#).0, 400, "none runs");
        assert_eq!(far.order(r#"{"order":"start-service","prefix":"/B/2"}"#).0, 200);
        until("answer", || pod.call("/B/2", "echo", &["x"]), |reply| reply.result.is_some());
        assert_eq!(far.order(r#"{"order":"kill-service","prefix":"/B/2"}"#).0, 200);
        let text = |node: &Node| node.http("GET", "/events?follow=false", "").1;
        let gone_and_back = |text: &String| {
            let states: Vec<bool> = text
                .lines()
                .filter(|l| l.contains("\"event\":\"service\""))
                .map(|l| l.contains("\"running\":true"))
                .collect();
            states == [true, false, true, false, true]
        };
        until("restart", || text(far), gone_and_back);
        until("answer", || pod.call("/B/2", "echo", &["x"]), |reply| reply.result.is_some());
    });
}

#[test]
fn a_sleeping_call_holds_up_no_other() {
    in_private_namespace(|links| {
        let folder = Folder::new("sleep");
        let nodes = start(links, &folder);
        let pod = &nodes["pod-1"];
        std::thread::scope(|scope| {
            let slow = scope.spawn(|| pod.call("/B/2", "sleep", &["400"]));
            let fast = pod.call("/B/2", "echo", &["x"]);
            assert!(!slow.is_finished(), "echo must not wait for sleep");
            assert_eq!(fast.result.as_deref(), Some("x"));
            assert_eq!(slow.join().unwrap().result.as_deref(), Some("400"));
        });
    });
}

/// Echoes sent to a node that does not run: more than its sockets hold.
const UNREAD: usize = 40_000;

#[test]
fn what_the_kernel_drops_while_a_node_does_not_read_is_counted() {
    in_private_namespace(|links| {
        let folder = Folder::new("overflow");
        let (near, far) = (interface("sr-1", "sg-1"), interface("sg-1", "sr-1"));
        links.pair(&near, &far);
        let configs = configurations(folder.path(), &[("sg-1", "sr-1")], &[]);
        let node = Node::start(folder.path(), &configs["sr-1"]);
        let socket = RawSocket::open_on(&far, Filter::Control).unwrap();
        let header = damc_link::ethernet_header(damc_link::mac(&far).unwrap());
        let mut echo = vec![0; 46];
        echo[..8].copy_from_slice(&[1, 2, 0, 1, 0, 46, 0, 0]);
        let pid = Pid::from_raw(i32::try_from(node.pid()).unwrap());
        kill(pid, Signal::SIGSTOP).unwrap();
        let mut sent = 0;
        while sent < UNREAD {
            let report = socket.send((0..64).map(|_| Transmit { interface: 0, header: &header, body: &echo }));
            sent += usize::try_from(report.sent).unwrap();
        }
        kill(pid, Signal::SIGCONT).unwrap();
        let counted = |view: &serde_json::Value| {
            let received = view["received"]["echo"].as_u64().unwrap_or(0);
            let overflow = view["control_overflow"].as_u64().unwrap();
            (overflow, usize::try_from(received + overflow).unwrap())
        };
        let view = until("every echo is accounted for", || node.get("/counters"), |view| counted(view).1 == sent);
        assert!(counted(&view).0 > 0, "{view}");
        assert!(view["dropped"]["queue-full"].as_u64().unwrap() >= counted(&view).0, "{view}");
        let metrics = node.http("GET", "/metrics", "").1;
        let line = format!("damc_control_overflow_total{{node=\"sr-1\"}} {}\n", counted(&view).0);
        assert!(metrics.contains(&line), "{metrics}");
    });
}

#[test]
fn checklist_12_a_node_that_is_told_to_end_takes_leave() {
    in_private_namespace(|links| {
        let folder = Folder::new("leave");
        let mut nodes = start(links, &folder);
        let (status, took) = nodes.remove("sg-2").unwrap().terminate();
        assert!(status.success(), "{status}: {}", log_of(folder.path(), "sg-2"));
        assert!(took < Duration::from_millis(200), "took {took:?}");
        assert!(!folder.path().join("sg-2.sock").exists());
        let fib = || nodes["sr-1"].get("/fib").to_string();
        until("purge", fib, |fib| !fib.contains("/B/2"));
        let (status, _) = nodes.remove("pod-2").unwrap().terminate();
        assert!(status.success());
    });
}

/// A service's program.
fn program(argv: &[&str], ready: Ready, within_ms: u64, restart: Restart) -> Option<RunConfig> {
    let argv = argv.iter().map(|word| (*word).to_owned()).collect();
    Some(RunConfig { argv, env: BTreeMap::new(), cwd: "/".into(), ready, ready_within_ms: within_ms, restart })
}

#[test]
fn programs_that_crash_or_are_never_ready_are_not_announced_and_say_why() {
    in_private_namespace(|links| {
        let folder = Folder::new("programs");
        for (a, b) in LINKS {
            links.pair(&interface(a, b), &interface(b, a));
        }
        let services: [(&str, &[&str]); 2] =
            [("pod-1", &["/crashes", "/silent", "/absent", "/once"]), ("pod-2", &["/B/2"])];
        let mut configs = configurations(folder.path(), &LINKS, &services);
        let pod = configs.get_mut("pod-1").unwrap();
        let crashing = ["sh", "-c", "echo trying; echo no luck >&2; exit 3"];
        pod.services[0].run = program(&crashing, Ready::Started {}, 5000, Restart::Always);
        pod.services[1].run = program(&["sleep", "1000"], Ready::Port { port: 80 }, 200, Restart::Always);
        pod.services[2].run = program(&["/no/such/program"], Ready::Started {}, 5000, Restart::Always);
        pod.services[3].run = program(&["true"], Ready::Started {}, 5000, Restart::Never);
        let nodes: BTreeMap<String, Node> =
            configs.iter().map(|(name, config)| (name.clone(), Node::start(folder.path(), config))).collect();
        let service = |prefix: &str| {
            let view = nodes["pod-1"].get("/services");
            view["services"].as_array().unwrap().iter().find(|s| s["prefix"] == prefix).unwrap().clone()
        };
        let often = |prefix: &str| until(prefix, || service(prefix), |s| s["starts"].as_u64() >= Some(3));
        let crashes = often("/crashes");
        assert_eq!(crashes["ended"], "exit status: 3");
        assert_eq!(crashes["said"].as_array().unwrap().last().unwrap(), "no luck");
        let silent = often("/silent");
        assert_eq!(silent["ended"], "not ready within 200 ms: nothing listens on TCP port 80");
        assert!(!often("/absent")["ended"].as_str().unwrap_or_default().is_empty());
        let once = until("/once", || service("/once"), |s| s["state"] == "stopped");
        assert_eq!((&once["starts"], &once["ended"]), (&1.into(), &"exit status: 0".into()));
        until("a call", || nodes["pod-2"].call("/B/2", "add", &["2", "3"]), |reply| reply.result.is_some());
        for prefix in ["/crashes", "/silent", "/absent", "/once"] {
            assert_eq!(nodes["pod-2"].call(prefix, "echo", &["x"]).error.as_deref(), Some("no-route"), "{prefix}");
        }
    });
}
