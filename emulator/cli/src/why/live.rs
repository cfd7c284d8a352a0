//! Answers of a lab that is up.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::Context as _;
use damc_explain::{Chain, Evidence, FrameRef, Frames, Passing};
use damc_lab::recording::{Record, Wanted, pcapng_record, pcapng_start};
use damc_lab::{Lab, LabError};

use super::{Question, unanswerable};
use crate::exit::Failure;
use crate::session::of_lab;

/// Asks a lab, its nodes and its recording.
pub(super) async fn answer(question: &Question<'_>, lab: &Lab, write: Option<&Path>) -> Result<Chain, Failure> {
    let evidence = Evidence::gather(lab).await.map_err(|error| of_lab(LabError::from(error)))?;
    let frames = frames(lab, question.call()).await?;
    let mut chain = question.answer(&evidence, &frames).map_err(unanswerable)?;
    if let Some(path) = write {
        write_cited(&mut chain, lab, path).await?;
    }
    Ok(chain)
}

/// What the recording of a lab says, of calls that of one.
pub(crate) async fn frames(lab: &Lab, call: Option<u64>) -> Result<Frames, Failure> {
    let mut frames = Frames::of_call(call);
    let mut recording = lab.recording().await.map_err(of_lab)?;
    recording
        .each(&Wanted::default(), |at, entry| {
            let (node, port) = (at.node.as_str(), at.port.as_str());
            let (sent, at_ns, frame) = (entry.sent, entry.at_ns, entry.frame);
            frames.note(&Passing { node, port, sent, at_ns, frame, place: None });
        })
        .map_err(of_lab)?;
    Ok(frames)
}

/// Writes the frames that a chain cites, each with the step as its comment, and has the chain cite their numbers.
async fn write_cited(chain: &mut Chain, lab: &Lab, path: &Path) -> Result<(), Failure> {
    let cited: BTreeMap<(u64, String, String), String> = chain
        .steps
        .iter()
        .filter_map(|step| step.frame.as_ref().map(|frame| (key(frame), format!("{}: {}", step.node, step.what))))
        .collect();
    let mut recording = lab.recording().await.map_err(of_lab)?;
    let mut records = Vec::new();
    recording
        .each(&Wanted::default(), |at, entry| {
            let record = entry.record(at);
            if cited.contains_key(&key_of(&record)) {
                records.push(record);
            }
        })
        .map_err(of_lab)?;
    records.sort_by_key(|record| record.at_ns);
    let file = File::create(path).with_context(|| path.display().to_string()).map_err(Failure::usage)?;
    let mut out = BufWriter::new(file);
    pcapng_start(&mut out, recording.header(), &chain.question)?;
    let mut numbers = BTreeMap::new();
    for (number, record) in (1..).zip(&records) {
        let key = key_of(record);
        let comment: Vec<String> = cited.get(&key).cloned().into_iter().collect();
        pcapng_record(&mut out, recording.header(), record, &comment)?;
        numbers.entry(key).or_insert(number);
    }
    out.flush()?;
    for frame in chain.steps.iter_mut().filter_map(|step| step.frame.as_mut()) {
        frame.number = numbers.get(&key(frame)).copied();
        frame.file = frame.number.map(|_| path.display().to_string());
    }
    Ok(())
}

/// What tells a frame from others: its time and its way.
fn key(frame: &FrameRef) -> (u64, String, String) {
    (frame.at_ns, frame.from.clone(), frame.to.clone())
}

fn key_of(record: &Record) -> (u64, String, String) {
    let (node, port) = (record.node.clone(), record.port.clone());
    if record.sent { (record.at_ns, node, port) } else { (record.at_ns, port, node) }
}
