//! The head (`session_meta` line) of a log that this program begins.

use selvedge_protocol::{ContextWindowMeta, SessionMeta, ThreadId, Timestamp, WindowId};
use serde_json::Value;

use crate::clock::now;
use crate::directory;

/// Creates the head of a new thread.
pub(crate) fn new_session_meta(id: ThreadId, at: Timestamp) -> SessionMeta {
    let mut meta = SessionMeta::new(id, at);
    meta.originator = Some("selvedge".to_owned());
    meta.cli_version = Some(env!("CARGO_PKG_VERSION").to_owned());
    meta.source = Some(Value::from("cli"));
    meta.cwd = Some(directory::current());
    // The first context window of a thread has an id, too: resumed programs continue its lineage.
    meta.context_window = Some(ContextWindowMeta { window_id: Some(WindowId::new(at)), ..Default::default() });
    meta
}

/// Creates the head of a fork. A fork inherits the facts that its head leaves out.
///
/// The working directory is the exception. A head of Selvedge has an absolute one in its shortest form. Old heads do not have
/// one, and a fork of such a thread works where the program runs.
pub(crate) fn fork_session_meta(source: SessionMeta) -> SessionMeta {
    let at = now();
    let mut meta = new_session_meta(ThreadId::new(at), at);
    meta.cwd = source.cwd.as_deref().and_then(directory::clean_if_absolute).or(meta.cwd);
    meta
}
