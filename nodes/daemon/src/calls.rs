//! Calls and path queries that wait for their outcome.

use std::collections::BTreeMap;

use damc_mgmt::call::{CallReply, CallRequest};
use damc_mgmt::command::PathAnswer;
use damc_proto::io::{CallOutcome, Order};
use damc_proto::rmi::request;
use damc_wire::NodeId;
use tokio::sync::oneshot;

use crate::requests::{Done, Refusal};

type CallAnswer = oneshot::Sender<Result<CallReply, Refusal>>;
type CommandAnswer = oneshot::Sender<Result<Done, Refusal>>;

/// Who waits for what, by the handle the machine returns.
#[derive(Default)]
pub(crate) struct Calls {
    next_handle: u64,
    calls: BTreeMap<u64, (u64, CallAnswer)>,
    paths: BTreeMap<u64, CommandAnswer>,
}

impl Calls {
    /// The order that makes a call; none where the request makes no sense, and the client knows already.
    pub(crate) fn begin(&mut self, now_ns: u64, request: CallRequest, answer: CallAnswer) -> Option<Order> {
        let handle = self.handle();
        match request::order(handle, request) {
            Ok(order) => {
                self.calls.insert(handle, (now_ns, answer));
                Some(order)
            }
            Err(problem) => {
                // A client that is gone needs no answer.
                let _ = answer.send(Err(Refusal::Bad(problem)));
                None
            }
        }
    }

    /// Answers a call.
    pub(crate) fn finish(&mut self, now_ns: u64, handle: u64, outcome: CallOutcome) {
        if let Some((begun_ns, answer)) = self.calls.remove(&handle) {
            let _ = answer.send(Ok(request::reply(now_ns - begun_ns, outcome)));
        }
    }

    /// The handle of a question for a path.
    pub(crate) fn begin_path(&mut self, answer: CommandAnswer) -> u64 {
        let handle = self.handle();
        self.paths.insert(handle, answer);
        handle
    }

    /// Answers a question for a path.
    pub(crate) fn finish_path(&mut self, handle: u64, path: &[NodeId], cost: u64) {
        if let Some(answer) = self.paths.remove(&handle) {
            let _ = answer.send(Ok(Done::Path(PathAnswer { path: request::texts(path), cost })));
        }
    }

    fn handle(&mut self) -> u64 {
        self.next_handle += 1;
        self.next_handle
    }
}
