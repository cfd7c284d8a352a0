//! What passed the ports, for telemetry.

use damc_link::TrafficReader;
use damc_proto::io::{PortCount, PortId};

/// Counts bytes by port.
pub(crate) struct Traffic {
    reader: TrafficReader,
    /// Interfaces, by port.
    interfaces: Vec<String>,
}

impl Traffic {
    pub(crate) const fn new(reader: TrafficReader, interfaces: Vec<String>) -> Self {
        Self { reader, interfaces }
    }

    /// What has passed each port. A port whose interface is gone is left out.
    pub(crate) fn count(&mut self) -> Vec<PortCount> {
        let mut counts = Vec::with_capacity(self.interfaces.len());
        let interfaces = &self.interfaces;
        let read = self.reader.read(|name, bytes| {
            let port = (0..).zip(interfaces).find(|(_, interface)| *interface == name);
            counts.extend(port.map(|(number, _)| PortCount {
                port: PortId(number),
                sent_bytes: bytes.sent,
                received_bytes: bytes.received,
            }));
        });
        if let Err(e) = read {
            tracing::warn!("counting what passes the ports failed: {e}");
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_counted_by_their_interface() {
        let path = std::env::temp_dir().join(format!("damc-traffic-{}", std::process::id()));
        let text = "Inter-|   Receive |  Transmit\n face |bytes\n    lo: 9 0 0 0 0 0 0 0 9 0 0 0 0 0 0 0\n\
                    p1: 11 0 0 0 0 0 0 0 12 0 0 0 0 0 0 0\n  p0: 1 0 0 0 0 0 0 0 2 0 0 0 0 0 0 0\n";
        std::fs::write(&path, text).expect("writable");
        let reader = TrafficReader::open_at(&path).expect("our own file");
        let mut counts = Traffic::new(reader, vec!["p0".into(), "p1".into(), "gone".into()]).count();
        std::fs::remove_file(&path).expect("our own file");
        counts.sort_by_key(|count| count.port);
        let count = |port, sent_bytes, received_bytes| PortCount { port: PortId(port), sent_bytes, received_bytes };
        assert_eq!(counts, [count(0, 2, 1), count(1, 12, 11)]);
    }
}
