//! What the admin thread asks of the control thread.

use damc_mgmt::view::{CallReply, CallRequest};
use damc_wire::message::{Announce, AnnounceReply};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::order::Command;

/// A question with the way for its answer. Where the asker went away meanwhile, the answer goes nowhere.
pub(crate) enum Request {
    /// A view of the machine; none where the role has no such view.
    View(&'static str, oneshot::Sender<Option<Value>>),
    /// SG: an announcement beside the adjacency; none where there is no such pod.
    Announce(Box<Announce>, oneshot::Sender<Option<AnnounceReply>>),
    /// A call by this pod.
    Call(CallRequest, oneshot::Sender<Result<CallReply, Refusal>>),
    /// An order.
    Order(Command, oneshot::Sender<Result<Value, Refusal>>),
}

/// Why a request is not done, in words for a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// A field of the request has no meaning.
    #[error("{0}")]
    Bad(String),
    /// This node does not do such things.
    #[error("{0}")]
    NotHere(String),
}
