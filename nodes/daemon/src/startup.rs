//! From the command line to a running node.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use damc_forward::HashKey;
use damc_gateway::{Gateway, Options};
use damc_link::{Filter, TrafficReader, monotonic_now};
use damc_mgmt::config::{NodeConfig, PortConfig};
use damc_mgmt::event::EventKind;
use damc_proto::context::ConfigError;
use damc_wire::{Name, NodeId, Role, Timestamp};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing_subscriber::EnvFilter;

use crate::admin::{self, Admin};
use crate::carrier::Carrier;
use crate::class1::{self, Class1};
use crate::control::{Control, Waiter, ending_signals};
use crate::counters::Counters;
use crate::datapath::{self, Datapath};
use crate::edge::Edge;
use crate::effects::Effects;
use crate::error::NodeError;
use crate::event_log::EventLog;
use crate::forwarding::Forwarder;
use crate::mailbox::Mailbox;
use crate::plane::Plane;
use crate::pods::{PeerAddress, PodPort, Pods};
use crate::requests::Request;
use crate::traffic::Traffic;
use crate::{config_file, key, ports, service};

/// Variable with the log filter, in the syntax of `tracing`; `info` where it is not set.
const LOG_VARIABLE: &str = "DAMC_LOG";
/// Descriptors that are enough for any SG.
const DESCRIPTORS: u64 = 16_384;
/// Exit status where the user gave us something wrong.
const EXIT_INPUT: u8 = 2;
/// Requests of the management interface that wait at one time.
const REQUEST_BOUND: usize = 1024;
/// Routed frames for this node that wait at one time, shared by its ports.
const DELIVERY_BOUND: usize = 4096;
/// Frames that wait for a negative reply at one time, shared likewise.
const REFUSAL_BOUND: usize = 256;

/// What the five programs have in common: `damc-ROLE CONFIG`. A pod's services are this program too.
#[must_use]
pub fn main(role: Role) -> ExitCode {
    log_to_stderr();
    // A pod starts its services while it may be urgent; they are not.
    damc_link::priority::ordinary();
    let arguments: Vec<String> = std::env::args().collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "--service", prefix] if role == Role::Pod => service::run(prefix).map_err(NodeError::system("serve")),
        [_, "--exec", ref words @ ..] if role == Role::Pod && !words.is_empty() => {
            Err(NodeError::System { action: "become the program", source: service::become_program(words) })
        }
        [_, "--confined", what, ref words @ ..] if role == Role::Pod && !words.is_empty() => {
            Err(NodeError::System { action: "confine the program", source: service::run_confined(what, words) })
        }
        [_, "--inside", what, ref words @ ..] if role == Role::Pod && !words.is_empty() => {
            Err(NodeError::System { action: "confine the program", source: service::run_inside(what, words) })
        }
        [_, path] if !path.starts_with('-') => run(Path::new(path), role),
        _ => Err(NodeError::Usage(format!("damc-{role}"))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not by the log: its filter must not hide why a node did not start.
            let _ = writeln!(std::io::stderr(), "damc-{role}: {error}");
            if error.is_input() { EXIT_INPUT.into() } else { ExitCode::FAILURE }
        }
    }
}

fn log_to_stderr() {
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    // Fails only where a subscriber is set already, and then that one is as good.
    let _ = subscriber.try_init();
}

/// Runs a node until it is told to end.
fn run(path: &Path, role: Role) -> Result<(), NodeError> {
    // Before any thread starts: signals are read by the control thread and interrupt nobody.
    ending_signals().thread_block().map_err(NodeError::system("block signals"))?;
    let config = config_file::load(path, role)?;
    ports::wait_for_interfaces(&config.ports, Duration::from_millis(config.interfaces_within_ms))?;
    let refuse = |source| NodeError::Config { path: path.to_owned(), source };
    let random = random()?;
    if role == Role::Pod {
        key::write(&config).map_err(NodeError::system("write the pod's key for its programs"))?;
    }
    let machine = damc_proto::node::build(&config, random[0], Timestamp(monotonic_now())).map_err(refuse)?;
    let node = NodeId::new(&config.node).map_err(|e| refuse(ConfigError::field("node", e)))?;
    let services = services(&config).map_err(refuse)?;

    let forwards = matches!(role, Role::Sg | Role::Sr);
    let (control_counters, forwarding_counters) = (Arc::new(Counters::new()), Arc::new(Counters::new()));
    let events = Arc::new(EventLog::default());
    let requests = Arc::new(Mailbox::new(REQUEST_BOUND)?);
    let deliveries = Arc::new(Mailbox::with_lanes(config.ports.len(), DELIVERY_BOUND)?);
    let refusals = Arc::new(Mailbox::with_lanes(config.ports.len(), REFUSAL_BOUND)?);

    let carrier = Carrier::new(&ports::interfaces(&config.ports)?)?;
    let control_ports = ports::open(&config.ports, Filter::Control)?;
    let mut routed_ports = ports::open(&config.ports, Filter::Routed)?;
    let listener = admin::bind(&config.admin_socket)?;
    let admin = Admin {
        node: Arc::from(node.as_str()),
        role,
        ports: config.ports.iter().map(|port| port.name.clone()).collect(),
        requests: Arc::clone(&requests),
        events: Arc::clone(&events),
        counters: vec![Arc::clone(&control_counters), Arc::clone(&forwarding_counters)],
    };
    let plane = forwards.then(|| Plane::new(HashKey(random[1], random[2])));
    let peers: Vec<Arc<PeerAddress>> = config.ports.iter().map(|_| Arc::default()).collect();
    let mut plane = plane;
    if let Some(plane) = &mut plane {
        let edge = if role == Role::Sg {
            Some(edge(&config, plane, &peers, (random[1].rotate_left(7), random[2]), &forwarding_counters, &requests)?)
        } else {
            None
        };
        let forwarder = Forwarder {
            datapath: Datapath::new(node, routed_ports.len(), Arc::clone(&forwarding_counters)),
            ports: std::mem::take(&mut routed_ports),
            table: plane.reader(),
            counters: forwarding_counters,
            deliveries: Arc::clone(&deliveries),
            refusals: Arc::clone(&refusals),
            edge,
        };
        forwarder.spawn()?;
    }
    let server = admin::spawn(admin, listener)?;

    let supervisor = service::Supervisor::new(
        config.node.clone(),
        config.domain.clone(),
        key::path(&config),
        config.confine.clone(),
    );
    let interfaces = config.ports.iter().map(|port| port.interface.clone()).collect();
    let reader = TrafficReader::open().map_err(NodeError::system("count what passes the ports"))?;
    let plane = plane.map(|plane| (plane, Traffic::new(reader, interfaces)));
    let mut effects = Effects::new(machine, control_ports, plane, Arc::clone(&events), control_counters, supervisor);
    for ((prefix, pool, weight), service) in services.into_iter().zip(&config.services) {
        effects.add_service(prefix, pool, weight, service.run.clone());
    }
    let waiter = Waiter::new()?;
    events.push(monotonic_now(), EventKind::Ready);
    say_ready(role);
    let _ended = Cleanup(config.admin_socket);
    Control { effects, carrier, routed: routed_ports, requests, deliveries, refusals, waiter, peers }.run()?;
    server.end();
    Ok(())
}

/// The gateway of an SG with a socket for packets on every port that leads to a pod.
fn edge(
    config: &NodeConfig,
    plane: &mut Plane,
    peers: &[Arc<PeerAddress>],
    key: (u64, u64),
    counters: &Arc<Counters>,
    requests: &Arc<Mailbox<Request>>,
) -> Result<(Edge, Pods), NodeError> {
    let (book, gone) = plane.keep_names(&config.domain)?;
    let id = NodeId::new(&config.node).ok();
    let node = id.and_then(|id| Name::of_node(&config.domain, &id).ok());
    let node = node.ok_or_else(|| NodeError::Usage("damc-sg".into()))?;
    let options = Options {
        domain: config.domain.clone(),
        node,
        key,
        serves: config.gateway.is_some(),
        grace_ns: config.timers.unreachable_grace_ms.saturating_mul(1_000_000),
    };
    let own = config.gateway.as_ref().map(ports::open_own).transpose()?;
    if own.is_some() {
        raise_descriptor_limit();
        let sg = NodeId::new(&config.node).map_err(|_| NodeError::Usage("damc-sg".into()))?;
        let (domain, book) = (Arc::from(config.domain.as_str()), Arc::clone(&book));
        let class1 = Class1 { sg, domain, requests: Arc::clone(requests), book };
        class1::spawn(class1)?;
    }
    let pod = |(port, peer): (&PortConfig, &Arc<PeerAddress>)| {
        (port.peer_role == Role::Pod.label()).then(|| ports::open_for_packets(port, Arc::clone(peer))).transpose()
    };
    let ports: Vec<Option<PodPort>> = config.ports.iter().zip(peers).map(pod).collect::<Result<_, _>>()?;
    let pods = Pods { ports, own, book, gone, counters: Arc::clone(counters) };
    let macs = pods.ports.iter().map(|port| port.as_ref().map(|port| port.own)).collect();
    let own = pods.own.as_ref().map(|own| own.own);
    Ok((Edge::new(Gateway::new(&options), macs, own, Arc::clone(counters), datapath::BATCH), pods))
}

/// Lets this process have as many descriptors as it may. What pods can hold of them is bounded ([`crate::door`]), so that
/// the others are for ports and management; the usual soft limit would leave a large SG few.
fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(e) = setrlimit(Resource::RLIMIT_NOFILE, hard.min(DESCRIPTORS.max(soft)), hard)
    {
        tracing::warn!("cannot raise the limit of descriptors: {e}");
    }
}

/// Tells whoever started us what we are and that we are ready. It may have closed its end, and that is its business.
fn say_ready(role: Role) {
    let mut out = std::io::stdout();
    let said = format!("version damc-{role} {}\nready\n", env!("CARGO_PKG_VERSION"));
    let _ = out.write_all(said.as_bytes()).and_then(|()| out.flush());
}

/// Removes the management socket at the end.
struct Cleanup(PathBuf);

impl Drop for Cleanup {
    fn drop(&mut self) {
        // Gone already, or the directory is: either way nothing is left behind.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The services of a pod's configuration.
fn services(config: &NodeConfig) -> Result<Vec<(Name, Option<Name>, u16)>, ConfigError> {
    let parse = |at: String, text: &str| text.parse::<Name>().map_err(|e| ConfigError::field(at, e));
    let indexed = config.services.iter().enumerate();
    indexed
        .map(|(i, service)| {
            let prefix = parse(format!("services[{i}].prefix"), &service.prefix)?;
            let pool = service.pool.as_deref().map(|pool| parse(format!("services[{i}].pool"), pool)).transpose()?;
            Ok((prefix, pool, service.weight))
        })
        .collect()
}

/// Seed of the machine and key of the table's hash.
fn random() -> Result<[u64; 3], NodeError> {
    let mut bytes = [[0; 8]; 3];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(bytes.as_flattened_mut()));
    read.map_err(NodeError::system("read random numbers"))?;
    Ok(bytes.map(u64::from_ne_bytes))
}
