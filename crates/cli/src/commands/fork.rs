//! `selvedge fork`: a new thread that begins with the history of another.

use selvedge_protocol::{SessionMeta, ThreadId, ThreadMetadataPatch};
use selvedge_thread_store::ForkThread;

use crate::app::{App, head, now};
use crate::args::ForkArgs;
use crate::exit::Result;
use crate::resolve;

/// Forks a thread and prints the new one's id.
pub(crate) async fn run(args: &ForkArgs, app: &mut App<'_>) -> Result<()> {
    let source = resolve::thread(&*app.store, &args.thread).await?;
    let at = resolve::cut(&*app.store, source, args.after.as_deref(), args.before.as_deref()).await?;
    let meta = meta(app.store.read_session_meta(source).await?.unwrap_or_default());
    let fork = app.manager.fork(ForkThread { source, at, meta }).await?;
    if let Some(name) = args.name.clone().filter(|name| !name.is_empty()) {
        let patch = ThreadMetadataPatch { name: Some(Some(name)), ..Default::default() };
        app.manager.update_metadata(fork, &patch).await?;
    }
    app.answer_about(fork, &fork.to_string()).await
}

/// The head of a fork. What it does not say it has from its source; where that works is told here only because old heads do not
/// say it, and a fork of such a one works where the program runs.
pub(crate) fn meta(source: SessionMeta) -> SessionMeta {
    let at = now();
    let mut meta = head(ThreadId::new(at), at);
    meta.cwd = source.cwd.or(meta.cwd);
    meta
}
