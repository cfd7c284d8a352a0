//! DNS over TCP (RFC 7766) at the gateway's DNS address. Over UDP the forwarding thread answers by itself.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use damc_gateway::Book;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// TCP port.
pub(crate) const PORT: u16 = 53;
/// Connections at one time; further ones wait.
const CONNECTIONS: usize = 64;
/// A connection without a question for so long is closed (RFC 7766, section 6.2.3).
const SILENCE: Duration = Duration::from_secs(10);
/// Time before connections are taken again after that failed: usually there are no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers questions for ever.
pub(crate) async fn serve(listener: TcpListener, book: Arc<ArcSwap<Book>>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    // Never closed, so that this never fails.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let book = Arc::clone(&book);
                tokio::spawn(async move {
                    // However a connection ends, its client asks again.
                    let _ = answer(stream, &book).await;
                    drop(place);
                });
            }
            Err(e) => {
                tracing::warn!("DNS over TCP: {e}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// The questions of one connection, each behind its length in two bytes.
async fn answer(mut stream: TcpStream, book: &ArcSwap<Book>) -> io::Result<()> {
    while let Ok(length) = timeout(SILENCE, stream.read_u16()).await? {
        let mut question = vec![0; usize::from(length)];
        timeout(SILENCE, stream.read_exact(&mut question)).await??;
        let Some(answer) = damc_gateway::dns_reply(&question, &book.load()) else { return Ok(()) };
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        timeout(SILENCE, stream.write_all(&[&length.to_be_bytes()[..], &answer].concat())).await??;
    }
    Ok(())
}
