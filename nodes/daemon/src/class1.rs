//! What the gateway serves by TCP at its own addresses, on a thread of its own: class 1 over HTTP and gRPC, which asks the
//! control thread, and DNS.

use std::net::{Ipv6Addr, SocketAddrV6, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use damc_class1::{Gateway, Refusal};
use damc_gateway::Book;
use damc_link::monotonic_now;
use damc_mgmt::view::{Sessions, Shown as _, ViewKind};
use damc_proto::io::{OUT_OF_BAND_REQUESTS, Unanswered};
use damc_wire::message::{Announce, AnnounceReply};
use damc_wire::{Name, NodeId, address};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::sync::oneshot;

use crate::dns;
use crate::door::{Bounds, Door};
use crate::error::NodeError;
use crate::mailbox::Mailbox;
use crate::requests::Request;

/// TCP port of both.
const PORT: u16 = 80;
/// Stack of the thread.
const STACK: usize = 1 << 20;
/// How long the control thread may take for an answer. It gives up waiting for the SPA's decision after 10 s by itself.
const WITHIN: Duration = Duration::from_secs(12);

/// Connections. One that asks is answered in less than the silence that ends it.
const BOUNDS: Bounds = Bounds { in_all: 256, of_one: 32, silence: Duration::from_secs(30) };
/// How long the head of a request may take, and the wait for it.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// How long a request may take from its head to its answer.
const REQUEST_WITHIN: Duration = Duration::from_secs(20);
/// Requests at one time on one connection of HTTP/2.
const STREAMS: u32 = 16;

/// The way to the control thread.
#[derive(Clone)]
pub(crate) struct Class1 {
    pub(crate) sg: NodeId,
    pub(crate) domain: Arc<str>,
    pub(crate) requests: Arc<Mailbox<Request>>,
    pub(crate) book: Arc<ArcSwap<Book>>,
}

impl Class1 {
    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        if self.requests.put([request(answer)]) > 0 {
            return Err(Refusal::Busy);
        }
        match tokio::time::timeout(WITHIN, answered).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Refusal::Busy),
            Err(_) => Err(Refusal::TimedOut),
        }
    }
}

impl Gateway for Class1 {
    async fn session(&self, pod: NodeId) -> Result<(NodeId, u64), Refusal> {
        let view = self.ask(|answer| Request::View(ViewKind::Sessions, answer)).await?;
        let session = view.and_then(Sessions::of).and_then(|sessions| sessions.get(pod.as_str()).copied());
        Ok((self.sg.clone(), session.ok_or(Refusal::NoSuchPod)?))
    }

    fn request_number(&self) -> u64 {
        // Rises, across restarts of this process too, and two requests in one nanosecond do not happen.
        OUT_OF_BAND_REQUESTS | monotonic_now()
    }

    async fn announce(&self, announce: Announce) -> Result<AnnounceReply, Refusal> {
        let reply = self.ask(|answer| Request::Announce(Box::new(announce), answer)).await?;
        reply.map_err(|why| match why {
            Unanswered::NoSuchPod => Refusal::NoSuchPod,
            Unanswered::TooMany => Refusal::Busy,
            Unanswered::Undecided => Refusal::TimedOut,
        })
    }

    async fn names(&self) -> Result<Vec<Name>, Refusal> {
        Ok(self.book.load().names().filter(|name| !name.is_reserved()).cloned().collect())
    }

    fn domain(&self) -> &str {
        &self.domain
    }
}

/// Serves at the gateway's own addresses.
pub(crate) fn spawn(class1: Class1) -> Result<(), NodeError> {
    let http = listen(address::of_gateway(&class1.domain), PORT, "listen for class 1")?;
    let dns = listen(address::of_dns(&class1.domain), dns::PORT, "listen for DNS")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(NodeError::system("start class 1 over HTTP"))?;
    let serve = move || {
        let book = Arc::clone(&class1.book);
        let result: std::io::Result<()> = runtime.block_on(async {
            let dns = Door::new("DNS over TCP", dns, Arc::clone(&book), dns::BOUNDS)?;
            let http = Door::new("class 1 over HTTP", http, Arc::clone(&book), BOUNDS)?;
            tokio::spawn(dns::serve(dns, book));
            serve_http(&http, damc_class1::routes(class1).await).await;
            Ok(())
        });
        if let Err(e) = result {
            tracing::error!("class 1 over HTTP ended: {e}");
        }
    };
    let thread = thread::Builder::new().name("class1".into()).stack_size(STACK);
    thread.spawn(serve).map_err(NodeError::system("start class 1 over HTTP"))?;
    Ok(())
}

/// Serves requests for ever.
async fn serve_http(door: &Door, routes: Router) {
    let routes = routes.layer(axum::middleware::from_fn(in_time));
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
    http.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS);
    loop {
        let (guest, http) = (TokioIo::new(door.next().await), http.clone());
        let service = TowerToHyperService::new(routes.clone());
        tokio::spawn(async move {
            // However a connection ends, its client asks again.
            let _ = http.serve_connection(guest, service).await;
        });
    }
}

/// Ends a request whose body, or whose answer, takes too long.
async fn in_time(request: axum::extract::Request, next: axum::middleware::Next) -> Response {
    let answered = tokio::time::timeout(REQUEST_WITHIN, next.run(request)).await;
    answered.unwrap_or_else(|_| StatusCode::REQUEST_TIMEOUT.into_response())
}

fn listen(address: Ipv6Addr, port: u16, action: &'static str) -> Result<TcpListener, NodeError> {
    let listener = TcpListener::bind(SocketAddrV6::new(address, port, 0, 0)).map_err(NodeError::system(action))?;
    listener.set_nonblocking(true).map_err(NodeError::system(action))?;
    Ok(listener)
}
