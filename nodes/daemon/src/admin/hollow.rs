//! The management interface without a node: for whoever feeds it what it must stand.

use std::sync::Arc;
use std::time::Duration;

use damc_wire::Role;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;

use super::{Admin, Shared, routes};
use crate::error::NodeError;
use crate::event_log::EventLog;
use crate::mailbox::Mailbox;

/// Questions that nobody answers.
const QUESTIONS: usize = 16;
/// Bytes under way in one direction.
const PIPE: usize = 64 << 10;
/// Longest time for all answers.
const WITHIN: Duration = Duration::from_secs(5);

/// What the interface of a node of this role answers to these bytes of one connection. Whatever asks the node itself is told
/// that the node is ending; everything else is as it always is.
///
/// # Errors
/// The host gives no descriptors, or the interface does not end within 5 s.
pub fn management_answers(role: Role, ports: &[&str], request: &[u8]) -> Result<Vec<u8>, NodeError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(NodeError::system("start the management interface"))?;
    // It is at its end from the beginning.
    let (_ends, ending) = watch::channel(true);
    let admin = Admin {
        node: Arc::from("hollow"),
        role,
        ports: ports.iter().map(ToString::to_string).collect(),
        requests: Arc::new(Mailbox::new(QUESTIONS)?),
        events: Arc::new(EventLog::default()),
        counters: Vec::new(),
    };
    let service = TowerToHyperService::new(routes(Shared { admin, ending }));
    let exchange = async {
        let (mut client, server) = tokio::io::duplex(PIPE);
        let served = async {
            // However a connection ends: what it answered is what counts.
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(server), service).await;
        };
        let asked = async {
            let mut answers = Vec::new();
            // A connection that the interface has ended takes no more.
            let _ = client.write_all(request).await;
            let _ = client.shutdown().await;
            let _ = client.read_to_end(&mut answers).await;
            answers
        };
        tokio::join!(served, asked).1
    };
    let answers = runtime.block_on(async { tokio::time::timeout(WITHIN, exchange).await });
    answers.map_err(|late| NodeError::System { action: "end a connection", source: late.into() })
}
