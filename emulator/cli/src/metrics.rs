//! `damc metrics`.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use damc_lab::Lab;
use damc_lab::control::NodeState;
use damc_mgmt::metrics::render;
use damc_mgmt::view::CountersView;
use tokio::net::TcpListener;

use crate::exit::{Exit, Failure, Outcome};
use crate::session::{block_on, of_lab};

/// Print the counters of all nodes in the text format of Prometheus, or serve them to it.
///
/// Nodes serve them at Unix sockets in namespaces, where Prometheus does not come. `topologies/apps/grafana` has a dashboard and
/// says how it is set up.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Serve them at this address and port, at /metrics, until interrupted.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// The lab to use, where more than one is up.
    #[arg(long, value_name = "NAME")]
    pub lab: Option<String>,
}

pub fn run(args: &Args) -> Outcome {
    block_on(async {
        let lab = Lab::attach(args.lab.as_deref()).map_err(of_lab)?;
        let Some(address) = args.listen else {
            print!("{}", gather(&lab).await.map_err(of_lab)?);
            return Ok(Exit::Passed);
        };
        let listener = TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("cannot listen at {address}")).map_err(Failure::usage)?;
        println!("http://{}/metrics", listener.local_addr()?);
        let lab = Arc::new(lab);
        let answer = move || {
            let lab = Arc::clone(&lab);
            async move { answer(&lab).await }
        };
        axum::serve(listener, Router::new().route("/metrics", get(answer))).await?;
        Ok(Exit::Passed)
    })
}

async fn answer(lab: &Lab) -> Response {
    match gather(lab).await {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        // The lab may be down for a while; whoever scrapes sees that by the status.
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

/// The counters of those nodes that run and have a management interface.
async fn gather(lab: &Lab) -> damc_lab::Result<String> {
    let mut views = Vec::new();
    for node in lab.status().await?.nodes.iter().filter(|node| node.state == NodeState::Ready) {
        views.extend(lab.show::<CountersView>(&node.name).await.ok());
    }
    Ok(render(&views))
}
