//! `selvedge context`: what the model would see next.

use std::io::Write;

use clap::Args;
use selvedge_history::{ModelContext, OutputLimit, ReplayOptions};
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
history verbatim, or with --as-sent as the next request to the model would have them.

Examples:
  selvedge context 01a1fd5d-aacb
  selvedge context 01a1fd5d-aacb --json | jq '.history | length'
  selvedge context 01a1fd5d-aacb --as-sent --output-limit bytes=10000")]
pub(crate) struct ContextArgs {
    #[command(flatten)]
    thread: ThreadArg,
    /// Print long texts in full
    #[arg(long)]
    full: bool,
    /// Show the history as Codex sends it: each call has an output (`aborted` if it has none), outputs without a call and items that
    /// Codex does not know are left out, and long outputs are shortened
    #[arg(long)]
    as_sent: bool,
    /// With --as-sent: shorten outputs to `tokens=NUMBER` or `bytes=NUMBER` (Codex adds a fifth), as the model in use says.
    /// Codex 0.171 has 10,000 tokens for the models that it knows, and 10,000 bytes for others
    #[arg(long, value_name = "LIMIT", requires = "as_sent", default_value_t = OutputLimit::Tokens(10_000))]
    output_limit: OutputLimit,
}

impl ContextArgs {
    fn options(&self) -> ReplayOptions {
        if !self.as_sent {
            return ReplayOptions::default();
        }
        ReplayOptions { as_sent: true, output_limit: Some(self.output_limit) }
    }
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
    let context = app.store.load_model_context(id).await?.with_options(args.options());
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
