//! Service Router: link-state routing and forwarding, no services of its own.

use std::sync::Arc;

use damc_mgmt::config::NodeConfig;
use damc_wire::{Role, Timestamp};

use crate::context::{ConfigError, Context};
use crate::io::{Input, Machine, Outbox, Output};
use crate::router::Router;

/// The machine of a Service Router.
#[derive(Debug)]
pub struct Sr {
    router: Router,
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
        Ok(Self { router: Router::new(Arc::new(context), seed, now), out: Outbox::default() })
    }
}

impl Machine for Sr {
    fn handle(&mut self, now: Timestamp, input: Input<'_>) {
        self.router.handle(now, input, &mut self.out);
        while self.router.poll_event().is_some() {}
    }

    fn poll(&mut self) -> Option<Output> {
        self.out.pop()
    }

    fn next_timeout(&self) -> Option<Timestamp> {
        self.router.next_timeout()
    }

    fn view(&self, now: Timestamp, what: &str) -> Option<serde_json::Value> {
        self.router.view(now, what)
    }
}
