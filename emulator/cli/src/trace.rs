//! `damc trace`.

use std::path::PathBuf;

use anyhow::anyhow;
use damc_explain::{Frames, passage};

use crate::exit::{Exit, Failure, Outcome};
use crate::session::block_on;
use crate::why::{Found, Whom, folder, live};

/// Print the way of a call hop by hop, with times: each link that it crossed, there and back.
///
/// For each hop: when it began, how long the frame was on the link, and how long the node at its end took until it sent the
/// frame on; at the pod that serves, until its answer. A frame that was lost has no time on the link.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The call: its number, as `damc call --trace` prints it, or `call` of --json.
    pub call: String,
    /// The lab to ask, where more than one is up.
    #[arg(long, value_name = "NAME", conflicts_with = "run")]
    pub lab: Option<String>,
    /// The folder of a run to ask, live or virtual; results/latest where no lab is up.
    #[arg(long, value_name = "FOLDER")]
    pub run: Option<PathBuf>,
    /// A case of that run that failed or was inconclusive.
    #[arg(long, value_name = "ID", conflicts_with = "lab")]
    pub case: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &Args) -> Outcome {
    let call = number(&args.call)?;
    let whom = Whom { lab: args.lab.as_deref(), run: args.run.as_deref(), case: args.case.as_deref() };
    block_on(async {
        match whom.found(false)? {
            Found::Run(folder) => print(args, &folder::frames(folder, whom.case, call)?),
            Found::Lab(lab) => print(args, &live::frames(&lab, Some(call)).await?),
        }
    })
}

/// Calls have numbers of 16 hexadecimal digits.
fn number(text: &str) -> Result<u64, Failure> {
    let digits = text.len() <= 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = digits.then(|| u64::from_str_radix(text, 16).ok()).flatten();
    number.ok_or_else(|| {
        Failure::usage(anyhow!(
            "`{text}` is no call: give its number, as `damc call --trace` prints it, 16 hexadecimal digits"
        ))
    })
}

fn print(args: &Args, frames: &Frames) -> Outcome {
    let Some(passage) = passage(frames, &args.call) else {
        return Err(Failure::usage(anyhow!(
            "no frame of a call {} was recorded; a lab keeps the newest frames, and a run those of cases that failed or were \
             inconclusive",
            args.call
        )));
    };
    if args.json {
        println!("{}", serde_json::to_string(&passage)?);
    } else {
        print!("{passage}");
    }
    Ok(Exit::Passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_numbers() {
        assert_eq!(number("00000000000000ff").ok(), Some(255));
        assert_eq!(number("FF").ok(), Some(255));
        for wrong in ["", "x", "+1", "00000000000000000", "0x1"] {
            assert!(number(wrong).is_err(), "{wrong}");
        }
    }
}
