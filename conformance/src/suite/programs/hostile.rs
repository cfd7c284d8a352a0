//! Pods that lie and pods that flood.

use std::process::Stdio;
use std::time::{Duration, Instant};

use damc_mgmt::words::GatewayCounter;
use damc_wire::frame::write_packet;
use damc_wire::{DropReason, Message, MessageType, Role};

use crate::case::{Findings, Stop};
use crate::testbed::Testbed;
use crate::testbed::witness::parse;

/// Sends datagrams with a source address that is not the pod's, past the pod's own kernel.
const SPOOF: &str = r#"
import socket, struct, sys
source, destination, count = sys.argv[1:4]
pack = lambda a: socket.inet_pton(socket.AF_INET6, a)
udp = struct.pack("!HHHH", 7, 7, 8 + 5, 0xffff) + b"spoof"
packet = struct.pack("!IHBB", 6 << 28, len(udp), 17, 64) + pack(source) + pack(destination) + udp
interface = next(name for _, name in socket.if_nameindex() if name != "lo")
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((interface, 0))
for _ in range(int(count)):
    s.send(b"\xff" * 6 + b"\x02\x00\x00\x00\x00\x09" + b"\x86\xdd" + packet)
"#;

/// Sends datagrams in bursts for a number of seconds: as many as a small host carries hop by hop without overload, and
/// far more than the pod's share.
const FLOOD: &str = r#"
import socket, sys, time
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.connect((sys.argv[1], 9))
print("floods", flush=True)
sent, end = 0, time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    for _ in range(64):
        try:
            s.send(b"f" * 1000)
            sent += 1
        except OSError:
            pass
    time.sleep(0.008)
print(sent, flush=True)
"#;

/// Number of spoofed packets of each kind.
const SPOOFED: u64 = 40;
/// How long a pod floods, s.
const FLOOD_SECONDS: u64 = 3;

pub(super) async fn spoofed(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.needs(&["python3"]).await?;
    let (liar, target, _) = testbed.far_pair().await?;
    let sg = testbed.sg_of(&liar)?;
    let victim = testbed
        .of_kind(&[Role::Pod])
        .into_iter()
        .find(|p| *p != liar && testbed.service_of(p).is_ok_and(|s| s != target));
    let victim = victim.ok_or_else(|| Stop::NotApplicable("no third pod with a service".into()))?;
    let stolen = testbed.service_of(&victim)?;
    let from = testbed.now_ns();

    // What a program with all privileges in its pod can send.
    let before = testbed.dropped(&sg, DropReason::SourceNotAuthorised).await?;
    let script = testbed.script("spoof.py", SPOOF)?.display().to_string();
    let (source, at) = (testbed.address(&stolen)?.to_string(), testbed.address(&target)?.to_string());
    let ran = testbed.run_inside(&liar, &["python3", &script, &source, &at, &SPOOFED.to_string()]).await?;
    findings.check_eq(&ran.code, &Some(0), format!("{liar} sends {SPOOFED} packets from the address of {stolen}"));
    testbed.wait_dropped(&sg, DropReason::SourceNotAuthorised, before, SPOOFED).await?;
    findings.check(true, format!("{sg} drops them all as source-not-authorised"));

    // What a program that speaks DAMC can send: a Packet with stolen names, and one with its own names around a stolen
    // address.
    let own = testbed.service_of(&liar)?;
    let inner = packet(testbed, &stolen, &target)?;
    let before = testbed.dropped(&sg, DropReason::WrongRole).await?;
    for name in [&stolen, &own] {
        let mut pdu = Vec::new();
        if !write_packet(&mut pdu, (&parse(&target)?, &parse(name)?), 7, 64, &inner) {
            return Err(Stop::Inconclusive("a packet does not fit".into()));
        }
        testbed.inject(&liar, &sg, &pdu).await?;
    }
    testbed.wait_dropped(&sg, DropReason::WrongRole, before, 2).await?;
    findings.check(true, format!("{sg} drops a Packet from {liar}, because only SGs make packets"));
    let frames = testbed.frames(from).await?;
    let stolen = parse(&stolen)?;
    let passed = frames.iter().filter(|s| s.sent && s.node != liar && s.message_type() == MessageType::Packet);
    let passed = passed.filter(|s| match s.message() {
        Message::Packet(packet) => {
            packet.inner.ends_with(b"spoof") || s.frame.names.as_ref().is_some_and(|n| n.1 == stolen)
        }
        _ => false,
    });
    findings.none(&passed.count(), "no node sends any of it on");
    Ok(())
}

/// A datagram between the addresses of two names.
fn packet(testbed: &Testbed, from: &str, to: &str) -> Result<Vec<u8>, Stop> {
    let udp = [&[0, 7, 0, 7, 0, 13, 0xff, 0xff][..], b"spoof"].concat();
    let mut packet = vec![0x60, 0, 0, 0, 0, 13, 17, 64];
    packet.extend(testbed.address(from)?.octets());
    packet.extend(testbed.address(to)?.octets());
    packet.extend(udp);
    Ok(packet)
}

pub(super) async fn flooded(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.needs(&["curl", "python3"]).await?;
    let (flooder, target, path) = testbed.far_pair().await?;
    let sg = testbed.sg_of(&flooder)?;
    let own = testbed.service_of(&flooder)?;
    // The service is in the flooding pod. Its client is in another pod of that SG where there is one, else behind
    // another SG.
    let beside = testbed.beside(&sg, Role::Pod)?.into_iter().find(|p| *p != flooder);
    let others =
        testbed.of_kind(&[Role::Pod]).into_iter().find(|p| *p != flooder && testbed.sg_of(p).is_ok_and(|s| s != sg));
    let asker = beside.or(others).ok_or_else(|| Stop::NotApplicable("one pod only".into()))?;
    let _web = testbed.serve_web(&flooder, &own).await?;
    let url = testbed.url(&own, "/health")?;
    let nodes: Vec<&str> = path.iter().map(String::as_str).collect();
    let flaps = testbed.flaps(&nodes).await?;
    let taken = testbed.gateway_count(&sg, GatewayCounter::FromPods).await?;
    let dropped = testbed.dropped(&sg, DropReason::QueueFull).await?;

    let script = testbed.script("flood.py", FLOOD)?.display().to_string();
    let at = testbed.address(&target)?.to_string();
    let mut command = testbed.program(&flooder, &["python3", &script, &at, &FLOOD_SECONDS.to_string()]);
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|e| Stop::Inconclusive(e.to_string()))?;
    let mut lines = super::lines(&mut child)?;
    super::next_line(&mut lines, testbed.start_time()).await?;
    let (began, mut served, mut longest) = (Instant::now(), 0, Duration::ZERO);
    while began.elapsed() < Duration::from_secs(FLOOD_SECONDS) {
        let ran = testbed.curl(&asker, &[&url]).await?;
        findings.check_saw(
            ran.code == Some(0),
            format!("{own} serves {asker} while {flooder} floods"),
            format!("curl ends with {:?}", ran.code),
        );
        served += 1;
        longest = longest.max(ran.took);
    }
    let sent: u64 = super::next_line(&mut lines, testbed.start_time())
        .await?
        .parse()
        .map_err(|e| Stop::Inconclusive(format!("{e}")))?;
    findings.check_saw(
        served > 0,
        format!("requests of {asker} are answered meanwhile"),
        format!("{served}, the slowest after {longest:?}"),
    );
    let taken = testbed.gateway_count(&sg, GatewayCounter::FromPods).await? - taken;
    let dropped = testbed.dropped(&sg, DropReason::QueueFull).await? - dropped;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    {
        findings.figure("flood", sent as f64 / FLOOD_SECONDS as f64, "packets/s");
        findings.figure("of them carried by the SG", taken as f64 / FLOOD_SECONDS as f64, "packets/s");
    }
    findings.check_saw(
        taken + dropped >= sent * 9 / 10,
        format!("{sg} accounts for at least 90 % of the flood"),
        format!("{sent} sent, {taken} taken, {dropped} counted as queue-full"),
    );
    findings.none(&(testbed.flaps(&nodes).await? - flaps), "no adjacency goes down");
    Ok(())
}
