//! `damc why` and `damc why-not`.

pub mod folder;
pub mod live;

use std::path::{Path, PathBuf};

use damc_explain::{Chain, Evidence, Frames, Unanswerable};
use damc_lab::{Lab, LabError};

use crate::exit::{Exit, Failure, Outcome};
use crate::session::{self, block_on};

/// Say why a node forwards a name as it does, or why a call failed: every cause back to the root.
///
/// Each line names a node, a time, the rule of nodes/WIRE.md and, where known, the frame. A rule that a node breaks is
/// marked ✗, other roots •.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node; or, without NAME, the number of a call as `damc call` prints it.
    pub node: String,
    /// The name.
    pub name: Option<String>,
    #[command(flatten)]
    pub of: Of,
}

/// Say why a node has no route to a name: which step is missing between announcement and route, and why.
#[derive(Debug, clap::Args)]
pub struct NotArgs {
    /// The node.
    pub node: String,
    /// The name.
    pub name: String,
    #[command(flatten)]
    pub of: Of,
}

/// Whom to ask.
#[derive(Debug, clap::Args)]
pub struct Of {
    /// The lab to ask, where more than one is up.
    #[arg(long, value_name = "NAME", conflicts_with = "run")]
    pub lab: Option<String>,
    /// The folder of a run to ask, live or virtual; results/latest where no lab is up.
    #[arg(long, value_name = "FOLDER")]
    pub run: Option<PathBuf>,
    /// A case of the run that failed or was inconclusive: ask how things were at its end, not at the run's.
    #[arg(long, value_name = "ID", conflicts_with = "lab")]
    pub case: Option<String>,
    /// Of a lab: write the frames that the answer cites as pcapng, and cite them by their numbers there.
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["run", "case"])]
    pub write: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// A question.
enum Question<'a> {
    Why(&'a str, &'a str),
    WhyNot(&'a str, &'a str),
    Call(&'a str),
}

impl Question<'_> {
    /// The call that frames are wanted of.
    fn call(&self) -> Option<u64> {
        match self {
            Self::Call(call) => u64::from_str_radix(call, 16).ok(),
            Self::Why(..) | Self::WhyNot(..) => None,
        }
    }

    fn answer(&self, evidence: &Evidence, frames: &Frames) -> Result<Chain, Unanswerable> {
        match self {
            Self::Why(node, name) => damc_explain::why(evidence, frames, node, name),
            Self::WhyNot(node, name) => damc_explain::why_not(evidence, frames, node, name),
            Self::Call(call) => damc_explain::why_call(evidence, frames, call),
        }
    }
}

pub fn run(args: &Args) -> Outcome {
    match &args.name {
        Some(name) => asked(&Question::Why(&args.node, name), &args.of),
        None => asked(&Question::Call(&args.node), &args.of),
    }
}

pub fn run_not(args: &NotArgs) -> Outcome {
    asked(&Question::WhyNot(&args.node, &args.name), &args.of)
}

fn asked(question: &Question<'_>, of: &Of) -> Outcome {
    let whom = Whom { lab: of.lab.as_deref(), run: of.run.as_deref(), case: of.case.as_deref() };
    block_on(async {
        let chain = match whom.found(of.write.is_some())? {
            Found::Run(folder) => folder::answer(question, folder, whom.case)?,
            Found::Lab(lab) => live::answer(question, &lab, of.write.as_deref()).await?,
        };
        print(&chain, of.json)
    })
}

/// Whom to ask, as the command line says it.
pub struct Whom<'a> {
    /// Name of a lab.
    pub lab: Option<&'a str>,
    /// Folder of a run.
    pub run: Option<&'a Path>,
    /// A case of that run.
    pub case: Option<&'a str>,
}

/// Who answers.
pub enum Found<'a> {
    /// A run that is over: its folder.
    Run(&'a Path),
    /// A lab that is up.
    Lab(Box<Lab>),
}

impl<'a> Whom<'a> {
    /// The run that is named, or whose case is; else the lab; else, where no lab is up and another will do, the newest run.
    ///
    /// # Errors
    /// There is no such lab, or several.
    pub fn found(&self, lab_only: bool) -> Result<Found<'a>, Failure> {
        let latest = Path::new("results/latest");
        match (self.run, self.case) {
            (Some(folder), _) => Ok(Found::Run(folder)),
            (None, Some(_)) => Ok(Found::Run(latest)),
            (None, None) => match Lab::attach(self.lab) {
                Ok(lab) => Ok(Found::Lab(Box::new(lab))),
                Err(LabError::NoLab) if latest.exists() && !lab_only => Ok(Found::Run(latest)),
                Err(error) => Err(session::of_lab(error)),
            },
        }
    }
}

/// The answer of a lab to `why NODE NAME`.
///
/// # Errors
/// The lab does not answer, or the question names nothing it knows.
pub async fn of_lab(lab: &Lab, node: &str, name: &str) -> Result<Chain, Failure> {
    live::answer(&Question::Why(node, name), lab, None).await
}

fn print(chain: &Chain, json: bool) -> Outcome {
    if json {
        println!("{}", serde_json::to_string(chain)?);
    } else {
        print!("{chain}");
    }
    Ok(Exit::Passed)
}

/// What a question names wrongly is wrong usage.
fn unanswerable(error: Unanswerable) -> Failure {
    Failure::usage(anyhow::anyhow!(error))
}
