//! How long traffic is lost when a link on its path fails, with and without loss of carrier. The cases record figures
//! and check only the convergence budget.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use damc_mgmt::event::{Event, EventKind};
use damc_mgmt::words::AdjacencyState;
use damc_testbed::Direction;

use crate::case::{Case, Findings, Impact, Stop, Suite, Worlds, fail};
use crate::oracle::{Failures, Oracle};
use crate::testbed::Testbed;
use crate::testbed::traffic::Thrown;
use crate::trace::Seen;

/// Cases of link failure.
pub const CASES: &[Case] = &[
    Case {
        id: "outage-carrier",
        title: "A cut with loss of carrier, on each link of a path under 1000 requests a second",
        rows: &["FIG-16", "RIB-06", "GAP-02"],
        suite: Suite::Conformance,
        impact: Impact::Links,
        worlds: Worlds::All,
        limit: Duration::from_secs(30),
        run: |testbed, findings| Box::pin(carrier(testbed, findings)),
    },
    Case {
        id: "outage-silent",
        title: "A silent cut of a link under 1000 requests a second, several times",
        rows: &["FIG-16", "GAP-02"],
        suite: Suite::Conformance,
        impact: Impact::Links,
        worlds: Worlds::All,
        limit: Duration::from_secs(60),
        run: |testbed, findings| Box::pin(silent(testbed, findings)),
    },
    Case {
        id: "gap-02-one-way",
        title: "A link that carries frames in one direction only is not an adjacency until it is mended",
        rows: &["GAP-02"],
        suite: Suite::Conformance,
        impact: Impact::Links,
        worlds: Worlds::All,
        limit: Duration::from_secs(30),
        run: |testbed, findings| Box::pin(one_way(testbed, findings)),
    },
];

/// Time between two requests.
const SPACING: Duration = Duration::from_millis(1);
/// Requests injected at a time, before their arrival is checked.
const BURST: u64 = 400;
/// Requests before the cut, which must arrive.
const BEFORE: u64 = 50;
/// Number of successive requests that must arrive for the outage to be over.
const AGAIN: usize = 60;
/// Flow of all requests, so that they take one path.
const FLOW: u32 = 4242;

/// A stream of requests and its path.
struct Stream {
    pod: String,
    source: String,
    target: String,
    owner: String,
    path: Vec<String>,
}

impl Stream {
    async fn new(testbed: &Testbed) -> Result<Self, Stop> {
        let (pod, target, _) = testbed.far_pair().await?;
        let (source, owner) = (testbed.service_of(&pod)?, testbed.owner_of(&target)?);
        let reply = testbed.call_with(&pod, &target, "echo", &["x"], |r| r.flow = Some(FLOW)).await?;
        Ok(Self { pod, source, target, owner, path: reply.path })
    }

    /// Links of its path that can fail while another path is left.
    fn links(&self, testbed: &Testbed) -> Vec<(String, String)> {
        let (first, last) = (&self.path[0], &self.path[self.path.len() - 1]);
        let spare = |a: &str, b: &str| {
            Oracle::new(&testbed.topology, &Failures::default().link(a, b)).distance(first, last).is_some()
        };
        self.path.windows(2).map(|w| (w[0].clone(), w[1].clone())).filter(|(a, b)| spare(a, b)).collect()
    }

    /// Waits until the SPF back-off of every router is over. After one change the next is computed late on purpose
    /// (RFC 8405), and the cases measure an isolated cut.
    async fn calm(&self, testbed: &Testbed) -> Result<(), Stop> {
        let hold_ns = testbed.timers.spf_holddown_ms * 1_000_000;
        testbed
            .wait("routers at rest", testbed.t_conv() + Duration::from_nanos(2 * hold_ns), || async {
                for node in testbed.routers() {
                    let full = |e: &&Event| matches!(e.kind, EventKind::Computed { full: true, .. });
                    let newest = testbed.events(&node).await?.iter().filter(full).map(|e| e.at_ns).max().unwrap_or(0);
                    if newest + hold_ns + hold_ns / 5 > testbed.now_ns() {
                        return Ok(Err(format!("{node} computed routes lately")));
                    }
                }
                Ok(Ok(()))
            })
            .await
    }

    /// Injects a request every millisecond, runs `fault` after some of them, and goes on until requests arrive again.
    /// Returns the span of time in which requests were lost, and when the fault began, ns.
    async fn through(
        &self,
        testbed: &Testbed,
        fault: impl Future<Output = Result<(), damc_testbed::WorldError>>,
    ) -> Result<(Duration, u64), Stop> {
        self.calm(testbed).await?;
        let (from, first) = (testbed.now_ns(), testbed.correlations());
        let deadline = testbed.now_ns() + nanos(testbed.t_conv());
        self.burst(testbed, first).await?;
        let came = |s: &Seen| s.request() == Some(first + BEFORE) && !s.sent && s.node == self.owner;
        testbed.wait_frame("requests at the target", from, testbed.t_conv(), came).await?;
        let begun_ns = testbed.now_ns();
        fault.await?;
        let cut = begun_ns..testbed.now_ns();
        let mut thrown = BURST;
        loop {
            let arrived: BTreeSet<u64> =
                testbed.requests_at(&self.owner, from).await?.range(first..first + thrown).copied().collect();
            let sent: Vec<(u64, u64)> = testbed
                .requests_of(&self.pod, from)
                .await?
                .range(first..first + thrown)
                .map(|(c, t)| (*c, *t))
                .collect();
            if let Some(lost) = lost(&cut, &sent, &arrived) {
                return Ok((lost, begun_ns));
            }
            if testbed.now_ns() > deadline {
                return fail(format!(
                    "expected: requests of {} for {} arrive again within the convergence budget; saw: none",
                    self.pod, self.target
                ));
            }
            if sent.len() as u64 >= thrown {
                self.burst(testbed, first + thrown).await?;
                thrown += BURST;
            }
            testbed.lab.sleep(LOOK_AGAIN).await;
        }
    }

    async fn burst(&self, testbed: &Testbed, first: u64) -> Result<(), Stop> {
        let mut requests = Vec::new();
        for correlation in first..first + BURST {
            // Deadline 0: the target refuses it on arrival and remembers no call.
            let request = Thrown::echo(&self.target, &self.source, correlation)?.flow(FLOW);
            requests.push(Thrown { deadline_ms: 0, ..request });
        }
        testbed.stream(&self.pod, &self.path[0], &requests, testbed.spacing(SPACING)).await
    }
}

/// Time from a cut until each step of convergence was done everywhere, ns.
#[derive(Clone, Copy, Default)]
struct Steps([u64; 5]);

/// Names of the steps.
const STEPS: [&str; 5] = ["detected", "originated", "flooded", "computed", "installed"];

impl Steps {
    /// The steps after a cut of the link between `ends`, from the events of all routers.
    async fn of(testbed: &Testbed, ends: [&String; 2], begun_ns: u64) -> Result<Self, Stop> {
        let mut steps = [0; 5];
        for node in testbed.routers() {
            for event in testbed.events(&node).await?.iter().filter(|e| e.at_ns >= begun_ns) {
                let by_an_end = ends.contains(&&node);
                let step = match &event.kind {
                    EventKind::Carrier { up: false, .. } => Some(0),
                    EventKind::Adjacency { state, .. } if *state != AdjacencyState::Full => Some(0),
                    EventKind::LsaOriginated { .. } if by_an_end => Some(1),
                    EventKind::LsaAccepted { origin, .. } if ends.contains(&origin) => Some(2),
                    EventKind::Computed { full: true, .. } => Some(3),
                    EventKind::Fib { .. } => Some(4),
                    _ => None,
                };
                if let Some(step) = step {
                    steps[step] = steps[step].max(event.at_ns - begun_ns);
                }
            }
        }
        Ok(Self(steps))
    }

    fn or_later(self, other: Self) -> Self {
        Self(std::array::from_fn(|step| self.0[step].max(other.0[step])))
    }

    fn tell(self, findings: &mut Findings, what: &str) {
        for (step, ns) in STEPS.iter().zip(self.0) {
            findings.figure(format!("{what}, slowest: {step} everywhere after"), ns as f64 / 1e6, "ms");
        }
    }
}

/// Pause between two looks at what arrived.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// Requests sent at most this long before the cut may still have been under way, ns.
const UNDER_WAY_NS: u64 = 20_000_000;

/// The span of time in which requests were lost; `None` until `AGAIN` successive requests sent after the cut have
/// arrived. Requests after the newest that arrived may still be under way and do not count.
fn lost(cut: &Range<u64>, sent: &[(u64, u64)], arrived: &BTreeSet<u64>) -> Option<Duration> {
    let newest = sent.iter().rposition(|(c, _)| arrived.contains(c))?;
    let run = sent[..=newest].iter().rev().take_while(|(c, _)| arrived.contains(c));
    if run.filter(|(_, at)| *at > cut.end).count() < AGAIN {
        return None;
    }
    let missing: Vec<usize> =
        (0..newest).filter(|i| sent[*i].1 + UNDER_WAY_NS >= cut.start && !arrived.contains(&sent[*i].0)).collect();
    let (Some(&one), Some(&last)) = (missing.first(), missing.last()) else { return Some(Duration::ZERO) };
    Some(Duration::from_nanos(sent[last + 1].1 - sent[one].1))
}

async fn carrier(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let stream = Stream::new(testbed).await?;
    let links = stream.links(testbed);
    if links.is_empty() {
        return Err(Stop::NotApplicable("no link of the path can be avoided".into()));
    }
    let mut slowest = Steps::default();
    for (near, far) in links.iter().take(3) {
        let (lost, begun_ns) = stream.through(testbed, testbed.cut(near, far)).await?;
        findings.within(lost, testbed.t_conv(), format!("{near} – {far} cut: requests are lost no longer"));
        findings.figure(format!("loss at a cut of {near} – {far} with carrier"), lost.as_secs_f64() * 1e3, "ms");
        testbed.settled(&Failures::default().link(near, far), "FIBs without the link").await?;
        slowest = slowest.or_later(Steps::of(testbed, [near, far], begun_ns).await?);
        testbed.mend(near, far).await?;
        testbed.settled(&Failures::default(), "FIBs of the whole graph").await?;
    }
    slowest.tell(findings, "cut with carrier");
    Ok(())
}

/// Number of silent cuts of one link.
const CUTS: usize = 5;

async fn silent(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let stream = Stream::new(testbed).await?;
    let Some((near, far)) = stream.links(testbed).pop() else {
        return Err(Stop::NotApplicable("no link of the path can be avoided".into()));
    };
    let (mut losses, mut slowest) = (Vec::new(), Steps::default());
    for _ in 0..CUTS {
        let (lost, begun_ns) = stream.through(testbed, testbed.lab.silence(&near, &far, Direction::Both, true)).await?;
        losses.push(lost);
        testbed.settled(&Failures::default().link(&near, &far), "FIBs without the link").await?;
        slowest = slowest.or_later(Steps::of(testbed, [&near, &far], begun_ns).await?);
        testbed.mend(&near, &far).await?;
        testbed.settled(&Failures::default(), "FIBs of the whole graph").await?;
    }
    losses.sort_unstable();
    let worst = losses.last().copied().unwrap_or_default();
    let list: Vec<_> = losses.iter().map(|l| millis(*l)).collect();
    let what = format!("{near} – {far} silent: requests are lost no longer ({} ms in {CUTS} cuts)", list.join(", "));
    findings.within(worst, testbed.t_conv(), what);
    findings.figure("loss at a silent cut, median", losses[losses.len() / 2].as_secs_f64() * 1e3, "ms");
    // With so few cuts, the 99th percentile is the largest value.
    findings.figure("loss at a silent cut, p99", worst.as_secs_f64() * 1e3, "ms");
    slowest.tell(findings, "silent cut");
    let detect = testbed.timers.echo_interval_ms * u64::from(testbed.timers.echo_multiplier);
    findings.figure("detection time configured", detect as f64, "ms");
    Ok(())
}

async fn one_way(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let stream = Stream::new(testbed).await?;
    let Some((near, far)) = stream.links(testbed).pop() else {
        return Err(Stop::NotApplicable("no link of the path can be avoided".into()));
    };
    let state = |node: String, port: String| async move {
        let row = testbed.lab.neighbors(&node).await?.neighbors.into_iter().find(|n| n.port == port);
        Ok::<_, damc_testbed::WorldError>(row.map_or(AdjacencyState::Down, |n| n.state))
    };
    let both = || async {
        Ok::<_, damc_testbed::WorldError>((
            state(near.clone(), far.clone()).await?,
            state(far.clone(), near.clone()).await?,
        ))
    };
    testbed.lab.silence(&near, &far, Direction::Forward, true).await?;
    testbed.settled(&Failures::default().link(&near, &far), "FIBs without the one-way link").await?;
    findings.check(true, format!("frames from {near} to {far} vanish: no table uses the link in either direction"));
    // Hellos still arrive in the working direction; they must not be enough for an adjacency.
    let (from, hellos) = (testbed.now_ns(), 3);
    testbed
        .wait(&format!("{hellos} hellos of {far} at {near}"), testbed.t_conv() * 2, || async {
            let (here, there) = both().await?;
            let heard = testbed.sent(from, &far, &near, damc_wire::MessageType::Hello).await.map_or(0, |h| h.len());
            Ok(if heard < hellos { Err(format!("{heard}; {here}, {there}")) } else { Ok(()) })
        })
        .await?;
    let (here, there) = both().await?;
    findings.check_saw(
        here != AdjacencyState::Full && there != AdjacencyState::Full,
        format!("after {hellos} more hellos, neither end is full"),
        format!("{near} {here}, {far} {there}"),
    );
    testbed.mend(&near, &far).await?;
    testbed.settled(&Failures::default(), "FIBs of the whole graph").await?;
    findings.check_eq(
        &both().await?,
        &(AdjacencyState::Full, AdjacencyState::Full),
        "once mended, both ends are full again",
    );
    Ok(())
}

fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

fn millis(d: Duration) -> String {
    format!("{:.1}", d.as_secs_f64() * 1e3)
}
