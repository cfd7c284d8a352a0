//! `damc-example-calculate HOST add|double NUMBER…`, `… HOST who`: one call, its result on standard output.
//! Exit code 1, and the status on standard error, where the call fails. What `TRACEPARENT` says (W3C Trace Context) goes along.

use std::process::ExitCode;
use std::time::Duration;

use damc_example_rpc::calculator::calculator_client::CalculatorClient;
use damc_example_rpc::calculator::{Nothing, Numbers};
use tonic::transport::Endpoint;
use tonic::{Request, Status};

/// Time for the connection, and for the call.
const WITHIN: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [host, method @ ("add" | "double" | "who"), ref numbers @ ..] => match call(host, method, numbers).await {
            Ok(text) => {
                println!("{text}");
                ExitCode::SUCCESS
            }
            Err(status) => {
                eprintln!("{:?}: {}", status.code(), status.message());
                ExitCode::FAILURE
            }
        },
        _ => {
            eprintln!("usage: damc-example-calculate HOST add|double NUMBER…, or HOST who");
            ExitCode::from(2)
        }
    }
}

async fn call(host: &str, method: &str, numbers: &[&str]) -> Result<String, Status> {
    let numbers = numbers.iter().map(|n| n.parse::<i64>()).collect::<Result<Vec<_>, _>>();
    let numbers = numbers.map_err(|e| Status::invalid_argument(e.to_string()))?;
    let address = if host.contains(':') { format!("http://{host}") } else { format!("http://{host}:50051") };
    let endpoint = Endpoint::from_shared(address).map_err(|e| Status::invalid_argument(e.to_string()))?;
    let channel = endpoint.connect_timeout(WITHIN).timeout(WITHIN).connect().await;
    let channel = channel.map_err(|e| Status::unavailable(format!("{e:?}")))?;
    let mut client = CalculatorClient::with_interceptor(channel, in_trace);
    match method {
        "add" => Ok(client.add(Numbers { numbers }).await?.into_inner().value.to_string()),
        "double" => {
            let mut stream = client.double(Numbers { numbers }).await?.into_inner();
            let mut values = Vec::new();
            while let Some(sum) = stream.message().await? {
                values.push(sum.value.to_string());
            }
            Ok(values.join(" "))
        }
        _ => {
            let said = client.who_am_i(Nothing {}).await?.into_inner();
            Ok(format!("{} {}", said.name, said.traceparent).trim_end().to_owned())
        }
    }
}

/// The call belongs to the trace of whoever started this program: its span is theirs.
fn in_trace(mut request: Request<()>) -> Result<Request<()>, Status> {
    if let Ok(context) = std::env::var("TRACEPARENT") {
        let value = context.parse().map_err(|_| Status::invalid_argument("TRACEPARENT is no header"))?;
        request.metadata_mut().insert("traceparent", value);
    }
    Ok(request)
}
