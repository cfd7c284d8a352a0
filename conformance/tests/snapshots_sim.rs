//! The FIBs of every shipped topology by the in-memory network, built from the very configurations a lab gets.

use std::collections::BTreeMap;
use std::time::Duration;

use damc_mgmt::view::FibView;
use damc_sim::Sim;
use damc_topology::Topology;
use damc_topology::plan::{KeySeed, PlanOptions, plan};

mod shipped;

/// Those whose services are programs: a lab would need them installed, tables are the same whatever serves.
const WITH_PROGRAMS: [&str; 3] = ["calculator", "fig2-http", "shop"];
/// Virtual time a network may take.
const DEADLINE: Duration = Duration::from_secs(60);

fn fibs(sim: &Sim, topology: &Topology) -> BTreeMap<String, FibView> {
    shipped::routers(topology).into_iter().map(|node| (node.clone(), sim.fib(&node))).collect()
}

#[test]
fn rib_02_fibs_of_shipped_topologies_in_memory() {
    for name in shipped::BUILT_IN.into_iter().chain(WITH_PROGRAMS) {
        let topology = shipped::load(name);
        let plan = plan(&topology, &PlanOptions { seed: 1, ..PlanOptions::default() });
        let configs = plan.configs(&KeySeed::of_simulation(1)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut sim = Sim::new(&configs, 1).unwrap_or_else(|e| panic!("{name}: {e}"));
        sim.start();
        let settled = sim.run_until(|sim| shipped::unsettled(&topology, &fibs(sim, &topology)).is_none(), DEADLINE);
        let fibs = fibs(&sim, &topology);
        assert!(settled.is_ok(), "{name}: {}", shipped::unsettled(&topology, &fibs).unwrap_or_default());
        shipped::assert_fibs(name, &fibs);
    }
}
