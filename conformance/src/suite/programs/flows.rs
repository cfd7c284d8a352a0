//! Running flows while an SG restarts or a policy changes, and packets that do not fit.

use std::process::Stdio;
use std::time::Duration;

use damc_impair::DirectionChange;
use damc_lab::control::{Direction, NodeAction};
use damc_wire::Role;
use damc_wire::frame::PACKET_OVERHEAD;
use damc_wire::registry::MAX_PDU;

use super::PORT;
use super::held::{Held, State};
use crate::bench::Bench;
use crate::bench::witness::parse;
use crate::case::{Findings, Stop};
use crate::suite::policy::{lands, pool_of};

/// Time a connection has to show that it goes on, once the network is whole again: TCP may retransmit a lost segment
/// only after twice the length of the outage.
const DECIDED: Duration = Duration::from_secs(12);

pub(super) async fn sg_restarts(bench: &Bench, findings: &mut Findings) -> Result<(), Stop> {
    bench.needs(&["python3"]).await?;
    let (caller, target, _) = bench.far_pair().await?;
    let (owner, own) = (bench.owner_of(&target)?, bench.service_of(&caller)?);
    let places = [
        (bench.sg_of(&caller)?, &target, "the client's SG"),
        (bench.sg_of(&owner)?, &target, "the server's SG"),
        // Both ends are behind the SG that restarts: no other node knows of the connection.
        (bench.sg_of(&caller)?, &own, "the SG of both"),
    ];
    for (sg, target, whose) in places {
        let _web = bench.serve_web(&bench.owner_of(target)?, target).await?;
        let host = bench.host(target)?;
        let kinds = ["busy", "idle", "load"].map(|kind| (kind, host.clone()));
        let mut held = bench.hold(&caller, &kinds).await?;
        bench.lab.node(&sg, NodeAction::Kill).await?;
        bench.lab.node(&sg, NodeAction::Start).await?;
        bench.lab.wait_converged(bench.t_conv() * 2).await?;
        let whole = bench.now_ns();
        decided(&mut held, whole, bench.host.stretched(DECIDED)).await?;
        #[expect(clippy::cast_precision_loss, reason = "spans of a case are far below 2^52 ns")]
        findings.figure(
            format!("{whose} back to every connection decided"),
            (bench.now_ns() - whole) as f64 / 1e6,
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
        bench.hold(&caller, &[("busy", host)]).await?;
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

pub(super) async fn policy_changes(bench: &Bench, findings: &mut Findings) -> Result<(), Stop> {
    bench.needs(&["python3"]).await?;
    bench.wait_unsteered(bench.t_return()).await?;
    let (pool, [one, two]) = pool_of(bench)?;
    let away = |sg: &String| ![&one.sg, &two.sg].contains(&sg) && bench.pod_of(sg).is_ok();
    let sg = bench.of_kind(&[Role::Sg]).into_iter().find(away);
    let pod = bench.pod_of(&sg.ok_or_else(|| Stop::NotApplicable("no pod away from both instances".into()))?)?;
    let mut webs = Vec::new();
    for instance in [&one, &two] {
        webs.push(bench.serve_web_in_pool(&instance.pod, &instance.prefix, &pool).await?);
    }
    let slow =
        DirectionChange { delay_ns: Some(bench.limits(&pool)?.delay_ns / 100 * 130), ..DirectionChange::default() };
    let host = bench.host(&pool)?;
    bench.impair((&two.sg, &two.pod), Direction::Both, slow).await?;
    lands(bench, (&pod, &pool), &one.sg).await?;
    let mut held = bench.hold(&pod, &[("busy", host.clone()), ("fresh", host)]).await?;
    held.until(&format!("new connections reach {}", one.prefix), bench.t_conv(), named(1, &one.prefix)).await?;
    findings.check_eq(
        &held.latest()[0].name,
        &Some(one.prefix.clone()),
        format!("a connection to {pool} begins at {}", one.prefix),
    );

    bench.impair((&one.sg, &one.pod), Direction::Both, slow).await?;
    bench.mend(&two.sg, &two.pod).await?;
    lands(bench, (&pod, &pool), &two.sg).await?;
    let landed = bench.now_ns();
    held.until(&format!("new connections reach {}", two.prefix), bench.t_conv(), named(1, &two.prefix)).await?;
    #[expect(clippy::cast_precision_loss, reason = "spans of a case are far below 2^52 ns")]
    findings.figure("calls steered to new connections steered", (bench.now_ns() - landed) as f64 / 1e6, "ms");
    findings.check(true, format!("after the policy change new connections reach {}", two.prefix));
    let then = held.latest()[0].clone();
    held.until("the running connection goes on", bench.t_conv(), |all| {
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
    bench.mend(&one.sg, &one.pod).await?;
    drop(webs);
    bench.wait_unsteered(bench.t_return()).await
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

pub(super) async fn too_big(bench: &Bench, findings: &mut Findings) -> Result<(), Stop> {
    bench.needs(&["curl", "python3"]).await?;
    let (caller, target, _) = bench.far_pair().await?;
    let owner = bench.owner_of(&target)?;
    let own = bench.service_of(&caller)?;
    // Routes in pods have the MTU that the names of the topology leave. A longer name leaves less: the SG has to tell
    // the pod.
    let name = format!("/guest/{owner}/{}-{}", "n".repeat(NAME_LENGTH), bench.unique());
    bench.register(&owner, &name).await?;
    bench.wait_everywhere(std::slice::from_ref(&name), bench.t_conv()).await?;
    let room = MAX_PDU - PACKET_OVERHEAD - parse(&name)?.wire().len() - parse(&own)?.wire().len();
    let (at, port) = (bench.address(&name)?.to_string(), PORT.to_string());
    let receiver = bench.script("receive.py", RECEIVER)?.display().to_string();
    let mut command = bench.program(&owner, &["python3", &receiver, &at, &port]);
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|e| Stop::Inconclusive(e.to_string()))?;
    super::next_line(&mut super::lines(&mut child)?, bench.start_time()).await?;
    let sender = bench.script("send.py", SENDER)?.display().to_string();
    let said = bench.run_inside(&caller, &["python3", &sender, &at, &port]).await?.json();
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

    let _web = bench.serve_web(&owner, &name).await?;
    let body = "z".repeat(300_000);
    let file = bench.script("large.txt", &body)?;
    let (file, url) = (format!("@{}", file.display()), bench.url(&name, "/")?);
    let posted = bench.curl(&caller, &["--max-time", "20", "--data-binary", &file, &url]).await?;
    findings.check_saw(
        posted.out == body.as_bytes(),
        format!("300 kB go to {name} and come back whole"),
        format!("{} bytes in {:?}, curl ends with {:?}", posted.out.len(), posted.took, posted.code),
    );
    Ok(())
}
