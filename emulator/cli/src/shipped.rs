//! The files of `topologies/`, inside the command: what is installed alone knows them too.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use sha2::{Digest as _, Sha256};

/// The files, by their paths in `topologies/`.
macro_rules! files {
    ($($path:literal),* $(,)?) => {
        const FILES: &[(&str, &str)] = &[$(($path, include_str!(concat!("../../../topologies/", $path)))),*];
    };
}

files!(
    "apps/shop.py",
    "apps/who.py",
    "calculator.yaml",
    "experiments/flap-storm.yaml",
    "experiments/instance-degrades.yaml",
    "experiments/mobile-link.yaml",
    "experiments/partition.yaml",
    "experiments/registration-storm.yaml",
    "experiments/rolling-restart.yaml",
    "experiments/scsc-lost.yaml",
    "experiments/service-moves.yaml",
    "experiments/sg-dies.yaml",
    "experiments/wan-brownout.yaml",
    "experiments/traces/mobile.csv",
    "fig2-http.yaml",
    "fig2.yaml",
    "grid.yaml",
    "line.yaml",
    "ring.yaml",
    "shop.yaml",
    "tiered.yaml",
    "topology.schema.json",
);

/// Where experiments lie; they have bare names as topologies have.
pub const EXPERIMENTS: &str = "experiments";

/// The bare names of the topologies, experiments included.
pub fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().filter_map(|(path, _)| path.strip_suffix(".yaml").and_then(|path| path.rsplit('/').next()))
}

/// The text of a file.
pub fn text(path: &str) -> Option<&'static str> {
    FILES.iter().find(|(known, _)| *known == path).map(|(_, text)| *text)
}

/// A topology as a file: topologies name programs beside them, and reports name the file. All files are laid into a folder of
/// the user's cache, whose name tells their contents.
///
/// # Errors
/// There is no place for a cache, or it cannot be written.
pub fn file(name: &str) -> anyhow::Result<PathBuf> {
    let folder = cache()?.join("damc").join(format!("topologies-{}", digest()));
    for (path, text) in FILES {
        lay(&folder.join(path), text).with_context(|| {
            format!("write {} (DAMC_TOPOLOGIES names a folder with topologies instead)", folder.join(path).display())
        })?;
    }
    let (plain, experiment) = (format!("{name}.yaml"), format!("{EXPERIMENTS}/{name}.yaml"));
    Ok(folder.join(if text(&experiment).is_some() { experiment } else { plain }))
}

fn cache() -> anyhow::Result<PathBuf> {
    let absolute = |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache"))).ok_or_else(|| {
        anyhow!("no place for the shipped topologies: set HOME or XDG_CACHE_HOME, or give the path of a file")
    })
}

fn digest() -> String {
    let mut hash = Sha256::new();
    for (path, text) in FILES {
        hash.update(path);
        hash.update([0]);
        hash.update(text);
        hash.update([0]);
    }
    hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a file unless it is there with this text. Somebody who reads it meanwhile sees a whole one.
fn lay(file: &Path, text: &str) -> std::io::Result<()> {
    if std::fs::read(file).is_ok_and(|known| known == text.as_bytes()) {
        return Ok(());
    }
    let folder = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let draft = folder.join(format!(".{}.draft", std::process::id()));
    std::fs::write(&draft, text)?;
    std::fs::rename(&draft, file)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn below(folder: &Path, prefix: &str, into: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = format!("{prefix}{}", entry.file_name().into_string().unwrap());
            match entry.path() {
                path if path.join("Cargo.toml").exists() || path.ends_with("__pycache__") => {}
                path if path.is_dir() => below(&path, &format!("{name}/"), into),
                _ => drop(into.insert(name)),
            }
        }
    }

    #[test]
    fn every_file_of_the_folder_is_inside() {
        let mut there = BTreeSet::new();
        below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../topologies"), "", &mut there);
        there.remove("README.md");
        // It reads the tables of a sweep, and no command needs it.
        there.remove("experiments/sweep.ipynb");
        // Grafana and Prometheus read these.
        there.retain(|path| !path.starts_with("apps/grafana/"));
        assert_eq!(FILES.iter().map(|(path, _)| (*path).to_owned()).collect::<BTreeSet<_>>(), there);
    }

    #[test]
    fn a_file_that_was_changed_is_laid_anew() {
        let folder = std::env::temp_dir().join(format!("damc-shipped-{}", std::process::id()));
        let file = folder.join("apps/one.py");
        for changed in [None, Some("changed")] {
            if let Some(text) = changed {
                std::fs::write(&file, text).unwrap();
            }
            lay(&file, "text").unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), "text");
        }
        assert_eq!(std::fs::read_dir(folder.join("apps")).unwrap().count(), 1, "a draft was left");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
