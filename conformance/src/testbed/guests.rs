//! Services that suites start and stop, and traffic that they inject.

use std::time::Duration;

use damc_mgmt::command::Command;
use damc_testbed::WorldError;
use damc_topology::plan::GUEST;
use damc_wire::frame::Frame;
use damc_wire::message::{Data, DataKind};
use damc_wire::{Message, Millis, Name, Role};

use super::Testbed;
use super::inject::bytes;
use super::witness::parse;
use crate::case::Stop;

/// Frames of a flood that the lab gets at once.
const FLOOD_BURST: usize = 500;

impl Testbed {
    /// Gives a node an order through its management.
    ///
    /// # Errors
    /// The node refuses or does not answer.
    pub async fn order(&self, node: &str, order: &Command) -> Result<serde_json::Value, WorldError> {
        self.lab.order(node, order).await
    }

    /// Licenses `prefix` for `pod` at the SPA of its SG.
    ///
    /// # Errors
    /// The pod's SG has no SPA, or the SPA refuses.
    pub async fn licence(&self, pod: &str, prefix: &str) -> Result<(), Stop> {
        let spa = self.spa_of(&self.sg_of(pod)?)?;
        let (pod, _) = self.role(pod)?;
        let order = Command::AddLicence { pod, prefix: parse(prefix)? };
        self.order(&spa, &order).await?;
        Ok(())
    }

    /// Lets the SPA of `pod` grant it `prefix` and names below it until the case ends: then all of them are revoked.
    ///
    /// # Errors
    /// The SPA refuses.
    pub async fn licence_for_now(&self, pod: &str, prefix: &str) -> Result<(), Stop> {
        self.licence(pod, prefix).await?;
        let spa = self.spa_of(&self.sg_of(pod)?)?;
        let (pod, _) = self.role(pod)?;
        self.undo_later((spa, Command::RevokeLicence { pod, prefix: parse(prefix)? }));
        Ok(())
    }

    /// Starts a new, licensed service in `pod`, whose registration then follows.
    ///
    /// # Errors
    /// An order is refused.
    pub async fn register(&self, pod: &str, prefix: &str) -> Result<(), Stop> {
        self.licence(pod, prefix).await?;
        let prefix = parse(prefix)?;
        self.order(pod, &Command::StartService { prefix: prefix.clone(), pool: None }).await?;
        self.undo_later((pod.into(), Command::StopService { prefix }));
        Ok(())
    }

    /// Registers `each` new services in every pod, all at once.
    ///
    /// # Errors
    /// An order is refused.
    pub async fn register_many(&self, each: usize) -> Result<Vec<String>, Stop> {
        let mut names = Vec::new();
        for pod in self.of_kind(&[Role::Pod]) {
            for i in 0..each {
                let name = format!("/{GUEST}/{pod}/{}-{i}", self.unique());
                self.register(&pod, &name).await?;
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Registers new services in the first pod behind `sg`.
    ///
    /// # Errors
    /// The SG has no pod, or an order is refused.
    pub async fn register_behind(&self, sg: &str, count: usize) -> Result<Vec<String>, Stop> {
        let pod = self.pod_of(sg)?;
        let mut names = Vec::new();
        for i in 0..count {
            let name = format!("/{GUEST}/{pod}/{}-{i}", self.unique());
            self.register(&pod, &name).await?;
            names.push(name);
        }
        Ok(names)
    }

    /// Stops services that a suite started and waits until they are gone from every FIB.
    ///
    /// # Errors
    /// An order is refused, or a FIB still has one of them at the deadline.
    pub async fn unregister(&self, names: &[String]) -> Result<(), Stop> {
        self.unregister_within(names, self.t_conv()).await
    }

    /// As [`Testbed::unregister`], with a limit of its own.
    ///
    /// # Errors
    /// As there.
    pub async fn unregister_within(&self, names: &[String], within: Duration) -> Result<(), Stop> {
        for name in names {
            let pod = name.split('/').nth(2).unwrap_or_default();
            let stop = (pod.to_owned(), Command::StopService { prefix: parse(name)? });
            self.order(pod, &stop.1).await?;
            self.undone(&stop);
        }
        self.wait_nowhere(names, within).await
    }

    /// Waits until every SG and SR has all of `names` in its FIB.
    ///
    /// # Errors
    /// [`Stop::Failed`] at the deadline, with a node and a name it lacks.
    pub async fn wait_everywhere(&self, names: &[String], within: Duration) -> Result<(), Stop> {
        self.wait_presence(names, true, within).await
    }

    /// Waits until no SG or SR has any of `names` in its FIB.
    ///
    /// # Errors
    /// [`Stop::Failed`] at the deadline, with a node and a name it still has.
    pub async fn wait_nowhere(&self, names: &[String], within: Duration) -> Result<(), Stop> {
        self.wait_presence(names, false, within).await
    }

    async fn wait_presence(&self, names: &[String], present: bool, within: Duration) -> Result<(), Stop> {
        let what = format!("{} {} every FIB", names.join(", "), if present { "in" } else { "gone from" });
        self.wait(&what, within, || async {
            for (node, fib) in self.fibs().await? {
                for name in names {
                    if fib.entries.iter().any(|e| e.prefix == *name) != present {
                        return Ok(Err(format!("{node} {} {name}", if present { "lacks" } else { "still has" })));
                    }
                }
            }
            Ok(Ok(()))
        })
        .await
    }

    /// Injects `count` data frames from a pod to the farthest service at its SG; returns their number.
    ///
    /// # Errors
    /// No adjacency was recorded between them, or the lab refuses.
    pub async fn flood_data(&self, pod: &str, sg: &str, count: usize) -> Result<usize, Stop> {
        let (_, target, _) = self.far_pair().await?;
        let parse = |s: &str| s.parse::<Name>().map_err(|e| Stop::Inconclusive(format!("{s}: {e}")));
        let (destination, source) = (parse(&target)?, parse(&self.service_of(pod)?)?);
        let mut pdus = Vec::new();
        for i in 0..count {
            let data = Data {
                correlation: u64::MAX - i as u64,
                kind: DataKind::Request { method: "echo".into(), deadline: Millis(1), context: None },
                payload: vec![0; 900],
                hops: Vec::new(),
            };
            let flow = u32::try_from(i).unwrap_or(0);
            let frame = Frame::routed(destination.clone(), source.clone(), flow, 0, 64, Message::Data(data));
            pdus.push(frame.encode().map_err(|e| Stop::Inconclusive(e.to_string()))?);
        }
        let pdus = self.on_link(pod, sg, pdus).await?;
        self.carries(pod, sg, bytes(&pdus), Duration::ZERO)?;
        for burst in pdus.chunks(FLOOD_BURST) {
            self.lab.inject_all(pod, sg, burst).await?;
        }
        Ok(count)
    }
}
