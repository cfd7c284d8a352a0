//! Every seed, and variants of it, through its target: what the fuzzer once found stays mended without an engine.

use std::fs;
use std::path::{Path, PathBuf};

use damc_fuzz::TARGETS;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Variants of each seed: fewer where an input is seconds of two nodes' lives.
fn variants(target: &str) -> usize {
    if target == "member" { 6 } else { 40 }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds")
}

/// The seeds of a target, in the order of their names.
fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = root().join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|file| (file.clone(), fs::read(&file).unwrap())).collect()
}

/// Some bytes changed, removed or doubled.
fn variant(rng: &mut ChaCha8Rng, seed: &[u8]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..rng.random_range(1..=4) {
        let at = rng.random_range(0..=bytes.len());
        match rng.random_range(0..3) {
            0 if at < bytes.len() => bytes[at] = rng.next_u32().to_le_bytes()[0],
            1 => bytes.truncate(at),
            _ => bytes.extend_from_within(at.saturating_sub(9)..at),
        }
    }
    bytes
}

#[test]
fn seeds_and_their_variants_hold() {
    for target in TARGETS {
        let seeds = seeds(target.name);
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for (file, seed) in seeds {
            println!("{}: {}", target.name, file.display());
            (target.run)(&seed);
            for _ in 0..variants(target.name) {
                (target.run)(&variant(&mut rng, &seed));
            }
        }
    }
}

/// Golden vectors are seeds of the decoders. `DAMC_BLESS=1` writes them anew.
#[test]
fn golden_vectors_are_seeds() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../nodes/wire/tests/vectors");
    let mut wanted = 0;
    for entry in fs::read_dir(vectors).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "hex") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let digits: String =
            text.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace).collect();
        let bytes = damc_wire::hex::from_hex(&digits).unwrap();
        let seed = root().join("frame").join(file.file_stem().unwrap());
        if std::env::var_os("DAMC_BLESS").is_some() {
            fs::write(&seed, &bytes).unwrap();
        }
        assert_eq!(fs::read(&seed).ok(), Some(bytes), "{}", seed.display());
        wanted += 1;
    }
    assert!(wanted > 30, "{wanted} vectors");
}
