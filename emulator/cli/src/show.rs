//! `damc show`.

use damc_lab::Lab;
use damc_mgmt::counts::Counts;
use damc_mgmt::view::{
    AnnouncementsView, CountersView, FibView, LsaView, LsdbView, NeighborsView, NextHopView, PoliciesView, RibView,
    ServicesView, ViewKind,
};
use damc_mgmt::words::Metric;
use damc_wire::lsa::UNREACHABLE;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tabled::builder::Builder;

use crate::exit::{Exit, Failure, Outcome};
use crate::session::{block_on, of_lab};
use crate::table::with_states;

/// Print the state of a node.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node.
    pub node: String,
    /// fib, rib, lsdb, neighbors, policies, counters, announcements or services.
    pub what: String,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// The lab to use, where more than one is up.
    #[arg(long, value_name = "NAME")]
    pub lab: Option<String>,
}

pub fn run(args: &Args) -> Outcome {
    let Some(kind) = ViewKind::SERVED.into_iter().find(|kind| kind.label() == args.what) else {
        let known = ViewKind::SERVED.map(ViewKind::label).join(", ");
        return Err(Failure::usage(anyhow::anyhow!("a node shows {known}, not `{}`", args.what)));
    };
    block_on(async {
        let lab = Lab::attach(args.lab.as_deref()).map_err(of_lab)?;
        let view = lab.show_json(&args.node, kind).await.map_err(of_lab)?;
        if args.json {
            println!("{view}");
        } else {
            println!("{}", table(kind, view)?);
        }
        Ok(Exit::Passed)
    })
}

fn table(kind: ViewKind, view: Value) -> Result<String, serde_json::Error> {
    Ok(match kind {
        ViewKind::Fib => fib(&parsed(view)?),
        ViewKind::Rib => rib(&parsed(view)?),
        ViewKind::Lsdb => lsdb(&parsed(view)?),
        ViewKind::Neighbors => neighbors(&parsed(view)?),
        ViewKind::Policies => policies(&parsed(view)?),
        ViewKind::Counters => counters(&parsed(view)?),
        ViewKind::Services => services(&parsed(view)?),
        ViewKind::Announcements => announcements(&parsed(view)?),
        // Parts of other views, which nobody can ask for alone.
        ViewKind::Protocol | ViewKind::Sessions | ViewKind::Digest => view.to_string(),
    })
}

fn parsed<T: DeserializeOwned>(view: Value) -> Result<T, serde_json::Error> {
    serde_json::from_value(view)
}

/// A table of these columns, or `none` for no rows.
fn tabled<const N: usize>(columns: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut rows = rows.into_iter().peekable();
    if rows.peek().is_none() {
        return "none".to_owned();
    }
    let mut table = Builder::new();
    table.push_record(columns);
    rows.for_each(|row| table.push_record(row));
    with_states(table, columns.iter().position(|column| *column == "state").unwrap_or(0))
}

fn hops(hops: &[NextHopView]) -> String {
    let hop = |hop: &NextHopView| {
        if hop.weight == 1 { hop.node.clone() } else { format!("{}×{}", hop.node, hop.weight) }
    };
    hops.iter().map(hop).collect::<Vec<_>>().join(" ")
}

fn words(words: &[Metric]) -> String {
    words.iter().map(|metric| metric.label()).collect::<Vec<_>>().join(" ")
}

fn ms(ns: Option<u64>) -> String {
    ns.map_or_else(|| "-".to_owned(), |ns| format!("{:.3} ms", ns as f64 / 1e6))
}

fn or_dash(text: Option<impl ToString>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| text.to_string())
}

fn fib(view: &FibView) -> String {
    let rows = view.entries.iter().map(|entry| {
        [
            if entry.exact { format!("{} (exact)", entry.prefix) } else { entry.prefix.clone() },
            entry.source.to_string(),
            entry.cost.to_string(),
            entry.origin.join(" "),
            hops(&entry.next_hops),
            or_dash(Some(hops(&entry.backups)).filter(|backups| !backups.is_empty())),
            or_dash(entry.label),
        ]
    });
    let table = tabled(["prefix", "source", "cost", "origin", "next hops", "backup", "label"], rows);
    format!("{} FIB version {}\n{table}", view.node, view.version)
}

fn rib(view: &RibView) -> String {
    let rows = view.routes.iter().map(|route| {
        [
            if route.chosen { "*".to_owned() } else { String::new() },
            route.prefix.clone(),
            route.source.to_string(),
            route.cost.to_string(),
            route.origin.clone(),
            hops(&route.next_hops),
            or_dash(route.label),
        ]
    });
    tabled(["", "prefix", "source", "cost", "origin", "next hops", "label"], rows)
}

fn lsdb(view: &LsdbView) -> String {
    let content = |lsa: &LsaView| {
        let links = lsa.links.iter().map(|link| format!("{}={}", link.neighbour, link.cost));
        let flags = [("stub", lsa.stub), ("overload", lsa.overload), ("exact", lsa.exact), ("purged", lsa.purged)];
        let flags = flags.into_iter().filter(|(_, set)| *set).map(|(flag, _)| flag.to_owned());
        let port = lsa.port.iter().map(|port| format!("at {port}"));
        let metric = lsa.metric.iter().map(|metric| match *metric {
            UNREACHABLE => "unreachable".to_owned(),
            metric => format!("metric {metric}"),
        });
        let grant = lsa.grant.iter().map(|serial| format!("grant {serial}"));
        links.chain(port).chain(metric).chain(grant).chain(flags).collect::<Vec<_>>().join(" ")
    };
    let rows = view.lsas.iter().map(|lsa| {
        [
            lsa.origin.clone(),
            lsa.kind.to_string(),
            lsa.id.clone(),
            lsa.sequence.to_string(),
            format!("{} s", lsa.remaining_ms / 1000),
            content(lsa),
        ]
    });
    let table = tabled(["origin", "kind", "id", "sequence", "left", "content"], rows);
    format!("{} LSDB digest {}\n{table}", view.node, view.digest)
}

fn neighbors(view: &NeighborsView) -> String {
    let rows = view.neighbors.iter().map(|row| {
        [
            row.port.clone(),
            or_dash(row.role.as_ref()),
            row.state.to_string(),
            format!("{:.1} s", row.since_ms as f64 / 1e3),
            ms(row.delay_ns),
            ms(row.jitter_ns),
            row.unacknowledged.to_string(),
            row.flaps.to_string(),
            or_dash(row.last_down.as_ref()),
        ]
    });
    tabled(["port", "role", "state", "since", "delay", "jitter", "unacked", "flaps", "last down"], rows)
}

fn policies(view: &PoliciesView) -> String {
    let rows = view.policies.iter().map(|policy| {
        [
            policy.label.to_string(),
            policy.version.to_string(),
            policy.recipient.clone(),
            policy.source.clone(),
            policy.prefix.clone(),
            policy.action.to_string(),
            or_dash(policy.next_hop.as_ref()),
            format!("{:.1} s", policy.expires_in_ms as f64 / 1e3),
            if policy.active { "yes".to_owned() } else { or_dash(policy.problem.as_ref()) },
        ]
    });
    let columns = ["label", "version", "recipient", "source", "prefix", "action", "next hop", "left", "active"];
    let mut text = tabled(columns, rows);
    if !view.paths.is_empty() {
        let rows = view.paths.iter().map(|path| {
            [
                path.source.clone(),
                path.target.clone(),
                path.label.to_string(),
                ms(path.delay_ns),
                ms(path.jitter_ns),
                path.bandwidth_bps.map_or_else(|| "-".to_owned(), mbit),
                format!("{:.2} %", f64::from(path.loss_ppm) / 1e4),
                if path.available { words(&path.violated) } else { "unavailable".to_owned() },
            ]
        });
        let columns = ["source", "target", "label", "delay", "jitter", "bandwidth", "loss", "violated"];
        text = format!("{text}\n{}", tabled(columns, rows));
    }
    if !view.ordered.is_empty() {
        let rows = view.ordered.iter().map(|ordered| {
            [
                ordered.source.clone().unwrap_or_else(|| "all".to_owned()),
                ordered.prefix.clone().unwrap_or_else(|| "default".to_owned()),
                ms(ordered.preset.delay_ns),
                ms(ordered.preset.jitter_ns),
                ordered.preset.bandwidth_bps.map_or_else(|| "-".to_owned(), mbit),
            ]
        });
        text = format!("{text}\n{}", tabled(["source", "threshold of", "delay", "jitter", "bandwidth"], rows));
    }
    text
}

fn mbit(bps: u64) -> String {
    format!("{:.1} Mbit/s", bps as f64 / 1e6)
}

fn counters(view: &CountersView) -> String {
    let rows = rows_of("received", &view.received)
        .chain(rows_of("sent", &view.sent))
        // Every reason is in the JSON; a person wants those that happened.
        .chain(rows_of("dropped", &view.dropped).filter(|[_, _, count]| count != "0"))
        .chain(rows_of("gateway", &view.gateway))
        .chain(rows_of("", &view.protocol));
    let forwarding =
        [("forwarded", view.forwarded), ("delivered", view.delivered), ("control overflow", view.control_overflow)];
    let forwarding = forwarding.map(|(name, count)| [String::new(), name.to_owned(), count.to_string()]);
    tabled(["", "counter", "count"], rows.chain(forwarding))
}

fn rows_of<K>(group: &'static str, counts: &Counts<K>) -> impl Iterator<Item = [String; 3]> {
    counts.iter().map(move |(name, count)| [group.to_owned(), name.to_owned(), count.to_string()])
}

fn services(view: &ServicesView) -> String {
    let rows = view.services.iter().map(|service| {
        [
            service.prefix.clone(),
            service.state.to_string(),
            service.starts.to_string(),
            or_dash(service.next_start_ms.map(|ms| format!("in {ms} ms"))),
            or_dash(service.ended.as_ref()),
            service.program.clone(),
        ]
    });
    tabled(["prefix", "state", "starts", "next start", "ended last", "program"], rows)
}

fn announcements(view: &AnnouncementsView) -> String {
    let rows = view.announcements.iter().map(|row| {
        [
            if row.exact { format!("{} (exact)", row.prefix) } else { row.prefix.clone() },
            row.pod.clone(),
            row.state.to_string(),
            or_dash(row.reason.as_ref()),
            or_dash(row.grant),
        ]
    });
    tabled(["prefix", "pod", "state", "reason", "grant"], rows)
}
