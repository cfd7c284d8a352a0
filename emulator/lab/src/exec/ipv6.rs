//! IPv6 of a pod: its addresses, its default route by the SG, and rules that send it even to its own names through there.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr};

use damc_wire::address;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::MTU;
use super::rtnl::{Rtnl, RtnlError};

/// The table with the default route.
const TABLE: u8 = 100;
const TABLE_LOCAL: u8 = 255;
const TABLE_MAIN: u8 = 254;
/// The kernel's rule for the local table goes behind ours, so that a pod's own names are reached through its SG.
const KERNELS_LOCAL_RULE: u32 = 0;
const RULE_TO_ONESELF: u32 = 10;
const RULE_THROUGH_SG: u32 = 20;
const RULE_LOCAL: u32 = 30;
/// Index of the loopback.
const LOOPBACK: u32 = 1;

/// What a pod's IPv6 is made of.
#[derive(Clone, Debug)]
pub struct PodIpv6<'a> {
    /// Interface towards the SG.
    pub interface: &'a str,
    /// Its index.
    pub index: u32,
    /// The domain's prefix.
    pub prefix: [u8; 6],
    /// Addresses of the pod's names and pools; the first one is what programs speak from that choose none.
    pub addresses: &'a [Ipv6Addr],
    /// Longest packet that fits between names of the lab, bytes.
    pub mtu: u32,
}

/// Longest packet, in bytes, between two names whose wire forms are at most this long.
#[must_use]
pub fn mtu(longest_name: usize) -> u32 {
    let overhead = damc_wire::frame::PACKET_OVERHEAD + 2 * longest_name.min(address::MAX_ADDRESSED);
    MTU - u32::try_from(overhead).unwrap_or(0)
}

/// Switches IPv6 on, without any of what it does by itself. To be called inside the pod's namespace, before the
/// interface comes up. False on a kernel without IPv6.
///
/// # Errors
/// A setting that the kernel refuses.
pub fn switch_on(interface: &str) -> io::Result<bool> {
    let settings = [
        ("ip_nonlocal_bind".to_owned(), "1"),
        (format!("conf/{interface}/addr_gen_mode"), "1"),
        (format!("conf/{interface}/accept_ra"), "0"),
        (format!("conf/{interface}/router_solicitations"), "0"),
        (format!("conf/{interface}/dad_transmits"), "0"),
        (format!("conf/{interface}/disable_ipv6"), "0"),
        ("conf/lo/disable_ipv6".to_owned(), "0"),
    ];
    for (name, value) in settings {
        match fs::write(format!("/proc/sys/net/ipv6/{name}"), value) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other?,
        }
    }
    Ok(true)
}

/// Gives a pod its addresses, routes and rules. The interface is up.
///
/// # Errors
/// The kernel's refusal.
pub async fn configure(route: &Rtnl, pod: &PodIpv6<'_>) -> Result<(), RtnlError> {
    let new = NLM_F_CREATE | NLM_F_EXCL;
    for address in pod.addresses {
        route.execute(RouteNetlinkMessage::NewAddress(assign(pod.index, *address)), new).await?;
        // A name reaches itself within the pod: a readiness check, a program's own health check.
        let rule =
            Rule { from: Some((*address, 128)), to: Some((*address, 128)), ..Rule::new(RULE_TO_ONESELF, TABLE_LOCAL) };
        route.execute(RouteNetlinkMessage::NewRule(rule.message()), new).await?;
    }
    let prefix = prefix_address(pod.prefix);
    let through =
        Rule { to: Some((prefix, address::PREFIX_LEN)), sent_here: true, ..Rule::new(RULE_THROUGH_SG, TABLE) };
    route.execute(RouteNetlinkMessage::NewRule(through.message()), new).await?;
    route.execute(RouteNetlinkMessage::NewRule(Rule::new(RULE_LOCAL, TABLE_LOCAL).message()), new).await?;
    let kernels = Rule::new(KERNELS_LOCAL_RULE, TABLE_LOCAL);
    route.execute(RouteNetlinkMessage::DelRule(kernels.message()), 0).await?;
    for table in [TABLE, TABLE_MAIN] {
        route.execute(RouteNetlinkMessage::NewRoute(default_route(pod, table)), new).await?;
    }
    // Names that are announced later have addresses too: the whole prefix is the pod's own when the SG sends it there.
    route.execute(RouteNetlinkMessage::NewRoute(any_address(prefix)), new).await
}

/// Gives the interface behind which an SG serves its addresses and a way back to the pods.
///
/// # Errors
/// The kernel's refusal.
pub async fn serve(route: &Rtnl, index: u32, addresses: &[Ipv6Addr]) -> Result<(), RtnlError> {
    let new = NLM_F_CREATE | NLM_F_EXCL;
    for address in addresses {
        route.execute(RouteNetlinkMessage::NewAddress(assign(index, *address)), new).await?;
    }
    // The gateway's packets carry no names between it and the pod, so that those of any pod fit.
    let way = PodIpv6 { interface: "", index, prefix: [0; 6], addresses, mtu: MTU };
    route.execute(RouteNetlinkMessage::NewRoute(default_route(&way, TABLE_MAIN)), new).await
}

fn prefix_address(prefix: [u8; 6]) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets[..6].copy_from_slice(&prefix);
    Ipv6Addr::from(octets)
}

fn assign(index: u32, address: Ipv6Addr) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.header.prefix_len = 128;
    message.header.scope = AddressScope::Universe;
    message.header.index = index;
    message.attributes.push(AddressAttribute::Address(IpAddr::V6(address)));
    message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad | AddressFlags::Noprefixroute));
    message
}

/// By the SG, from the first address, with the MTU that fits.
fn default_route(pod: &PodIpv6<'_>, table: u8) -> RouteMessage {
    let mut message = route(table, RouteType::Unicast, RouteScope::Universe);
    message.header.flags = RouteFlags::Onlink;
    message.attributes.push(RouteAttribute::Gateway(RouteAddress::Inet6(address::ROUTER)));
    message.attributes.push(RouteAttribute::Oif(pod.index));
    message.attributes.push(RouteAttribute::Metrics(vec![RouteMetric::Mtu(pod.mtu)]));
    if let Some(first) = pod.addresses.first() {
        message.attributes.push(RouteAttribute::PrefSource(RouteAddress::Inet6(*first)));
    }
    message
}

fn any_address(prefix: Ipv6Addr) -> RouteMessage {
    let mut message = route(TABLE_LOCAL, RouteType::Local, RouteScope::Host);
    message.header.destination_prefix_length = address::PREFIX_LEN;
    message.attributes.push(RouteAttribute::Destination(RouteAddress::Inet6(prefix)));
    message.attributes.push(RouteAttribute::Oif(LOOPBACK));
    message
}

fn route(table: u8, kind: RouteType, scope: RouteScope) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet6;
    message.header.table = table;
    message.header.kind = kind;
    message.header.scope = scope;
    message.header.protocol = RouteProtocol::Static;
    message
}

/// A routing rule.
#[derive(Clone, Copy, Debug)]
struct Rule {
    priority: u32,
    table: u8,
    from: Option<(Ipv6Addr, u8)>,
    to: Option<(Ipv6Addr, u8)>,
    /// Only packets this host sends.
    sent_here: bool,
}

impl Rule {
    const fn new(priority: u32, table: u8) -> Self {
        Self { priority, table, from: None, to: None, sent_here: false }
    }

    fn message(self) -> RuleMessage {
        let mut message = RuleMessage::default();
        message.header.family = AddressFamily::Inet6;
        message.header.table = self.table;
        message.header.action = RuleAction::ToTable;
        message.attributes.push(RuleAttribute::Priority(self.priority));
        if let Some((address, length)) = self.from {
            message.header.src_len = length;
            message.attributes.push(RuleAttribute::Source(IpAddr::V6(address)));
        }
        if let Some((address, length)) = self.to {
            message.header.dst_len = length;
            message.attributes.push(RuleAttribute::Destination(IpAddr::V6(address)));
        }
        if self.sent_here {
            message.attributes.push(RuleAttribute::Iifname("lo".to_owned()));
        }
        message
    }
}
