//! Making a simulation of configurations.

use core::time::Duration;
use std::collections::BinaryHeap;

use damc_impair::FramePool;
use damc_mgmt::config::NodeConfig;
use damc_mgmt::view::CountersView;
use damc_proto::io::PortCount;
use damc_proto::node::{ConfigError, build};
use damc_topology::plan::NoPlan;
use damc_trust::SignatureMemory;
use damc_wire::{NodeId, Role, Timestamp};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::link::{Direction, End, Link, usual};
use crate::node::{Seen, SimNode};
use crate::plane::Plane;
use crate::records::EventLog;
use crate::sim::{Sim, port_id};

/// Why a simulation cannot be built.
#[derive(Debug)]
pub enum BuildError {
    /// A node refuses its configuration.
    Config(String, ConfigError),
    /// A plan names something that no plan names.
    Plan(NoPlan),
    /// A port leads to nobody, or its neighbour has no port back.
    Port(String, String),
}

impl core::fmt::Display for BuildError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Config(node, e) => write!(f, "{node}: {e}"),
            Self::Plan(e) => e.fmt(f),
            Self::Port(node, port) => write!(f, "{node}: port {port} has no other end"),
        }
    }
}

impl std::error::Error for BuildError {}

/// Random stream of links: what they do to frames has nothing to do with who starts when.
const LINK_STREAM: u64 = 1;

impl Sim {
    /// A network of the nodes in `configs`: every pair of ports named after each other's node is a link. All nodes are
    /// dead and all links up until [`Self::start`].
    ///
    /// # Errors
    /// A configuration that contradicts itself or the others.
    pub fn new(configs: &[NodeConfig], seed: u64) -> Result<Self, BuildError> {
        let mut sim = Self {
            now: Self::BEGIN,
            rng: ChaCha8Rng::seed_from_u64(seed),
            nodes: Vec::new(),
            by_name: configs.iter().enumerate().map(|(i, c)| (c.node.clone(), i)).collect(),
            links: Vec::new(),
            queue: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            serial: 0,
            revision: 0,
            next_handle: 1,
            fib_changed_at: Timestamp::ZERO,
            keeps_events: true,
            tape: None,
            finished: Vec::new(),
            signatures: SignatureMemory::default(),
            watch: None,
            pool: FramePool::default(),
            frame: Vec::new(),
        };
        for config in configs {
            let node = sim.build_node(config)?;
            sim.nodes.push(node);
        }
        sim.join(configs, seed)?;
        Ok(sim)
    }

    fn build_node(&mut self, config: &NodeConfig) -> Result<SimNode, BuildError> {
        let fail = |e| BuildError::Config(config.node.clone(), e);
        // Built once now so that a bad configuration is refused before anything runs.
        build(config, 0, self.now).map_err(fail)?;
        let role = Role::from_label(&config.role).ok_or_else(|| fail(ConfigError::field("role", "unknown")))?;
        let id = NodeId::new(&config.node).map_err(|e| fail(ConfigError::field("node", e)))?;
        Ok(SimNode {
            id,
            role,
            config: config.clone(),
            machine: None,
            plane: Plane::new(self.rng.random()),
            links: vec![usize::MAX; config.ports.len()],
            counts: (0..config.ports.len()).map(no_count).collect(),
            to_count: false,
            lives: 0,
            wake_at: None,
            paused: false,
            waiting: Vec::new(),
            clock_skew: Duration::ZERO,
            clock_drift_ppm: 0,
            seen: Seen::default(),
            counters: CountersView::default(),
            services: Vec::new(),
            log: EventLog::default(),
            ticks: (Timestamp::ZERO, 0),
        })
    }

    fn join(&mut self, configs: &[NodeConfig], seed: u64) -> Result<(), BuildError> {
        let mut seeds = ChaCha8Rng::seed_from_u64(seed);
        seeds.set_stream(LINK_STREAM);
        for (node, config) in configs.iter().enumerate() {
            for (index, port) in config.ports.iter().enumerate() {
                let missing = || BuildError::Port(config.node.clone(), port.name.clone());
                let other = *self.by_name.get(&port.name).ok_or_else(missing)?;
                let back = configs[other].ports.iter().position(|p| p.name == config.node).ok_or_else(missing)?;
                if node > other {
                    continue;
                }
                let link = self.links.len();
                self.nodes[node].links[index] = link;
                self.nodes[other].links[back] = link;
                self.links.push(Link {
                    ends: [End { node, port: port_id(index) }, End { node: other, port: port_id(back) }],
                    directions: core::array::from_fn(|_| Direction::new(usual(), seeds.random())),
                    up: true,
                    epoch: 0,
                });
            }
        }
        Ok(())
    }

    /// Keeps no events: in networks of a thousand nodes there are millions.
    #[must_use]
    pub const fn without_events(mut self) -> Self {
        self.keeps_events = false;
        self
    }
}

fn no_count(index: usize) -> PortCount {
    PortCount { port: port_id(index), sent_bytes: 0, received_bytes: 0 }
}
