//! `selvedge delete`: deletes a thread permanently.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::Context;
use clap::Args;
use selvedge_protocol::{StoredThread, ThreadId};
use selvedge_thread_store::StoreError;
use serde_json::json;

use crate::app::App;
use crate::failure::{Failure, FailureKind, Result};
use crate::notes::note;
use crate::render::sanitize::sanitize;
use crate::render::thread_title::thread_title;
use crate::resolve::ThreadArg;

/// Arguments of `selvedge delete`.
#[derive(Debug, Args)]
#[command(after_help = "\
On a terminal, the command asks before it deletes. A thread is not deleted while the histories of other threads begin in \
it. With --detach, each of those threads first gets its own copy of the history, which takes disk space.

Examples:
  selvedge delete 01a1fd5d-aacb --yes
  selvedge delete 01a1fd5d-aacb --detach")]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    thread: ThreadArg,
    /// Delete without asking
    #[arg(long, short = 'y')]
    yes: bool,
    /// First give each thread that depends on this one its own copy of the history
    #[arg(long)]
    detach: bool,
}

/// Deletes a thread, after the user has confirmed it.
pub(crate) async fn run(args: &DeleteArgs, app: &mut App<'_>) -> Result<()> {
    let id = args.thread.resolve(&*app.store).await?;
    // Read also with --yes: a thread that does not exist is reported before anything is tried.
    let thread = app.store.read_thread(id).await?;
    if !args.yes && !confirm(&thread)? {
        note("nothing was deleted");
        return Ok(());
    }
    let detached = delete(id, args.detach, app).await?;
    if app.json {
        let mut answer = json!({"id": id, "deleted": true});
        if args.detach {
            answer["detached"] = json!(detached);
        }
        return app.out.json(&answer);
    }
    for other in detached {
        writeln!(app.out, "detached {other}")?;
    }
    writeln!(app.out, "deleted {id}")?;
    Ok(())
}

/// Deletes a thread. If others depend on it and `may_detach` is set, detaches those first and returns them.
async fn delete(id: ThreadId, may_detach: bool, app: &App<'_>) -> Result<Vec<ThreadId>> {
    // The store finds the dependents when it refuses the deletion, so a thread without dependents costs no extra search.
    let dependents = match app.manager.delete(id).await {
        Err(StoreError::HasDependents { dependents, .. }) if may_detach => dependents,
        outcome => return outcome.map(|()| Vec::new()).map_err(with_advice),
    };
    // Newest first: once nothing depends on a thread any more, its detached copy can replace its file. If the program
    // ends in between, every thread still has the same content, and the thread is not deleted.
    for other in dependents.iter().rev() {
        let outcome = app.manager.detach(*other).await.map_err(Failure::from);
        outcome.map_err(|failure| failure.context(format!("{id} was not deleted: {other} still depends on it")))?;
    }
    app.manager.delete(id).await.map_err(with_advice)?;
    Ok(dependents)
}

/// Adds what to type if other threads depend on the thread.
fn with_advice(error: StoreError) -> Failure {
    let hint = match &error {
        StoreError::HasDependents { thread_id, .. } => Some(format!(
            "`selvedge delete {thread_id} --detach` first gives each of them a copy of its history; `selvedge archive \
             {thread_id}` only takes it out of the list"
        )),
        _ => None,
    };
    let failure = Failure::from(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Asks the user for a confirmation. Fails if standard input is not a terminal.
fn confirm(thread: &StoredThread) -> Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::new(
            FailureKind::Usage,
            format!("thread {} is deleted only with --yes if standard input is not a terminal", thread.id),
        )
        .hint("a deleted thread cannot be restored; `selvedge archive` only takes it out of the list"));
    }
    // The question goes to standard error: standard output may be a file.
    let mut stderr = std::io::stderr().lock();
    let question = format!("delete {} ({}) for good? [y/N] ", thread.id, thread_title(thread));
    write!(stderr, "{}", sanitize(&question)).and_then(|()| stderr.flush()).context("cannot ask")?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).context("cannot read the answer")?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
