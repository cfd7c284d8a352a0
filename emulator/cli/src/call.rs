//! `damc call`.

use std::str::FromStr;

use damc_lab::Lab;
use damc_mgmt::call::{CallReply, CallRequest};
use damc_wire::TraceContext;
use serde::Serialize;

use crate::exit::{Exit, Outcome};
use crate::session::{block_on, of_lab};

/// Invoke a method of a service and print its result.
///
/// Where the call fails, the reason goes to standard error and the exit code is 1. Several pods or names, separated by commas,
/// are called one after the other, each from each: every result is preceded by pod and name, and --json prints an array.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The pod that calls, or several: pod-1,pod-2.
    pub from: Several,
    /// Name of the service, instance or pool, or several: /A/1,/B/4.
    pub name: Several,
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
    /// The trace that the call belongs to, as a `traceparent` header has it (W3C Trace Context).
    #[arg(long, value_name = "CONTEXT")]
    pub traceparent: Option<TraceContext>,
    /// The lab to use, where more than one is up.
    #[arg(long, value_name = "NAME")]
    pub lab: Option<String>,
}

/// Words with commas between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Several(Vec<String>);

impl FromStr for Several {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<String> = text.split(',').map(str::to_owned).collect();
        if words.iter().any(String::is_empty) {
            Err("nothing before or after a comma".to_owned())
        } else {
            Ok(Self(words))
        }
    }
}

/// What `--json` prints of one of several calls.
#[derive(Debug, Serialize)]
struct Called<'a> {
    from: &'a str,
    name: &'a str,
    #[serde(flatten)]
    reply: CallReply,
}

pub fn run(args: &Args) -> Outcome {
    block_on(async {
        let lab = Lab::attach(args.lab.as_deref()).map_err(of_lab)?;
        let (pods, names) = (&args.from.0, &args.name.0);
        let several = pods.len() * names.len() > 1;
        let mut calls = Vec::new();
        for (from, name) in pods.iter().flat_map(|from| names.iter().map(move |name| (from, name))) {
            let reply = lab.call(from, &request(args, name)).await.map_err(of_lab)?;
            if !args.json {
                let who = if several { format!("{from} {name}: ") } else { String::new() };
                print(args, name, &reply, &who);
            }
            calls.push(Called { from, name, reply });
        }
        match (&calls[..], args.json) {
            ([one], true) => println!("{}", serde_json::to_string(&one.reply)?),
            (_, true) => println!("{}", serde_json::to_string(&calls)?),
            _ => {}
        }
        let failed = calls.iter().any(|call| call.reply.error.is_some());
        Ok(if failed { Exit::Failed } else { Exit::Passed })
    })
}

fn request(args: &Args, name: &str) -> CallRequest {
    CallRequest {
        name: name.to_owned(),
        method: args.method.clone(),
        args: args.arguments.clone(),
        deadline_ms: args.deadline,
        trace: args.trace,
        source: None,
        flow: None,
        traceparent: args.traceparent.map(|context| context.to_string()),
    }
}

fn print(args: &Args, name: &str, reply: &CallReply, who: &str) {
    if let Some(result) = &reply.result {
        println!("{who}{result}");
    }
    if args.trace {
        println!("{who}there: {}", reply.path.join(" → "));
        println!("{who}back:  {}", reply.return_path.join(" → "));
        println!("{who}time:  {:.3} ms", reply.elapsed_ns as f64 / 1e6);
        if let Some(call) = &reply.call {
            println!("{who}call:  {call}");
        }
    }
    if let Some(context) = &reply.traceparent {
        println!("{who}trace: {context}");
    }
    let Some(reason) = &reply.error else { return };
    let detail = reply.detail.as_ref().filter(|detail| !detail.is_empty()).map(|detail| format!(" ({detail})"));
    let who = who.split_once(' ').map(|(from, _)| format!("{from}: ")).unwrap_or_default();
    eprintln!("damc: {who}{name} {}: {reason}{}", args.method, detail.unwrap_or_default());
    if let Some(call) = &reply.call {
        eprintln!("damc: damc why {call} tells how");
    }
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
    fn pods_and_names_may_be_several() {
        let args = parsed("call pod-1,pod-2 /A/1,/B/4 echo a,b");
        assert_eq!(args.from.0, ["pod-1", "pod-2"]);
        assert_eq!(args.name.0, ["/A/1", "/B/4"]);
        assert_eq!((args.method.as_str(), &args.arguments[..]), ("echo", &["a,b".to_owned()][..]));
        assert!(Call::try_parse_from(["call", "pod-1,", "/A/1", "echo"]).is_err());
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
