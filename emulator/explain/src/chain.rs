//! The answer: an effect and its causes.

use core::fmt;

use serde::Serialize;

use crate::frames::FrameRef;
use crate::rule::Rule;

/// What a step is in its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// It follows from the steps after it, as the rule says.
    Follows,
    /// Nothing before it is known or needed: a root.
    Root,
    /// The node does not do what the rule says: a root as well.
    Broken,
}

/// One step of a chain.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// Where.
    pub node: String,
    /// When, on the world's clock, ns; none for what a table says now.
    pub at_ns: Option<u64>,
    /// What.
    pub what: String,
    /// By which rule; none for what people do.
    pub rule: Option<Rule>,
    /// The frame that carried it.
    pub frame: Option<FrameRef>,
    /// What it is in the chain.
    pub mark: Mark,
}

/// An effect and its causes, the effect first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Chain {
    /// What was asked.
    pub question: String,
    /// The answer in one line.
    pub answer: String,
    /// The steps.
    pub steps: Vec<Step>,
    /// Time that the printed form counts from, on the world's clock, ns: when the lab was ready.
    pub began_ns: u64,
}

impl Chain {
    /// The steps at which the chain ends: rules that are broken where there are any, else all roots.
    pub fn roots(&self) -> impl Iterator<Item = &Step> {
        let worst = self.steps.iter().map(|step| step.mark).max().unwrap_or(Mark::Follows);
        self.steps.iter().filter(move |step| step.mark == worst && worst != Mark::Follows)
    }
}

/// As text: a line for each step, and under it the rule and the frame.
impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.answer)?;
        for step in &self.steps {
            let at = step.at_ns.map_or_else(
                || "now".to_owned(),
                |at| format!("{:.6} s", (i128::from(at) - i128::from(self.began_ns)) as f64 / 1e9),
            );
            let mark = match step.mark {
                Mark::Follows => " ",
                Mark::Root => "•",
                Mark::Broken => "✗",
            };
            writeln!(f, "{mark} {at:>14}  {}: {}", step.node, step.what)?;
            let rule = step.rule.map(|rule| rule.to_string());
            let frame = step.frame.as_ref().map(|frame| frame.text(self.began_ns));
            let cited: Vec<String> = rule.into_iter().chain(frame).collect();
            if !cited.is_empty() {
                writeln!(f, "{:18}{}", "", cited.join("; "))?;
            }
        }
        for root in self.roots() {
            let verb = if root.mark == Mark::Broken { "rule broken at" } else { "root" };
            match root.rule.filter(|_| root.mark == Mark::Broken) {
                Some(rule) => writeln!(f, "{verb} {}: {} ({rule})", root.node, root.what)?,
                None => writeln!(f, "{verb}: {}: {}", root.node, root.what)?,
            }
        }
        Ok(())
    }
}
