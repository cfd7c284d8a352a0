//! A pod that opens connections to what its SG serves by TCP, and says nothing.

use std::process::Stdio;

use damc_wire::address;
use serde::Deserialize;

use crate::case::{Findings, Stop};
use crate::testbed::Testbed;

/// Connections it opens, half of them to class 1 and half to the DNS.
const CONNECTIONS: usize = 2000;
/// More of them than this nobody keeps for a pod.
const KEPT: usize = 64;

/// Opens the connections, waits until the SG has had its say about the last one, counts those that are open, and keeps
/// them until the end of its standard input.
const HOARD: &str = r#"
import json, resource, select, socket, sys, time
count = int(sys.argv[1])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 100), hard))
held, opened = [], 0
for number in range(count):
    host, port = (sys.argv[2], 80) if number % 2 else (sys.argv[3], 53)
    s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    s.settimeout(10)
    try:
        s.connect((host, port))
        held.append(s)
        opened += 1
    except OSError:
        s.close()

def ended(s, wait):
    poll = select.poll()
    poll.register(s, select.POLLIN)
    return bool(poll.poll(wait))

deadline = time.monotonic() + 10
while len(held) > int(sys.argv[4]) and time.monotonic() < deadline:
    held = [s for s in held if not ended(s, 1)]
print(json.dumps({"opened": opened, "kept": len(held)}), flush=True)
sys.stdin.read()
"#;

/// What the program prints.
#[derive(Debug, Deserialize)]
struct Hoard {
    opened: usize,
    kept: usize,
}

pub(super) async fn hoards(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.needs(&["curl", "python3"]).await?;
    let (pod, target, path) = testbed.far_pair().await?;
    let sg = testbed.sg_of(&pod)?;
    let nodes: Vec<&str> = path.iter().map(String::as_str).collect();
    let flaps = testbed.flaps(&nodes).await?;
    let domain = testbed.topology.domain();
    let (class1, dns) =
        (address::of_gateway(domain.as_str()).to_string(), address::of_dns(domain.as_str()).to_string());
    let script = testbed.script("hoard.py", HOARD)?.display().to_string();
    let (count, kept) = (CONNECTIONS.to_string(), KEPT.to_string());
    let mut command = testbed.program(&pod, &["python3", &script, &count, &class1, &dns, &kept]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|e| Stop::Inconclusive(e.to_string()))?;
    let line = super::next_line(&mut super::lines(&mut child)?, testbed.start_time() * 4).await?;
    let hoard: Hoard = serde_json::from_str(&line).map_err(|e| Stop::Inconclusive(format!("hoard.py: {e}")))?;
    findings.check_saw(
        hoard.opened >= CONNECTIONS / 2 && hoard.kept <= KEPT,
        format!("of {CONNECTIONS} connections that {pod} opens to {sg} at most {KEPT} are kept"),
        format!("{hoard:?}"),
    );
    let counters = testbed.lab.counters(&sg).await;
    findings.check_saw(counters.is_ok(), format!("the management of {sg} answers meanwhile"), format!("{counters:?}"));
    let reply = testbed.call(&pod, &target, "echo", &["x"]).await?;
    findings.check_saw(reply.error.is_none(), format!("calls of {pod} are answered meanwhile"), format!("{reply:?}"));
    // Its standard input ends with it.
    drop(child.stdin.take());
    child.wait().await.map_err(|e| Stop::Inconclusive(e.to_string()))?;
    testbed
        .wait(&format!("{sg} serves {pod} again"), testbed.start_time(), || async {
            let ran = testbed.curl(&pod, &[&format!("http://[{class1}]/v1/prefixes")]).await;
            Ok(match ran {
                Ok(ran) if ran.json()["names"].is_array() => Ok(()),
                Ok(ran) => Err(ran.text()),
                Err(_) => Err("curl could not be run".to_owned()),
            })
        })
        .await?;
    findings.check(true, format!("class 1 over HTTP serves {pod} again as soon as it has let go"));
    findings.check_eq(&(testbed.flaps(&nodes).await? - flaps), &0, "no adjacency goes down");
    Ok(())
}
