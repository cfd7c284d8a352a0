//! The services of a simulated pod: started, stopped and restarted as an agent does with processes.

use core::time::Duration;

use damc_mgmt::config::ServiceConfig;
use damc_mgmt::view::{ServiceView, ServicesView};
use damc_mgmt::words::ServiceState;
use damc_proto::io::{Input, Order};
use damc_proto::rmi::builtin::{self, Outcome};
use damc_wire::message::TaskReport;
use damc_wire::{Name, RefusalReason, Timestamp, TraceContext};

use crate::sim::{Sim, What};

/// How long a simulated service takes for a call.
const SERVICE_TIME: Duration = Duration::from_micros(50);
/// How long the process of a service takes to start.
const START_TIME: Duration = Duration::from_millis(1);
/// Wait before a restart.
const BACKOFF: Duration = Duration::from_millis(100);

/// A service of a pod.
#[derive(Debug)]
pub(crate) struct Service {
    prefix: Name,
    pool: Option<Name>,
    weight: u16,
    state: ServiceState,
    starts: u32,
    ended: Option<String>,
    /// Rises when what was planned for it is void.
    plan: u64,
    start_at: Timestamp,
    served: u64,
}

impl Service {
    fn new(prefix: Name) -> Self {
        Self {
            prefix,
            pool: None,
            weight: 1,
            state: ServiceState::Stopped,
            starts: 0,
            ended: None,
            plan: 0,
            start_at: Timestamp::ZERO,
            served: 0,
        }
    }

    /// The services of a configuration, all of which serve.
    pub(crate) fn configured(configs: &[ServiceConfig]) -> Vec<Self> {
        let service = |config: &ServiceConfig| {
            let pool = config.pool.as_ref().and_then(|p| p.parse().ok());
            let new = Self::new(config.prefix.parse().ok()?);
            Some(Self { pool, weight: config.weight, state: ServiceState::Ready, starts: 1, ..new })
        };
        configs.iter().filter_map(service).collect()
    }

    pub(crate) fn is(&self, prefix: &Name, running: bool) -> bool {
        self.prefix == *prefix && (!running || self.state == ServiceState::Ready)
    }

    /// What the machine is told when it serves, or ends.
    pub(crate) fn order(&self, running: bool) -> Order {
        let (pool, weight) = if running { (self.pool.clone(), self.weight) } else { (None, 0) };
        Order::Service { prefix: self.prefix.clone(), pool, weight, running }
    }
}

impl Sim {
    /// Starts a service, known or new, a moment from now; no effect where it runs.
    pub(crate) fn start_service(&mut self, node: usize, prefix: &Name, pool: Option<Name>) {
        let services = &mut self.nodes[node].services;
        let known = services.iter().position(|s| s.prefix == *prefix);
        let index = known.unwrap_or_else(|| {
            services.push(Service::new(prefix.clone()));
            services.len() - 1
        });
        let service = &mut services[index];
        service.pool = pool.or(service.pool.take());
        if service.state != ServiceState::Ready {
            self.plan_start(node, index, START_TIME);
        }
    }

    fn plan_start(&mut self, node: usize, index: usize, after: Duration) {
        let (at, life) = (self.now + after, self.nodes[node].lives);
        let service = &mut self.nodes[node].services[index];
        service.state = ServiceState::Waiting;
        service.start_at = at;
        service.plan += 1;
        let plan = service.plan;
        self.schedule(at, What::Service { node, life, index, plan });
    }

    /// What was planned for a service is due.
    pub(crate) fn service_due(&mut self, node: usize, life: u64, index: usize, plan: u64) {
        let this = &mut self.nodes[node];
        let Some(service) = this.services.get_mut(index).filter(|s| this.lives == life && s.plan == plan) else {
            return;
        };
        service.state = ServiceState::Ready;
        service.starts += 1;
        let order = service.order(true);
        self.input(node, Input::Order(order));
    }

    /// Ends a service; it stays down until it is started.
    pub(crate) fn stop_service(&mut self, node: usize, prefix: &Name) {
        self.end_service(node, prefix);
    }

    /// Kills a service, which starts again.
    pub(crate) fn kill_service(&mut self, node: usize, prefix: &Name) {
        if let Some(index) = self.end_service(node, prefix) {
            self.nodes[node].services[index].ended = Some("signal: 9 (SIGKILL)".to_owned());
            self.plan_start(node, index, BACKOFF);
        }
    }

    fn end_service(&mut self, node: usize, prefix: &Name) -> Option<usize> {
        let index = self.nodes[node].services.iter().position(|s| s.prefix == *prefix)?;
        let service = &mut self.nodes[node].services[index];
        let order = (service.state == ServiceState::Ready).then(|| service.order(false));
        service.plan += 1;
        service.state = ServiceState::Stopped;
        if let Some(order) = order {
            self.input(node, Input::Order(order));
        }
        Some(index)
    }

    fn serving(&mut self, node: usize, prefix: &Name) -> Option<&mut Service> {
        let services = &mut self.nodes[node].services;
        services.iter_mut().find(|s| s.prefix == *prefix && s.state == ServiceState::Ready)
    }

    /// Runs a method in a service.
    pub(crate) fn invoke(
        &mut self,
        node: usize,
        invocation: u64,
        prefix: &Name,
        (method, context): (&str, Option<TraceContext>),
        payload: Vec<u8>,
    ) {
        let (after, result) = match self.serving(node, prefix) {
            None => {
                let detail = "the service process does not answer".to_owned();
                (SERVICE_TIME, Err((RefusalReason::ServiceUnavailable, detail)))
            }
            Some(service) => {
                service.served += 1;
                match builtin::run(&prefix.to_string(), method, &payload, context) {
                    Outcome::Done(result) => (SERVICE_TIME, Ok(result)),
                    Outcome::Later(time) => (SERVICE_TIME + time, Ok(payload)),
                    Outcome::Failed(reason, detail) => (SERVICE_TIME, Err((reason, detail))),
                }
            }
        };
        self.answer(node, after, Order::Answer { invocation, result });
    }

    /// Has a service examine itself. Without one there is nobody to report.
    pub(crate) fn self_test(&mut self, node: usize, task: u64, prefix: Name) {
        let Some(service) = self.serving(node, &prefix) else { return };
        let task = TaskReport {
            task,
            healthy: builtin::self_test(&prefix.to_string()),
            load_ppm: 0,
            served: service.served,
            self_test_ns: u64::try_from(SERVICE_TIME.as_nanos()).unwrap_or(u64::MAX),
        };
        self.answer(node, SERVICE_TIME, Order::Report { task, prefix });
    }

    /// `/services` of a pod.
    pub(crate) fn services(&self, node: usize) -> ServicesView {
        let row = |service: &Service| ServiceView {
            prefix: service.prefix.to_string(),
            state: service.state,
            program: "built-in".to_owned(),
            starts: service.starts,
            ended: service.ended.clone(),
            said: Vec::new(),
            next_start_ms: (service.state == ServiceState::Waiting)
                .then(|| u64::try_from(service.start_at.since(self.now).as_millis()).unwrap_or(u64::MAX)),
        };
        let mut services: Vec<_> = self.nodes[node].services.iter().map(row).collect();
        services.sort_by(|a, b| a.prefix.cmp(&b.prefix));
        ServicesView { node: self.nodes[node].id.to_string(), services }
    }
}
