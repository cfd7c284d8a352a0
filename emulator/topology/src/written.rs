//! A topology as the text of a file.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::path::Path;

use damc_impair::{DirectionSpec, Loss};
use damc_mgmt::config::{Ready, Restart, Thresholds};

use crate::file::{Rate, Share, Time, distribution_label};
use crate::topology::{Direction, Foreign, Link, Node, Qos, Run, Service, Topology};

mod events;

/// The text of a file that describes this topology, wherever the file lies: paths of programs and of recorded links are
/// absolute. `notes` become comments in front.
#[must_use]
pub fn written(topology: &Topology, notes: &[String]) -> String {
    let mut text = String::from("# yaml-language-server: $schema=topology.schema.json\n");
    for line in notes.iter().flat_map(|note| note.lines()) {
        let _ = writeln!(text, "# {line}");
    }
    let _ = write!(text, "name: {}\ndomain: {}\n\nnodes:\n", quoted(&topology.name), quoted(&topology.domain));
    for node in topology.nodes.values() {
        write_node(&mut text, topology, node);
    }
    text.push_str("\nlinks:");
    text.push_str(if topology.links.is_empty() { " []\n" } else { "\n" });
    for link in &topology.links {
        write_link(&mut text, link);
    }
    if !topology.licences.is_empty() {
        text.push_str("\nlicences:\n");
    }
    for (pod, names) in &topology.licences {
        let _ = writeln!(text, "  {}: {}", quoted(pod), list(names));
    }
    write_qos(&mut text, &topology.qos);
    events::write(&mut text, topology);
    text
}

/// Words that YAML 1.1 or 1.2 takes for something else than text.
const TAKEN: [&str; 7] = ["true", "false", "yes", "no", "on", "off", "null"];

/// A text as YAML reads it back: as it is where nothing else could be meant, else as JSON writes it.
fn quoted(value: &dyn Display) -> String {
    let text = value.to_string();
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-~".contains(c))
        && text.len() > 1
        && !TAKEN.contains(&text.to_ascii_lowercase().as_str());
    if plain { text } else { serde_json::Value::String(text).to_string() }
}

fn list(parts: impl IntoIterator<Item = impl Display>) -> String {
    format!("[{}]", parts.into_iter().map(|part| quoted(&part)).collect::<Vec<_>>().join(", "))
}

fn map(parts: impl IntoIterator<Item = (impl Display, impl Display)>) -> String {
    let parts: Vec<_> = parts.into_iter().map(|(key, value)| format!("{key}: {value}")).collect();
    if parts.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", parts.join(", ")) }
}

fn variables(env: &BTreeMap<String, String>) -> String {
    // Names and values are anybody's.
    let json = |text: &String| serde_json::Value::from(text.as_str()).to_string();
    map(env.iter().map(|(name, value)| (json(name), json(value))))
}

fn write_node(text: &mut String, topology: &Topology, node: &Node) {
    let mut parts = vec![("kind", node.kind.label().to_owned())];
    if node.transit {
        parts.push(("transit", "true".to_owned()));
    }
    if node.overload {
        parts.push(("overload", "true".to_owned()));
    }
    if let Some((x, y)) = node.position {
        parts.push(("position", format!("[{x}, {y}]")));
    }
    if let Some(foreign) = &node.exec {
        parts.push(("exec", list(words(foreign, &topology.directory_of_foreign(foreign)))));
        if !foreign.env.is_empty() {
            parts.push(("env", variables(&foreign.env)));
        }
    }
    if node.services.is_empty() {
        let _ = writeln!(text, "  {}: {}", quoted(&node.id), map(parts));
        return;
    }
    let _ = writeln!(text, "  {}:", quoted(&node.id));
    for (key, value) in parts {
        let _ = writeln!(text, "    {key}: {value}");
    }
    text.push_str("    services:\n");
    for service in &node.services {
        let _ = writeln!(text, "      - {}", map(of_service(topology, service)));
    }
}

/// The words of a foreign program, the paths among them from the root on.
fn words(foreign: &Foreign, folder: &Path) -> Vec<String> {
    let absolute = |(number, word): (usize, &String)| {
        let path = folder.join(word);
        // The first word is a path where it has a slash; others are where they begin as one.
        let is_path = (number == 0 && word.contains('/')) || word.starts_with("./") || word.starts_with("../");
        if is_path { path.display().to_string() } else { word.clone() }
    };
    foreign.argv.iter().enumerate().map(absolute).collect()
}

fn of_service(topology: &Topology, service: &Service) -> Vec<(&'static str, String)> {
    let mut parts = vec![("prefix", quoted(&service.prefix))];
    parts.extend(service.pool.as_ref().map(|pool| ("pool", quoted(pool))));
    if service.weight != 1 {
        parts.push(("weight", service.weight.to_string()));
    }
    if let Some(run) = &service.run {
        parts.extend(of_run(run, &topology.directory_of(run)));
    }
    parts
}

fn of_run(run: &Run, folder: &Path) -> Vec<(&'static str, String)> {
    let mut parts = vec![("run", list(&run.argv)), ("cwd", quoted(&folder.display()))];
    if !run.env.is_empty() {
        parts.push(("env", variables(&run.env)));
    }
    match &run.ready {
        Ready::Http { http, port } => parts.push(("ready", format!("{{ http: {}, port: {port} }}", quoted(http)))),
        Ready::Port { port } => parts.push(("ready", format!("{{ port: {port} }}"))),
        Ready::Line { line } => {
            parts.push(("ready", format!("{{ line: {} }}", serde_json::Value::from(line.as_str()))));
        }
        Ready::Started {} => {}
    }
    parts.push(("within", Time(run.within_ns).to_string()));
    parts.extend(match run.restart {
        Restart::Always => None,
        Restart::OnFailure => Some(("restart", "on-failure".to_owned())),
        Restart::Never => Some(("restart", "never".to_owned())),
    });
    parts
}

fn write_link(text: &mut String, link: &Link) {
    let ends = format!("[{}, {}]", quoted(&link.a), quoted(&link.b));
    let (forward, backward) = (of_direction(&link.forward), of_direction(&link.backward));
    let mut parts = vec![("between", ends.clone())];
    parts.extend(link.name.as_ref().map(|name| ("name", quoted(name))));
    if forward == backward {
        parts.extend(forward);
    } else {
        parts.extend([("forward", map(forward)), ("backward", map(backward))]);
    }
    let _ = if parts.len() == 1 { writeln!(text, "  - {ends}") } else { writeln!(text, "  - {}", map(parts)) };
}

fn of_direction(Direction { spec, cost }: &Direction) -> Vec<(&'static str, String)> {
    let mut parts = of_spec(spec);
    if *cost != 1 {
        parts.push(("cost", cost.to_string()));
    }
    parts
}

fn of_spec(spec: &DirectionSpec) -> Vec<(&'static str, String)> {
    let time = |name, ns| (ns > 0).then(|| (name, Time(ns).to_string()));
    let share = |name, p: f64| (p > 0.0).then(|| (name, Share(p).to_string()));
    let deviates = spec.distribution != DirectionSpec::default().distribution;
    let loss = (spec.loss != Loss::None).then(|| ("loss", losing(spec.loss)));
    let reorder = spec.reorder.map(|reorder| ("reorder", reordering(reorder.probability, reorder.gap)));
    [
        time("delay", spec.delay_ns),
        time("jitter", spec.jitter_ns),
        deviates.then(|| ("distribution", distribution_label(spec.distribution).to_owned())),
        loss,
        share("duplicate", spec.duplicate),
        share("corrupt", spec.corrupt),
        reorder,
        spec.rate_bps.map(|rate| ("rate", Rate(rate).to_string())),
        spec.limit.map(|limit| ("limit", limit.to_string())),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn losing(loss: Loss) -> String {
    match loss {
        Loss::None => Share(0.0).to_string(),
        Loss::Random { probability } => Share(probability).to_string(),
        Loss::GilbertElliott { to_bad, to_good, bad_loss, good_loss } => {
            let shares = [("p", to_bad), ("r", to_good), ("h", 1.0 - bad_loss), ("k", 1.0 - good_loss)];
            let shares = shares.map(|(name, share)| format!("{name}: {}", Share(share)));
            format!("{{ model: gilbert-elliott, {} }}", shares.join(", "))
        }
    }
}

fn reordering(probability: f64, gap: u32) -> String {
    let share = Share(probability);
    if gap == 1 { share.to_string() } else { format!("{{ probability: {share}, gap: {gap} }}") }
}

fn write_qos(text: &mut String, qos: &Qos) {
    if *qos == Qos::default() {
        return;
    }
    text.push_str("\nqos:\n");
    if let Some(interval) = qos.probe_interval_ns {
        let _ = writeln!(text, "  probe: {{ interval: {} }}", Time(interval));
    }
    if qos.default.is_some() || !qos.by_prefix.is_empty() {
        text.push_str("  thresholds:\n");
    }
    if let Some(default) = &qos.default {
        let _ = writeln!(text, "    default: {}", map(of_thresholds(default)));
    }
    for (prefix, thresholds) in &qos.by_prefix {
        let _ = writeln!(text, "    {}: {}", quoted(prefix), map(of_thresholds(thresholds)));
    }
}

/// A metric that has no preset has a value that nothing violates.
fn of_thresholds(thresholds: &Thresholds) -> Vec<(&'static str, String)> {
    let Thresholds { bandwidth_bps, delay_ns, jitter_ns } = *thresholds;
    let time = |name, ns| (ns != u64::MAX).then(|| (name, Time(ns).to_string()));
    let bandwidth = (bandwidth_bps > 0).then(|| ("bandwidth", Rate(bandwidth_bps).to_string()));
    [bandwidth, time("delay", delay_ns), time("jitter", jitter_ns)].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::timeline::{Act, LinkEvent};
    use crate::{parse_with, shipped};

    /// The only file that topologies here name.
    fn recorded(path: &Path) -> Result<String, String> {
        if path == Path::new("/somewhere/lte.csv") {
            Ok("time,rate,loss\n0s,2mbit,0%\n1.5s,1mbit,5%\n".to_owned())
        } else {
            Err(format!("{} is not there", path.display()))
        }
    }

    /// What was written is read as the same, from wherever it lies.
    fn assert_returns(topology: &Topology) {
        let text = written(topology, &["a note\nof two lines".to_owned()]);
        let mut again = parse_with("written.yaml", &text, Path::new("/elsewhere"), &recorded)
            .unwrap_or_else(|mistakes| panic!("{:?}\n{text}", miette::Report::new(mistakes)));
        let mut wanted = topology.clone();
        for topology in [&mut again, &mut wanted] {
            let absolute = topology.clone();
            for event in &mut topology.events {
                event.line = 0;
                if let Act::Link { change, .. } = &mut event.act
                    && let LinkEvent::Follow(trace) = change.as_mut()
                {
                    trace.file = absolute.folder.join(&trace.file);
                }
            }
            for run in topology.nodes.values_mut().flat_map(|n| &mut n.services).filter_map(|s| s.run.as_mut()) {
                run.cwd = Some(absolute.directory_of(run).display().to_string());
            }
            for foreign in topology.nodes.values_mut().filter_map(|node| node.exec.as_mut()) {
                foreign.argv = words(foreign, &absolute.directory_of_foreign(foreign));
                foreign.folder = None;
            }
            topology.folder = PathBuf::new();
        }
        assert_eq!(again, wanted, "{text}");
    }

    #[test]
    fn every_shipped_topology_returns() {
        shipped::names().for_each(|name| assert_returns(&shipped::topology(name)));
    }

    #[test]
    fn every_property_returns() {
        let source = r##"
name: "true"
domain: "10"
defaults: { link: { delay: 1.5ms } }
nodes:
  sr-1: { kind: sr, overload: true, position: [1.5, -2] }
  sg-1: { kind: sg, transit: true, exec: [./their-sg, "{config}", --level=x y, ../lib], env: { A: "yes", "B c": "#1" } }
  spa-1: { kind: spa }
  scsc: { kind: scsc }
  "null":
    kind: pod
    services:
      - { prefix: /A/1, pool: /A, weight: 3 }
      - { prefix: /B/1, run: [python3, -c, "print('a: b')\n"], env: { X: "" }, cwd: apps, ready: { line: "ok: # yes" } }
      - { prefix: /C/1, run: [x], ready: { http: "/h?a=1", port: 80 }, within: 3s, restart: on-failure }
      - { prefix: /D/1, run: [x], ready: { port: 81 }, restart: never }
links:
  - { between: [sg-1, sr-1], forward: { delay: 2ms, jitter: 1ms, distribution: pareto, cost: 7 }, backward: { rate: 2.5gbit, limit: 9 } }
  - { between: [spa-1, sg-1], name: "yes", loss: { model: gilbert-elliott, p: 1%, r: 10%, h: 5%, k: 99% }, duplicate: 0.01%, corrupt: 2% }
  - [scsc, sr-1]
  - { between: ["null", sg-1], loss: 0.1%, reorder: { probability: 25%, gap: 5 } }
licences: { "null": [/A, /A/1, /B, /C, /D] }
qos:
  probe: { interval: 150ms }
  thresholds: { default: { delay: 50ms }, /B: { bandwidth: 10mbit, jitter: 3ms } }
"##;
        assert_returns(&read(source));
    }

    #[test]
    fn every_event_returns() {
        let source = r##"
name: timeline
domain: example
nodes:
  sr-1: { kind: sr }
  sr-2: { kind: sr }
  sg-1: { kind: sg }
  sg-2: { kind: sg }
  spa-1: { kind: spa }
  spa-2: { kind: spa }
  pod-1: { kind: pod, services: [{ prefix: /A/1, pool: /A }, { prefix: /C }] }
  pod-2: { kind: pod, services: [{ prefix: /B/2, pool: /B }] }
links:
  - [sr-1, sr-2]
  - [sg-1, sr-1]
  - [sg-2, sr-2]
  - [spa-1, sg-1]
  - [spa-2, sg-2]
  - [pod-1, sg-1]
  - [pod-2, sg-2]
licences: { pod-1: [/A, /A/1, /C], pod-2: [/B, /B/2, /D/9] }
events:
  - { at: 0s, load: { from: pod-1, to: /B/2, rate: 12.5/s, size: 64B }, for: 10s, as: "true" }
  - { at: 1s, load: { from: pod-1, to: /B, rate: 1/s, kind: http }, for: 2s, as: web }
  - { at: 5s, link: [sr-1, sr-2], set: down, for: 1s, every: 2.5s, times: 3, as: cuts }
  - { after: cuts, link: [sg-1, sr-1], set: silent, for: 150ms }
  - { at: 59min, link: [sr-2, sr-1], set: up }
  - { at: 6s, link: [sr-1, sr-2], clear: true }
  - { at: 6s, link: [sr-1, sr-2], follow: lte.csv }
  - { at: 6s, link: [sr-1, sr-2], follow: lte.csv, for: 800ms }
  - { at: 7s, link: [sr-1, sr-2], set: { delay: 80ms, loss: 0%, reorder: 0%, distribution: normal, limit: 9 } }
  - at: 7s
    link: [sr-1, sr-2]
    set: { forward: { loss: { model: gilbert-elliott, p: 1%, r: 10% }, rate: 1mbit }, backward: { reorder: { probability: 25%, gap: 5 } } }
  - { at: 7s, link: [sr-1, sr-2], set: { forward: { corrupt: 1%, duplicate: 0.5% } } }
  - { at: 8s, node: sr-1, do: kill, for: 1s }
  - { at: 8s, node: sg-1, do: overload }
  - { at: 8s, service: /A/1, do: stop, for: 2s }
  - { at: 8s, service: /A/1, do: restart }
  - { at: 8s, announce: /D/9 on pod-2, for: 3s }
  - { at: 9s, withdraw: /C }
  - { at: 9s, licence: pod-2, grant: /E }
  - { at: 9s, licence: pod-2, revoke: /D/9 }
  - { at: 9s, partition: [[sg-1, pod-1], rest], for: 2s }
  - { at: 9s, run: { in: pod-1, command: [sh, -c, "echo \"$HOME: #1\"\n"] } }
  - { at: 9s, expect: { reachable: { from: pod-1, name: /B } }, within: 1s }
  - { at: 9s, expect: { unreachable: { from: pod-1, name: /Nobody } }, throughout: true, for: 1s }
  - { at: 9s, expect: { path: [pod-1, sg-1, sr-1, sr-2, sg-2, pod-2] } }
  - { at: 9s, expect: { path: { from: pod-1, name: /B, via: [sg-2] } } }
  - { at: 9s, expect: { fib: { node: sr-1, prefix: /B, next: [sr-2, sg-1] } } }
  - { at: 9s, expect: { fib: { node: sr-1, prefix: /B, absent: true } }, throughout: true }
  - { at: 9s, expect: { fib: { node: sr-1, prefix: /B } } }
  - { at: 9s, expect: { policy: { node: sr-1, prefix: /B } }, within: 2s }
  - { at: 9s, expect: { policy: { node: sr-1, prefix: /B, absent: true } } }
  - { expect: { lost: { of: "true", at_most: 3 } } }
  - { expect: { p99.9: { of: web, at_most: 20ms } } }
  - { at: 1s, expect: { silent: [sr-1, sr-2] }, for: 1s }
  - { at: 1s, expect: { silent: sr-2 }, for: 1s, every: 2s, times: 2 }
"##;
        let topology = read(source);
        assert_eq!(topology.events.len(), 34);
        assert_returns(&topology);
    }

    fn read(source: &str) -> Topology {
        parse_with("all.yaml", source, Path::new("/somewhere"), &recorded)
            .unwrap_or_else(|mistakes| panic!("{:?}", miette::Report::new(mistakes)))
    }
}
