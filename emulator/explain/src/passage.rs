//! A call hop by hop: each link that its frames crossed, and how long links and nodes took.

use core::fmt;

use serde::Serialize;

use crate::frames::{CallFrame, FrameRef, Frames};

/// The way of a call there and back, as it was recorded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Passage {
    /// The call: its correlation on the wire.
    pub call: String,
    /// The trace that it belongs to, as its request says (W3C Trace Context); none where it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// When its first frame was seen, on the world's clock, ns.
    pub began_ns: u64,
    /// From the first frame to the last, ns.
    pub took_ns: u64,
    /// The links crossed, by time. A request or an answer that was sent again is there again.
    pub hops: Vec<CallHop>,
}

/// A frame of a call over a link.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CallHop {
    /// Since the call's first frame, ns.
    pub after_ns: u64,
    /// Who sent it.
    pub from: String,
    /// To whom.
    pub to: String,
    /// Until it was seen at the other end, ns; none where it was not.
    pub link_ns: Option<u64>,
    /// From there until the receiver sent it on, or its answer, ns; none where nothing followed.
    pub node_ns: Option<u64>,
    /// On its way to the caller.
    pub back: bool,
    /// What it is, for people.
    pub what: String,
    /// The frame as it was sent, or as it came where nobody recorded that.
    pub frame: FrameRef,
}

/// The way of a call; none where no frame of it was recorded. `frames` were noted for this call.
#[must_use]
pub fn passage(frames: &Frames, call: &str) -> Option<Passage> {
    let seen = frames.call();
    let (began_ns, ended_ns) = (seen.first()?.frame.at_ns, seen.last()?.frame.at_ns);
    let arrivals = arrivals(&seen);
    let mut hops = Vec::new();
    for (number, one) in seen.iter().enumerate().filter(|(number, _)| !arrivals.contains(&Some(*number))) {
        let arrived = if one.sent { arrivals[number].map(|arrival| &seen[arrival]) } else { Some(one) };
        hops.push(CallHop {
            after_ns: one.frame.at_ns - began_ns,
            from: one.frame.from.clone(),
            to: one.frame.to.clone(),
            link_ns: arrived.filter(|_| one.sent).map(|arrival| arrival.frame.at_ns - one.frame.at_ns),
            node_ns: arrived.and_then(|arrival| stay(&seen, arrival)),
            back: one.back,
            what: one.what.clone(),
            frame: one.frame.clone(),
        });
    }
    let traceparent = frames.context().map(ToString::to_string);
    Some(Passage { call: call.to_owned(), traceparent, began_ns, took_ns: ended_ns - began_ns, hops })
}

/// For each frame that was sent, where it was seen arriving. Copies of a request cross a link one after the other, so an
/// arrival is that of the latest copy before it which has not arrived yet.
fn arrivals(seen: &[CallFrame]) -> Vec<Option<usize>> {
    let mut of: Vec<Option<usize>> = vec![None; seen.len()];
    for (arrival, one) in seen.iter().enumerate().filter(|(_, one)| !one.sent) {
        let same = |sent: &CallFrame| sent.sent && crosses_with(sent, one);
        if let Some(sent) = (0..arrival).rev().find(|number| same(&seen[*number]) && of[*number].is_none()) {
            of[sent] = Some(arrival);
        }
    }
    of
}

fn crosses_with(one: &CallFrame, other: &CallFrame) -> bool {
    one.back == other.back && one.frame.from == other.frame.from && one.frame.to == other.frame.to
}

/// How long the receiver kept it: until it sent it on, or for a request until it sent the answer.
fn stay(seen: &[CallFrame], arrival: &CallFrame) -> Option<u64> {
    let node = &arrival.frame.to;
    let left = |one: &&CallFrame| one.sent && one.frame.from == *node && one.frame.at_ns >= arrival.frame.at_ns;
    let onward = seen.iter().filter(left).find(|one| one.back == arrival.back && one.frame.to != arrival.frame.from);
    let next = onward.or_else(|| seen.iter().filter(left).find(|one| !arrival.back && one.back));
    next.map(|one| one.frame.at_ns - arrival.frame.at_ns)
}

impl fmt::Display for Passage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let context = self.traceparent.as_ref().map(|context| format!(", trace {context}")).unwrap_or_default();
        let count = self.hops.len();
        let what = if count == 1 { "hop" } else { "hops" };
        writeln!(f, "call {}: {count} {what} in {} ms{context}", self.call, ms(Some(self.took_ns)))?;
        let ways: Vec<String> = self.hops.iter().map(|hop| format!("{} → {}", hop.from, hop.to)).collect();
        let widest = ways.iter().map(|way| way.chars().count()).max().unwrap_or(0).max("hop".len());
        writeln!(f, "{:>10}  {:widest$}  {:>8}  {:>8}", "ms", "hop", "link ms", "node ms")?;
        for (hop, way) in self.hops.iter().zip(ways) {
            let (after, link, node) = (ms(Some(hop.after_ns)), ms(hop.link_ns), ms(hop.node_ns));
            write!(f, "{after:>10}  {way:widest$}  {link:>8}  {node:>8}  {}", hop.what)?;
            match (&hop.frame.file, hop.frame.number) {
                (Some(file), Some(number)) => writeln!(f, ", frame {number} of {file}")?,
                _ => writeln!(f)?,
            }
        }
        Ok(())
    }
}

fn ms(ns: Option<u64>) -> String {
    ns.map_or_else(|| "-".to_owned(), |ns| format!("{:.3}", ns as f64 / 1e6))
}
