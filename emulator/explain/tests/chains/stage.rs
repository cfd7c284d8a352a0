//! A network in virtual time, and chains about it.

use std::path::Path;
use std::time::Duration;

use damc_explain::{Chain, Evidence, Frames, Passing, Step, why, why_call, why_not};
use damc_mgmt::call::{CallReply, CallRequest};
use damc_mgmt::command::Command;
use damc_sim::{VirtualMaker, block_on};
use damc_testbed::{Asked, LinkChange, Maker, NodeAction, World};
use damc_topology::Topology;

pub const SECOND: Duration = Duration::from_secs(1);

/// A shipped topology.
fn load(name: &str) -> Topology {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../topologies").join(format!("{name}.yaml"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    damc_topology::parse(name, &text, path.parent().expect("a folder"))
        .unwrap_or_else(|mistakes| panic!("{name}: {mistakes}"))
}

pub struct Stage {
    maker: VirtualMaker,
    world: Box<dyn World>,
}

impl Stage {
    /// A shipped topology that has converged.
    pub fn of(name: &str) -> Self {
        let (topology, maker) = (load(name), VirtualMaker::new(1.0));
        let reaction = maker.reaction();
        let asked = Asked { topology: &topology, name, seed: 7, keys: None, reaction, echo_ms: None };
        let world = block_on(&maker, async {
            let world = maker.make(&asked).await.expect("a network");
            world.wait_converged(60 * SECOND).await.expect("converges");
            world
        });
        let stage = Self { maker, world };
        stage.pass(5 * SECOND);
        stage
    }

    pub fn pass(&self, span: Duration) {
        block_on(&self.maker, self.world.sleep(span));
    }

    pub fn order(&self, node: &str, json: &str) {
        let order: Command = serde_json::from_str(json).expect("an order");
        block_on(&self.maker, self.world.order(node, &order)).expect("obeyed");
    }

    pub fn node(&self, node: &str, action: NodeAction) {
        block_on(&self.maker, self.world.node(node, action)).expect("done");
    }

    pub fn link(&self, a: &str, b: &str, change: LinkChange) {
        block_on(&self.maker, self.world.link(a, b, change)).expect("done");
    }

    pub fn silence(&self, a: &str, b: &str) {
        let properties = damc_impair::DirectionChange { silent: Some(true), ..Default::default() };
        self.link(a, b, LinkChange::Set { direction: damc_testbed::Direction::Both, properties });
    }

    /// A call that is not waited for longer than it takes to notice that a link is silent.
    pub fn call(&self, pod: &str, name: &str) -> CallReply {
        let json = format!(r#"{{"name": "{name}", "method": "echo", "args": ["x"], "deadline_ms": 150}}"#);
        let request: CallRequest = serde_json::from_str(&json).expect("a call");
        block_on(&self.maker, self.world.call(pod, &request)).expect("an outcome")
    }

    /// A call from `pod-1`.
    pub fn make(&self, request: &CallRequest) -> CallReply {
        block_on(&self.maker, self.world.call("pod-1", request)).expect("an outcome")
    }

    pub fn evidence(&self) -> Evidence {
        block_on(&self.maker, Evidence::gather(&*self.world)).expect("a world")
    }

    /// Everything that was recorded since the last time.
    pub fn frames(&self, call: Option<u64>) -> Frames {
        let mut frames = Frames::of_call(call);
        let ports = &self.world.recorded().ports;
        self.world
            .drain(&mut |entry| {
                let at = &ports[usize::from(entry.port)];
                let (node, port) = (at.node.as_str(), at.port.as_str());
                let (sent, at_ns, frame) = (entry.sent, entry.at_ns, entry.frame);
                frames.note(&Passing { node, port, sent, at_ns, frame, place: None });
            })
            .expect("a recording");
        frames
    }

    pub fn why(&self, node: &str, name: &str) -> Chain {
        why(&self.evidence(), &self.frames(None), node, name).expect("an answer")
    }

    pub fn why_not(&self, node: &str, name: &str) -> Chain {
        why_not(&self.evidence(), &self.frames(None), node, name).expect("an answer")
    }

    pub fn why_call(&self, call: &str) -> Chain {
        let number = u64::from_str_radix(call, 16).expect("a number");
        why_call(&self.evidence(), &self.frames(Some(number)), call).expect("an answer")
    }
}

/// The step among the roots that is at `node` and says `what`; the chain is told where there is none.
#[track_caller]
pub fn rooted<'c>(chain: &'c Chain, node: &str, what: &str) -> &'c Step {
    let found = chain.roots().find(|step| step.node == node && step.what.contains(what));
    found.unwrap_or_else(|| panic!("no root at {node} with {what:?}:\n{chain}"))
}

/// A step of the chain.
#[track_caller]
pub fn stepped<'c>(chain: &'c Chain, node: &str, what: &str) -> &'c Step {
    let found = chain.steps.iter().find(|step| step.node == node && step.what.contains(what));
    found.unwrap_or_else(|| panic!("no step at {node} with {what:?}:\n{chain}"))
}

/// Next hops of a node's entry for a prefix.
pub fn hops(evidence: &Evidence, node: &str, prefix: &str) -> Vec<String> {
    let fib = evidence.nodes[node].fib.as_ref().expect("a table");
    let entry = fib.entries.iter().find(|entry| entry.prefix == prefix).expect("an entry");
    entry.next_hops.iter().map(|hop| hop.node.clone()).collect()
}
