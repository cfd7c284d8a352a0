//! The door of what an SG serves by TCP. So many connections are let in, so few of one pod, and none that says nothing:
//! no pod can take the descriptors and places that others need, nor those of management.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use damc_gateway::Book;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep};

/// Time before connections are taken again after that failed: usually there are no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// Bounds of a door.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Connections at one time.
    pub(crate) in_all: usize,
    /// Connections at one time of one source.
    pub(crate) of_one: usize,
    /// A connection by which nothing came or went for so long is closed.
    pub(crate) silence: Duration,
}

/// Whose connection it is: that of the pod behind a port, or that of an address which no pod speaks from yet. The gateway
/// lets a pod have a few of these only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Pod(u16),
    Address(Ipv6Addr),
}

/// A listener with bounds.
pub(crate) struct Door {
    listener: TcpListener,
    book: Arc<ArcSwap<Book>>,
    places: Arc<Mutex<Places>>,
    silence: Duration,
    /// For the log.
    what: &'static str,
}

impl Door {
    pub(crate) fn new(
        what: &'static str,
        listener: std::net::TcpListener,
        book: Arc<ArcSwap<Book>>,
        bounds: Bounds,
    ) -> io::Result<Self> {
        let listener = TcpListener::from_std(listener)?;
        let places = Arc::new(Mutex::new(Places { bounds, in_all: 0, of_source: BTreeMap::new() }));
        Ok(Self { listener, book, places, silence: bounds.silence, what })
    }

    /// The next connection that is let in. Others are reset at once.
    pub(crate) async fn next(&self) -> Guest {
        loop {
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    let source = self.source(from.ip());
                    if let Some(place) = Place::take(&self.places, source) {
                        return Guest::new(stream, self.silence, place);
                    }
                    // Nothing of it is left here either. It is closed even where this fails.
                    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                }
                Err(e) => {
                    tracing::warn!("{}: {e}", self.what);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn source(&self, from: IpAddr) -> Source {
        let address = match from {
            IpAddr::V6(address) => address,
            IpAddr::V4(address) => address.to_ipv6_mapped(),
        };
        self.book.load().port_of(&address).map_or(Source::Address(address), Source::Pod)
    }
}

/// Places that are taken.
struct Places {
    bounds: Bounds,
    in_all: usize,
    of_source: BTreeMap<Source, usize>,
}

/// A place, free again when this is dropped.
struct Place {
    places: Arc<Mutex<Places>>,
    source: Source,
}

impl Place {
    fn take(places: &Arc<Mutex<Places>>, source: Source) -> Option<Self> {
        let mut taken = places.lock().unwrap_or_else(PoisonError::into_inner);
        let of_source = taken.of_source.get(&source).copied().unwrap_or(0);
        if taken.in_all >= taken.bounds.in_all || of_source >= taken.bounds.of_one {
            return None;
        }
        taken.in_all += 1;
        taken.of_source.insert(source, of_source + 1);
        drop(taken);
        Some(Self { places: Arc::clone(places), source })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        taken.in_all -= 1;
        if let Some(of_source) = taken.of_source.get_mut(&self.source) {
            *of_source -= 1;
            if *of_source == 0 {
                taken.of_source.remove(&self.source);
            }
        }
    }
}

/// A connection that was let in, and that ends by itself when it says nothing.
pub(crate) struct Guest {
    stream: TcpStream,
    silence: Duration,
    timer: Pin<Box<Sleep>>,
    _place: Place,
}

impl Guest {
    fn new(stream: TcpStream, silence: Duration, place: Place) -> Self {
        Self { stream, silence, timer: Box::pin(tokio::time::sleep(silence)), _place: place }
    }

    /// The outcome of a read or write, or an end where there has been none for too long.
    fn timed<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.timer.as_mut().reset(Instant::now() + self.silence);
            return polled;
        }
        self.timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Guest {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, into);
        self.timed(cx, polled)
    }
}

impl AsyncWrite for Guest {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.timed(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
