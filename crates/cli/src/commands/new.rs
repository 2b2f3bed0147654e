//! `selvedge new`: starts a thread.

use anyhow::Context;
use selvedge_protocol::{StoredThread, ThreadId, ThreadMetadataPatch};

use crate::app::{App, head, now};
use crate::args::NewArgs;
use crate::exit::Result;

/// Starts a thread, makes it visible and prints its id.
pub(crate) async fn run(args: &NewArgs, app: &mut App<'_>) -> Result<()> {
    let at = now();
    let id = args.id.unwrap_or_else(|| ThreadId::new(at));
    let mut meta = head(id, at);
    meta.history_mode = Some(args.mode.into());
    meta.source = Some(args.source.clone());
    meta.model_provider = Some(args.provider.clone());
    if let Some(cwd) = &args.cwd {
        let cwd = std::path::absolute(cwd).with_context(|| format!("cannot tell where {} is", cwd.display()))?;
        meta.cwd = Some(cwd.to_string_lossy().into_owned());
    }
    let live = app.manager.start(meta).await?;
    live.persist().await?;
    let thread = describe(args, id, app).await?;
    live.shutdown().await?;
    app.answer(&thread, &id.to_string())
}

/// What the head of a log has no place for.
async fn describe(args: &NewArgs, id: ThreadId, app: &App<'_>) -> Result<StoredThread> {
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
