//! An image of the node programs: an OCI image layout in a tar, made without a container engine.
//!
//! One layer, not compressed: the five programs, the loader and the shared libraries that they name, and the folders that
//! they expect. `manifest.json` is not OCI's; engines before Docker 25 read it, and others pass over it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use damc_lab::lab;
use damc_lab::up::{UpOptions, find, is_program, node_folders};
use damc_wire::Role;
use damc_wire::hex::to_hex;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Writes the archive, for the machine that this is. `name` has a tag.
pub fn write(archive: &Path, name: &str) -> anyhow::Result<()> {
    let files = files(&programs()?)?;
    let file = File::create(archive)?;
    let mut out = BufWriter::new(file);
    archive_of(layer(&files)?, name, architecture()?, &mut out)?;
    out.flush()?;
    Ok(())
}

/// What registries call this machine.
fn architecture() -> anyhow::Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        "riscv64" => Ok("riscv64"),
        "s390x" => Ok("s390x"),
        other => bail!("images have no name for machines of the kind {other}: give --image"),
    }
}

/// The node programs, beside this command or in `DAMC_NODE_DIR`.
fn programs() -> anyhow::Result<Vec<PathBuf>> {
    let folders = node_folders(&UpOptions::default(), &lab::program()?);
    let programs: Vec<PathBuf> = Role::ALL.iter().map(|role| find(&format!("damc-{role}"), &folders)).collect();
    if let Some(missing) = programs.iter().find(|path| !is_program(path)) {
        bail!("{} is missing: install the node programs beside damc, or set DAMC_NODE_DIR", missing.display());
    }
    Ok(programs)
}

/// What the image holds: path there, path here.
fn files(programs: &[PathBuf]) -> anyhow::Result<BTreeMap<PathBuf, PathBuf>> {
    let mut files = BTreeMap::new();
    let mut libraries = BTreeSet::new();
    for program in programs {
        let name = program.file_name().unwrap_or_default();
        files.insert(Path::new("usr/bin").join(name), program.clone());
        libraries.extend(libraries_of(program)?);
    }
    for library in libraries {
        // The loader is where programs say; libraries are where the loader looked here.
        let inside = library.strip_prefix("/").unwrap_or(&library).to_owned();
        let file = library.canonicalize().with_context(|| library.display().to_string())?;
        files.insert(inside, file);
    }
    Ok(files)
}

/// The loader and the shared libraries of a program; none where it is linked statically.
fn libraries_of(program: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).env("LC_ALL", "C").output();
    let output = output.context("cannot run ldd, which tells the libraries of a program (package libc-bin)")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut libraries = Vec::new();
    for line in text.lines() {
        if let Some(missing) = line.trim().strip_suffix("=> not found") {
            bail!("{}: the library {} is not here", program.display(), missing.trim());
        }
        libraries.extend(line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from));
    }
    Ok(libraries)
}

/// The only layer. The same files make the same bytes.
fn layer(files: &BTreeMap<PathBuf, PathBuf>) -> anyhow::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let fixed: BTreeSet<PathBuf> =
        ["damc", "tmp", "etc", "proc", "sys", "dev", "run"].into_iter().map(PathBuf::from).collect();
    let around = files.keys().flat_map(|path| path.ancestors().skip(1)).map(Path::to_owned);
    let folders: BTreeSet<PathBuf> = around.filter(|path| !path.as_os_str().is_empty()).chain(fixed).collect();
    for folder in folders {
        let mode = if folder == Path::new("tmp") { 0o1777 } else { 0o755 };
        tar.append_data(&mut header(tar::EntryType::Directory, 0, mode), folder, std::io::empty())?;
    }
    for (inside, file) in files {
        let bytes = fs::read(file).with_context(|| file.display().to_string())?;
        tar.append_data(&mut header(tar::EntryType::Regular, bytes.len(), 0o755), inside, bytes.as_slice())?;
    }
    Ok(tar.into_inner()?)
}

fn header(kind: tar::EntryType, size: usize, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size as u64);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// Something that is named by its digest.
struct Blob {
    kind: &'static str,
    bytes: Vec<u8>,
}

impl Blob {
    fn of(kind: &'static str, value: &Value) -> Self {
        Self { kind, bytes: value.to_string().into_bytes() }
    }

    fn hex(&self) -> String {
        to_hex(&Sha256::digest(&self.bytes))
    }

    fn path(&self) -> String {
        format!("blobs/sha256/{}", self.hex())
    }

    fn descriptor(&self) -> Value {
        json!({ "mediaType": self.kind, "digest": format!("sha256:{}", self.hex()), "size": self.bytes.len() })
    }
}

/// What runs the programs of the layer.
fn config_of(layer: &Blob, architecture: &str) -> Blob {
    let labels = json!({
        "org.opencontainers.image.title": "DAMC nodes",
        "org.opencontainers.image.licenses": "MIT OR Apache-2.0",
    });
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": { "Env": ["PATH=/usr/bin"], "WorkingDir": "/damc", "Labels": labels },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", layer.hex())] },
    });
    Blob::of(CONFIG, &config)
}

fn manifest_of(layer: &Blob, config: &Blob) -> Blob {
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.descriptor(),
        "layers": [layer.descriptor()],
    });
    Blob::of(MANIFEST, &manifest)
}

/// The index names the only image. Docker and containerd take the whole name, others the tag.
fn index_of(manifest: &Blob, name: &str, architecture: &str) -> Value {
    let tag = name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
    let mut entry = manifest.descriptor();
    entry["platform"] = json!({ "architecture": architecture, "os": "linux" });
    entry["annotations"] = json!({
        "io.containerd.image.name": format!("docker.io/library/{name}"),
        "org.opencontainers.image.ref.name": tag,
    });
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] })
}

/// The layout: `oci-layout`, `index.json`, and what they lead to.
fn archive_of(layer: Vec<u8>, name: &str, architecture: &str, out: impl std::io::Write) -> anyhow::Result<()> {
    let layer = Blob { kind: LAYER, bytes: layer };
    let config = config_of(&layer, architecture);
    let manifest = manifest_of(&layer, &config);
    let index = index_of(&manifest, name, architecture);
    let older = json!([{ "Config": config.path(), "RepoTags": [name], "Layers": [layer.path()] }]);

    let mut tar = tar::Builder::new(out);
    let mut put = |path: &str, bytes: &[u8]| {
        tar.append_data(&mut header(tar::EntryType::Regular, bytes.len(), 0o644), path, bytes)
    };
    put("oci-layout", json!({ "imageLayoutVersion": "1.0.0" }).to_string().as_bytes())?;
    put("index.json", index.to_string().as_bytes())?;
    put("manifest.json", older.to_string().as_bytes())?;
    for blob in [&manifest, &config, &layer] {
        put(&blob.path(), &blob.bytes)?;
    }
    tar.into_inner()?.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests;
