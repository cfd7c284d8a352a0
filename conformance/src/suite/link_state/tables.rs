//! Tables and paths, compared with those that the topology file implies.

use std::collections::BTreeSet;

use damc_mgmt::view::{FibView, RibView};
use damc_wire::{MessageType, Role};

use crate::case::{Findings, Stop};
use crate::oracle::{Failures, Oracle};
use crate::testbed::Testbed;

pub(super) async fn oracle_equality(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let oracle = Oracle::new(&testbed.topology, &Failures::default());
    let fibs = testbed.fibs().await?;
    let difference = oracle.first_difference(&fibs);
    let entries: usize = fibs.values().map(|f| f.entries.len()).sum();
    findings.check_saw(
        difference.is_none(),
        format!("{entries} FIB entries at {} nodes equal the oracle's", fibs.len()),
        difference.as_deref().unwrap_or("no difference"),
    );
    Ok(())
}

/// FIB entries without a chosen route of the same prefix and the same next hops.
pub(super) fn orphans(fib: &FibView, rib: &RibView) -> Vec<String> {
    let parent = |e: &damc_mgmt::view::FibEntryView| {
        let hops: BTreeSet<_> = rib
            .routes
            .iter()
            .filter(|r| r.chosen && r.prefix == e.prefix)
            .flat_map(|r| &r.next_hops)
            .map(|h| &h.node)
            .collect();
        e.next_hops.iter().all(|h| hops.contains(&h.node))
            && rib.routes.iter().any(|r| r.chosen && r.prefix == e.prefix)
    };
    fib.entries.iter().filter(|e| !parent(e)).map(|e| e.prefix.clone()).collect()
}

pub(super) async fn parents(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let names = testbed.register_many(1).await?;
    testbed.wait_everywhere(&names, testbed.t_conv()).await?;
    for node in testbed.routers() {
        let (fib, rib) = (testbed.lab.fib(&node).await?, testbed.rib(&node).await?);
        let orphans = orphans(&fib, &rib);
        findings.check_saw(
            orphans.is_empty(),
            format!("{node}: each of {} FIB entries has a chosen RIB parent", fib.entries.len()),
            format!("{} without one {orphans:?}", orphans.len()),
        );
        findings.check_saw(
            rib.routes.len() >= fib.entries.len(),
            format!("{node}: the RIB lists at least as many candidates as the FIB has entries"),
            format!("{} candidates, {} entries", rib.routes.len(), fib.entries.len()),
        );
    }
    testbed.unregister(&names).await?;
    for node in testbed.routers() {
        let (fib, rib) = (testbed.lab.fib(&node).await?, testbed.rib(&node).await?);
        let left = fib
            .entries
            .iter()
            .map(|e| &e.prefix)
            .chain(rib.routes.iter().map(|r| &r.prefix))
            .filter(|p| names.contains(p))
            .count();
        findings.check_saw(
            left == 0,
            format!("{node}: withdrawn prefixes leave RIB and FIB"),
            format!("{left} entries left"),
        );
    }
    Ok(())
}

pub(super) async fn optimal_chains(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let oracle = Oracle::new(&testbed.topology, &Failures::default());
    let mut pairs = 0;
    for caller in testbed.topology.of_kind(Role::Pod).filter(|p| !p.services.is_empty()) {
        let others = testbed.topology.of_kind(Role::Pod).filter(|p| p.id != caller.id);
        for target in others.flat_map(|p| p.services.iter().take(1)) {
            let reply = testbed.call(caller.id.as_str(), &target.prefix.to_string(), "whoami", &[]).await?;
            if let Some(error) = &reply.error {
                findings.check_saw(false, format!("{} reaches {}", caller.id, target.prefix), error);
                continue;
            }
            for (what, path) in [("request", &reply.path), ("response", &reply.return_path)] {
                let cost = oracle.path_cost(path);
                let least = path.first().zip(path.last()).and_then(|(a, b)| oracle.distance(a, b));
                if cost != least || cost.is_none() {
                    findings.check_saw(
                        false,
                        format!("{} → {}: the {what} takes a path of cost {least:?}", caller.id, target.prefix),
                        format!("{path:?} at cost {cost:?}"),
                    );
                }
            }
            pairs += 1;
        }
    }
    findings.check_saw(
        pairs > 0,
        "paths of requests and responses were compared with the oracle",
        format!("{pairs} ordered pairs"),
    );
    Ok(())
}

pub(super) async fn raised_cost(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (caller, target, chain) = testbed.far_pair().await?;
    let (near, far) = (chain[0].clone(), chain[1].clone());
    let from = testbed.now_ns();
    testbed.set_cost(&near, &far, 50).await?;
    let failures = Failures::default().cost(&near, &far, 50);
    let oracle = Oracle::new(&testbed.topology, &failures);
    let mut lost = 0_u32;
    let mut calls = 0_u32;
    testbed
        .wait("FIBs of the oracle with the raised cost", testbed.t_conv(), || async {
            let fibs = testbed.fibs().await?;
            Ok(oracle.first_difference(&fibs).map_or(Ok(()), Err))
        })
        .await?;
    for _ in 0..20 {
        let reply = testbed.call(&caller, &target, "echo", &["x"]).await?;
        calls += 1;
        lost += u32::from(reply.error.is_some());
    }
    findings.check_saw(
        lost == 0,
        format!("none of {calls} calls during and after the change is lost"),
        format!("{lost} lost"),
    );
    let frames = testbed.frames(from).await?;
    let told = frames.iter().filter(|s| s.message_type() == MessageType::LsUpdate).count();
    findings.check_saw(told > 0, "the change is flooded", format!("{told} frames at ports"));
    testbed.set_cost(&near, &far, testbed.configured_cost(&near, &far)).await?;
    Ok(())
}

pub(super) async fn lookup_by_name(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (caller, target, chain) = testbed.far_pair().await?;
    let owner = chain.last().cloned().unwrap_or_default();
    let below = testbed.call(&caller, &format!("{target}/cart/add"), "whoami", &[]).await?;
    findings.check_saw(
        below.error.is_none() && below.path.last() == Some(&owner),
        format!("{target}/cart/add, below {target}, reaches {owner}"),
        format!("path {:?}, error {:?}", below.path, below.error),
    );
    let beside = testbed.call(&caller, &format!("{target}x"), "whoami", &[]).await?;
    findings.check_eq(
        &beside.error.as_deref(),
        &Some("no-route"),
        format!("{target}x, not below {target}, has no route"),
    );
    Ok(())
}
