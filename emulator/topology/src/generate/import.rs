//! Other people's maps: Internet Topology Zoo (GML, GraphML), Mini-NDN and containerlab.

use super::{Backbone, MOST_ROUTERS, Router, Trunk, gml, graphml, minindn};

/// Format of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// GML, as the Internet Topology Zoo writes it.
    Gml,
    /// GraphML, as the Internet Topology Zoo writes it.
    GraphMl,
    /// Mini-NDN's configuration.
    MiniNdn,
    /// Containerlab's topology file.
    Containerlab,
}

impl Format {
    /// The format of a file by the end of its name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let (stem, extension) = name.rsplit_once('.')?;
        match extension {
            "gml" => Some(Self::Gml),
            "graphml" | "xml" => Some(Self::GraphMl),
            "conf" => Some(Self::MiniNdn),
            // Topologies of our own end in `.yaml` too.
            "yml" | "yaml" if stem.ends_with(".clab") => Some(Self::Containerlab),
            _ => None,
        }
    }
}

/// Longest map, in bytes; those of the Internet Topology Zoo have 300 kB at most.
pub const MAX_MAP_LEN: usize = 8 << 20;

/// Reads a map. `label` names it where it does not name itself.
///
/// # Errors
/// What cannot be read, with its line where there is one.
pub fn import(text: &str, format: Format, label: &str) -> Result<Backbone, String> {
    if text.len() > MAX_MAP_LEN {
        return Err(format!("longer than {} MiB: no map is", MAX_MAP_LEN >> 20));
    }
    let mut backbone = match format {
        Format::Gml => gml::read(text)?,
        Format::GraphMl => graphml::read(text)?,
        Format::MiniNdn => minindn::read(text)?,
        Format::Containerlab => crate::containerlab::map(text)?,
    };
    if backbone.label.is_empty() {
        label.clone_into(&mut backbone.label);
    }
    backbone.notes.insert(0, format!("Imported: {}.", backbone.label));
    if backbone.routers.len() > MOST_ROUTERS {
        return Err(format!("{} nodes: at most {MOST_ROUTERS} are imported", backbone.routers.len()));
    }
    backbone.simplify();
    backbone.keep_largest_part();
    if backbone.routers.len() < 2 {
        return Err("no two nodes of it are linked".to_owned());
    }
    Ok(backbone)
}

/// A node of a map with the members that the Topology Zoo gives it.
#[derive(Debug, Default)]
pub(crate) struct Place {
    pub(crate) id: String,
    pub(crate) label: Option<String>,
    pub(crate) latitude: Option<f64>,
    pub(crate) longitude: Option<f64>,
}

/// An edge of a map.
#[derive(Debug, Default)]
pub(crate) struct Line {
    pub(crate) source: String,
    pub(crate) target: String,
    pub(crate) bits_per_second: Option<f64>,
}

/// Light in fibre, km/s, along a great circle: real ones are longer, so this is the least delay there can be.
const FIBRE_KM_PER_S: f64 = 200_000.0;
const EARTH_RADIUS_KM: f64 = 6_371.0;
/// Shortest delay that is written, µs.
const LEAST_DELAY_US: u64 = 100;

/// Puts a map of the Topology Zoo together: delays follow from where the ends are, where that is known.
pub(crate) fn assemble(label: String, places: Vec<Place>, lines: &[Line]) -> Result<Backbone, String> {
    let mut index = std::collections::BTreeMap::new();
    for (i, place) in places.iter().enumerate() {
        if index.insert(place.id.clone(), i).is_some() {
            return Err(format!("two nodes have the id {}", place.id));
        }
    }
    let find =
        |id: &str| index.get(id).copied().ok_or_else(|| format!("an edge names the node {id}, which is missing"));
    let mut trunks = Vec::new();
    for line in lines {
        let (a, b) = (find(&line.source)?, find(&line.target)?);
        let delay_us = place_of(&places[a]).zip(place_of(&places[b])).map(|(a, b)| delay_us(a, b));
        let rate_kbit = line.bits_per_second.and_then(kbit);
        trunks.push(Trunk { delay_us, rate_kbit, ..Trunk::between(a, b) });
    }
    let routers = places.into_iter().map(|place| Router {
        // North is up.
        at: place_of(&place).map(|(latitude, longitude)| (longitude, -latitude)),
        label: place.label.unwrap_or(place.id),
    });
    let notes = vec![
        "Delays are those of light in fibre along great circles, 1 ms where places are unknown; rates as the map has them."
            .to_owned(),
    ];
    Ok(Backbone { label, notes, routers: routers.collect(), trunks })
}

fn place_of(place: &Place) -> Option<(f64, f64)> {
    place.latitude.zip(place.longitude).filter(|(a, b)| a.abs() <= 90.0 && b.abs() <= 180.0)
}

/// From 1 kbit/s to 1 Tbit/s, as links of a topology may have.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
fn kbit(bits_per_second: f64) -> Option<u64> {
    (bits_per_second >= 1_000.0).then(|| (bits_per_second / 1_000.0).min(1e9) as u64)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most a tenth of a second")]
fn delay_us((lat_a, lon_a): (f64, f64), (lat_b, lon_b): (f64, f64)) -> u64 {
    let (lat_a, lat_b) = (lat_a.to_radians(), lat_b.to_radians());
    let half = |x: f64| (x / 2.0).sin().powi(2);
    let chord = half(lat_b - lat_a) + lat_a.cos() * lat_b.cos() * half((lon_b - lon_a).to_radians());
    let km = 2.0 * EARTH_RADIUS_KM * chord.sqrt().min(1.0).asin();
    ((km / FIBRE_KM_PER_S * 1e6) as u64).max(LEAST_DELAY_US)
}
