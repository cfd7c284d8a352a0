//! Properties of one direction of a link: by name and text, as files and `damc link … set` write them.

use damc_impair::{DirectionChange, DirectionSpec, Distribution, Loss, Reorder};

use super::decode::{Fields, Reader};
use super::document::{Data, Yaml};
use super::mistake::{MistakeKind as Kind, did_you_mean};
use super::unit::{self, Rate, Share, Time, UnitError};
use crate::topology::MAX_COST;

/// The properties a running link can change.
pub(super) const PROPERTIES: [&str; 9] =
    ["delay", "jitter", "distribution", "loss", "duplicate", "corrupt", "reorder", "rate", "limit"];
/// Most frames a queue holds.
const MAX_LIMIT: u32 = 1_000_000;

/// What help says for each property.
fn remedy(property: &str) -> &'static str {
    match property {
        "delay" | "jitter" => "write a time up to 60 s with its unit, such as `250us`, `5ms` or `1s`",
        "rate" => "write a rate from 1kbit to 1tbit with its unit, such as `512kbit`, `100mbit` or `1gbit`",
        "distribution" => "one of uniform, normal, pareto, paretonormal",
        "loss" => {
            "write a share from 0% to 100% such as `0.1%`, or `{ model: gilbert-elliott, p: 1%, r: 10% }` \
             (p: to bad, r: back to good, h: received when bad, k: received when good)"
        }
        "reorder" => "write a share from 0% to 100% such as `1%`, or `{ probability: 25%, gap: 5 }`",
        "limit" => "write a number of frames from 1 to 1000000",
        "cost" => "write a whole number from 1 to 16777215",
        _ => "write a share from 0% to 100%, such as `0.1%`",
    }
}

/// Why a property cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PropertyError {
    /// No such property.
    #[error(
        "a link has no property `{0}` that could be set; there are delay, jitter, distribution, loss, duplicate, corrupt, reorder, rate and limit"
    )]
    Unknown(String),
    /// Not a value of it.
    #[error("{property}: {error}; {}", remedy(property))]
    Value {
        /// The property.
        property: String,
        /// What is wrong.
        error: String,
    },
}

/// Sets one property from its text, `delay` from `80ms`.
///
/// # Errors
/// See [`PropertyError`].
pub fn set_property(change: &mut DirectionChange, property: &str, text: &str) -> Result<(), PropertyError> {
    match scalar(change, property, text) {
        None => Err(PropertyError::Unknown(property.to_owned())),
        Some(Ok(())) => Ok(()),
        Some(Err((_, error))) => Err(PropertyError::Value { property: property.to_owned(), error }),
    }
}

/// The properties of a direction as they are written, `delay 1ms` and so on; none for a perfect wire.
#[must_use]
pub fn describe(spec: &DirectionSpec) -> Vec<String> {
    let mut words = Vec::new();
    let mut say = |there: bool, name: &str, value: String| {
        if there {
            words.push(format!("{name} {value}"));
        }
    };
    say(spec.delay_ns > 0, "delay", Time(spec.delay_ns).to_string());
    say(spec.jitter_ns > 0, "jitter", Time(spec.jitter_ns).to_string());
    say(
        spec.jitter_ns > 0 && spec.distribution != Distribution::Uniform,
        "distribution",
        distribution_label(spec.distribution).into(),
    );
    match spec.loss {
        Loss::None => {}
        Loss::Random { probability } => say(true, "loss", Share(probability).to_string()),
        Loss::GilbertElliott { to_bad, to_good, .. } => {
            say(true, "loss", format!("gilbert-elliott {}/{}", Share(to_bad), Share(to_good)));
        }
    }
    say(spec.duplicate > 0.0, "duplicate", Share(spec.duplicate).to_string());
    say(spec.corrupt > 0.0, "corrupt", Share(spec.corrupt).to_string());
    if let Some(Reorder { probability, gap }) = spec.reorder {
        say(
            true,
            "reorder",
            if gap > 1 { format!("{} gap {gap}", Share(probability)) } else { Share(probability).to_string() },
        );
    }
    if let Some(rate) = spec.rate_bps {
        say(true, "rate", Rate(rate).to_string());
    }
    if let Some(limit) = spec.limit {
        say(true, "limit", limit.to_string());
    }
    words
}

pub(crate) const fn distribution_label(distribution: Distribution) -> &'static str {
    match distribution {
        Distribution::Uniform => "uniform",
        Distribution::Normal => "normal",
        Distribution::Pareto => "pareto",
        Distribution::ParetoNormal => "paretonormal",
    }
}

type ValueError = (Kind, String);

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn of_unit(error: UnitError) -> ValueError {
    let kind = if matches!(error, UnitError::OutOfRange(_)) { Kind::OutOfRange } else { Kind::BadUnit };
    (kind, error.to_string())
}

/// None: no such property.
fn scalar(change: &mut DirectionChange, property: &str, text: &str) -> Option<Result<(), ValueError>> {
    fn put<T>(slot: &mut Option<T>, value: Result<T, ValueError>) -> Result<(), ValueError> {
        value.map(|value| *slot = Some(value))
    }
    Some(match property {
        "delay" => put(&mut change.delay_ns, unit::time_ns(text).map_err(of_unit)),
        "jitter" => put(&mut change.jitter_ns, unit::time_ns(text).map_err(of_unit)),
        "distribution" => put(&mut change.distribution, distribution(text)),
        "loss" => put(&mut change.loss, unit::probability(text).map_err(of_unit).map(random_loss)),
        "duplicate" => put(&mut change.duplicate, unit::probability(text).map_err(of_unit)),
        "corrupt" => put(&mut change.corrupt, unit::probability(text).map_err(of_unit)),
        "reorder" => {
            let probability = unit::probability(text).map_err(of_unit);
            put(&mut change.reorder, probability.map(|probability| Reorder { probability, gap: 1 }))
        }
        "rate" => put(&mut change.rate_bps, unit::rate_bps(text).map_err(of_unit)),
        "limit" => put(&mut change.limit, whole(text, 1, MAX_LIMIT)),
        _ => return None,
    })
}

fn random_loss(probability: f64) -> Loss {
    if probability > 0.0 { Loss::Random { probability } } else { Loss::None }
}

fn distribution(text: &str) -> Result<Distribution, ValueError> {
    match text {
        "uniform" => Ok(Distribution::Uniform),
        "normal" => Ok(Distribution::Normal),
        "pareto" => Ok(Distribution::Pareto),
        "paretonormal" => Ok(Distribution::ParetoNormal),
        other => Err((Kind::UnknownValue, format!("`{other}` is no distribution"))),
    }
}

/// A whole number in a range.
pub(super) fn whole(text: &str, low: u32, high: u32) -> Result<u32, ValueError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(number) if (low..=high).contains(&number) => Ok(number),
        _ if digits || text.strip_prefix('-').is_some_and(|t| t.bytes().all(|b| b.is_ascii_digit())) => {
            Err((Kind::OutOfRange, format!("{text} is out of range")))
        }
        _ => Err((Kind::WrongShape, format!("`{text}` is no whole number"))),
    }
}

/// What a map of properties says; what it leaves out is not in the result.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Properties {
    pub change: DirectionChange,
    pub cost: Option<u32>,
}

impl Properties {
    /// These, and where they say nothing what `base` says.
    pub fn over(self, base: Self) -> Self {
        let (new, old) = (self.change, base.change);
        Self {
            change: DirectionChange {
                delay_ns: new.delay_ns.or(old.delay_ns),
                jitter_ns: new.jitter_ns.or(old.jitter_ns),
                distribution: new.distribution.or(old.distribution),
                loss: new.loss.or(old.loss),
                duplicate: new.duplicate.or(old.duplicate),
                corrupt: new.corrupt.or(old.corrupt),
                reorder: new.reorder.or(old.reorder),
                rate_bps: new.rate_bps.or(old.rate_bps),
                limit: new.limit.or(old.limit),
                silent: new.silent.or(old.silent),
            },
            cost: self.cost.or(base.cost),
        }
    }
}

impl Reader<'_> {
    /// Reads the properties among `fields`.
    pub(super) fn properties(&mut self, fields: &Fields<'_>) -> Properties {
        let mut properties = Properties::default();
        for property in PROPERTIES {
            let Some(value) = fields.get(property) else { continue };
            match (&value.data, property) {
                (Data::Map(_), "loss") => properties.change.loss = self.gilbert_elliott(value),
                (Data::Map(_), "reorder") => properties.change.reorder = self.reorder(value),
                _ => self.property(&mut properties.change, property, value),
            }
        }
        properties.cost = fields.get("cost").and_then(|value| self.number(value, "cost", 1, MAX_COST));
        properties
    }

    fn property(&mut self, change: &mut DirectionChange, property: &str, value: &Yaml) {
        let Some(text) = self.scalar_text(value, property, remedy(property)) else { return };
        if let Some(Err((kind, error))) = scalar(change, property, &text) {
            self.mistake(kind, value, format!("{property}: {error}"), remedy(property));
        }
    }

    fn gilbert_elliott(&mut self, value: &Yaml) -> Option<Loss> {
        let fields = self.fields(value, "loss", &["model", "p", "r", "h", "k"])?;
        if let Some(model) = fields.get("model") {
            let text = self.scalar_text(model, "model", remedy("loss"))?;
            if text != "gilbert-elliott" {
                let hint = did_you_mean(&text, ["gilbert-elliott"]);
                let message = format!("`{text}` is no loss model");
                self.mistake(Kind::UnknownValue, model, message, format!("gilbert-elliott is the only one {hint}"));
            }
        } else {
            self.missing(value, "model", remedy("loss"));
        }
        let p = self.required_share(&fields, value, "p");
        let r = self.required_share(&fields, value, "r");
        let h = fields.get("h").map_or(Some(0.0), |v| self.share(v, "h", remedy("loss")));
        let k = fields.get("k").map_or(Some(1.0), |v| self.share(v, "k", remedy("loss")));
        Some(Loss::GilbertElliott { to_bad: p?, to_good: r?, bad_loss: 1.0 - h?, good_loss: 1.0 - k? })
    }

    fn required_share(&mut self, fields: &Fields<'_>, around: &Yaml, key: &'static str) -> Option<f64> {
        match fields.get(key) {
            Some(value) => self.share(value, key, remedy("loss")),
            None => {
                self.missing(around, key, remedy("loss"));
                None
            }
        }
    }

    fn reorder(&mut self, value: &Yaml) -> Option<Reorder> {
        let fields = self.fields(value, "reorder", &["probability", "gap"])?;
        let gap = fields.get("gap").map_or(Some(1), |v| self.number(v, "gap", 1, 1_000_000));
        match fields.get("probability") {
            Some(v) => Some(Reorder { probability: self.share(v, "probability", remedy("reorder"))?, gap: gap? }),
            None => {
                self.missing(value, "probability", remedy("reorder"));
                None
            }
        }
    }

    fn share(&mut self, value: &Yaml, what: &str, help: &str) -> Option<f64> {
        let text = self.scalar_text(value, what, help)?;
        match unit::probability(&text).map_err(of_unit) {
            Ok(share) => Some(share),
            Err((kind, error)) => {
                self.mistake(kind, value, format!("{what}: {error}"), help);
                None
            }
        }
    }

    /// A time with its unit.
    pub(super) fn time(&mut self, value: &Yaml, what: &str) -> Option<u64> {
        self.quantity(value, what, unit::time_ns, remedy("delay"))
    }

    /// A rate with its unit.
    pub(super) fn rate(&mut self, value: &Yaml, what: &str) -> Option<u64> {
        self.quantity(value, what, unit::rate_bps, remedy("rate"))
    }

    /// A time of the timeline, with its unit.
    pub(super) fn span(&mut self, value: &Yaml, what: &str) -> Option<u64> {
        let help = "write a time up to 1 h with its unit, such as `150ms`, `5s` or `2min`";
        self.quantity(value, what, unit::span_ns, help)
    }

    /// A quantity with its unit.
    pub(super) fn quantity<T>(
        &mut self,
        value: &Yaml,
        what: &str,
        read: impl Fn(&str) -> Result<T, UnitError>,
        help: &str,
    ) -> Option<T> {
        let text = self.scalar_text(value, what, help)?;
        match read(&text).map_err(of_unit) {
            Ok(quantity) => Some(quantity),
            Err((kind, error)) => {
                self.mistake(kind, value, format!("{what}: {error}"), help);
                None
            }
        }
    }

    /// A whole number in a range.
    pub(super) fn number(&mut self, value: &Yaml, what: &str, low: u32, high: u32) -> Option<u32> {
        let help = format!("write a whole number from {low} to {high}");
        let text = self.scalar_text(value, what, &help)?;
        match whole(&text, low, high) {
            Ok(number) => Some(number),
            Err((kind, error)) => {
                self.mistake(kind, value, format!("{what}: {error}"), help);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_set_by_name() {
        let mut change = DirectionChange::default();
        set_property(&mut change, "delay", "80ms").unwrap();
        set_property(&mut change, "loss", "1%").unwrap();
        set_property(&mut change, "reorder", "2%").unwrap();
        let expected = DirectionChange {
            delay_ns: Some(80_000_000),
            loss: Some(Loss::Random { probability: 0.01 }),
            reorder: Some(Reorder { probability: 0.02, gap: 1 }),
            ..DirectionChange::default()
        };
        assert_eq!(change, expected);
        assert!(set_property(&mut change, "dely", "80ms").unwrap_err().to_string().contains("no property `dely`"));
        let error = set_property(&mut change, "rate", "80").unwrap_err().to_string();
        assert_eq!(
            error,
            "rate: `80` has no unit; write a rate from 1kbit to 1tbit with its unit, such as `512kbit`, `100mbit` or `1gbit`"
        );
        assert_eq!(change, expected);
    }
}
