//! `selvedge rewind`: undoes the newest turns of a thread.

use clap::Args;
use selvedge_history::turns_before_newest;
use selvedge_protocol::{ItemsView, ThreadId, Turn, TurnBoundary, TurnId, TurnQuery};
use selvedge_thread_store::StoreError;
use serde_json::json;

use crate::app::App;
use crate::codex::{CODEX_HELP, ChangeMaker, CodexDoor, CodexOptions, Route, route};
use crate::failure::Result;
use crate::render::counted::counted;
use crate::resolve::{self, ThreadArg};
use crate::wiring::CodexChange;

/// Arguments of `selvedge rewind`.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Nothing is removed from the log: the rewind is added to it. A turn is given by its id, a unique prefix of its id, or \
its number as `selvedge show` prints it.

{CODEX_HELP}

Examples:
  selvedge rewind 01a1fd5d-aacb --turns 1
  selvedge rewind 01a1fd5d-aacb --after 2"))]
pub(crate) struct RewindArgs {
    #[command(flatten)]
    thread: ThreadArg,
    #[command(flatten)]
    to: RewindPoint,
    #[command(flatten)]
    codex: CodexOptions,
}

/// Where a rewind ends.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct RewindPoint {
    /// Undo the newest N turns
    #[arg(long, value_name = "N")]
    turns: Option<std::num::NonZeroU64>,
    /// Undo this turn and all later ones
    #[arg(long, value_name = "TURN")]
    before: Option<String>,
    /// Undo all turns after this one
    #[arg(long, value_name = "TURN")]
    after: Option<String>,
}

/// Rewinds a thread and prints by how many turns.
pub(crate) async fn run(args: &RewindArgs, app: &mut App<'_>) -> Result<()> {
    let id = args.thread.resolve(&*app.store).await?;
    let to = match args.to.turns {
        Some(turns) => TurnBoundary::BeforeNewest(turns.get()),
        None => {
            let (after, before) = (args.to.after.as_deref(), args.to.before.as_deref());
            resolve::turn_boundary(&*app.store, id, after, before).await?
        }
    };
    let (undone, maker) = match route(app, id, &CodexChange::Rewind, &args.codex).await? {
        Route::Files(maker) => (app.manager.rewind(id, to).await?, maker),
        Route::Door(door) => rewind_by_codex(id, &to, &door, app).await?,
    };
    let turns = counted(undone, "turn");
    // Reads the thread only for JSON, as that may read its whole log.
    let answer = if app.json { serde_json::to_value(app.manager.thread(id).await?)? } else { json!(null) };
    maker.report(answer, &[format!("rewound {id} by {turns}{}", maker.suffix())], app)
}

/// Lets Codex undo turns. Returns how many.
async fn rewind_by_codex(
    id: ThreadId,
    to: &TurnBoundary,
    door: &CodexDoor,
    app: &App<'_>,
) -> Result<(usize, ChangeMaker)> {
    let shown = app.store.list_turns(&TurnQuery::all(id)).await?.items;
    let kept = kept_turns(id, &shown, to)?;
    let turns: Vec<TurnId> = shown.into_iter().map(|turn| turn.id).collect();
    let Some(first_undone) = turns.get(kept) else {
        return Ok((0, ChangeMaker::Files { unnoticed: None }));
    };
    // Codex reverts only threads that it has loaded.
    let requests = [
        ("thread/resume", json!({"threadId": id, "excludeTurns": true})),
        ("thread/revert", json!({"threadId": id, "beforeTurnId": first_undone})),
    ];
    let is_made = async || Ok(turn_ids(id, app).await? == turns[..kept]);
    let maker = door.ask(&requests, is_made).await?;
    Ok((turns.len() - kept, maker))
}

async fn turn_ids(id: ThreadId, app: &App<'_>) -> Result<Vec<TurnId>> {
    let query = TurnQuery { items_view: ItemsView::None, ..TurnQuery::all(id) };
    Ok(app.store.list_turns(&query).await?.items.into_iter().map(|turn| turn.id).collect())
}

/// Returns how many turns a boundary keeps.
fn kept_turns(id: ThreadId, turns: &[Turn], to: &TurnBoundary) -> Result<usize> {
    // Several turns can have the same id. The newest one counts, as in the store.
    let index_of = |turn: &TurnId| {
        let index = turns.iter().rposition(|known| known.id == *turn);
        index.ok_or_else(|| StoreError::TurnNotFound { thread_id: id, turn: turn.clone().into() })
    };
    Ok(match to {
        TurnBoundary::Latest => turns.len(),
        TurnBoundary::After(turn) => index_of(turn)? + 1,
        TurnBoundary::Before(turn) => index_of(turn)?,
        TurnBoundary::BeforeNewest(count) => turns_before_newest(turns, *count),
    })
}
