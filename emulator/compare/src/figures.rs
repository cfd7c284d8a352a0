//! What figures changed by, and what of it is more than noise.

use damc_sweep::{Difference, MedianInterval, Statistic, holm};

use crate::model::{FigureChange, Figures, Judgement, Quantity};

/// The chance that any figure is called changed although none has.
pub(crate) const LEVEL: f64 = 0.05;

/// Which values of a figure are the better ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sense {
    /// Small ones.
    Less,
    /// Great ones.
    More,
    /// Nobody can say.
    Neither,
}

/// Which values of a figure are the better ones, by its name and unit: short times, little lost, much that arrives. A rate may
/// be a load or a cost, and a time may be one that was configured: such figures have no sense.
#[must_use]
pub fn sense(figure: &str, unit: &str) -> Sense {
    let figure = figure.to_lowercase();
    let any = |words: &[&str]| words.iter().any(|word| figure.contains(word));
    if any(&["configured", "period"]) {
        Sense::Neither
    } else if any(&["lost", "loss", "failed", "twice", "error", "lateness"]) || matches!(unit, "ns" | "µs" | "ms" | "s")
    {
        Sense::Less
    } else if any(&["answered", "arrive", "bandwidth", "throughput", "goodput"]) && !any(&["behind"]) {
        Sense::More
    } else {
        Sense::Neither
    }
}

/// A figure that both sides have: which, and what each run says.
pub(crate) struct Pair<'a> {
    pub case: &'a str,
    pub figure: &'a str,
    pub unit: &'a str,
    pub values: Option<String>,
    pub a: Vec<f64>,
    pub b: Vec<f64>,
}

/// Compares figures of which each side has several runs. Without `judged` nothing is called better or worse.
pub(crate) fn of_many(pairs: Vec<Pair<'_>>, unmatched: usize, judged: bool) -> Figures {
    let differences: Vec<(Pair<'_>, Difference)> = pairs
        .into_iter()
        .zip(1..)
        .filter_map(|(pair, seed)| {
            let difference = Difference::of(&pair.a, &pair.b, seed)?;
            Some((pair, difference))
        })
        .collect();
    let compared = differences.len();
    let open: Vec<_> = differences.into_iter().filter(|(_, difference)| !difference.is_constant()).collect();
    let p: Vec<f64> = open.iter().map(|(_, difference)| difference.p).collect();
    let constant = compared - open.len();
    let changed = open.into_iter().zip(holm(&p, LEVEL)).map(|((pair, difference), holds)| {
        let judgement = match (difference.excludes_zero(), holds) {
            (true, true) if judged => of_change(sense(pair.figure, pair.unit), difference.by),
            (true, true) => Judgement::Changed,
            (true, false) => Judgement::Perhaps,
            (false, _) => Judgement::Noise,
        };
        change(&pair, &difference, judgement)
    });
    Figures { compared, constant, unmatched, changed: ordered(changed.collect()) }
}

/// Compares figures of which each side has one run.
pub(crate) fn of_one(pairs: &[Pair<'_>], unmatched: usize) -> Figures {
    let differences = pairs.iter().filter_map(|pair| Some((pair, Difference::of(&pair.a, &pair.b, 0)?)));
    let (constant, open): (Vec<_>, Vec<_>) = differences.partition(|(_, difference)| difference.is_constant());
    let changed =
        open.iter().map(|(pair, difference)| FigureChange { p: None, ..change(pair, difference, Judgement::Untold) });
    Figures {
        compared: constant.len() + open.len(),
        constant: constant.len(),
        unmatched,
        changed: ordered(changed.collect()),
    }
}

fn of_change(sense: Sense, by: f64) -> Judgement {
    match (sense, by > 0.0) {
        (Sense::Less, true) | (Sense::More, false) => Judgement::Worse,
        (Sense::Less, false) | (Sense::More, true) => Judgement::Better,
        (Sense::Neither, _) => Judgement::Changed,
    }
}

fn change(pair: &Pair<'_>, difference: &Difference, judgement: Judgement) -> FigureChange {
    FigureChange {
        judgement,
        case: pair.case.to_owned(),
        figure: pair.figure.to_owned(),
        unit: pair.unit.to_owned(),
        values: pair.values.clone(),
        a: quantity(&difference.a),
        b: quantity(&difference.b),
        by: difference.by,
        interval: difference.interval.map(ends),
        p: Some(difference.p),
    }
}

fn quantity(statistic: &Statistic) -> Quantity {
    Quantity { runs: statistic.runs, median: statistic.median, interval: statistic.interval.map(ends) }
}

const fn ends(interval: MedianInterval) -> [f64; 2] {
    [interval.low, interval.high]
}

/// What is told from noise first, then what changed most for its size.
fn ordered(mut changed: Vec<FigureChange>) -> Vec<FigureChange> {
    let relative = |change: &FigureChange| change.by.abs() / change.a.median.abs().max(f64::MIN_POSITIVE);
    changed.sort_by(|x, y| x.judgement.cmp(&y.judgement).then(relative(y).total_cmp(&relative(x))));
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sense_of_figures_that_suites_have() {
        for (figure, unit) in [
            ("loss at a silent cut, p99", "ms"),
            ("calls lost", ""),
            ("lost", ""),
            ("lateness p99", "ms"),
            ("p99", "ms"),
            ("frames that came to a node twice", "frames"),
            ("looks that failed", ""),
            ("converged", "ms"),
        ] {
            assert_eq!(sense(figure, unit), Sense::Less, "{figure}");
        }
        for (figure, unit) in
            [("answered", ""), ("flows to /A that arrive", "%"), ("measured bandwidth of 50 Mbit/s", "Mbit/s")]
        {
            assert_eq!(sense(figure, unit), Sense::More, "{figure}");
        }
        for (figure, unit) in [
            ("detection time configured", "ms"),
            ("longest mean probe period", "ms"),
            ("share of flows by sr-left", "%"),
            ("answered behind sg-2", ""),
            ("registrations and withdrawals", "1/s"),
            ("probes of one SG to these names", "1/s"),
            ("sent", ""),
        ] {
            assert_eq!(sense(figure, unit), Sense::Neither, "{figure}");
        }
    }
}
