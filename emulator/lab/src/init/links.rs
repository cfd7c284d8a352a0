//! The links of a lab: made, changed, shown.

use std::cell::{Cell, RefCell};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::{Indexes, WIRE};
use crate::control::{Backend, Direction, LinkChange, LinkService, LinkStatus, Shaped};
use crate::error::{LabError, Result};
use crate::exec::MTU;
use crate::exec::netns::Namespace;
use crate::exec::offload;
use crate::exec::process::{self, Program};
use crate::exec::qdisc::{Netem, Qdisc};
use crate::exec::rtnl::{Counted, Rtnl, VethEnd};
use crate::exec::shape;
use crate::job::{Job, LinksBy};
use crate::relay::{RelayClient, RelayConfig, RelayLink};
use crate::rundir::RunDir;
use damc_impair::{DirectionChange, DirectionSpec};
use damc_topology::plan::PlannedLink;

/// Requests under way at once; more would overrun the buffer that the kernel's answers wait in.
const PIPELINE: usize = 16;

/// All links of a lab.
pub(super) struct Links {
    /// What serves impaired links.
    pub(super) backend: Backend,
    /// Why that.
    pub(super) reason: String,
    /// The relay's process, if there is one.
    pub(super) relay_pid: Option<nix::unistd::Pid>,
    /// With the time when it began to join links.
    relay: RefCell<Option<(RelayClient, Instant)>>,
    /// By namespace, in the order of [`super::Lab::namespaces`].
    routes: Vec<(String, Rtnl)>,
    links: Vec<Link>,
}

/// One link.
struct Link {
    planned: PlannedLink,
    name: String,
    service: LinkService,
    /// Where the nodes' ends are: sending there is what a queueing discipline shapes.
    a: Device,
    b: Device,
    /// The relay's ends, where it serves.
    wire: Option<(Device, Device)>,
    up: Cell<bool>,
    specs: Cell<(DirectionSpec, DirectionSpec)>,
    /// netem is at both ends, where it stays.
    netem: Cell<bool>,
    /// Frames that each end had sent before netem was there.
    unshaped: Cell<(u64, u64)>,
    seed: u64,
}

/// An interface.
#[derive(Clone, Debug)]
struct Device {
    namespace: String,
    interface: String,
    index: u32,
    address: [u8; 6],
}

impl Links {
    /// Makes all links, both ends in place, shaped and up, and starts the relay where one is needed.
    pub(super) async fn make(job: &Job, directory: &RunDir, namespaces: &mut [Namespace]) -> Result<Self> {
        let routes = connect(namespaces)?;
        let (backend, reason) = choose_backend(job.choices.links_by, &routes).await?;
        let mut indexes = Indexes::default();
        let links = job.plan.links.iter().enumerate();
        let links: Vec<_> = links.map(|(number, link)| Link::plan(job, number, link, backend, &mut indexes)).collect();
        let mut made = Self { backend, reason, relay_pid: None, relay: RefCell::new(None), routes, links };
        made.create(namespaces).await?;
        made.bring_up().await?;
        made.start_relay(job, directory, namespaces)?;
        Ok(made)
    }

    async fn create(&self, namespaces: &[Namespace]) -> Result<()> {
        let wire = self.route(WIRE)?;
        let pairs = self.links.iter().flat_map(Link::pairs);
        stream::iter(pairs.map(|(a, b)| create_pair(wire, namespaces, a, b)))
            .buffered(PIPELINE)
            .try_collect::<Vec<()>>()
            .await?;
        for device in self.links.iter().flat_map(Link::devices) {
            offload::disable(namespace(namespaces, &device.namespace)?.ioctl_socket(), &device.interface)
                .map_err(LabError::io(format!("switch offloads of {} off", device.interface)))?;
        }
        Ok(())
    }

    async fn bring_up(&self) -> Result<()> {
        for link in self.links.iter().filter(|link| link.service != LinkService::Relay) {
            self.shape(link, link.specs.get()).await?;
        }
        let ups = self.links.iter().flat_map(Link::devices).map(|device| self.set_up(device, true));
        stream::iter(ups).buffered(PIPELINE).try_collect::<Vec<()>>().await?;
        Ok(())
    }

    fn start_relay(&mut self, job: &Job, directory: &RunDir, namespaces: &[Namespace]) -> Result<()> {
        let links: Vec<RelayLink> = self.links.iter().filter_map(Link::relayed).collect();
        if links.is_empty() {
            return Ok(());
        }
        let (ours, theirs) = UnixStream::pair().map_err(LabError::io("connect the relay"))?;
        let argv = [job.choices.program.to_string_lossy().into_owned(), "lab-relay".to_owned()];
        let log = directory.relay_log();
        let program = Program {
            node: "relay",
            argv: &argv,
            env: &[],
            folder: None,
            namespace: namespace(namespaces, WIRE)?.fd(),
            log: &log,
            start_priority: None,
            // It raises itself.
            urgent_ppm: 0,
        };
        let started = process::start_with_input(program, theirs.as_fd())?;
        drop(theirs);
        let client = RelayClient::start(ours, &RelayConfig { seed: job.plan.seed, links })
            .map_err(|error| LabError::Lab(format!("the relay did not start: {error}")))?;
        self.relay_pid = Some(started);
        *self.relay.borrow_mut() = Some((client, Instant::now()));
        Ok(())
    }

    /// Changes the link between two nodes; `a` is the one that sends `forward`.
    pub(super) async fn change(&self, a: &str, b: &str, change: LinkChange) -> Result<()> {
        let (link, reversed) = self.find(a, b)?;
        match change {
            LinkChange::Down => self.set_carrier(link, false).await,
            LinkChange::Up => self.set_carrier(link, true).await,
            LinkChange::Clear => {
                let (forward, backward) = (link.planned.forward, link.planned.backward);
                self.apply(link, (forward, backward)).await?;
                self.set_carrier(link, true).await
            }
            LinkChange::Set { direction, properties } => {
                let nothing = DirectionChange::default();
                let (forward, backward) = match direction {
                    Direction::Both => (properties, properties),
                    Direction::Forward => (properties, nothing),
                    Direction::Backward => (nothing, properties),
                };
                self.apply(link, merged(link, reversed, &forward, &backward)).await
            }
            LinkChange::SetEach { forward, backward } => {
                self.apply(link, merged(link, reversed, &forward, &backward)).await
            }
        }
    }

    /// The state of one link, seen from `a`.
    pub(super) async fn show(&self, a: &str, b: &str) -> Result<LinkStatus> {
        let (link, reversed) = self.find(a, b)?;
        let mut status = link.status();
        status.forward_counted = self.counted(link, &link.a, link.unshaped.get().0).await?;
        status.backward_counted = self.counted(link, &link.b, link.unshaped.get().1).await?;
        if let Some((relay, since)) = self.relay.borrow_mut().as_mut() {
            let state = relay.show_link(&link.name).map_err(|error| LabError::Refused(error.to_string()))?;
            status.forward_relayed = state.as_ref().map(|state| state.forward.counters);
            status.backward_relayed = state.as_ref().map(|state| state.backward.counters);
            status.relayed_ms = state.map(|_| u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX));
        }
        Ok(if reversed { status.reversed() } else { status })
    }

    /// What was counted at an end; none where no discipline shapes there. The relay cannot be got around.
    async fn counted(&self, link: &Link, device: &Device, unshaped: u64) -> Result<Option<Shaped>> {
        if !link.netem.get() {
            return Ok(None);
        }
        let Counted { left, shaped, dropped } = self.kernel_counts(device).await?;
        Ok(Some(Shaped { shaped, dropped, bypassed: left.saturating_sub(unshaped + shaped) }))
    }

    async fn kernel_counts(&self, device: &Device) -> Result<Counted> {
        let counted = self.route(&device.namespace)?.counted(device.index).await;
        counted.map_err(LabError::netlink(format!("read the counters of {} of {}", device.interface, device.namespace)))
    }

    /// All links and the relay's CPU time, ns.
    pub(super) fn status(&self) -> (Vec<LinkStatus>, u64) {
        let relay = self.relay.borrow_mut().as_mut().and_then(|(relay, _)| relay.show().ok());
        let cpu_ns = relay.map_or(0, |relay| relay.cpu_ns);
        (self.links.iter().map(Link::status).collect(), cpu_ns)
    }

    async fn apply(&self, link: &Link, specs: (DirectionSpec, DirectionSpec)) -> Result<()> {
        let plain = specs.0.is_plain() && specs.1.is_plain();
        match link.service {
            LinkService::Relay => {
                let mut relay = self.relay.borrow_mut();
                let (relay, _) = relay.as_mut().ok_or_else(|| LabError::Refused("the relay is gone".to_owned()))?;
                relay
                    .change(&link.name, &DirectionChange::from(&specs.0), &DirectionChange::from(&specs.1))
                    .map_err(|error| LabError::Refused(error.to_string()))?;
            }
            LinkService::Plain if !plain && self.backend == Backend::Relay => {
                return Err(LabError::Refused(format!(
                    "{} is a plain veth pair, which can only change its rate, and this kernel has no sch_netem; bring the \
                     lab up with every link relayed (`damc up --all-relayed`) to impair it",
                    link.name
                )));
            }
            LinkService::Plain | LinkService::Netem => self.shape(link, specs).await?,
        }
        link.specs.set(specs);
        Ok(())
    }

    /// Sets the queueing disciplines of a link without relay.
    async fn shape(&self, link: &Link, (forward, backward): (DirectionSpec, DirectionSpec)) -> Result<()> {
        let impaired = !forward.is_plain() || !backward.is_plain();
        let fresh = impaired && !link.netem.get();
        let netem = link.netem.get() || impaired;
        link.netem.set(netem);
        for (device, spec, seed) in [(&link.a, forward, link.seed), (&link.b, backward, !link.seed)] {
            let route = self.route(&device.namespace)?;
            let done = match shape::egress(&spec, seed, netem) {
                Some(qdisc) => route.set_qdisc(device.index, &qdisc).await,
                None => route.clear_qdisc(device.index).await,
            };
            done.map_err(LabError::netlink(format!("shape {} of {}", device.interface, device.namespace)))?;
        }
        if fresh {
            // A new discipline counts from 0, its interface does not.
            let before = |counted: Counted| counted.left.saturating_sub(counted.shaped);
            let (a, b) = (self.kernel_counts(&link.a).await?, self.kernel_counts(&link.b).await?);
            link.unshaped.set((before(a), before(b)));
        }
        Ok(())
    }

    /// Gives or takes the carrier of both nodes' ends. A relayed link loses it by its ends in the wire namespace, so the
    /// nodes' interfaces stay up as on a cut cable; of a plain pair one end has to go down.
    async fn set_carrier(&self, link: &Link, up: bool) -> Result<()> {
        match &link.wire {
            Some((a, b)) => {
                self.set_up(a, up).await?;
                self.set_up(b, up).await?;
            }
            None => {
                self.set_up(&link.a, up).await?;
                self.set_up(&link.b, up).await?;
            }
        }
        link.up.set(up);
        Ok(())
    }

    async fn set_up(&self, device: &Device, up: bool) -> Result<()> {
        let doing = format!("set {} of {} {}", device.interface, device.namespace, if up { "up" } else { "down" });
        self.route(&device.namespace)?.set_up(device.index, up).await.map_err(LabError::netlink(doing))
    }

    /// The connection into a node's namespace, and the index of an interface there.
    pub(super) fn way_into(&self, node: &str, interface: &str) -> Result<(&Rtnl, u32)> {
        let devices = self.links.iter().flat_map(|link| [&link.a, &link.b]);
        let device = devices.into_iter().find(|d| d.namespace == node && d.interface == interface);
        let device = device.ok_or_else(|| LabError::Lab(format!("{node} has no interface {interface}")))?;
        Ok((self.route(node)?, device.index))
    }

    pub(super) fn route(&self, namespace: &str) -> Result<&Rtnl> {
        let found = self.routes.iter().find(|(name, _)| name == namespace).map(|(_, route)| route);
        found.ok_or_else(|| LabError::Lab(format!("no namespace of {namespace}")))
    }

    /// The link between two nodes, and whether it was declared the other way round.
    fn find(&self, a: &str, b: &str) -> Result<(&Link, bool)> {
        let found =
            self.links.iter().find_map(|link| match (link.planned.a.node.as_str(), link.planned.b.node.as_str()) {
                (x, y) if (x, y) == (a, b) => Some((link, false)),
                (x, y) if (x, y) == (b, a) => Some((link, true)),
                _ => None,
            });
        found.ok_or_else(|| {
            let names: Vec<_> = self.links.iter().map(|link| link.name.as_str()).collect();
            LabError::Usage(format!("there is no link between {a} and {b}; there are {}", names.join(", ")))
        })
    }
}

fn merged(
    link: &Link,
    reversed: bool,
    forward: &DirectionChange,
    backward: &DirectionChange,
) -> (DirectionSpec, DirectionSpec) {
    let (forward, backward) = if reversed { (backward, forward) } else { (forward, backward) };
    let (now_forward, now_backward) = link.specs.get();
    (now_forward.with(forward), now_backward.with(backward))
}

impl Link {
    fn plan(job: &Job, number: usize, link: &PlannedLink, backend: Backend, indexes: &mut Indexes) -> Self {
        let plain = link.forward.is_plain() && link.backward.is_plain();
        let service = match backend {
            Backend::Relay if !plain || job.choices.all_relayed => LinkService::Relay,
            // A discipline that is there from the beginning can be changed; one that comes later drops what waits.
            Backend::Netem if !plain || job.choices.all_relayed => LinkService::Netem,
            Backend::Netem | Backend::Relay => LinkService::Plain,
        };
        let mut device = |namespace: &str, interface: &str, address, second| Device {
            index: indexes.next(namespace, second),
            namespace: namespace.to_owned(),
            interface: interface.to_owned(),
            address,
        };
        let a = device(&link.a.node, &link.a.interface, link.a.address, false);
        let b = device(&link.b.node, &link.b.interface, link.b.address, true);
        let wire = (service == LinkService::Relay).then(|| {
            let mut wire_end = |side: &str, of: &Device, second| {
                // Locally administered, and another than the node's.
                let mut address = of.address;
                address[0] ^= 0x04;
                device(WIRE, &format!("w{number}{side}"), address, second)
            };
            (wire_end("a", &a, true), wire_end("b", &b, false))
        });
        Self {
            name: format!("{}–{}", link.a.node, link.b.node),
            planned: link.clone(),
            service,
            a,
            b,
            wire,
            up: Cell::new(true),
            specs: Cell::new((link.forward, link.backward)),
            netem: Cell::new(service == LinkService::Netem),
            unshaped: Cell::new((0, 0)),
            seed: job.plan.seed.wrapping_add(u64::try_from(number).unwrap_or(0).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        }
    }

    /// The veth pairs it is made of.
    fn pairs(&self) -> Vec<(&Device, &Device)> {
        match &self.wire {
            Some((wire_a, wire_b)) => vec![(&self.a, wire_a), (&self.b, wire_b)],
            None => vec![(&self.a, &self.b)],
        }
    }

    fn devices(&self) -> Vec<&Device> {
        self.pairs().into_iter().flat_map(|(a, b)| [a, b]).collect()
    }

    fn relayed(&self) -> Option<RelayLink> {
        let (first, second) = self.wire.as_ref()?;
        let (forward, backward) = self.specs.get();
        Some(RelayLink {
            name: self.name.clone(),
            first: first.interface.clone(),
            second: second.interface.clone(),
            forward,
            backward,
        })
    }

    fn status(&self) -> LinkStatus {
        let (forward, backward) = self.specs.get();
        LinkStatus {
            a: self.planned.a.node.clone(),
            b: self.planned.b.node.clone(),
            service: self.service,
            up: self.up.get(),
            forward,
            backward,
            forward_counted: None,
            backward_counted: None,
            forward_relayed: None,
            backward_relayed: None,
            relayed_ms: None,
        }
    }
}

fn connect(namespaces: &mut [Namespace]) -> Result<Vec<(String, Rtnl)>> {
    let connect_one = |namespace: &mut Namespace| {
        let socket = namespace.take_route_socket();
        let socket = socket.ok_or_else(|| LabError::Lab(format!("{} is connected already", namespace.name)))?;
        Ok((namespace.name.clone(), Rtnl::new(socket)))
    };
    namespaces.iter_mut().map(connect_one).collect()
}

async fn create_pair(route: &Rtnl, namespaces: &[Namespace], a: &Device, b: &Device) -> Result<()> {
    let end = |device: &'_ Device| -> Result<(String, u32, [u8; 6])> {
        Ok((device.interface.clone(), device.index, device.address))
    };
    let ((a_name, a_index, a_address), (b_name, b_index, b_address)) = (end(a)?, end(b)?);
    let a_end = VethEnd {
        name: &a_name,
        index: a_index,
        address: a_address,
        namespace: namespace(namespaces, &a.namespace)?.fd(),
    };
    let b_end = VethEnd {
        name: &b_name,
        index: b_index,
        address: b_address,
        namespace: namespace(namespaces, &b.namespace)?.fd(),
    };
    let doing = || format!("make the link {} ({}) – {} ({})", a.interface, a.namespace, b.interface, b.namespace);
    route.add_veth(&a_end, &b_end, MTU).await.map_err(|error| LabError::netlink(doing())(error))
}

fn namespace<'a>(namespaces: &'a [Namespace], name: &str) -> Result<&'a Namespace> {
    let found = namespaces.iter().find(|namespace| namespace.name == name);
    found.ok_or_else(|| LabError::Lab(format!("no namespace of {name}")))
}

/// Decides by trying: netem on the wire namespace's loopback.
async fn choose_backend(wanted: LinksBy, routes: &[(String, Rtnl)]) -> Result<(Backend, String)> {
    if wanted == LinksBy::Relay {
        return Ok((Backend::Relay, "asked for".to_owned()));
    }
    let wire = routes.iter().find(|(name, _)| name == WIRE).map(|(_, route)| route);
    let wire = wire.ok_or_else(|| LabError::Lab("no wire namespace".to_owned()))?;
    match (probe_netem(wire).await, wanted) {
        (Ok(()), LinksBy::Netem) => Ok((Backend::Netem, "asked for".to_owned())),
        (Ok(()), _) => Ok((Backend::Netem, "the kernel has sch_netem".to_owned())),
        (Err(problem), LinksBy::Netem) => Err(LabError::Lab(format!("links by netem were asked for: {problem}"))),
        (Err(problem), _) => Ok((Backend::Relay, problem)),
    }
}

const LOOPBACK_INDEX: u32 = 1;

/// Whether netem can be set up in this namespace; if not, why not.
pub(crate) async fn probe_netem(route: &Rtnl) -> Result<(), String> {
    let netem = Qdisc::Netem(Netem { limit: 1000, ..Netem::default() });
    match route.set_qdisc(LOOPBACK_INDEX, &netem).await {
        Ok(()) => route.clear_qdisc(LOOPBACK_INDEX).await.map_err(|error| format!("netem cannot be removed: {error}")),
        Err(error) if error.is_unknown_qdisc() => Err("the kernel has no sch_netem".to_owned()),
        Err(error) => Err(format!("the kernel refuses netem: {error}")),
    }
}
