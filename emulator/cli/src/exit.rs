//! How a command ends: exit code, and what is said about a failure.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything passed, or there was nothing to judge.
    Passed,
    /// A case failed, or the command could not do its work.
    Failed,
    /// The input or the usage is wrong.
    Usage,
    /// The environment could not emulate faithfully.
    Inconclusive,
    /// Ended by SIGINT.
    Interrupted,
    /// The exit code of a program run for the user.
    Code(u8),
}

impl Exit {
    /// The number the process ends with.
    pub const fn code(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Inconclusive => 3,
            Self::Interrupted => 130,
            Self::Code(code) => code,
        }
    }
}

/// Why a command gave up. Any error turns into one with [`Exit::Failed`] by `?`.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What happened, with its causes.
    pub error: anyhow::Error,
}

impl Failure {
    /// The input or the usage is wrong.
    pub fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Usage, error: error.into() }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { exit: Exit::Failed, error: error.into() }
    }
}

/// What every command returns.
pub type Outcome = Result<Exit, Failure>;

/// Prints a failure (one line, causes joined by `: `) to standard error and gives the process's exit code.
pub fn report(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(failure) => {
            eprintln!("damc: {:#}", failure.error);
            ExitCode::from(failure.exit.code())
        }
    }
}
