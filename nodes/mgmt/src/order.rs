//! Body of `POST /order`: what an operator or a suite may have a node do.

use serde::{Deserialize, Serialize};

/// An order, `{"order": "overload", "on": true}`. A node refuses those its role does not know (HTTP status 422).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case", deny_unknown_fields)]
pub enum OrderRequest {
    /// SG, SR: set or clear the overload bit.
    Overload {
        /// Set it.
        on: bool,
    },
    /// SG, SR: set the cost of sending over a port.
    Cost {
        /// Port: the neighbour's name.
        port: String,
        /// Cost, 1 to 16777215.
        cost: u32,
    },
    /// All: end in order, as on SIGTERM.
    Stop,
    /// SPA: take a licence away and revoke its grants.
    RevokeLicence {
        /// Pod.
        pod: String,
        /// Prefix.
        prefix: String,
    },
    /// SPA: add a licence.
    AddLicence {
        /// Pod.
        pod: String,
        /// Prefix.
        prefix: String,
    },
    /// SG: probe all targets now.
    Probe,
    /// SG: ask the SCSC for its path to a service or pool; answered by [`PathAnswer`].
    QueryPath {
        /// Service or pool.
        target: String,
    },
    /// Pod: start the process of a service, configured or new.
    StartService {
        /// Its prefix.
        prefix: String,
        /// Its pool; that of the configuration where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pool: Option<String>,
    },
    /// Pod: end the process of a service; it stays down until it is started.
    StopService {
        /// Its prefix.
        prefix: String,
    },
    /// Pod: kill the process of a service as a fault; the agent restarts it.
    KillService {
        /// Its prefix.
        prefix: String,
    },
}

/// Answer to [`OrderRequest::QueryPath`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathAnswer {
    /// Nodes; empty where unreachable.
    pub path: Vec<String>,
    /// Sum of the link costs.
    pub cost: u64,
}
