//! HTTP over a real connection on the loopback interface, with a gateway that knows one pod.

mod grpc;
mod vectors;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use damc_wire::message::{Announce, AnnounceReply, Outcome};
use damc_wire::{Name, NodeId, RefusalReason};
use serde_json::{Value, json};

use crate::{Gateway, Refusal};

#[derive(Clone)]
struct Sg(Arc<AtomicU64>);

impl Gateway for Sg {
    async fn session(&self, pod: NodeId) -> Result<(NodeId, u64), Refusal> {
        let known = pod.as_str() == "pod-1";
        known.then(|| (NodeId::new("sg-1").unwrap(), 7)).ok_or(Refusal::NoSuchPod)
    }

    fn request_number(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    /// Only the first byte of a signature counts: 1 means valid.
    async fn announce(&self, announce: Announce) -> Result<AnnounceReply, Refusal> {
        let refusal = |name: &Name| match announce.signature[0] {
            1 if name.to_string() == "/taken" => Some(RefusalReason::Conflict),
            1 => None,
            _ => Some(RefusalReason::BadIdentity),
        };
        let outcome = |name: &Name| Outcome { prefix: name.clone(), refusal: refusal(name) };
        let outcomes = announce.add.iter().map(|e| outcome(&e.prefix)).chain(announce.withdraw.iter().map(outcome));
        Ok(AnnounceReply { request: announce.request, outcomes: outcomes.collect() })
    }

    async fn names(&self) -> Result<Vec<Name>, Refusal> {
        Ok(["/A/1", "/B/4", "/B"].map(|n| n.parse().unwrap()).to_vec())
    }

    fn domain(&self) -> &str {
        "example"
    }
}

/// Serves for as long as the test's process lives.
fn serve() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let routes = crate::routes(Sg(Arc::new(AtomicU64::new(1 << 63)))).await;
            axum::serve(listener, routes).await.unwrap();
        });
    });
    address
}

/// Status, content type and JSON of an answer.
fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String, Value) {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: sg\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let kind = head.lines().find_map(|l| l.strip_prefix("content-type: ")).unwrap_or_default();
    (head[9..12].parse().unwrap(), kind.to_owned(), serde_json::from_str(body).unwrap_or(Value::Null))
}

#[test]
fn reg_04_an_announcement_is_challenged_signed_and_executed() {
    let address = serve();
    let words = json!({"pod": "pod-1", "add": [{"prefix": "/A/9", "pool": "/A", "weight": 3}], "withdraw": ["/A/8"]});
    let (status, kind, challenge) = ask(address, "POST", "/v1/prefixes", &words.to_string());
    assert_eq!((status, kind.as_str()), (401, "application/problem+json"));
    assert_eq!(challenge["type"], "urn:damc:problem:signature-required");
    assert_eq!((&challenge["sg"], &challenge["session"]), (&json!("sg-1"), &json!("7")));
    assert_eq!(challenge.get("sign"), None, "no program signs bytes that an SG hands out");
    let mut signed = words.clone();
    signed["request"] = challenge["request"].clone();
    signed["signature"] = "01".repeat(64).into();
    let (status, _, answer) = ask(address, "POST", "/v1/prefixes", &signed.to_string());
    assert_eq!(status, 200);
    let host = "9.a.example.damc";
    assert_eq!(answer["outcomes"][0]["host"], host);
    assert_eq!(answer["outcomes"][0]["accepted"], true);
    signed["signature"] = "02".repeat(64).into();
    let (status, kind, problem) = ask(address, "POST", "/v1/prefixes", &signed.to_string());
    assert_eq!((status, kind.as_str(), &problem["reason"]), (403, "application/problem+json", &json!("bad-identity")));
    let mut taken = json!({"pod": "pod-1", "add": [{"prefix": "/taken"}]});
    taken["request"] = challenge["request"].clone();
    taken["signature"] = "01".repeat(64).into();
    assert_eq!(ask(address, "POST", "/v1/prefixes", &taken.to_string()).0, 409);
}

#[test]
fn reg_04_whatever_is_wrong_is_a_problem() {
    let address = serve();
    let long = format!(r#"{{"pod":"{}"}}"#, "x".repeat(20_000));
    for (method, path, body, expected, word) in [
        ("POST", "/v1/prefixes", "{", 400, "EOF"),
        ("POST", "/v1/prefixes", r#"{"pod":"pod-1","colour":1}"#, 400, "colour"),
        ("POST", "/v1/prefixes", r#"{"pod":"pod-1"}"#, 400, "nothing to announce"),
        ("POST", "/v1/prefixes", r#"{"pod":"pod-1","add":[{"prefix":"A"}]}"#, 400, "add[0].prefix"),
        ("POST", "/v1/prefixes", r#"{"pod":"pod-1","add":[{"prefix":"/A","weight":70000}]}"#, 400, "65535"),
        ("POST", "/v1/prefixes", r#"{"pod":"pod-9","withdraw":["/A"]}"#, 404, "adjacency"),
        (
            "POST",
            "/v1/prefixes",
            r#"{"pod":"pod-1","withdraw":["/A"],"request":"1","signature":"xy"}"#,
            400,
            "hexadecimal",
        ),
        (
            "POST",
            "/v1/prefixes",
            r#"{"pod":"pod-1","withdraw":["/A"],"request":"1","signature":"01"}"#,
            400,
            "64 bytes",
        ),
        ("GET", "/v1/prefixes/nobody", "", 404, "/nobody"),
        ("GET", "/v1/prefixes?under=B", "", 400, "under"),
        ("GET", "/v2", "", 404, "/v2"),
        ("DELETE", "/v1/prefixes", "", 405, "DELETE"),
    ] {
        let (status, kind, problem) = ask(address, method, path, body);
        assert_eq!(
            (status, kind.as_str()),
            (expected, "application/problem+json"),
            "{method} {path} {body}: {problem}"
        );
        assert_eq!(problem["status"], expected);
        assert!(problem["detail"].as_str().unwrap().contains(word), "{problem}");
    }
    assert_eq!(ask(address, "POST", "/v1/prefixes", &long).0, 413);
}

#[test]
fn reg_04_names_are_looked_up() {
    let address = serve();
    let (status, _, all) = ask(address, "GET", "/v1/prefixes", "");
    assert_eq!((status, all["names"].as_array().unwrap().len()), (200, 3));
    let (_, _, some) = ask(address, "GET", "/v1/prefixes?under=/B", "");
    assert_eq!(some["names"].as_array().unwrap().len(), 2);
    let (status, _, one) = ask(address, "GET", "/v1/prefixes/B/4", "");
    assert_eq!((status, &one["host"]), (200, &json!("4.b.example.damc")));
}
