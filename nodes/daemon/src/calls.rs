//! Calls and path queries that wait for their outcome.

use std::collections::BTreeMap;

use damc_mgmt::call::{CallReply, CallRequest};
use damc_mgmt::command::PathAnswer;
use damc_proto::io::{CallOutcome, Order};
use damc_wire::NodeId;
use tokio::sync::oneshot;

use crate::order::name;
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
        match order(handle, request) {
            Ok(order) => {
                self.calls.insert(handle, (now_ns, answer));
                Some(order)
            }
            Err(refusal) => {
                // A client that is gone needs no answer.
                let _ = answer.send(Err(refusal));
                None
            }
        }
    }

    /// Answers a call.
    pub(crate) fn finish(&mut self, now_ns: u64, handle: u64, outcome: CallOutcome) {
        if let Some((begun_ns, answer)) = self.calls.remove(&handle) {
            let _ = answer.send(Ok(reply(now_ns - begun_ns, outcome)));
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
            let _ = answer.send(Ok(Done::Path(PathAnswer { path: texts(path), cost })));
        }
    }

    fn handle(&mut self) -> u64 {
        self.next_handle += 1;
        self.next_handle
    }
}

fn order(handle: u64, request: CallRequest) -> Result<Order, Refusal> {
    let source = request.source.map(|source| name("source", &source)).transpose()?;
    if !(1..=64).contains(&request.method.len()) {
        return Err(Refusal::Bad("method: a method name has 1 to 64 bytes".into()));
    }
    Ok(Order::Call {
        handle,
        name: name("name", &request.name)?,
        method: request.method,
        payload: request.args.join(" ").into_bytes(),
        deadline: std::time::Duration::from_millis(request.deadline_ms),
        trace: request.trace,
        source,
        flow: request.flow,
    })
}

fn reply(elapsed_ns: u64, outcome: CallOutcome) -> CallReply {
    let (path, return_path) = (texts(&outcome.path), texts(&outcome.return_path));
    let (result, error, detail) = match outcome.result {
        Ok(bytes) => (Some(String::from_utf8_lossy(&bytes).into_owned()), None, None),
        Err((reason, detail)) => {
            let error = reason.map_or("timeout", damc_wire::RefusalReason::label).to_owned();
            (None, Some(error), Some(detail).filter(|d| !d.is_empty()))
        }
    };
    CallReply { result, error, detail, elapsed_ns, path, return_path }
}

fn texts(nodes: &[NodeId]) -> Vec<String> {
    nodes.iter().map(ToString::to_string).collect()
}
