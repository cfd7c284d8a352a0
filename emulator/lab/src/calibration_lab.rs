//! A lab of bare links, to learn what this host can do: which backend serves, and how faithfully.

use damc_impair::{DirectionChange, DirectionSpec};
use damc_mgmt::config::Timers;
use damc_topology::plan::{LinkEnd, Plan, PlannedLink};

use crate::control::{Direction, LinkChange, Status};
use crate::error::Result;
use crate::job::{Choices, Job, LinksBy};
use crate::lab::{self, Lab};
use crate::relay::calibrate::{Calibration, Depth};

const NEAR: &str = "near";
const FAR: &str = "far";
const PLAIN: &str = "plain";

/// Namespaces without processes, an impairable link and a plain one.
#[derive(Debug)]
pub struct CalibrationLab {
    lab: Lab,
}

impl CalibrationLab {
    /// Builds it, beside whatever labs are up.
    ///
    /// # Errors
    /// When this host cannot make labs, or not with that backend.
    pub async fn up(links_by: LinksBy) -> Result<Self> {
        let name = format!("bench-{}", std::process::id());
        let job = Job {
            plan: plan(&name),
            choices: Choices {
                links_by,
                all_relayed: false,
                program: lab::program()?,
                began_at_ns: damc_link::monotonic_now(),
                record_bytes: 0,
                record_every_ms: 0,
                ready_within_ms: 1000,
            },
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

/// Namespaces and links, and no processes.
fn plan(lab: &str) -> Plan {
    let end = |node: &str, far: &str, side| LinkEnd {
        node: node.to_owned(),
        interface: far.to_owned(),
        address: [2, 0xda, 0xff, 0, 0, side],
        cost: 1,
    };
    let link = |a: &str, b: &str, side: u8, spec: DirectionSpec| PlannedLink {
        a: end(a, b, side),
        b: end(b, a, side + 1),
        forward: spec,
        backward: spec,
        impaired: !spec.is_plain(),
    };
    let delayed = DirectionSpec { delay_ns: 1_000_000, ..DirectionSpec::default() };
    Plan {
        lab: lab.to_owned(),
        topology: "bench".to_owned(),
        domain: "example".to_owned(),
        seed: 1,
        timers: Timers::default(),
        namespaces: [NEAR, FAR, PLAIN].map(str::to_owned).into(),
        links: vec![link(NEAR, FAR, 0, delayed), link(NEAR, PLAIN, 2, DirectionSpec::default())],
        processes: Vec::new(),
    }
}
