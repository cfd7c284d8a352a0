//! Ordinary, unchanged programs in pods (`curl`, Python's web server, `openssl`) reach services by name through their
//! SG. A pod registers at its SG over HTTP and gRPC.

mod blip;
mod class1;
mod flows;
mod held;
mod hoarder;
mod hostile;
mod reach;
mod rpc;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use damc_mgmt::words::GatewayCounter;
use damc_wire::address;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::case::{Case, Impact, Stop, Suite, Worlds};
use crate::testbed::Testbed;
use crate::testbed::witness::parse;

const LIMIT: Duration = Duration::from_secs(60);
/// The web service that the cases start, which is shipped with the topologies.
const WEB_SERVICE: &str = include_str!("../../../../topologies/apps/who.py");
/// Its interpreter.
const PYTHON: &str = "python3";
/// Its port, which differs from those that topologies use themselves.
const PORT: u16 = 8099;
/// Time a program has to start on a host that is not slow.
const START: Duration = Duration::from_secs(10);
/// Cases with programs.
pub const CASES: &[Case] = &[
    case!(
        live "real programs", "fwd-01-ip",
        "A program's packets go to its SG, which carries or refuses them",
        ["FWD-01"],
        Calm,
        reach::gateway
    ),
    case!(live "real programs", "fwd-02-ip", "Programs of one pod meet through its SG", ["FWD-02"], Calm, reach::within_one_pod),
    case!(live "real programs", "rmi-02-http", "HTTP is the same wherever the service is", ["RMI-02"], Calm, reach::anywhere),
    case!(live "real programs", "rmi-02-grpc", "gRPC is the same wherever the service is", ["RMI-02", "GOAL-07"], Calm, rpc::calculator),
    case!(live "real programs", "goal-07", "A stock web server and a stock client need nothing but a name", ["GOAL-07"], Calm, reach::stock),
    case!(live "real programs", "goal-08", "Concurrent chains of calls between many services", ["GOAL-08"], Calm, reach::many),
    case!(live "real programs", "reg-04", "A pod registers over HTTP and looks up over gRPC", ["REG-04", "CON-15"], Guest, class1::over_http),
    case!(
        live "real programs", "reg-04-grpc",
        "A pod registers over gRPC with an ordinary stub",
        ["REG-04", "CON-15"],
        Guest,
        class1::over_grpc
    ),
    case!(
        live "real programs", "fwd-01-mtu",
        "The sender of a packet that does not fit is told, and what fits arrives",
        ["FWD-01"],
        Guest,
        flows::too_big
    ),
    case!(
        live "real programs", "fwd-01-spoof",
        "Spoofed addresses and names are dropped and counted",
        ["FWD-01", "GOAL-06"],
        Guest,
        hostile::spoofed
    ),
    case!(
        live "real programs", "fwd-01-flood",
        "A flood from one pod is bounded and counted, and other pods are served",
        ["FWD-01"],
        Guest,
        hostile::flooded
    ),
    case!(live "real programs",
        "fwd-01-hoard",
        "A pod opens 2000 connections to its SG and says nothing: management and calls go on",
        ["FWD-01", "REG-04"],
        Guest,
        hoarder::hoards
    ),
    case!(live "real programs", "fwd-01-restart", "An SG restarts: connections go on or end at once", ["FWD-01"], Nodes, flows::sg_restarts),
    Case {
        id: "fwd-01-blip",
        title: "Every link in turn is silent for 150 ms: no connection ends",
        rows: &["FWD-01", "GAP-02"],
        suite: Suite::Conformance,
        impact: Impact::Links,
        worlds: Worlds::Live("real programs"),
        limit: Duration::from_secs(240),
        run: |testbed, findings| Box::pin(blip::every_link(testbed, findings)),
    },
    Case {
        id: "pol-flows",
        title: "A policy changes: running connections keep their instance, new ones follow at once",
        rows: &["POL-03", "FWD-09"],
        suite: Suite::Qos,
        impact: Impact::Links,
        worlds: Worlds::Live("real programs"),
        limit: Duration::from_secs(90),
        run: |testbed, findings| Box::pin(flows::policy_changes(testbed, findings)),
    },
];

/// The outcome of a program.
struct Ran {
    code: Option<i32>,
    out: Vec<u8>,
    took: Duration,
}

impl Ran {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).trim().to_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.out).unwrap_or(Value::Null)
    }
}

impl Testbed {
    /// Time a program has to start, or to print its next line.
    fn start_time(&self) -> Duration {
        self.host.stretched(START)
    }

    /// A command that runs a program in a node. The process ends when the value it is spawned as is dropped.
    fn program(&self, node: &str, words: &[&str]) -> Command {
        let processes = self.processes();
        let mut command = Command::new(&processes.program);
        let known = |word| if word == PYTHON { self.python.get().map_or(PYTHON, String::as_str) } else { word };
        command.args(["exec", "--lab", &processes.lab, node, "--"]).args(words.iter().copied().map(known));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        command
    }

    async fn run_inside(&self, node: &str, words: &[&str]) -> Result<Ran, Stop> {
        ran(self.program(node, words)).await
    }

    async fn curl(&self, pod: &str, words: &[&str]) -> Result<Ran, Stop> {
        self.run_inside(pod, &[&["curl", "-sS", "--max-time", "8"][..], words].concat()).await
    }

    /// Checks that these programs are installed.
    async fn needs(&self, programs: &[&str]) -> Result<(), Stop> {
        if let Some(program) = programs.iter().find(|p| (self.processes().find)(Path::new(p)).is_none()) {
            return absent(program);
        }
        if programs.contains(&PYTHON) && !self.python.initialized() {
            let (_, pod) = self.sg_with_pod()?;
            let found = self.run_inside(&pod, &[PYTHON, "-c", "import sys; print(sys.executable)"]).await?.text();
            if found.starts_with('/') {
                // An error means that it is set already.
                let _ = self.python.set(found);
            }
        }
        Ok(())
    }

    /// The same as `run_inside`, with standard error appended to standard output.
    async fn run_inside_all(&self, node: &str, words: &[&str]) -> Result<Ran, Stop> {
        let mut command = self.program(node, words);
        command.stderr(Stdio::piped());
        ran(command).await
    }

    /// Starts the web service as `name` in a pod and waits, without using the mesh, until it listens there.
    async fn serve_web(&self, pod: &str, name: &str) -> Result<Child, Stop> {
        self.serve_web_at(pod, name, None).await
    }

    /// The same for an instance of a pool.
    async fn serve_web_in_pool(&self, pod: &str, name: &str, pool: &str) -> Result<Child, Stop> {
        self.serve_web_at(pod, name, Some(pool)).await
    }

    async fn serve_web_at(&self, pod: &str, name: &str, pool: Option<&str>) -> Result<Child, Stop> {
        let script = self.script("who.py", WEB_SERVICE)?.display().to_string();
        let (own, address) = (format!("DAMC_NAME={name}"), format!("DAMC_ADDRESS={}", self.address(name)?));
        let mut words = vec!["env".to_owned(), "-u".to_owned(), "DAMC_POOL_ADDRESS".to_owned(), own, address];
        if let Some(pool) = pool {
            words.push(format!("DAMC_POOL_ADDRESS={}", self.address(pool)?));
        }
        words.extend([PYTHON.to_owned(), script, PORT.to_string()]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        // One that was killed a moment ago may still listen, and would be taken for this one.
        self.wait_listeners(pod, PORT, self.address(name)?, false).await?;
        let mut command = self.program(pod, &words);
        let child = command.stdout(Stdio::null()).spawn().map_err(|e| Stop::Inconclusive(e.to_string()))?;
        for name in [Some(name), pool].into_iter().flatten() {
            self.wait_listening(pod, PORT, self.address(name)?).await?;
        }
        Ok(child)
    }

    fn script(&self, name: &str, text: &str) -> Result<PathBuf, Stop> {
        let path = self.processes().directory.join(name);
        std::fs::write(&path, text).map_err(|e| Stop::Inconclusive(format!("write {}: {e}", path.display())))?;
        Ok(path)
    }

    /// Waits until a program listens at exactly this address.
    async fn wait_listening(&self, pod: &str, port: u16, at: std::net::Ipv6Addr) -> Result<(), Stop> {
        self.wait_listeners(pod, port, at, true).await
    }

    /// Waits until a program listens there (`some`), or none does.
    async fn wait_listeners(&self, pod: &str, port: u16, at: std::net::Ipv6Addr, some: bool) -> Result<(), Stop> {
        let words: Vec<String> = at
            .octets()
            .chunks(4)
            .map(|word| format!("{:08X}", u32::from_ne_bytes([word[0], word[1], word[2], word[3]])))
            .collect();
        let wanted = format!("{}:{port:04X} ", words.concat());
        let what = format!("{} listens in {pod}", if some { "a program" } else { "nothing" });
        self.wait(&what, self.start_time(), || async {
            let ran = self.run_inside(pod, &["cat", "/proc/net/tcp6"]).await;
            Ok(match ran {
                Ok(ran) if ran.text().lines().any(|l| l.contains(&wanted) && l.contains(" 0A ")) == some => Ok(()),
                Ok(ran) => Err(format!("{} TCP sockets", ran.text().lines().count().saturating_sub(1))),
                Err(_) => Err("the pod cannot be entered".to_owned()),
            })
        })
        .await
    }

    fn address(&self, name: &str) -> Result<std::net::Ipv6Addr, Stop> {
        let address = address::of_name(self.topology.domain().as_str(), &parse(name)?);
        address.ok_or_else(|| Stop::NotApplicable(format!("{name} is too long for an address")))
    }

    fn host(&self, name: &str) -> Result<String, Stop> {
        let host = address::host_name(self.topology.domain().as_str(), &parse(name)?);
        host.ok_or_else(|| Stop::NotApplicable(format!("{name} has no host name")))
    }

    fn url(&self, name: &str, path: &str) -> Result<String, Stop> {
        Ok(format!("http://{}:{PORT}{path}", self.host(name)?))
    }

    async fn gateway_count(&self, sg: &str, counter: GatewayCounter) -> Result<u64, Stop> {
        Ok(self.lab.counters(sg).await?.gateway.get(counter))
    }
}

/// Runs a program to its end; where its standard error is piped too, it follows the standard output.
async fn ran(mut command: Command) -> Result<Ran, Stop> {
    let began = Instant::now();
    let output = command.output().await.map_err(|e| Stop::Inconclusive(e.to_string()))?;
    Ok(Ran { code: output.status.code(), out: [output.stdout, output.stderr].concat(), took: began.elapsed() })
}

/// Ends a case whose program is not installed: not applicable, or a failure in CI, where every case must be judged.
fn absent<T>(program: &str) -> Result<T, Stop> {
    if std::env::var_os("CI").is_some() {
        Err(Stop::Failed(format!("{program} is not installed, but with CI set every case must be judged: install it")))
    } else {
        Err(Stop::Inconclusive(format!("{program} is not installed; install it to have this case judged")))
    }
}

/// The lines a program prints.
fn lines(child: &mut Child) -> Result<Lines<BufReader<ChildStdout>>, Stop> {
    let stdout = child.stdout.take().ok_or_else(|| Stop::Inconclusive("a program has no pipe".into()))?;
    Ok(BufReader::new(stdout).lines())
}

/// The next line.
async fn next_line(lines: &mut Lines<BufReader<ChildStdout>>, within: Duration) -> Result<String, Stop> {
    match tokio::time::timeout(within, lines.next_line()).await {
        Ok(Ok(Some(line))) => Ok(line),
        Ok(_) => Err(Stop::Inconclusive("a program ended before it printed a line".into())),
        Err(_) => Err(Stop::Inconclusive(format!("a program printed nothing within {within:?}"))),
    }
}
