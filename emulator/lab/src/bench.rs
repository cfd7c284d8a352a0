//! A lab of bare links, to learn what this host can do: which backend serves, and how faithfully.

use crate::control::{Direction, LinkChange, Status};
use crate::error::Result;
use crate::job::{EndJob, Job, LinkJob, LinksBy, NodeJob};
use crate::lab::{self, Lab};
use crate::relay::calibrate::{Calibration, Depth};
use damc_impair::{DirectionChange, DirectionSpec};

const NEAR: &str = "near";
const FAR: &str = "far";
const PLAIN: &str = "plain";

/// Namespaces without processes, an impairable link and a plain one.
#[derive(Debug)]
pub struct Bench {
    lab: Lab,
}

impl Bench {
    /// Builds it, beside whatever labs are up.
    ///
    /// # Errors
    /// When this host cannot make labs, or not with that backend.
    pub async fn up(links_by: LinksBy) -> Result<Self> {
        let name = format!("bench-{}", std::process::id());
        let end = |node: &str, far: &str, side| EndJob {
            node: node.to_owned(),
            interface: far.to_owned(),
            address: [2, 0xda, 0xff, 0, 0, side],
        };
        let link = |a: &str, b: &str, side: u8, spec: DirectionSpec| LinkJob {
            a: end(a, b, side),
            b: end(b, a, side + 1),
            forward: spec,
            backward: spec,
        };
        let delayed = DirectionSpec { delay_ns: 1_000_000, ..DirectionSpec::default() };
        let node = |name: &str| NodeJob {
            name: name.to_owned(),
            kind: "bare".to_owned(),
            argv: Vec::new(),
            names: Vec::new(),
        };
        let job = Job {
            lab: name.clone(),
            topology: "bench".to_owned(),
            domain: "example".to_owned(),
            seed: 1,
            links_by,
            all_relayed: false,
            program: lab::program()?,
            began_at_ns: damc_link::monotonic_now(),
            record_bytes: 0,
            record_every_ms: 0,
            ready_within_ms: 1000,
            nodes: vec![node(NEAR), node(FAR), node(PLAIN)],
            links: vec![link(NEAR, FAR, 0, delayed), link(NEAR, PLAIN, 2, DirectionSpec::default())],
        };
        let lab = Lab::build(&name, PLAIN.len(), false, |_| Ok(job), |_| {}).await?;
        Ok(Self { lab })
    }

    /// What serves its link, and why.
    ///
    /// # Errors
    /// When the lab is gone.
    pub async fn status(&self) -> Result<Status> {
        self.lab.status().await
    }

    /// Measures the link.
    ///
    /// # Errors
    /// When it cannot be measured.
    pub async fn calibrate(&self, depth: Depth) -> Result<Calibration> {
        self.lab.calibrate(NEAR, FAR, depth).await
    }

    /// Puts a rate on the plain link.
    ///
    /// # Errors
    /// When the kernel cannot do that.
    pub async fn shape(&self) -> Result<()> {
        let properties = DirectionChange { rate_bps: Some(10_000_000), ..DirectionChange::default() };
        self.lab.link(NEAR, PLAIN, LinkChange::Set { direction: Direction::Both, properties }).await
    }

    /// Takes it down.
    ///
    /// # Errors
    /// When it does not go away.
    pub async fn down(self) -> Result<()> {
        self.lab.down().await
    }
}
