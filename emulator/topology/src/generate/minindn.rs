//! Mini-NDN's configuration: `[nodes]` with a name a line, `[links]` with `a:b delay=10ms bw=100 loss=1`.

use std::collections::BTreeMap;

use super::{Backbone, Router, Trunk};

/// Reads a map.
pub(super) fn read(text: &str) -> Result<Backbone, String> {
    let mut index: BTreeMap<String, usize> = BTreeMap::new();
    let mut routers = Vec::new();
    let mut trunks = Vec::new();
    let mut section = String::new();
    for (number, line) in text.lines().enumerate() {
        let wrong = |what: &str| format!("line {}: {what}", number + 1);
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            name.trim().clone_into(&mut section);
            continue;
        }
        match section.as_str() {
            // Switches join links like routers do.
            "nodes" | "switches" => {
                let name = line.split([':', ' ', '\t']).next().unwrap_or_default();
                if name.is_empty() {
                    return Err(wrong("expected a node's name"));
                }
                if index.insert(name.to_owned(), routers.len()).is_some() {
                    return Err(wrong(&format!("there already is a node {name}")));
                }
                routers.push(Router { label: name.to_owned(), at: None });
            }
            "links" => trunks.push(link(line, &index).map_err(|what| wrong(&what))?),
            "" => return Err(wrong("expected [nodes] or [links] before anything else")),
            // What the network is not made of, such as [faces] and [bgp].
            _ => {}
        }
    }
    if routers.is_empty() {
        return Err("there is no [nodes] section with nodes in it".to_owned());
    }
    Ok(Backbone { label: String::new(), notes: Vec::new(), routers, trunks })
}

fn link(line: &str, index: &BTreeMap<String, usize>) -> Result<Trunk, String> {
    let mut words = line.split_whitespace();
    let ends = words.next().unwrap_or_default();
    let (a, b) = ends.split_once(':').ok_or_else(|| format!("expected `node:node`, found `{ends}`"))?;
    let find = |name: &str| index.get(name).copied().ok_or_else(|| format!("there is no node {name} in [nodes]"));
    let mut trunk = Trunk::between(find(a)?, find(b)?);
    for word in words {
        let Some((key, value)) = word.split_once('=') else { continue };
        let number = |text: &str| {
            let number = text.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
            number.ok_or_else(|| format!("{key}={value}: expected a number"))
        };
        match key {
            "delay" => trunk.delay_us = Some(delay_us(value).ok_or_else(|| format!("delay={value}: expected a time"))?),
            "bw" => trunk.rate_kbit = Some(whole(number(value)? * 1_000.0).max(1)),
            "loss" => trunk.loss_percent = Some(number(value.trim_end_matches('%'))?).filter(|l| *l > 0.0),
            // Sizes of Mininet's queues have no counterpart worth keeping: ours follow from rate and delay.
            _ => {}
        }
    }
    if trunk.loss_percent.is_some_and(|loss| loss > 100.0) {
        return Err("loss: at most 100".to_owned());
    }
    Ok(trunk)
}

/// A time as tc writes it; without a unit it is µs.
fn delay_us(text: &str) -> Option<u64> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "s" | "sec" | "secs" => 1e6,
        "ms" | "msec" | "msecs" => 1e3,
        "us" | "usec" | "usecs" | "" => 1.0,
        _ => return None,
    };
    let us = number.parse::<f64>().ok().filter(|n| *n >= 0.0)? * factor;
    (us <= 60e6).then(|| whole(us))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and clamped")]
fn whole(number: f64) -> u64 {
    number.round().min(1e9) as u64
}
