//! The pod's signing key for its programs: what they announce over HTTP or gRPC is signed like what the agent announces.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use damc_mgmt::config::NodeConfig;

/// What comes before the 32 bytes of an Ed25519 key in PKCS#8 (RFC 8410, section 7).
const PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// Where it lies: beside the management socket, for the owner's eyes.
pub(crate) fn path(config: &NodeConfig) -> PathBuf {
    config.admin_socket.with_extension("pem")
}

/// Writes it as PEM (RFC 7468), as every cryptographic tool reads it.
pub(crate) fn write(config: &NodeConfig) -> io::Result<()> {
    let secret = (0..64).step_by(2).map(|at| config.identity.signing_secret.get(at..at + 2));
    let secret: Option<Vec<u8>> = secret.map(|digits| u8::from_str_radix(digits?, 16).ok()).collect();
    // A bad key is refused with its place where the machine is built.
    let Some(secret) = secret else { return Ok(()) };
    let text = STANDARD.encode([&PKCS8[..], &secret].concat());
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path(config))?;
    writeln!(file, "-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----")
}
