//! The relay: links in user space, for kernels without sch_netem.
//!
//! Each relayed link ends in two interfaces of the lab's *wire* namespace. One process joins them over AF_PACKET and
//! does to the frames what the link's spec says: [`damc_impair::DirectionModel`] decides (without I/O, in any time), [`engine`] receives,
//! waits and sends, [`control`] changes and shows links while they run, [`calibrate`] measures what comes out.

pub mod calibrate;
pub mod control;
mod engine;

pub use control::{RelayClient, RelayConfig, RelayLink};
pub use engine::{main, main_on_stdin};

/// What goes wrong with a relay.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The control connection broke.
    #[error("relay control connection")]
    Control(#[source] std::io::Error),
    /// An interface is missing or a socket could not be had.
    #[error(transparent)]
    Link(#[from] damc_link::LinkError),
    /// The socket broke.
    #[error("relay socket")]
    Socket(#[source] std::io::Error),
    /// The relay said no.
    #[error("the relay refused: {0}")]
    Refused(String),
}
