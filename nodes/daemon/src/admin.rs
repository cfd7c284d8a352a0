//! The management interface: HTTP on a Unix socket, in a thread of its own.

mod hollow;

use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use damc_mgmt::call::CallRequest;
use damc_mgmt::command::Command;
use damc_mgmt::view::{CountersView, View, ViewKind};
use damc_wire::{Role, TraceContext};
use futures::stream;
use serde::Deserialize;
use tokio::net::UnixListener;
use tokio::sync::{oneshot, watch};

pub use self::hollow::management_answers;
use crate::counters::Counters;
use crate::error::NodeError;
use crate::event_log::EventLog;
use crate::mailbox::Mailbox;
use crate::order;
use crate::requests::{Refusal, Request};

/// Stack of the thread. The runtime polls deep call chains of the HTTP stack.
const STACK: usize = 512 << 10;
/// Longest wait for clients to take the last answers.
const LAST_ANSWERS: Duration = Duration::from_millis(50);

/// What the interface needs of the node.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) node: Arc<str>,
    pub(crate) role: Role,
    /// Names of the ports, by number.
    pub(crate) ports: Arc<[String]>,
    pub(crate) requests: Arc<Mailbox<Request>>,
    pub(crate) events: Arc<EventLog>,
    pub(crate) counters: Vec<Arc<Counters>>,
}

/// Binds the socket, in place of one that a dead process left behind.
pub(crate) fn bind(path: &Path) -> Result<StdListener, NodeError> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(NodeError::System { action: "replace the management socket", source: e });
        }
        _ => {}
    }
    let listener = StdListener::bind(path).map_err(NodeError::system("bind the management socket"))?;
    listener.set_nonblocking(true).map_err(NodeError::system("prepare the management socket"))?;
    Ok(listener)
}

/// The interface while it serves.
pub(crate) struct Server {
    ending: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Server {
    /// Lets those answers out that are under way, ends streams of events, and returns when that is done.
    pub(crate) fn end(self) {
        self.ending.send_replace(true);
        // A thread that has panicked has nothing under way.
        let _ = self.thread.join();
    }
}

/// Serves `listener` until [`Server::end`].
pub(crate) fn spawn(admin: Admin, listener: StdListener) -> Result<Server, NodeError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(NodeError::system("start the management interface"))?;
    let (ending, is_ending) = watch::channel(false);
    let serve = move || {
        let result = runtime.block_on(async {
            let listener = UnixListener::from_std(listener)?;
            let routes = routes(Shared { admin, ending: is_ending.clone() });
            let served = axum::serve(listener, routes).with_graceful_shutdown(end_of(is_ending.clone()));
            tokio::select! {
                result = served.into_future() => result,
                () = async { end_of(is_ending).await; tokio::time::sleep(LAST_ANSWERS).await } => Ok(()),
            }
        });
        if let Err(e) = result {
            tracing::error!("management interface ended: {e}");
        }
    };
    let thread = thread::Builder::new().name("admin".into()).stack_size(STACK);
    let thread = thread.spawn(serve).map_err(NodeError::system("start the management interface"))?;
    Ok(Server { ending, thread })
}

/// Comes when the interface is to end, or whoever could say so is gone.
async fn end_of(mut ending: watch::Receiver<bool>) {
    let _ = ending.wait_for(|ending| *ending).await;
}

/// What the handlers have.
#[derive(Clone)]
struct Shared {
    admin: Admin,
    ending: watch::Receiver<bool>,
}

fn routes(shared: Shared) -> Router {
    let view = |kind: ViewKind| get(move |State(shared): State<Shared>| async move { shared.show(kind).await });
    let views = ViewKind::SERVED.into_iter();
    views
        .fold(Router::new(), |router, kind| router.route(&format!("/{kind}"), view(kind)))
        .route("/metrics", get(metrics))
        .route("/events", get(events))
        .route("/call", post(call))
        .route("/order", post(order))
        .with_state(shared)
}

/// An answer that is no success: status and text.
type Problem = (StatusCode, String);

impl Shared {
    /// Asks the control thread.
    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Problem> {
        let (answer, answered) = oneshot::channel();
        if self.admin.requests.put([request(answer)]) > 0 {
            return Err((StatusCode::SERVICE_UNAVAILABLE, "too many requests at once\n".into()));
        }
        // What was answered is told, also at the end; what is asked after the end is not answered by anybody.
        let answer = tokio::select! {
            biased;
            answer = answered => answer.ok(),
            () = end_of(self.ending.clone()) => None,
        };
        answer.ok_or_else(|| (StatusCode::SERVICE_UNAVAILABLE, "the node is ending\n".into()))
    }

    async fn show(&self, kind: ViewKind) -> Result<Json<View>, Problem> {
        let view = match kind {
            ViewKind::Counters => Some(self.counters().await?.into()),
            _ => self.ask(|answer| Request::View(kind, answer)).await?,
        };
        view.map(Json)
            .ok_or_else(|| (StatusCode::NOT_FOUND, format!("a node of role {} has no {kind}\n", self.admin.role)))
    }

    async fn counters(&self) -> Result<CountersView, Problem> {
        let mut view = CountersView { node: self.admin.node.to_string(), ..CountersView::default() };
        for counters in &self.admin.counters {
            counters.add_to(&mut view);
        }
        if let Some(View::Protocol(protocol)) = self.ask(|answer| Request::View(ViewKind::Protocol, answer)).await? {
            view.protocol = protocol;
        }
        Ok(view)
    }
}

async fn metrics(State(shared): State<Shared>) -> Result<impl IntoResponse, Problem> {
    let view = shared.counters().await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], damc_mgmt::metrics::render(&[view])))
}

/// `?since=N`: begin with the event of this sequence number, else with the oldest remembered. `?follow=false`: end with
/// the newest instead of waiting for more.
#[derive(Deserialize)]
struct EventsQuery {
    #[serde(default)]
    since: u64,
    #[serde(default = "yes")]
    follow: bool,
}

const fn yes() -> bool {
    true
}

async fn events(State(shared): State<Shared>, Query(query): Query<EventsQuery>) -> impl IntoResponse {
    let body = if query.follow {
        let lines = stream::unfold(Some((shared, query.since)), |state| async move {
            let (shared, since) = state?;
            let log = &shared.admin.events;
            let (text, next, ended) = tokio::select! {
                (text, next) = log.wait_since(since) => (text, next, false),
                () = end_of(shared.ending.clone()) => (log.since(since).0, since, true),
            };
            let rest = (!ended).then_some((shared, next));
            Some((Ok::<_, std::convert::Infallible>(text), rest))
        });
        Body::from_stream(lines)
    } else {
        Body::from(shared.admin.events.since(query.since).0)
    };
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body)
}

async fn call(State(shared): State<Shared>, headers: HeaderMap, Json(mut request): Json<CallRequest>) -> Response {
    if request.traceparent.is_none() {
        request.traceparent = traceparent(&headers).map(|context| context.to_string());
    }
    if shared.admin.role != Role::Pod {
        return refused(&Refusal::NotHere("only pods call".into())).into_response();
    }
    match shared.ask(|answer| Request::Call(request, answer)).await {
        Ok(Ok(reply)) => Json(reply).into_response(),
        Ok(Err(refusal)) => refused(&refusal).into_response(),
        Err(problem) => problem.into_response(),
    }
}

/// The trace context of a request. One that cannot be read is none, as the recommendation asks (W3C Trace Context, section
/// 4.3): who calls by a broken header still gets its call.
fn traceparent(headers: &HeaderMap) -> Option<TraceContext> {
    let mut all = headers.get_all("traceparent").iter();
    let only = all.next().filter(|_| all.next().is_none())?;
    only.to_str().ok()?.parse().ok()
}

async fn order(State(shared): State<Shared>, Json(command): Json<Command>) -> Response {
    if let Err(refusal) = order::check(shared.admin.role, &shared.admin.ports, &command) {
        return refused(&refusal).into_response();
    }
    match shared.ask(|answer| Request::Command(command, answer)).await {
        Ok(Ok(answer)) => Json(answer).into_response(),
        Ok(Err(refusal)) => refused(&refusal).into_response(),
        Err(problem) => problem.into_response(),
    }
}

fn refused(refusal: &Refusal) -> Problem {
    let status = match refusal {
        Refusal::Bad(_) => StatusCode::BAD_REQUEST,
        Refusal::NotHere(_) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    (status, format!("{refusal}\n"))
}
