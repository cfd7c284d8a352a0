//! Requests that suites inject on a pod's link: a thousand a second, with any correlation number, flow and hop limit.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use damc_testbed::recording::Wanted;
use damc_wire::frame::Frame;
use damc_wire::message::{Data, DataKind};
use damc_wire::{Message, Millis, Name};

use super::Testbed;
use crate::case::Stop;
use crate::trace::Seen;

/// A request that a suite composes and injects.
#[derive(Clone, Debug)]
pub struct Thrown {
    /// Name that is called.
    pub destination: Name,
    /// Name that seems to call; the SG accepts only names of the pod.
    pub source: Name,
    /// Correlation number.
    pub correlation: u64,
    /// Flow.
    pub flow: u32,
    /// Hop limit.
    pub hop_limit: u8,
    /// Method.
    pub method: &'static str,
    /// Argument bytes.
    pub payload: Vec<u8>,
    /// Deadline, ms.
    pub deadline_ms: u64,
}

impl Thrown {
    /// A call of `echo`.
    ///
    /// # Errors
    /// A name is malformed.
    pub fn echo(destination: &str, source: &str, correlation: u64) -> Result<Self, Stop> {
        let name = |s: &str| s.parse::<Name>().map_err(|e| Stop::Inconclusive(format!("{s}: {e}")));
        Ok(Self {
            destination: name(destination)?,
            source: name(source)?,
            correlation,
            flow: 1,
            hop_limit: 64,
            method: "echo",
            payload: b"thrown".to_vec(),
            deadline_ms: 1000,
        })
    }

    /// The same with another flow.
    #[must_use]
    pub const fn flow(mut self, flow: u32) -> Self {
        self.flow = flow;
        self
    }

    /// Its bytes.
    ///
    /// # Errors
    /// It does not fit one message.
    pub fn pdu(&self) -> Result<Vec<u8>, Stop> {
        let kind = DataKind::Request { method: self.method.into(), deadline: Millis(self.deadline_ms), context: None };
        let data = Data { correlation: self.correlation, kind, payload: self.payload.clone(), hops: Vec::new() };
        let (destination, source) = (self.destination.clone(), self.source.clone());
        let frame = Frame::routed(destination, source, self.flow, 0, self.hop_limit, Message::Data(data));
        frame.encode().map_err(|e| Stop::Inconclusive(e.to_string()))
    }
}

impl Seen {
    /// Its data message, where it is one.
    #[must_use]
    pub const fn data(&self) -> Option<&Data> {
        match &self.frame.message {
            Message::Data(data) => Some(data),
            _ => None,
        }
    }

    /// Correlation number, where it is a request.
    #[must_use]
    pub fn request(&self) -> Option<u64> {
        self.data().filter(|d| matches!(d.kind, DataKind::Request { .. })).map(|d| d.correlation)
    }

    /// Correlation number, where it is a response or an error.
    #[must_use]
    pub fn answer(&self) -> Option<u64> {
        self.data().filter(|d| !matches!(d.kind, DataKind::Request { .. })).map(|d| d.correlation)
    }

    /// Whether it is a routed frame for this name.
    #[must_use]
    pub fn is_for(&self, name: &str) -> bool {
        self.frame.names.as_ref().is_some_and(|(destination, _)| destination.to_string() == name)
    }
}

impl Testbed {
    /// The first of `count` correlation numbers that nobody else uses: pods draw theirs at random.
    #[must_use]
    pub fn correlations(&self) -> u64 {
        0x5eed_0000_0000_0000 | (self.unique() << 24)
    }

    /// Puts a request on the link of `pod` to its SG.
    ///
    /// # Errors
    /// It cannot be encoded, or the lab refuses.
    pub async fn throw(&self, pod: &str, sg: &str, thrown: &Thrown) -> Result<(), Stop> {
        self.inject_routed(pod, sg, vec![thrown.pdu()?]).await
    }

    /// Puts requests on the link of `pod` to its SG, one every `spacing`, while the caller goes on.
    ///
    /// # Errors
    /// One cannot be encoded, or the lab refuses.
    pub async fn stream(&self, pod: &str, sg: &str, thrown: &[Thrown], spacing: Duration) -> Result<(), Stop> {
        let pdus: Vec<Vec<u8>> = thrown.iter().map(Thrown::pdu).collect::<Result<_, _>>()?;
        let pdus = self.on_link(pod, sg, pdus).await?;
        self.inject_stream(pod, sg, &pdus, spacing).await
    }

    /// Times at which requests left `pod` since `from_ns`, ns, by correlation number.
    ///
    /// # Errors
    /// The recording cannot be read.
    pub async fn requests_of(&self, pod: &str, from_ns: u64) -> Result<BTreeMap<u64, u64>, Stop> {
        let wanted = Wanted { node: Some(pod.into()), sent: Some(true), ..Wanted::default() };
        Ok(self.seen(from_ns, wanted).await?.iter().filter_map(|s| Some((s.request()?, s.at_ns))).collect())
    }

    /// Correlation numbers of the requests that `pod` received since `from_ns`.
    ///
    /// # Errors
    /// The recording cannot be read.
    pub async fn requests_at(&self, pod: &str, from_ns: u64) -> Result<BTreeSet<u64>, Stop> {
        let wanted = Wanted { node: Some(pod.into()), sent: Some(false), ..Wanted::default() };
        Ok(self.seen(from_ns, wanted).await?.iter().filter_map(Seen::request).collect())
    }

    /// The pod of the topology that has this service.
    ///
    /// # Errors
    /// No pod has it.
    pub fn owner_of(&self, service: &str) -> Result<String, Stop> {
        let has = |p: &&damc_topology::Node| p.services.iter().any(|s| s.prefix.to_string() == service);
        let pod = self.topology.of_kind(damc_wire::Role::Pod).find(has);
        pod.map(|p| p.id.to_string()).ok_or_else(|| Stop::NotApplicable(format!("no pod serves {service}")))
    }

    /// Waits until every FIB is what the oracle expects with these failures.
    ///
    /// # Errors
    /// [`Stop::Failed`] at the deadline, with the first difference.
    pub async fn settled(&self, failures: &crate::oracle::Failures, what: &str) -> Result<(), Stop> {
        let oracle = crate::oracle::Oracle::new(&self.topology, failures);
        self.wait(what, self.t_conv(), || async {
            let fibs = self.fibs_except(failures).await?;
            Ok(oracle.first_difference(&fibs).map_or(Ok(()), Err))
        })
        .await
    }
}
