//! Tables of all runs, for pandas, R and DuckDB: RFC 4180, one line of names, units in the names.

use std::collections::{HashMap, HashSet};

use crate::parameter::Parameter;
use crate::plan::SweepPlan;
use crate::record::{Sample, SweepRun};
use crate::statistics::median;

/// Something that runs measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The case, or `run`.
    pub of: String,
    /// What.
    pub figure: String,
    /// Its unit; empty for a count.
    pub unit: String,
    /// Its column in `runs.csv`.
    pub column: String,
}

/// The runs of a plan in order, and what they measured.
#[derive(Debug)]
pub struct SweepTables<'a> {
    plan: &'a SweepPlan,
    runs: Vec<&'a SweepRun>,
    metrics: Vec<Metric>,
    /// What each run says about each metric.
    values: Vec<Vec<Option<f64>>>,
}

/// What tells samples of one metric from others.
type Key<'a> = (&'a str, &'a str, &'a str);

fn key(sample: &Sample) -> Key<'_> {
    (&sample.of, &sample.figure, &sample.unit)
}

impl<'a> SweepTables<'a> {
    /// Of those of the runs that belong to the plan: by point, then in the order of the seeds.
    #[must_use]
    pub fn new(plan: &'a SweepPlan, runs: &'a [SweepRun]) -> Self {
        let place: HashMap<u64, usize> = plan.seeds.list().iter().enumerate().map(|(i, seed)| (*seed, i)).collect();
        let known = |run: &&SweepRun| plan.point(run.point).is_some() && place.contains_key(&run.seed);
        let mut runs: Vec<&SweepRun> = runs.iter().filter(known).collect();
        runs.sort_by_key(|run| (run.point, place.get(&run.seed)));
        let metrics = metrics(plan, &runs);
        let values = values(&metrics, &runs);
        Self { plan, runs, metrics, values }
    }

    /// The runs.
    #[must_use]
    pub fn runs(&self) -> &[&'a SweepRun] {
        &self.runs
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &'a SweepPlan {
        self.plan
    }

    /// What each run says about the metric of this number, by run; the median where it was measured several times.
    pub fn values(&self, metric: usize) -> impl Iterator<Item = (&'a SweepRun, Option<f64>)> + '_ {
        self.runs.iter().zip(&self.values).map(move |(run, values)| (*run, values.get(metric).copied().flatten()))
    }

    /// What was measured, in the order in which it is found in the runs.
    #[must_use]
    pub fn metrics(&self) -> &[Metric] {
        &self.metrics
    }

    /// `runs.csv`: a row for each run.
    ///
    /// # Errors
    /// A text of it cannot be written, which does not happen.
    pub fn runs_csv(&self) -> Result<String, csv::Error> {
        let mut head = self.head(&["run"], &FIXED[1..]);
        head.extend(self.metrics.iter().map(|metric| metric.column.clone()));
        let row = |(run, values): (&&SweepRun, &Vec<Option<f64>>)| {
            let mut row = vec![run.id().to_string()];
            row.extend(point_cells(self.plan, run.point));
            row.push(run.seed.to_string());
            row.extend([run.quality.label().to_owned(), run.verdict.label().to_owned()]);
            row.extend(["pass", "fail", "inconclusive"].map(|verdict| run.cases_with(verdict).to_string()));
            row.push(run.reason.clone().unwrap_or_default());
            row.extend(values.iter().map(|value| value.map(|value| value.to_string()).unwrap_or_default()));
            row
        };
        written(head, self.runs.iter().zip(&self.values).map(row))
    }

    /// `samples.csv`: a row for each value that was measured.
    ///
    /// # Errors
    /// As [`Self::runs_csv`].
    pub fn samples_csv(&self) -> Result<String, csv::Error> {
        let head = self.head(&["run"], &["seed", "quality", "case", "figure", "unit", "metric", "value"]);
        let columns: HashMap<Key<'_>, &str> =
            self.metrics.iter().map(|m| ((&*m.of, &*m.figure, &*m.unit), &*m.column)).collect();
        let rows = self.runs.iter().flat_map(|run| {
            let columns = &columns;
            run.samples.iter().map(move |sample| {
                let column = columns.get(&key(sample)).copied().unwrap_or_default();
                let mut row = vec![run.id().to_string()];
                row.extend(point_cells(self.plan, run.point));
                row.extend([run.seed.to_string(), run.quality.label().to_owned()]);
                row.extend([&sample.of, &sample.figure, &sample.unit].map(String::clone));
                row.extend([column.to_owned(), sample.value.to_string()]);
                row
            })
        });
        written(head, rows)
    }

    /// `timing.csv`: what each run cost this host. No two sweeps agree on it, so it has a file of its own.
    ///
    /// # Errors
    /// As [`Self::runs_csv`].
    pub fn timing_csv(&self) -> Result<String, csv::Error> {
        let head = ["run", "wall_ms", "at_once", "attempts"].map(String::from).to_vec();
        let row = |run: &&SweepRun| {
            vec![run.id().to_string(), run.wall_ms.to_string(), run.at_once.to_string(), run.attempts.to_string()]
        };
        written(head, self.runs.iter().map(row))
    }

    /// Names of columns: some, the point's, some more.
    fn head(&self, before: &[&str], after: &[&str]) -> Vec<String> {
        let mut head: Vec<String> = before.iter().map(|name| (*name).to_owned()).collect();
        head.extend(point_head(self.plan));
        head.extend(after.iter().map(|name| (*name).to_owned()));
        head
    }
}

/// Columns of `runs.csv` that are always there, but for `point`.
const FIXED: [&str; 8] =
    ["run", "seed", "quality", "verdict", "cases_passed", "cases_failed", "cases_inconclusive", "reason"];

/// Names of the columns that say which point it is.
pub(crate) fn point_head(plan: &SweepPlan) -> Vec<String> {
    core::iter::once("point".to_owned()).chain(plan.parameters.iter().map(Parameter::column)).collect()
}

/// What those columns say of a point.
pub(crate) fn point_cells(plan: &SweepPlan, number: usize) -> Vec<String> {
    let settings = plan.point(number).map_or(&[][..], |point| &point.settings);
    let cells = plan.parameters.iter().zip(settings).map(|(parameter, setting)| parameter.cell(&setting.value));
    core::iter::once(number.to_string()).chain(cells).collect()
}

fn metrics(plan: &SweepPlan, runs: &[&SweepRun]) -> Vec<Metric> {
    let mut taken: HashMap<String, usize> =
        point_head(plan).into_iter().chain(FIXED.map(String::from)).map(|n| (n, 1)).collect();
    let mut known = HashSet::new();
    let mut found = Vec::new();
    for sample in runs.iter().flat_map(|run| &run.samples) {
        if !known.insert(key(sample)) {
            continue;
        }
        let Sample { of, figure, unit, .. } = sample;
        let mut column = slug(&format!("{of} {figure} {}", unit_slug(unit)));
        let count = taken.entry(column.clone()).or_default();
        *count += 1;
        if *count > 1 {
            column = format!("{column}_{count}");
            taken.insert(column.clone(), 1);
        }
        found.push(Metric { of: of.clone(), figure: figure.clone(), unit: unit.clone(), column });
    }
    found
}

/// What each run says about each metric.
fn values(metrics: &[Metric], runs: &[&SweepRun]) -> Vec<Vec<Option<f64>>> {
    let indices: HashMap<Key<'_>, usize> =
        metrics.iter().enumerate().map(|(index, m)| ((&*m.of, &*m.figure, &*m.unit), index)).collect();
    let of_run = |run: &&SweepRun| {
        let mut values = vec![Vec::new(); metrics.len()];
        for sample in &run.samples {
            if let Some(index) = indices.get(&key(sample)) {
                values[*index].push(sample.value);
            }
        }
        values.iter().map(|values| median(values)).collect()
    };
    runs.iter().map(of_run).collect()
}

/// A unit in the name of a column.
fn unit_slug(unit: &str) -> String {
    unit.replace('%', "percent").replace('µ', "u").replace('/', " per ")
}

/// Letters, digits and single underscores: a name that needs quotes nowhere.
pub(crate) fn slug(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("_")
}

/// A table as RFC 4180 has it.
pub(crate) fn written(head: Vec<String>, rows: impl Iterator<Item = Vec<String>>) -> Result<String, csv::Error> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(head)?;
    for row in rows {
        writer.write_record(row)?;
    }
    let bytes = writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::plan::tests::plan;
    use crate::record::{Quality, RunVerdict};

    pub fn sample(of: &str, figure: &str, unit: &str, value: f64) -> Sample {
        Sample { of: of.into(), figure: figure.into(), unit: unit.into(), value }
    }

    pub fn run(point: usize, seed: u64, samples: Vec<Sample>) -> SweepRun {
        SweepRun {
            point,
            seed,
            quality: Quality::Faithful,
            verdict: RunVerdict::Passed,
            reason: None,
            cases: BTreeMap::from([("pass".to_owned(), 2)]),
            samples,
            topology_sha256: String::new(),
            wall_ms: 1500,
            at_once: 2,
            attempts: 1,
        }
    }

    fn example() -> (SweepPlan, Vec<SweepRun>) {
        let plan = plan(&["links.wan.delay=10ms,1s", "links.wan.loss=1%,{ model: x }"], "2,1");
        let loss = |value| sample("out-03", "loss at a \"silent\" cut, median", "ms", value);
        let mut runs = vec![
            run(4, 1, vec![loss(8.5)]),
            run(1, 1, vec![loss(2.0), sample("run", "share", "%", 5.0)]),
            run(1, 2, vec![loss(1.0), loss(4.0), loss(3.0)]),
            run(9, 1, vec![]),
            run(1, 7, vec![]),
        ];
        runs[0].quality = Quality::Unfaithful;
        runs[0].verdict = RunVerdict::Inconclusive;
        runs[0].reason = Some("late, \"very\"\nlate".into());
        (plan, runs)
    }

    #[test]
    fn a_row_a_run_in_the_order_of_the_plan() {
        let (plan, runs) = example();
        insta::assert_snapshot!(SweepTables::new(&plan, &runs).runs_csv().unwrap().replace('\r', "␍"));
    }

    #[test]
    fn a_row_a_sample() {
        let (plan, runs) = example();
        insta::assert_snapshot!(SweepTables::new(&plan, &runs).samples_csv().unwrap().replace('\r', "␍"));
    }

    #[test]
    fn what_a_reader_reads_is_what_was_written() {
        let (plan, runs) = example();
        let text = SweepTables::new(&plan, &runs).runs_csv().unwrap();
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let head = reader.headers().unwrap().clone();
        let at = |name: &str| head.iter().position(|column| column == name).unwrap();
        let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 3, "runs of other points and seeds are none of it");
        assert_eq!(&rows[2][at("reason")], "late, \"very\"\nlate");
        assert_eq!(&rows[2][at("links_wan_delay_ms")], "1000");
        assert_eq!(&rows[0][at("out_03_loss_at_a_silent_cut_median_ms")], "3", "the median of three");
        assert_eq!(&rows[0][at("run_share_percent")], "", "not measured");
        assert!(!text.contains("1500"), "wall time is nowhere but in timing.csv");
        assert!(SweepTables::new(&plan, &runs).timing_csv().unwrap().contains("p1-s1,1500,2,1\r\n"));
    }

    #[test]
    fn columns_of_like_names_are_told_apart() {
        let plan = plan(&[], "1");
        let samples = vec![
            sample("a-1", "x", "ms", 1.0),
            sample("a.1", "x", "ms", 2.0),
            sample("A 1", "x", "ms", 3.0),
            sample("re", "ason", "", 4.0),
            sample("", "seed", "", 5.0),
        ];
        let runs = [run(1, 1, samples)];
        let tables = SweepTables::new(&plan, &runs);
        let columns: Vec<&str> = tables.metrics().iter().map(|m| m.column.as_str()).collect();
        assert_eq!(columns, ["a_1_x_ms", "a_1_x_ms_2", "a_1_x_ms_3", "re_ason", "seed_2"]);
    }
}
