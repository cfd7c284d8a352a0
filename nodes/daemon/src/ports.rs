//! The node's ports: interfaces, their Ethernet headers, and sockets on them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use damc_link::{ETHERNET_HEADER, Filter, RawSocket, ReceiveRing, SendReport, Transmit};
use damc_mgmt::config::{GatewayConfig, PortConfig};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use crate::effects::Port;
use crate::error::NodeError;
use crate::pods::{PeerAddress, PodPort};

/// A socket on a port, for one kind of frames.
pub(crate) struct PortSocket {
    name: String,
    pub(crate) socket: RawSocket,
    header: [u8; ETHERNET_HEADER],
}

impl PortSocket {
    /// Name of the port.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Gives the socket a receive ring for at least so many frames.
    pub(crate) fn ring(&self, frames: usize) -> Result<ReceiveRing, NodeError> {
        ReceiveRing::attach(&self.socket, frames).map_err(|source| NodeError::Port { port: self.name.clone(), source })
    }

    /// Sends PDUs.
    pub(crate) fn send<'a>(&self, pdus: impl IntoIterator<Item = &'a [u8]>) -> SendReport {
        self.socket.send(pdus.into_iter().map(|body| Transmit { interface: 0, header: &self.header, body }))
    }
}

impl Port for PortSocket {
    fn send_all(&self, pdus: &[Vec<u8>]) -> SendReport {
        self.send(pdus.iter().map(Vec::as_slice))
    }
}

/// Pause between two looks for interfaces.
const LOOK: Duration = Duration::from_millis(20);

/// Waits until the interfaces of all ports are there and up, for so long at most. Without a time it looks for them once, and a
/// port that is down is none of its business.
pub(crate) fn wait_for_interfaces(ports: &[PortConfig], within: Duration) -> Result<(), NodeError> {
    let until = Instant::now().checked_add(within);
    loop {
        let late = until.is_none_or(|until| Instant::now() >= until);
        match interfaces(ports) {
            Ok(_) if late || are_up(ports)? => return Ok(()),
            Err(error) if late => return Err(error),
            _ => std::thread::sleep(LOOK),
        }
    }
}

fn are_up(ports: &[PortConfig]) -> Result<bool, NodeError> {
    let all = getifaddrs().map_err(NodeError::system("list the interfaces"))?;
    let up: BTreeSet<String> =
        all.filter(|one| one.flags.contains(InterfaceFlags::IFF_UP)).map(|one| one.interface_name).collect();
    Ok(ports.iter().all(|port| up.contains(&port.interface)))
}

/// Opens a socket on every port.
pub(crate) fn open(ports: &[PortConfig], filter: Filter) -> Result<Vec<PortSocket>, NodeError> {
    ports.iter().map(|port| open_one(port, filter)).collect()
}

/// Interface indices of all ports.
pub(crate) fn interfaces(ports: &[PortConfig]) -> Result<Vec<u32>, NodeError> {
    let index = |port: &PortConfig| damc_link::ifindex(&port.interface).map_err(refused(port));
    ports.iter().map(index).collect()
}

fn open_one(port: &PortConfig, filter: Filter) -> Result<PortSocket, NodeError> {
    let socket = RawSocket::open_on(&port.interface, filter).map_err(refused(port))?;
    let header = damc_link::ethernet_header(damc_link::mac(&port.interface).map_err(refused(port))?);
    Ok(PortSocket { name: port.name.clone(), socket, header })
}

/// Opens a socket for IPv6 packets on a port that leads to a pod.
pub(crate) fn open_for_packets(port: &PortConfig, peer: Arc<PeerAddress>) -> Result<PodPort, NodeError> {
    let socket = RawSocket::open_on(&port.interface, Filter::Ipv6).map_err(refused(port))?;
    Ok(PodPort { socket, own: damc_link::mac(&port.interface).map_err(refused(port))?, peer })
}

/// Opens the gateway's end of the pair behind which it serves at its own address.
pub(crate) fn open_own(own: &GatewayConfig) -> Result<PodPort, NodeError> {
    let refused = |source| NodeError::Port { port: own.interface.clone(), source };
    let socket = RawSocket::open_on(&own.interface, Filter::Ipv6).map_err(refused)?;
    let peer = PeerAddress::default();
    peer.set(damc_link::mac(&own.served_by).map_err(refused)?);
    Ok(PodPort { socket, own: damc_link::mac(&own.interface).map_err(refused)?, peer: Arc::new(peer) })
}

fn refused(port: &PortConfig) -> impl Fn(damc_link::LinkError) -> NodeError + '_ {
    |source| NodeError::Port { port: port.name.clone(), source }
}
