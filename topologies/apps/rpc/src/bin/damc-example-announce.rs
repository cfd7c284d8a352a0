//! `damc-example-announce announce PREFIX [POOL]`, `… withdraw PREFIX`, `… query [PREFIX]`, `… health`, `… services`: class 1
//! over gRPC, by an ordinary stub, from a program in a pod. It finds gateway, pod and key in `DAMC_GATEWAY`, `DAMC_NODE`
//! and `DAMC_KEY`. Exit code 1, and the reason on standard error, where a call or a name is refused.

use std::process::ExitCode;
use std::time::Duration;

use damc_example_rpc::announcement::signed_bytes;
use damc_example_rpc::class1::class1_client::Class1Client;
use damc_example_rpc::class1::{AnnounceReply, AnnounceRequest, Entry, QueryRequest};
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use ed25519_dalek::{Signer as _, SigningKey};
use tonic::codegen::tokio_stream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

/// Time for the connection, and for a call: the authentication entity may be far away.
const WITHIN: Duration = Duration::from_secs(12);
/// What the gateway's service is called.
const SERVICE: &str = "damc.class1.v1.Class1";
const USAGE: &str =
    "usage: damc-example-announce announce PREFIX [POOL] | withdraw PREFIX | query [PREFIX] | health | services";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let entry = |prefix: &str, pool: &str| Entry { prefix: prefix.to_owned(), pool: pool.to_owned(), weight: 1 };
    let done = match words[..] {
        ["announce", prefix] => announce(vec![entry(prefix, "")], Vec::new()).await,
        ["announce", prefix, pool] => announce(vec![entry(prefix, pool)], Vec::new()).await,
        ["withdraw", prefix] => announce(Vec::new(), vec![prefix.to_owned()]).await,
        ["query"] => query("").await,
        ["query", prefix] => query(prefix).await,
        ["health"] => health().await,
        ["services"] => services().await,
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(lines) => {
            lines.iter().for_each(|line| println!("{line}"));
            ExitCode::SUCCESS
        }
        Err(status) => {
            eprintln!("{:?}: {}", status.code(), status.message());
            ExitCode::FAILURE
        }
    }
}

async fn channel() -> Result<Channel, Status> {
    let address = format!("http://[{}]", variable("DAMC_GATEWAY")?);
    let endpoint =
        Endpoint::from_shared(address).map_err(|e| Status::invalid_argument(format!("DAMC_GATEWAY: {e}")))?;
    let connected = endpoint.connect_timeout(WITHIN).timeout(WITHIN).connect().await;
    connected.map_err(|e| Status::unavailable(format!("{e:?}")))
}

/// Asks for the gateway's half of what is to be signed, signs it, says it.
async fn announce(add: Vec<Entry>, withdraw: Vec<String>) -> Result<Vec<String>, Status> {
    let key = key()?;
    let mut client = Class1Client::new(channel().await?);
    let request = AnnounceRequest { pod: variable("DAMC_NODE")?, add, withdraw, ..AnnounceRequest::default() };
    let challenge = client.prepare(request.clone()).await?.into_inner();
    let bytes = signed_bytes(&request, &challenge).map_err(Status::invalid_argument)?;
    let signature = key.sign(&bytes).to_bytes().to_vec();
    let signed = AnnounceRequest { request: challenge.request, signature, ..request };
    told(&client.announce(signed).await?.into_inner())
}

/// A line for each name; a refusal where one is refused.
fn told(reply: &AnnounceReply) -> Result<Vec<String>, Status> {
    let refused = reply.outcomes.iter().find(|outcome| !outcome.accepted);
    match refused {
        Some(outcome) => Err(Status::permission_denied(format!("{}: {}", outcome.prefix, outcome.reason))),
        None => Ok(reply.outcomes.iter().map(|o| format!("{} {} {}", o.prefix, o.address, o.host)).collect()),
    }
}

async fn query(prefix: &str) -> Result<Vec<String>, Status> {
    let mut client = Class1Client::new(channel().await?);
    let reply = client.query(QueryRequest { prefix: prefix.to_owned() }).await?.into_inner();
    Ok(reply.names.iter().map(|name| format!("{} {} {}", name.prefix, name.address, name.host)).collect())
}

async fn health() -> Result<Vec<String>, Status> {
    let request = HealthCheckRequest { service: SERVICE.to_owned() };
    let reply = HealthClient::new(channel().await?).check(request).await?.into_inner();
    Ok(vec![format!("{:?}", reply.status()).to_ascii_lowercase()])
}

async fn services() -> Result<Vec<String>, Status> {
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let request = ServerReflectionRequest { host: String::new(), message_request };
    let mut client = ServerReflectionClient::new(channel().await?);
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await?.into_inner();
    match answers.message().await?.and_then(|answer| answer.message_response) {
        Some(MessageResponse::ListServicesResponse(list)) => Ok(list.service.into_iter().map(|s| s.name).collect()),
        other => Err(Status::new(Code::Internal, format!("no list of services: {other:?}"))),
    }
}

fn variable(name: &str) -> Result<String, Status> {
    std::env::var(name).map_err(|e| Status::failed_precondition(format!("{name}: {e}")))
}

/// The pod's key, out of a PKCS#8 file (RFC 8410).
fn key() -> Result<SigningKey, Status> {
    let path = variable("DAMC_KEY")?;
    let bad = |why: String| Status::failed_precondition(format!("{path}: {why}"));
    let text = std::fs::read_to_string(&path).map_err(|e| bad(e.to_string()))?;
    SigningKey::from_pkcs8_pem(&text).map_err(|e| bad(e.to_string()))
}
