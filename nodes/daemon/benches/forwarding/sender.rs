//! The end that sends: frames of a given size, as fast as they can or one by one.

use std::time::{Duration, Instant};

use damc_link::{ETHERNET_HEADER, Filter, RawSocket, Transmit, ethernet_header, mac};
use damc_wire::Frame;
use damc_wire::frame::LinkKey;
use damc_wire::message::{Data, DataKind, Message};

/// Frames that one call sends.
const BATCH: usize = 64;

/// What is sent into a chain.
pub struct Load {
    pub interface: String,
    pub header: [u8; ETHERNET_HEADER],
    pub bodies: Vec<Vec<u8>>,
}

impl Load {
    /// DAMC frames from `/A/1` to `/B/2` of so many bytes, Ethernet header included, of as many flows as a batch has. Sealed
    /// for the link they are sent into where it has a key.
    pub fn damc(interface: &str, size: usize, key: Option<&LinkKey>) -> Self {
        let body = |flow: usize, payload: usize| {
            let data = Data { correlation: 1 << 40, kind: DataKind::Response, payload: vec![0; payload], hops: vec![] };
            let flow = u32::try_from(flow).expect("a small number");
            let frame = Frame::plain("/B/2".parse().unwrap(), "/A/1".parse().unwrap(), flow, Message::Data(data));
            frame.encode().unwrap()
        };
        let overhead = body(0, 0).len() + ETHERNET_HEADER;
        let sealed = |mut pdu: Vec<u8>| {
            if let Some(key) = key {
                key.seal(&mut pdu);
            }
            pdu
        };
        let bodies = (0..BATCH).map(|flow| sealed(body(flow, size - overhead))).collect();
        Self { interface: interface.to_owned(), header: ethernet_header(mac(interface).unwrap()), bodies }
    }

    /// UDP over IPv6 to the router behind `interface`, for B.
    pub fn ipv6(interface: &str, router: &str, size: usize) -> Self {
        let mut header = ethernet_header(mac(interface).unwrap());
        header[..6].copy_from_slice(&mac(router).unwrap());
        header[12..].copy_from_slice(&0x86dd_u16.to_be_bytes());
        let mut packet = vec![0_u8; size - ETHERNET_HEADER];
        let payload = u16::try_from(packet.len() - 40).expect("a packet");
        packet[0] = 0x60;
        packet[4..6].copy_from_slice(&payload.to_be_bytes());
        packet[6..8].copy_from_slice(&[17, 64]);
        for (at, site) in [(8, 0xa), (24, 0xb)] {
            packet[at..at + 4].copy_from_slice(&[0xfd, 0, 0, site]);
            packet[at + 15] = 1;
        }
        packet[44..46].copy_from_slice(&payload.to_be_bytes());
        Self { interface: interface.to_owned(), header, bodies: vec![packet; BATCH] }
    }

    pub fn socket(&self) -> RawSocket {
        RawSocket::open_on(&self.interface, Filter::Routed).unwrap()
    }

    pub fn transmit(&self, number: usize) -> Transmit<'_> {
        Transmit { interface: 0, header: &self.header, body: &self.bodies[number % self.bodies.len()] }
    }

    /// Sends for `span`, batch after batch.
    pub fn flood(&self, span: Duration) {
        let socket = self.socket();
        let end = Instant::now() + span;
        while Instant::now() < end {
            socket.send((0..BATCH).map(|number| self.transmit(number)));
        }
    }
}
