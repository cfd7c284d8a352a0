//! `damc call`.

use damc_lab::Lab;
use damc_mgmt::call::CallRequest;

use crate::exit::{Exit, Outcome};
use crate::session::{block_on, of_lab};

/// Invoke a method of a service and print its result.
///
/// Where the call fails, the reason goes to standard error and the exit code is 1.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The pod that calls.
    pub from: String,
    /// Name of the service, instance or pool.
    pub name: String,
    /// Method, such as echo, add, whoami, sleep or fail.
    pub method: String,
    /// Its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<String>,
    /// Print the path taken. Options go before the arguments of the method, or before the pod.
    #[arg(long)]
    pub trace: bool,
    /// Print the whole answer as JSON.
    #[arg(long)]
    pub json: bool,
    /// How long to wait, in ms.
    #[arg(long, default_value_t = 2000, value_name = "MS")]
    pub deadline: u64,
    /// The lab to use, where more than one is up.
    #[arg(long, value_name = "NAME")]
    pub lab: Option<String>,
}

pub fn run(args: &Args) -> Outcome {
    // `damc call pod-1 /B/4 add 2 3 --trace` reads well, so options of ours that come last are taken as such.
    let (mut arguments, mut trace, mut json) = (args.arguments.as_slice(), args.trace, args.json);
    while let [rest @ .., last] = arguments
        && matches!(last.as_str(), "--trace" | "--json")
    {
        trace |= last == "--trace";
        json |= last == "--json";
        arguments = rest;
    }
    let request = CallRequest {
        name: args.name.clone(),
        method: args.method.clone(),
        args: arguments.to_vec(),
        deadline_ms: args.deadline,
        trace,
        source: None,
        flow: None,
    };
    block_on(async {
        let lab = Lab::attach(args.lab.as_deref()).map_err(of_lab)?;
        let reply = lab.call(&args.from, &request).await.map_err(of_lab)?;
        if json {
            println!("{}", serde_json::to_string(&reply)?);
        } else if let Some(result) = &reply.result {
            println!("{result}");
        }
        if trace && !json {
            println!("there: {}", reply.path.join(" → "));
            println!("back:  {}", reply.return_path.join(" → "));
            println!("time:  {:.3} ms", reply.elapsed_ns as f64 / 1e6);
        }
        let Some(reason) = reply.error else { return Ok(Exit::Passed) };
        if !json {
            let detail = reply.detail.filter(|detail| !detail.is_empty()).map(|detail| format!(" ({detail})"));
            eprintln!("damc: {} {}: {reason}{}", args.name, args.method, detail.unwrap_or_default());
        }
        Ok(Exit::Failed)
    })
}
