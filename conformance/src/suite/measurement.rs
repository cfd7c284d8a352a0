//! Section I: which role measures what, how often and how exactly.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use damc_impair::DirectionChange;
use damc_mgmt::command::Command;
use damc_mgmt::event::EventKind;
use damc_testbed::Direction;
use damc_wire::message::Probe;
use damc_wire::{Message, Role};

use crate::case::{Case, Findings, Impact, Stop, Suite, Worlds};
use crate::testbed::Testbed;
use crate::testbed::quality::Leg;
use crate::testbed::witness::parse;
use crate::trace::Seen;

const LIMIT: Duration = Duration::from_secs(60);

/// Cases about measuring.
pub const CASES: &[Case] = &[
    Case {
        id: "qos-01",
        title: "Every SG probes every service periodically and by itself, new ones too, and at once on demand",
        rows: &["QOS-01"],
        suite: Suite::Qos,
        impact: Impact::Guest,
        worlds: Worlds::All,
        limit: LIMIT,
        run: |testbed, findings| Box::pin(regular_probes(testbed, findings)),
    },
    Case {
        id: "qos-02",
        title: "Targets get tasks and report to the SG that asked; one that hangs is unavailable until it works again",
        rows: &["QOS-02", "QOS-03"],
        suite: Suite::Qos,
        impact: Impact::Guest,
        worlds: Worlds::Live("a service process that can be suspended"),
        limit: LIMIT,
        run: |testbed, findings| Box::pin(tasks(testbed, findings)),
    },
    Case {
        id: "qos-05",
        title: "Delay, jitter and bandwidth at the SCSC match the wire and follow a step at once",
        rows: &["QOS-05", "QOS-08"],
        suite: Suite::Qos,
        impact: Impact::Links,
        worlds: Worlds::All,
        limit: LIMIT,
        run: |testbed, findings| Box::pin(exactness(testbed, findings)),
    },
    Case {
        id: "qos-07",
        title: "An SR reports a bad link between SRs by name, and no other link",
        rows: &["QOS-07"],
        suite: Suite::Qos,
        impact: Impact::Links,
        worlds: Worlds::All,
        limit: LIMIT,
        run: |testbed, findings| Box::pin(bad_hop(testbed, findings)),
    },
];

#[expect(clippy::cast_precision_loss, reason = "spans of a case are far below 2^52 ns")]
fn millis(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// Times, ns, at which SGs sent the first frame of each plain probe, by SG and target.
fn departures(testbed: &Testbed, frames: &[Seen]) -> BTreeMap<(String, String), Vec<u64>> {
    let mut times: BTreeMap<(String, String), Vec<u64>> = BTreeMap::new();
    for s in frames.iter().filter(|s| s.sent && s.frame.header.label == 0) {
        let (Message::Probe(p), Some((to, by))) = (s.message(), &s.frame.names) else { continue };
        if p.train_index == 0 && by.to_string() == format!("/damc/{}/{}", testbed.topology.domain(), s.node) {
            times.entry((s.node.clone(), to.to_string())).or_default().push(s.at_ns);
        }
    }
    times
}

fn services(testbed: &Testbed) -> Vec<String> {
    testbed.topology.of_kind(Role::Pod).flat_map(|p| &p.services).map(|s| s.prefix.to_string()).collect()
}

async fn regular_probes(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    const PERIODS: usize = 6;
    let from = testbed.now_ns();
    let (sgs, targets) = (testbed.of_kind(&[Role::Sg]), services(testbed));
    let interval = Duration::from_millis(testbed.timers.probe_interval_ms);
    let wait = interval * u32::try_from(2 * PERIODS).unwrap_or(u32::MAX) + testbed.t_conv();
    let seen = testbed
        .wait("probes from every SG to every service", wait, || async {
            let frames = testbed.probes(from).await.map_err(|e| damc_testbed::WorldError::Lab(e.to_string()))?;
            let times = departures(testbed, &frames);
            let of = |pair: &(String, String)| times.get(pair).map_or(0, Vec::len);
            let all = sgs.iter().flat_map(|sg| targets.iter().map(move |t| (sg.clone(), t.clone())));
            let short: Vec<_> = all.filter(|pair| of(pair) <= PERIODS).collect();
            Ok(if short.is_empty() {
                Ok(times)
            } else {
                Err(format!("{} of {} pairs missing", short.len(), times.len()))
            })
        })
        .await?;
    let (mut least, mut most) = (f64::MAX, 0.0_f64);
    for times in seen.values() {
        let spans = u32::try_from(times.len() - 1).unwrap_or(1);
        let mean = millis(times[times.len() - 1] - times[0]) / f64::from(spans);
        (least, most) = (least.min(mean), most.max(mean));
    }
    let period = millis(u64::try_from(interval.as_nanos()).unwrap_or(0));
    findings.check_saw(
        least >= 0.9 * period && most <= 1.1 * period,
        format!("the mean probe period of {} SG–service pairs is {period} ms ± 10 %", seen.len()),
        format!("{least:.1} to {most:.1} ms"),
    );
    findings.figure("longest mean probe period", most, "ms");
    new_target(testbed, findings, &sgs).await?;
    probe_now(testbed, findings, &sgs[0], &targets).await
}

async fn new_target(testbed: &Testbed, findings: &mut Findings, sgs: &[String]) -> Result<(), Stop> {
    let from = testbed.now_ns();
    let (sg, _) = testbed.sg_with_pod()?;
    let names = testbed.register_behind(&sg, 1).await?;
    let at = testbed
        .wait("probes of a new service from every SG", testbed.t_conv(), || async {
            let frames = testbed.probes(from).await.map_err(|e| damc_testbed::WorldError::Lab(e.to_string()))?;
            let times = departures(testbed, &frames);
            let firsts: Vec<u64> =
                sgs.iter().filter_map(|sg| times.get(&(sg.clone(), names[0].clone()))?.first().copied()).collect();
            let last = firsts.iter().copied().max();
            Ok(last.filter(|_| firsts.len() == sgs.len()).ok_or_else(|| format!("{} of {}", firsts.len(), sgs.len())))
        })
        .await?;
    findings.check(true, "every SG probes a new service without an order");
    findings.figure("registration to the last SG's first probe", millis(at - from), "ms");
    testbed.unregister(&names).await
}

async fn probe_now(testbed: &Testbed, findings: &mut Findings, sg: &str, targets: &[String]) -> Result<(), Stop> {
    let from = testbed.now_ns();
    testbed.order(sg, &Command::Probe).await?;
    let lag = testbed
        .wait("a probe to every service", testbed.t_conv(), || async {
            let frames = testbed.probes(from).await.map_err(|e| damc_testbed::WorldError::Lab(e.to_string()))?;
            let times = departures(testbed, &frames);
            let firsts: Vec<u64> =
                targets.iter().filter_map(|t| times.get(&(sg.to_owned(), t.clone()))?.first().copied()).collect();
            let last = firsts.iter().copied().max();
            Ok(last.filter(|_| firsts.len() == targets.len()).map(|at| at - from).ok_or_else(|| "not all".to_owned()))
        })
        .await?;
    let bound = testbed.timers.probe_interval_ms / 2;
    let what = format!("told to probe now, {sg} probes all {} services", targets.len());
    findings.within(Duration::from_nanos(lag), Duration::from_millis(bound), what);
    Ok(())
}

// ===== tasks =====

/// Process id, on the host, of the process that serves `prefix` in this lab.
fn service_process(testbed: &Testbed, prefix: &str) -> Result<u32, Stop> {
    let directory = testbed.processes().directory.to_string_lossy().into_owned();
    let words = |pid: &str| -> Vec<String> {
        let raw = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        raw.split(|b| *b == 0).map(|w| String::from_utf8_lossy(w).into_owned()).collect()
    };
    let parent = |pid: &str| -> Option<String> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(1).map(str::to_owned)
    };
    let pids = std::fs::read_dir("/proc").map_err(|e| Stop::Inconclusive(format!("/proc: {e}")))?;
    let found = pids.flatten().filter_map(|entry| entry.file_name().into_string().ok()).find(|pid| {
        words(pid).windows(2).any(|w| w[0] == "--service" && w[1] == prefix)
            && parent(pid).is_some_and(|agent| words(&agent).iter().any(|w| w.starts_with(&directory)))
    });
    found
        .and_then(|pid| pid.parse().ok())
        .ok_or_else(|| Stop::NotApplicable(format!("no built-in process serves {prefix}")))
}

async fn signal(pid: u32, name: &str) -> Result<(), Stop> {
    let status = tokio::process::Command::new("kill").args([name, &pid.to_string()]).status().await;
    match status {
        Ok(status) if status.success() => Ok(()),
        other => Err(Stop::Inconclusive(format!("kill {name} {pid}: {other:?}"))),
    }
}

/// An SG, a service of another SG that belongs to no pool, and the pod and the SG of that service.
fn lone_target(testbed: &Testbed) -> Result<(String, String, String, String), Stop> {
    for pod in testbed.topology.of_kind(Role::Pod) {
        let Some(service) = pod.services.iter().find(|s| s.pool.is_none() && s.run.is_none()) else { continue };
        let home = testbed.sg_of(pod.id.as_str())?;
        if let Some(sg) = testbed.of_kind(&[Role::Sg]).into_iter().find(|sg| *sg != home) {
            return Ok((sg, service.prefix.to_string(), pod.id.to_string(), home));
        }
    }
    Err(Stop::NotApplicable("no service outside a pool".into()))
}

async fn tasks(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, target, pod, home) = lone_target(testbed)?;
    let own = format!("/damc/{}/{sg}", testbed.topology.domain());
    let pid = service_process(testbed, &target)?;
    let from = testbed.now_ns();
    let period = Duration::from_millis(testbed.timers.task_interval_ms);
    let task = testbed
        .wait_frame("a task", from, period * 3, |s| {
            s.sent
                && s.node == sg
                && matches!(s.message(), Message::Task(_))
                && s.frame.names.as_ref().is_some_and(|(to, _)| to.to_string() == target)
        })
        .await?;
    let Message::Task(task) = task.message().clone() else { return Err(Stop::Inconclusive("no task".into())) };
    let report = testbed
        .wait_frame("its report", from, testbed.t_conv(), |s| {
            !s.sent && s.node == sg && matches!(s.message(), Message::TaskReport(r) if r.task == task.task)
        })
        .await?;
    let names = report.frame.names.clone();
    let (to, by) = names.map_or_else(Default::default, |(to, by)| (to.to_string(), by.to_string()));
    findings.check_saw(
        to == own && by == target,
        format!("{sg} gives {target} task {:x}, and {target} reports to {sg} under that number", task.task),
        format!("a report to {to} by {by}"),
    );
    signal(pid, "-STOP").await?;
    let stopped = testbed.now_ns();
    let silent = until_available(testbed, (&sg, &target), stopped, false).await;
    // Taken before: where programs start slowly, the service works again before `kill` has ended.
    let resumed = testbed.now_ns();
    signal(pid, "-CONT").await?;
    let after = silent? - stopped;
    let bound = period * (testbed.timers.miss_limit + 1) + testbed.t_conv() / 4;
    findings.within(Duration::from_nanos(after), bound, format!("{target}, alive but hung, is unavailable at {sg}"));
    findings.figure("SIGSTOP of a service to its unavailability at a far SG", millis(after), "ms");
    let back = until_available(testbed, (&sg, &target), resumed, true).await? - resumed;
    findings.check(true, format!("when it works again, it is available after {:.0} ms", millis(back)));
    let killed = testbed.now_ns();
    testbed.order(&pod, &Command::KillService { prefix: parse(&target)? }).await?;
    let noticed = testbed
        .wait(&format!("{home} told of the crash"), testbed.t_conv(), || async {
            let events = testbed.events(&home).await?;
            let gone = events.into_iter().find(|e| {
                e.at_ns >= killed
                    && matches!(&e.kind, EventKind::Announced { prefix, withdrawn: true, .. } if *prefix == target)
            });
            Ok(gone.map(|e| e.at_ns - killed).ok_or_else(|| "no withdrawal".to_owned()))
        })
        .await?;
    findings.check_saw(
        noticed < after,
        format!("a crash is noticed sooner than a hang, within {:.1} ms", millis(after)),
        format!("withdrawn after {:.1} ms", millis(noticed)),
    );
    findings.figure("crash of a service to its withdrawal at its SG", millis(noticed), "ms");
    testbed.wait_everywhere(&[target], testbed.t_conv()).await
}

/// Waits until an SG finds a target (un)available; returns when it did, ns.
async fn until_available(testbed: &Testbed, (sg, name): (&str, &str), from: u64, up: bool) -> Result<u64, Stop> {
    let within =
        Duration::from_millis(testbed.timers.task_interval_ms) * (testbed.timers.miss_limit + 2) + testbed.t_conv();
    testbed
        .wait(&format!("{name} {} at {sg}", if up { "available" } else { "unavailable" }), within, || async {
            let found = testbed.events(sg).await?.into_iter().find(|e| {
                e.at_ns >= from
                    && matches!(&e.kind, EventKind::Availability { target, available } if target == name && *available == up)
            });
            Ok(found.map(|e| e.at_ns).ok_or_else(|| "no such event".to_owned()))
        })
        .await
}

// ===== exactness =====

/// Times of one probe on the wire, ns: the way back, and half the round trip without the reflector's time.
struct Transit {
    back: u64,
    half: u64,
}

/// Plain single probes of a leg in sequence, from four recorded frames each. `behind`: sent frames were recorded after
/// what delays them.
fn transits(testbed: &Testbed, leg: &Leg, frames: &[Seen], behind: bool) -> Vec<Transit> {
    let own = format!("/damc/{}/{}", testbed.topology.domain(), leg.sg);
    let mut stamps: BTreeMap<u32, [Option<u64>; 4]> = BTreeMap::new();
    for s in frames.iter().filter(|s| s.frame.header.label == 0) {
        let Some((to, by)) = &s.frame.names else { continue };
        let (p, reply): (&Probe, bool) = match s.message() {
            Message::Probe(p) if to.to_string() == leg.target && by.to_string() == own => (p, false),
            Message::ProbeReply(p) if to.to_string() == own && by.to_string() == leg.target => (p, true),
            _ => continue,
        };
        let at_sg = s.node == leg.sg;
        let at_pod = testbed.role(&s.node).is_ok_and(|(_, role)| role == Role::Pod);
        let slot = match (reply, s.sent, at_sg, at_pod) {
            (false, true, true, _) => 0,
            (false, false, _, true) => 1,
            (true, true, _, true) => 2,
            (true, false, true, _) => 3,
            _ => continue,
        };
        // netem delays frames before the recorder sees them: there the time of sending is the one in the probe.
        let said = [p.t1, 0, p.t3, 0][slot];
        let at_ns = if behind && s.sent { s.at_ns.min(said) } else { s.at_ns };
        if p.train_length == 1 {
            stamps.entry(p.sequence).or_default()[slot] = Some(at_ns);
        }
    }
    let complete = stamps.values().filter_map(|[a, b, c, d]| {
        let (there, back) = ((*b)?.checked_sub((*a)?)?, (*d)?.checked_sub((*c)?)?);
        Some(Transit { back, half: u64::midpoint(there, back) })
    });
    complete.collect()
}

/// Jitter of RFC 3550, section 6.4.1, ms, over these transits and continued from `before`.
fn interarrival_jitter(before: f64, transits: &[Transit]) -> f64 {
    transits.windows(2).fold(before, |j, w| j + (millis(w[0].back.abs_diff(w[1].back)) - j) / 16.0)
}

async fn exactness(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.wait_unsteered(testbed.t_return()).await?;
    let mut legs = testbed.legs(4)?;
    legs.sort_by_key(|leg| std::cmp::Reverse(leg.limits.delay_ns));
    let leg = legs.remove(0);
    step(testbed, findings, &leg).await?;
    let calm = |v: &damc_mgmt::view::PathView| v.violated.is_empty() && v.delay_ns.is_some();
    let before = testbed.wait_quality((&leg.sg, &leg.target), "no violation", testbed.t_policy(), calm).await?;
    let from = testbed.now_ns();
    // Trains measure the forward direction, so the jitter is backward: it would outweigh the 6 ms of a train.
    // The slower the nodes, the longer a train must last so that their stalls matter little.
    let rate_bps = testbed.host.fewer(50) * 1_000_000;
    let there = DirectionChange { delay_ns: Some(20_000_000), rate_bps: Some(rate_bps), ..DirectionChange::default() };
    let back = DirectionChange { delay_ns: Some(24_000_000), jitter_ns: Some(4_000_000), ..DirectionChange::default() };
    testbed.impair((&leg.sg, &leg.far), Direction::Forward, there).await?;
    testbed.impair((&leg.sg, &leg.far), Direction::Backward, back).await?;
    let rated = |v: &damc_mgmt::view::PathView| {
        v.bandwidth_bps.is_some_and(|b| b.abs_diff(rate_bps) < rate_bps / 10)
            && v.delay_ns.is_some_and(|d| d > 15_000_000)
    };
    let within = testbed.t_policy() * 2;
    // The estimate rests on 16 samples: all of them, and some more that settle the jitter, must be of the new links.
    let settled = from + 24 * testbed.timers.probe_interval_ms * 1_000_000;
    let late =
        |s: &Seen| s.at_ns >= settled && !s.sent && s.node == leg.sg && matches!(s.message(), Message::ProbeReply(_));
    testbed
        .wait("24 probes over the new links", within, || async {
            let probes = testbed.probes(settled).await.map_err(|e| damc_testbed::WorldError::Lab(e.to_string()))?;
            Ok(if probes.iter().any(late) { Ok(()) } else { Err(format!("none of the {} late enough", probes.len())) })
        })
        .await?;
    let seen = testbed.wait_quality((&leg.sg, &leg.target), "the link's rate within 10 %", within, rated).await?;
    let behind = testbed.lab.status().await?.recorded_behind_queue;
    let transits = transits(testbed, &leg, &testbed.probes(from).await?, behind);
    // The value rests on the middle half of the last 16 samples.
    let mut last: Vec<u64> = transits.iter().rev().take(16).map(|t| t.half).collect();
    last.sort_unstable();
    let cut = last.len() / 4;
    let middle = &last[cut..last.len() - cut];
    let count = u64::try_from(middle.len()).unwrap_or(1).max(1);
    let truth = middle.iter().sum::<u64>() / count;
    let delay = seen.delay_ns.unwrap_or(0);
    // View and recording may differ by one sample, which moves the mean by this.
    let spread = last.last().zip(last.first()).map_or(0, |(a, b)| a - b) / count;
    let bound = (truth / 50).max(200_000) + spread;
    let what = format!("the error of the delay {:.2} ms; {:.2} ms on the wire", millis(delay), millis(truth));
    findings.bound(millis(delay.abs_diff(truth)), millis(bound), "ms", transits.len(), what);
    let jitter = seen.jitter_ns.map_or(0.0, millis);
    let wire = interarrival_jitter(before.jitter_ns.map_or(0.0, millis), &transits);
    // View and recording may differ by one sample, which moves the jitter by a sixteenth of that sample's difference.
    let one_more = transits.windows(2).map(|w| w[0].back.abs_diff(w[1].back)).max().map_or(0.0, millis) / 16.0;
    let what = format!("the error of the jitter {jitter:.2} ms; {wire:.2} ms by RFC 3550 over the recorded probes");
    findings.bound((jitter - wire).abs(), 0.2 * wire.max(1.0) + one_more, "ms", transits.len(), what);
    let rate = millis(seen.bandwidth_bps.unwrap_or(0));
    findings.check(true, format!("bandwidth {rate:.1} Mbit/s on a link of {} Mbit/s", rate_bps / 1_000_000));
    findings.figure("error of the delay", millis(delay.abs_diff(truth)), "ms");
    findings.figure("error of the jitter", (jitter - wire).abs(), "ms");
    findings.figure(format!("measured bandwidth of {} Mbit/s", rate_bps / 1_000_000), rate, "Mbit/s");
    testbed.mend(&leg.sg, &leg.far).await?;
    testbed.wait_unsteered(testbed.t_return()).await
}

/// A step of the delay that stays inside the limit shows at the SCSC within two periods.
async fn step(testbed: &Testbed, findings: &mut Findings, leg: &Leg) -> Result<(), Stop> {
    let path = (leg.sg.as_str(), leg.target.as_str());
    let known = testbed.wait_quality(path, "a delay", testbed.t_policy(), |v| v.delay_ns.is_some()).await?;
    let high = leg.limits.delay_ns / 100 * 90;
    let first = testbed.lab.link_status(&leg.sg, &leg.far).await?.forward.delay_ns;
    let by = high.saturating_sub(known.delay_ns.unwrap_or(0).saturating_sub(first));
    let change = DirectionChange { delay_ns: Some(by), ..DirectionChange::default() };
    let from = testbed.now_ns();
    testbed.impair((&leg.sg, &leg.far), Direction::Both, change).await?;
    let crossed = |v: &damc_mgmt::view::PathView| v.delay_ns.is_some_and(|d| d >= high / 100 * 95);
    testbed.wait_quality(path, "the step", testbed.t_policy(), crossed).await?;
    let took = testbed.now_ns() - from;
    // Two probes must show the step, a train may take the place of one, the answer to the second needs a round trip,
    // and the result waits for the next report.
    let bound = 3 * testbed.timers.probe_interval_ms + testbed.timers.telemetry_interval_ms + 3 * high / 1_000_000 + 50;
    let what = format!("a step of the delay to {:.0} ms shows at the SCSC", millis(high));
    findings.within(Duration::from_nanos(took), Duration::from_millis(bound), what);
    findings.figure("step of the delay to its report at the SCSC", millis(took), "ms");
    let scsc = testbed.scsc()?;
    let oldest = testbed.frames(from).await?.iter().filter(|s| !s.sent && s.node == scsc).fold(0, |oldest, s| {
        let Message::Telemetry(t) = s.message() else { return oldest };
        let ages = t.body.paths.iter().filter(|p| p.available && p.label == 0).map(|p| p.age.0);
        ages.max().unwrap_or(0).max(oldest)
    });
    let allowed = testbed.timers.probe_interval_ms * 3 / 2 + 2 * high / 1_000_000;
    let what = "age of the oldest reported sample";
    findings.within(Duration::from_millis(oldest), Duration::from_millis(allowed), what);
    Ok(())
}

// ===== links =====

async fn bad_hop(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    const MORE_NS: u64 = 30_000_000;
    let worst = testbed.slowest_link_ns();
    let is_sr = |n: &damc_wire::NodeId| testbed.topology.nodes()[n].kind == Role::Sr;
    let link = testbed.topology.links().iter().rfind(|l| is_sr(&l.a) && is_sr(&l.b));
    let link = link.ok_or_else(|| Stop::NotApplicable("no link between SRs".into()))?;
    let (a, b) = (link.a.to_string(), link.b.to_string());
    let scsc = testbed.scsc()?;
    testbed
        .wait("every link measured as good", testbed.t_return(), || async {
            for node in testbed.routers() {
                let rows = testbed.lab.neighbors(&node).await?.neighbors;
                if let Some(slow) = rows.into_iter().find(|n| n.delay_ns.is_some_and(|d| d > worst + MORE_NS / 4)) {
                    return Ok(Err(format!("{node} measures {:?} ns to {}", slow.delay_ns, slow.port)));
                }
            }
            Ok(Ok(()))
        })
        .await?;
    let from = testbed.now_ns();
    let change = DirectionChange { delay_ns: Some(worst + MORE_NS), ..DirectionChange::default() };
    testbed.impair((&a, &b), Direction::Both, change).await?;
    let telling = |s: &Seen| -> BTreeSet<(String, String)> {
        let Message::Telemetry(t) = s.message() else { return BTreeSet::new() };
        let slow = t.body.links.iter().filter(|l| l.delay_ns.is_some_and(|d| d > worst + MORE_NS / 2));
        slow.map(|l| (t.certificate.node.to_string(), l.neighbour.to_string())).collect()
    };
    let at_scsc = |s: &Seen| !s.sent && s.node == scsc;
    let seen = testbed
        .wait_frame(&format!("a report of {a} – {b}"), from, testbed.t_policy(), |s| {
            at_scsc(s) && !telling(s).is_empty()
        })
        .await?;
    findings.figure("link gone bad to its report at the SCSC", millis(seen.at_ns - from), "ms");
    let Message::Telemetry(t) = seen.message() else { return Err(Stop::Inconclusive("no telemetry".into())) };
    findings.check_saw(
        t.certificate.role == Role::Sr,
        "the report that names the link comes from an SR",
        format!("{}, {}", t.certificate.node, t.certificate.role),
    );
    let blamed: BTreeSet<_> = testbed.frames(from).await?.iter().filter(|s| at_scsc(s)).flat_map(telling).collect();
    let ends = [(a.clone(), b.clone()), (b.clone(), a.clone())];
    findings.check_saw(
        blamed.iter().all(|pair| ends.contains(pair)),
        format!("reports blame only {a} – {b}"),
        format!("{blamed:?}"),
    );
    testbed.mend(&a, &b).await?;
    testbed.wait_unsteered(testbed.t_return()).await
}
