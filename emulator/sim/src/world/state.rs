//! What a world asks of the simulation, with errors in place of panics.

use core::time::Duration;

use damc_impair::{DirectionChange, DirectionSpec};
use damc_mgmt::command::Command;
use damc_mgmt::event::EventKind;
use damc_mgmt::view::{View, ViewKind};
use damc_proto::io::{Input, Order, PortId};
use damc_testbed::recording::{Header, RecordedPort};
use damc_testbed::{Direction, LinkChange, LinkState, NodeAction, NodeState, NodeStatus, Result, WorldError};
use damc_topology::plan::Plan;
use damc_wire::Role;

use crate::sim::{Sim, What, port_id};

pub(super) fn no_link(a: &str, b: &str) -> WorldError {
    WorldError::Lab(format!("there is no link {a} – {b}"))
}

impl Sim {
    pub(super) fn find(&self, node: &str) -> Result<usize> {
        let index = self.by_name.get(node).copied();
        index.ok_or_else(|| WorldError::Lab(format!("the lab has no node {node}")))
    }

    /// A handle that nobody has.
    pub(super) fn handle(&mut self) -> u64 {
        let handle = self.next_handle;
        self.next_handle += 1;
        handle
    }

    pub(super) fn order_index(&mut self, node: usize, order: Order) {
        self.input(node, Input::Order(order));
    }

    /// What a living node shows; none where its role has no such view.
    pub(super) fn shown(&self, node: usize, kind: ViewKind) -> Option<View> {
        let (this, now) = (&self.nodes[node], self.local_time(node));
        let machine = this.machine.as_ref()?;
        match kind {
            ViewKind::Counters => {
                let mut view = this.counters.clone();
                if let Some(View::Protocol(protocol)) = machine.view(now, ViewKind::Protocol) {
                    view.protocol = protocol;
                }
                Some(view.into())
            }
            ViewKind::Services if this.role == Role::Pod => Some(self.services(node).into()),
            kind => machine.view(now, kind),
        }
    }

    /// Obeys an order of the operator; the handle of its answer where it has one.
    pub(super) fn obey_order(&mut self, node: usize, order: &Command) -> Result<Option<u64>> {
        let this = &self.nodes[node];
        let refused = |why: String| Err(WorldError::Lab(format!("{}: {why}", this.id)));
        if !order.roles().contains(&this.role) {
            return refused(format!("a node of role {} does not know this order", this.role));
        }
        if !matches!(order, Command::QueryPath { .. }) {
            let local = self.local_time(node);
            self.nodes[node].log.push(local, EventKind::Ordered { order: order.clone() });
        }
        let this = &self.nodes[node];
        let refused = |why: String| Err(WorldError::Lab(format!("{}: {why}", this.id)));
        let no_service = |prefix| refused(format!("prefix: no service {prefix} runs here"));
        match order {
            Command::Cost { port, .. } if !this.config.ports.iter().any(|p| p.name == port.as_str()) => {
                return refused(format!("port: there is no port {:?}", port.as_str()));
            }
            Command::QueryPath { .. } => {
                let handle = self.handle();
                self.input(node, Input::Command { handle, command: order });
                return Ok(Some(handle));
            }
            Command::StartService { prefix, pool } => self.start_service(node, prefix, pool.clone()),
            Command::StopService { prefix } | Command::KillService { prefix } => {
                let kills = matches!(order, Command::KillService { .. });
                if !this.serves(prefix, kills) {
                    return no_service(prefix);
                }
                if kills { self.kill_service(node, prefix) } else { self.stop_service(node, prefix) }
            }
            Command::Stop => self.stop_index(node),
            _ => self.input(node, Input::Command { handle: 0, command: order }),
        }
        Ok(None)
    }

    /// Ends a node in order: it takes leave of its neighbours first.
    fn stop_index(&mut self, node: usize) {
        self.input(node, Input::Command { handle: 0, command: &Command::Stop });
        self.kill_index(node);
    }

    /// Changes what a node does.
    pub(super) fn act_on(&mut self, name: &str, action: NodeAction) -> Result<()> {
        let node = self.find(name)?;
        let (runs, paused) = (self.nodes[node].machine.is_some(), self.nodes[node].paused);
        match action {
            NodeAction::Kill if runs => self.kill_index(node),
            NodeAction::Stop if runs && !paused => self.stop_index(node),
            NodeAction::Start if !runs => self.start_index(node),
            NodeAction::Pause if runs && !paused => self.pause(name, true),
            NodeAction::Resume if runs && paused => self.pause(name, false),
            _ => {
                let state = self.state_of(node).label();
                return Err(WorldError::Lab(format!("{name} is {state}: it cannot {}", action.label())));
            }
        }
        Ok(())
    }

    fn state_of(&self, node: usize) -> NodeState {
        match (&self.nodes[node].machine, self.nodes[node].paused) {
            (None, _) => NodeState::Stopped,
            (Some(_), true) => NodeState::Paused,
            (Some(_), false) => NodeState::Ready,
        }
    }

    pub(super) fn status_of(&self, name: &str) -> Option<NodeStatus> {
        let node = self.find(name).ok()?;
        let this = &self.nodes[node];
        let starts = u32::try_from(this.lives).unwrap_or(u32::MAX);
        Some(NodeStatus {
            name: name.to_owned(),
            kind: this.role.label().to_owned(),
            program: format!("damc-{}", this.role),
            version: None,
            state: self.state_of(node),
            starts,
        })
    }

    /// The port of `node` towards `neighbour`.
    fn port_of(&self, node: &str, neighbour: &str) -> Result<(usize, PortId)> {
        let index = self.find(node)?;
        let port = self.nodes[index].config.ports.iter().position(|p| p.name == neighbour);
        let port = port.ok_or_else(|| WorldError::Lab(format!("{node} has no port {neighbour}")))?;
        Ok((index, port_id(port)))
    }

    pub(super) fn link_state(&self, a: &str, b: &str) -> Result<LinkState> {
        self.port_of(a, b).map_err(|_| no_link(a, b))?;
        let (link, from) = self.direction(a, b);
        let link = &self.links[link];
        let (forward, backward) = (*link.directions[from].spec(), *link.directions[1 - from].spec());
        Ok(LinkState { up: link.up, forward, backward, bypassed: Vec::new() })
    }

    /// Changes the link between two neighbours; `planned` is what the topology says of it.
    pub(super) fn change_link(
        &mut self,
        (a, b): (&str, &str),
        change: LinkChange,
        planned: (DirectionSpec, DirectionSpec),
    ) {
        let nothing = DirectionChange::default();
        let (forward, backward) = match change {
            LinkChange::Down => return self.set_link(a, b, false),
            LinkChange::Up => return self.set_link(a, b, true),
            LinkChange::Clear => {
                self.set_spec_from(a, b, planned.0);
                self.set_spec_from(b, a, planned.1);
                return self.set_link(a, b, true);
            }
            LinkChange::Set { direction: Direction::Both, properties } => (properties, properties),
            LinkChange::Set { direction: Direction::Forward, properties } => (properties, nothing),
            LinkChange::Set { direction: Direction::Backward, properties } => (nothing, properties),
            LinkChange::SetEach { forward, backward } => (forward, backward),
        };
        for (near, far, change) in [(a, b, forward), (b, a, backward)] {
            let (link, from) = self.direction(near, far);
            let spec = self.links[link].directions[from].spec().with(&change);
            self.set_spec_from(near, far, spec);
        }
    }

    /// Sends PDUs out of a node's port from now on, one each `spacing`.
    pub(super) fn inject_stream(&mut self, node: &str, port: &str, pdus: &[Vec<u8>], spacing: Duration) -> Result<()> {
        let (node, port) = self.port_of(node, port)?;
        let mut at = self.now;
        for pdu in pdus {
            self.schedule(at, What::Inject { node, port, pdu: pdu.clone() });
            at += spacing;
        }
        Ok(())
    }

    /// The ports as a recording lists them, and the place of each by node and number.
    pub(super) fn header(&self, plan: &Plan) -> (Header, Vec<Vec<u16>>) {
        let (mut ports, mut places) = (Vec::new(), Vec::new());
        for node in &self.nodes {
            let name = node.config.node.clone();
            let mut of_node = Vec::new();
            for port in &node.config.ports {
                of_node.push(u16::try_from(ports.len()).unwrap_or(u16::MAX));
                let interface = port.interface.clone();
                ports.push(RecordedPort { node: name.clone(), port: port.name.clone(), interface });
            }
            places.push(of_node);
        }
        (Header { lab: plan.lab.clone(), realtime_offset_ns: 0, ports }, places)
    }
}
