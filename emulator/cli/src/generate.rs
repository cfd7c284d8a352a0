//! `damc generate` and `damc import`.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ValueEnum;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use damc_lab::topology_file;
use damc_topology::generate::{self, Backbone, Format, MAX_MAP_LEN, Request, Shape};
use damc_topology::{containerlab, parse, written};

use crate::exit::{Exit, Failure, Outcome};
use crate::topology_argument::refused;

/// Write the topology file of a regular or random graph. Needs no privilege.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Shape of the graph of SRs.
    #[arg(value_parser = shapes())]
    pub shape: Shape,
    /// Number of SRs.
    #[arg(long, value_name = "N")]
    pub nodes: usize,
    /// Children of each SR in a tree, links of each new SR in a Barabási graph; 2 where absent.
    #[arg(long, value_name = "N")]
    pub degree: Option<usize>,
    /// Seed of random shapes.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    #[command(flatten)]
    pub dress: Dress,
}

/// Write the topology file of an Internet Topology Zoo, Mini-NDN or containerlab map. Needs no privilege.
///
/// A file that `damc export containerlab` wrote is read back as the topology that it was, with what was changed in it since.
#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// The map: .gml, .graphml, .conf or .clab.yml.
    pub map: PathBuf,
    /// Its format, where the name does not tell.
    #[arg(long, value_enum)]
    pub format: Option<FormatName>,
    #[command(flatten)]
    pub dress: Dress,
}

#[derive(Debug, clap::Args)]
pub struct Dress {
    /// SGs, each with an SPA and a pod; one for eight SRs where absent, 2 at least and 32 at most.
    #[arg(long, value_name = "N")]
    pub gateways: Option<usize>,
    /// Name of the topology.
    #[arg(long)]
    pub name: Option<String>,
    /// Write to this file instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Names and explanations of the shapes.
fn shapes() -> impl TypedValueParser<Value = Shape> {
    let help = |shape| match shape {
        Shape::Grid => "As square as it can be",
        Shape::Ring => "Two neighbours each",
        Shape::Tree => "So many below each",
        Shape::FatTree => "Three layers; 5, 20, 45, 80, 125, … SRs",
        Shape::Waxman => "Near ones linked more likely; delays by distance",
        Shape::Barabasi => "Well-linked ones linked more likely",
    };
    PossibleValuesParser::new(Shape::ALL.map(|shape| PossibleValue::new(shape.label()).help(help(shape)))).try_map(
        |name| {
            Shape::ALL
                .into_iter()
                .find(|shape| shape.label() == name)
                .ok_or_else(|| format!("there is no shape {name}"))
        },
    )
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum FormatName {
    /// Internet Topology Zoo.
    Gml,
    /// Internet Topology Zoo.
    Graphml,
    /// Mini-NDN.
    MiniNdn,
    /// Containerlab.
    Containerlab,
}

pub fn run(args: &Args) -> Outcome {
    let request = Request { shape: args.shape, routers: args.nodes, degree: args.degree, seed: args.seed };
    let backbone = generate::generate(&request).map_err(|e| Failure::usage(anyhow::anyhow!(e)))?;
    write(&backbone, &args.dress)
}

pub fn run_import(args: &ImportArgs) -> Outcome {
    let file = args.map.display();
    let by_name = || Format::of_name(&args.map.file_name()?.to_string_lossy());
    let format = match args.format {
        Some(FormatName::Gml) => Some(Format::Gml),
        Some(FormatName::Graphml) => Some(Format::GraphMl),
        Some(FormatName::MiniNdn) => Some(Format::MiniNdn),
        Some(FormatName::Containerlab) => Some(Format::Containerlab),
        None => by_name(),
    };
    let unknown = || Failure::usage(anyhow::anyhow!("{file}: the name tells no format; say --format"));
    let format = format.ok_or_else(unknown)?;
    let text = read(&args.map).with_context(|| format!("cannot read {file}")).map_err(Failure::usage)?;
    if format == Format::Containerlab {
        let restored = containerlab::restored(&text).map_err(|e| Failure::usage(anyhow::anyhow!("{file}: {e}")))?;
        if let Some(text) = restored {
            return write_restored(args, &text);
        }
    }
    let label = args.map.file_stem().unwrap_or_default().to_string_lossy();
    let backbone = generate::import(&text, format, &label);
    write(&backbone.map_err(|e| Failure::usage(anyhow::anyhow!("{file}: {e}")))?, &args.dress)
}

/// What was exported, as it was.
fn write_restored(args: &ImportArgs, text: &str) -> Outcome {
    let Dress { gateways, name, output } = &args.dress;
    let file = args.map.display();
    if gateways.is_some() {
        let what = "its nodes say themselves what they are; leave --gateways out";
        return Err(Failure::usage(anyhow::anyhow!("{file}: {what}")));
    }
    let mut whole: serde_json::Value = serde_json::from_str(text)?;
    if let Some(name) = name {
        whole["name"] = name.as_str().into();
    }
    let (named, text) = (format!("{file}, put together"), serde_json::to_string_pretty(&whole)?);
    let topology = topology_file::checked(&named, &text, &args.map).map_err(|mistakes| refused(&mistakes))?;
    put(&written(&topology, &[format!("Imported: {file}.")]), output.as_deref())
}

/// The text of a map: no more of it than shows that it is too long.
fn read(map: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(map)?.take(MAX_MAP_LEN as u64 + 1).read_to_end(&mut bytes)?;
    // A text that is too long may end within a character; nobody reads that far.
    let text = if bytes.len() > MAX_MAP_LEN {
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    } else {
        String::from_utf8(bytes)
    };
    text.map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
}

fn write(backbone: &Backbone, dress: &Dress) -> Outcome {
    let text = backbone.dress(dress.name.as_deref(), dress.gateways).map_err(|e| Failure::usage(anyhow::anyhow!(e)))?;
    // The name comes from the user; everything else is valid by construction.
    if let Err(mistakes) = parse("generated", &text, Path::new("")) {
        return Err(refused(&mistakes));
    }
    put(&text, dress.output.as_deref())
}

fn put(text: &str, output: Option<&Path>) -> Outcome {
    match output {
        None => print!("{text}"),
        Some(file) => std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?,
    }
    Ok(Exit::Passed)
}
