//! How the program ends when it could not do what it was asked: a message, a hint and an exit code.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use selvedge_thread_store::StoreError;

use crate::render::paint::Paint;
use crate::render::sanitize::sanitize;

/// The outcome of a verb, or of a part of one.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// The kinds of failure that a script can distinguish, with their exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// Something did not work.
    Other = 1,
    /// The command line does not make sense. Clap uses the same number.
    Usage = 2,
    /// There is no such thread or turn.
    NotFound = 3,
    /// Another process writes the thread, other threads depend on it, or Codex would not notice the change.
    Conflict = 4,
    /// The user chose nothing. Shells use the same number for a program that was interrupted.
    Cancelled = 130,
}

/// Why the program ends early, and what the user can do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: FailureKind,
    error: anyhow::Error,
    hint: Option<String>,
}

impl Failure {
    /// Creates a failure with this message.
    pub(crate) fn new(kind: FailureKind, message: impl Display) -> Self {
        Self { kind, error: anyhow::anyhow!("{message}"), hint: None }
    }

    /// Creates the failure of a user who left without choosing. It prints nothing: the user knows.
    pub(crate) fn cancelled() -> Self {
        Self::new(FailureKind::Cancelled, "nothing was chosen")
    }

    /// Sets the hint, in place of the default one.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what the program was doing when it failed.
    #[must_use]
    pub(crate) fn context(mut self, context: impl Display) -> Self {
        self.error = self.error.context(context.to_string());
        self
    }

    /// Prints the failure to standard error and returns the exit code.
    pub(crate) fn report(&self, color: clap::ColorChoice) -> ExitCode {
        if self.kind == FailureKind::Cancelled {
            return ExitCode::from(self.kind as u8);
        }
        let paint = Paint::for_stream(color, &std::io::stderr());
        let mut stderr = std::io::stderr().lock();
        // If standard error is closed too, the exit code is the only report that is left.
        let _ = writeln!(stderr, "{} {}", paint.error("error:"), sanitize(&self.message()));
        if let Some(hint) = &self.hint {
            let _ = writeln!(stderr, "{} {}", paint.hint("hint:"), sanitize(hint));
        }
        ExitCode::from(self.kind as u8)
    }

    /// Returns the error and its causes on one line. A cause that is already part of the text is not repeated.
    pub(crate) fn message(&self) -> String {
        let mut message = String::new();
        for cause in self.error.chain() {
            let text = cause.to_string();
            if message.is_empty() {
                message = text;
            // Some errors print their source as part of their own text.
            } else if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
        }
        message
    }
}

/// A bare `io::Error` is a failed write of the program's own output. Every other I/O error gets a context before it
/// becomes a failure.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::from(anyhow::Error::new(error).context("cannot write the output"))
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { kind: FailureKind::Other, error, hint: None }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::from(std::io::Error::from(error))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let (kind, hint) = kind_and_hint(&error);
        Self { kind, error: anyhow::Error::new(error), hint: hint.map(str::to_owned) }
    }
}

fn kind_and_hint(error: &StoreError) -> (FailureKind, Option<&'static str>) {
    match error {
        StoreError::NotFound { .. } => {
            (FailureKind::NotFound, Some("`selvedge list --all` shows the threads of this store"))
        }
        StoreError::TurnNotFound { .. } => (FailureKind::NotFound, Some("`selvedge show ID` shows a thread's turns")),
        StoreError::Conflict { .. } => {
            (FailureKind::Conflict, Some("wait until that process is done, or end it; reading works in the meantime"))
        }
        StoreError::Lost { .. } => {
            (FailureKind::Conflict, Some("run the command again: it starts from the current state of the thread"))
        }
        StoreError::HasDependents { .. } => (
            FailureKind::Conflict,
            Some("`selvedge archive ID` takes it out of the list and keeps the threads that depend on it intact"),
        ),
        _ => (FailureKind::Other, None),
    }
}
