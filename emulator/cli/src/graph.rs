//! `damc graph`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::ValueEnum;
use damc_topology::Topology;
use damc_topology::graph::{Drawing, Labels, Path, dot, mermaid, svg};
use damc_wire::NodeId;

use crate::exit::{Exit, Failure, Outcome};
use crate::topology_argument::load;

/// Draw a topology. Needs no privilege.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Path or bare name of a topology.
    pub topology: String,
    /// What to write.
    #[arg(long, value_enum, default_value_t = Format::Svg)]
    pub format: Format,
    /// Write to this file instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// What links say (SVG).
    #[arg(long, value_enum, default_value_t = LinkLabels::Different)]
    pub labels: LinkLabels,
    /// A path to highlight, as its nodes (SVG); may be given several times.
    #[arg(long, value_name = "NODE,NODE,…")]
    pub path: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Format {
    /// A picture.
    Svg,
    /// For Graphviz.
    Dot,
    /// For Markdown.
    Mermaid,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LinkLabels {
    /// Nothing.
    None,
    /// Properties and cost where they differ from most others.
    Different,
    /// Properties and cost of every link.
    All,
}

pub fn run(args: &Args) -> Outcome {
    let topology = load(&args.topology)?;
    let text = match args.format {
        Format::Dot => dot(&topology),
        Format::Mermaid => mermaid(&topology),
        Format::Svg => svg(&topology, &drawing(args, &topology)?),
    };
    match &args.output {
        None => print!("{text}"),
        Some(file) => std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?,
    }
    Ok(Exit::Passed)
}

fn drawing(args: &Args, topology: &Topology) -> Result<Drawing, Failure> {
    let labels = match args.labels {
        LinkLabels::None => Labels::None,
        LinkLabels::Different => Labels::Different,
        LinkLabels::All => Labels::All,
    };
    let paths = args.path.iter().map(|text| path(text, topology)).collect::<Result<_, _>>()?;
    Ok(Drawing { title: Some(topology.name().to_string()), paths, labels })
}

fn path(text: &str, topology: &Topology) -> Result<Path, Failure> {
    let node = |id: &str| {
        let known = NodeId::new(id).ok().filter(|id| topology.nodes().contains_key(id));
        known.ok_or_else(|| Failure::usage(anyhow::anyhow!("--path: there is no node `{id}` in {}", topology.name())))
    };
    let nodes: Vec<NodeId> = text.split(',').map(|id| node(id.trim())).collect::<Result<_, _>>()?;
    if let Some(pair) = nodes.windows(2).find(|pair| topology.link(&pair[0], &pair[1]).is_none()) {
        let error = anyhow::anyhow!("--path: there is no link between `{}` and `{}`", pair[0], pair[1]);
        return Err(Failure::usage(error));
    }
    Ok(Path { label: text.replace(',', " → "), nodes })
}
