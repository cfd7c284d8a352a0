//! The gRPC service, with health and reflection.

use axum::Router;
use damc_wire::{Name, RefusalReason};
use tonic::{Request, Response, Status};
use tonic_health::ServingStatus;

use crate::proto::class1_server::{Class1, Class1Server};
use crate::proto::{AnnounceReply, AnnounceRequest, Challenge, Known, Outcome, QueryReply, QueryRequest};
use crate::words::{Fault, Words};
use crate::{DESCRIPTORS, Gateway, Refusal, reached};

/// Its names in the health service and in paths.
const SERVICE: &str = "damc.class1.v1.Class1";

struct Service<G>(G);

pub(crate) async fn routes<G: Gateway>(gateway: G) -> Router {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status(SERVICE, ServingStatus::Serving).await;
    let router = Router::new()
        .route_service(&format!("/{SERVICE}/{{*method}}"), Class1Server::new(Service(gateway)))
        .route_service("/grpc.health.v1.Health/{*method}", health);
    let reflection =
        tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS).build_v1();
    match reflection {
        Ok(reflection) => router.route_service("/grpc.reflection.v1.ServerReflection/{*method}", reflection),
        // The descriptors come from this build, and a test reads them.
        Err(_) => router,
    }
}

impl From<AnnounceRequest> for Words {
    fn from(request: AnnounceRequest) -> Self {
        let add = request.add.into_iter().map(|e| (e.prefix, Some(e.pool).filter(|p| !p.is_empty()), e.weight));
        Self {
            pod: request.pod,
            add: add.collect(),
            withdraw: request.withdraw,
            request: Some(request.request).filter(|n| *n != 0),
            signature: Some(request.signature).filter(|s| !s.is_empty()),
        }
    }
}

#[tonic::async_trait]
impl<G: Gateway> Class1 for Service<G> {
    async fn prepare(&self, request: Request<AnnounceRequest>) -> Result<Response<Challenge>, Status> {
        let words = Words { request: None, signature: None, ..Words::from(request.into_inner()) };
        match words.execute(&self.0).await {
            Err(Fault::Unsigned { request, sg, session }) => {
                Ok(Response::new(Challenge { request, sg: sg.to_string(), session }))
            }
            Err(fault) => Err(status(fault)),
            Ok(_) => Err(Status::internal("executed without a signature")),
        }
    }

    async fn announce(&self, request: Request<AnnounceRequest>) -> Result<Response<AnnounceReply>, Status> {
        let reply = Words::from(request.into_inner()).execute(&self.0).await.map_err(status)?;
        if let Some(RefusalReason::BadIdentity) = reply.outcomes.iter().find_map(|o| o.refusal) {
            return Err(Status::permission_denied("the signature is not that of the pod"));
        }
        let outcomes = reply.outcomes.iter().map(|outcome| {
            let (address, host) = reached(self.0.domain(), &outcome.prefix);
            let reason = outcome.refusal.map_or_else(String::new, |r| r.label().to_owned());
            Outcome { prefix: outcome.prefix.to_string(), accepted: outcome.refusal.is_none(), reason, address, host }
        });
        Ok(Response::new(AnnounceReply { outcomes: outcomes.collect() }))
    }

    async fn query(&self, request: Request<QueryRequest>) -> Result<Response<QueryReply>, Status> {
        let under = request.into_inner().prefix;
        let under = (!under.is_empty()).then(|| under.parse::<Name>()).transpose();
        let under = under.map_err(|e| Status::invalid_argument(format!("prefix: {e}")))?;
        let names = self.0.names().await.map_err(|refusal| status(Fault::Refused(refusal)))?;
        let names = names.iter().filter(|name| under.as_ref().is_none_or(|u| u.is_prefix_of(name))).map(|name| {
            let (address, host) = reached(self.0.domain(), name);
            Known { prefix: name.to_string(), address, host }
        });
        Ok(Response::new(QueryReply { names: names.collect() }))
    }
}

fn status(fault: Fault) -> Status {
    match fault {
        Fault::Field(at, why) => Status::invalid_argument(format!("{at}: {why}")),
        Fault::Unsigned { .. } => {
            Status::unauthenticated("not signed: Prepare gives what the pod cannot know of the bytes to sign")
        }
        Fault::Refused(Refusal::NoSuchPod) => Status::not_found("no pod of this name has an adjacency here"),
        Fault::Refused(Refusal::Busy) => Status::unavailable("too many requests at once"),
        Fault::Refused(Refusal::TimedOut) => Status::deadline_exceeded("the authentication entity has not decided yet"),
    }
}
