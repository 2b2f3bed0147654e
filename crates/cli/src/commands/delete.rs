//! `selvedge delete`: deletes a thread permanently.

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use selvedge_protocol::{StoredThread, ThreadId, ThreadQuery};
use selvedge_thread_store::StoreError;
use serde_json::json;

use crate::app::App;
use crate::codex::{CODEX_HELP, ChangeMaker, CodexDoor, CodexOptions, Route, route};
use crate::failure::{Failure, FailureKind, Result};
use crate::notes::note;
use crate::render::sanitize::sanitize;
use crate::render::thread_title::thread_title;
use crate::resolve::ThreadArg;
use crate::wiring::CodexChange;

/// Arguments of `selvedge delete`.
#[derive(Debug, Args)]
#[command(after_help = format!("\
On a terminal, the command asks before it deletes. A thread is not deleted while the histories of other threads begin in \
it. With --detach, each of those threads first gets its own copy of the history, which takes disk space.

{CODEX_HELP} Codex deletes the sub-agents of a thread together with it, which takes --sub-agents. What its databases \
keep of a deleted thread until they need the space is reported.

Examples:
  selvedge delete 01a1fd5d-aacb --yes
  selvedge delete 01a1fd5d-aacb --detach"))]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    thread: ThreadArg,
    /// Delete without asking
    #[arg(long, short = 'y')]
    yes: bool,
    /// First give each thread that depends on this one its own copy of the history
    #[arg(long)]
    detach: bool,
    /// Also delete the sub-agents of the thread, if Codex deletes it
    #[arg(long)]
    sub_agents: bool,
    #[command(flatten)]
    codex: CodexOptions,
}

/// What was deleted, and what was not.
struct Deletion {
    maker: ChangeMaker,
    /// Threads that got a copy of their history first.
    detached: Vec<ThreadId>,
    /// Sub-agents that Codex deleted, too.
    sub_agents: Vec<ThreadId>,
    /// Files of Codex that still contain the thread.
    remains: Vec<PathBuf>,
}

/// Deletes a thread, after the user has confirmed it.
pub(crate) async fn run(args: &DeleteArgs, app: &mut App<'_>) -> Result<()> {
    let id = args.thread.resolve(&*app.store).await?;
    // Read also with --yes: a thread that does not exist is reported before anything is tried.
    let thread = app.store.read_thread(id).await?;
    // Before the question: what is refused needs no answer.
    let route = route(app, id, &CodexChange::Delete, &args.codex).await?;
    let sub_agents = match &route {
        Route::Files(_) => Vec::new(),
        Route::Door(door) => existing(&door.record().sub_agents, app).await,
    };
    if !sub_agents.is_empty() && !args.sub_agents {
        return Err(would_delete_more(id, &sub_agents));
    }
    if !args.yes && !confirm(&thread, &sub_agents)? {
        note("nothing was deleted");
        return Ok(());
    }
    let deletion = match route {
        Route::Files(maker) => {
            let detached = delete(id, args.detach, app).await?;
            Deletion { maker, detached, sub_agents, remains: Vec::new() }
        }
        Route::Door(door) => delete_by_codex(id, sub_agents, args.detach, &door, app).await?,
    };
    report(id, args, &deletion, app)
}

fn report(id: ThreadId, args: &DeleteArgs, deletion: &Deletion, app: &mut App<'_>) -> Result<()> {
    let Deletion { maker, detached, sub_agents, remains } = deletion;
    let mut answer = json!({"id": id, "deleted": true});
    if args.detach {
        answer["detached"] = json!(detached);
    }
    if !sub_agents.is_empty() {
        answer["sub_agents"] = json!(sub_agents);
    }
    if !remains.is_empty() {
        answer["codex_keeps"] = json!(remains);
    }
    let mut lines: Vec<String> = detached.iter().map(|other| format!("detached {other}")).collect();
    lines.push(format!("deleted {id}{}", maker.suffix()));
    lines.extend(sub_agents.iter().map(|id| format!("deleted its sub-agent {id}{}", maker.suffix())));
    maker.report(answer, &lines, app)?;
    if !remains.is_empty() {
        app.out.flush()?;
        let remains: Vec<String> = remains.iter().map(|path| path.display().to_string()).collect();
        note(&format!(
            "databases of Codex keep bytes of deleted rows, with words of the thread, until they need the space: {}; \
             `sqlite3 FILE 'VACUUM; PRAGMA wal_checkpoint(TRUNCATE)'` on each database removes them while no Codex runs",
            remains.join(", ")
        ));
    }
    Ok(())
}

/// Returns those threads that exist.
async fn existing(threads: &[ThreadId], app: &App<'_>) -> Vec<ThreadId> {
    let mut found = Vec::new();
    for id in threads {
        // A thread that cannot be read exists.
        if !matches!(app.store.read_thread(*id).await, Err(StoreError::NotFound { .. })) {
            found.push(*id);
        }
    }
    found
}

fn would_delete_more(id: ThreadId, sub_agents: &[ThreadId]) -> Failure {
    let names: Vec<String> = sub_agents.iter().map(ThreadId::to_string).collect();
    let message = format!(
        "nothing was deleted, because Codex knows thread {id} and would delete its sub-agents together with it: {}",
        names.join(", ")
    );
    Failure::new(FailureKind::Conflict, message).hint(
        "--sub-agents deletes them, too; --force deletes only the files of this thread, and Codex keeps its own record",
    )
}

/// Lets Codex delete a thread and its sub-agents. If others depend on them and `may_detach` is set, detaches those first.
async fn delete_by_codex(
    id: ThreadId,
    sub_agents: Vec<ThreadId>,
    may_detach: bool,
    door: &CodexDoor,
    app: &App<'_>,
) -> Result<Deletion> {
    let doomed: Vec<ThreadId> = std::iter::once(id).chain(sub_agents).collect();
    let mut detached = Vec::new();
    // Codex does not know the lock that protects dependents, so this program holds it while Codex deletes.
    let _guard = loop {
        match app.admin()?.guard_deletion(doomed.clone()).await {
            Err(StoreError::HasDependents { dependents, .. }) if may_detach && !detached.contains(&dependents[0]) => {
                detach(id, &dependents, app).await?;
                detached.extend(dependents);
            }
            guard => break guard.map_err(with_advice)?,
        }
    };
    let is_made = async || Ok(existing(&[id], app).await.is_empty());
    let maker = door.ask(&[("thread/delete", json!({"threadId": id}))], is_made).await?;
    // A list makes the index notice that the thread is gone. Without one, its words would stay there until the next query.
    let query = ThreadQuery { limit: 1, ..ThreadQuery::default() };
    if let Err(error) = app.store.list_threads(&query).await {
        note(&format!("the index is not up to date: {error}"));
    }
    let left = existing(&doomed[1..], app).await;
    let sub_agents = doomed[1..].iter().filter(|id| !left.contains(id)).copied().collect();
    Ok(Deletion { maker, detached, sub_agents, remains: app.admin()?.codex_remains(id).await? })
}

/// Deletes a thread. If others depend on it and `may_detach` is set, detaches those first and returns them.
async fn delete(id: ThreadId, may_detach: bool, app: &App<'_>) -> Result<Vec<ThreadId>> {
    // The store finds the dependents when it refuses the deletion, so a thread without dependents costs no extra search.
    let dependents = match app.manager.delete(id).await {
        Err(StoreError::HasDependents { dependents, .. }) if may_detach => dependents,
        outcome => return outcome.map(|()| Vec::new()).map_err(with_advice),
    };
    detach(id, &dependents, app).await?;
    app.manager.delete(id).await.map_err(with_advice)?;
    Ok(dependents)
}

/// Copies the history of a thread into each thread that depends on it.
async fn detach(id: ThreadId, dependents: &[ThreadId], app: &App<'_>) -> Result<()> {
    // Newest first: once nothing depends on a thread any more, its detached copy can replace its file. If the program
    // ends in between, every thread still has the same content, and the thread is not deleted.
    for other in dependents.iter().rev() {
        let outcome = app.manager.detach(*other).await.map_err(Failure::from);
        outcome.map_err(|failure| failure.context(format!("{id} was not deleted: {other} still depends on it")))?;
    }
    Ok(())
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
fn confirm(thread: &StoredThread, sub_agents: &[ThreadId]) -> Result<bool> {
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
    let more = match sub_agents.len() {
        0 => String::new(),
        1 => " and its sub-agent".to_owned(),
        count => format!(" and its {count} sub-agents"),
    };
    let question = format!("delete {} ({}){more} for good? [y/N] ", thread.id, thread_title(thread));
    write!(stderr, "{}", sanitize(&question)).and_then(|()| stderr.flush()).context("cannot ask")?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).context("cannot read the answer")?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
