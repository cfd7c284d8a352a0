//! The DNS server on the pod's link (RFC 1035, RFC 3596): resolves host names of the domain to addresses, and back.

use core::net::Ipv6Addr;

use damc_wire::address;
use etherparse::{IpNumber, Ipv6Header, UdpHeader, UdpSlice};
use simple_dns::rdata::{AAAA, PTR, RData, SOA};
use simple_dns::{CLASS, Name, OPCODE, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, ResourceRecord, TYPE};

use crate::book::{Book, Host};
use crate::errors::HOP_LIMIT;
use crate::packet::View;

/// Time for which an answer may be cached, s. Short, because names come and go.
const TTL: u32 = 1;
/// Longest answer without extensions, bytes (RFC 1035, section 4.2.1).
const LONGEST: usize = 512;
/// Labels of an address in the reverse tree, before `ip6.arpa`.
const NIBBLES: usize = 32;

/// The UDP packet that answers the one in `view`; `None` if that is not a question.
pub(crate) fn answer(view: &View<'_>, udp: &UdpSlice<'_>, book: &Book) -> Option<Vec<u8>> {
    let reply = reply(udp.payload(), book)?;
    let mut header = Ipv6Header {
        next_header: IpNumber::UDP,
        hop_limit: HOP_LIMIT,
        source: view.destination.octets(),
        destination: view.source.octets(),
        ..Ipv6Header::default()
    };
    let udp = UdpHeader::with_ipv6_checksum(udp.destination_port(), udp.source_port(), &header, &reply).ok()?;
    header.set_payload_length(udp.header_len() + reply.len()).ok()?;
    let mut packet = header.to_bytes().to_vec();
    packet.extend_from_slice(&udp.to_bytes());
    packet.extend_from_slice(&reply);
    Some(packet)
}

/// The answer to a message, whatever its transport; `None` if the message is itself an answer, or too short.
#[must_use]
pub fn reply(message: &[u8], book: &Book) -> Option<Vec<u8>> {
    let id = u16::from_be_bytes([*message.first()?, *message.get(1)?]);
    // Answering an answer could make two servers go on for ever.
    if message.len() < 12 || message[2] & 0x80 != 0 {
        return None;
    }
    let mut reply = Packet::new_reply(id);
    let bare = |rcode: RCODE| {
        let mut reply = Packet::new_reply(id);
        *reply.rcode_mut() = rcode;
        reply.build_bytes_vec().ok()
    };
    let Ok(query) = Packet::parse(message) else { return bare(RCODE::FormatError) };
    if query.opcode() != OPCODE::StandardQuery {
        return bare(RCODE::NotImplemented);
    }
    let [question] = query.questions.as_slice() else { return bare(RCODE::FormatError) };
    reply.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
    if query.has_flags(PacketFlag::RECURSION_DESIRED) {
        reply.set_flags(PacketFlag::RECURSION_DESIRED | PacketFlag::RECURSION_AVAILABLE);
    }
    reply.questions.push(question.clone());
    let domain = format!("{}.{}", book.domain().to_ascii_lowercase(), address::DNS_TOP);
    let outcome = resolve(question, book, &domain);
    *reply.rcode_mut() = outcome.rcode;
    match outcome.data {
        Some(data) => reply.answers.push(ResourceRecord::new(question.qname.clone(), CLASS::IN, TTL, data)),
        None => reply.name_servers.extend(authority(&domain)),
    }
    reply.build_bytes_vec().ok().filter(|bytes| bytes.len() <= LONGEST).or_else(|| bare(RCODE::ServerFailure))
}

/// Outcome of a question.
struct Outcome {
    rcode: RCODE,
    data: Option<RData<'static>>,
}

impl Outcome {
    const fn nothing(rcode: RCODE) -> Self {
        Self { rcode, data: None }
    }
}

fn resolve(question: &Question<'_>, book: &Book, domain: &str) -> Outcome {
    if !matches!(question.qclass, QCLASS::CLASS(CLASS::IN) | QCLASS::ANY) {
        return Outcome::nothing(RCODE::NameError);
    }
    let host = text_of(&question.qname);
    let wants = |kind: TYPE| question.qtype == QTYPE::TYPE(kind) || question.qtype == QTYPE::ANY;
    if let Some(address) = reverse(&host) {
        let name = book.name_at(&address).and_then(|name| address::host_name(book.domain(), name));
        return match name.and_then(|name| Name::new(&name).ok().map(Name::into_owned)) {
            Some(name) if wants(TYPE::PTR) => Outcome { rcode: RCODE::NoError, data: Some(RData::PTR(PTR(name))) },
            Some(_) => Outcome::nothing(RCODE::NoError),
            None => Outcome::nothing(RCODE::NameError),
        };
    }
    match book.host(&host) {
        Host::Known(name) => match book.address_of(name) {
            Some(address) if wants(TYPE::AAAA) => {
                let data = RData::AAAA(AAAA { address: u128::from(address) });
                Outcome { rcode: RCODE::NoError, data: Some(data) }
            }
            // Another name owns its address.
            None => Outcome::nothing(RCODE::ServerFailure),
            Some(_) => Outcome::nothing(RCODE::NoError),
        },
        Host::Ambiguous => Outcome::nothing(RCODE::ServerFailure),
        // The domain itself exists. It has no data of its own, only names below it.
        Host::Unknown if host == domain || host == address::DNS_TOP => Outcome::nothing(RCODE::NoError),
        Host::Unknown => Outcome::nothing(RCODE::NameError),
    }
}

/// A name as text, in lower case.
fn text_of(name: &Name<'_>) -> String {
    let labels: Vec<String> =
        name.as_bytes().map(|label| String::from_utf8_lossy(label).to_ascii_lowercase()).collect();
    labels.join(".")
}

/// The address for which a name of the reverse tree stands.
fn reverse(host: &str) -> Option<Ipv6Addr> {
    let nibbles = host.strip_suffix(".ip6.arpa")?;
    let mut address = 0_u128;
    let mut count = 0;
    for (at, digit) in nibbles.split('.').enumerate() {
        let value = u128::from_str_radix(digit, 16).ok().filter(|_| digit.len() == 1 && at < NIBBLES)?;
        address |= value << (4 * at);
        count += 1;
    }
    (count == NIBBLES).then(|| Ipv6Addr::from(address))
}

/// The SOA record of a negative answer, with the time for which it may be cached (RFC 2308).
fn authority(domain: &str) -> Option<ResourceRecord<'static>> {
    let name = |text: String| Name::new(&text).ok().map(Name::into_owned);
    let zone = name(domain.to_owned())?;
    let soa = SOA {
        mname: name(format!("gateway.{domain}"))?,
        rname: name(format!("nobody.{domain}"))?,
        serial: 1,
        refresh: 3600,
        retry: 600,
        expire: 86400,
        minimum: 0,
    };
    Some(ResourceRecord::new(zone, CLASS::IN, 0, RData::SOA(soa)))
}
