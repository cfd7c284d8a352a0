//! Longest-prefix match against a model that knows no hash.

use std::collections::BTreeMap;

use damc_forward::{FibBuilder, Gone, HashKey, NextHop, Op, PortId, Route};
use damc_wire::Name;
use proptest::prelude::*;

/// Few different components, so that names nest and collide; sometimes as deep as a name can be.
fn names() -> impl Strategy<Value = Name> {
    let component = prop_oneof![Just("a"), Just("b"), Just("ab"), Just("x")];
    let shallow = prop::collection::vec(component, 1..6);
    let deep = prop::collection::vec(Just("a"), 1..=32);
    prop_oneof![4 => shallow, 1 => deep].prop_map(|components| Name::from_components(components).unwrap())
}

fn set(prefix: &Name, exact: bool) -> Op {
    let next_hops = vec![NextHop::new(PortId(1), 1)];
    Op::Set(Route { exact, ..Route::plain(prefix.clone(), next_hops) })
}

fn longest<'a>(model: &'a BTreeMap<Name, bool>, destination: &Name) -> Option<&'a Name> {
    let covers = |p: &Name, exact| if exact { p == destination } else { p.is_prefix_of(destination) };
    model.iter().filter(|(p, exact)| covers(p, **exact)).map(|(p, _)| p).max_by_key(|p| p.depth())
}

proptest! {
    #[test]
    fn lookup_equals_the_model(
        edits in prop::collection::vec((names(), any::<bool>(), 0..4_u8), 1..120),
        lookups in prop::collection::vec(names(), 1..40),
        key in any::<(u64, u64)>(),
    ) {
        let mut builder = FibBuilder::new(HashKey(key.0, key.1));
        let mut model = BTreeMap::new();
        let mut snapshots = Vec::new();
        for (prefix, exact, what) in edits {
            let op = if what == 0 {
                model.remove(&prefix);
                Op::Remove { prefix, gone: Gone::Withdrawn }
            } else {
                model.insert(prefix.clone(), exact);
                set(&prefix, exact)
            };
            snapshots.push((builder.apply([op]), model.clone()));
        }
        // Every snapshot, not only the newest: sharing must never let a later change shine through.
        for (fib, model) in &snapshots {
            prop_assert_eq!(fib.prefixes(), model.len());
            for destination in &lookups {
                prop_assert_eq!(fib.longest_match(destination), longest(model, destination).cloned());
            }
        }
    }

    #[test]
    fn one_batch_equals_many(edits in prop::collection::vec((names(), any::<bool>(), any::<bool>()), 1..200)) {
        let ops = || edits.iter().map(|(p, exact, present)| if *present { set(p, *exact) } else { Op::Remove { prefix: p.clone(), gone: Gone::Withdrawn } });
        let batch = FibBuilder::new(HashKey(1, 2)).apply(ops());
        let mut builder = FibBuilder::new(HashKey(1, 2));
        ops().for_each(|op| drop(builder.apply([op])));
        let single = builder.apply([]);
        for (name, ..) in &edits {
            prop_assert_eq!(batch.longest_match(name), single.longest_match(name));
        }
        prop_assert_eq!(batch.prefixes(), single.prefixes());
    }
}

/// What an adversary can do without the key is choose names: many that differ in as little as can be, of every depth.
#[test]
fn no_choice_of_names_makes_a_look_up_long() {
    for key in [HashKey(1, 2), HashKey(u64::MAX, 3), HashKey(0x5555_5555, 0xaaaa_aaaa)] {
        let mut builder = FibBuilder::new(key);
        let flat = (0..30_000_u32).map(|i| Name::from_components([format!("{i:08x}").as_str()]).unwrap());
        let bits = (0..30_000_u32).map(|i| {
            let letters: Vec<&str> = (0..16).map(|bit| if i >> bit & 1 == 1 { "a" } else { "b" }).collect();
            Name::from_components(letters).unwrap()
        });
        let deep = (0..32).map(|depth| Name::from_components(vec!["z"; depth + 1]).unwrap());
        let fib = builder.apply(flat.chain(bits).chain(deep).map(|name| set(&name, false)));
        assert_eq!(fib.prefixes(), 60_032);
        // At most half full and evenly spread: runs stay short, whoever chose the names.
        assert!(fib.longest_probe() <= 64, "{} slots", fib.longest_probe());
    }
}
