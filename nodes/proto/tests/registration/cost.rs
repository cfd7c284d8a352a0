//! What a registration costs pod, SG and SPA together, in allocations. Counts, not time.

use damc_proto::auth::announcer::Standing;

use crate::parts::Bench;
use crate::standing;

/// New names that are averaged.
const NEW: usize = 32;

/// Services with the first numbers from `from` on, of a pod, all accepted.
fn register(b: &mut Bench, (pod, under): (&str, &str), numbers: std::ops::Range<usize>) {
    let port = b.pods.iter().find(|(_, known)| known.id.as_str() == pod).map(|(port, _)| *port);
    let port = port.unwrap_or_else(|| b.pod(pod));
    let names: Vec<String> = numbers.map(|i| format!("/load/{under}-{i}")).collect();
    for chunk in names.chunks(NEW) {
        chunk.iter().for_each(|name| b.service(port, name, None));
        b.run(100);
    }
    for name in &names {
        assert_eq!(standing(b, port, name), Standing::Accepted, "{name}");
    }
}

/// Allocations and bytes for each new name of `pod-1`, which has `own` names, while four other pods have `others` in all.
fn cost((own, others): (usize, usize)) -> (f64, f64) {
    let pods = ["pod-1", "pod-2", "pod-3", "pod-4", "pod-5"];
    let licences = pods.map(|pod| (pod, &["/load"] as &[&str]));
    let mut b = Bench::new(&licences, &[]);
    register(&mut b, (pods[0], "own"), 0..own);
    for pod in &pods[1..] {
        register(&mut b, (pod, pod), 0..others / 4);
    }
    b.forget();
    let measured = allocation_counter::measure(|| register(&mut b, (pods[0], "new"), 0..NEW));
    assert_eq!(b.advertised_by(pods[0]).len(), own + NEW);
    (measured.count_total as f64 / NEW as f64, measured.bytes_total as f64 / NEW as f64)
}

/// With some names of other pods, ten times as many, and a hundred times as many.
#[test]
fn a_registration_costs_the_same_however_many_names_others_have() {
    let costs = [16, 160, 1600].map(|others| cost((16, others)));
    for more in &costs[1..] {
        assert!((more.0 / costs[0].0 - 1.0).abs() < 0.2 && (more.1 / costs[0].1 - 1.0).abs() < 0.2, "{costs:?}");
    }
}

/// What a registration costs more for each name that its pod has already: admission is a list of all of them, which is made
/// anew. Allocations and bytes.
const MORE: (f64, f64) = (0.5, 128.0);

/// With some names of its own, ten times as many, and as many as a pod may have (`nodes/WIRE.md`, section 21).
#[test]
fn a_registration_costs_little_more_for_each_name_the_pod_has() {
    let sizes = [16, 160, 1024 - NEW];
    let costs = sizes.map(|own| cost((own, 16)));
    for (own, more) in sizes.into_iter().zip(&costs).skip(1) {
        let names = (own - sizes[0]) as f64;
        let growth = ((more.0 - costs[0].0) / names, (more.1 - costs[0].1) / names);
        assert!(growth.0 <= MORE.0 && growth.1 <= MORE.1, "{growth:?} of {costs:?}");
    }
}
