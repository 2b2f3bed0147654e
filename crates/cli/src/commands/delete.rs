//! `selvedge delete`: removes a thread for good.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::Context;
use selvedge_protocol::StoredThread;
use selvedge_thread_store::ThreadStore;
use serde_json::json;

use super::list::title;
use crate::app::{App, note};
use crate::args::DeleteArgs;
use crate::exit::{Code, Failure, Result};
use crate::render::text::clean;
use crate::resolve;

/// Deletes a thread, if that is really meant.
pub(crate) async fn run(args: &DeleteArgs, app: &mut App<'_>) -> Result<()> {
    let id = resolve::thread(&app.store, &args.thread)?;
    let thread = app.store.read_thread(id).await?;
    if !args.yes && !is_meant(&thread)? {
        note("nothing was deleted");
        return Ok(());
    }
    app.manager.delete(id).await?;
    if app.json {
        return app.out.json(&json!({"id": id, "deleted": true}));
    }
    writeln!(app.out, "deleted {id}")?;
    Ok(())
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
