//! Classes 1 and 3 over links that lose an answer: the question is repeated, and nothing is done twice.

use std::time::Duration;

use damc_impair::DirectionChange;
use damc_testbed::Direction;
use damc_wire::message::AuthResult;
use damc_wire::{Message, Name};

use crate::case::{Case, Findings, Impact, Stop, Suite};
use crate::testbed::Testbed;
use crate::testbed::witness::{advertises, lsas_in, parse};
use crate::trace::Seen;

const LIMIT: Duration = Duration::from_secs(30);

/// Cases of repeated questions.
pub const CASES: &[Case] = &[case!(
    "gap-09",
    "A lost answer to an announcement or to a question to the SPA is asked for again, and the name registered once",
    ["GAP-09"],
    Links,
    lost_answers
)];

/// Number of the request in a frame, where it announces `name` or asks the SPA about it.
fn asks(seen: &Seen, name: &Name) -> Option<u64> {
    let about = |a: &damc_wire::message::Announce| a.add.iter().any(|e| e.prefix == *name);
    match seen.message() {
        Message::Announce(a) if about(a) => Some(a.request),
        Message::AuthRequest(r) if about(&r.announce) => Some(r.request),
        _ => None,
    }
}

/// Whether a frame answers a question about `name`.
fn answers(seen: &Seen, name: &Name) -> bool {
    match seen.message() {
        Message::AnnounceReply(r) => r.outcomes.iter().any(|o| o.prefix == *name),
        Message::AuthReply(r) => matches!(&r.result, AuthResult::Granted(g) if g.prefix == *name),
        _ => false,
    }
}

async fn lost_answers(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, pod) = testbed.sg_with_pod()?;
    let spa = testbed.spa_of(&sg)?;
    for (asker, answerer) in [(&sg, &spa), (&pod, &sg)] {
        let name = testbed.fresh_name(&pod);
        let judged = lost_answer(testbed, findings, (asker, answerer), (&pod, &name)).await;
        testbed.mend(asker, answerer).await?;
        judged?;
        testbed.unregister(&[name]).await?;
    }
    Ok(())
}

/// The answer of `answerer` about a new name is lost on its way to `asker`.
async fn lost_answer(
    testbed: &Testbed,
    findings: &mut Findings,
    (asker, answerer): (&str, &str),
    (pod, name): (&str, &str),
) -> Result<(), Stop> {
    let prefix = parse(name)?;
    let flaps = testbed.flaps(&[asker, answerer]).await?;
    let silent = DirectionChange { silent: Some(true), ..DirectionChange::default() };
    testbed.impair((answerer, asker), Direction::Forward, silent).await?;
    let from = testbed.now_ns();
    testbed.register(pod, name).await?;
    let question = |s: &Seen| s.is_sent_by(asker, answerer) && asks(s, &prefix).is_some();
    let what = format!("{asker} asks {answerer} about {name}");
    let first = testbed.wait_frame(&what, from, testbed.t_conv(), question).await?;
    let what = format!("{answerer} answers {asker} about {name}, in vain");
    let lost = |s: &Seen| s.is_sent_by(answerer, asker) && answers(s, &prefix);
    let lost = testbed.wait_frame(&what, from, testbed.t_conv(), lost).await;
    testbed.mend(asker, answerer).await?;
    lost?;
    // Where an answer takes long, the question may have been repeated before the answer was lost.
    let what = format!("{asker} asks {answerer} about {name} again");
    let repeated = |s: &Seen| s.at_ns > first.at_ns && question(s);
    let again = testbed.wait_frame(&what, first.at_ns, testbed.t_conv(), repeated).await;
    if testbed.flaps(&[asker, answerer]).await? != flaps {
        return Err(Stop::Inconclusive(format!(
            "the adjacency of {asker} and {answerer} ended while the link was silent"
        )));
    }
    let again = again?;
    let (number, number_again) = (asks(&first, &prefix), asks(&again, &prefix));
    findings.check_eq(&number_again, &number, format!("the number under which {asker} asks again"));
    testbed.wait_everywhere(&[name.to_owned()], testbed.t_conv()).await?;
    let frames = testbed.frames(from).await?;
    let sg = testbed.sg_of(pod)?;
    let instances: std::collections::BTreeSet<u64> = frames
        .iter()
        .filter(|s| s.sent && s.node == sg)
        .flat_map(lsas_in)
        .filter(|l| advertises(l, &prefix))
        .map(|l| l.sequence)
        .collect();
    findings.check_eq(&instances.len(), &1, format!("instances of the LSA of {name}"));
    Ok(())
}
