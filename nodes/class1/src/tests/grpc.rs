//! gRPC, by the client that tonic generates from the same description.

use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::serve;
use crate::proto::class1_client::Class1Client;
use crate::proto::{AnnounceRequest, Entry, QueryRequest};

async fn channel() -> Channel {
    Endpoint::from_shared(format!("http://{}", serve())).unwrap().connect().await.unwrap()
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn request(pod: &str, prefix: &str, weight: u32) -> AnnounceRequest {
    let entry = Entry { prefix: prefix.into(), pool: String::new(), weight };
    AnnounceRequest { pod: pod.into(), add: vec![entry], withdraw: vec!["/A/8".into()], ..AnnounceRequest::default() }
}

#[test]
fn reg_04_an_announcement_is_prepared_signed_and_executed() {
    run(async {
        let mut client = Class1Client::new(channel().await);
        let unsigned = request("pod-1", "/A/9", 3);
        let refused = client.announce(unsigned.clone()).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
        let challenge = client.prepare(unsigned.clone()).await.unwrap().into_inner();
        assert!(challenge.request >= 1 << 63);
        assert_eq!((challenge.sg.as_str(), challenge.session), ("sg-1", 7));
        let signed =
            |byte: u8| AnnounceRequest { request: challenge.request, signature: vec![byte; 64], ..unsigned.clone() };
        let outcomes = client.announce(signed(1)).await.unwrap().into_inner().outcomes;
        assert_eq!(outcomes.len(), 2);
        assert!(outcomes.iter().all(|o| o.accepted && o.reason.is_empty()));
        assert_eq!((outcomes[0].prefix.as_str(), outcomes[0].host.as_str()), ("/A/9", "9.a.example.damc"));
        let forged = client.announce(signed(2)).await.unwrap_err();
        assert_eq!(forged.code(), Code::PermissionDenied);
    });
}

#[test]
fn reg_04_whatever_is_wrong_has_a_status() {
    run(async {
        let mut client = Class1Client::new(channel().await);
        for (request, code, word) in [
            (AnnounceRequest { pod: "pod-1".into(), ..AnnounceRequest::default() }, Code::InvalidArgument, "nothing"),
            (request("pod-1", "A", 1), Code::InvalidArgument, "add[0].prefix"),
            (request("pod-1", "/A", 70_000), Code::InvalidArgument, "65535"),
            (request("pod-9", "/A", 1), Code::NotFound, "adjacency"),
            (
                AnnounceRequest { request: 1, signature: vec![1], ..request("pod-1", "/A", 1) },
                Code::InvalidArgument,
                "64",
            ),
        ] {
            let status: Status = client.announce(request).await.unwrap_err();
            assert_eq!(status.code(), code, "{status}");
            assert!(status.message().contains(word), "{status}");
        }
        let status = client.query(QueryRequest { prefix: "B".into() }).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
    });
}

#[test]
fn reg_04_names_are_listed() {
    run(async {
        let mut client = Class1Client::new(channel().await);
        let names = async |client: &mut Class1Client<Channel>, prefix: &str| {
            let reply = client.query(QueryRequest { prefix: prefix.into() }).await.unwrap().into_inner();
            reply.names.into_iter().map(|name| name.prefix).collect::<Vec<_>>()
        };
        assert_eq!(names(&mut client, "").await, ["/A/1", "/B/4", "/B"]);
        assert_eq!(names(&mut client, "/B").await, ["/B/4", "/B"]);
    });
}

#[test]
fn reg_04_health_and_reflection_know_the_service() {
    run(async {
        let channel = channel().await;
        let mut health = HealthClient::new(channel.clone());
        let mut check = async |service: &str| health.check(HealthCheckRequest { service: service.into() }).await;
        for service in ["", "damc.class1.v1.Class1"] {
            assert_eq!(check(service).await.unwrap().into_inner().status(), ServingStatus::Serving);
        }
        assert_eq!(check("nobody").await.unwrap_err().code(), Code::NotFound);

        let message_request = Some(MessageRequest::FileContainingSymbol("damc.class1.v1.Class1".into()));
        let request = ServerReflectionRequest { host: String::new(), message_request };
        let mut reflection = ServerReflectionClient::new(channel);
        let request = tonic::codegen::tokio_stream::once(request);
        let mut answers = reflection.server_reflection_info(request).await.unwrap().into_inner();
        let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
        let MessageResponse::FileDescriptorResponse(files) = answer else { panic!("{answer:?}") };
        let has = |word: &str| files.file_descriptor_proto[0].windows(word.len()).any(|w| w == word.as_bytes());
        assert!(has("Class1") && has("Prepare") && has("signature"));
    });
}
