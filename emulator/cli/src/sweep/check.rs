//! What is asked of a sweep: all mistakes at once, before anything runs.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::anyhow;
use damc_lab::topology_file;
use damc_sweep::{Combination, Parameter, PlannedPoint, Seeds, SweepPlan, grid, hash};
use damc_topology::{Setting, with_settings};

use super::{Args, folder};
use crate::exit::Failure;
use crate::topology_argument::{locate, name_with, render};

/// What is wrong, each thing once.
#[derive(Default)]
struct Wrong {
    said: Vec<String>,
    known: BTreeSet<String>,
}

impl Wrong {
    fn say(&mut self, what: impl Display) {
        let what = what.to_string();
        if self.known.insert(what.clone()) {
            self.said.push(what);
        }
    }

    fn read<T: FromStr<Err: Display>>(&mut self, option: &str, text: &str) -> Option<T> {
        text.parse().map_err(|error| self.say(format!("{option}: {error}"))).ok()
    }

    fn end(self) -> Result<(), Failure> {
        match self.said.as_slice() {
            [] => Ok(()),
            [one] => Err(Failure::usage(anyhow!("{one}"))),
            all => Err(Failure::usage(anyhow!("{} mistakes\n{}", all.len(), all.join("\n")))),
        }
    }
}

/// The file of a sweep.
struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn read(argument: &str) -> Result<Self, Failure> {
        let path = locate(argument)?;
        let text = topology_file::read(&path).map_err(|mistakes| crate::topology_argument::refused(&mistakes))?;
        Ok(Self { path, text })
    }

    /// The text with values in it; what is wrong with it is said.
    fn with(&self, point: &[Setting], wrong: &mut Wrong) -> Option<(String, String)> {
        let text = match with_settings(&self.text, point) {
            Ok(text) => text,
            Err(errors) => {
                errors.iter().for_each(|error| wrong.say(format!("--set: {error}")));
                return None;
            }
        };
        match topology_file::runnable(&name_with(&self.path, point), &text, &self.path) {
            Ok(topology) => Some((topology.name().to_string(), text)),
            Err(mistakes) => {
                // Many points share a mistake: it is shown with the first of them.
                let keys = mistakes.listed().iter().map(|mistake| format!("{}\n{}", mistake.message, mistake.help));
                let new = keys.filter(|key| wrong.known.insert(key.clone())).count();
                if new > 0 {
                    wrong.said.push(render(&mistakes).trim_end().to_owned());
                }
                None
            }
        }
    }

    /// The combinations that make a valid topology; what is wrong with the others is said.
    fn points(&self, combinations: &[Combination], wrong: &mut Wrong) -> Vec<PlannedPoint> {
        let point = |settings: &Combination| {
            let (_, text) = self.with(settings, wrong)?;
            Some(PlannedPoint { settings: settings.clone(), topology_sha256: hash(text.as_bytes()) })
        };
        combinations.iter().filter_map(point).collect()
    }
}

/// The plan that is asked for.
///
/// # Errors
/// Everything that is wrong with the options, the file, and the file with each combination of values.
pub fn plan(args: &Args) -> Result<SweepPlan, Failure> {
    let mut wrong = Wrong::default();
    let seeds: Option<Seeds> = wrong.read("--seeds", &args.seeds);
    let parameters: Vec<Parameter> = args.settings.iter().filter_map(|text| wrong.read("--set", text)).collect();
    let source = match Source::read(args.topology.as_deref().unwrap_or_default()) {
        Ok(source) => source,
        Err(failure) => {
            wrong.say(format!("{:#}", failure.error));
            wrong.end()?;
            return Err(failure);
        }
    };
    let base = source.with(&[], &mut wrong);
    let combinations = combinations(&parameters, seeds.as_ref(), &mut wrong);
    // A file that is wrong itself is wrong with every value.
    let points = if base.is_some() { source.points(&combinations, &mut wrong) } else { Vec::new() };
    wrong.end()?;
    let (Some(seeds), Some((topology, _))) = (seeds, base) else { return Err(anyhow!("nothing to run").into()) };
    let (arguments, program) = (arguments(args), folder::program()?);
    let file = std::path::absolute(&source.path)?;
    let in_virtual_time = args.in_virtual_time;
    Ok(SweepPlan {
        schema: SweepPlan::SCHEMA,
        topology,
        file,
        arguments,
        in_virtual_time,
        parameters,
        points,
        seeds,
        program,
    })
}

/// All combinations; each value alone where they do not go together, so that it is looked at all the same.
fn combinations(parameters: &[Parameter], seeds: Option<&Seeds>, wrong: &mut Wrong) -> Vec<Combination> {
    grid(parameters, seeds).unwrap_or_else(|errors| {
        errors.iter().for_each(|error| wrong.say(format!("--set: {error}")));
        let alone = parameters.iter().flat_map(|Parameter { path, values }| {
            values.iter().map(|value| vec![Setting { path: path.clone(), value: value.clone() }])
        });
        alone.collect()
    })
}

/// The arguments of `damc run` that all runs share.
fn arguments(args: &Args) -> Vec<String> {
    let mut words = Vec::new();
    if args.in_virtual_time {
        words.push("--virtual".to_owned());
    }
    let pace = args.pace.map(|pace| pace.to_string());
    for (option, value) in
        [("--suite", &args.suite), ("--case", &args.case), ("--links", &args.links), ("--pace", &pace)]
    {
        words.extend(value.as_ref().map(|value| format!("{option}={value}")));
    }
    words
}

/// Whether the file still is what it was when the sweep was planned.
///
/// # Errors
/// It is not.
pub fn unchanged(plan: &SweepPlan) -> Result<(), Failure> {
    let text = topology_file::read(&plan.file).map_err(|mistakes| crate::topology_argument::refused(&mistakes))?;
    for point in &plan.points {
        let now = with_settings(&text, &point.settings).map(|text| hash(text.as_bytes()));
        if now.ok().as_ref() != Some(&point.topology_sha256) {
            return Err(changed(&plan.file));
        }
    }
    Ok(())
}

/// The file is another one now.
pub fn changed(file: &Path) -> Failure {
    Failure::usage(anyhow!("{} has changed since the sweep began; begin it again", file.display()))
}
