//! What the commands that deal with labs share: the runtime, interrupts, and how a lab's errors end a command.

use damc_lab::LabError;
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::{Exit, Failure, Outcome};

/// Runs asynchronous work on this thread. SIGINT and SIGTERM drop it, wherever it is: labs it holds end with it.
pub fn block_on(work: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Before the work begins: from its first step on there may be something to clear away.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            outcome = work => return outcome,
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        eprintln!("damc: interrupted");
        Ok(Exit::Interrupted)
    })
}

/// The way a lab's error ends a command: what the user named wrongly is wrong usage, what this host lacks is inconclusive.
pub fn of_lab(error: LabError) -> Failure {
    Failure { exit: exit_of(&error), error: error.into() }
}

fn exit_of(error: &LabError) -> Exit {
    match error {
        LabError::MissingPrograms(_)
        | LabError::MissingServices(_)
        | LabError::MissingForeign(_)
        | LabError::AlreadyUp(_)
        | LabError::NotUp { .. }
        | LabError::NoLab
        | LabError::Ambiguous(_)
        | LabError::NoNode { .. }
        | LabError::Usage(_)
        | LabError::Untrusted { .. } => Exit::Usage,
        LabError::NotBuilt { error, .. } => exit_of(error),
        // The set-up cannot be made on this host.
        LabError::Sandbox(_) | LabError::Uml(_) | LabError::Io { .. } | LabError::Netlink { .. } => Exit::Inconclusive,
        _ => Exit::Failed,
    }
}
