//! Answers from the folder of a run.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use damc_conformance::report::read_text;
use damc_explain::{Chain, Evidence, Frames, Passing};

use super::{Question, unanswerable};
use crate::decode::{Item, decode};
use crate::exit::Failure;

/// Answers from what a run left behind.
pub(super) fn answer(question: &Question<'_>, folder: &Path, case: Option<&str>) -> Result<Chain, Failure> {
    let evidence = evidence(folder, case).map_err(Failure::usage)?;
    let frames = noted(folder, case, question.call(), &evidence)?;
    question.answer(&evidence, &frames).map_err(unanswerable)
}

/// What the captures of a run, or of a case of it, say of a call.
pub(crate) fn frames(folder: &Path, case: Option<&str>, call: u64) -> Result<Frames, Failure> {
    let evidence = evidence(folder, case).map_err(Failure::usage)?;
    noted(folder, case, Some(call), &evidence)
}

fn noted(folder: &Path, case: Option<&str>, call: Option<u64>, evidence: &Evidence) -> Result<Frames, Failure> {
    let mut frames = Frames::of_call(call);
    for capture in captures(folder, case) {
        note(&mut frames, &capture, evidence)?;
    }
    Ok(frames)
}

/// What the world and its nodes said at the end of the run, or of a case.
fn evidence(folder: &Path, case: Option<&str>) -> anyhow::Result<Evidence> {
    let path = folder.join("state").join(format!("{}.json", case.unwrap_or("end")));
    let text = fs::read_to_string(&path).with_context(|| match case {
        Some(case) => format!("{}: {case} neither failed nor was inconclusive in that run", path.display()),
        None => format!("{}: no folder of a run, or of one before there was `damc why`", path.display()),
    })?;
    let mut evidence: Evidence = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    for (node, witness) in evidence.nodes.iter_mut().filter(|(_, witness)| witness.events.is_empty()) {
        let path = folder.join("events").join(format!("{node}.jsonl"));
        // A node that said nothing has no file.
        for line in read_text(&path).unwrap_or_default().lines() {
            witness.events.push(serde_json::from_str(line).with_context(|| path.display().to_string())?);
        }
    }
    Ok(evidence)
}

/// The captures of the run, or that of a case.
fn captures(folder: &Path, case: Option<&str>) -> Vec<PathBuf> {
    let all = fs::read_dir(folder.join("captures")).into_iter().flatten().flatten().map(|entry| entry.path());
    let wanted = |path: &PathBuf| {
        path.extension().is_some_and(|e| e == "pcapng")
            && case.is_none_or(|case| path.file_stem() == Some(std::ffi::OsStr::new(case)))
    };
    let mut captures: Vec<PathBuf> = all.filter(wanted).collect();
    captures.sort();
    captures
}

fn note(frames: &mut Frames, path: &Path, evidence: &Evidence) -> Result<(), Failure> {
    let named = || path.display().to_string();
    let file = path.file_name().map(|name| format!("captures/{}", name.to_string_lossy())).unwrap_or_default();
    let source = File::open(path).with_context(named)?;
    let mut number = 0;
    decode(source, |item| {
        let Item::Frame { at_ns, interface, sent, frame, .. } = item else { return Ok(()) };
        number += 1;
        let (Some((node, port)), Some(sent)) = (interface.split_once(':'), sent) else { return Ok(()) };
        let at_ns = i128::try_from(at_ns).unwrap_or_default() - i128::from(evidence.realtime_offset_ns);
        let at_ns = u64::try_from(at_ns).unwrap_or_default();
        frames.note(&Passing { node, port, sent, at_ns, frame: &frame, place: Some((&file, number)) });
        Ok(())
    })
    .map_err(|error| Failure::usage(anyhow!("{}: {error:#}", named())))
}
