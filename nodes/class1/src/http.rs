//! The resource `/v1/prefixes`.

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use damc_wire::message::AnnounceReply;
use damc_wire::{Name, RefusalReason, hex};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::words::{Fault, Words};
use crate::{Gateway, Refusal, reached};

/// Longest body of a request, bytes.
const LONGEST: usize = 16 << 10;

/// A request to announce and withdraw.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    pod: String,
    #[serde(default)]
    add: Vec<Entry>,
    #[serde(default)]
    withdraw: Vec<String>,
    /// The number from the 401 answer. It is text, because it is too long for some JSON readers.
    #[serde(default)]
    request: Option<String>,
    /// Hexadecimal.
    #[serde(default)]
    signature: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    prefix: String,
    #[serde(default)]
    pool: Option<String>,
    #[serde(default)]
    weight: u32,
}

#[derive(Serialize)]
struct Known {
    prefix: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    address: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    host: String,
}

#[derive(Deserialize)]
struct Under {
    under: Option<String>,
}

/// A problem (RFC 9457).
struct Problem {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: String,
    more: Map<String, Value>,
}

impl Problem {
    fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, kind, title, detail: detail.into(), more: Map::new() }
    }

    fn with(mut self, key: &str, value: Value) -> Self {
        self.more.insert(key.to_owned(), value);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = Map::new();
        body.insert("type".into(), format!("urn:damc:problem:{}", self.kind).into());
        body.insert("title".into(), self.title.into());
        body.insert("status".into(), self.status.as_u16().into());
        body.insert("detail".into(), self.detail.into());
        body.extend(self.more);
        (self.status, [(header::CONTENT_TYPE, "application/problem+json")], Value::Object(body).to_string())
            .into_response()
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoSuchPod => Self::new(
                StatusCode::NOT_FOUND,
                "no-such-pod",
                "No such pod",
                "no pod of this name has an adjacency with this gateway",
            ),
            Refusal::Busy => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "Busy", "too many requests at once; try again")
            }
            Refusal::TimedOut => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "undecided",
                "Undecided",
                "the authentication entity has not decided yet; the gateway keeps asking it",
            ),
        }
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Field(at, why) => bad(format!("{at}: {why}")).with("field", at.into()),
            Fault::Refused(refusal) => refusal.into(),
            Fault::Unsigned { request, sg, session } => Self::new(
                StatusCode::UNAUTHORIZED,
                "signature-required",
                "Signature required",
                "sign the announcement, with `request`, `sg` and `session` in it, with the pod's Ed25519 key and send \
                 the same request again with `request` and `signature` (hexadecimal); nodes/WIRE.md, section 26, says \
                 which bytes these are",
            )
            .with("request", request.to_string().into())
            .with("sg", sg.as_str().into())
            .with("session", session.to_string().into()),
        }
    }
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-request", "Bad request", detail)
}

pub(crate) fn routes<G: Gateway>(gateway: G) -> Router {
    Router::new()
        .route("/v1/prefixes", get(list::<G>).post(announce::<G>))
        .route("/v1/prefixes/{*name}", get(look_up::<G>))
        .layer(DefaultBodyLimit::max(LONGEST))
        .fallback(nothing)
        .method_not_allowed_fallback(not_so)
        .with_state(gateway)
}

async fn nothing(uri: Uri) -> Problem {
    let detail = format!("{} is not here; there is /v1/prefixes", uri.path());
    Problem::new(StatusCode::NOT_FOUND, "no-such-resource", "No such resource", detail)
}

async fn not_so(method: Method) -> Problem {
    let detail = format!("{method} has no meaning here; GET looks up, POST announces and withdraws");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "no-such-method", "No such method", detail)
}

async fn announce<G: Gateway>(State(gateway): State<G>, body: Bytes) -> Result<Response, Problem> {
    // Parsed here, not by an extractor: an error becomes a problem too, and every content type is accepted.
    let body: Body = serde_json::from_slice(&body).map_err(|e| bad(e.to_string()))?;
    let request = body.request.map(|text| text.parse().map_err(|_| bad("request: not the number that was given")));
    let signature =
        body.signature.map(|text| hex::from_hex(text.trim()).map_err(|_| bad("signature: not hexadecimal")));
    let words = Words {
        pod: body.pod,
        add: body.add.into_iter().map(|e| (e.prefix, e.pool, e.weight)).collect(),
        withdraw: body.withdraw,
        request: request.transpose()?,
        signature: signature.transpose()?,
    };
    let reply = words.execute(&gateway).await?;
    Ok(answer(gateway.domain(), &reply))
}

/// 200 if any name was accepted; otherwise a problem with a status for its kind.
fn answer(domain: &str, reply: &AnnounceReply) -> Response {
    let outcome = |outcome: &damc_wire::message::Outcome| {
        let (address, host) = reached(domain, &outcome.prefix);
        let reason = outcome.refusal.map(RefusalReason::label);
        let accepted = reason.is_none();
        json!({"prefix": outcome.prefix.to_string(), "accepted": accepted, "reason": reason, "address": address, "host": host})
    };
    let outcomes: Vec<Value> = reply.outcomes.iter().map(outcome).collect();
    let refused = reply.outcomes.iter().filter_map(|o| o.refusal).next();
    match refused.filter(|_| reply.outcomes.iter().all(|o| o.refusal.is_some())) {
        None => Json(json!({ "outcomes": outcomes })).into_response(),
        Some(reason) => {
            let status = match reason {
                RefusalReason::Conflict => StatusCode::CONFLICT,
                RefusalReason::BadPrefix => StatusCode::UNPROCESSABLE_ENTITY,
                RefusalReason::SpaUnreachable
                | RefusalReason::Overloaded
                | RefusalReason::RateLimited
                | RefusalReason::HeldDown => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::FORBIDDEN,
            };
            Problem::new(status, "refused", "Refused", format!("refused: {reason}"))
                .with("reason", reason.label().into())
                .with("outcomes", outcomes.into())
                .into_response()
        }
    }
}

async fn list<G: Gateway>(State(gateway): State<G>, Query(under): Query<Under>) -> Result<Json<Value>, Problem> {
    let under = under.under.filter(|text| !text.is_empty());
    let under = under.map(|text| text.parse::<Name>().map_err(|e| bad(format!("under: {e}")))).transpose()?;
    let names = gateway.names().await?;
    let names = names.iter().filter(|name| under.as_ref().is_none_or(|u| u.is_prefix_of(name)));
    let known: Vec<Known> = names.map(|name| known(gateway.domain(), name)).collect();
    Ok(Json(json!({ "names": known })))
}

async fn look_up<G: Gateway>(State(gateway): State<G>, Path(name): Path<String>) -> Result<Json<Known>, Problem> {
    let name: Name = format!("/{name}").parse().map_err(|e| bad(format!("name: {e}")))?;
    if gateway.names().await?.contains(&name) {
        return Ok(Json(known(gateway.domain(), &name)));
    }
    let detail = format!("this gateway has no route to {name}");
    Err(Problem::new(StatusCode::NOT_FOUND, "no-such-name", "No such name", detail))
}

fn known(domain: &str, name: &Name) -> Known {
    let (address, host) = reached(domain, name);
    Known { prefix: name.to_string(), address, host }
}
