//! `damc-example-calculator [ADDRESS:PORT]…`: the calculator on these addresses; `DAMC_ADDRESS` and `DAMC_POOL_ADDRESS`
//! at port 50051 where none is given.

use std::net::{Ipv6Addr, SocketAddr};
use std::pin::Pin;

use damc_example_rpc::DESCRIPTORS;
use damc_example_rpc::calculator::calculator_server::{Calculator, CalculatorServer};
use damc_example_rpc::calculator::{Identity, Nothing, Numbers, Sum};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// Port where none is given.
const PORT: u16 = 50051;

#[derive(Clone)]
struct Service {
    name: String,
}

#[tonic::async_trait]
impl Calculator for Service {
    async fn add(&self, request: Request<Numbers>) -> Result<Response<Sum>, Status> {
        let numbers = request.into_inner().numbers;
        if numbers.is_empty() {
            return Err(Status::invalid_argument("takes numbers to add"));
        }
        let sum = numbers.iter().try_fold(0_i64, |sum, n| sum.checked_add(*n));
        let value = sum.ok_or_else(|| Status::out_of_range("the sum is too large"))?;
        Ok(Response::new(Sum { value }))
    }

    type DoubleStream = Pin<Box<dyn tonic::codegen::tokio_stream::Stream<Item = Result<Sum, Status>> + Send>>;

    async fn double(&self, request: Request<Numbers>) -> Result<Response<Self::DoubleStream>, Status> {
        let numbers = request.into_inner().numbers;
        let double =
            |n: i64| n.checked_mul(2).map(|value| Sum { value }).ok_or_else(|| Status::out_of_range("too large"));
        let stream = tonic::codegen::tokio_stream::iter(numbers.into_iter().map(double));
        Ok(Response::new(Box::pin(stream)))
    }

    async fn who_am_i(&self, request: Request<Nothing>) -> Result<Response<Identity>, Status> {
        let said = request.metadata().get("traceparent").and_then(|value| value.to_str().ok());
        let traceparent = said.unwrap_or_default().to_owned();
        Ok(Response::new(Identity { name: self.name.clone(), traceparent }))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut addresses: Vec<SocketAddr> = std::env::args().skip(1).map(|a| a.parse()).collect::<Result<_, _>>()?;
    if addresses.is_empty() {
        let given = ["DAMC_ADDRESS", "DAMC_POOL_ADDRESS"].into_iter().filter_map(|key| std::env::var(key).ok());
        let given: Vec<Ipv6Addr> = given.map(|a| a.parse()).collect::<Result<_, _>>()?;
        addresses = given.into_iter().map(|a| SocketAddr::from((a, PORT))).collect();
    }
    if addresses.is_empty() {
        return Err("give an address to listen on, such as [::1]:50051".into());
    }
    let name = std::env::var("DAMC_NAME").unwrap_or_else(|_| "calculator".to_owned());
    let mut tasks = Vec::new();
    for address in addresses {
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_serving::<CalculatorServer<Service>>().await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .build_v1()?;
        let service = CalculatorServer::new(Service { name: name.clone() });
        let server = Server::builder().add_service(health).add_service(reflection).add_service(service);
        println!("{name} listens on {address}");
        tasks.push(tokio::spawn(server.serve(address)));
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}
