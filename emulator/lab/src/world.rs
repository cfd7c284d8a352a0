//! A lab as what suites stand on.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use damc_mgmt::call::{CallReply, CallRequest};
use damc_mgmt::command::Command;
use damc_mgmt::event::Event;
use damc_mgmt::view::{View, ViewKind};
use damc_testbed::calibration::{Calibration, Depth};
use damc_testbed::recording::{Entry, Header, Wanted};
use damc_testbed::{
    Act, Answer, Asked, LinkChange, LinkState, Maker, NodeAction, Observed, Processes, Stall, World, WorldError,
    WorldKind, WorldStatus,
};
use damc_topology::plan::{KeySeed, Plan};
use damc_topology::timers::Calibration as Reaction;
use futures::future::LocalBoxFuture;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::calibration_lab::CalibrationLab;
use crate::error::Result;
use crate::host_speed;
use crate::job::LinksBy;
use crate::lab::Lab;
use crate::load::{self, LoadWatch};
use crate::recording::Recording;
use crate::up::UpOptions;

/// A lab with the reader of its recording and the watch over its host.
#[derive(Debug)]
pub struct LiveWorld {
    lab: Lab,
    keys: KeySeed,
    header: Header,
    recording: Mutex<Recording>,
    watch: LoadWatch,
    /// Frames that the recording lacked when it was asked last.
    lost: Mutex<u64>,
}

impl LiveWorld {
    /// Takes a lab that is up and keeps a recording.
    ///
    /// # Errors
    /// The recording cannot be read, or the host gives no thread for the watch.
    pub async fn of(lab: Lab, reaction: Reaction) -> Result<Self> {
        let recording = lab.recording().await?;
        let timers = &lab.job().plan.timers;
        let detection = Duration::from_millis(timers.echo_interval_ms * u64::from(timers.echo_multiplier));
        let watch = LoadWatch::start(detection, reaction.stretched(load::PERIOD))
            .map_err(crate::error::LabError::io("watch the host's load"))?;
        let (keys, header) = (lab.key_seed()?, recording.header().clone());
        Ok(Self { lab, keys, header, recording: Mutex::new(recording), watch, lost: Mutex::new(0) })
    }

    /// Lower bound of the number of frames that the recording lacks so far.
    async fn frames_lost(&self) -> u64 {
        let lost = self.lab.status().await.map_or(0, |s| s.recording.lost + u64::from(s.recording.stopped));
        lost + u64::from(!self.recording_is_complete())
    }

    async fn frames_lost_since_last(&self) -> u64 {
        let now = self.frames_lost().await;
        let mut before = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        now.saturating_sub(std::mem::replace(&mut *before, now))
    }
}

impl Observed for LiveWorld {
    fn plan(&self) -> &Plan {
        self.lab.plan()
    }

    fn now_ns(&self) -> u64 {
        self.lab.now_ns()
    }

    fn sleep(&self, span: Duration) -> LocalBoxFuture<'_, ()> {
        self.lab.sleep(span)
    }

    fn view<'a>(&'a self, node: &'a str, kind: ViewKind) -> Answer<'a, View> {
        self.lab.view(node, kind)
    }

    fn status(&self) -> Answer<'_, WorldStatus> {
        Observed::status(&self.lab)
    }

    fn events<'a>(&'a self, node: &'a str) -> Answer<'a, Vec<Event>> {
        Observed::events(&self.lab, node)
    }

    fn acts(&self) -> Answer<'_, Vec<Act>> {
        Observed::acts(&self.lab)
    }

    fn link_status<'a>(&'a self, a: &'a str, b: &'a str) -> Answer<'a, LinkState> {
        Observed::link_status(&self.lab, a, b)
    }

    fn failed(&self) -> LocalBoxFuture<'_, WorldError> {
        Observed::failed(&self.lab)
    }
}

impl World for LiveWorld {
    fn kind(&self) -> WorldKind {
        WorldKind::Live
    }

    fn keys(&self) -> &KeySeed {
        &self.keys
    }

    fn recorded(&self) -> &Header {
        &self.header
    }

    fn flush_recording(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(self.lab.flush_recording().await?) })
    }

    fn drain(&self, tell: &mut dyn FnMut(Entry<'_>)) -> damc_testbed::Result<()> {
        let mut recording = self.recording.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(recording.each(&Wanted { ipv6: true, ..Wanted::default() }, |_, entry| tell(entry))?)
    }

    fn recording_is_complete(&self) -> bool {
        !self.recording.lock().unwrap_or_else(PoisonError::into_inner).missed()
    }

    fn call<'a>(&'a self, pod: &'a str, request: &'a CallRequest) -> Answer<'a, CallReply> {
        Box::pin(async move { Ok(self.lab.call(pod, request).await?) })
    }

    fn order<'a>(&'a self, node: &'a str, order: &'a Command) -> Answer<'a, serde_json::Value> {
        Box::pin(async move { Ok(self.lab.order(node, order).await?) })
    }

    fn link<'a>(&'a self, a: &'a str, b: &'a str, change: LinkChange) -> Answer<'a, ()> {
        Box::pin(async move { Ok(self.lab.link(a, b, change).await?) })
    }

    fn node<'a>(&'a self, name: &'a str, action: NodeAction) -> Answer<'a, ()> {
        Box::pin(async move { Ok(self.lab.node(name, action).await?) })
    }

    fn send<'a>(&'a self, node: &'a str, port: &'a str, pdus: &'a [Vec<u8>], spacing: Duration) -> Answer<'a, ()> {
        Box::pin(async move {
            if spacing.is_zero() {
                self.lab.inject_all(node, port, pdus).await?;
            } else {
                self.lab.inject_stream(node, port, pdus, spacing).await?;
            }
            Ok(())
        })
    }

    fn processes(&self) -> Option<Processes> {
        let (program, directory) = (self.lab.job().choices.program.clone(), self.lab.directory().path().to_owned());
        Some(Processes { lab: self.lab.name().to_owned(), program, directory, find: crate::up::find_program })
    }

    fn disturbed(&self) -> LocalBoxFuture<'_, Option<String>> {
        Box::pin(async {
            let lateness = self.watch.take();
            match self.frames_lost_since_last().await {
                0 => lateness.overloaded().then(|| lateness.to_string()),
                // The recording, the first witness, has gaps.
                lost => Some(format!("{lost} frames were not recorded; {lateness}")),
            }
        })
    }

    fn stalls(&self) -> Vec<Stall> {
        self.watch.stalls()
    }

    fn environment(&self) -> LocalBoxFuture<'_, serde_json::Value> {
        Box::pin(async {
            self.lab.status().await.map_or(serde_json::Value::Null, |status| {
                let resident = status.nodes.iter().map(|n| (n.name.clone(), n.resident_bytes));
                json!({
                    "backend_reason": status.backend_reason,
                    "scheduling": status.scheduling,
                    "phases": status.phases,
                    "resident_bytes": resident.collect::<std::collections::BTreeMap<_, _>>(),
                })
            })
        })
    }

    fn logs(&self) -> Vec<(String, PathBuf)> {
        let directory = self.lab.directory();
        let nodes: Vec<&str> = self.lab.nodes().collect();
        let mut logs: Vec<_> = nodes.iter().map(|node| (format!("{node}.log"), directory.node_log(node))).collect();
        // A node of that name has the place already.
        if !nodes.contains(&"relay") {
            logs.push(("relay.log".to_owned(), directory.relay_log()));
        }
        logs.push(("lab.log".to_owned(), directory.lab_log()));
        logs.retain(|(_, path)| path.exists());
        logs
    }

    fn end(self: Box<Self>, keep: bool) -> LocalBoxFuture<'static, Option<String>> {
        Box::pin(async move {
            let mut lab = self.lab;
            if keep {
                let name = lab.name().to_owned();
                lab.detach();
                return Some(name);
            }
            // A lab that does not end in order ends with its supervisor; no verdict depends on it any more.
            let _ = lab.down().await;
            None
        })
    }
}

/// Makes labs on this host.
#[derive(Debug)]
pub struct LiveMaker {
    links_by: LinksBy,
    reaction: Reaction,
    began: Instant,
}

impl LiveMaker {
    /// Labs whose links are served so. How fast the host reacts is measured, unless `stretch` says it.
    #[must_use]
    pub fn new(links_by: LinksBy, stretch: Option<f64>) -> Self {
        let reaction = stretch.map_or_else(|| host_speed::measure().unwrap_or_default(), Reaction::of);
        Self { links_by, reaction, began: Instant::now() }
    }
}

impl Maker for LiveMaker {
    fn kind(&self) -> WorldKind {
        WorldKind::Live
    }

    fn reaction(&self) -> Reaction {
        self.reaction
    }

    fn calibrate(&self) -> LocalBoxFuture<'_, Option<Calibration>> {
        Box::pin(async {
            let lab = CalibrationLab::up(self.links_by).await.ok()?;
            let calibration = lab.calibrate(Depth::Short).await.ok();
            let _ = lab.down().await;
            calibration
        })
    }

    fn make<'a>(&'a self, asked: &'a Asked<'a>) -> Answer<'a, Box<dyn World>> {
        Box::pin(async move {
            let up = UpOptions {
                lab: Some(asked.name.to_owned()),
                seed: asked.seed,
                keys: asked.keys.cloned(),
                links_by: self.links_by,
                all_relayed: true,
                calibration: asked.reaction,
                echo_ms: asked.echo_ms,
                ready_within: asked.reaction.stretched(UpOptions::default().ready_within),
                ..UpOptions::default()
            };
            let lab = Lab::up(asked.topology, &up).await?;
            Ok(Box::new(LiveWorld::of(lab, asked.reaction).await?) as Box<dyn World>)
        })
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn run_id(&self, _seed: u64) -> String {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        damc_trust::to_hex(&Sha256::digest(format!("{} {}", now.as_nanos(), std::process::id()))[..4])
    }
}
