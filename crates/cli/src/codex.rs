//! Changes of threads that Codex knows: Codex makes them itself, or they are refused before anything is changed.
//!
//! A Codex that has a thread in its database does not notice some changes of the thread's files
//! ([`unnoticed_by_codex`](crate::wiring::HomeAdmin)). Every verb that makes such a change asks for its route first:
//!
//! ```text
//!   Codex does not know the thread, or notices the change ──▶ files
//!   --force ────────────────────────────────────────────────▶ files, and a note about what Codex will not notice
//!   Codex can make the change, and its program is here ─────▶ door: the app server of that program makes it
//!   otherwise ──────────────────────────────────────────────▶ the verb is refused
//! ```
//!
//! Whatever Codex answers, the files decide whether the change was made.

mod conversation;
mod program;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use selvedge_protocol::ThreadId;
use selvedge_thread_store::StoreError;
use serde_json::{Value, json};

use self::conversation::{Conversation, ConversationError};
use crate::app::App;
use crate::failure::{Failure, FailureKind, Result};
use crate::home;
use crate::notes::note;
use crate::render::sanitize::sanitize;
use crate::timing::CODEX_PATIENCE;
use crate::wiring::{CodexChange, CodexRecord, UnnoticedChange};

/// The end of the help of each verb that has [`CodexOptions`].
pub(crate) const CODEX_HELP: &str = "\
If Codex knows the thread and would not notice the change in the files, Codex makes the change itself: its program is \
started for that moment, and needs neither the network nor a login. Without the program the command is refused \
(exit code 4) and nothing is changed. With --force the files are changed all the same.";

/// Options of the verbs that change threads which Codex may know.
#[derive(Debug, Args)]
#[command(next_help_heading = "If Codex knows the thread")]
pub(crate) struct CodexOptions {
    /// Change the files also if Codex would not notice it
    #[arg(long)]
    force: bool,
    /// Program of Codex that makes the change, or `off` for none [default: SELVEDGE_CODEX, else `codex` on the PATH]
    #[arg(long, value_name = "PROGRAM|off", conflicts_with = "force")]
    codex: Option<PathBuf>,
}

/// How a change is made.
pub(crate) enum Route {
    /// This program changes the files.
    Files(ChangeMaker),
    /// Codex makes the change.
    Door(Box<CodexDoor>),
}

/// Who made a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ChangeMaker {
    /// This program changed the files.
    Files {
        /// What Codex will not notice, if the user has forced the change.
        unnoticed: Option<String>,
    },
    /// Codex of this version made the change.
    Codex {
        /// The version that the program reports.
        version: String,
    },
}

/// The program of Codex, for one change of one thread.
pub(crate) struct CodexDoor {
    program: PathBuf,
    home: PathBuf,
    /// Settings of its configuration for this run.
    settings: Vec<String>,
    patience: Duration,
    unnoticed: UnnoticedChange,
}

/// A request to the app server of Codex: a method and its parameters.
pub(crate) type CodexRequest = (&'static str, Value);

/// Decides how a change is made.
///
/// # Errors
/// A conflict if Codex would not notice the change and cannot make it, unless the user has forced it.
pub(crate) async fn route(app: &App<'_>, id: ThreadId, change: &CodexChange, options: &CodexOptions) -> Result<Route> {
    // Codex reads no database of threads.
    let Some(home) = &app.home else { return Ok(Route::Files(ChangeMaker::Files { unnoticed: None })) };
    let unnoticed = match home.admin.unnoticed_by_codex(id, change).await {
        Ok(unnoticed) => unnoticed,
        // With a database that cannot be read, nobody knows what Codex knows.
        Err(error) if options.force && app.store.read_thread(id).await.is_ok() => {
            return Ok(Route::Files(ChangeMaker::Files { unnoticed: Some(error.to_string()) }));
        }
        Err(error @ StoreError::Backend { .. }) => {
            return Err(
                Failure::from(error).hint("--force changes the files all the same, and Codex may not notice it")
            );
        }
        Err(error) => return Err(error.into()),
    };
    let Some(unnoticed) = unnoticed else { return Ok(Route::Files(ChangeMaker::Files { unnoticed: None })) };
    if options.force {
        return Ok(Route::Files(ChangeMaker::Files { unnoticed: Some(unnoticed.consequence) }));
    }
    if let Some(obstacle) = &unnoticed.obstacle {
        return Err(refusal(&unnoticed, obstacle));
    }
    let Some(program) = program::find(options.codex.as_deref())? else {
        return Err(refusal(
            &unnoticed,
            "name its program with --codex or SELVEDGE_CODEX, and it makes the change itself",
        ));
    };
    // Codex starts the tool servers of its configuration when it resumes a thread. The change needs none.
    let servers = home.admin.codex_tool_servers().await?;
    let settings = servers.iter().filter(|name| is_plain_key(name));
    Ok(Route::Door(Box::new(CodexDoor {
        program,
        home: home.path.clone(),
        settings: settings.map(|name| format!("mcp_servers.{name}.enabled=false")).collect(),
        patience: patience()?,
        unnoticed,
    })))
}

/// Returns whether a name is a key that needs no quotes in the name of a setting.
fn is_plain_key(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// Returns how long Codex may take for an answer.
fn patience() -> Result<Duration> {
    let Some(text) = home::variable("SELVEDGE_CODEX_TIMEOUT") else { return Ok(CODEX_PATIENCE) };
    let seconds = text.to_str().and_then(|text| text.parse().ok()).filter(|seconds| *seconds > 0);
    seconds.map(Duration::from_secs).ok_or_else(|| {
        Failure::new(FailureKind::Usage, "SELVEDGE_CODEX_TIMEOUT is not a number of seconds")
            .hint("correct it, or unset it")
    })
}

/// Returns the failure of a verb that has changed nothing.
fn refusal(unnoticed: &UnnoticedChange, advice: &str) -> Failure {
    let UnnoticedChange { record, consequence, .. } = unnoticed;
    let database = record.database.display();
    Failure::new(
        FailureKind::Conflict,
        format!(
            "nothing was changed, because Codex knows this thread ({database}) and would not notice: {consequence}"
        ),
    )
    .hint(format!("{advice}; --force changes the files all the same"))
}

impl CodexDoor {
    /// Returns what Codex has recorded about the thread.
    pub(crate) fn record(&self) -> &CodexRecord {
        &self.unnoticed.record
    }

    /// Sends requests to Codex, one after the other, and then asks `is_made` whether the files show the change.
    ///
    /// # Errors
    /// If the files do not show the change. A conflict if Codex refuses it, or is too old.
    pub(crate) async fn ask(
        &self,
        requests: &[CodexRequest],
        is_made: impl AsyncFnOnce() -> Result<bool>,
    ) -> Result<ChangeMaker> {
        let (version, outcome) = self.converse(requests);
        let name = if version.is_empty() { "Codex".to_owned() } else { format!("Codex {version}") };
        match (is_made().await?, outcome) {
            (true, Ok(())) => Ok(ChangeMaker::Codex { version }),
            (true, Err(error)) => {
                note(&format!("{name} made the change, but then {error}"));
                Ok(ChangeMaker::Codex { version })
            }
            (false, Ok(())) => Err(Failure::new(
                FailureKind::Other,
                format!("{name} reports that it made the change, but the files of the thread do not show it"),
            )),
            (false, Err(error)) => Err(self.failure(&name, &error)),
        }
    }

    /// Returns the version of the program, and whether it did everything.
    fn converse(&self, requests: &[CodexRequest]) -> (String, Result<(), ConversationError>) {
        let started = Conversation::start(&self.program, &self.home, &self.settings, self.patience);
        let mut codex = match started {
            Ok(codex) => codex,
            Err(error) => return (String::new(), Err(error)),
        };
        let version = codex.version.clone();
        let outcome = requests.iter().try_for_each(|(method, params)| codex.call(method, params).map(drop));
        // It is asked to end also after a refusal: it may have to finish something.
        (version, outcome.and(codex.end()))
    }

    fn failure(&self, name: &str, error: &ConversationError) -> Failure {
        let program = self.program.display();
        let message = format!("the change was not made: {name} ({program}) {error}");
        let consequence = &self.unnoticed.consequence;
        let hint = format!("--force changes the files all the same, but {consequence}");
        match error {
            ConversationError::Refused(reason) if reason.contains("already has an active writer") => {
                Failure::new(FailureKind::Conflict, message).hint(
                    "wait until the process that writes the thread is done, or end it; reading works in the meantime",
                )
            }
            ConversationError::UnknownMethod(_) => {
                Failure::new(FailureKind::Conflict, message).hint(format!("name a newer one with --codex; {hint}"))
            }
            ConversationError::Refused(_) => Failure::new(FailureKind::Conflict, message).hint(hint),
            _ => Failure::new(FailureKind::Other, message).hint(hint),
        }
    }
}

impl ChangeMaker {
    /// Returns the end of the line that reports the change: who made it, if it was Codex.
    pub(crate) fn suffix(&self) -> String {
        match self {
            Self::Files { .. } => String::new(),
            Self::Codex { version } => format!(" (by Codex {version})"),
        }
    }

    /// Prints the answer of the verb as JSON, or else `lines`. A note says what Codex will not notice.
    pub(crate) fn report(&self, mut answer: Value, lines: &[String], app: &mut App<'_>) -> Result<()> {
        if app.json {
            self.annotate(&mut answer);
            app.out.json(&answer)?;
        } else {
            for line in lines {
                writeln!(app.out, "{}", sanitize(line))?;
            }
        }
        if let Self::Files { unnoticed: Some(unnoticed) } = self {
            app.out.flush()?;
            note(&format!("Codex does not notice this change: {unnoticed}"));
        }
        Ok(())
    }

    /// Adds to a JSON answer who made the change, and what Codex will not notice.
    fn annotate(&self, answer: &mut Value) {
        match self {
            Self::Files { unnoticed: None } => {}
            Self::Files { unnoticed: Some(unnoticed) } => answer["unnoticed_by_codex"] = json!(unnoticed),
            Self::Codex { version } => answer["made_by"] = json!(format!("Codex {version}")),
        }
    }
}
