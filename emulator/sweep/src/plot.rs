//! Plots that a paper could take: SVG, one for each figure.

use core::fmt;

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::{
    Cartesian2d, ChartBuilder, ChartContext, Circle, Color as _, DrawingArea, IntoDrawingArea as _, LineSeries,
    PathElement, RGBColor, SVGBackend, SeriesLabelPosition,
};
use plotters::style::{BLACK, WHITE};

use crate::plan::SweepPlan;
use crate::summary::{Finding, SweepFindings};
use crate::tables::Metric;

/// Width and height in pixels.
const SIZE: (u32, u32) = (720, 440);
/// Okabe and Ito's colours, which the colour-blind tell apart too.
const COLOURS: [(u8, u8, u8); 7] =
    [(0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (230, 159, 0), (0, 0, 0)];
/// Series that a plot shows; more cannot be told apart.
const MOST_SERIES: usize = 14;

/// A plot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plot {
    /// Name of its file.
    pub file: String,
    /// The SVG document.
    pub svg: String,
}

/// A line of a plot.
struct Series {
    label: String,
    points: Vec<(f64, f64)>,
    /// Intervals: x, low, high.
    intervals: Vec<(f64, f64, f64)>,
}

/// What a plot shows.
struct Picture {
    title: String,
    x: String,
    y: String,
    /// Dots at the points, which distributions have too many of.
    dots: bool,
    series: Vec<Series>,
}

/// A plot for each figure. Where a parameter is a number, medians with their intervals over it; otherwise the distribution
/// over runs, a line for each point.
///
/// # Errors
/// A plot cannot be drawn, with the reason.
pub fn plots(plan: &SweepPlan, findings: &SweepFindings<'_>) -> Result<Vec<Plot>, String> {
    let drawn = |lines: &[Finding<'_>]| {
        let metric = lines.first()?.metric;
        let picture = match axis(plan) {
            Some(axis) => over(plan, axis, metric, lines),
            None => distribution(plan, metric, lines),
        };
        let plot = |svg| Plot { file: format!("{}.svg", metric.column), svg };
        Some(draw(&picture).map(plot).map_err(|error| format!("{}: {error}", metric.column)))
    };
    findings.figures().filter_map(drawn).collect()
}

/// The parameter that becomes the horizontal axis: the first with several numbers.
fn axis(plan: &SweepPlan) -> Option<usize> {
    plan.parameters.iter().position(|parameter| parameter.values.len() > 1 && parameter.quantities().is_some())
}

/// Medians over a parameter; a line for each combination of the others.
fn over(plan: &SweepPlan, axis: usize, metric: &Metric, lines: &[Finding<'_>]) -> Picture {
    let mut series: Vec<Series> = Vec::new();
    for line in lines {
        let Some(point) = plan.point(line.point) else { continue };
        let Some(x) = damc_topology::Quantity::of(&point.settings[axis].value).map(damc_topology::Quantity::value)
        else {
            continue;
        };
        let others = point.settings.iter().enumerate().filter(|(index, _)| *index != axis);
        let label = others.map(|(_, setting)| setting.to_string()).collect::<Vec<_>>().join(", ");
        let index = series.iter().position(|series| series.label == label).unwrap_or_else(|| {
            series.push(Series { label, points: Vec::new(), intervals: Vec::new() });
            series.len() - 1
        });
        series[index].points.push((x, line.statistic.median));
        series[index].intervals.extend(line.statistic.interval.map(|interval| (x, interval.low, interval.high)));
    }
    for series in &mut series {
        series.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    let parameter = &plan.parameters[axis];
    let x = parameter.unit().map_or_else(|| parameter.path.to_string(), |unit| format!("{} ({unit})", parameter.path));
    let runs = lines.iter().map(|line| line.statistic.runs).max().unwrap_or(0);
    let title = format!("{}: median and its 95 % interval, {runs} runs a point", metric.of);
    Picture { title, x, y: said(metric), dots: true, series }
}

/// The share of runs that stay at or below a value.
fn distribution(plan: &SweepPlan, metric: &Metric, lines: &[Finding<'_>]) -> Picture {
    let series = lines.iter().map(|line| {
        let mut sorted = line.values.clone();
        sorted.sort_by(f64::total_cmp);
        let share = |count: usize| count as f64 / sorted.len() as f64;
        let steps = sorted.iter().enumerate().flat_map(|(i, value)| [(*value, share(i)), (*value, share(i + 1))]);
        Series { label: plan.label(line.point), points: steps.collect(), intervals: Vec::new() }
    });
    let series: Vec<Series> = series.collect();
    let runs = lines.iter().map(|line| line.statistic.runs).max().unwrap_or(0);
    let title = format!("{}: distribution over {runs} runs", metric.of);
    Picture { title, x: said(metric), y: "share of runs".to_owned(), dots: false, series }
}

fn said(metric: &Metric) -> String {
    if metric.unit.is_empty() { metric.figure.clone() } else { format!("{} ({})", metric.figure, metric.unit) }
}

fn draw(picture: &Picture) -> Result<String, impl fmt::Display + use<>> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    let outcome = draw_on(&area, picture);
    drop(area);
    outcome.map(|()| svg)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn draw_on(area: &Area<'_>, picture: &Picture) -> Result<(), Box<dyn std::error::Error>> {
    area.fill(&WHITE)?;
    let (all, most) = (picture.series.len(), picture.series.len().min(MOST_SERIES));
    let shown = &picture.series[..most];
    let left_out = if all > most { format!("; {most} of {all} lines are shown") } else { String::new() };
    let xs = shown.iter().flat_map(|series| series.points.iter().map(|point| point.0));
    let ends = |series: &Series| series.intervals.iter().flat_map(|(_, low, high)| [*low, *high]).collect::<Vec<_>>();
    let ys = shown.iter().flat_map(|series| series.points.iter().map(|point| point.1).chain(ends(series)));
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{}{left_out}", picture.title), ("sans-serif", 16))
        .margin(14)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(span(xs), span(ys))?;
    chart
        .configure_mesh()
        .x_desc(&picture.x)
        .y_desc(&picture.y)
        .axis_desc_style(("sans-serif", 14))
        .label_style(("sans-serif", 12))
        .light_line_style(WHITE)
        .bold_line_style(BLACK.mix(0.12))
        .draw()?;
    for (series, (red, green, blue)) in shown.iter().zip(COLOURS.iter().copied().cycle()) {
        let legend = (shown.len() > 1).then_some(series.label.as_str());
        draw_series(&mut chart, series, RGBColor(red, green, blue), picture.dots, legend)?;
    }
    if shown.len() > 1 {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .label_font(("sans-serif", 12))
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.25))
            .draw()?;
    }
    area.present()?;
    Ok(())
}

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

fn draw_series(
    chart: &mut Chart<'_, '_>,
    series: &Series,
    colour: RGBColor,
    dots: bool,
    legend: Option<&str>,
) -> Result<(), Box<dyn std::error::Error>> {
    let line = chart.draw_series(LineSeries::new(series.points.iter().copied(), colour.stroke_width(2)))?;
    if let Some(legend) = legend {
        let sample = move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2));
        line.label(legend).legend(sample);
    }
    if dots {
        chart.draw_series(series.points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
    }
    let bar = |&(x, low, high): &(f64, f64, f64)| PathElement::new(vec![(x, low), (x, high)], colour.stroke_width(1));
    chart.draw_series(series.intervals.iter().map(bar))?;
    Ok(())
}

/// What an axis spans: all values and a margin, from zero on where that costs less than half of it.
fn span(values: impl Iterator<Item = f64>) -> core::ops::Range<f64> {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    if low > high {
        return 0.0..1.0;
    }
    let low = if low > 0.0 && low < high / 2.0 { 0.0 } else { low };
    let margin = if high > low { (high - low) * 0.05 } else { (high.abs() * 0.05).max(0.5) };
    let below = if low == 0.0 { 0.0 } else { low - margin };
    below..high + margin
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::plan;
    use crate::record::SweepRun;
    use crate::tables::SweepTables;
    use crate::tables::tests::{run, sample};

    fn drawn(parameters: &[&str], seeds: u64) -> Vec<Plot> {
        let plan = plan(parameters, &format!("1..{seeds}"));
        let value = |point: usize, seed: u64| point as f64 * 10.0 + (seed * 7 % 5) as f64;
        let runs: Vec<SweepRun> = plan
            .runs()
            .map(|id| run(id.point, id.seed, vec![sample("out-03", "loss <of> calls", "ms", value(id.point, id.seed))]))
            .collect();
        let tables = SweepTables::new(&plan, &runs);
        plots(&plan, &SweepFindings::of(&tables)).unwrap()
    }

    fn texts(svg: &str) -> Vec<String> {
        let document = roxmltree::Document::parse(svg).unwrap();
        let texts = document.descendants().filter(|node| node.has_tag_name("text"));
        texts.filter_map(|node| Some(node.text()?.trim().to_owned())).collect()
    }

    fn count(svg: &str, tag: &str) -> usize {
        roxmltree::Document::parse(svg).unwrap().descendants().filter(|node| node.has_tag_name(tag)).count()
    }

    #[test]
    fn a_number_becomes_the_axis_and_the_rest_becomes_lines() {
        let plots = drawn(&["links.wan.loss=1%,2%", "links.wan.distribution=normal,pareto"], 8);
        assert_eq!(plots.len(), 1);
        assert_eq!(plots[0].file, "out_03_loss_of_calls_ms.svg");
        let said = texts(&plots[0].svg);
        for text in ["links.wan.loss (percent)", "loss <of> calls (ms)", "links.wan.distribution=pareto"] {
            assert!(said.iter().any(|found| found == text), "{text} is not in {said:?}");
        }
        assert_eq!(count(&plots[0].svg, "circle"), 4, "a dot for each point");
    }

    #[test]
    fn without_numbers_distributions_are_compared() {
        let plots = drawn(&["links.wan.distribution=normal,pareto"], 8);
        let said = texts(&plots[0].svg);
        assert!(said.iter().any(|text| text == "share of runs"), "{said:?}");
        assert!(said.iter().any(|text| text == "links.wan.distribution=normal"), "{said:?}");
        let alone = drawn(&[], 3);
        assert!(
            !texts(&alone[0].svg).iter().any(|text| text.contains("as in the file")),
            "a single line needs no legend"
        );
    }

    #[test]
    fn lines_that_are_left_out_are_counted() {
        let many = (1..=20).map(|n| format!("x{n}")).collect::<Vec<_>>().join(",");
        let plots = drawn(&[&format!("name={many}")], 2);
        let said = texts(&plots[0].svg);
        assert!(said.iter().any(|text| text.ends_with("; 14 of 20 lines are shown")), "{said:?}");
    }

    #[test]
    fn axes_hold_what_they_show() {
        assert_eq!(span([].into_iter()), 0.0..1.0);
        let range = span([4.0, 10.0].into_iter());
        assert!(range.start == 0.0 && range.end > 10.0, "{range:?}");
        let range = span([9.0, 10.0].into_iter());
        assert!(range.start > 8.0 && range.start < 9.0, "{range:?}");
        let range = span([5.0].into_iter());
        assert!(range.start < 5.0 && range.end > 5.0, "{range:?}");
        let range = span([-3.0, 3.0].into_iter());
        assert!(range.start < -3.0 && range.end > 3.0, "{range:?}");
    }
}
