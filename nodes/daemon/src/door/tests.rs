//! Connections over the loopback interface, all of one source.

use std::net::SocketAddr;

use damc_gateway::BookBuilder;
use damc_wire::{Name, address};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// Time that something which happens at once may take on a busy host.
const WITHIN: Duration = Duration::from_secs(20);

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn door(bounds: Bounds) -> (Door, SocketAddr) {
    let listener = std::net::TcpListener::bind("[::1]:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let at = listener.local_addr().unwrap();
    let book = Arc::new(ArcSwap::from_pointee(BookBuilder::new("example").snapshot()));
    (Door::new("a test", listener, book, bounds).unwrap(), at)
}

/// Whether the other side has ended a connection, within a time that is ample.
async fn is_ended(stream: &mut TcpStream) -> bool {
    let read = tokio::time::timeout(WITHIN, stream.read(&mut [0; 1])).await.expect("it would have ended");
    matches!(read, Ok(0) | Err(_))
}

#[test]
fn one_source_gets_its_places_and_no_more_until_one_is_free() {
    run(async {
        let (door, at) = door(Bounds { in_all: 100, of_one: 3, silence: WITHIN });
        let mut clients = Vec::new();
        let mut guests = Vec::new();
        for _ in 0..3 {
            clients.push(TcpStream::connect(at).await.unwrap());
            guests.push(door.next().await);
        }
        let mut fourth = TcpStream::connect(at).await.unwrap();
        let waits = tokio::select! {
            _ = door.next() => false,
            ended = is_ended(&mut fourth) => ended,
        };
        assert!(waits, "the fourth is reset, and nobody is let in for it");
        drop(guests.pop());
        let _fifth = TcpStream::connect(at).await.unwrap();
        tokio::time::timeout(WITHIN, door.next()).await.expect("there is a place again");
    });
}

#[test]
fn a_guest_that_says_nothing_ends_and_leaves_its_place() {
    run(async {
        let (door, at) = door(Bounds { in_all: 1, of_one: 1, silence: Duration::from_millis(20) });
        for _ in 0..3 {
            let _client = TcpStream::connect(at).await.unwrap();
            let mut guest = tokio::time::timeout(WITHIN, door.next()).await.expect("a place");
            let read = tokio::time::timeout(WITHIN, guest.read(&mut [0; 1])).await.expect("it ends by itself");
            assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
        }
    });
}

#[test]
fn what_is_said_and_answered_passes() {
    run(async {
        let (door, at) = door(Bounds { in_all: 1, of_one: 1, silence: WITHIN });
        let mut client = TcpStream::connect(at).await.unwrap();
        let mut guest = door.next().await;
        client.write_all(b"ask").await.unwrap();
        let mut asked = [0; 3];
        guest.read_exact(&mut asked).await.unwrap();
        guest.write_all(&asked).await.unwrap();
        guest.shutdown().await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"ask");
    });
}

#[test]
fn all_names_of_a_pod_are_one_source() {
    run(async {
        let (mut door, _) = door(Bounds { in_all: 9, of_one: 9, silence: WITHIN });
        let names: Vec<Name> = ["/A/1", "/B/1"].map(|name| name.parse().unwrap()).to_vec();
        let mut book = BookBuilder::new("example");
        book.set_port(4, &names, &[]);
        door.book = Arc::new(ArcSwap::from_pointee(book.snapshot()));
        for name in &names {
            let at = address::of_name("example", name).unwrap();
            assert_eq!(door.source(at.into()), Source::Pod(4));
        }
        assert_eq!(door.source(Ipv6Addr::LOCALHOST.into()), Source::Address(Ipv6Addr::LOCALHOST));
    });
}
