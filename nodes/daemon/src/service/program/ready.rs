//! When a program is ready, looked at from inside its pod.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv6Addr, SocketAddrV6, TcpStream};
use std::time::Duration;
use std::{fs, iter};

use damc_mgmt::config::Ready;
use damc_wire::address;
use socket2::{Domain, SockAddr, Socket, Type};

use super::Identity;

/// Time one look at an HTTP path may take.
const HTTP_WITHIN: Duration = Duration::from_millis(500);
/// Bytes of an answer that are read, at most.
const LONGEST_ANSWER: u64 = 1 << 20;
/// A program that has lived so long has started: one that is broken usually ends before.
const LIVES: Duration = Duration::from_millis(500);
/// State of a listening socket in `/proc/net/tcp6`.
const LISTENING: &str = "0A";

/// Whether it is, so long after its start; `line_seen` where it has printed the line that is waited for.
pub(super) fn is_ready(ready: &Ready, identity: &Identity, since: Duration, line_seen: bool) -> bool {
    match ready {
        Ready::Started {} => since >= LIVES,
        Ready::Line { .. } => line_seen,
        Ready::Port { port } => listens(*port),
        Ready::Http { http, port } => listens(*port) && answers(identity, *port, http),
    }
}

/// Whether the path is answered with a status of 200 to 399. From the service's own name to itself, which stays in
/// the pod, or by the loopback where the program listens there only.
fn answers(identity: &Identity, port: u16, path: &str) -> bool {
    let own = address::of_name(&identity.domain, &identity.prefix);
    own.into_iter().chain(iter::once(Ipv6Addr::LOCALHOST)).any(|a| ask(a, port, path).unwrap_or(false))
}

/// What was waited for, in words.
pub(super) fn describe(ready: &Ready) -> String {
    match ready {
        Ready::Started {} => "it did not start".to_owned(),
        Ready::Port { port } => format!("nothing listens on TCP port {port}"),
        Ready::Http { http, port } => format!("GET {http} on port {port} was not answered with a status of 200 to 399"),
        Ready::Line { line } => format!("it printed no line with {line:?}"),
    }
}

/// Whether something in this pod listens on a TCP port.
fn listens(port: u16) -> bool {
    let in_table = |table: &str| {
        fs::read_to_string(table).is_ok_and(|text| {
            text.lines().skip(1).any(|line| {
                let mut words = line.split_whitespace().skip(1);
                let (local, state) = (words.next().unwrap_or_default(), words.nth(1).unwrap_or_default());
                state == LISTENING && local.rsplit(':').next() == Some(&format!("{port:04X}"))
            })
        })
    };
    in_table("/proc/thread-self/net/tcp6") || in_table("/proc/thread-self/net/tcp")
}

/// One GET; whether the status is a good one.
fn ask(address: Ipv6Addr, port: u16, path: &str) -> io::Result<bool> {
    let end = |port| SockAddr::from(SocketAddrV6::new(address, port, 0, 0));
    let socket = Socket::new(Domain::IPV6, Type::STREAM, None)?;
    // Bound to the same address: only then does it stay in the pod.
    socket.bind(&end(0))?;
    socket.connect_timeout(&end(port), HTTP_WITHIN)?;
    socket.set_read_timeout(Some(HTTP_WITHIN))?;
    socket.set_write_timeout(Some(HTTP_WITHIN))?;
    let mut stream = TcpStream::from(socket);
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    // To the end: a connection closed too early would be a failure to the program.
    io::copy(&mut stream.take(LONGEST_ANSWER), &mut io::sink())?;
    Ok(head.starts_with(b"HTTP/1.") && matches!(head[9], b'2' | b'3'))
}
