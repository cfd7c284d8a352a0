//! DNS over TCP (RFC 7766) at the gateway's DNS address. Over UDP the forwarding thread answers by itself.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use damc_gateway::Book;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::door::{Bounds, Door, Guest};

/// TCP port.
pub(crate) const PORT: u16 = 53;
/// A connection without a question for so long is closed (RFC 7766, section 6.2.3), and a question has to come whole
/// within this time.
const SILENCE: Duration = Duration::from_secs(10);
/// Connections.
pub(crate) const BOUNDS: Bounds = Bounds { in_all: 64, of_one: 8, silence: SILENCE };

/// Answers questions for ever.
pub(crate) async fn serve(door: Door, book: Arc<ArcSwap<Book>>) {
    loop {
        let (guest, book) = (door.next().await, Arc::clone(&book));
        tokio::spawn(async move {
            // However a connection ends, its client asks again.
            let _ = answer(guest, &book).await;
        });
    }
}

/// The questions of one connection, each behind its length in two bytes.
async fn answer(mut stream: Guest, book: &ArcSwap<Book>) -> io::Result<()> {
    while let Ok(length) = timeout(SILENCE, stream.read_u16()).await? {
        let mut question = vec![0; usize::from(length)];
        timeout(SILENCE, stream.read_exact(&mut question)).await??;
        let Some(answer) = damc_gateway::dns_reply(&question, &book.load()) else { return Ok(()) };
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        timeout(SILENCE, stream.write_all(&[&length.to_be_bytes()[..], &answer].concat())).await??;
    }
    Ok(())
}
