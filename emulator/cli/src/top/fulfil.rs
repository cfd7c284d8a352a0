//! Does what keys ask for.

use damc_lab::Lab;
use damc_lab::control::{Direction, LinkChange};
use damc_top::Wish;

use crate::exit::Failure;
use crate::session::of_lab;
use crate::{link, why};

/// What became of a wish.
pub(super) enum Fulfilled {
    /// To be said in a line.
    Said(String),
    /// To be read.
    Answer { title: String, text: String },
}

/// Fulfils a wish, or says why not.
pub(super) async fn fulfilled(lab: &Lab, wish: Wish) -> Fulfilled {
    tried(lab, wish).await.unwrap_or_else(|failure| Fulfilled::Said(format!("{:#}", failure.error)))
}

async fn tried(lab: &Lab, wish: Wish) -> Result<Fulfilled, Failure> {
    Ok(match wish {
        // It ends the view before it comes here.
        Wish::Quit => Fulfilled::Said(String::new()),
        Wish::Link { a, b, change } => {
            lab.link(&a, &b, change).await.map_err(of_lab)?;
            let what = if change == LinkChange::Down { "cut" } else { "mended: as the topology file says" };
            Fulfilled::Said(format!("{a} – {b} {what}"))
        }
        Wish::Impair { a, b, properties } => {
            let words: Vec<String> = properties.split_whitespace().map(str::to_owned).collect();
            let change = LinkChange::Set { direction: Direction::Both, properties: link::properties(&words)? };
            lab.link(&a, &b, change).await.map_err(of_lab)?;
            Fulfilled::Said(format!("{a} – {b}: {properties}"))
        }
        Wish::Node { node, action } => {
            lab.node(&node, action).await.map_err(of_lab)?;
            Fulfilled::Said(format!("{node}: {} done", action.label()))
        }
        Wish::Why { node, name } => {
            let chain = why::of_lab(lab, &node, &name).await?;
            Fulfilled::Answer { title: format!("why {node} {name}"), text: chain.to_string() }
        }
    })
}
