//! What the admin thread asks of the control thread.

use damc_mgmt::call::{CallReply, CallRequest};
use damc_mgmt::command::{Command, PathAnswer};
use damc_mgmt::view::{View, ViewKind};
use damc_proto::io::Unanswered;
use damc_wire::message::{Announce, AnnounceReply};
use serde::Serialize;
use tokio::sync::oneshot;

/// A question with the way for its answer. Where the asker went away meanwhile, the answer goes nowhere.
pub(crate) enum Request {
    /// A view of the machine; none where the role has no such view.
    View(ViewKind, oneshot::Sender<Option<View>>),
    /// SG: an announcement beside the adjacency.
    Announce(Box<Announce>, oneshot::Sender<Result<AnnounceReply, Unanswered>>),
    /// A call by this pod.
    Call(CallRequest, oneshot::Sender<Result<CallReply, Refusal>>),
    /// A command.
    Command(Command, oneshot::Sender<Result<Done, Refusal>>),
}

/// What a command that was done is answered with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Done {
    /// Null: there is nothing to tell.
    Nothing,
    /// The path asked for.
    Path(PathAnswer),
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
