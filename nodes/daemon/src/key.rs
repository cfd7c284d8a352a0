//! The pod's signing key for its programs: what they announce over HTTP or gRPC is signed like what the agent announces.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use damc_mgmt::config::NodeConfig;
use damc_trust::{from_hex, signing_key_to_pem};

/// Where it lies: beside the management socket, for the owner's eyes.
pub(crate) fn path(config: &NodeConfig) -> PathBuf {
    config.admin_socket.with_extension("pem")
}

/// Writes it as PEM, as every cryptographic tool reads it.
pub(crate) fn write(config: &NodeConfig) -> io::Result<()> {
    let secret = from_hex("identity.signing_secret", &config.identity.signing_secret).ok();
    // A bad key is refused with its place where the machine is built.
    let Some(secret) = secret.and_then(|secret| secret.try_into().ok()) else { return Ok(()) };
    let text = signing_key_to_pem(&secret).map_err(io::Error::other)?;
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path(config))?;
    file.write_all(text.as_bytes())
}
