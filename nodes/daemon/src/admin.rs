//! The management interface: HTTP on a Unix socket, in a thread of its own.

use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use damc_mgmt::order::OrderRequest;
use damc_mgmt::view::{CallRequest, CountersView};
use damc_wire::Role;
use futures::stream;
use serde::Deserialize;
use tokio::net::UnixListener;
use tokio::sync::oneshot;

use crate::counters::Counters;
use crate::error::NodeError;
use crate::event_log::EventLog;
use crate::mailbox::Mailbox;
use crate::metrics;
use crate::order::{self, Command};
use crate::requests::{Refusal, Request};

/// Stack of the thread. The runtime polls deep call chains of the HTTP stack.
const STACK: usize = 512 << 10;
/// Time for the answer to an order to stop.
const STOP_AFTER: Duration = Duration::from_millis(20);

/// What the handlers share.
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

/// Serves `listener` for as long as the process lives.
pub(crate) fn spawn(admin: Admin, listener: StdListener) -> Result<(), NodeError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(NodeError::system("start the management interface"))?;
    let serve = move || {
        let result = runtime.block_on(async {
            let listener = UnixListener::from_std(listener)?;
            axum::serve(listener, routes(admin)).await
        });
        if let Err(e) = result {
            tracing::error!("management interface ended: {e}");
        }
    };
    let thread = thread::Builder::new().name("admin".into()).stack_size(STACK);
    thread.spawn(serve).map_err(NodeError::system("start the management interface"))?;
    Ok(())
}

fn routes(admin: Admin) -> Router {
    let view = |what: &'static str| get(move |State(admin): State<Admin>| async move { admin.view(what).await });
    Router::new()
        .route("/fib", view("fib"))
        .route("/rib", view("rib"))
        .route("/lsdb", view("lsdb"))
        .route("/neighbors", view("neighbors"))
        .route("/policies", view("policies"))
        .route("/announcements", view("announcements"))
        .route("/services", view("services"))
        .route("/counters", get(|State(admin): State<Admin>| async move { admin.counters().await.map(Json) }))
        .route("/metrics", get(metrics))
        .route("/events", get(events))
        .route("/call", post(call))
        .route("/order", post(order))
        .with_state(admin)
}

/// An answer that is no success: status and text.
type Problem = (StatusCode, String);

impl Admin {
    /// Asks the control thread.
    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Problem> {
        let (answer, answered) = oneshot::channel();
        if self.requests.put([request(answer)]) > 0 {
            return Err((StatusCode::SERVICE_UNAVAILABLE, "too many requests at once\n".into()));
        }
        answered.await.map_err(|_| (StatusCode::SERVICE_UNAVAILABLE, "the node is ending\n".into()))
    }

    async fn view(&self, what: &'static str) -> Response {
        match self.ask(|answer| Request::View(what, answer)).await {
            Ok(Some(view)) => Json(view).into_response(),
            Ok(None) => {
                (StatusCode::NOT_FOUND, format!("a node of role {} has no {what}\n", self.role)).into_response()
            }
            Err(problem) => problem.into_response(),
        }
    }

    async fn counters(&self) -> Result<CountersView, Problem> {
        let mut view = CountersView { node: self.node.to_string(), ..CountersView::default() };
        for counters in &self.counters {
            counters.add_to(&mut view);
        }
        if let Some(protocol) = self.ask(|answer| Request::View("protocol", answer)).await? {
            view.protocol = serde_json::from_value(protocol)
                .map_err(|e| (StatusCode::INTERNAL_SERVER_ERROR, format!("protocol counters: {e}\n")))?;
        }
        Ok(view)
    }
}

async fn metrics(State(admin): State<Admin>) -> Result<impl IntoResponse, Problem> {
    let view = admin.counters().await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics::render(&view)))
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

async fn events(State(admin): State<Admin>, Query(query): Query<EventsQuery>) -> impl IntoResponse {
    let body = if query.follow {
        let lines = stream::unfold((admin.events, query.since), |(log, since)| async move {
            let (text, next) = log.wait_since(since).await;
            Some((Ok::<_, std::convert::Infallible>(text), (log, next)))
        });
        Body::from_stream(lines)
    } else {
        Body::from(admin.events.since(query.since).0)
    };
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body)
}

async fn call(State(admin): State<Admin>, Json(request): Json<CallRequest>) -> Response {
    if admin.role != Role::Pod {
        return refused(&Refusal::NotHere("only pods call".into())).into_response();
    }
    match admin.ask(|answer| Request::Call(request, answer)).await {
        Ok(Ok(reply)) => Json(reply).into_response(),
        Ok(Err(refusal)) => refused(&refusal).into_response(),
        Err(problem) => problem.into_response(),
    }
}

async fn order(State(admin): State<Admin>, Json(request): Json<OrderRequest>) -> Response {
    let command = match order::check(admin.role, &admin.ports, request) {
        Ok(command) => command,
        Err(refusal) => return refused(&refusal).into_response(),
    };
    if command == Command::Stop {
        // The process ends with the order: let the answer out first.
        tokio::spawn(async move {
            tokio::time::sleep(STOP_AFTER).await;
            admin.ask(|answer| Request::Order(command, answer)).await
        });
        return Json(()).into_response();
    }
    match admin.ask(|answer| Request::Order(command, answer)).await {
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
