//! The drawing itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use damc_wire::NodeId;
use damc_wire::registry::Role;

use super::layout::{Layout, Point, layout};
use super::{Drawing, Look, Path, link_labels};
use crate::{Node, Topology};

/// Pixels of one node distance.
const UNIT: f64 = 120.0;
/// Pixels around the nodes.
const MARGIN: f64 = 36.0;
/// Height of a line of text, and width of a letter, as they come out in a 13 px sans.
const LINE: f64 = 16.0;
const LETTER: f64 = 7.4;
const SMALL_LETTER: f64 = 6.0;
/// Height of a row of the legend.
const LEGEND_ROW: f64 = 22.0;
/// Pixels between two paths on one link.
const PATH_GAP: f64 = 5.0;
/// Colours of paths, told apart by the colour-blind too (Okabe, Ito).
const PATH_COLOURS: [&str; 6] = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// Draws a topology.
#[must_use]
pub fn svg(topology: &Topology, drawing: &Drawing) -> String {
    let sheet = Sheet::new(topology, drawing);
    let mut out = String::new();
    sheet.begin(&mut out, drawing);
    sheet.links(&mut out);
    sheet.paths(&mut out, drawing);
    sheet.nodes(&mut out);
    sheet.labels(&mut out, drawing);
    sheet.legend(&mut out);
    out.push_str("</svg>\n");
    out
}

/// A topology on paper, in pixels.
struct Sheet<'a> {
    topology: &'a Topology,
    places: BTreeMap<&'a NodeId, Point>,
    width: f64,
    /// Height of the drawing proper; the legend comes below.
    height: f64,
    legend: Vec<Entry>,
}

/// A line of the legend.
struct Entry {
    swatch: Swatch,
    text: String,
}

enum Swatch {
    Kind(Role),
    Path(&'static str),
}

impl<'a> Sheet<'a> {
    fn new(topology: &'a Topology, drawing: &Drawing) -> Self {
        let layout: Layout = layout(topology);
        let head = if drawing.title.is_some() { 34.0 } else { 0.0 };
        // Boxes reach beyond their places by different widths: the edges of the sheet follow the boxes.
        let edges = topology.nodes().values().filter_map(|node| {
            let (place, (w, h)) = (layout.get(&node.id)?, size(node));
            let (x, y) = (place.x * UNIT, place.y * UNIT);
            Some((x - w / 2.0, y - h / 2.0, x + w / 2.0, y + h / 2.0))
        });
        let (left, top, right, bottom) =
            edges.reduce(|a, b| (a.0.min(b.0), a.1.min(b.1), a.2.max(b.2), a.3.max(b.3))).unwrap_or_default();
        let places = topology.nodes().keys().filter_map(|id| {
            let place = layout.get(id)?;
            Some((id, Point { x: place.x * UNIT - left + MARGIN, y: place.y * UNIT - top + MARGIN + head }))
        });
        Self {
            topology,
            places: places.collect(),
            width: (right - left + 2.0 * MARGIN).max(360.0),
            height: bottom - top + 2.0 * MARGIN + head,
            legend: legend(topology, drawing),
        }
    }

    fn begin(&self, out: &mut String, drawing: &Drawing) {
        let height = self.height + self.legend_height() + 8.0;
        let (width, name) = (self.width, self.topology.name());
        let _ = writeln!(
            out,
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0} {height:.0}" width="{width:.0}" height="{height:.0}" font-family="Helvetica, Arial, 'DejaVu Sans', sans-serif" font-size="13" fill="#1d2733" role="img" aria-label="topology {name}">"##
        );
        let _ = writeln!(out, r##"<rect width="100%" height="100%" fill="#ffffff"/>"##);
        if let Some(title) = &drawing.title {
            let title = escape(title);
            let _ = writeln!(out, r#"<text x="{MARGIN}" y="30" font-size="17" font-weight="bold">{title}</text>"#);
        }
    }

    fn links(&self, out: &mut String) {
        for link in self.topology.links() {
            let Some((a, b)) = self.ends(&link.a, &link.b) else { continue };
            let kinds = [&link.a, &link.b].map(|id| self.topology.nodes().get(id).map(|node| node.kind));
            let style = if kinds.contains(&Some(Role::Scsc)) {
                r##"stroke="#7347b8" stroke-width="1.4" stroke-dasharray="7 4""##
            } else if kinds.contains(&Some(Role::Spa)) {
                r##"stroke="#b97a0a" stroke-width="1.4" stroke-dasharray="2 3""##
            } else if kinds.contains(&Some(Role::Pod)) {
                r##"stroke="#66727f" stroke-width="1.4""##
            } else {
                r##"stroke="#8a97a5" stroke-width="2.2""##
            };
            let _ = writeln!(
                out,
                r#"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" {style}><title>{} – {}</title></line>"#,
                a.x, a.y, b.x, b.y, link.a, link.b
            );
        }
    }

    fn ends(&self, a: &NodeId, b: &NodeId) -> Option<(Point, Point)> {
        Some((*self.places.get(a)?, *self.places.get(b)?))
    }

    /// Every path as a line along its links. Where several share a link they run side by side.
    fn paths(&self, out: &mut String, drawing: &Drawing) {
        for (lane, path) in drawing.paths.iter().enumerate() {
            let colour = PATH_COLOURS[lane % PATH_COLOURS.len()];
            let hops = self.hops(path);
            for (i, (a, b)) in hops.iter().enumerate() {
                let shift = self.lane(drawing, lane, a, b);
                let Some((from, to)) = self.ends(a, b) else { continue };
                let (from, to) = aside(from, to, shift);
                let is_last = i + 1 == hops.len();
                let to = if is_last { self.rim(b, from, to) } else { to };
                let _ = writeln!(
                    out,
                    r#"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" stroke="{colour}" stroke-width="3.6" stroke-linecap="round" opacity="0.85"/>"#,
                    from.x, from.y, to.x, to.y
                );
                if is_last {
                    arrow(out, from, to, colour);
                }
            }
        }
    }

    fn hops(&self, path: &Path) -> Vec<(NodeId, NodeId)> {
        let known: Vec<_> = path.nodes.iter().filter(|id| self.places.contains_key(id)).collect();
        known.windows(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
    }

    /// How far from the link's line, to the right of its way, path number `lane` runs.
    fn lane(&self, drawing: &Drawing, lane: usize, a: &NodeId, b: &NodeId) -> f64 {
        let uses = |path: &Path| self.hops(path).iter().any(|(x, y)| (x, y) == (a, b) || (x, y) == (b, a));
        let sharing: Vec<usize> =
            drawing.paths.iter().enumerate().filter(|(_, path)| uses(path)).map(|(i, _)| i).collect();
        let position = sharing.iter().position(|i| *i == lane).unwrap_or(0);
        #[expect(clippy::cast_precision_loss, reason = "a handful of paths")]
        let shift = (position as f64 - (sharing.len() as f64 - 1.0) / 2.0) * PATH_GAP;
        // One side for both ways: two opposite paths must not fall on one another.
        if a <= b { shift } else { -shift }
    }

    /// Where a line from `from` to `to` meets the box of `node`.
    fn rim(&self, node: &NodeId, from: Point, to: Point) -> Point {
        let Some(node) = self.topology.nodes().get(node) else { return to };
        let (w, h) = size(node);
        let (dx, dy) = (from.x - to.x, from.y - to.y);
        let reach = |half: f64, d: f64| if d.abs() < 1e-9 { f64::INFINITY } else { half / d.abs() };
        let t = reach(w / 2.0 + 3.0, dx).min(reach(h / 2.0 + 3.0, dy)).min(0.9);
        Point { x: to.x + dx * t, y: to.y + dy * t }
    }

    fn nodes(&self, out: &mut String) {
        for node in self.topology.nodes().values() {
            let Some(place) = self.places.get(&node.id) else { continue };
            let (w, h) = size(node);
            let look = Look::of(node.kind);
            let radius = if node.kind == Role::Sr { h / 2.0 } else { 5.0 };
            let (x, y) = (place.x - w / 2.0, place.y - h / 2.0);
            let _ = writeln!(
                out,
                r#"<rect x="{x:.1}" y="{y:.1}" width="{w:.1}" height="{h:.1}" rx="{radius:.1}" fill="{}" stroke="{}" stroke-width="1.6"/>"#,
                look.fill, look.stroke
            );
            let baseline = y + 18.0;
            let _ = writeln!(
                out,
                r#"<text x="{:.1}" y="{baseline:.1}" text-anchor="middle" font-weight="bold">{}</text>"#,
                place.x, node.id
            );
            let mut below = baseline;
            for text in details(node) {
                below += LINE - 2.0;
                let text = escape(&text);
                let _ = writeln!(
                    out,
                    r##"<text x="{:.1}" y="{below:.1}" text-anchor="middle" font-size="11" fill="#4a5663">{text}</text>"##,
                    place.x
                );
            }
        }
    }

    /// A label in the middle of its link, or where directions differ each near the end it starts from.
    fn labels(&self, out: &mut String, drawing: &Drawing) {
        for (link, label) in self.topology.links().iter().zip(link_labels(self.topology, drawing.labels)) {
            let Some((a, b)) = self.ends(&link.a, &link.b) else { continue };
            if let Some(text) = label.same() {
                write_label(out, between(a, b, 0.5), text);
            } else {
                write_label(out, between(a, b, 0.32), &label.forward);
                write_label(out, between(a, b, 0.68), &label.backward);
            }
        }
    }

    /// Places of the legend's entries: kinds side by side, then each path in a row of its own.
    fn legend_places(&self) -> Vec<Point> {
        let (mut x, mut y) = (MARGIN, self.height);
        let mut places = Vec::new();
        for entry in &self.legend {
            #[expect(clippy::cast_precision_loss, reason = "a short text")]
            let width = entry.text.chars().count() as f64 * SMALL_LETTER + 56.0;
            let own_row = matches!(entry.swatch, Swatch::Path(_));
            if x > MARGIN && (own_row || x + width > self.width - MARGIN / 2.0) {
                (x, y) = (MARGIN, y + LEGEND_ROW);
            }
            places.push(Point { x, y });
            x += width;
        }
        places
    }

    fn legend_height(&self) -> f64 {
        self.legend_places().last().map_or(0.0, |last| last.y - self.height + LEGEND_ROW)
    }

    fn legend(&self, out: &mut String) {
        for (entry, Point { x, y }) in self.legend.iter().zip(self.legend_places()) {
            match entry.swatch {
                Swatch::Kind(kind) => {
                    let (look, radius) = (Look::of(kind), if kind == Role::Sr { 6 } else { 2 });
                    let _ = writeln!(
                        out,
                        r#"<rect x="{x:.1}" y="{:.1}" width="22" height="12" rx="{radius}" fill="{}" stroke="{}" stroke-width="1.4"/>"#,
                        y - 10.0,
                        look.fill,
                        look.stroke
                    );
                }
                Swatch::Path(colour) => {
                    let (middle, end) = (y - 4.0, x + 22.0);
                    let _ = writeln!(
                        out,
                        r#"<line x1="{x:.1}" y1="{middle:.1}" x2="{end:.1}" y2="{middle:.1}" stroke="{colour}" stroke-width="3.6" stroke-linecap="round"/>"#
                    );
                }
            }
            let (text, x) = (escape(&entry.text), x + 30.0);
            let _ = writeln!(out, r##"<text x="{x:.1}" y="{y:.1}" font-size="11.5" fill="#4a5663">{text}</text>"##);
        }
    }
}

fn legend(topology: &Topology, drawing: &Drawing) -> Vec<Entry> {
    let present: BTreeSet<Role> = topology.nodes().values().map(|node| node.kind).collect();
    let kinds = present.into_iter().map(|kind| Entry {
        swatch: Swatch::Kind(kind),
        text: format!("{}: {}", kind.label(), Look::of(kind).meaning),
    });
    let paths = drawing.paths.iter().enumerate().map(|(i, path)| Entry {
        swatch: Swatch::Path(PATH_COLOURS[i % PATH_COLOURS.len()]),
        text: path.label.clone(),
    });
    kinds.chain(paths).collect()
}

/// What stands below a node's name.
fn details(node: &Node) -> Vec<String> {
    const SHOWN: usize = 3;
    let mut lines: Vec<String> = node.services.iter().take(SHOWN).map(|s| shortened(&s.prefix.to_string())).collect();
    if node.services.len() > SHOWN {
        lines.push(format!("+ {} more", node.services.len() - SHOWN));
    }
    let flags = [(node.transit, "transit"), (node.overload, "overload"), (node.exec.is_some(), "foreign")];
    lines.extend(flags.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag.to_owned()));
    lines
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= 18 { text.to_owned() } else { text.chars().take(17).chain(['…']).collect() }
}

/// Width and height of a node's box.
fn size(node: &Node) -> (f64, f64) {
    let details = details(node);
    #[expect(clippy::cast_precision_loss, reason = "short texts")]
    let (name, widest, lines) = (
        node.id.as_str().len() as f64 * LETTER + 18.0,
        details.iter().map(|text| text.chars().count()).max().unwrap_or(0) as f64 * SMALL_LETTER + 16.0,
        details.len() as f64,
    );
    (name.max(widest).max(54.0), 26.0 + if lines > 0.0 { lines * (LINE - 2.0) + 3.0 } else { 0.0 })
}

/// Both points moved to the right of the way between them.
fn aside(from: Point, to: Point, shift: f64) -> (Point, Point) {
    let (dx, dy) = (to.x - from.x, to.y - from.y);
    let length = dx.hypot(dy).max(1e-9);
    let (sx, sy) = (-dy / length * shift, dx / length * shift);
    (Point { x: from.x + sx, y: from.y + sy }, Point { x: to.x + sx, y: to.y + sy })
}

fn arrow(out: &mut String, from: Point, to: Point, colour: &str) {
    let (dx, dy) = (to.x - from.x, to.y - from.y);
    let length = dx.hypot(dy).max(1e-9);
    let (ux, uy) = (dx / length, dy / length);
    let (bx, by) = (to.x - ux * 11.0, to.y - uy * 11.0);
    let _ = writeln!(
        out,
        r#"<polygon points="{:.1},{:.1} {:.1},{:.1} {:.1},{:.1}" fill="{colour}"/>"#,
        to.x,
        to.y,
        bx - uy * 6.0,
        by + ux * 6.0,
        bx + uy * 6.0,
        by - ux * 6.0
    );
}

fn between(a: Point, b: Point, share: f64) -> Point {
    Point { x: a.x + (b.x - a.x) * share, y: a.y + (b.y - a.y) * share }
}

fn write_label(out: &mut String, at: Point, text: &str) {
    if text.is_empty() {
        return;
    }
    let (x, y, text) = (at.x, at.y + 4.0, escape(text));
    let _ = writeln!(
        out,
        r##"<text x="{x:.1}" y="{y:.1}" text-anchor="middle" font-size="10.5" fill="#38424d" stroke="#ffffff" stroke-width="4" stroke-linejoin="round" paint-order="stroke">{text}</text>"##
    );
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // Not allowed in XML at all.
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}
