//! One name at many places: GAP-13.

use std::collections::BTreeMap;
use std::time::Duration;

use damc_testbed::WorldError;
use damc_topology::plan::GUEST;
use damc_wire::Role;

use crate::case::{Case, Findings, Impact, Stop, Suite};
use crate::testbed::Testbed;
use crate::testbed::traffic::Thrown;

const LIMIT: Duration = Duration::from_secs(60);

/// Cases of GAP-13.
pub const CASES: &[Case] = &[case!(
    "gap-13",
    "When an instance of a pool goes, the flows of the others stay where they are",
    ["GAP-13"],
    Links,
    one_goes
)];

/// Number of flows.
const FLOWS: u32 = 2000;
/// Flows of instances that stay, per cent of all, that may be elsewhere after a change: none should be.
const STRAYED: f64 = 1.0;

/// A router that can be made to have several equal ways to a pool, whose flows come from one SG.
struct Crossing {
    router: String,
    sg: String,
    pod: String,
    /// SGs beside the router, other than `sg`.
    beside: Vec<String>,
    /// Pods behind all SGs but `sg`.
    pods: Vec<String>,
}

impl Crossing {
    /// The router with the most SGs beside it.
    fn find(testbed: &Testbed) -> Result<Self, Stop> {
        let mut found: Vec<Self> = Vec::new();
        for router in testbed.of_kind(&[Role::Sr]) {
            let mut beside = testbed.beside(&router, Role::Sg)?;
            beside.retain(|sg| testbed.pod_of(sg).is_ok());
            beside.sort();
            let Some(sg) = beside.first().cloned() else { continue };
            beside.remove(0);
            let elsewhere = testbed.of_kind(&[Role::Sg]).into_iter().filter(|other| *other != sg);
            let pods: Vec<String> = elsewhere.filter_map(|sg| testbed.pod_of(&sg).ok()).collect();
            let pod = testbed.pod_of(&sg)?;
            if testbed.service_of(&pod).is_ok() && !beside.is_empty() {
                found.push(Self { router, sg, pod, beside, pods });
            }
        }
        found.sort_by(|a, b| (b.beside.len(), &a.router).cmp(&(a.beside.len(), &b.router)));
        let first = found.into_iter().next();
        first.ok_or_else(|| Stop::NotApplicable("no SR with two SGs that have pods".into()))
    }

    /// Makes the router's links to its SGs as costly as the way round by another router, so that both are equal ways, and
    /// leads all flows of the SG through it.
    async fn level(&self, testbed: &Testbed) -> Result<(), Stop> {
        for sg in &self.beside {
            testbed.set_cost(&self.router, sg, 2 * testbed.configured_cost(&self.router, sg)).await?;
        }
        for other in testbed.beside(&self.sg, Role::Sr)?.into_iter().filter(|other| *other != self.router) {
            testbed.set_cost(&self.sg, &other, 50 * testbed.configured_cost(&self.sg, &other)).await?;
        }
        Ok(())
    }
}

/// A pool of the case and its instances, by pod.
struct Pool {
    name: String,
    instances: BTreeMap<String, String>,
}

impl Pool {
    /// Starts an instance in every pod.
    async fn start(testbed: &Testbed, pods: &[String]) -> Result<Self, Stop> {
        let name = format!("/{GUEST}/pool/{}", testbed.unique());
        let mut instances = BTreeMap::new();
        for pod in pods {
            let instance = testbed.fresh_name(pod);
            testbed.licence_for_now(pod, &name).await?;
            testbed.licence_for_now(pod, &instance).await?;
            testbed.start_unlicensed(pod, &instance, Some(&name)).await?;
            instances.insert(pod.clone(), instance);
        }
        Ok(Self { name, instances })
    }

    /// Next hops of a node for the pool.
    async fn next_hops(&self, testbed: &Testbed, node: &str) -> Result<usize, WorldError> {
        let fib = testbed.lab.fib(node).await?;
        let entry = fib.entries.iter().find(|e| e.prefix == self.name && e.label.is_none());
        Ok(entry.map_or(0, |e| e.next_hops.len()))
    }

    /// The pod that each flow reaches.
    async fn flows(&self, testbed: &Testbed, at: &Crossing) -> Result<BTreeMap<u64, String>, Stop> {
        let source = testbed.service_of(&at.pod)?;
        let (from, first) = (testbed.now_ns(), testbed.correlations());
        let mut thrown = Vec::new();
        for (correlation, flow) in (first..).zip(0..FLOWS) {
            // Deadline 0: the answers are not needed.
            thrown.push(Thrown { deadline_ms: 0, ..Thrown::echo(&self.name, &source, correlation)?.flow(flow) });
        }
        testbed.stream(&at.pod, &at.sg, &thrown, testbed.spacing(Duration::from_micros(700))).await?;
        let least = FLOWS as usize * 98 / 100;
        let what = format!("98 % of {FLOWS} flows from {} to {} arrive", at.sg, self.name);
        testbed
            .wait(&what, testbed.t_conv(), || async {
                let mut reached = BTreeMap::new();
                for pod in &at.pods {
                    let asked = testbed.requests_at(pod, from).await.map_err(|e| WorldError::Lab(e.to_string()))?;
                    let ours = asked.range(first..first + u64::from(FLOWS));
                    reached.extend(ours.map(|correlation| (correlation - first, pod.clone())));
                }
                Ok(if reached.len() >= least { Ok(reached) } else { Err(format!("{} arrived", reached.len())) })
            })
            .await
    }
}

async fn one_goes(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.wait_unsteered(testbed.t_return()).await.or_else(|stop| match stop {
        Stop::NotApplicable(_) => Ok(()),
        other => Err(other),
    })?;
    let at = Crossing::find(testbed)?;
    at.level(testbed).await?;
    let pool = Pool::start(testbed, &at.pods).await?;
    let what = format!("several equal next hops at {}", at.router);
    let several = testbed.wait(&what, testbed.t_conv(), || async {
        let count = pool.next_hops(testbed, &at.router).await?;
        Ok(if count > 2 { Ok(count) } else { Err(format!("{count} next hops")) })
    });
    let hops =
        several.await.map_err(|_| Stop::NotApplicable(format!("fewer than three equal ways from {}", at.router)))?;
    let everywhere: Vec<String> = pool.instances.values().cloned().chain([pool.name.clone()]).collect();
    testbed.wait_everywhere(&everywhere, testbed.t_conv()).await?;
    let before = pool.flows(testbed, &at).await?;
    let leaving = testbed.pod_of(&at.beside[0])?;
    let instance = &pool.instances[&leaving];
    testbed.stop_service(&leaving, instance).await?;
    testbed.wait_nowhere(std::slice::from_ref(instance), testbed.t_conv()).await?;
    testbed
        .wait(&format!("one next hop less at {}", at.router), testbed.t_conv(), || async {
            let count = pool.next_hops(testbed, &at.router).await?;
            Ok(if count + 1 == hops { Ok(()) } else { Err(format!("{count} next hops")) })
        })
        .await?;
    let after = pool.flows(testbed, &at).await?;
    judge(findings, &leaving, &before, &after);
    Ok(())
}

fn judge(findings: &mut Findings, leaving: &str, before: &BTreeMap<u64, String>, after: &BTreeMap<u64, String>) {
    let both: Vec<(&String, &String)> = before.iter().filter_map(|(flow, was)| Some((was, after.get(flow)?))).collect();
    let percent = |count: usize| count as f64 * 100.0 / both.len().max(1) as f64;
    let had = percent(both.iter().filter(|(was, _)| *was == leaving).count());
    let strayed = percent(both.iter().filter(|(was, is)| *was != leaving && was != is).count());
    let astray = both.iter().filter(|(_, is)| *is == leaving).count();
    findings.never(astray == 0, format!("no flow reaches {leaving} any more"), format!("{astray} do"));
    findings.check_saw(
        had > 0.0 && had < 100.0,
        format!("{leaving} and others have flows before it goes"),
        format!("{had:.1} % at {leaving}"),
    );
    let what = format!("flows of other instances that move when the one of {leaving} goes");
    findings.bound(strayed, STRAYED, "%", both.len(), what);
    findings.figure("flows of the instance that goes", had, "%");
}
