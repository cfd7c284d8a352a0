//! What is done to the network.

use std::process::Stdio;
use std::time::Duration;

use damc_impair::DirectionChange;
use damc_mgmt::command::Command;
use damc_testbed::timeline::{Due, Step};
use damc_testbed::{Direction, LinkChange, WorldError};
use damc_topology::timeline::{Act, LinkEvent, NodeStep, ServiceStep, Trace};
use damc_wire::{Name, NodeId};
use futures::future::{Either, select};

use super::Play;

type Outcome = Result<(), WorldError>;

impl Play<'_> {
    /// Does an act, or takes it back.
    pub(super) async fn act(&self, act: &Act, step: Step) -> Outcome {
        let back = step == Step::End;
        match act {
            Act::Node { node, step } => {
                let step = if back { step.undone_by().unwrap_or(*step) } else { *step };
                match step {
                    NodeStep::Process(action) => self.testbed.lab.node(node.as_str(), action).await?,
                    NodeStep::Overload(on) => self.order(node, &Command::Overload { on }).await?,
                }
                self.ground.borrow_mut().node(&self.testbed.topology, node, step);
                Ok(())
            }
            Act::Service { pod, prefix, step } => {
                self.service(pod, prefix, *step, back).await?;
                self.ground.borrow_mut().service(&self.testbed.topology, (pod, prefix), *step, back);
                Ok(())
            }
            Act::Licence { pod, prefix, grant } => {
                self.licence(pod, prefix, *grant != back).await?;
                self.ground.borrow_mut().licence(pod, prefix, *grant != back);
                Ok(())
            }
            Act::Partition { cut, .. } => {
                for (a, b) in cut {
                    self.testbed.lab.silence(a.as_str(), b.as_str(), Direction::Both, !back).await?;
                }
                Ok(())
            }
            Act::Link { .. } | Act::Load(_) | Act::Run { .. } | Act::Expect { .. } => Ok(()),
        }
    }

    async fn order(&self, node: &NodeId, order: &Command) -> Outcome {
        self.testbed.order(node.as_str(), order).await.map(drop)
    }

    async fn service(&self, pod: &NodeId, prefix: &Name, step: ServiceStep, back: bool) -> Outcome {
        let prefix = prefix.clone();
        let order = match step {
            ServiceStep::Restart => Command::KillService { prefix },
            ServiceStep::Stop | ServiceStep::Withdraw if !back => Command::StopService { prefix },
            ServiceStep::Announce if back => Command::StopService { prefix },
            _ => Command::StartService { prefix, pool: None },
        };
        self.order(pod, &order).await
    }

    async fn licence(&self, pod: &NodeId, prefix: &Name, grant: bool) -> Outcome {
        let spa = self.testbed.sg_of(pod.as_str()).and_then(|sg| self.testbed.spa_of(&sg));
        let spa = spa.map_err(|stop| WorldError::Lab(stop.to_string()))?;
        let (pod, prefix) = (pod.clone(), prefix.clone());
        let order = if grant { Command::AddLicence { pod, prefix } } else { Command::RevokeLicence { pod, prefix } };
        self.testbed.order(&spa, &order).await.map(drop)
    }

    /// Changes a link. What takes a change back restores what the topology says of what was changed.
    pub(super) async fn change_link(&self, a: &NodeId, b: &NodeId, change: &LinkEvent, step: Step) -> Outcome {
        let back = step == Step::End;
        let lab = &self.testbed.lab;
        let (a, b) = (a.as_str(), b.as_str());
        match change {
            LinkEvent::Down if back => lab.link(a, b, LinkChange::Up).await,
            LinkEvent::Down => lab.link(a, b, LinkChange::Down).await,
            LinkEvent::Up => {
                lab.link(a, b, LinkChange::Up).await?;
                lab.silence(a, b, Direction::Both, false).await
            }
            LinkEvent::Silent => lab.silence(a, b, Direction::Both, !back).await,
            LinkEvent::Clear => lab.link(a, b, LinkChange::Clear).await,
            LinkEvent::Set { forward, backward } if !back => {
                lab.link(a, b, LinkChange::SetEach { forward: *forward, backward: *backward }).await
            }
            LinkEvent::Set { .. } | LinkEvent::Follow(_) => self.restore_properties(a, b).await,
        }
    }

    /// Gives a link the properties of the topology again, and leaves carrier and silence as they are.
    async fn restore_properties(&self, a: &str, b: &str) -> Outcome {
        let planned = self.testbed.lab.plan().links.iter().find_map(|link| {
            let ends = (link.a.node.as_str(), link.b.node.as_str());
            if ends == (a, b) {
                Some((link.forward, link.backward))
            } else {
                (ends == (b, a)).then_some((link.backward, link.forward))
            }
        });
        let (forward, backward) = planned.ok_or_else(|| WorldError::Lab(format!("there is no link {a} – {b}")))?;
        let lab = &self.testbed.lab;
        let now = lab.link_status(a, b).await?;
        lab.link(a, b, LinkChange::Clear).await?;
        if !now.up {
            lab.link(a, b, LinkChange::Down).await?;
        }
        for (direction, was, planned) in
            [(Direction::Forward, now.forward, forward), (Direction::Backward, now.backward, backward)]
        {
            if was.silent != planned.silent {
                lab.silence(a, b, direction, was.silent).await?;
            }
        }
        Ok(())
    }

    /// Has a link follow a trace; a trace that ends before its time begins again.
    pub(super) async fn follow(&self, a: &NodeId, b: &NodeId, trace: &Trace, from_ns: u64, lasts_ns: u64) -> Outcome {
        let turn = trace.lasts_ns().max(1);
        let steps = trace.steps.iter().filter(|(at, _)| *at < turn);
        let due = (0..).flat_map(|round| steps.clone().map(move |(at, change)| (round * turn + at, *change)));
        for (at, change) in due.take_while(|(at, _)| *at < lasts_ns) {
            self.until(from_ns + at).await;
            self.follow_step(a.as_str(), b.as_str(), change).await?;
        }
        self.until(from_ns + lasts_ns).await;
        self.restore_properties(a.as_str(), b.as_str()).await?;
        // A trace can end in silence.
        self.testbed.lab.silence(a.as_str(), b.as_str(), Direction::Both, false).await
    }

    async fn follow_step(&self, a: &str, b: &str, properties: DirectionChange) -> Outcome {
        self.testbed.lab.link(a, b, LinkChange::Set { direction: Direction::Both, properties }).await
    }

    /// Runs a program in a pod, until it ends or its time is over. What it printed goes to the results.
    pub(super) async fn run_program(&self, due: Due, pod: &NodeId, words: &[String], lasts_ns: Option<u64>) -> Outcome {
        let processes = self.testbed.processes();
        let mut command = tokio::process::Command::new(&processes.program);
        command.args(["exec", "--lab", &processes.lab, pod.as_str(), "--"]).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let failed = |e: std::io::Error| WorldError::Lab(format!("{}: {e}", words.join(" ")));
        let ended = command.spawn().map_err(failed)?.wait_with_output();
        let limit = Duration::from_nanos(lasts_ns.unwrap_or(u64::MAX / 4));
        let output = match select(std::pin::pin!(ended), self.testbed.lab.sleep(limit)).await {
            Either::Left((output, _)) => output.map_err(failed)?,
            // Its time is over: the process ends with the future.
            Either::Right(_) => return Ok(()),
        };
        let event = &self.events[due.entry];
        let name = event.label.clone().unwrap_or_else(|| format!("line-{}", event.line));
        let time = if due.time > 0 { format!("-{}", due.time + 1) } else { String::new() };
        let mut files = self.files.borrow_mut();
        files.push((format!("runs/{name}{time}.out"), output.stdout));
        if !output.stderr.is_empty() {
            files.push((format!("runs/{name}{time}.err"), output.stderr));
        }
        if output.status.success() { Ok(()) } else { Err(WorldError::Lab(output.status.to_string())) }
    }
}
