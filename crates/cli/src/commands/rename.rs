//! `selvedge rename`: gives a thread a name, or removes it.

use clap::Args;
use serde_json::json;

use crate::app::App;
use crate::codex::{CODEX_HELP, CodexOptions, Route, route};
use crate::failure::Result;
use crate::resolve::ThreadArg;
use crate::value_parsers::parse_name;
use crate::wiring::CodexChange;

/// Arguments of `selvedge rename`.
#[derive(Debug, Args)]
#[command(after_help = format!("\
{CODEX_HELP}

Examples:
  selvedge rename 01a1fd5d-aacb 'Thread on zebras'
  selvedge rename 01a1fd5d-aacb --clear"))]
pub(crate) struct RenameArgs {
    #[command(flatten)]
    thread: ThreadArg,
    /// New name; an empty one removes the name
    #[arg(value_name = "NAME", required_unless_present = "clear", value_parser = parse_name)]
    name: Option<String>,
    /// Remove the name
    #[arg(long, conflicts_with = "name")]
    clear: bool,
    #[command(flatten)]
    codex: CodexOptions,
}

/// Renames a thread.
pub(crate) async fn run(args: &RenameArgs, app: &mut App<'_>) -> Result<()> {
    let id = args.thread.resolve(&*app.store).await?;
    // `None` removes the name: it stands for `--clear` and for an empty name.
    let name = args.name.clone().filter(|name| !name.is_empty());
    let line = match &name {
        Some(name) => format!("renamed {id} to {name:?}"),
        None => format!("removed the name of {id}"),
    };
    let (thread, maker) = match route(app, id, &CodexChange::Rename(name.clone()), &args.codex).await? {
        Route::Files(maker) => (app.manager.rename(id, name.as_deref().unwrap_or_default()).await?, maker),
        Route::Door(door) => {
            // Codex writes the name into its database and into the name index.
            let request = ("thread/name/set", json!({"threadId": id, "name": name}));
            let is_made = async || Ok(app.store.read_thread(id).await?.name == name);
            let maker = door.ask(&[request], is_made).await?;
            (app.store.read_thread(id).await?, maker)
        }
    };
    maker.report(serde_json::to_value(&thread)?, &[format!("{line}{}", maker.suffix())], app)
}
