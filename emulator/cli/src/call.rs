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
    /// Its arguments. Options of this command may stand among them; after `--`, everything is an argument.
    #[arg(allow_negative_numbers = true)]
    pub arguments: Vec<String>,
    /// Print the path taken.
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
    let request = CallRequest {
        name: args.name.clone(),
        method: args.method.clone(),
        args: args.arguments.clone(),
        deadline_ms: args.deadline,
        trace: args.trace,
        source: None,
        flow: None,
    };
    block_on(async {
        let lab = Lab::attach(args.lab.as_deref()).map_err(of_lab)?;
        let reply = lab.call(&args.from, &request).await.map_err(of_lab)?;
        if args.json {
            println!("{}", serde_json::to_string(&reply)?);
        } else if let Some(result) = &reply.result {
            println!("{result}");
        }
        if args.trace && !args.json {
            println!("there: {}", reply.path.join(" → "));
            println!("back:  {}", reply.return_path.join(" → "));
            println!("time:  {:.3} ms", reply.elapsed_ns as f64 / 1e6);
        }
        let Some(reason) = reply.error else { return Ok(Exit::Passed) };
        if !args.json {
            let detail = reply.detail.filter(|detail| !detail.is_empty()).map(|detail| format!(" ({detail})"));
            eprintln!("damc: {} {}: {reason}{}", args.name, args.method, detail.unwrap_or_default());
        }
        Ok(Exit::Failed)
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Call {
        #[command(flatten)]
        args: Args,
    }

    fn parsed(line: &str) -> Args {
        Call::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}")).args
    }

    #[test]
    fn options_may_come_before_among_and_after_the_arguments() {
        for line in [
            "call --lab x --trace --json --deadline 5 pod-1 /B/4 add 2 -3",
            "call pod-1 --lab x /B/4 --trace add --json 2 --deadline=5 -3",
            "call pod-1 /B/4 add 2 -3 --deadline 5 --trace --json --lab x",
        ] {
            let args = parsed(line);
            assert_eq!(args.arguments, ["2", "-3"], "{line}");
            assert_eq!((args.lab.as_deref(), args.deadline), (Some("x"), 5), "{line}");
            assert!(args.trace && args.json, "{line}");
        }
    }

    #[test]
    fn what_follows_two_dashes_is_the_method_s() {
        let args = parsed("call pod-1 /B/4 echo --lab x -- --lab y --trace");
        assert_eq!(args.arguments, ["--lab", "y", "--trace"]);
        assert_eq!((args.lab.as_deref(), args.trace), (Some("x"), false));
    }

    #[test]
    fn an_unknown_option_is_not_taken_for_an_argument() {
        assert!(Call::try_parse_from(["call", "pod-1", "/B/4", "echo", "--labb", "x"]).is_err());
    }
}
