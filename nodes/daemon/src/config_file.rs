//! Reading the configuration file of a node.

use std::path::Path;

use damc_mgmt::config::NodeConfig;
use damc_proto::context::ConfigError;
use damc_wire::Role;

use crate::error::NodeError;

/// Reads and checks the file, as far as that needs no machine.
pub(crate) fn load(path: &Path, role: Role) -> Result<NodeConfig, NodeError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| NodeError::Unreadable { path: path.to_owned(), source })?;
    let config: NodeConfig = serde_json::from_str(&text)
        .map_err(|e| NodeError::Malformed { path: path.to_owned(), problem: e.to_string() })?;
    let refuse = |source| NodeError::Config { path: path.to_owned(), source };
    if config.role != role.label() {
        let problem = format!("this program is a {role}, the configuration is for {:?}", config.role);
        return Err(refuse(ConfigError::field("role", problem)));
    }
    if u16::try_from(config.ports.len()).is_err() {
        return Err(refuse(ConfigError::field("ports", "at most 65535 ports")));
    }
    Ok(config)
}
