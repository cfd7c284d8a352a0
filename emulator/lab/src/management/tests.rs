//! The client against servers that do what servers should not.

use std::time::Instant;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;

use super::*;

/// What a test waits for at most: nothing here takes time.
const SOON: Duration = Duration::from_secs(10);
/// How long the client waits for servers that never answer.
const PATIENCE: Duration = Duration::from_millis(100);

/// A socket in the temporary folder, removed at the end.
struct Socket(PathBuf);

impl Socket {
    fn new(test: &str) -> (Self, UnixListener) {
        let path = std::env::temp_dir().join(format!("damc-management-{test}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).expect("a socket in the temporary folder");
        (Self(path), listener)
    }

    fn client(&self) -> Management {
        Management { longest: 1000, answer_within: SOON, ..Management::new("sr-1", &self.0) }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(SOON, work).await.expect("a bounded test") })
}

/// Reads a request without body; says what it was.
async fn request(stream: &mut UnixStream) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut request).await.expect("a request"), 0, "the client went away");
    }
    String::from_utf8(request).expect("text")
}

/// A server that answers its first client with these bytes, in two parts, and ends.
async fn answered(test: &str, answer: &str) -> Result<Value> {
    let (socket, listener) = Socket::new(test);
    let serve = async {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let request = request(&mut stream).await;
        assert!(request.starts_with("GET /fib HTTP/1.1\r\n"), "{request}");
        let (first, second) = answer.split_at(answer.len() / 2);
        for part in [first, second] {
            // A client that has had enough may be gone.
            let _ = stream.write_all(part.as_bytes()).await;
            tokio::task::yield_now().await;
        }
    };
    let client = socket.client();
    tokio::join!(client.get("/fib"), serve).0
}

fn refused(test: &str, answer: &str) -> String {
    run(answered(test, answer)).expect_err(test).to_string()
}

#[test]
fn answers_end_by_length_by_chunk_or_by_close() {
    let length = "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{\"a\":1}";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n4;x=y\r\n\":1}\r\n0\r\n\r\n";
    let closed = "HTTP/1.0 200 OK\r\n\r\n{\"a\":1}";
    for (test, answer) in [("length", length), ("chunked", chunked), ("closed", closed)] {
        let value = run(answered(test, answer)).unwrap_or_else(|error| panic!("{test}: {error}"));
        assert_eq!(value, json!({ "a": 1 }), "{test}");
    }
}

#[test]
fn a_refusal_says_which_node_and_why() {
    let told = refused("refused", "HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nnone");
    assert_eq!(told, "sr-1: GET /fib: HTTP status 404: none");
}

#[test]
fn a_server_that_closes_early_is_no_answer() {
    for (test, answer) in [
        ("nothing", ""),
        ("no-http", "hello\r\n\r\n"),
        ("half-a-head", "HTTP/1.1 200 OK\r\ncontent-len"),
        ("half-a-body", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{\"a\":1}"),
        ("half-a-chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\n{\"a\":1}"),
        ("no-last-chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7\r\n{\"a\":1}\r\n"),
    ] {
        let told = refused(test, answer);
        assert!(told.starts_with("sr-1: ") && !told.contains("within"), "{test}: {told}");
    }
}

#[test]
fn nobody_there_is_no_answer() {
    let client = Management::new("sr-1", Path::new("/nowhere/sr-1.sock"));
    let told = run(client.get::<Value>("/fib")).expect_err("nobody there").to_string();
    assert!(told.starts_with("sr-1: ") && told.contains("No such file"), "{told}");
}

#[test]
fn answers_that_are_too_long_are_not_taken() {
    let long = "x".repeat(1001);
    let length = format!("HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n{long}");
    let chunk = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3e9\r\n{long}\r\n0\r\n\r\n");
    let closed = format!("HTTP/1.0 200 OK\r\n\r\n{long}");
    for (test, answer) in [("long", length), ("long-chunk", chunk), ("long-closed", closed)] {
        assert_eq!(refused(test, &answer), "sr-1: an answer of more than 1000 bytes", "{test}");
    }
}

/// A server that takes a client, says this much and then nothing more, until the test is over.
async fn silent(test: &str, answer: &str, ask: impl AsyncFn(&Management) -> String) -> (String, Duration) {
    let (socket, listener) = Socket::new(test);
    let (over, is_over) = oneshot::channel::<()>();
    let serve = async {
        let (mut stream, _) = listener.accept().await.expect("a client");
        stream.write_all(answer.as_bytes()).await.expect("writable");
        is_over.await.expect("the end of the test");
        // The client let go of its connection.
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await
    };
    let began = Instant::now();
    let client = Management { answer_within: PATIENCE, ..socket.client() };
    let asked = async {
        let told = ask(&client).await;
        let took = began.elapsed();
        over.send(()).expect("a server");
        (told, took)
    };
    let (told, closed) = tokio::join!(asked, serve);
    closed.expect("the client closed its connection");
    told
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let get = async |client: &Management| client.get::<Value>("/fib").await.expect_err("silence").to_string();
    let post = async |client: &Management| {
        client.post::<Value>("/order", &json!({}), PATIENCE).await.expect_err("silence").to_string()
    };
    let events = async |client: &Management| client.events().await.expect_err("silence").to_string();
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{\"a\"";
    for (told, took) in [
        run(silent("silent", "", get)),
        run(silent("silent-body", half, get)),
        run(silent("silent-post", "", post)),
        run(silent("silent-events", "HTTP/1.1 200 OK\r\n", events)),
    ] {
        assert_eq!(told, "sr-1: no answer within 100 ms");
        assert!((PATIENCE..SOON).contains(&took), "{took:?}");
    }
}

fn event(sequence: u64) -> String {
    format!("{{\"at_ns\":1,\"sequence\":{sequence},\"event\":\"ready\"}}\n")
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

const STREAM: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

#[test]
fn events_come_one_by_one_while_the_stream_goes_on() {
    let sequences = run(follow_events());
    assert_eq!(sequences, [Some(0), Some(1), Some(2), None]);
}

/// Follows events of which the last part is sent only when the first has been taken.
async fn follow_events() -> Vec<Option<u64>> {
    let (socket, listener) = Socket::new("events");
    let (seen, is_seen) = oneshot::channel::<()>();
    let serve = async {
        let (mut stream, _) = listener.accept().await.expect("a client");
        assert!(request(&mut stream).await.starts_with("GET /events HTTP/1.1\r\n"));
        let (half, other_half) = (&event(2)[..9], &event(2)[9..]);
        let first = format!("{STREAM}{}{}", chunk(&format!("{}\n{}", event(0), event(1))), chunk(half));
        stream.write_all(first.as_bytes()).await.expect("writable");
        // Only a client that has what was sent goes on.
        is_seen.await.expect("a client that follows");
        let rest = format!("{}0\r\n\r\n", chunk(other_half));
        stream.write_all(rest.as_bytes()).await.expect("writable");
    };
    let client = socket.client();
    let follow = async {
        let mut events = client.events().await.expect("a stream");
        let mut sequences = Vec::new();
        let mut next = async || events.next().await.expect("an event").map(|event| event.sequence);
        sequences.push(next().await);
        sequences.push(next().await);
        seen.send(()).expect("a server");
        sequences.push(next().await);
        sequences.push(next().await);
        sequences
    };
    tokio::join!(follow, serve).0
}

/// What becomes of a stream of events with this content, after the events in it.
fn end_of_events(test: &str, answer: &str) -> (usize, String) {
    run(follow_to_the_end(test, answer))
}

async fn follow_to_the_end(test: &str, answer: &str) -> (usize, String) {
    let (socket, listener) = Socket::new(test);
    let serve = async {
        let (mut stream, _) = listener.accept().await.expect("a client");
        request(&mut stream).await;
        let _ = stream.write_all(answer.as_bytes()).await;
    };
    let client = socket.client();
    let follow = async {
        let mut events = match client.events().await {
            Ok(events) => events,
            Err(error) => return (0, error.to_string()),
        };
        for count in 0.. {
            match events.next().await {
                Ok(Some(_)) => {}
                Ok(None) => return (count, "the end".to_owned()),
                Err(error) => return (count, error.to_string()),
            }
        }
        unreachable!("the server sends a bounded answer")
    };
    tokio::join!(follow, serve).0
}

#[test]
fn a_stream_that_breaks_is_not_taken_for_one_that_ends() {
    let whole = chunk(&event(0));
    assert_eq!(end_of_events("whole", &format!("{STREAM}{whole}0\r\n\r\n")), (1, "the end".to_owned()));
    let cut = chunk(&event(1)[..9]);
    let (count, told) = end_of_events("cut", &format!("{STREAM}{whole}{cut}0\r\n\r\n"));
    assert_eq!((count, told.as_str()), (1, "sr-1: its events end in the middle of one"));
    let (count, told) = end_of_events("broken", &format!("{STREAM}{whole}"));
    assert!(count == 1 && told.starts_with("sr-1: ") && told != "the end", "{told}");
    let (count, told) = end_of_events("nonsense", &format!("{STREAM}{}", chunk("hello\n")));
    assert!(count == 0 && told.starts_with("sr-1: not an event"), "{told}");
    let (count, told) = end_of_events("endless", &format!("{STREAM}{}", chunk(&"x".repeat(1001))));
    assert_eq!((count, told.as_str()), (0, "sr-1: an endless event"));
    let (count, told) = end_of_events("refusing", "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n");
    assert_eq!((count, told.as_str()), (0, "sr-1: /events: HTTP status 503"));
}
