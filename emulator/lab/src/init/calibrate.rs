//! Measuring a link of the lab from inside.

use std::rc::Rc;

use damc_link::{Filter, RawSocket};
use tokio::sync::{mpsc, oneshot};

use super::Lab;
use crate::control::{Direction, LinkChange};
use crate::error::{LabError, Result};
use crate::relay::calibrate::{Calibration, CalibrationLink, Depth, Tolerance, calibrate};
use damc_impair::{DirectionChange, DirectionSpec};

/// A spec to put on the link, and where to say that it is on.
type Order = (DirectionSpec, oneshot::Sender<Result<(), String>>);

/// Measures the direction from `a` to `b`. Whatever the link did before, it is changed on the way and left as the
/// topology has it.
pub(super) async fn run(lab: &Rc<Lab>, a: &str, b: &str, depth: Depth) -> Result<Calibration> {
    let sender = open(lab, a, b, Filter::All)?;
    let receiver = open(lab, b, a, Filter::Everything)?;
    let (orders, mut wanted) = mpsc::unbounded_channel::<Order>();
    let measuring = std::thread::spawn(move || {
        let mut apply = |spec: &DirectionSpec| {
            let (done, wait) = oneshot::channel();
            orders.send((*spec, done)).map_err(|_| "the lab ended".to_owned())?;
            wait.blocking_recv().map_err(|_| "the lab ended".to_owned())?
        };
        calibrate(CalibrationLink { sender, receiver, apply: &mut apply }, depth, Tolerance::default())
    });
    // Ends when the measuring thread drops its side.
    while let Some((spec, done)) = wanted.recv().await {
        let change = LinkChange::Set { direction: Direction::Forward, properties: DirectionChange::from(&spec) };
        let _ = done.send(lab.links.change(a, b, change).await.map_err(|error| error.one_line()));
    }
    let outcome = measuring.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    lab.links.change(a, b, LinkChange::Clear).await?;
    outcome.map_err(LabError::Lab)
}

fn open(lab: &Lab, node: &str, neighbour: &str, filter: Filter) -> Result<RawSocket> {
    let namespace = lab.namespace(node)?;
    let interface = lab.job.plan.interface(node, neighbour);
    let interface = interface.ok_or_else(|| LabError::Refused(format!("{node} has no port {neighbour}")))?;
    namespace.run(|| RawSocket::open_on(interface, filter))?.map_err(|error| LabError::Lab(error.to_string()))
}
