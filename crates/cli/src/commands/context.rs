//! `selvedge context`: what the model would see next.

use std::io::Write;

use clap::Args;
use selvedge_history::ModelContext;
use selvedge_protocol::{ContextWindow, ResponseItem, TurnContext, WorldState};
use serde::Serialize;

use crate::app::App;
use crate::failure::Result;
use crate::notes::note;
use crate::render;
use crate::resolve::ThreadArg;

/// How many warnings are printed one by one.
const MAX_WARNINGS: usize = 10;

/// Arguments of `selvedge context`.
#[derive(Debug, Args)]
#[command(after_help = "\
If standard output is not a terminal, or with --json, the output is {history, world_state, window, turn_context}, with the items of \
history verbatim.

Examples:
  selvedge context 01a1fd5d-aacb
  selvedge context 01a1fd5d-aacb --json | jq '.history | length'")]
pub(crate) struct ContextArgs {
    #[command(flatten)]
    thread: ThreadArg,
    /// Print long texts in full
    #[arg(long)]
    full: bool,
}

#[derive(Serialize)]
struct ContextJson<'a> {
    history: &'a [ResponseItem],
    world_state: &'a Option<WorldState>,
    window: &'a ContextWindow,
    turn_context: &'a Option<TurnContext>,
}

/// Shows the model context of a thread.
pub(crate) async fn run(args: &ContextArgs, app: &mut App<'_>) -> Result<()> {
    let id = args.thread.resolve(&*app.store).await?;
    let context = app.store.load_model_context(id).await?;
    // The context is usable in spite of the warnings, so they are only notes, and the exit code is 0.
    print(&context, args.full, app)?;
    for warning in context.warnings.iter().take(MAX_WARNINGS) {
        note(&format!("note: {warning}"));
    }
    if context.warnings.len() > MAX_WARNINGS {
        note(&format!("note: and {} more such warnings", context.warnings.len() - MAX_WARNINGS));
    }
    Ok(())
}

/// Prints text on a terminal, and JSON into a pipe: a program that reads the model's input wants its items.
fn print(context: &ModelContext, full: bool, app: &mut App<'_>) -> Result<()> {
    if app.out.is_terminal() && !app.json {
        let text = render::context::render(context, full, app.out.paint());
        app.out.write_all(text.as_bytes())?;
    } else {
        let ModelContext { history, world_state, window, turn_context, .. } = context;
        app.out.json(&ContextJson { history, world_state, window, turn_context })?;
    }
    app.out.finish()
}
