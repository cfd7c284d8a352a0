//! Body and answer of `POST /call`: a call that a pod makes.

use serde::{Deserialize, Serialize};

/// Body of `POST /call` at a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRequest {
    /// Name to call.
    pub name: String,
    /// Method.
    pub method: String,
    /// Arguments, joined by single spaces on the wire.
    #[serde(default)]
    pub args: Vec<String>,
    /// Deadline, ms.
    #[serde(default = "default_deadline")]
    pub deadline_ms: u64,
    /// Record the path.
    #[serde(default)]
    pub trace: bool,
    /// Source name; the pod's first accepted service where absent.
    #[serde(default)]
    pub source: Option<String>,
    /// Flow number; random where absent.
    #[serde(default)]
    pub flow: Option<u32>,
    /// The trace that the call belongs to, as the value of a `traceparent` header (W3C Trace Context).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

const fn default_deadline() -> u64 {
    2000
}

/// Answer of `POST /call`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallReply {
    /// The result, where the call succeeded.
    pub result: Option<String>,
    /// Reason label where it did not (`RefusalReason`), or `timeout`.
    pub error: Option<String>,
    /// Detail of an error; for negative replies the deciding node.
    pub detail: Option<String>,
    /// From sending the request to having the answer, ns.
    pub elapsed_ns: u64,
    /// Nodes on the way there, where traced.
    pub path: Vec<String>,
    /// Nodes on the way back, where traced.
    pub return_path: Vec<String>,
    /// The call's correlation on the wire, 16 hexadecimal digits; absent where nothing was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// What the request carried: the trace of the request, and the call as the parent of what follows. Absent where the
    /// request named no trace, or nothing was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}
