//! `selvedge context`: what the model would see next.

use std::io::Write;

use selvedge_history::ModelContext;
use selvedge_protocol::{ContextWindow, ResponseItem, TurnContext, WorldState};
use serde::Serialize;

use crate::app::{App, note};
use crate::args::ContextArgs;
use crate::exit::Result;
use crate::render;
use crate::resolve;

/// How many oddities to name one by one.
const NAMED: usize = 10;

#[derive(Serialize)]
struct Shown<'a> {
    history: &'a [ResponseItem],
    world_state: &'a Option<WorldState>,
    window: &'a ContextWindow,
    turn_context: &'a Option<TurnContext>,
}

/// Shows the context of a thread.
pub(crate) async fn run(args: &ContextArgs, app: &mut App<'_>) -> Result<()> {
    let id = resolve::thread(&*app.store, &args.thread).await?;
    let context = app.store.load_model_context(id).await?;
    print(&context, args.full, app)?;
    for warning in context.warnings.iter().take(NAMED) {
        note(&format!("note: {warning}"));
    }
    if context.warnings.len() > NAMED {
        note(&format!("note: and {} more such places", context.warnings.len() - NAMED));
    }
    Ok(())
}

/// For people on a terminal only: whoever reads a pipe wants the JSON.
fn print(context: &ModelContext, full: bool, app: &mut App<'_>) -> Result<()> {
    if app.out.is_terminal() && !app.json {
        let text = render::context::render(context, full, app.out.paint());
        app.out.write_all(text.as_bytes())?;
    } else {
        let ModelContext { history, world_state, window, turn_context, .. } = context;
        app.out.json(&Shown { history, world_state, window, turn_context })?;
    }
    app.out.finish()
}
