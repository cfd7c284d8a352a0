//! Ordinary programs in pods (`curl`, Python's web server, `openssl`), unchanged: they reach services by name through
//! their SG, and a pod registers at its SG over HTTP and gRPC.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use damc_wire::{MessageType, Role, address};
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::bench::Bench;
use crate::bench::witness::parse;
use crate::case::{Case, Findings, Impact, Stop, Suite};

const LIMIT: Duration = Duration::from_secs(60);
/// The web service that the cases bring: it is shipped with the topologies.
const WEB_SERVICE: &str = include_str!("../../../topologies/apps/who.py");
/// Where it listens, beside whatever a topology runs itself.
const PORT: u16 = 8099;
/// Time a program has to start.
const START: Duration = Duration::from_secs(10);
/// A refusal that takes longer is no refusal but a silence.
const AT_ONCE: Duration = Duration::from_secs(3);
/// Chains of calls of one load, and calls in each.
const CHAINS: usize = 24;
const DEPTH: usize = 4;

/// Cases with programs.
pub const CASES: &[Case] = &[
    case!("fwd-01-ip", "A program's packets go to its SG, which carries or refuses them", ["FWD-01"], Calm, gateway),
    case!("fwd-02-ip", "Programs of one pod meet through its SG", ["FWD-02"], Calm, within_one_pod),
    case!("rmi-02-http", "HTTP is the same wherever the service is", ["RMI-02"], Calm, anywhere),
    case!("goal-07", "A stock web server and a stock client need nothing but a name", ["GOAL-07"], Calm, stock),
    case!("goal-08", "Chains of calls between many services, side by side", ["GOAL-08"], Calm, many),
    case!("reg-04", "A pod registers over HTTP and looks up over gRPC", ["REG-04", "CON-15"], Guest, over_http),
];

/// What a program did.
struct Ran {
    code: Option<i32>,
    out: Vec<u8>,
    took: Duration,
}

impl Ran {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).trim().to_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.out).unwrap_or(Value::Null)
    }
}

impl Bench {
    /// A program in a node, to be run or left running; it ends with the value it is spawned as.
    fn program(&self, node: &str, words: &[&str]) -> Command {
        let mut command = Command::new(&self.lab.job().program);
        command.args(["exec", "--lab", self.lab.name(), node, "--"]).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        command
    }

    async fn run_inside(&self, node: &str, words: &[&str]) -> Result<Ran, Stop> {
        let began = Instant::now();
        let output = self.program(node, words).output().await.map_err(|e| Stop::Inconclusive(e.to_string()))?;
        Ok(Ran { code: output.status.code(), out: output.stdout, took: began.elapsed() })
    }

    async fn curl(&self, pod: &str, words: &[&str]) -> Result<Ran, Stop> {
        self.run_inside(pod, &[&["curl", "-sS", "--max-time", "8"][..], words].concat()).await
    }

    /// Not every machine has every program.
    async fn needs(&self, programs: &[&str]) -> Result<(), Stop> {
        let (_, pod) = self.sg_with_pod()?;
        for program in programs {
            if self.run_inside(&pod, &["sh", "-c", &format!("command -v {program}")]).await?.code != Some(0) {
                return Err(Stop::NotApplicable(format!("{program} is not installed")));
            }
        }
        Ok(())
    }

    /// Starts the web service as `name` in a pod and waits until it is reached from there by another way than the mesh.
    async fn serve_web(&self, pod: &str, name: &str) -> Result<Child, Stop> {
        let script = self.script("who.py", WEB_SERVICE)?;
        let (own, address) = (format!("DAMC_NAME={name}"), format!("DAMC_ADDRESS={}", self.address(name)?));
        let script = script.display().to_string();
        let words = ["env", "-u", "DAMC_POOL_ADDRESS", &own, &address, "python3", &script, &PORT.to_string()];
        let mut command = self.program(pod, &words);
        let child = command.stdout(Stdio::null()).spawn().map_err(|e| Stop::Inconclusive(e.to_string()))?;
        self.wait_listening(pod, PORT, self.address(name)?).await?;
        Ok(child)
    }

    fn script(&self, name: &str, text: &str) -> Result<PathBuf, Stop> {
        let path = self.lab.directory().path().join(name);
        std::fs::write(&path, text).map_err(|e| Stop::Inconclusive(format!("write {}: {e}", path.display())))?;
        Ok(path)
    }

    /// Waits until something listens at this very address.
    async fn wait_listening(&self, pod: &str, port: u16, at: std::net::Ipv6Addr) -> Result<(), Stop> {
        let words: Vec<String> = at
            .octets()
            .chunks(4)
            .map(|word| format!("{:08X}", u32::from_ne_bytes([word[0], word[1], word[2], word[3]])))
            .collect();
        let wanted = format!("{}:{port:04X} ", words.concat());
        self.wait(&format!("a program listens in {pod}"), START, || async {
            let ran = self.run_inside(pod, &["cat", "/proc/net/tcp6"]).await;
            Ok(match ran {
                Ok(ran) if ran.text().lines().any(|l| l.contains(&wanted) && l.contains(" 0A ")) => Ok(()),
                Ok(ran) => Err(format!("{} TCP sockets", ran.text().lines().count().saturating_sub(1))),
                Err(_) => Err("the pod cannot be entered".to_owned()),
            })
        })
        .await
    }

    fn address(&self, name: &str) -> Result<std::net::Ipv6Addr, Stop> {
        let address = address::of_name(self.topology.domain().as_str(), &parse(name)?);
        address.ok_or_else(|| Stop::NotApplicable(format!("{name} is too long for an address")))
    }

    fn url(&self, name: &str, path: &str) -> Result<String, Stop> {
        let host = address::host_name(self.topology.domain().as_str(), &parse(name)?);
        let host = host.ok_or_else(|| Stop::NotApplicable(format!("{name} has no host name")))?;
        Ok(format!("http://{host}:{PORT}{path}"))
    }

    async fn gateway_count(&self, sg: &str, label: &str) -> Result<u64, Stop> {
        Ok(self.lab.counters(sg).await?.gateway.get(label).copied().unwrap_or(0))
    }
}

async fn gateway(bench: &Bench, findings: &mut Findings) -> Result<(), Stop> {
    bench.needs(&["curl", "python3"]).await?;
    let (caller, target, chain) = bench.far_pair().await?;
    let (sg, own) = (bench.sg_of(&caller)?, bench.service_of(&caller)?);
    let _web = bench.serve_web(&bench.owner_of(&target)?, &target).await?;
    let (from, before) = (bench.now_ns(), bench.gateway_count(&sg, "packets_from_pods").await?);
    let ran = bench.curl(&caller, &[&bench.url(&target, "/")?]).await?;
    findings.check_eq(
        &ran.json()["name"].as_str(),
        &Some(target.as_str()),
        format!("curl in {caller} reaches {target}"),
    );
    let passed = bench.gateway_count(&sg, "packets_from_pods").await? - before;
    findings.check(passed >= 5, format!("{sg} took {passed} packets of it: name, connection, request"));
    let frames = bench.frames(from).await?;
    let packets: Vec<_> = frames.iter().filter(|s| s.message_type() == MessageType::Packet && s.sent).collect();
    let pairs: BTreeSet<(String, String)> = packets
        .iter()
        .filter_map(|s| s.frame.names.as_ref().map(|(to, from)| (from.to_string(), to.to_string())))
        .collect();
    let expected = BTreeSet::from([(own.clone(), target.clone()), (target.clone(), own.clone())]);
    findings.check_eq(&pairs, &expected, "between SGs it was packets of these two names, there and back");
    let nodes: BTreeSet<&str> = packets.iter().map(|s| s.node.as_str()).collect();
    let on_the_way = chain.iter().all(|node| nodes.contains(node.as_str()));
    findings.check(on_the_way || nodes.len() >= 2, format!("sent by {nodes:?}; a call's way was {chain:?}"));

    let host = format!("http://nobody.{}.damc:{PORT}/", bench.topology.domain());
    let ran = bench.curl(&caller, &[&host]).await?;
    findings.check_eq(&ran.code, &Some(6), "a name nobody has does not resolve");
    findings.check(ran.took < AT_ONCE, format!("which is known after {:?}", ran.took));
    let nobody = format!("http://[{}]:{PORT}/", bench.address("/nobody/at-all")?);
    let ran = bench.curl(&caller, &[&nobody]).await?;
    findings.check_eq(&ran.code, &Some(7), "an address nobody has is unreachable");
    findings.check(ran.took < AT_ONCE, format!("which is told after {:?}", ran.took));
    Ok(())
}

async fn within_one_pod(bench: &Bench, findings: &mut Findings) -> Result<(), Stop> {
    bench.needs(&["curl", "python3"]).await?;
    let pods = bench.topology.of_kind(Role::Pod);
    let pod = pods.into_iter().find(|pod| pod.services.len() > 1);
    let pod = pod.ok_or_else(|| Stop::NotApplicable("no pod with two services".into()))?;
    let (name, target) = (pod.id.to_string(), pod.services[1].prefix.to_string());
    let sg = bench.sg_of(&name)?;
    let _web = bench.serve_web(&name, &target).await?;
    let both = ["packets_from_pods", "packets_to_pods"];
    let count = || async {
        let mut counts = Vec::new();
        for label in both {
            counts.push(bench.gateway_count(&sg, label).await?);
        }
        Ok::<_, Stop>(counts)
    };
    let before = count().await?;
    let ran = bench.curl(&name, &[&bench.url(&target, "/bytes/100000")?]).await?;
    findings.check_eq(&ran.out.len(), &100_000, format!("a program of {name} gets what {target} of {name} serves"));
    let after = count().await?;
    for (label, (before, after)) in both.iter().zip(before.iter().zip(&after)) {
        // The body alone is some seventy packets.
        findings.check(after - before > 70, format!("{sg}: {} more {label}", after - before));
    }
    Ok(())
}

async fn anywhere(bench: &Bench, findings: &mut Findings) -> Result<(), Stop> {
    bench.needs(&["curl", "python3"]).await?;
    let (caller, far, _) = bench.far_pair().await?;
    let sg = bench.sg_of(&caller)?;
    let mut places = vec![("in its own pod", bench.service_of(&caller)?)];
    let beside = bench.beside(&sg, Role::Pod)?.into_iter().filter(|p| *p != caller);
    places.extend(beside.filter_map(|p| bench.service_of(&p).ok()).take(1).map(|s| ("behind the same SG", s)));
    places.push(("far away", far));
    let mut outcomes: Vec<Vec<(Option<i32>, String)>> = Vec::new();
    for (place, target) in &places {
        let _web = bench.serve_web(&bench.owner_of(target)?, target).await?;
        let mut seen = Vec::new();
        let requests: [(&str, &[&str]); 4] =
            [("/health", &[]), ("/no-such-path", &[]), ("/", &["--data", "posted"]), ("/bytes/30000", &[])];
        let mut took = Duration::ZERO;
        for (path, words) in requests {
            let url = bench.url(target, path)?;
            let ran = bench.curl(&caller, &[words, &["--write-out", "%{http_code}", &url]].concat()).await?;
            took += ran.took;
            seen.push((ran.code, ran.text()));
        }
        findings.figure(format!("mean curl {place}"), took.as_secs_f64() * 1e3 / 4.0, "ms");
        outcomes.push(seen);
    }
    for ((place, target), seen) in places.iter().zip(&outcomes) {
        findings.check(
            seen.iter().all(|(code, _)| *code == Some(0)),
            format!("{target}, {place}: every request is answered"),
        );
        findings.check(*seen == outcomes[0], format!("{target}, {place}: the same answers"));
    }
    Ok(())
}

async fn stock(bench: &Bench, findings: &mut Findings) -> Result<(), Stop> {
    bench.needs(&["curl", "python3"]).await?;
    let (caller, target, _) = bench.far_pair().await?;
    let text = "served by a program that was never changed\n";
    let file = bench.script("stock.txt", text)?;
    let folder = file.parent().map(|p| p.display().to_string()).unwrap_or_default();
    let owner = bench.owner_of(&target)?;
    let at = bench.address(&target)?;
    let (port, address) = (PORT.to_string(), at.to_string());
    let words = ["python3", "-m", "http.server", &port, "--bind", &address, "--directory", &folder];
    let mut command = bench.program(&owner, &words);
    let _web = command.stdout(Stdio::null()).spawn().map_err(|e| Stop::Inconclusive(e.to_string()))?;
    bench.wait_listening(&owner, PORT, at).await?;
    let ran = bench.curl(&caller, &[&bench.url(&target, "/stock.txt")?]).await?;
    findings.check_eq(
        &ran.text().as_str(),
        &text.trim(),
        format!("`curl` gets a file from `python3 -m http.server` as {target}"),
    );
    for pod in [&caller, &owner] {
        let helped =
            bench.run_inside(pod, &["sh", "-c", "env | grep -iE '^(https?_proxy|all_proxy|LD_PRELOAD)='"]).await?;
        findings.check(helped.out.is_empty(), format!("{pod}: no proxy, nothing preloaded"));
        let listeners = bench.run_inside(pod, &["cat", "/proc/net/tcp6", "/proc/net/tcp"]).await?.text();
        let listeners = listeners.lines().filter(|l| l.contains(" 0A ")).count();
        findings.note(format!("{pod}: {listeners} TCP listeners, the web servers of the case and of the topology"));
    }
    Ok(())
}

async fn many(bench: &Bench, findings: &mut Findings) -> Result<(), Stop> {
    bench.needs(&["curl", "python3"]).await?;
    let pods: Vec<String> =
        bench.of_kind(&[Role::Pod]).into_iter().filter(|p| bench.service_of(p).is_ok()).take(6).collect();
    let mut names = Vec::new();
    let mut running = Vec::new();
    for pod in &pods {
        let name = bench.service_of(pod)?;
        running.push(bench.serve_web(pod, &name).await?);
        names.push(name);
    }
    if names.len() < 2 {
        return Err(Stop::NotApplicable("fewer than two pods with services".into()));
    }
    let url = |chain: usize| -> Result<String, Stop> {
        // Every chain takes another way through the services, and passes each in turn.
        let hop = |i: usize| &names[(chain * (i + 1) + i) % names.len()];
        let mut path = "/".to_owned();
        for i in (1..DEPTH).rev() {
            let next = bench.url(hop(i), "")?;
            path = format!("/via/{}{path}", next.trim_start_matches("http://"));
        }
        bench.url(hop(0), &path)
    };
    let began = Instant::now();
    let calls = (0..CHAINS).map(|chain| {
        let pod = pods[chain % pods.len()].clone();
        let url = url(chain);
        async move { bench.curl(&pod, &[&url?]).await }
    });
    let ran: Vec<Ran> = join_all(calls).await.into_iter().collect::<Result<_, _>>()?;
    let depth = |value: &Value| {
        let inner = std::iter::successors(Some(value), |v| v.get("via"));
        inner.take_while(|v| v["name"].is_string() && v["error"].is_null()).count()
    };
    let whole = ran.iter().filter(|r| depth(&r.json()) == DEPTH).count();
    findings.check_eq(
        &whole,
        &CHAINS,
        format!("chains of {DEPTH} calls between {} services that came back whole", names.len()),
    );
    findings.figure(format!("{CHAINS} chains of {DEPTH} calls"), began.elapsed().as_secs_f64() * 1e3, "ms");
    Ok(())
}

async fn over_http(bench: &Bench, findings: &mut Findings) -> Result<(), Stop> {
    bench.needs(&["curl", "openssl", "xxd", "python3"]).await?;
    let (caller, target, _) = bench.far_pair().await?;
    let pod = bench.owner_of(&target)?;
    let name = format!("{target}/by-http-{}", bench.unique());
    let gateway = format!("http://[{}]", address::of_gateway(bench.topology.domain().as_str()));
    let prefixes = format!("{gateway}/v1/prefixes");
    let said = json!({"pod": pod, "add": [{"prefix": name}]});
    let status = ["--write-out", "\n%{http_code} %{content_type}"];
    let ran = bench.curl(&pod, &[&status[..], &["--data", &said.to_string(), &prefixes]].concat()).await?;
    findings
        .check(ran.text().ends_with("401 application/problem+json"), "unsigned words are answered with a challenge");
    let answer = signed_announce(bench, &pod, &prefixes, &said).await?;
    findings.check_eq(
        &answer["outcomes"][0]["accepted"],
        &json!(true),
        format!("{pod} announces {name}, signed by `openssl`"),
    );
    bench.wait_everywhere(std::slice::from_ref(&name), bench.t_conv()).await?;
    let _web = bench.serve_web(&pod, &name).await?;
    let ran = bench.curl(&caller, &[&bench.url(&name, "/")?]).await?;
    findings.check_eq(&ran.json()["name"].as_str(), &Some(name.as_str()), format!("{caller} reaches it"));

    let another = bench.of_kind(&[Role::Pod]).into_iter().find(|p| *p != pod && bench.sg_of(p).is_ok());
    let unlicensed = json!({"pod": pod, "add": [{"prefix": format!("/not-licensed/{}", bench.unique())}]});
    let refused = signed_announce(bench, &pod, &prefixes, &unlicensed).await?;
    findings.check_eq(&refused["reason"], &json!("not-licensed"), "a name without licence is refused with the reason");
    if let Some(stranger) = another {
        let forged = signed_with(bench, &pod, &stranger, &prefixes, &said).await?;
        findings.check_eq(
            &forged["reason"],
            &json!("bad-identity"),
            format!("words of {pod} signed by {stranger} are refused"),
        );
    }
    // Query of the gRPC service, by hand: an empty message in a frame of five bytes.
    let grpc = format!(
        "printf '\\0\\0\\0\\0\\0' | curl -sS --max-time 8 --http2-prior-knowledge -H 'content-type: application/grpc' \
                        -H 'te: trailers' --data-binary @- '{gateway}/damc.class1.v1.Class1/Query'"
    );
    let ran = bench.run_inside(&pod, &["sh", "-c", &grpc]).await?;
    let holds = |name: &str| ran.out.windows(name.len()).any(|window| window == name.as_bytes());
    findings.check(
        holds(&name) && holds(&target),
        format!("the gRPC service lists {target} and {name}: {} bytes", ran.out.len()),
    );

    let withdrawn = signed_announce(bench, &pod, &prefixes, &json!({"pod": pod, "withdraw": [name]})).await?;
    findings.check_eq(&withdrawn["outcomes"][0]["accepted"], &json!(true), format!("{pod} withdraws it"));
    bench.wait_nowhere(std::slice::from_ref(&name), bench.t_conv()).await?;
    Ok(())
}

async fn signed_announce(bench: &Bench, pod: &str, prefixes: &str, said: &Value) -> Result<Value, Stop> {
    signed_with(bench, pod, pod, prefixes, said).await
}

/// Says something in a pod, signed with the key of `signer`: asks what is to be signed, signs it with `openssl`.
async fn signed_with(bench: &Bench, pod: &str, signer: &str, prefixes: &str, said: &Value) -> Result<Value, Stop> {
    let challenge = bench.curl(pod, &["--data", &said.to_string(), prefixes]).await?.json();
    let (Some(request), Some(sign)) = (challenge["request"].as_str(), challenge["sign"].as_str()) else {
        return Err(Stop::Failed(format!("no challenge: {challenge}")));
    };
    let folder = bench.lab.directory().path().display().to_string();
    let words = format!(
        "cd {folder} && printf %s {sign} | xxd -r -p > sign.bin && \
         openssl pkeyutl -sign -rawin -inkey {signer}.pem -in sign.bin | xxd -p | tr -d '\\n'"
    );
    let signature = bench.run_inside(pod, &["sh", "-c", &words]).await?.text();
    let mut signed = said.clone();
    signed["request"] = request.into();
    signed["signature"] = signature.into();
    Ok(bench.curl(pod, &["--data", &signed.to_string(), prefixes]).await?.json())
}
