//! The heads that the logs of threads begin with: of a new one, a fork, a detached one.

use std::fmt;

use selvedge_protocol::{
    HistoryBase, HistoryMode, RolloutItem, RolloutLine, SessionMeta, ThreadId, Timestamp, WindowId,
};

/// Why no thread can begin with a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// It has no id.
    MissingId,
    /// It does not say when the thread was created.
    MissingTime,
    /// It has a base, which only the head of a fork has.
    HasBase,
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MissingId => "a new thread needs an id",
            Self::MissingTime => "a new thread needs the time of its creation",
            Self::HasBase => "a thread that begins in another one is made by a fork",
        })
    }
}

impl std::error::Error for HeadError {}

/// Id and time of a head, without which there is no thread.
///
/// # Errors
/// [`HeadError`] when one is missing.
pub fn head_identity(meta: &SessionMeta) -> Result<(ThreadId, Timestamp), HeadError> {
    let id = meta.id.ok_or(HeadError::MissingId)?;
    let at = meta.timestamp.ok_or(HeadError::MissingTime)?;
    Ok((id, at))
}

/// The head of a new thread, ready to begin a log: paginated, unless it says legacy.
///
/// # Errors
/// [`HeadError`] without an id or a time, or with a base.
pub fn new_head(mut meta: SessionMeta) -> Result<SessionMeta, HeadError> {
    head_identity(&meta)?;
    if meta.history_base.is_some() {
        return Err(HeadError::HasBase);
    }
    meta.history_mode.get_or_insert(HistoryMode::Paginated);
    Ok(meta)
}

/// Lets the head of a fork have what it does not say itself from the newest head of its source: where and under which
/// instructions the thread works. What makes the source a sub-agent is not inherited.
pub fn inherit_head(meta: &mut SessionMeta, source: &SessionMeta) {
    fn inherit<T: Clone>(field: &mut Option<T>, source: &Option<T>) {
        if field.is_none() {
            field.clone_from(source);
        }
    }
    inherit(&mut meta.cwd, &source.cwd);
    inherit(&mut meta.originator, &source.originator);
    inherit(&mut meta.cli_version, &source.cli_version);
    inherit(&mut meta.source, &source.source);
    inherit(&mut meta.thread_source, &source.thread_source);
    inherit(&mut meta.model_provider, &source.model_provider);
    inherit(&mut meta.base_instructions, &source.base_instructions);
    inherit(&mut meta.dynamic_tools, &source.dynamic_tools);
    inherit(&mut meta.git, &source.git);
    for (name, value) in source.extra.iter() {
        if meta.extra.get(name).is_none() {
            meta.extra.insert(name, value.to_owned());
        }
    }
}

/// The head of a fork of `source`, whose log is kept in `mode`: what was asked for, with where the history comes from. A
/// fork by reference begins in `base`, if it takes anything over, and the source is left at its end. A window of its own is
/// made where none was brought along.
#[must_use]
pub fn fork_head(mut meta: SessionMeta, source: ThreadId, mode: HistoryMode, base: Option<HistoryBase>) -> SessionMeta {
    let left_at = base.as_ref().map_or(Some(0), |base| base.end_ordinal_exclusive);
    meta.forked_from_id = Some(source);
    meta.forked_from_ordinal_exclusive = left_at.filter(|_| mode == HistoryMode::Paginated);
    meta.history_mode = Some(mode);
    meta.history_base = base;
    if meta.window_id().is_none() {
        let window_id = meta.timestamp.map(WindowId::new);
        meta.context_window.get_or_insert_default().window_id = window_id;
    }
    meta
}

/// The head of a segment that holds the whole history of a thread that has built on others so far: the first head of the
/// thread's own in that history, without its base. It stands in the place of the history's first line, which is the head of
/// the thread that the history began in, so that every other line keeps its ordinal; its own place keeps the head
/// as it was, where the thread's own lines begin. There and wherever else a head stands behind the first line, it is spelt as
/// [`RolloutLine::as_copied_head`] says.
#[must_use]
pub fn detached_head(mut first: SessionMeta) -> SessionMeta {
    first.copied_base = first.history_base.take();
    first
}

/// The newest head of a thread in its history.
#[must_use]
pub fn newest_head(thread_id: ThreadId, lines: &[RolloutLine]) -> Option<SessionMeta> {
    lines.iter().rev().find_map(|line| own_head(thread_id, line))
}

/// What a line says, if it is a head of this thread.
fn own_head(thread_id: ThreadId, line: &RolloutLine) -> Option<SessionMeta> {
    if line.kind() != "session_meta" {
        return None;
    }
    match line.item() {
        RolloutItem::SessionMeta(head) if head.id == Some(thread_id) => Some(*head),
        _ => None,
    }
}
