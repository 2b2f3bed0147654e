//! `selvedge delete`: removes a thread for good.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::Context;
use selvedge_protocol::{StoredThread, ThreadId};
use selvedge_thread_store::StoreError;
use serde_json::json;

use super::list::title;
use crate::app::{App, note};
use crate::args::DeleteArgs;
use crate::exit::{Code, Failure, Result};
use crate::render::text::clean;
use crate::resolve;

/// Deletes a thread, if that is really meant.
pub(crate) async fn run(args: &DeleteArgs, app: &mut App<'_>) -> Result<()> {
    let id = resolve::thread(&*app.store, &args.thread).await?;
    let thread = app.store.read_thread(id).await?;
    if !args.yes && !is_meant(&thread)? {
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

/// Deletes a thread, after those that are built on it were detached, if they may be. Gives those.
async fn delete(id: ThreadId, may_detach: bool, app: &App<'_>) -> Result<Vec<ThreadId>> {
    let dependents = match app.manager.delete(id).await {
        Err(StoreError::HasDependents { dependents, .. }) if may_detach => dependents,
        outcome => return outcome.map(|()| Vec::new()).map_err(refused),
    };
    // The newest first: what is built on nothing else any more can take the place of what it was.
    for other in dependents.iter().rev() {
        let outcome = app.manager.detach(*other).await.map_err(Failure::from);
        outcome.map_err(|failure| failure.context(format!("{id} was not deleted: {other} is built on it still")))?;
    }
    app.manager.delete(id).await.map_err(refused)?;
    Ok(dependents)
}

/// Says what to type when others are built on the thread.
fn refused(error: StoreError) -> Failure {
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

fn is_meant(thread: &StoredThread) -> Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::new(
            Code::Usage,
            format!("deleting thread {} takes --yes where nobody can be asked", thread.id),
        )
        .hint("it is gone for good then; `selvedge archive` only takes it out of the list"));
    }
    let mut stderr = std::io::stderr().lock();
    let question = format!("delete {} ({}) for good? [y/N] ", thread.id, title(thread));
    write!(stderr, "{}", clean(&question)).and_then(|()| stderr.flush()).context("cannot ask")?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).context("cannot read the answer")?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
