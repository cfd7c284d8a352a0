//! Topologies: what a user writes in YAML, checked as a whole before anything is created.
//!
//! [`load`] and [`parse`] either give a [`Topology`], whose values are valid by construction, or [`Mistakes`]: all
//! there are, each with place and remedy.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use damc_mgmt::config::Thresholds;
pub use damc_mgmt::config::{Ready, Restart};
use damc_wire::registry::Role;
use damc_wire::{Name, NodeId};

use crate::relay::{DirectionChange, DirectionSpec};

mod connect;
mod decode;
mod document;
mod link;
mod measure;
pub mod mistake;
mod program;
pub mod schema;
mod timeline;
pub mod unit;
mod validate;

pub use document::MAX_VALUES;
pub use link::{PropertyError, describe, set_property};
pub use mistake::{Mistake, MistakeKind, Mistakes};

/// Longest file, in bytes.
pub const MAX_FILE_LEN: u64 = 8 << 20;
/// Most nodes: what one machine carries as processes is less.
pub const MAX_NODES: usize = 4096;
/// Most links.
pub const MAX_LINKS: usize = 16_384;
/// Most services of a pod.
pub const MAX_SERVICES: usize = 256;
/// Most events of a timeline.
pub const MAX_EVENTS: usize = 10_000;
/// Highest cost of a link, as on the wire.
pub const MAX_COST: u32 = damc_wire::lsa::MAX_COST;

/// A valid topology.
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    name: NodeId,
    domain: NodeId,
    nodes: BTreeMap<NodeId, Node>,
    links: Vec<Link>,
    licences: BTreeMap<NodeId, BTreeSet<Name>>,
    qos: Qos,
    events: Vec<TimelineEvent>,
    /// Folder of the file, where it came from one.
    folder: Option<PathBuf>,
}

/// A node.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Identity.
    pub id: NodeId,
    /// Kind.
    pub kind: Role,
    /// Pod: its services, in file order.
    pub services: Vec<Service>,
    /// SG: carries traffic of others too.
    pub transit: bool,
    /// SG, SR: starts with the overload bit set.
    pub overload: bool,
    /// A foreign implementation: command and arguments; `{config}` stands for the path of its configuration.
    pub exec: Option<Vec<String>>,
    /// Where drawings put it, in units of one node distance: right and down.
    pub position: Option<(f64, f64)>,
}

/// A service of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its own prefix.
    pub prefix: Name,
    /// The pool it is an instance of: an ancestor of the prefix.
    pub pool: Option<Name>,
    /// Its share in the pool.
    pub weight: u16,
    /// The program that serves it. None: the built-in service.
    pub run: Option<Run>,
}

/// A program that serves a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Command and arguments.
    pub argv: Vec<String>,
    /// Variables.
    pub env: BTreeMap<String, String>,
    /// Working directory, from the folder of the topology file on. None: that folder.
    pub cwd: Option<String>,
    /// When it is ready.
    pub ready: Ready,
    /// How long that may take, ns.
    pub within_ns: u64,
    /// What follows its end.
    pub restart: Restart,
}

/// A link. It is written once; each direction has its own properties.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// First end.
    pub a: NodeId,
    /// Second end.
    pub b: NodeId,
    /// From first to second.
    pub forward: Direction,
    /// From second to first.
    pub backward: Direction,
}

impl Link {
    /// The other end.
    #[must_use]
    pub fn far(&self, near: &NodeId) -> Option<&NodeId> {
        match near {
            near if *near == self.a => Some(&self.b),
            near if *near == self.b => Some(&self.a),
            _ => None,
        }
    }

    /// The direction that starts at `near`.
    #[must_use]
    pub fn from(&self, near: &NodeId) -> Option<&Direction> {
        match near {
            near if *near == self.a => Some(&self.forward),
            near if *near == self.b => Some(&self.backward),
            _ => None,
        }
    }
}

/// One direction of a link.
#[derive(Clone, Debug, PartialEq)]
pub struct Direction {
    /// What happens to frames.
    pub spec: DirectionSpec,
    /// Metric of plain routing, 1 to [`MAX_COST`].
    pub cost: u32,
}

/// Measurement and thresholds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Qos {
    /// Period of path probes; none: the run's pace decides.
    pub probe_interval_ns: Option<u64>,
    /// Thresholds of prefixes that have none of their own.
    pub default: Option<Thresholds>,
    /// Thresholds by prefix, completed from the default. A metric without preset is never violated: its bandwidth is
    /// 0, its delay or jitter `u64::MAX`.
    pub by_prefix: BTreeMap<Name, Thresholds>,
}

/// Something that happens during a run.
#[derive(Clone, Debug, PartialEq)]
pub struct TimelineEvent {
    /// Time after convergence, ns.
    pub at_ns: u64,
    /// What.
    pub action: TimelineAction,
}

/// What can happen during a run.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a timeline is short, and read once")]
pub enum TimelineAction {
    /// A link changes.
    Link {
        /// One end.
        a: NodeId,
        /// The other end.
        b: NodeId,
        /// How.
        change: LinkEvent,
    },
    /// A node's process changes.
    Node {
        /// The node.
        node: NodeId,
        /// How.
        action: NodeEvent,
    },
}

/// How a link changes.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a timeline is short, and read once")]
pub enum LinkEvent {
    /// Carrier goes.
    Down,
    /// Carrier comes back.
    Up,
    /// Properties change.
    Set {
        /// From the first named end to the second.
        forward: DirectionChange,
        /// From the second to the first.
        backward: DirectionChange,
    },
}

/// How a node's process changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeEvent {
    /// SIGKILL.
    Kill,
    /// Orderly end.
    Stop,
    /// Start after kill or stop.
    Start,
    /// SIGSTOP.
    Pause,
    /// SIGCONT.
    Resume,
}

impl NodeEvent {
    /// All, in the order of their documentation.
    pub const ALL: [Self; 5] = [Self::Kill, Self::Stop, Self::Start, Self::Pause, Self::Resume];

    /// As it is written.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Start => "start",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }
}

impl Topology {
    /// Takes note of where the file lies: its programs are looked for from there.
    fn lying_beside(mut self, path: &Path) -> Self {
        self.folder = path.canonicalize().ok().and_then(|path| path.parent().map(Path::to_owned));
        self
    }

    /// Working directory of a program: absolute where the file's own place is known.
    #[must_use]
    pub fn directory_of(&self, run: &Run) -> PathBuf {
        let folder = self.folder.clone().or_else(|| std::env::current_dir().ok()).unwrap_or_default();
        run.cwd.as_ref().map_or_else(|| folder.clone(), |cwd| folder.join(cwd))
    }

    /// Name of the topology, and of its lab unless told otherwise.
    #[must_use]
    pub fn name(&self) -> &NodeId {
        &self.name
    }

    /// The trust domain.
    #[must_use]
    pub fn domain(&self) -> &NodeId {
        &self.domain
    }

    /// The nodes, by identity.
    #[must_use]
    pub fn nodes(&self) -> &BTreeMap<NodeId, Node> {
        &self.nodes
    }

    /// The nodes of a kind, by identity.
    pub fn of_kind(&self, kind: Role) -> impl Iterator<Item = &Node> + '_ {
        self.nodes.values().filter(move |node| node.kind == kind)
    }

    /// The links, in file order.
    #[must_use]
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// The links of a node with the node at their other end, in file order.
    pub fn links_of<'a>(&'a self, node: &'a NodeId) -> impl Iterator<Item = (&'a Link, &'a NodeId)> + 'a {
        self.links.iter().filter_map(move |link| link.far(node).map(|far| (link, far)))
    }

    /// The link between two nodes, in whichever order they are named.
    #[must_use]
    pub fn link(&self, a: &NodeId, b: &NodeId) -> Option<&Link> {
        self.links.iter().find(|link| link.far(a) == Some(b))
    }

    /// Who may announce what: every pod has an entry.
    #[must_use]
    pub fn licences(&self) -> &BTreeMap<NodeId, BTreeSet<Name>> {
        &self.licences
    }

    /// Measurement and thresholds.
    #[must_use]
    pub fn qos(&self) -> &Qos {
        &self.qos
    }

    /// The longest that a program may take to be ready.
    #[must_use]
    pub fn longest_start(&self) -> Duration {
        let services = self.nodes.values().flat_map(|node| &node.services);
        let longest = services.filter_map(|service| Some(service.run.as_ref()?.within_ns)).max();
        Duration::from_nanos(longest.unwrap_or(0))
    }

    /// The timeline, in time order.
    #[must_use]
    pub fn events(&self) -> &[TimelineEvent] {
        &self.events
    }
}

/// Reads and checks a topology file.
///
/// # Errors
/// All mistakes of the file.
pub fn load(path: &Path) -> Result<Topology, Mistakes> {
    let (file, source) = read_named(path)?;
    parse(&file, &source).map(|topology| topology.lying_beside(path))
}

/// Reads and checks a topology file that is to be brought up: what this version describes but cannot do yet counts as a
/// mistake too.
///
/// # Errors
/// All mistakes of the file; of a file without mistakes, all places that ask for what is not available.
pub fn load_runnable(path: &Path) -> Result<Topology, Mistakes> {
    let (file, source) = read_named(path)?;
    let (topology, pending) = decode::topology(&source).map_err(|mistakes| Mistakes::new(&file, &source, mistakes))?;
    if pending.is_empty() { Ok(topology.lying_beside(path)) } else { Err(Mistakes::new(&file, &source, pending)) }
}

fn read_named(path: &Path) -> Result<(String, String), Mistakes> {
    let file = path.display().to_string();
    match read(path) {
        Ok(source) => Ok((file, source)),
        Err(mistake) => Err(Mistakes::new(&file, "", vec![mistake])),
    }
}

/// Checks the text of a topology file; `file` is its name in messages.
///
/// # Errors
/// All mistakes of the text.
pub fn parse(file: &str, source: &str) -> Result<Topology, Mistakes> {
    let parsed = decode::topology(source).map_err(|mistakes| Mistakes::new(file, source, mistakes))?;
    Ok(parsed.0)
}

fn read(path: &Path) -> Result<String, Mistake> {
    use std::io::Read as _;

    let unreadable = |error: std::io::Error| {
        Mistake::of_file(
            MistakeKind::Unreadable,
            format!("{}: {error}", path.display()),
            "give the path of a readable YAML file, or the bare name of one in topologies/",
        )
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    // One byte over the limit tells a file of exactly that length from a longer one (and from an endless device).
    file.take(MAX_FILE_LEN + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE_LEN {
        return Err(Mistake::of_file(
            MistakeKind::TooLarge,
            format!("{} is longer than {} MiB", path.display(), MAX_FILE_LEN >> 20),
            "a topology file of the largest accepted size stays far below that; is it the right file?",
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        Mistake::of_file(
            MistakeKind::NotYaml,
            format!("{} is no text: byte {} is not UTF-8", path.display(), error.utf8_error().valid_up_to()),
            "a topology is a YAML file in UTF-8",
        )
    })
}
