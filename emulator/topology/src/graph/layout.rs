//! Where nodes go.
//!
//! Nodes with a `position` stay there. The others are placed by stress majorisation (Gansner, Koren, North 2004): distances
//! on paper come as near as possible to distances in the graph, so rings come out round and grids square. A topology
//! without any position is turned so that the SCSC is on top.

use std::collections::{BTreeMap, HashMap, VecDeque};

use damc_wire::NodeId;
use damc_wire::registry::Role;

use crate::Topology;

/// A place on paper, in node distances: right and down.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// Right.
    pub x: f64,
    /// Down.
    pub y: f64,
}

/// The place of every node.
pub type Layout = BTreeMap<NodeId, Point>;

/// Operations on pairs of nodes that a layout may take: bounds its time for very large topologies.
const PAIR_BUDGET: usize = 200_000_000;
/// Rounds that are enough for every topology of reasonable size.
const MAX_ROUNDS: usize = 300;
/// Length of a link to a pod or an SPA; other links have length 1.
const LEAF_LENGTH: f64 = 0.8;

/// Places the nodes of a topology.
#[must_use]
pub fn layout(topology: &Topology) -> Layout {
    let ids: Vec<&NodeId> = topology.nodes().keys().collect();
    let hints: Vec<Option<Point>> =
        topology.nodes().values().map(|node| node.position.map(|(x, y)| Point { x, y })).collect();
    let pinned = hints.iter().flatten().count();
    let mut points: Vec<Point> = hints.iter().enumerate().map(|(i, hint)| hint.unwrap_or_else(|| start(i))).collect();
    if pinned < ids.len() {
        let distances = distances(topology, &ids);
        majorise(&mut points, &hints, &distances);
    }
    if pinned == 0 {
        turn(topology, &ids, &mut points);
    }
    ids.into_iter().cloned().zip(points).collect()
}

/// A sunflower: no two nodes start in one place, and no axis is preferred.
fn start(index: usize) -> Point {
    #[expect(clippy::cast_precision_loss, reason = "a few thousand at most")]
    let n = index as f64;
    let (angle, radius) = (n * 2.399_963, (n + 0.5).sqrt() * 0.6);
    Point { x: radius * angle.cos(), y: radius * angle.sin() }
}

/// Length of the shortest way between every two nodes; `f32` because thousands of nodes make millions of pairs.
fn distances(topology: &Topology, ids: &[&NodeId]) -> Vec<Vec<f32>> {
    let index: HashMap<&NodeId, usize> = ids.iter().enumerate().map(|(i, id)| (*id, i)).collect();
    let is_leaf = |id: &NodeId| topology.nodes().get(id).is_some_and(|n| matches!(n.kind, Role::Pod | Role::Spa));
    let mut neighbours: Vec<Vec<(usize, f64)>> = vec![Vec::new(); ids.len()];
    for link in topology.links() {
        let length = if is_leaf(&link.a) || is_leaf(&link.b) { LEAF_LENGTH } else { 1.0 };
        let (a, b) = (index[&link.a], index[&link.b]);
        neighbours[a].push((b, length));
        neighbours[b].push((a, length));
    }
    (0..ids.len()).map(|from| lengths_from(from, &neighbours)).collect()
}

/// Breadth first: leaves are ends of every way, so fewest hops is shortest.
fn lengths_from(from: usize, neighbours: &[Vec<(usize, f64)>]) -> Vec<f32> {
    let mut lengths = vec![f64::NAN; neighbours.len()];
    lengths[from] = 0.0;
    let mut waiting = VecDeque::from([from]);
    while let Some(node) = waiting.pop_front() {
        for &(next, length) in &neighbours[node] {
            if lengths[next].is_nan() {
                lengths[next] = lengths[node] + length;
                waiting.push_back(next);
            }
        }
    }
    #[expect(clippy::cast_possible_truncation, reason = "a drawing needs no more")]
    lengths.into_iter().map(|length| length as f32).collect()
}

fn majorise(points: &mut [Point], hints: &[Option<Point>], distances: &[Vec<f32>]) {
    let pairs = points.len() * points.len();
    let rounds = (PAIR_BUDGET / pairs.max(1)).clamp(5, MAX_ROUNDS);
    for _ in 0..rounds {
        let mut moved: f64 = 0.0;
        for i in 0..points.len() {
            if hints[i].is_some() {
                continue;
            }
            let target = pulled(i, points, &distances[i]);
            moved = moved.max((target.x - points[i].x).hypot(target.y - points[i].y));
            points[i] = target;
        }
        if moved < 1e-4 {
            break;
        }
    }
}

/// Where all others together want node `i`: each at its distance, the near ones insisting more.
fn pulled(i: usize, points: &[Point], distances: &[f32]) -> Point {
    let here = points[i];
    let (mut sum, mut weights) = (Point::default(), 0.0);
    for (j, there) in points.iter().enumerate() {
        let wanted = f64::from(distances[j]);
        if j == i || wanted.is_nan() {
            continue;
        }
        let weight = 1.0 / (wanted * wanted);
        let (dx, dy) = (here.x - there.x, here.y - there.y);
        let scale = wanted / dx.hypot(dy).max(1e-9);
        sum.x += weight * (there.x + dx * scale);
        sum.y += weight * (there.y + dy * scale);
        weights += weight;
    }
    if weights > 0.0 { Point { x: sum.x / weights, y: sum.y / weights } } else { here }
}

/// Turns the drawing so that the SCSC is above the middle of all nodes, and mirrors it so that nodes run from left to
/// right in the order of their identities rather than the other way.
fn turn(topology: &Topology, ids: &[&NodeId], points: &mut [Point]) {
    #[expect(clippy::cast_precision_loss, reason = "a few thousand at most")]
    let count = points.len() as f64;
    let middle = Point {
        x: points.iter().map(|p| p.x).sum::<f64>() / count,
        y: points.iter().map(|p| p.y).sum::<f64>() / count,
    };
    let Some(scsc) = topology.of_kind(Role::Scsc).next() else { return };
    let Some(top) = ids.iter().position(|id| **id == scsc.id).map(|i| points[i]) else { return };
    let (dx, dy) = (top.x - middle.x, top.y - middle.y);
    if dx.hypot(dy) < 1e-6 {
        return;
    }
    let angle = -std::f64::consts::FRAC_PI_2 - dy.atan2(dx);
    let (sin, cos) = angle.sin_cos();
    for point in points.iter_mut() {
        let (x, y) = (point.x - middle.x, point.y - middle.y);
        *point = Point { x: x * cos - y * sin, y: x * sin + y * cos };
    }
    #[expect(clippy::cast_precision_loss, reason = "a few thousand at most")]
    let order: f64 = points.iter().enumerate().map(|(i, point)| point.x * (i as f64 - (count - 1.0) / 2.0)).sum();
    if order < 0.0 {
        points.iter_mut().for_each(|point| point.x = -point.x);
    }
}
