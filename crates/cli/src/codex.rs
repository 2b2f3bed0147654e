//! Changes of threads that Codex knows: Codex makes them itself, or they are refused before anything is changed.
//!
//! A Codex that has a thread in its database does not notice some changes of the thread's files
//! ([`HomeAdmin::unnoticed_by_codex`](crate::wiring::HomeAdmin)). Every verb that makes such a change asks [`route`] first.

use clap::Args;
use selvedge_protocol::ThreadId;

use crate::app::App;
use crate::failure::{Failure, FailureKind, Result};
use crate::wiring::{CodexChange, UnnoticedChange};

/// Options of the verbs that change threads which Codex may know.
#[derive(Debug, Args)]
pub(crate) struct CodexOptions {
    /// Change the files also if Codex knows the thread and would not notice it
    #[arg(long)]
    force: bool,
}

/// How a change is made.
pub(crate) enum Route {
    /// This program changes the files.
    Files {
        /// What Codex will not notice. The user has forced the change.
        unnoticed: Option<UnnoticedChange>,
    },
}

/// Decides how a change is made.
///
/// # Errors
/// A conflict if Codex would not notice the change, and the user has not forced it.
pub(crate) async fn route(app: &App<'_>, id: ThreadId, change: &CodexChange, options: &CodexOptions) -> Result<Route> {
    match app.admin.unnoticed_by_codex(id, change).await {
        Ok(None) => Ok(Route::Files { unnoticed: None }),
        Ok(unnoticed) if options.force => Ok(Route::Files { unnoticed }),
        Ok(Some(unnoticed)) => Err(refusal(&unnoticed)),
        Err(_) if options.force => Ok(Route::Files { unnoticed: None }),
        Err(error) => Err(error.into()),
    }
}

fn refusal(unnoticed: &UnnoticedChange) -> Failure {
    let UnnoticedChange { record, consequence, .. } = unnoticed;
    Failure::new(
        FailureKind::Conflict,
        format!("Codex knows this thread ({}) and would not notice the change: {consequence}", record.database.display()),
    )
    .hint("--force changes the files all the same")
}
