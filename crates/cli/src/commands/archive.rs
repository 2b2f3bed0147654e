//! `selvedge archive` and `selvedge unarchive`.

use clap::Args;
use selvedge_protocol::{StoredThread, ThreadId};
use serde_json::json;

use crate::app::App;
use crate::codex::{CODEX_HELP, ChangeMaker, CodexOptions, Route, route};
use crate::failure::Result;
use crate::resolve::ThreadArg;
use crate::wiring::CodexChange;

/// Arguments of `selvedge archive` and `selvedge unarchive`.
#[derive(Debug, Args)]
#[command(after_help = CODEX_HELP)]
pub(crate) struct ArchiveArgs {
    #[command(flatten)]
    thread: ThreadArg,
    #[command(flatten)]
    codex: CodexOptions,
}

/// Takes a thread out of the list.
pub(crate) async fn archive(args: &ArchiveArgs, app: &mut App<'_>) -> Result<()> {
    move_thread(args, true, app).await
}

/// Puts a thread back into the list.
pub(crate) async fn unarchive(args: &ArchiveArgs, app: &mut App<'_>) -> Result<()> {
    move_thread(args, false, app).await
}

async fn move_thread(args: &ArchiveArgs, archived: bool, app: &mut App<'_>) -> Result<()> {
    let id = args.thread.resolve(&*app.store).await?;
    let (change, method, verb) = match archived {
        true => (CodexChange::Archive, "thread/archive", "archived"),
        false => (CodexChange::Unarchive, "thread/unarchive", "unarchived"),
    };
    let (thread, maker, others) = match route(app, id, &change, &args.codex).await? {
        Route::Files(maker) if archived => (app.manager.archive(id).await?, maker, Vec::new()),
        Route::Files(maker) => (app.manager.unarchive(id).await?, maker, Vec::new()),
        Route::Door(door) => {
            // Codex moves the sub-agents of a thread together with it.
            let sub_agents = threads_where(app, &door.record().sub_agents, !archived).await;
            let is_made = async || Ok(app.store.read_thread(id).await?.archived == archived);
            let maker = door.ask(&[(method, json!({"threadId": id}))], is_made).await?;
            let others = threads_where(app, &sub_agents, archived).await;
            (app.store.read_thread(id).await?, maker, others)
        }
    };
    print(&thread, &maker, &others, verb, app)
}

/// Returns those threads that are archived, or those that are not.
async fn threads_where(app: &App<'_>, threads: &[ThreadId], archived: bool) -> Vec<ThreadId> {
    let mut found = Vec::new();
    for id in threads {
        // A thread without files is neither.
        if app.store.read_thread(*id).await.is_ok_and(|thread| thread.archived == archived) {
            found.push(*id);
        }
    }
    found
}

fn print(thread: &StoredThread, maker: &ChangeMaker, others: &[ThreadId], verb: &str, app: &mut App<'_>) -> Result<()> {
    let mut lines = vec![format!("{verb} {}{}", thread.id, maker.suffix())];
    lines.extend(others.iter().map(|id| format!("{verb} its sub-agent {id}{}", maker.suffix())));
    let mut answer = serde_json::to_value(thread)?;
    if !others.is_empty() {
        answer["sub_agents"] = json!(others);
    }
    maker.report(answer, &lines, app)
}
