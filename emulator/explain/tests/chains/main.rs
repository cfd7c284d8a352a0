//! Chains on whole networks in virtual time: what was done is what the chain ends at, and a node that leaves a rule out is
//! named with the rule.

mod calls;
mod causes;
mod course;
mod faulty;
mod stage;
mod traced;
