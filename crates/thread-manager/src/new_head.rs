//! The head of a thread that this process starts.

use selvedge_protocol::{SessionMeta, WindowId};

use crate::clock::now;
use crate::working_directory::absolute;

/// Completes the head of a new thread with everything that the first line of a rollout must contain. Other programs do
/// not open a rollout without an originator, a version and a working directory, which is absolute and in its shortest form.
pub(crate) fn complete_head(mut meta: SessionMeta) -> SessionMeta {
    meta.originator.get_or_insert_with(|| "selvedge".to_owned());
    meta.cli_version.get_or_insert_with(|| env!("CARGO_PKG_VERSION").to_owned());
    meta.cwd = Some(absolute(meta.cwd.as_deref().unwrap_or_default()));
    if meta.window_id().is_none() {
        meta.context_window.get_or_insert_default().window_id = Some(WindowId::new(now()));
    }
    meta
}
