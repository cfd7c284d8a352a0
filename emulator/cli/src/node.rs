//! `damc node`.

use damc_lab::Lab;
use damc_lab::control::NodeAction;

use crate::exit::{Exit, Failure, Outcome};
use crate::session::{block_on, of_lab};
use crate::wait::WaitOption;

/// Kill, stop, start, pause or resume the process of a node.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node.
    pub node: String,
    /// kill, stop, start, pause or resume.
    pub action: String,
    /// Print the state of the node after that as JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub wait: WaitOption,
    /// The lab to use, where more than one is up.
    #[arg(long, value_name = "NAME")]
    pub lab: Option<String>,
}

pub fn run(args: &Args) -> Outcome {
    let action = NodeAction::ALL.into_iter().find(|action| action.label() == args.action).ok_or_else(|| {
        let actions = NodeAction::ALL.map(NodeAction::label).join(", ");
        Failure::usage(anyhow::anyhow!("a node knows {actions}, not `{}`", args.action))
    })?;
    block_on(async {
        let lab = Lab::attach(args.lab.as_deref()).map_err(of_lab)?;
        lab.node(&args.node, action).await.map_err(of_lab)?;
        args.wait.settle(&lab, args.json).await?;
        if args.json {
            let status = lab.status().await.map_err(of_lab)?;
            let node = status.nodes.iter().find(|node| node.name == args.node);
            println!("{}", serde_json::to_string(&node)?);
        }
        Ok(Exit::Passed)
    })
}
