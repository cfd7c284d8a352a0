//! What a question costs, in allocations, however many names there are. Counts, not time.

use damc_gateway::{Book, BookBuilder, dns_reply};
use damc_wire::{Name, address};
use simple_dns::{CLASS, Name as Host, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};

const DOMAIN: &str = "example";
/// Some names, ten times as many, and as many as an SG has of its pods (`nodes/WIRE.md`, section 21).
const SIZES: [usize; 3] = [40, 400, 4096];
/// Questions that are averaged.
const ASKED: usize = 32;

fn name(at: usize) -> Name {
    format!("/A/{at}").parse().unwrap()
}

fn book(names: usize) -> Book {
    let mut builder = BookBuilder::new(DOMAIN);
    (0..names).for_each(|at| assert!(builder.add(&name(at))));
    builder.snapshot()
}

fn question(host: &str, kind: TYPE) -> Vec<u8> {
    let mut query = Packet::new_query(7);
    query.set_flags(PacketFlag::RECURSION_DESIRED);
    let host = Host::new_unchecked(host);
    query.questions.push(Question::new(host, QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false));
    query.build_bytes_vec().unwrap()
}

/// Allocations and bytes of one answer, on average.
fn cost(book: &Book, questions: &[Vec<u8>], expected: RCODE) -> (f64, f64) {
    let measured = allocation_counter::measure(|| {
        for question in questions {
            let reply = dns_reply(question, book).expect("a question");
            assert_eq!(u16::from(reply[3] & 0xf), expected as u16);
        }
    });
    let each = |count: u64| count as f64 / questions.len() as f64;
    (each(measured.count_total), each(measured.bytes_total))
}

fn flat(what: &str, questions: impl Fn(usize) -> Vec<Vec<u8>>, expected: RCODE) {
    let costs = SIZES.map(|size| cost(&book(size), &questions(size), expected));
    let (some, most) = (costs[0], costs.iter().fold((0.0_f64, 0.0_f64), |m, c| (m.0.max(c.0), m.1.max(c.1))));
    assert!(some.0 > 0.0 && most.0 / some.0 < 1.2 && most.1 / some.1 < 1.2, "{what} with {SIZES:?} names: {costs:?}");
}

/// Places in the order of names, spread over all of them.
fn spread(size: usize) -> impl Iterator<Item = usize> {
    (0..ASKED).map(move |at| at * size / ASKED)
}

#[test]
fn a_name_costs_the_same_however_many_there_are() {
    let asked = |size| spread(size).map(|at| question(&address::host_name(DOMAIN, &name(at)).unwrap(), TYPE::AAAA));
    flat("names", |size| asked(size).collect(), RCODE::NoError);
}

#[test]
fn a_name_that_is_not_there_costs_the_same_however_many_there_are() {
    let asked = |size| spread(size).map(|at| question(&format!("none-{at}.a.{DOMAIN}.damc"), TYPE::AAAA));
    flat("unknown names", |size| asked(size).collect(), RCODE::NameError);
}

#[test]
fn an_address_costs_the_same_however_many_there_are() {
    let reverse = |at| {
        let octets = address::of_name(DOMAIN, &name(at)).unwrap().octets();
        let nibbles = octets.iter().rev().map(|byte| format!("{:x}.{:x}", byte & 15, byte >> 4));
        format!("{}.ip6.arpa", nibbles.collect::<Vec<_>>().join("."))
    };
    flat("addresses", |size| spread(size).map(|at| question(&reverse(at), TYPE::PTR)).collect(), RCODE::NoError);
}
