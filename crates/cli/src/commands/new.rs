//! `selvedge new`: starts a thread.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use selvedge_protocol::{HistoryMode, StoredThread, ThreadId, ThreadMetadataPatch};

use crate::app::App;
use crate::clock::now;
use crate::directory;
use crate::failure::Result;
use crate::session_meta::new_session_meta;
use crate::value_parsers::parse_name;

/// Arguments of `selvedge new`.
#[derive(Debug, Args)]
#[command(after_help = "\
If the home does not exist, it is created.

Examples:
  selvedge new --name 'Thread on zebras'
  id=$(selvedge new) && selvedge append $id < items.jsonl")]
pub(crate) struct NewArgs {
    /// History mode of the log
    #[arg(long, value_name = "MODE", default_value = "paginated")]
    mode: HistoryModeArg,
    /// Directory that the thread works in [default: the current one]
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// Model
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Provider of the model; Codex opens only threads of providers that it is configured for
    #[arg(long, value_name = "PROVIDER", default_value = "openai")]
    provider: String,
    /// Where the thread comes from: a word, or a JSON object
    #[arg(long, value_name = "SOURCE", default_value = "cli", value_parser = parse_source)]
    source: serde_json::Value,
    /// Name
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    name: Option<String>,
    /// Id [default: a new one]
    #[arg(long, value_name = "UUID")]
    id: Option<ThreadId>,
}

/// A history mode on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum HistoryModeArg {
    /// No ordinals, forks by copy; programs from before 2026 can read it
    Legacy,
    /// An ordinal on every line, forks and rewinds by reference
    Paginated,
}

impl From<HistoryModeArg> for HistoryMode {
    fn from(mode: HistoryModeArg) -> Self {
        match mode {
            HistoryModeArg::Legacy => Self::Legacy,
            HistoryModeArg::Paginated => Self::Paginated,
        }
    }
}

/// Starts a thread, makes it visible to other processes and prints its id.
pub(crate) async fn run(args: &NewArgs, app: &mut App<'_>) -> Result<()> {
    let at = now();
    let id = args.id.unwrap_or_else(|| ThreadId::new(at));
    let mut meta = new_session_meta(id, at);
    meta.history_mode = Some(args.mode.into());
    meta.source = Some(args.source.clone());
    meta.model_provider = Some(args.provider.clone());
    if let Some(cwd) = &args.cwd {
        meta.cwd = Some(directory::absolute(cwd)?);
    }
    let live = app.manager.start(meta).await?;
    // A lazy thread has no file before its first item. Here the empty thread is the result.
    live.persist().await?;
    let thread = set_metadata(args, id, app).await?;
    live.shutdown().await?;
    app.print_thread(&thread, &id.to_string())
}

/// Stores the name and the model, for which the head of a log has no field.
async fn set_metadata(args: &NewArgs, id: ThreadId, app: &App<'_>) -> Result<StoredThread> {
    let patch = ThreadMetadataPatch {
        name: args.name.clone().filter(|name| !name.is_empty()).map(Some),
        model: args.model.clone().map(Some),
        ..Default::default()
    };
    if patch.is_empty() {
        return Ok(app.store.read_thread(id).await?);
    }
    Ok(app.manager.update_metadata(id, &patch).await?)
}

fn parse_source(text: &str) -> Result<serde_json::Value, String> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|error| error.to_string());
    }
    if text.trim().is_empty() {
        return Err("a source is a word or a JSON object".to_owned());
    }
    Ok(serde_json::Value::from(text))
}
