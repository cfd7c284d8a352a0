//! What a sweep found: medians and intervals, and which runs do not count.

use core::fmt::Write as _;

use crate::plan::SweepPlan;
use crate::record::{Quality, RunVerdict, SweepRun};
use crate::statistics::Statistic;
use crate::tables::{Metric, SweepTables, point_cells, point_head, written};

/// The figure that says how long a case took. There is one for each case, so it is in the tables only.
const DURATION: &str = "duration";
/// Runs left out that are listed with their reasons.
const LISTED: usize = 20;

/// What the runs of one point say about one metric.
#[derive(Clone, Debug)]
pub struct Finding<'a> {
    /// The metric.
    pub metric: &'a Metric,
    /// Number of the point.
    pub point: usize,
    /// One value for each run that counts, in the order of the runs.
    pub values: Vec<f64>,
    /// What they say.
    pub statistic: Statistic,
}

/// All of it: by metric, then by point.
#[derive(Debug)]
pub struct SweepFindings<'a> {
    /// A line for each metric and point for which there is a value.
    pub lines: Vec<Finding<'a>>,
}

impl<'a> SweepFindings<'a> {
    /// Of the runs that count.
    #[must_use]
    pub fn of(tables: &'a SweepTables<'_>) -> Self {
        let points = tables.plan().points.len();
        let line = |index: usize, metric: &'a Metric| {
            let mut values = vec![Vec::new(); points];
            for (run, value) in tables.values(index).filter(|(run, _)| run.counts()) {
                values[run.point - 1].extend(value);
            }
            // Each line has resamples of its own, and the same ones whenever it is computed.
            let seed = move |point: usize| ((index as u64) << 32) | point as u64;
            let line = move |(point, values): (usize, Vec<f64>)| {
                let statistic = Statistic::of(&values, seed(point))?;
                Some(Finding { metric, point, values, statistic })
            };
            values.into_iter().zip(1..).map(|(values, point)| (point, values)).filter_map(line)
        };
        Self { lines: tables.metrics().iter().enumerate().flat_map(|(index, metric)| line(index, metric)).collect() }
    }

    /// The lines of figures, without how long each case took, by metric.
    pub fn figures(&self) -> impl Iterator<Item = &[Finding<'a>]> {
        let by_metric = self.lines.chunk_by(|a, b| a.metric == b.metric);
        by_metric.filter(|lines| lines.first().is_some_and(|line| line.metric.figure != DURATION))
    }
}

/// `summary.csv`: a row for each metric and point.
///
/// # Errors
/// A text of it cannot be written, which does not happen.
pub fn summary_csv(tables: &SweepTables<'_>, findings: &SweepFindings<'_>) -> Result<String, csv::Error> {
    let mut head = point_head(tables.plan());
    let more = ["case", "figure", "unit", "metric", "runs", "median", "low_95", "high_95", "least", "most"];
    head.extend(more.map(String::from));
    let row = |line: &Finding<'_>| {
        let Statistic { runs, median, interval, least, most } = line.statistic;
        let mut row = point_cells(tables.plan(), line.point);
        row.extend([&line.metric.of, &line.metric.figure, &line.metric.unit, &line.metric.column].map(String::clone));
        row.extend([runs.to_string(), median.to_string()]);
        row.extend(
            [interval.map(|i| i.low), interval.map(|i| i.high)]
                .map(|end| end.map_or_else(String::new, |e| e.to_string())),
        );
        row.extend([least.to_string(), most.to_string()]);
        row
    };
    written(head, findings.lines.iter().map(row))
}

/// `summary.md`.
#[must_use]
pub fn summary_markdown(tables: &SweepTables<'_>, findings: &SweepFindings<'_>) -> String {
    let plan = tables.plan();
    let mut text = format!("# Sweep of {}\n\n", plan.topology);
    let world = if plan.in_virtual_time { "in virtual time" } else { "live" };
    let options: Vec<&str> = plan.arguments.iter().map(String::as_str).filter(|word| *word != "--virtual").collect();
    let options = if options.is_empty() { String::new() } else { format!(", with `{}`", options.join(" ")) };
    // Writing into a string does not fail.
    let _ = writeln!(
        text,
        "{} of {} runs {world}: {}, seeds {}{options}.\n",
        tables.runs().len(),
        plan.size(),
        plan.combinations(),
        plan.seeds
    );
    text.push_str(&points_table(tables));
    text.push_str(&left_out(tables.runs()));
    text.push_str(&failures(tables.runs()));
    text.push_str("\n## Figures\n\n");
    text.push_str(
        "Each run counts once. Intervals are those of the median, 95 %, by the bootstrap (2000 resamples); fewer than six \
         runs have none. How long each case took is in `summary.csv`.\n",
    );
    if plan.points.len() == 1 {
        text.push_str(&one_table(findings));
    } else {
        findings.figures().for_each(|lines| text.push_str(&metric_table(plan, lines)));
    }
    text
}

fn points_table(tables: &SweepTables<'_>) -> String {
    let mut text = "| point | values | runs | counted | passed | failed | unfaithful | inconclusive |\n".to_owned();
    text.push_str("|---:|---|---:|---:|---:|---:|---:|---:|\n");
    for point in 1..=tables.plan().points.len() {
        let runs: Vec<&SweepRun> = tables.runs().iter().copied().filter(|run| run.point == point).collect();
        let count = |wanted: &dyn Fn(&SweepRun) -> bool| runs.iter().filter(|run| wanted(run)).count();
        let _ = writeln!(
            text,
            "| {point} | {} | {} | {} | {} | {} | {} | {} |",
            cell(&tables.plan().label(point)),
            runs.len(),
            count(&SweepRun::counts),
            count(&|run| run.verdict == RunVerdict::Passed),
            count(&|run| run.verdict == RunVerdict::Failed),
            count(&|run| run.quality == Quality::Unfaithful),
            count(&|run| run.quality == Quality::Inconclusive),
        );
    }
    text
}

fn left_out(runs: &[&SweepRun]) -> String {
    let left_out: Vec<&SweepRun> = runs.iter().copied().filter(|run| !run.counts()).collect();
    if left_out.is_empty() {
        return String::new();
    }
    let mut text = format!("\nLeft out of the figures are {} of {} runs:\n\n", left_out.len(), runs.len());
    listed(&mut text, &left_out, |run| run.quality.label());
    text
}

fn failures(runs: &[&SweepRun]) -> String {
    let failed: Vec<&SweepRun> =
        runs.iter().copied().filter(|run| run.counts() && run.verdict == RunVerdict::Failed).collect();
    if failed.is_empty() {
        return String::new();
    }
    let mut text = format!("\nA case failed in {} of {} runs, which count:\n\n", failed.len(), runs.len());
    listed(&mut text, &failed, |run| run.verdict.label());
    text
}

fn listed(text: &mut String, runs: &[&SweepRun], label: impl Fn(&SweepRun) -> &'static str) {
    for run in runs.iter().take(LISTED) {
        let reason = run.reason.as_deref().unwrap_or("no reason is known");
        let _ = writeln!(text, "- `{}` {}: {}", run.id(), label(run), cell(reason));
    }
    if runs.len() > LISTED {
        let _ = writeln!(text, "- and {} more, see `runs.csv`", runs.len() - LISTED);
    }
}

const HEADINGS: &str = "runs | median | 95 % interval | least | most |\n";

/// A single point: all metrics in one table.
fn one_table(findings: &SweepFindings<'_>) -> String {
    let mut text = format!("\n| case | figure | {HEADINGS}|---|---|---:|---:|---:|---:|---:|\n");
    for line in findings.figures().flatten() {
        let Metric { of, figure, unit, column } = line.metric;
        let figure = with_unit(figure, unit);
        let _ = writeln!(text, "| {of} | [{figure}](plots/{column}.svg) | {}", numbers(&line.statistic));
    }
    text
}

fn metric_table(plan: &SweepPlan, lines: &[Finding<'_>]) -> String {
    let Some(first) = lines.first() else { return String::new() };
    let Metric { of, figure, unit, column } = first.metric;
    let mut text = format!("\n### {of}: {}\n\n", with_unit(figure, unit));
    let _ = write!(text, "[plot](plots/{column}.svg)\n\n| values | {HEADINGS}|---|---:|---:|---:|---:|---:|\n");
    for line in lines {
        let _ = writeln!(text, "| {} | {}", cell(&plan.label(line.point)), numbers(&line.statistic));
    }
    text
}

fn with_unit(figure: &str, unit: &str) -> String {
    if unit.is_empty() { cell(figure) } else { format!("{} ({unit})", cell(figure)) }
}

fn numbers(statistic: &Statistic) -> String {
    let Statistic { runs, median, interval, least, most } = *statistic;
    let interval = interval.map_or_else(|| "–".to_owned(), |i| format!("{} – {}", rounded(i.low), rounded(i.high)));
    format!("{runs} | {} | {interval} | {} | {} |", rounded(median), rounded(least), rounded(most))
}

/// Four significant digits, which is more than such figures carry.
fn rounded(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    #[expect(clippy::cast_possible_truncation, reason = "logarithms of finite numbers are small")]
    let before = value.abs().log10().floor() as i32 + 1;
    let digits = usize::try_from(4 - before).unwrap_or(0);
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A text inside of a cell of a table, or of a line.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::plan;
    use crate::tables::tests::{run, sample};

    fn runs(points: usize) -> Vec<SweepRun> {
        let measured = |point: usize, seed: u64| {
            let value = point as f64 * 100.0 + seed as f64 / 3.0;
            vec![sample("out-03", "loss | median", "ms", value), sample("out-03", DURATION, "ms", value)]
        };
        let mut runs: Vec<SweepRun> =
            (1..=points).flat_map(|point| (1..=8).map(move |seed| run(point, seed, measured(point, seed)))).collect();
        runs[1].quality = Quality::Unfaithful;
        runs[1].reason = Some("the delay was\n1 ms off".into());
        runs[1].samples[0].value = 1e9;
        runs[2].verdict = RunVerdict::Failed;
        runs[2].reason = Some("out-03: 5 | 6".into());
        runs
    }

    #[test]
    fn several_points_are_compared() {
        let (plan, runs) = (plan(&["links.wan.delay=10ms,20ms"], "1..9"), runs(2));
        let tables = SweepTables::new(&plan, &runs);
        insta::assert_snapshot!(summary_markdown(&tables, &SweepFindings::of(&tables)));
    }

    #[test]
    fn one_point_is_one_table() {
        let (plan, runs) = (plan(&[], "1..8"), runs(1));
        let tables = SweepTables::new(&plan, &runs);
        insta::assert_snapshot!(summary_markdown(&tables, &SweepFindings::of(&tables)));
    }

    #[test]
    fn runs_that_do_not_count_change_no_figure() {
        let (plan, mut all) = (plan(&["links.wan.delay=10ms,20ms"], "1..9"), runs(2));
        let csv = |runs: &[SweepRun]| {
            let tables = SweepTables::new(&plan, runs);
            summary_csv(&tables, &SweepFindings::of(&tables)).unwrap()
        };
        let with = csv(&all);
        assert!(!with.contains("1000000000"), "{with}");
        all.remove(1);
        assert_eq!(csv(&all), with);
    }

    #[test]
    fn numbers_have_four_digits() {
        let said = [0.0, 1234.56, 12.3456, 0.000_123_456, -7.0, 123_456.0, 99.999].map(rounded);
        assert_eq!(said, ["0", "1235", "12.35", "0.0001235", "-7", "123456", "100"]);
    }
}
