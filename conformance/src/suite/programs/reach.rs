//! Programs reach services by name: far away, behind the same SG, in their own pod, and in long chains.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::{Duration, Instant};

use damc_mgmt::words::GatewayCounter;
use damc_wire::{MessageType, Role};
use futures::future::join_all;
use serde_json::Value;

use super::{PORT, Ran};
use crate::case::{Findings, Stop};
use crate::testbed::Testbed;

/// A refusal that takes longer counts as silence.
const AT_ONCE: Duration = Duration::from_secs(3);
/// Chains of calls of one load, and calls in each.
const CHAINS: u64 = 24;
const DEPTH: usize = 4;

/// Asks for an AAAA record over TCP, as a resolver does after a truncated answer.
const RESOLVE: &str = r#"
import socket, struct, sys
name = b"".join(bytes([len(label)]) + label.encode() for label in sys.argv[2].split(".")) + b"\0"
question = struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + name + struct.pack("!2H", 28, 1)
stream = socket.create_connection((sys.argv[1], 53), timeout=3)
stream.sendall(struct.pack("!H", len(question)) + question)
file = stream.makefile("rb")
answer = file.read(struct.unpack("!H", file.read(2))[0])
print(socket.inet_ntop(socket.AF_INET6, answer[-16:]))
"#;

pub(super) async fn gateway(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.needs(&["curl", "python3"]).await?;
    let (caller, target, chain) = testbed.far_pair().await?;
    let (sg, own) = (testbed.sg_of(&caller)?, testbed.service_of(&caller)?);
    let _web = testbed.serve_web(&testbed.owner_of(&target)?, &target).await?;
    let (from, before) = (testbed.now_ns(), testbed.gateway_count(&sg, GatewayCounter::FromPods).await?);
    let ran = testbed.curl(&caller, &[&testbed.url(&target, "/")?]).await?;
    findings.check_eq(
        &ran.json()["name"].as_str(),
        &Some(target.as_str()),
        format!("curl in {caller} reaches {target}"),
    );
    let passed = testbed.gateway_count(&sg, GatewayCounter::FromPods).await? - before;
    findings.check_saw(
        passed >= 5,
        format!("{sg} takes at least five packets of it, for name, connection and request"),
        format!("{passed} packets"),
    );
    let frames = testbed.frames(from).await?;
    let packets: Vec<_> = frames.iter().filter(|s| s.message_type() == MessageType::Packet && s.sent).collect();
    let pairs: BTreeSet<(String, String)> = packets
        .iter()
        .filter_map(|s| s.frame.names.as_ref().map(|(to, from)| (from.to_string(), to.to_string())))
        .collect();
    let expected = BTreeSet::from([(own.clone(), target.clone()), (target.clone(), own.clone())]);
    findings.check_eq(&pairs, &expected, "between SGs there are only packets of these two names, in both directions");
    let nodes: BTreeSet<&str> = packets.iter().map(|s| s.node.as_str()).collect();
    let on_the_way = chain.iter().all(|node| nodes.contains(node.as_str()));
    findings.check_saw(
        on_the_way || nodes.len() >= 2,
        format!("the packets pass the nodes of a call's path {chain:?}, or at least two nodes"),
        format!("{nodes:?}"),
    );

    let script = testbed.script("resolve.py", RESOLVE)?.display().to_string();
    let dns = damc_wire::address::of_dns(testbed.topology.domain().as_str()).to_string();
    let ran = testbed.run_inside(&caller, &["python3", &script, &dns, &testbed.host(&target)?]).await?;
    let address = testbed.address(&target)?.to_string();
    findings.check_eq(&ran.text(), &address, format!("{sg} resolves {target} over TCP too"));

    let host = format!("http://nobody.{}.damc:{PORT}/", testbed.topology.domain());
    let ran = testbed.curl(&caller, &[&host]).await?;
    findings.check_eq(&ran.code, &Some(6), "curl cannot resolve an unknown name (exit code 6)");
    findings.check_saw(
        ran.took < testbed.host.stretched(AT_ONCE),
        format!("curl learns so within {:?}", testbed.host.stretched(AT_ONCE)),
        format!("{:?}", ran.took),
    );
    let nobody = format!("http://[{}]:{PORT}/", testbed.address("/nobody/at-all")?);
    let ran = testbed.curl(&caller, &[&nobody]).await?;
    findings.check_eq(&ran.code, &Some(7), "curl cannot connect to an unknown address (exit code 7)");
    findings.check_saw(
        ran.took < testbed.host.stretched(AT_ONCE),
        format!("curl is told so within {:?}", testbed.host.stretched(AT_ONCE)),
        format!("{:?}", ran.took),
    );
    Ok(())
}

pub(super) async fn within_one_pod(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.needs(&["curl", "python3"]).await?;
    let pods = testbed.topology.of_kind(Role::Pod);
    let pod = pods.into_iter().find(|pod| pod.services.len() > 1);
    let pod = pod.ok_or_else(|| Stop::NotApplicable("no pod with two services".into()))?;
    let (name, target) = (pod.id.to_string(), pod.services[1].prefix.to_string());
    let sg = testbed.sg_of(&name)?;
    let _web = testbed.serve_web(&name, &target).await?;
    let both = [GatewayCounter::FromPods, GatewayCounter::ToPods];
    let count = || async {
        let mut counts = Vec::new();
        for label in both {
            counts.push(testbed.gateway_count(&sg, label).await?);
        }
        Ok::<_, Stop>(counts)
    };
    let before = count().await?;
    let ran = testbed.curl(&name, &[&testbed.url(&target, "/bytes/100000")?]).await?;
    findings.check_eq(
        &ran.out.len(),
        &100_000,
        format!("a program in {name} gets what {target} in the same pod serves"),
    );
    let after = count().await?;
    for (label, (before, after)) in both.iter().zip(before.iter().zip(&after)) {
        // The body alone is some seventy packets.
        findings.check_saw(after - before > 70, format!("{sg}: more than 70 more {label}"), after - before);
    }
    Ok(())
}

pub(super) async fn anywhere(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.needs(&["curl", "python3"]).await?;
    let (caller, far, _) = testbed.far_pair().await?;
    let places = testbed.near_and_far(&caller, far)?;
    let mut outcomes: Vec<Vec<(Option<i32>, String)>> = Vec::new();
    for (place, target) in &places {
        let _web = testbed.serve_web(&testbed.owner_of(target)?, target).await?;
        let mut seen = Vec::new();
        let requests: [(&str, &[&str]); 4] =
            [("/health", &[]), ("/no-such-path", &[]), ("/", &["--data", "posted"]), ("/bytes/30000", &[])];
        let mut took = Duration::ZERO;
        for (path, words) in requests {
            let url = testbed.url(target, path)?;
            let ran = testbed.curl(&caller, &[words, &["--write-out", "%{http_code}", &url]].concat()).await?;
            took += ran.took;
            seen.push((ran.code, ran.text()));
        }
        findings.figure(format!("mean curl {place}"), took.as_secs_f64() * 1e3 / 4.0, "ms");
        outcomes.push(seen);
    }
    for ((place, target), seen) in places.iter().zip(&outcomes) {
        let codes: Vec<_> = seen.iter().map(|(code, _)| *code).collect();
        findings.check_saw(
            codes.iter().all(|code| *code == Some(0)),
            format!("{target}, {place}: every request is answered"),
            format!("exit codes of curl {codes:?}"),
        );
        let other: Vec<_> = seen.iter().zip(&outcomes[0]).filter(|(here, first)| here != first).collect();
        findings.check_saw(
            other.is_empty(),
            format!("{target}, {place}: the answers are the same as in the first place"),
            if other.is_empty() { "the same".to_owned() } else { format!("others, here and there: {other:?}") },
        );
    }
    Ok(())
}

pub(super) async fn stock(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.needs(&["curl", "python3"]).await?;
    let (caller, target, _) = testbed.far_pair().await?;
    let text = "served by an unchanged program\n";
    let file = testbed.script("stock.txt", text)?;
    let folder = file.parent().map(|p| p.display().to_string()).unwrap_or_default();
    let owner = testbed.owner_of(&target)?;
    let at = testbed.address(&target)?;
    let (port, address) = (PORT.to_string(), at.to_string());
    let words = ["python3", "-m", "http.server", &port, "--bind", &address, "--directory", &folder];
    let mut command = testbed.program(&owner, &words);
    let _web = command.stdout(Stdio::null()).spawn().map_err(|e| Stop::Inconclusive(e.to_string()))?;
    testbed.wait_listening(&owner, PORT, at).await?;
    let ran = testbed.curl(&caller, &[&testbed.url(&target, "/stock.txt")?]).await?;
    findings.check_eq(
        &ran.text().as_str(),
        &text.trim(),
        format!("`curl` gets a file from `python3 -m http.server` as {target}"),
    );
    for pod in [&caller, &owner] {
        let helped =
            testbed.run_inside(pod, &["sh", "-c", "env | grep -iE '^(https?_proxy|all_proxy|LD_PRELOAD)='"]).await?;
        findings.check_saw(
            helped.out.is_empty(),
            format!("{pod}: no proxy and no preloaded library"),
            format!("environment {:?}", helped.text()),
        );
        let listeners = testbed.run_inside(pod, &["cat", "/proc/net/tcp6", "/proc/net/tcp"]).await?.text();
        let listeners = listeners.lines().filter(|l| l.contains(" 0A ")).count();
        findings
            .note(format!("{pod}: {listeners} TCP listeners, which are web servers of the case and of the topology"));
    }
    Ok(())
}

pub(super) async fn many(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.needs(&["curl", "python3"]).await?;
    let pods: Vec<String> =
        testbed.of_kind(&[Role::Pod]).into_iter().filter(|p| testbed.service_of(p).is_ok()).take(6).collect();
    let mut names = Vec::new();
    let mut running = Vec::new();
    for pod in &pods {
        let name = testbed.service_of(pod)?;
        running.push(testbed.serve_web(pod, &name).await?);
        names.push(name);
    }
    if names.len() < 2 {
        return Err(Stop::NotApplicable("fewer than two pods with services".into()));
    }
    let url = |chain: usize| -> Result<String, Stop> {
        // Every chain takes a different path through the services.
        let hop = |i: usize| &names[(chain * (i + 1) + i) % names.len()];
        let mut path = "/".to_owned();
        for i in (1..DEPTH).rev() {
            let next = testbed.url(hop(i), "")?;
            path = format!("/via/{}{path}", next.trim_start_matches("http://"));
        }
        testbed.url(hop(0), &path)
    };
    let chains = usize::try_from(testbed.host.fewer(CHAINS)).unwrap_or(usize::MAX);
    let began = Instant::now();
    let calls = (0..chains).map(|chain| {
        let pod = pods[chain % pods.len()].clone();
        let url = url(chain);
        async move { testbed.curl(&pod, &[&url?]).await }
    });
    let ran: Vec<Ran> = join_all(calls).await.into_iter().collect::<Result<_, _>>()?;
    let depth = |value: &Value| {
        let inner = std::iter::successors(Some(value), |v| v.get("via"));
        inner.take_while(|v| v["name"].is_string() && v["error"].is_null()).count()
    };
    let whole = ran.iter().filter(|r| depth(&r.json()) == DEPTH).count();
    findings.check_eq(
        &whole,
        &chains,
        format!("all chains of {DEPTH} calls between {} services come back whole", names.len()),
    );
    findings.figure(format!("{chains} chains of {DEPTH} calls"), began.elapsed().as_secs_f64() * 1e3, "ms");
    Ok(())
}
