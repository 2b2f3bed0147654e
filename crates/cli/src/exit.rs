//! How the program ends when it did not do what it was asked: the message, the hint and the exit code.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use selvedge_thread_store::StoreError;

use crate::render::style::Paint;
use crate::render::text::clean;

/// The outcome of a verb, or of a part of one.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// What a script can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// Something did not work.
    Failure = 1,
    /// The command line asks for something that makes no sense. Clap uses the same number.
    Usage = 2,
    /// There is no such thread or turn.
    NotFound = 3,
    /// Somebody else has the thread, or builds on it.
    Conflict = 4,
    /// Nothing was chosen. Shells say the same of a program that was interrupted.
    Left = 130,
}

/// Why the program ends early, and what to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    error: anyhow::Error,
    hint: Option<String>,
}

impl Failure {
    /// A failure in words of this program.
    pub(crate) fn new(code: Code, message: impl Display) -> Self {
        Self { code, error: anyhow::anyhow!("{message}"), hint: None }
    }

    /// Somebody left without choosing, and knows it.
    pub(crate) fn left() -> Self {
        Self::new(Code::Left, "nothing was chosen")
    }

    /// The same failure with advice; it takes the place of what is advised by default.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same failure, said to have happened while doing `context`.
    #[must_use]
    pub(crate) fn context(mut self, context: impl Display) -> Self {
        self.error = self.error.context(context.to_string());
        self
    }

    /// Says what happened on standard error, and gives the exit code.
    pub(crate) fn report(&self, color: clap::ColorChoice) -> ExitCode {
        if self.code == Code::Left {
            return ExitCode::from(self.code as u8);
        }
        let paint = Paint::for_stream(color, &std::io::stderr());
        let mut stderr = std::io::stderr().lock();
        // With standard error gone as well, the exit code is all that can be said.
        let _ = writeln!(stderr, "{} {}", paint.error("error:"), clean(&self.message()));
        if let Some(hint) = &self.hint {
            let _ = writeln!(stderr, "{} {}", paint.hint("hint:"), clean(hint));
        }
        ExitCode::from(self.code as u8)
    }

    /// The error and its causes on one line. A cause that its effect has quoted already is not said again.
    pub(crate) fn message(&self) -> String {
        let mut message = String::new();
        for cause in self.error.chain() {
            let text = cause.to_string();
            if message.is_empty() {
                message = text;
            } else if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
        }
        message
    }
}

/// A failed write of our own output: everything else says what it was about before it becomes a failure.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::from(anyhow::Error::new(error).context("cannot write the output"))
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { code: Code::Failure, error, hint: None }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::from(std::io::Error::from(error))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let (code, hint) = code_and_hint(&error);
        Self { code, error: anyhow::Error::new(error), hint: hint.map(str::to_owned) }
    }
}

fn code_and_hint(error: &StoreError) -> (Code, Option<&'static str>) {
    match error {
        StoreError::NotFound { .. } => (Code::NotFound, Some("`selvedge list --all` shows the threads of this home")),
        StoreError::TurnNotFound { .. } => (Code::NotFound, Some("`selvedge show ID` shows a thread's turns")),
        StoreError::Conflict { .. } => {
            (Code::Conflict, Some("wait until that process is done, or end it; reading needs no claim"))
        }
        StoreError::Lost { .. } => {
            (Code::Conflict, Some("run the command again: it takes the thread as and where it is now"))
        }
        StoreError::HasDependents { .. } => {
            (Code::Conflict, Some("`selvedge archive ID` takes it out of the list and keeps what is built on it"))
        }
        _ => (Code::Failure, None),
    }
}
