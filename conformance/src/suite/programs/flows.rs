//! Running flows while an SG restarts or a policy changes, and packets that do not fit.

use std::process::Stdio;
use std::time::Duration;

use damc_impair::DirectionChange;
use damc_testbed::{Direction, NodeAction};
use damc_wire::Role;
use damc_wire::frame::PACKET_OVERHEAD;
use damc_wire::registry::MAX_PDU;

use super::PORT;
use super::held::{Held, State};
use crate::case::{Findings, Stop};
use crate::suite::policy::{lands, pool_of};
use crate::testbed::Testbed;
use crate::testbed::witness::parse;

/// Time a connection has to show that it goes on, once the network is whole again: TCP may retransmit a lost segment
/// only after twice the length of the outage.
const DECIDED: Duration = Duration::from_secs(12);

pub(super) async fn sg_restarts(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.needs(&["python3"]).await?;
    let (caller, target, _) = testbed.far_pair().await?;
    let (owner, own) = (testbed.owner_of(&target)?, testbed.service_of(&caller)?);
    let places = [
        (testbed.sg_of(&caller)?, &target, "the client's SG"),
        (testbed.sg_of(&owner)?, &target, "the server's SG"),
        // Both ends are behind the SG that restarts: no other node knows of the connection.
        (testbed.sg_of(&caller)?, &own, "the SG of both"),
    ];
    for (sg, target, whose) in places {
        let _web = testbed.serve_web(&testbed.owner_of(target)?, target).await?;
        let host = testbed.host(target)?;
        let kinds = ["busy", "idle", "load"].map(|kind| (kind, host.clone()));
        let mut held = testbed.hold(&caller, &kinds).await?;
        testbed.lab.node(&sg, NodeAction::Kill).await?;
        testbed.lab.node(&sg, NodeAction::Start).await?;
        testbed.lab.wait_converged(testbed.t_conv() * 2).await?;
        let whole = testbed.now_ns();
        decided(&mut held, whole, testbed.host.stretched(DECIDED)).await?;
        #[expect(clippy::cast_precision_loss, reason = "spans of a case are far below 2^52 ns")]
        findings.figure(
            format!("{whose} back to every connection decided"),
            (testbed.now_ns() - whole) as f64 / 1e6,
            "ms",
        );
        for state in held.latest() {
            let end = state.end.as_deref().unwrap_or("goes on");
            let clean = matches!(end, "goes on" | "reset" | "closed");
            findings.check_saw(
                clean,
                format!(
                    "after a restart of {sg}, {whose}, the {} connection goes on, is reset or is closed",
                    state.kind
                ),
                end,
            );
        }
        // This is an error unless the connection is served.
        testbed.hold(&caller, &[("busy", host)]).await?;
        findings.check(true, format!("a new connection to {target} is served"));
    }
    Ok(())
}

/// Waits until every connection has gone on since `since_ns`, or has ended.
async fn decided(held: &mut Held, since_ns: u64, within: Duration) -> Result<(), Stop> {
    let before = held.since(since_ns).await?;
    held.ask().await?;
    held.until("every connection goes on or has ended", within, |now| {
        let open = now.iter().zip(&before).filter(|(n, b)| n.end.is_none() && !n.went_on_since(b));
        let open: Vec<_> = open.map(|(n, _)| format!("{n:?}")).collect();
        if open.is_empty() { Ok(()) } else { Err(open.join(", ")) }
    })
    .await
}

pub(super) async fn policy_changes(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.needs(&["python3"]).await?;
    testbed.wait_unsteered(testbed.t_return()).await?;
    let (pool, [one, two]) = pool_of(testbed)?;
    let away = |sg: &String| ![&one.sg, &two.sg].contains(&sg) && testbed.pod_of(sg).is_ok();
    let sg = testbed.of_kind(&[Role::Sg]).into_iter().find(away);
    let pod = testbed.pod_of(&sg.ok_or_else(|| Stop::NotApplicable("no pod away from both instances".into()))?)?;
    let mut webs = Vec::new();
    for instance in [&one, &two] {
        webs.push(testbed.serve_web_in_pool(&instance.pod, &instance.prefix, &pool).await?);
    }
    let slow =
        DirectionChange { delay_ns: Some(testbed.limits(&pool)?.delay_ns / 100 * 130), ..DirectionChange::default() };
    let host = testbed.host(&pool)?;
    testbed.impair((&two.sg, &two.pod), Direction::Both, slow).await?;
    lands(testbed, (&pod, &pool), &one.sg).await?;
    let mut held = testbed.hold(&pod, &[("busy", host.clone()), ("fresh", host)]).await?;
    held.until(&format!("new connections reach {}", one.prefix), testbed.t_conv(), named(1, &one.prefix)).await?;
    findings.check_eq(
        &held.latest()[0].name,
        &Some(one.prefix.clone()),
        format!("a connection to {pool} begins at {}", one.prefix),
    );

    testbed.impair((&one.sg, &one.pod), Direction::Both, slow).await?;
    testbed.mend(&two.sg, &two.pod).await?;
    lands(testbed, (&pod, &pool), &two.sg).await?;
    let landed = testbed.now_ns();
    held.until(&format!("new connections reach {}", two.prefix), testbed.t_conv(), named(1, &two.prefix)).await?;
    #[expect(clippy::cast_precision_loss, reason = "spans of a case are far below 2^52 ns")]
    findings.figure("calls steered to new connections steered", (testbed.now_ns() - landed) as f64 / 1e6, "ms");
    findings.check(true, format!("after the policy change new connections reach {}", two.prefix));
    let then = held.latest()[0].clone();
    held.until("the running connection goes on", testbed.t_conv(), |all| {
        if all[0].answers > then.answers + 3 { Ok(()) } else { Err(format!("{:?}", all[0])) }
    })
    .await?;
    let running = &held.latest()[0];
    findings.check_eq(
        &running.names,
        &vec![one.prefix.clone()],
        "the running connection keeps its instance throughout",
    );
    findings.check_eq(&running.end, &None, "the running connection does not end");
    testbed.mend(&one.sg, &one.pod).await?;
    drop(webs);
    testbed.wait_unsteered(testbed.t_return()).await
}

/// A probe that holds once the connection of this number is answered by `name`.
fn named(number: usize, name: &str) -> impl FnMut(&[State]) -> Result<(), String> {
    move |all| if all[number].name.as_deref() == Some(name) { Ok(()) } else { Err(format!("{:?}", all[number])) }
}

/// Length of the last component of a name that is longer than any topology's and still has an address.
const NAME_LENGTH: usize = 50;

/// Sends unfragmented datagrams as large as the known path MTU allows until one is answered, then one that is a byte
/// larger. Prints the MTU and the answers.
const SENDER: &str = r#"
import json, socket, sys, time
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IPV6, 23, 2)  # IPV6_MTU_DISCOVER, IP_PMTUDISC_DO
s.connect((sys.argv[1], int(sys.argv[2])))
s.settimeout(0.3)

def ask(size):
    try:
        s.send(b"x" * size)
        return int(s.recv(2000))
    except OSError as e:
        return str(e.errno or e)

mtu = lambda: s.getsockopt(socket.IPPROTO_IPV6, 24)
first, deadline = mtu(), time.monotonic() + 6
while (answer := ask(mtu() - 48)) != mtu() - 48 and time.monotonic() < deadline:
    pass
print(json.dumps({"first": first, "mtu": mtu(), "answers": [answer, ask(mtu() - 47)]}))
"#;

/// Answers each datagram with its length.
const RECEIVER: &str = r#"
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind((sys.argv[1], int(sys.argv[2])))
print("bound", flush=True)
while True:
    data, peer = s.recvfrom(4000)
    s.sendto(str(len(data)).encode(), peer)
"#;

pub(super) async fn too_big(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.needs(&["curl", "python3"]).await?;
    let (caller, target, _) = testbed.far_pair().await?;
    let owner = testbed.owner_of(&target)?;
    let own = testbed.service_of(&caller)?;
    // Routes in pods have the MTU that the names of the topology leave. A longer name leaves less: the SG has to tell
    // the pod.
    let name = format!("/guest/{owner}/{}-{}", "n".repeat(NAME_LENGTH), testbed.unique());
    testbed.register(&owner, &name).await?;
    testbed.wait_everywhere(std::slice::from_ref(&name), testbed.t_conv()).await?;
    let room = MAX_PDU - PACKET_OVERHEAD - parse(&name)?.wire().len() - parse(&own)?.wire().len();
    let (at, port) = (testbed.address(&name)?.to_string(), PORT.to_string());
    let receiver = testbed.script("receive.py", RECEIVER)?.display().to_string();
    let mut command = testbed.program(&owner, &["python3", &receiver, &at, &port]);
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|e| Stop::Inconclusive(e.to_string()))?;
    super::next_line(&mut super::lines(&mut child)?, testbed.start_time()).await?;
    let sender = testbed.script("send.py", SENDER)?.display().to_string();
    let said = testbed.run_inside(&caller, &["python3", &sender, &at, &port]).await?.json();
    findings.check_eq(
        &said["mtu"].as_u64(),
        &Some(room as u64),
        format!("{caller}, which assumed an MTU of {}, learns the one between {own} and {name}", said["first"]),
    );
    findings.check_eq(&said["answers"][0].as_u64(), &Some(room as u64 - 48), "a datagram that just fits arrives whole");
    findings.check_eq(
        &said["answers"][1].as_str(),
        &Some("90"),
        "the pod's own kernel refuses one byte more (EMSGSIZE, 90)",
    );

    let _web = testbed.serve_web(&owner, &name).await?;
    let body = "z".repeat(300_000);
    let file = testbed.script("large.txt", &body)?;
    let (file, url) = (format!("@{}", file.display()), testbed.url(&name, "/")?);
    let posted = testbed.curl(&caller, &["--max-time", "20", "--data-binary", &file, &url]).await?;
    findings.check_saw(
        posted.out == body.as_bytes(),
        format!("300 kB go to {name} and come back whole"),
        format!("{} bytes in {:?}, curl ends with {:?}", posted.out.len(), posted.took, posted.code),
    );
    Ok(())
}
