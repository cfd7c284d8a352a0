//! A graph of routers, from wherever it came.

use std::collections::BTreeSet;

/// A router of a backbone.
#[derive(Clone, Debug, PartialEq)]
pub struct Router {
    /// What it is called, in whatever letters.
    pub label: String,
    /// Where drawings put it, right and down, in any scale.
    pub at: Option<(f64, f64)>,
}

/// A link of a backbone.
#[derive(Clone, Debug, PartialEq)]
pub struct Trunk {
    /// One end, as an index of [`Backbone::routers`].
    pub a: usize,
    /// The other end.
    pub b: usize,
    /// Delay each way, µs.
    pub delay_us: Option<u64>,
    /// Rate each way, kbit/s.
    pub rate_kbit: Option<u64>,
    /// Frames lost, per cent.
    pub loss_percent: Option<f64>,
}

impl Trunk {
    /// A link of which nothing but the ends is known.
    #[must_use]
    pub const fn between(a: usize, b: usize) -> Self {
        Self { a, b, delay_us: None, rate_kbit: None, loss_percent: None }
    }
}

/// A graph of routers.
#[derive(Clone, Debug, PartialEq)]
pub struct Backbone {
    /// What it is called, in whatever letters.
    pub label: String,
    /// Lines for the header of the file: where it came from, what was left out.
    pub notes: Vec<String>,
    /// The routers.
    pub routers: Vec<Router>,
    /// The links between them.
    pub trunks: Vec<Trunk>,
}

impl Backbone {
    /// Makes a simple graph of it: no link of a router to itself, and of several between two routers the first. Says so
    /// in the notes.
    pub(super) fn simplify(&mut self) {
        let before = self.trunks.len();
        let mut known = BTreeSet::new();
        self.trunks.retain(|t| t.a != t.b && known.insert((t.a.min(t.b), t.a.max(t.b))));
        let dropped = before - self.trunks.len();
        if dropped > 0 {
            self.notes.push(format!("{dropped} parallel links and links of a router to itself are left out."));
        }
    }

    /// Keeps the largest connected part. Says so in the notes.
    pub(super) fn keep_largest_part(&mut self) {
        let parts = self.parts();
        let count = parts.iter().max().map_or(0, |most| most + 1);
        let size = |part: usize| parts.iter().filter(|p| **p == part).count();
        let Some(largest) = (0..count).max_by_key(|part| (size(*part), usize::MAX - part)) else { return };
        let left_out = self.routers.len() - size(largest);
        if left_out == 0 {
            return;
        }
        let mut renumbered = vec![usize::MAX; self.routers.len()];
        let mut routers = Vec::new();
        for (old, router) in self.routers.drain(..).enumerate() {
            if parts[old] == largest {
                renumbered[old] = routers.len();
                routers.push(router);
            }
        }
        self.routers = routers;
        self.trunks.retain(|t| parts[t.a] == largest);
        for trunk in &mut self.trunks {
            (trunk.a, trunk.b) = (renumbered[trunk.a], renumbered[trunk.b]);
        }
        self.notes.push(format!("{left_out} routers without a way to the others are left out."));
    }

    /// The number of each router's connected part; parts are numbered by their first router.
    pub(super) fn parts(&self) -> Vec<usize> {
        parts(self.routers.len(), &self.trunks)
    }

    pub(super) fn neighbours(&self) -> Vec<Vec<usize>> {
        neighbours(self.routers.len(), &self.trunks)
    }

    /// Links from `from` to each router, in links; `usize::MAX` where there is no way.
    pub(super) fn hops(neighbours: &[Vec<usize>], from: usize) -> Vec<usize> {
        let mut hops = vec![usize::MAX; neighbours.len()];
        hops[from] = 0;
        let mut queue = std::collections::VecDeque::from([from]);
        while let Some(at) = queue.pop_front() {
            for next in &neighbours[at] {
                if hops[*next] == usize::MAX {
                    hops[*next] = hops[at] + 1;
                    queue.push_back(*next);
                }
            }
        }
        hops
    }
}

/// The number of the connected part of each of so many routers; parts are numbered by their first router.
pub(super) fn parts(routers: usize, trunks: &[Trunk]) -> Vec<usize> {
    let neighbours = neighbours(routers, trunks);
    let mut part = vec![usize::MAX; routers];
    let mut count = 0;
    for start in 0..routers {
        if part[start] != usize::MAX {
            continue;
        }
        part[start] = count;
        let mut open = vec![start];
        while let Some(at) = open.pop() {
            for next in &neighbours[at] {
                if part[*next] == usize::MAX {
                    part[*next] = count;
                    open.push(*next);
                }
            }
        }
        count += 1;
    }
    part
}

fn neighbours(routers: usize, trunks: &[Trunk]) -> Vec<Vec<usize>> {
    let mut neighbours = vec![Vec::new(); routers];
    for trunk in trunks {
        neighbours[trunk.a].push(trunk.b);
        neighbours[trunk.b].push(trunk.a);
    }
    neighbours
}
