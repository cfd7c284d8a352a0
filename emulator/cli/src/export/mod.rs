//! `damc export`.

mod image;

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use damc_lab::up::keys;
use damc_topology::Topology;
use damc_topology::containerlab::{Export, NotExported, export};

use crate::exit::{Exit, Failure, Outcome};
use crate::session::of_lab;
use crate::topology_argument::load;

/// The image's name where nobody gives one, without its tag.
const IMAGE: &str = "damc-nodes";

/// Write a topology for another tool.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    pub to: To,
}

#[derive(Debug, clap::Subcommand)]
pub enum To {
    Containerlab(Containerlab),
}

/// Write a folder that containerlab deploys: NAME.clab.yml, a configuration for each node, an image with the node programs.
///
/// The image is an OCI archive, made without a container engine: `docker load -i damc-nodes.tar` or `podman load` takes it.
/// `netem.sh` gives the links their properties once the lab is up. `damc import NAME.clab.yml` reads the topology back.
#[derive(Debug, clap::Args)]
pub struct Containerlab {
    /// Path or bare name of a topology.
    pub topology: String,
    /// The folder to write; NAME-clab where absent.
    #[arg(short, long, value_name = "FOLDER")]
    pub output: Option<PathBuf>,
    /// Name of an image that is there already and has the node programs; none is written then.
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// Put nodes and services of ours in the place of those that run programs, which the image has not.
    #[arg(long)]
    pub built_in: bool,
    /// Write into a folder that is there already. Its keys stay.
    #[arg(long)]
    pub force: bool,
}

pub fn run(args: &Args) -> Outcome {
    let To::Containerlab(args) = &args.to;
    let topology = load(&args.topology)?;
    let folder = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{}-clab", topology.name())));
    if folder.exists() && !args.force {
        return Err(Failure::usage(anyhow!("{} is there already: --force writes into it", folder.display())));
    }
    let own = format!("{IMAGE}:{}", env!("CARGO_PKG_VERSION"));
    let image = args.image.as_deref().unwrap_or(&own);
    // What cannot be exported leaves no folder behind.
    let random = damc_topology::plan::KeySeed::from_bytes([0; 32]);
    export(&topology, image, &random, args.built_in).map_err(|error| refused(&error))?;
    private_folder(&folder)?;
    let keys = keys::of_file(&folder.join("keys")).map_err(of_lab)?;
    let export = export(&topology, image, &keys, args.built_in).map_err(|error| refused(&error))?;
    write(&topology, &export, &folder)?;
    if args.image.is_none() {
        let archive = folder.join(format!("{IMAGE}.tar"));
        image::write(&archive, &own).with_context(|| format!("cannot write {}", archive.display()))?;
    }
    say(args, &topology, &export, &folder);
    Ok(Exit::Passed)
}

fn refused(error: &NotExported) -> Failure {
    let remedy = match error {
        NotExported::Programs(_) => "; --built-in exports ours in its place",
        NotExported::TakenInterface(_) | NotExported::NoPlan(_) => "",
    };
    Failure::usage(anyhow!("{error}{remedy}"))
}

fn write(topology: &Topology, export: &Export, folder: &Path) -> anyhow::Result<()> {
    put(&folder.join(format!("{}.clab.yml", topology.name())), &export.topology, 0o644)?;
    put(&folder.join("netem.sh"), &export.netem, 0o755)?;
    for config in &export.configs {
        let own = folder.join("nodes").join(&config.node);
        private_folder(&own)?;
        put(&own.join("config.json"), &serde_json::to_string_pretty(config)?, 0o600)?;
    }
    Ok(())
}

/// Keys lie in it.
fn private_folder(path: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("cannot make {}", path.display()))
}

/// A file of these permissions, in the place of one that is there.
fn put(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    if path.exists() {
        fs::remove_file(path).with_context(|| format!("cannot replace {}", path.display()))?;
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("cannot write {}", path.display()))
}

fn say(args: &Containerlab, topology: &Topology, export: &Export, folder: &Path) {
    let (folder, name) = (folder.display(), topology.name());
    println!("{folder} holds {name}.clab.yml with {} nodes and {} links", export.configs.len(), topology.links().len());
    for note in &export.notes {
        println!("note: {note}");
    }
    if args.image.is_none() {
        println!("docker load -i {folder}/{IMAGE}.tar");
    }
    println!("containerlab deploy -t {folder}/{name}.clab.yml && sh {folder}/netem.sh");
}
