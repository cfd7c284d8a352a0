//! Service Router: link-state routing and forwarding, without services of its own.

use std::sync::Arc;

use damc_mgmt::config::NodeConfig;
use damc_mgmt::view::{View, ViewKind};
use damc_trust::SignatureMemory;
use damc_wire::{DropReason, Role, Timestamp};

use crate::context::{ConfigError, Context};
use crate::io::{Input, Machine, Outbox, Output};
use crate::nack::{Nacks, refusal_for};
use crate::qos::agent::QosAgent;
use crate::router::{Router, RouterEvent};

/// The machine of a Service Router.
#[derive(Debug)]
pub struct Sr {
    router: Router,
    qos: QosAgent,
    nacks: Nacks,
    out: Outbox,
}

impl Sr {
    /// A router with all ports down.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn new(config: &NodeConfig, seed: u64, now: Timestamp) -> Result<Self, ConfigError> {
        let context = Context::from_config(config)?;
        context.require_role(Role::Sr)?;
        let context = Arc::new(context);
        Ok(Self {
            qos: QosAgent::new(context.clone(), seed.rotate_left(32), now),
            nacks: Nacks::new(context.node.clone()),
            router: Router::new(context, seed, now),
            out: Outbox::default(),
        })
    }

    /// Passes the router's events to the other parts.
    fn settle(&mut self, now: Timestamp) {
        while let Some(event) = self.router.poll_event() {
            self.handle_event(now, &event);
        }
    }

    fn handle_event(&mut self, now: Timestamp, event: &RouterEvent) {
        if self.qos.handle_event(now, event, &mut self.router, &mut self.out) {
            return;
        }
        match event {
            // An SR has no services and no pods: classes 1 and 3 do not concern it.
            RouterEvent::Message(received) => self.out.dropped(Some(received.port), DropReason::WrongRole),
            RouterEvent::Routed { frame, port, .. } => {
                self.nacks.unserved(now, &mut self.router, *port, frame, &mut self.out);
            }
            RouterEvent::NeighbourUp { .. } | RouterEvent::NeighbourDown { .. } | RouterEvent::RoutesChanged { .. } => {
            }
        }
    }
}

impl Machine for Sr {
    fn handle(&mut self, now: Timestamp, input: Input<'_>) {
        match input {
            Input::Undeliverable { port, reason, pdu } => {
                if let Some(refusal) = refusal_for(reason) {
                    self.nacks.handle(now, &mut self.router, (port, refusal), pdu, &mut self.out);
                }
            }
            Input::PortCounts(counts) => self.qos.handle_counts(now, counts, &mut self.router, &mut self.out),
            Input::Tick => {
                self.router.handle(now, Input::Tick, &mut self.out);
                self.qos.handle_timeout(now, &mut self.router, &mut self.out);
            }
            other => self.router.handle(now, other, &mut self.out),
        }
        self.settle(now);
    }

    fn poll(&mut self) -> Option<Output> {
        if let Some(now) = self.router.finish(&mut self.out) {
            self.settle(now);
        }
        self.out.pop()
    }

    fn next_timeout(&self) -> Option<Timestamp> {
        [self.router.next_timeout(), self.qos.next_timeout()].into_iter().flatten().min()
    }

    fn share_signatures(&mut self, memory: &SignatureMemory) {
        self.router.share_signatures(memory);
    }

    fn view(&self, now: Timestamp, kind: ViewKind) -> Option<View> {
        Some(match kind {
            ViewKind::Policies => self.qos.view(now).into(),
            ViewKind::Protocol => {
                let mut counters = self.router.counters();
                counters.merge(&self.qos.counters());
                counters.merge(&self.nacks.counters());
                counters.into()
            }
            _ => return self.router.view(now, kind),
        })
    }
}
