//! Where LSAs, answers about names, and calls crossed links.

use std::collections::BTreeMap;

use damc_wire::message::{AuthResult, Data, DataKind};
use damc_wire::{Frame, Message, MessageType, Role, TraceContext};
use serde::Serialize;

/// A frame at the sending end of a link, or at the receiving one where it was not seen at the other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct FrameRef {
    /// When, on the world's clock, ns.
    pub at_ns: u64,
    /// Who sent it.
    pub from: String,
    /// To whom.
    pub to: String,
    /// The file that has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Its number there, from 1, as Wireshark counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
}

impl FrameRef {
    pub(crate) fn text(&self, began_ns: u64) -> String {
        let at = (i128::from(self.at_ns) - i128::from(began_ns)) as f64 / 1e9;
        let place = format!("{} → {} at {at:.6} s", self.from, self.to);
        match (&self.file, self.number) {
            (Some(file), Some(number)) => format!("frame {number} of {file} ({place})"),
            _ => format!("frame {place}"),
        }
    }
}

/// A frame that passes a port.
#[derive(Clone, Copy, Debug)]
pub struct Passing<'a> {
    /// The node.
    pub node: &'a str,
    /// Its port: the neighbour's name.
    pub port: &'a str,
    /// It leaves the node.
    pub sent: bool,
    /// When, on the world's clock, ns.
    pub at_ns: u64,
    /// The whole Ethernet frame.
    pub frame: &'a [u8],
    /// The file that has it, and its number there.
    pub place: Option<(&'a str, u64)>,
}

/// What a frame was seen to carry, over a link.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Carried {
    /// An LSA: origin, id, sequence.
    Lsa(String, String, u64),
    /// Word about a name.
    Name(MessageType, String),
}

/// One frame of a call at one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CallFrame {
    pub(crate) frame: FrameRef,
    pub(crate) sent: bool,
    /// On its way to the caller.
    pub(crate) back: bool,
    /// What it is, for people.
    pub(crate) what: String,
}

/// What recorded frames say. Only what chains cite is kept.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    /// By sender, receiver and content; sent ones and received ones, in the order they were noted.
    carried: BTreeMap<(String, String, Carried), [Vec<FrameRef>; 2]>,
    /// Ports of which any frame was noted: what is not there was not sent.
    ports: BTreeMap<(String, String), (u64, u64)>,
    call: Option<u64>,
    calls: Vec<CallFrame>,
    /// What the call's request said of the trace it belongs to.
    context: Option<TraceContext>,
}

/// Most references that are kept for one content on one link.
const KEPT: usize = 64;
/// Offset of the message type in a frame: after the Ethernet header and the version.
const TYPE_AT: usize = 15;
const ETHERNET_HEADER: usize = 14;

impl Frames {
    /// Nothing noted yet; of calls only the one of this correlation will be.
    #[must_use]
    pub fn of_call(call: Option<u64>) -> Self {
        Self { call, ..Self::default() }
    }

    /// Takes note of a frame. Cheap for what no chain cites.
    pub fn note(&mut self, passing: &Passing<'_>) {
        let Passing { node, port, at_ns, .. } = *passing;
        let span = self.ports.entry((node.to_owned(), port.to_owned())).or_insert((at_ns, at_ns));
        *span = (span.0.min(at_ns), span.1.max(at_ns));
        let Some(t) = passing.frame.get(TYPE_AT).copied().and_then(MessageType::from_code) else { return };
        let wanted = match t {
            MessageType::LsUpdate | MessageType::Announce | MessageType::AuthReply | MessageType::Revoke => true,
            MessageType::Data | MessageType::Nack => self.call.is_some(),
            _ => false,
        };
        let pdu = passing.frame.get(ETHERNET_HEADER..).filter(|_| wanted);
        let Some(frame) = pdu.and_then(|pdu| Frame::decode(pdu).ok()) else { return };
        match &frame.message {
            Message::LsUpdate(lsas) => {
                for lsa in lsas {
                    let (key, sequence) = (&lsa.key, lsa.header().sequence);
                    self.carry(passing, Carried::Lsa(key.origin.to_string(), key.id.to_string(), sequence));
                }
            }
            Message::Announce(announce) => {
                let added = announce.add.iter().map(|entry| &entry.prefix);
                for name in added.chain(&announce.withdraw) {
                    self.carry(passing, Carried::Name(t, name.to_string()));
                }
            }
            Message::AuthReply(reply) => {
                let name = match &reply.result {
                    AuthResult::Granted(grant) => &grant.prefix,
                    AuthResult::Refused(outcome) => &outcome.prefix,
                };
                self.carry(passing, Carried::Name(t, name.to_string()));
            }
            Message::Revoke(revoke) => self.carry(passing, Carried::Name(t, revoke.prefix.to_string())),
            message => self.note_call(passing, message),
        }
    }

    fn note_call(&mut self, passing: &Passing<'_>, message: &Message) {
        let (call, back, what) = match message {
            Message::Data(data) => match &data.kind {
                DataKind::Request { method, .. } => (Some(data.correlation), false, format!("request {method}")),
                DataKind::Response => (Some(data.correlation), true, "response".to_owned()),
                DataKind::Error { reason } => (Some(data.correlation), true, format!("error {reason}")),
            },
            Message::Nack(nack) => (nack.call(), true, format!("negative reply {} of {}", nack.reason, nack.node)),
            _ => return,
        };
        if call.is_some() && call == self.call {
            if let Message::Data(Data { kind: DataKind::Request { context, .. }, .. }) = message {
                self.context = self.context.or(*context);
            }
            self.calls.push(CallFrame { frame: reference(passing), sent: passing.sent, back, what });
        }
    }

    fn carry(&mut self, passing: &Passing<'_>, carried: Carried) {
        let (from, to) = ends(passing);
        let both = self.carried.entry((from.to_owned(), to.to_owned(), carried)).or_default();
        let refs = &mut both[usize::from(!passing.sent)];
        if refs.len() == KEPT {
            refs.remove(0);
        }
        refs.push(reference(passing));
    }

    fn find(&self, from: &str, to: &str, carried: Carried, until_ns: u64) -> Option<FrameRef> {
        let both = self.carried.get(&(from.to_owned(), to.to_owned(), carried))?;
        let newest = |refs: &[FrameRef]| refs.iter().filter(|r| r.at_ns <= until_ns).max_by_key(|r| r.at_ns).cloned();
        newest(&both[0]).or_else(|| newest(&both[1]))
    }

    /// The newest frame up to `until_ns` in which `from` sent `to` this LSA.
    pub(crate) fn lsa(&self, (from, to): (&str, &str), lsa: (&str, &str, u64), until_ns: u64) -> Option<FrameRef> {
        self.find(from, to, Carried::Lsa(lsa.0.to_owned(), lsa.1.to_owned(), lsa.2), until_ns)
    }

    /// Whether `from` put this LSA on its link to `to`, and whether it arrived; none where nobody recorded that link.
    pub(crate) fn lsa_passed(&self, (from, to): (&str, &str), lsa: (&str, &str, u64)) -> Option<(bool, bool)> {
        let noted = |node: &str, port: &str| self.ports.contains_key(&(node.to_owned(), port.to_owned()));
        if !noted(from, to) || !noted(to, from) {
            return None;
        }
        let carried = Carried::Lsa(lsa.0.to_owned(), lsa.1.to_owned(), lsa.2);
        let both = self.carried.get(&(from.to_owned(), to.to_owned(), carried));
        Some(both.map_or((false, false), |both| (!both[0].is_empty(), !both[1].is_empty())))
    }

    /// The newest frame up to `until_ns` in which `from` sent `to` word of this type about a name.
    pub(crate) fn word(&self, (from, to): (&str, &str), t: MessageType, name: &str, until_ns: u64) -> Option<FrameRef> {
        self.find(from, to, Carried::Name(t, name.to_owned()), until_ns)
    }

    /// The trace that the call belongs to.
    pub(crate) fn context(&self) -> Option<&TraceContext> {
        self.context.as_ref()
    }

    /// The frames of the call, by time.
    pub(crate) fn call(&self) -> Vec<CallFrame> {
        let mut frames = self.calls.clone();
        frames.sort_by_key(|call| (call.frame.at_ns, !call.sent));
        frames
    }
}

fn ends<'a>(passing: &Passing<'a>) -> (&'a str, &'a str) {
    if passing.sent { (passing.node, passing.port) } else { (passing.port, passing.node) }
}

fn reference(passing: &Passing<'_>) -> FrameRef {
    let (from, to) = ends(passing);
    FrameRef {
        at_ns: passing.at_ns,
        from: from.to_owned(),
        to: to.to_owned(),
        file: passing.place.map(|(file, _)| file.to_owned()),
        number: passing.place.map(|(_, number)| number),
    }
}

/// Whether a node of this kind floods LSAs.
pub(crate) fn is_router(kind: &str) -> bool {
    kind == Role::Sg.label() || kind == Role::Sr.label()
}
