//! The product of all parameters.

use damc_topology::{Setting, SettingPath};

use crate::parameter::Parameter;
use crate::seeds::Seeds;

/// Most runs of a sweep.
pub const MAX_RUNS: usize = 1_000_000;
/// Most points: each is a topology of its own that is checked first.
const MAX_POINTS: usize = 10_000;

/// Why parameters make no grid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GridError {
    /// Two parameters set the same place.
    #[error("`{0}` and `{1}` set the same place; give all values of a path in one --set, with commas")]
    SamePlace(SettingPath, SettingPath),
    /// Two parameters would have the same column.
    #[error("`{0}` and `{1}` are both called `{2}` in tables; sweep them apart from each other")]
    SameColumn(SettingPath, SettingPath, String),
    /// Too many combinations.
    #[error("there are more than {MAX_POINTS} combinations of values")]
    TooManyPoints,
    /// Too many runs.
    #[error("there are more than {MAX_RUNS} runs")]
    TooManyRuns,
}

/// One combination of values. The last parameter changes fastest.
pub type Combination = Vec<Setting>;

/// All combinations; one without settings where there are no parameters.
///
/// # Errors
/// All that is wrong with the parameters together.
pub fn grid(parameters: &[Parameter], seeds: Option<&Seeds>) -> Result<Vec<Combination>, Vec<GridError>> {
    let mut errors = Vec::new();
    for (index, one) in parameters.iter().enumerate() {
        for other in &parameters[..index] {
            let paths = (other.path.clone(), one.path.clone());
            if one.path.overlaps(&other.path) {
                errors.push(GridError::SamePlace(paths.0, paths.1));
            } else if one.column() == other.column() {
                errors.push(GridError::SameColumn(paths.0, paths.1, one.column()));
            }
        }
    }
    let points = parameters.iter().try_fold(1_usize, |product, parameter| product.checked_mul(parameter.values.len()));
    match points.filter(|points| *points <= MAX_POINTS) {
        None => errors.push(GridError::TooManyPoints),
        Some(points) if seeds.is_some_and(|seeds| points.saturating_mul(seeds.list().len()) > MAX_RUNS) => {
            errors.push(GridError::TooManyRuns);
        }
        Some(_) => {}
    }
    if errors.is_empty() { Ok(product(parameters)) } else { Err(errors) }
}

fn product(parameters: &[Parameter]) -> Vec<Combination> {
    let none = vec![Combination::new()];
    parameters.iter().fold(none, |points, Parameter { path, values }| {
        let setting = |value: &String| Setting { path: path.clone(), value: value.clone() };
        let extended = |point: &Combination| {
            values.iter().map(|value| [&point[..], &[setting(value)]].concat()).collect::<Vec<_>>()
        };
        points.iter().flat_map(extended).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(parameters: &[&str], seeds: &str) -> Result<Vec<String>, Vec<GridError>> {
        let parameters: Vec<Parameter> = parameters.iter().map(|text| text.parse().unwrap()).collect();
        let points = grid(&parameters, Some(&seeds.parse().unwrap()))?;
        let text = |point: &Combination| point.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        Ok(points.iter().map(text).collect())
    }

    #[test]
    fn the_last_parameter_changes_fastest() {
        assert_eq!(said(&[], "1").unwrap(), [""]);
        assert_eq!(said(&["a=1,2", "b.c=x,y"], "1").unwrap(), ["a=1 b.c=x", "a=1 b.c=y", "a=2 b.c=x", "a=2 b.c=y"]);
    }

    #[test]
    fn all_mistakes_are_told() {
        let mistakes = said(&["a=1", "a.b=2", "c=1", "c=2", "x-y=1", "x.y=1"], "1").unwrap_err();
        assert_eq!(mistakes.len(), 3, "{mistakes:?}");
        assert!(matches!(mistakes[2], GridError::SameColumn(..)));
    }

    #[test]
    fn a_sweep_has_an_end() {
        let many = (0..101).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        let (a, b) = (format!("a={many}"), format!("b={many}"));
        assert_eq!(said(&[&a, &b], "1").unwrap_err(), [GridError::TooManyPoints]);
        assert_eq!(said(&[&a], "1..10000").unwrap_err(), [GridError::TooManyRuns]);
        assert_eq!(said(&[&a], "1..100").unwrap().len(), 101);
    }
}
