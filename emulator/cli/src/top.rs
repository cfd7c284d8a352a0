//! `damc top`.

mod fulfil;
mod gather;
mod keyboard;
mod screen;

use std::future::pending;
use std::io::IsTerminal as _;
use std::pin::Pin;
use std::time::Duration;

use anyhow::anyhow;
use damc_lab::Lab;
use damc_top::{Look, Top, Wish};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::exit::{Exit, Failure, Outcome};
use crate::session::{block_on, of_lab};
use fulfil::{Fulfilled, fulfilled};
use screen::Screen;

/// From one look at the lab to the next, where looking does not take longer.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Links whose counters are asked for at first: more than a screen shows.
const FIRST_LINKS: usize = 64;
/// Events that are taken before the view is drawn again.
const AT_ONCE: usize = 1000;

/// Watch a lab in the terminal, and change it: nodes, links, policies, and what changed lately.
///
/// Keys cut, mend and impair the selected link, kill and start the selected node, and ask why it forwards a name as it does.
/// `?` shows them, `q` ends the view; the lab goes on.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The lab to watch, where more than one is up.
    #[arg(long, value_name = "NAME")]
    pub lab: Option<String>,
}

pub fn run(args: &Args) -> Outcome {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Err(Failure::usage(anyhow!(
            "damc top needs a terminal; programs ask damc ps --json, damc show NODE VIEW --json and damc link A B show --json"
        )));
    }
    block_on(async {
        let lab = Lab::attach(args.lab.as_deref()).map_err(of_lab)?;
        let look = gather::look(&lab, 0..FIRST_LINKS).await.map_err(of_lab)?;
        // It goes, and the terminal is as it was, before anything is said about how this ended.
        let mut screen = Screen::enter()?;
        view(&lab, Top::new(look), &mut screen).await
    })
}

/// Something that is under way.
type Work<'a, T> = Option<Pin<Box<dyn Future<Output = T> + 'a>>>;

/// The result of what is under way; never, where nothing is.
async fn result<T>(work: &mut Work<'_, T>) -> T {
    let done = match work {
        Some(work) => work.await,
        None => pending().await,
    };
    *work = None;
    done
}

async fn view(lab: &Lab, mut top: Top, screen: &mut Screen) -> Outcome {
    let (mut keys, mut events) = (keyboard::keys(), gather::events(lab));
    let mut resized = signal(SignalKind::window_change())?;
    let (mut hangup, mut quit) = (signal(SignalKind::hangup())?, signal(SignalKind::quit())?);
    let mut tick = interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looking: Work<'_, damc_lab::error::Result<Look>> = None;
    let mut doing: Work<'_, Fulfilled> = None;
    loop {
        screen.draw(&top)?;
        tokio::select! {
            key = keys.recv() => match key.map(|key| top.key(key)) {
                // Nobody can press a key any more.
                None | Some(Some(Wish::Quit)) => return Ok(Exit::Passed),
                Some(Some(_)) if doing.is_some() => top.say("what was asked for last is still under way".to_owned()),
                Some(Some(wish)) => doing = Some(Box::pin(fulfilled(lab, wish))),
                Some(None) => {}
            },
            Some(event) = events.recv() => {
                let more = std::iter::from_fn(|| events.try_recv().ok()).take(AT_ONCE);
                for (node, event) in std::iter::once(event).chain(more) {
                    top.happened(&node, &event);
                }
            }
            _ = tick.tick(), if looking.is_none() => looking = Some(Box::pin(gather::look(lab, top.wanted_links()))),
            look = result(&mut looking) => {
                top.looked(look.map_err(of_lab)?);
                top.done(&lab.acts().await.map_err(of_lab)?);
            }
            done = result(&mut doing) => match done {
                Fulfilled::Said(text) => top.say(text),
                Fulfilled::Answer { title, text } => top.show(title, &text),
            },
            _ = resized.recv() => {}
            _ = hangup.recv() => return Ok(Exit::Interrupted),
            _ = quit.recv() => return Ok(Exit::Interrupted),
        }
    }
}
