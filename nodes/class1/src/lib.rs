//! Class 1 over HTTP and gRPC, for pods without a DAMC library (`nodes/WIRE.md`, section 26).
//!
//! Both use one [`Gateway`], which verifies signatures as it does for native announcements. Errors over HTTP are
//! problem details (RFC 9457).
#![forbid(unsafe_code)]

mod grpc;
mod http;
mod words;

use std::future::Future;
use std::net::Ipv6Addr;

use damc_wire::message::{Announce, AnnounceReply};
use damc_wire::{Name, NodeId};

/// Descriptors that reflection serves.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Messages and service of `proto/class1.proto`.
#[allow(missing_docs, clippy::all, clippy::pedantic, unused_qualifications, rust_2018_idioms)]
pub(crate) mod proto {
    tonic::include_proto!("damc.class1.v1");
}

/// Why the gateway does not execute a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The pod does not exist, or its adjacency is down.
    NoSuchPod,
    /// The gateway has too much to do, or is shutting down.
    Busy,
    /// There was no decision in time.
    TimedOut,
}

/// The SG, as this crate uses it.
pub trait Gateway: Clone + Send + Sync + 'static {
    /// The SG's identity, and its session with a pod.
    fn session(&self, pod: NodeId) -> impl Future<Output = Result<(NodeId, u64), Refusal>> + Send;
    /// A number for a new request. Numbers rise and never collide with those of the pod's agent.
    fn request_number(&self) -> u64;
    /// Executes an announcement; the reply follows when all names are decided.
    fn announce(&self, announce: Announce) -> impl Future<Output = Result<AnnounceReply, Refusal>> + Send;
    /// Names to which there is a route.
    fn names(&self) -> impl Future<Output = Result<Vec<Name>, Refusal>> + Send;
    /// The trust domain.
    fn domain(&self) -> &str;
}

/// Routes of HTTP and gRPC, to be served at one port.
pub async fn routes<G: Gateway>(gateway: G) -> axum::Router {
    http::routes(gateway.clone()).merge(grpc::routes(gateway).await)
}

/// Address and host name of a name, as text; empty if it has none.
fn reached(domain: &str, name: &Name) -> (String, String) {
    let address = damc_wire::address::of_name(domain, name).as_ref().map(Ipv6Addr::to_string);
    (address.unwrap_or_default(), damc_wire::address::host_name(domain, name).unwrap_or_default())
}

#[cfg(test)]
mod tests;
