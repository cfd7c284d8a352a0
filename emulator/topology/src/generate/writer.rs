//! From a graph of routers to the text of a topology file.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Backbone, Trunk};

/// Routers for each gateway where nobody says how many gateways there are, and the bounds of that.
const ROUTERS_PER_GATEWAY: usize = 8;
const GATEWAYS: std::ops::RangeInclusive<usize> = 2..=32;
/// Longest name of a router, so that what is put before or behind it still fits.
const LONGEST_NAME: usize = 28;
/// Width of drawings in node distances.
const WIDTH: f64 = 24.0;

impl Backbone {
    /// The text of a topology file: the routers as SRs; so many SGs at those with the fewest links, each with an SPA
    /// and a pod, whose services form two pools; a scheduling centre in the middle. `name` and `gateways` are chosen
    /// where absent.
    ///
    /// # Errors
    /// There are more gateways than routers, or fewer than one.
    pub fn dress(&self, name: Option<&str>, gateways: Option<usize>) -> Result<String, String> {
        let most = self.routers.len();
        let usual = (most / ROUTERS_PER_GATEWAY).clamp(*GATEWAYS.start(), *GATEWAYS.end()).min(most);
        let count = gateways.unwrap_or(usual);
        if !(1..=most).contains(&count) {
            return Err(format!("{count} gateways: from 1 to {most}, one for each router at most"));
        }
        let names = self.names();
        let homes = self.homes(count);
        let mut text = String::from("# yaml-language-server: $schema=topology.schema.json\n#\n");
        for note in &self.notes {
            let _ = writeln!(text, "# {}", note.replace(|c: char| c.is_control(), " "));
        }
        let name = name.map_or_else(|| plain(&self.label), ToOwned::to_owned);
        let _ = write!(text, "name: {name}\ndomain: example\n\ndefaults:\n  link: {{ delay: 1ms, rate: 1gbit }}\n");
        self.write_nodes(&mut text, &names, count);
        let centre = self.centre();
        self.write_links(&mut text, &names, &homes, centre);
        let _ = write!(
            text,
            "\nqos:\n  thresholds:\n    default: {{ bandwidth: 1mbit, delay: {}ms, jitter: 20ms }}\n",
            self.delay_limit_ms(centre.0)
        );
        Ok(text)
    }

    fn write_nodes(&self, text: &mut String, names: &[String], gateways: usize) {
        text.push_str("\nnodes:\n  scsc: { kind: scsc }\n");
        for (name, at) in names.iter().zip(self.positions()) {
            let position = at.map(|(x, y)| format!(", position: [{x:.1}, {y:.1}]")).unwrap_or_default();
            let _ = writeln!(text, "  {name}: {{ kind: sr{position} }}");
        }
        for i in 1..=gateways {
            let pool = if i % 2 == 1 { "/A" } else { "/B" };
            let _ = writeln!(text, "  sg-{i}: {{ kind: sg }}\n  spa-{i}: {{ kind: spa }}");
            let _ = writeln!(text, "  pod-{i}: {{ kind: pod, services: [{{ prefix: {pool}/{i}, pool: {pool} }}] }}");
        }
    }

    fn write_links(
        &self,
        text: &mut String,
        names: &[String],
        homes: &[usize],
        (centre, second): (usize, Option<usize>),
    ) {
        text.push_str("\nlinks:\n");
        for trunk in &self.trunks {
            let (a, b) = (&names[trunk.a], &names[trunk.b]);
            let properties = properties(trunk);
            let _ = if properties.is_empty() {
                writeln!(text, "  - [{a}, {b}]")
            } else {
                writeln!(text, "  - {{ between: [{a}, {b}], {properties} }}")
            };
        }
        let _ = writeln!(text, "  - [scsc, {}]", names[centre]);
        if let Some(second) = second {
            let _ = writeln!(text, "  - [scsc, {}]", names[second]);
        }
        for (home, i) in homes.iter().zip(1..) {
            let _ = writeln!(text, "  - [sg-{i}, {}]\n  - [spa-{i}, sg-{i}]\n  - [pod-{i}, sg-{i}]", names[*home]);
        }
    }

    /// Identities of the routers: their labels in the letters an identity may have, told apart by numbers.
    fn names(&self) -> Vec<String> {
        let mut taken = BTreeSet::new();
        let mut names = Vec::new();
        for router in &self.routers {
            let mut base = plain(&router.label);
            // What gateways and their company are called.
            if ["sg", "spa", "pod", "scsc"].iter().any(|kind| base == *kind || base.starts_with(&format!("{kind}-"))) {
                base.insert_str(0, "sr-");
            }
            let numbered = (2..).map(|n| format!("{base}-{n}"));
            let name = std::iter::once(base.clone()).chain(numbered).find(|name| !taken.contains(name));
            let name = name.unwrap_or_default();
            taken.insert(name.clone());
            names.push(name);
        }
        names
    }

    /// The routers that get a gateway: those with the fewest links, and of equal ones some from everywhere.
    fn homes(&self, count: usize) -> Vec<usize> {
        let neighbours = self.neighbours();
        let mut routers: Vec<usize> = (0..self.routers.len()).collect();
        routers.sort_by_key(|r| neighbours[*r].len());
        let border = neighbours[routers[count - 1]].len();
        let (mut homes, rest): (Vec<usize>, Vec<usize>) =
            routers.into_iter().filter(|r| neighbours[*r].len() <= border).partition(|r| neighbours[*r].len() < border);
        let missing = count - homes.len();
        homes.extend((0..missing).map(|i| rest[i * rest.len() / missing]));
        homes.sort_unstable();
        homes
    }

    /// A router in the middle, and a neighbour of it: the middle of a longest way that two searches find.
    fn centre(&self) -> (usize, Option<usize>) {
        let neighbours = self.neighbours();
        let farthest = |hops: &[usize]| (0..hops.len()).max_by_key(|r| (hops[*r], usize::MAX - r)).unwrap_or(0);
        let one = farthest(&Self::hops(&neighbours, 0));
        let from_one = Self::hops(&neighbours, one);
        let other = farthest(&from_one);
        let from_other = Self::hops(&neighbours, other);
        let half = from_one[other] / 2;
        let on_the_way = |r: &usize| from_one[*r] == half && from_one[*r] + from_other[*r] == from_one[other];
        let centre = (0..self.routers.len()).find(on_the_way).unwrap_or(0);
        (centre, neighbours[centre].iter().min().copied())
    }

    /// A limit that no path of the quiet network is near: twice the sum of the slowest links of a longest way, and more.
    fn delay_limit_ms(&self, centre: usize) -> u64 {
        let slowest = self.trunks.iter().map(|t| t.delay_us.unwrap_or(1_000)).max().unwrap_or(1_000);
        let radius = Self::hops(&self.neighbours(), centre).into_iter().max().unwrap_or(0) as u64;
        let limit = (2 * 2 * radius * slowest).div_ceil(1_000) + 40;
        limit.next_multiple_of(10).min(59_000)
    }

    /// Positions in the scale of drawings.
    fn positions(&self) -> Vec<Option<(f64, f64)>> {
        let known: Vec<(f64, f64)> = self.routers.iter().filter_map(|r| r.at).collect();
        // A drawing of which only some places are known is laid out better as a whole.
        if known.len() < self.routers.len() {
            return vec![None; self.routers.len()];
        }
        let least = known.iter().fold((f64::MAX, f64::MAX), |l, p| (l.0.min(p.0), l.1.min(p.1)));
        let most = known.iter().fold((f64::MIN, f64::MIN), |m, p| (m.0.max(p.0), m.1.max(p.1)));
        let side = (most.0 - least.0).max(most.1 - least.1);
        let scale = if side > 0.0 { WIDTH / side } else { 1.0 };
        known.into_iter().map(|p| Some(((p.0 - least.0) * scale, (p.1 - least.1) * scale))).collect()
    }
}

fn properties(trunk: &Trunk) -> String {
    let delay = trunk.delay_us.map(|us| format!("delay: {us}us"));
    let rate = trunk.rate_kbit.map(|kbit| format!("rate: {kbit}kbit"));
    let loss = trunk.loss_percent.map(|percent| format!("loss: {percent}%"));
    [delay, rate, loss].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A label in the letters of an identity: lower case, digits, and a hyphen for everything else.
fn plain(label: &str) -> String {
    let mut plain = String::new();
    for c in label.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_alphanumeric() {
            plain.push(c);
        } else if !plain.is_empty() && !plain.ends_with('-') {
            plain.push('-');
        }
    }
    plain.truncate(LONGEST_NAME);
    let plain = plain.trim_end_matches('-');
    if plain.is_empty() { "sr".to_owned() } else { plain.to_owned() }
}
