//! A network that falls apart, goes on changing on both sides, and becomes one again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use damc_mgmt::command::Command;
use damc_testbed::WorldError;
use damc_wire::Role;

use crate::case::{Case, Findings, Impact, Stop, Suite};
use crate::oracle::{Failures, Oracle};
use crate::testbed::Testbed;
use crate::testbed::witness::parse;

const LIMIT: Duration = Duration::from_secs(60);

/// Cases of partitions.
pub const CASES: &[Case] = &[case!(
    Insider,
    "insider-partition",
    "A partition that heals after changes on both sides: what is new is everywhere, what was withdrawn does not come back",
    ["GOAL-06", "GAP-05", "GAP-06"],
    Links,
    changed_on_both_sides
)];

/// An SG with a pod, and a pod of another SG.
fn sides(testbed: &Testbed) -> Result<(String, String, String), Stop> {
    let (sg, near) = testbed.sg_with_pod()?;
    let far = testbed.of_kind(&[Role::Pod]).into_iter().find(|pod| {
        let other = testbed.sg_of(pod).ok().filter(|of| *of != sg);
        other.is_some_and(|of| testbed.spa_of(&of).is_ok())
    });
    let far = far.ok_or_else(|| Stop::NotApplicable("no second SG with a pod and an SPA".into()))?;
    Ok((sg, near, far))
}

/// Waits until the nodes of one side have a route to `present`, and none to `absent`.
async fn wait_routes(testbed: &Testbed, nodes: &[String], (present, absent): (&str, &str)) -> Result<(), Stop> {
    let what = format!("{present} at {}, and {absent} not", nodes.join(", "));
    testbed
        .wait(&what, testbed.t_conv(), || async {
            for node in nodes {
                let fib = testbed.lab.fib(node).await?;
                let has = |name: &str| fib.entries.iter().any(|e| e.prefix == name);
                if !has(present) || has(absent) {
                    return Ok(Err(format!("{node}: {} and {}", has(present), has(absent))));
                }
            }
            Ok(Ok(()))
        })
        .await
}

/// A service that is stopped and one that is started, while the network is in two parts.
async fn change(testbed: &Testbed, pod: &str, (old, new): (&str, &str)) -> Result<(), Stop> {
    testbed.register(pod, new).await?;
    testbed.order(pod, &Command::StopService { prefix: parse(old)? }).await?;
    Ok(())
}

/// LSAs in force by node: origin, identity and number of each.
async fn databases(testbed: &Testbed) -> Result<BTreeMap<String, BTreeSet<(String, String, u64)>>, WorldError> {
    let mut held = BTreeMap::new();
    for node in testbed.routers() {
        let lsas = testbed.lab.lsdb(&node).await?.lsas.into_iter().filter(|l| !l.purged);
        held.insert(node, lsas.map(|l| (l.origin, l.id, l.sequence)).collect());
    }
    Ok(held)
}

/// Waits until every SG and SR holds the same LSAs.
async fn wait_agreed(testbed: &Testbed) -> Result<(), Stop> {
    testbed
        .wait("the same LSAs in every LSDB", testbed.t_conv() * 2, || async {
            let held = databases(testbed).await?;
            let Some((first, of_first)) = held.first_key_value() else { return Ok(Ok(())) };
            let other = held.iter().find(|(_, of)| *of != of_first);
            Ok(other.map_or(Ok(()), |(node, of)| {
                let differs: Vec<_> = of.symmetric_difference(of_first).take(3).collect();
                Err(format!("{first} and {node} differ in {differs:?}"))
            }))
        })
        .await
}

async fn changed_on_both_sides(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.settled(&Failures::default(), "FIBs of the whole graph").await?;
    let (sg, near, far) = sides(testbed)?;
    let (old_near, old_far) = (testbed.fresh_name(&near), testbed.fresh_name(&far));
    testbed.register(&near, &old_near).await?;
    testbed.register(&far, &old_far).await?;
    testbed.wait_everywhere(&[old_near.clone(), old_far.clone()], testbed.t_conv()).await?;
    let mut failures = Failures::default();
    let mut cut = testbed.beside(&sg, Role::Sr)?;
    cut.extend(testbed.beside(&sg, Role::Sg)?);
    for router in &cut {
        testbed.cut(&sg, router).await?;
        failures = failures.link(&sg, router);
    }
    let others: Vec<String> = testbed.routers().into_iter().filter(|node| *node != sg).collect();
    let whole = Oracle::new(&testbed.topology, &failures);
    if others.iter().any(|node| whole.distance(&others[0], node).is_none()) {
        return Err(Stop::NotApplicable(format!("without {sg} the other routers are in several parts")));
    }
    // Both sides change while neither hears of the other.
    let (new_near, new_far) = (testbed.fresh_name(&near), testbed.fresh_name(&far));
    change(testbed, &near, (&old_near, &new_near)).await?;
    change(testbed, &far, (&old_far, &new_far)).await?;
    wait_routes(testbed, std::slice::from_ref(&sg), (&new_near, &old_near)).await?;
    wait_routes(testbed, &others, (&new_far, &old_far)).await?;
    findings.check(true, format!("{sg} on one side and {} routers on the other go on changing", others.len()));
    let began = testbed.now_ns();
    for router in &cut {
        testbed.mend(&sg, router).await?;
    }
    testbed.wait_everywhere(&[new_near.clone(), new_far.clone()], testbed.t_conv()).await?;
    testbed.wait_nowhere(&[old_near.clone(), old_far.clone()], testbed.t_conv()).await?;
    wait_agreed(testbed).await?;
    findings.figure("both sides agree after", testbed.since(began).as_secs_f64() * 1e3, "ms");
    findings.check(true, "new names are everywhere, withdrawn ones nowhere, and all databases are the same");
    for name in [&old_near, &old_far] {
        findings.none(&testbed.known_at(name).await?, format!("no LSDB and no FIB has {name}"));
    }
    for (caller, target) in [(&near, &new_far), (&far, &new_near)] {
        let reply = testbed.call(caller, target, "echo", &["one again"]).await?;
        findings.check_eq(&reply.result.as_deref(), &Some("one again"), format!("{caller} calls {target}"));
    }
    testbed.unregister(&[new_near, new_far]).await?;
    testbed.settled(&Failures::default(), "FIBs of the whole graph again").await
}
