//! SPA: decides for its SGs which names pods may have.

use std::sync::Arc;

use damc_mgmt::command::Command;
use damc_mgmt::config::NodeConfig;
use damc_mgmt::view::{View, ViewKind};
use damc_wire::{DropReason, Message, Role, Timestamp};

use crate::adjacency::{Adjacencies, Change, Received};
use crate::auth::authority::{Action, Authority};
use crate::auth::licence::Licences;
use crate::context::{ConfigError, Context};
use crate::io::{Input, Machine, Outbox, Output};

/// The machine of an SPA.
#[derive(Debug)]
pub struct Spa {
    adjacencies: Adjacencies,
    authority: Authority,
    out: Outbox,
}

impl Spa {
    /// An SPA with all ports down and the configured licences.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn new(config: &NodeConfig, seed: u64, _now: Timestamp) -> Result<Self, ConfigError> {
        let context = Context::from_config(config)?;
        context.require_role(Role::Spa)?;
        let licences = Licences::from_config(config)?;
        let authority = Authority::new(context.keys.clone(), context.verifier(), licences, &context.timers);
        Ok(Self { adjacencies: Adjacencies::new(Arc::new(context), seed), authority, out: Outbox::default() })
    }

    fn handle_message(&mut self, now: Timestamp, received: &Received) {
        let Received { port, neighbour, role, message, .. } = received;
        match message {
            _ if *role != Role::Sg => self.out.dropped(Some(*port), DropReason::WrongRole),
            Message::AuthRequest(request) => self.authority.handle_request(now, *port, neighbour, request),
            Message::RevokeAck(ack) => self.authority.handle_revoke_ack(*port, neighbour, ack),
            _ => self.out.dropped(Some(*port), DropReason::Unsolicited),
        }
    }

    fn follow_adjacency(&mut self, now: Timestamp) {
        while let Some(change) = self.adjacencies.poll_change() {
            match change {
                Change::Up { port, node, role: Role::Sg } => self.authority.sg_up(now, node, port),
                Change::Down { node, .. } => self.authority.sg_down(&node),
                Change::Up { .. } => {}
            }
        }
    }

    fn settle(&mut self, now: Timestamp) {
        self.follow_adjacency(now);
        while let Some(action) = self.authority.poll_action() {
            match action {
                Action::Send { port, message } => {
                    self.adjacencies.send(now, port, *message, &mut self.out);
                }
                Action::Event(event) => self.out.event(event),
                Action::Dropped { port, reason } => self.out.dropped(Some(port), reason),
            }
        }
    }
}

impl Machine for Spa {
    fn handle(&mut self, now: Timestamp, input: Input<'_>) {
        match input {
            Input::PortUp(port) => self.adjacencies.handle_port(now, port, true, &mut self.out),
            Input::PortDown(port) => self.adjacencies.handle_port(now, port, false, &mut self.out),
            Input::Frame { port: Some(port), received_at, pdu } => {
                let received = self.adjacencies.handle_frame(now, port, received_at, pdu, &mut self.out);
                self.follow_adjacency(now);
                if let Some(received) = received {
                    self.handle_message(now, &received);
                }
            }
            Input::Tick => {
                self.adjacencies.handle_timeout(now, &mut self.out);
                self.authority.handle_timeout(now);
            }
            Input::Command { command: Command::RevokeLicence { pod, prefix }, .. } => {
                self.authority.revoke_licence(now, pod, prefix);
            }
            Input::Command { command: Command::AddLicence { pod, prefix }, .. } => {
                self.authority.add_licence(pod.clone(), prefix.clone());
            }
            // An SPA has no forwarding plane, and takes no other commands and no orders.
            Input::Frame { port: None, .. }
            | Input::Undeliverable { .. }
            | Input::PortCounts(_)
            | Input::Command { .. }
            | Input::Order(_) => {}
        }
        self.settle(now);
    }

    fn poll(&mut self) -> Option<Output> {
        self.out.pop()
    }

    fn next_timeout(&self) -> Option<Timestamp> {
        [self.adjacencies.next_timeout(), self.authority.next_timeout()].into_iter().flatten().min()
    }

    fn view(&self, now: Timestamp, kind: ViewKind) -> Option<View> {
        Some(match kind {
            ViewKind::Announcements => self.authority.view().into(),
            ViewKind::Neighbors => self.adjacencies.view(now).into(),
            ViewKind::Protocol => self.authority.counters().clone().into(),
            _ => return None,
        })
    }
}
