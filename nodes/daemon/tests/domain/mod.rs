//! A small domain of real processes in one private network namespace: configuration, start, questions, end.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use damc_mgmt::call::{CallReply, CallRequest};
use damc_mgmt::config::{IdentityConfig, NodeConfig, PortConfig, ServiceConfig, Timers};
use damc_trust::{NodeSecrets, RootSecret, certificate_to_hex, to_hex};
use damc_wire::security::CertifiedName;
use damc_wire::{NodeId, Role};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Programs by role.
fn program(role: Role) -> &'static str {
    match role {
        Role::Sr => env!("CARGO_BIN_EXE_damc-sr"),
        Role::Sg => env!("CARGO_BIN_EXE_damc-sg"),
        Role::Spa => env!("CARGO_BIN_EXE_damc-spa"),
        Role::Scsc => env!("CARGO_BIN_EXE_damc-scsc"),
        Role::Pod => env!("CARGO_BIN_EXE_damc-pod"),
    }
}

/// Role by the convention of these tests: `sg-1` is an SG.
pub fn role_of(node: &str) -> Role {
    Role::from_label(node.split('-').next().unwrap()).unwrap()
}

/// Name of the interface of `node` towards `neighbour`, at most 15 characters.
pub fn interface(node: &str, neighbour: &str) -> String {
    format!("{node}.{neighbour}")
}

/// A folder that is removed at the end.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("damc-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Configurations of all nodes of a set of links.
pub fn configurations(
    folder: &Path,
    links: &[(&str, &str)],
    services: &[(&str, &[&str])],
) -> BTreeMap<String, NodeConfig> {
    let mut nodes: BTreeMap<String, NodeConfig> = BTreeMap::new();
    for (a, b) in links.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]) {
        let node = nodes.entry(a.to_owned()).or_insert_with(|| configuration(folder, a));
        let (interface, peer_role) = (interface(a, b), role_of(b).label().to_owned());
        node.ports.push(PortConfig { name: b.to_owned(), interface, cost: 1, peer_role });
    }
    for (pod, prefixes) in services {
        let service = |prefix: &&str| ServiceConfig { prefix: (*prefix).to_owned(), pool: None, weight: 1, run: None };
        nodes.get_mut(*pod).unwrap().services = prefixes.iter().map(service).collect();
        let licence: Vec<String> = prefixes.iter().map(|p| (*p).to_owned()).collect();
        for spa in nodes.values_mut().filter(|n| n.role == "spa") {
            spa.licences.insert((*pod).to_owned(), licence.clone());
        }
    }
    nodes
}

/// What the SPAs of these tests may grant: these names and all below them.
fn certified() -> Vec<CertifiedName> {
    let names = ["/A", "/B", "/C", "/crashes", "/silent", "/absent", "/once"];
    names.map(|name| CertifiedName { name: name.parse().unwrap(), exact: false }).to_vec()
}

/// A node without ports.
pub fn configuration(folder: &Path, node: &str) -> NodeConfig {
    let root = RootSecret::from_seed(&[9; 32]);
    let (id, role) = (NodeId::new(node).unwrap(), role_of(node));
    let secrets = NodeSecrets::derive(&[1; 32], &id);
    let domain = NodeId::new("example").unwrap();
    let certificate = match role {
        Role::Spa => root.issue_spa(&domain, &id, &secrets, certified()),
        _ => root.issue(&domain, &id, role, &secrets),
    };
    NodeConfig {
        node: node.to_owned(),
        role: role.label().to_owned(),
        domain: "example".to_owned(),
        admin_socket: folder.join(format!("{node}.sock")),
        ports: Vec::new(),
        identity: IdentityConfig {
            root_key: to_hex(&root.public().to_bytes()),
            signing_secret: to_hex(&secrets.signing),
            agreement_secret: to_hex(&secrets.agreement),
            certificate: certificate_to_hex(&certificate),
        },
        timers: Timers::default(),
        services: Vec::new(),
        licences: BTreeMap::new(),
        thresholds: BTreeMap::new(),
        transit: false,
        link_macs: true,
        gateway: None,
        confine: None,
        interfaces_within_ms: 0,
        pools: Vec::new(),
    }
}

/// A running node; killed when dropped.
pub struct Node {
    child: Child,
    socket: PathBuf,
}

impl Node {
    /// Starts a node and waits until it is ready.
    pub fn start(folder: &Path, config: &NodeConfig) -> Self {
        let path = folder.join(format!("{}.json", config.node));
        std::fs::write(&path, serde_json::to_vec(config).unwrap()).unwrap();
        let log = std::fs::File::create(folder.join(format!("{}.log", config.node))).unwrap();
        let mut child =
            Command::new(program(role_of(&config.node))).arg(&path).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let version = format!("version damc-{} {}", role_of(&config.node), env!("CARGO_PKG_VERSION"));
        for line in [version.as_str(), "ready"] {
            assert_eq!(said.next().as_deref(), Some(line), "{}: {}", config.node, log_of(folder, &config.node));
        }
        Self { child, socket: config.admin_socket.clone() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// One HTTP exchange: status and body.
    pub fn http(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: n\r\nConnection: close\r\nContent-Type: application/json\r\n");
        write!(stream, "{head}Content-Length: {length}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    pub fn get(&self, path: &str) -> serde_json::Value {
        let (status, body) = self.http("GET", path, "");
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    pub fn order(&self, order: &str) -> (u16, String) {
        self.http("POST", "/order", order)
    }

    pub fn call(&self, name: &str, method: &str, args: &[&str]) -> CallReply {
        let request = CallRequest {
            name: name.to_owned(),
            method: method.to_owned(),
            args: args.iter().map(|a| (*a).to_owned()).collect(),
            deadline_ms: 2000,
            trace: true,
            source: None,
            flow: None,
            traceparent: None,
        };
        let (status, body) = self.http("POST", "/call", &serde_json::to_string(&request).unwrap());
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Ends the node by SIGTERM; gives its status and how long that took.
    pub fn terminate(mut self) -> (ExitStatus, Duration) {
        let begin = Instant::now();
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGTERM).unwrap();
        (self.child.wait().unwrap(), begin.elapsed())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The log of a node.
pub fn log_of(folder: &Path, node: &str) -> String {
    std::fs::read_to_string(folder.join(format!("{node}.log"))).unwrap_or_default()
}

/// Asks until `done`, at most ten seconds, else panics with the last answer.
pub fn until<T: std::fmt::Debug>(what: &str, mut ask: impl FnMut() -> T, done: impl Fn(&T) -> bool) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let answer = ask();
        if done(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: last {answer:?}");
        std::thread::yield_now();
    }
}
