//! Decoding and encoding: what a control thread does with every frame, and the view that forwarding takes of it.

use damc_bench::{Report, measure};
use damc_wire::frame::RoutedView;
use damc_wire::lsa::{LinkEntry, LsaContent, LsaId, LsaKey, TopologyLsa};
use damc_wire::message::{Data, DataKind};
use damc_wire::{Frame, Message, Millis, NodeId, Role};

use crate::signed::keys;

/// Links in the topology LSA.
const LINKS: usize = 4;
/// LSAs in the update.
const LSAS: u64 = 3;

pub fn run(report: &mut Report) {
    let data = Data { correlation: 1 << 40, kind: DataKind::Response, payload: vec![0; 64], hops: vec![] };
    let data = Frame::plain("/B/2".parse().unwrap(), "/A/1".parse().unwrap(), 7, Message::Data(data));
    let update = Frame::hop_local(Message::LsUpdate((1..=LSAS).map(lsa).collect()));
    for (what, frame) in [("data, 64 bytes for a service", data), ("update of three topology LSAs", update)] {
        let pdu = frame.encode().unwrap();
        let size = format!("{} bytes", pdu.len());
        let decode = measure("codec", &format!("decode {what}"), |_| Frame::decode(&pdu).unwrap());
        report.add(decode.note(size.clone()));
        report.add(measure("codec", &format!("encode {what}"), |_| frame.encode().unwrap()).note(size.clone()));
        if RoutedView::parse(&pdu).is_ok() {
            let view = measure("codec", &format!("forwarding's view of {what}"), |_| RoutedView::parse(&pdu).is_ok());
            report.add(view.note(size));
        }
    }
}

fn lsa(sequence: u64) -> damc_wire::lsa::Lsa {
    let origin = keys("sr-1", Role::Sr);
    let link = |i: usize| LinkEntry { neighbour: NodeId::new(&format!("sr-{i}")).unwrap(), cost: 10 };
    let content = TopologyLsa { links: (0..LINKS).map(link).collect(), ..TopologyLsa::default() };
    let key = LsaKey { origin: origin.certificate().node.clone(), id: LsaId::Topology(0) };
    origin.sign_lsa(key, sequence, Millis(60_000), LsaContent::Topology(content))
}
