//! What leaves for other tools: containerlab, Prometheus, traces.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::cannot;
use crate::transcript::Transcript;

const CONTEXT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("a text")
}

#[test]
fn a_topology_goes_to_containerlab_and_comes_back() {
    let mut said = Transcript::new("clab").vary(r"damc-nodes:[\d.]+", "damc-nodes:VERSION");
    said.damc("export containerlab line -o FOLDER/lab --image mine:1")
        .damc("export containerlab line -o FOLDER/lab --image mine:1")
        .damc("export containerlab shop -o FOLDER/shop --image mine:1")
        .damc("export docker line")
        .damc("import FOLDER/lab/line.clab.yml -o FOLDER/again.yaml")
        .damc("import FOLDER/lab/line.clab.yml --gateways 2")
        .damc("import FOLDER/lab/line.clab.yml --name other -o FOLDER/other.yaml")
        .damc("check FOLDER/again.yaml FOLDER/other.yaml");
    let broken = std::fs::read_to_string(said.folder().join("lab/line.clab.yml")).expect("an export");
    let broken = broken.replacen("\"kind\":\"sr\"", "\"kind\":\"router\"", 1);
    std::fs::write(said.folder().join("broken.clab.yml"), broken).expect("a file");
    said.damc("import FOLDER/broken.clab.yml").damc("import FOLDER/lab/netem.sh --format containerlab");
    assert!(!said.folder().join("shop").exists(), "what is refused leaves nothing behind");
    let mode = |path: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        let path = said.folder().join("lab").join(path);
        path.metadata().unwrap_or_else(|e| panic!("{}: {e}", path.display())).permissions().mode() & 0o777
    };
    assert_eq!(
        [mode("nodes/sr-1/config.json"), mode("nodes/sr-1"), mode("keys"), mode("netem.sh")],
        [0o600, 0o700, 0o600, 0o755]
    );
    let plan = |file: &str| text(&said.run(&format!("plan {file} --lab x --json")));
    assert_eq!(plan("FOLDER/again.yaml"), plan("line"), "the same nodes, links and configurations");
    insta::assert_snapshot!(said.text());
}

/// The node programs run in nothing but the files of the image. To change the root takes a root.
#[test]
fn the_image_has_what_its_programs_need() {
    let said = Transcript::new("image");
    text(&said.run("export containerlab line -o FOLDER/lab"));
    let archive = std::fs::File::open(said.folder().join("lab/damc-nodes.tar")).expect("an archive");
    let folder = said.folder().join("layout");
    tar::Archive::new(archive).unpack(&folder).expect("unpacked");
    let read = |path: &Path| -> Value { serde_json::from_slice(&std::fs::read(path).expect("a blob")).expect("JSON") };
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().and_then(|digest| digest.strip_prefix("sha256:")).expect("a digest");
        folder.join("blobs/sha256").join(digest)
    };
    let index = read(&folder.join("index.json"));
    let manifest = read(&blob(&index["manifests"][0]));
    let root = said.folder().join("root");
    let layer = std::fs::File::open(blob(&manifest["layers"][0])).expect("the layer");
    tar::Archive::new(layer).unpack(&root).expect("unpacked");
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: only root may change the root");
        return;
    }
    for role in ["sg", "sr", "spa", "scsc", "pod"] {
        let output = Command::new("chroot").arg(&root).arg(format!("/usr/bin/damc-{role}")).output().expect("chroot");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains(&format!("usage: damc-{role} CONFIG")), "{output:?}");
    }
}

#[test]
fn calls_and_counters_of_a_lab_are_told() {
    if cannot() {
        return;
    }
    let said = Transcript::new("field");
    text(&said.run("up line --detach --seed 1"));
    let json = |line: &str| -> Value { serde_json::from_str(&text(&said.run(line))).expect("JSON") };
    let reply = json(&format!("call pod-1 /B/2 trace --traceparent {CONTEXT} --json"));
    let (seen, call) = (reply["result"].as_str().expect("a context"), reply["call"].as_str().expect("a number"));
    assert_eq!(reply["traceparent"], seen, "the service sees what the pod sent");
    assert!(
        seen.starts_with(&CONTEXT[..36]) && !seen.contains(&CONTEXT[36..52]),
        "the same trace, another parent: {seen}"
    );
    let way = json(&format!("trace {call} --json"));
    assert_eq!(way["traceparent"], seen);
    let hops: Vec<_> =
        way["hops"].as_array().expect("hops").iter().map(|hop| hop["from"].as_str().expect("a node")).collect();
    assert_eq!(hops, ["pod-1", "sg-1", "sr-1", "sg-2", "pod-2", "sg-2", "sr-1", "sg-1"], "{way}");
    assert!(text(&said.run(&format!("trace {call}"))).contains("sr-1 → sg-2"));
    for (line, error) in [("trace 0123456789abcdef", "no frame of a call"), ("trace x", "`x` is no call")] {
        let output = said.run(line);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(error), "{output:?}");
    }
    let metrics = text(&said.run("metrics"));
    for node in ["sg-1", "sr-1", "pod-2", "scsc"] {
        assert!(
            metrics.contains(&format!("damc_frames_received_total{{node=\"{node}\",type=\"hello\"}}")),
            "{metrics}"
        );
    }
    let served = served(&said);
    assert_eq!(
        served.lines().filter(|l| l.starts_with('#')).count(),
        metrics.lines().filter(|l| l.starts_with('#')).count()
    );
    assert!(served.contains("damc_protocol_total{node=\"pod-2\",counter=\"invocations\"} 1"), "{served}");
    text(&said.run("down line"));
}

/// What `damc metrics --listen` answers.
fn served(said: &Transcript) -> String {
    let mut server = Command::new(env!("CARGO_BIN_EXE_damc"))
        .args(["metrics", "--listen", "127.0.0.1:0"])
        .env("DAMC_RUN_DIR", said.folder().join("run"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("damc starts");
    let line =
        BufReader::new(server.stdout.take().expect("its output")).lines().next().expect("a line").expect("a text");
    let address = line.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/metrics")).expect("an address");
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    server.kill().expect("it ends");
    server.wait().expect("it ended");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("text/plain; version=0.0.4"), "{answer}");
    answer
}

#[test]
fn events_are_kept_in_what_is_saved() {
    if cannot() {
        return;
    }
    let said = Transcript::new("events");
    let line = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../topologies/line.yaml"));
    let events = "\nevents:\n  - { at: 3600s, link: [sr-1, sg-1], set: { delay: 9ms }, for: 2s, as: slow }\n  - { after: slow, node: pod-2, do: pause }\n";
    std::fs::write(said.folder().join("timed.yaml"), line.expect("a topology") + events).expect("a file");
    text(&said.run("up FOLDER/timed.yaml --detach --seed 1"));
    let saved = text(&said.run("save"));
    text(&said.run("down line"));
    assert!(
        saved.contains("events:\n  - { link: [sr-1, sg-1], set: { delay: 9ms }, at: 3600s, for: 2s, as: slow }\n"),
        "{saved}"
    );
    assert!(saved.contains("  - { node: pod-2, do: pause, after: slow }\n"), "{saved}");
}
