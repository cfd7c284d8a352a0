//! The example programs take a trace along: over HTTP with each program as a span of its own, over gRPC as metadata.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const CONTEXT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A program that serves, until it is dropped.
struct Serving(Child);

impl Serving {
    /// Starts it and waits for the line that says that it serves.
    fn start(command: &mut Command, ready: &str) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let said = lines.next().and_then(Result::ok).unwrap_or_default();
        let serving = Self(child);
        assert!(said.contains(ready), "{said:?}");
        serving
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that was free a moment ago.
fn free() -> SocketAddr {
    let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("its address")
}

fn get(address: SocketAddr, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).expect("a body")
}

fn who(name: &str, address: SocketAddr) -> Serving {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../who.py");
    let mut command = Command::new("python3");
    command.arg(program).arg(address.port().to_string());
    command.env("DAMC_NAME", name).env("DAMC_ADDRESS", "::1").env_remove("DAMC_POOL_ADDRESS");
    Serving::start(&mut command, "serves port")
}

#[test]
fn a_program_that_is_called_over_http_is_a_span_of_its_own_in_the_same_trace() {
    if Command::new("python3").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "there is no python3");
        eprintln!("SKIPPED: there is no python3");
        return;
    }
    let (first, second) = (free(), free());
    let _serving = [who("one", first), who("two", second)];
    let path = format!("/via/{second}");
    let seen = |headers: &str| {
        let said: serde_json::Value = serde_json::from_str(&get(first, &path, headers)).expect("JSON");
        assert_eq!((&said["name"], &said["via"]["name"]), (&"one".into(), &"two".into()), "{said}");
        said["via"]["traceparent"].as_str().map(ToOwned::to_owned)
    };
    let there = seen(&format!("traceparent: {CONTEXT}\r\n")).expect("a context");
    assert_eq!((&there[..36], &there[52..]), (&CONTEXT[..36], &CONTEXT[52..]), "the same trace");
    assert_ne!(there[36..52], CONTEXT[36..52], "with the first program as the parent");
    assert_eq!(seen(""), None);
    assert_eq!(seen(&format!("traceparent: {}\r\n", CONTEXT.replace("0af", "0AF"))), None);
}

#[test]
fn a_call_over_grpc_carries_the_trace_of_whoever_started_the_client() {
    let address = free();
    let mut calculator = Command::new(env!("CARGO_BIN_EXE_damc-example-calculator"));
    let _serving = Serving::start(calculator.arg(address.to_string()).env("DAMC_NAME", "/C/1"), "listens on");
    let who = |context: Option<&str>| {
        let mut client = Command::new(env!("CARGO_BIN_EXE_damc-example-calculate"));
        client.args([&address.to_string(), "who"]).env_remove("TRACEPARENT");
        client.envs(context.map(|context| ("TRACEPARENT", context)));
        // The server has said that it will listen, which it does a moment later.
        let asked = (0..200).map(|_| client.output().expect("it starts"));
        let answered = asked.into_iter().find(|output| output.status.success()).expect("an answer");
        String::from_utf8(answered.stdout).expect("a text").trim_end().to_owned()
    };
    assert_eq!(who(None), "/C/1");
    assert_eq!(who(Some(CONTEXT)), format!("/C/1 {CONTEXT}"));
}
