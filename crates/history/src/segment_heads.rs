//! Heads: the `session_meta` lines with which segments begin. Creates them for new threads, forks and detached threads, and
//! finds them.

use std::fmt;

use selvedge_protocol::log::{DamageKind, Entry};
use selvedge_protocol::{
    DirectoryPath, HistoryBase, HistoryMode, RolloutItem, RolloutLine, SessionMeta, ThreadId, Timestamp, WindowId,
};

/// How many entries of a segment are searched for its head. The head is the first line; damage and heads that a fork copied can
/// come before it.
const MAX_ENTRIES_TO_HEAD: usize = 8;

/// Error for a head with which no thread can begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// It has no id.
    MissingId,
    /// It has no creation time.
    MissingTime,
    /// It has a base, which only the head of a fork may have.
    HasBase,
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MissingId => "a new thread needs an id",
            Self::MissingTime => "a new thread needs the time of its creation",
            Self::HasBase => "only a fork can have a history base",
        })
    }
}

impl std::error::Error for HeadError {}

/// Returns the id and the creation time in a head. No thread can begin without them.
///
/// # Errors
/// [`HeadError`] if one is missing.
pub fn head_identity(meta: &SessionMeta) -> Result<(ThreadId, Timestamp), HeadError> {
    let id = meta.id.ok_or(HeadError::MissingId)?;
    let at = meta.timestamp.ok_or(HeadError::MissingTime)?;
    Ok((id, at))
}

/// Creates the head of a new thread. The thread is paginated unless `meta` asks for legacy mode.
///
/// # Errors
/// [`HeadError`] if the id or the time is missing, or if there is a base.
pub fn new_head(mut meta: SessionMeta) -> Result<SessionMeta, HeadError> {
    head_identity(&meta)?;
    if meta.history_base.is_some() {
        return Err(HeadError::HasBase);
    }
    meta.history_mode.get_or_insert(HistoryMode::Paginated);
    Ok(meta)
}

/// Fills the empty fields in the head of a fork from the newest head of its source: where and under which instructions the
/// thread works. Fields that make the source a sub-agent are not inherited.
pub fn inherit_head(meta: &mut SessionMeta, source: &SessionMeta) {
    fn inherit<T: Clone>(field: &mut Option<T>, source: &Option<T>) {
        if field.is_none() {
            field.clone_from(source);
        }
    }
    // What is written is clean. A relative path is kept: nobody knows where it begins.
    let cwd = source.cwd.as_deref().map(|cwd| match DirectoryPath::new(cwd) {
        Some(path) if path.is_absolute() => path.to_string(),
        _ => cwd.to_owned(),
    });
    inherit(&mut meta.cwd, &cwd);
    inherit(&mut meta.originator, &source.originator);
    inherit(&mut meta.cli_version, &source.cli_version);
    if !source.is_of_subagent() {
        inherit(&mut meta.source, &source.source);
        inherit(&mut meta.thread_source, &source.thread_source);
    }
    inherit(&mut meta.model_provider, &source.model_provider);
    inherit(&mut meta.base_instructions, &source.base_instructions);
    inherit(&mut meta.dynamic_tools, &source.dynamic_tools);
    inherit(&mut meta.multi_agent_version, &source.multi_agent_version);
    inherit(&mut meta.memory_mode, &source.memory_mode);
    inherit(&mut meta.runtime_workspace_roots, &source.runtime_workspace_roots);
    inherit(&mut meta.selected_capability_roots, &source.selected_capability_roots);
    inherit(&mut meta.account_scoped, &source.account_scoped);
    inherit(&mut meta.git, &source.git);
    for (name, value) in source.extra.iter() {
        if meta.extra.get(name).is_none() {
            meta.extra.insert(name, value.to_owned());
        }
    }
}

/// Creates the head of a fork of `source`, whose history mode is `mode`. `meta` contains the requested fields. A fork by
/// reference begins in `base`, or has no base if it inherits nothing. A context window is created unless `meta` has one.
#[must_use]
pub fn fork_head(mut meta: SessionMeta, source: ThreadId, mode: HistoryMode, base: Option<HistoryBase>) -> SessionMeta {
    // Without a base the fork inherits nothing: it leaves its source before ordinal 0.
    let fork_ordinal = base.as_ref().map_or(Some(0), |base| base.end_ordinal_exclusive);
    meta.forked_from_id = Some(source);
    // In a legacy thread lines have no ordinals.
    meta.forked_from_ordinal_exclusive = fork_ordinal.filter(|_| mode == HistoryMode::Paginated);
    meta.history_mode = Some(mode);
    meta.history_base = base;
    if meta.window_id().is_none() {
        let window_id = meta.timestamp.map(WindowId::new);
        meta.context_window.get_or_insert_default().window_id = window_id;
    }
    meta
}

/// Creates the head of a detached segment, which holds the whole history of a thread that has built on others so far. `first` is
/// the first head of that thread in its history, and `replaced` the head with which that history begins.
///
/// The new head replaces the first line of the history, the head of the thread in which the history began, so that all other
/// lines keep their ordinals. It has no base. At its own ordinal, where the thread's own lines begin, `first` stays as it was.
/// All heads after the first line are spelt as [`RolloutLine::as_copied_head`] describes.
#[must_use]
pub fn detached_head(mut first: SessionMeta, replaced: Option<&SessionMeta>) -> SessionMeta {
    first.copied_base = first.history_base.take();
    // If the history begins with a sub-agent, the lines that it copied from its parent are in the segment, too.
    let start = replaced.and_then(|head| head.subagent_history_start_ordinal);
    first.subagent_history_start_ordinal = first.subagent_history_start_ordinal.or(start);
    first
}

/// Returns the newest head of a thread in its history.
#[must_use]
pub fn newest_head(thread_id: ThreadId, lines: &[RolloutLine]) -> Option<SessionMeta> {
    lines.iter().rev().find_map(|line| own_head(thread_id, line))
}

/// Returns the head in a line, if it is one of this thread.
fn own_head(thread_id: ThreadId, line: &RolloutLine) -> Option<SessionMeta> {
    if line.kind() != "session_meta" {
        return None;
    }
    match line.item() {
        RolloutItem::SessionMeta(head) if head.id == Some(thread_id) => Some(*head),
        _ => None,
    }
}

/// Returns the head of a segment of a thread, from its first entries. `None` if it is missing or damaged.
///
/// # Errors
/// Returns the errors of the entries.
pub fn segment_head<E>(
    thread_id: ThreadId,
    entries: impl IntoIterator<Item = Result<Entry, E>>,
) -> Result<Option<SessionMeta>, E> {
    // A fork by full copy has the heads of its source after its own. The first line is the segment's own head, whatever its
    // id. After it, or after damage that may have been it, a head could be a copied one: then the id must match.
    let mut may_be_copied = false;
    for entry in entries.into_iter().take(MAX_ENTRIES_TO_HEAD) {
        let record = match entry? {
            Entry::Line(record) => record,
            Entry::Damage(damage) => {
                may_be_copied |= !matches!(damage.kind, DamageKind::Nul | DamageKind::ByteOrderMark);
                continue;
            }
        };
        if record.line.kind() == "session_meta"
            && let RolloutItem::SessionMeta(meta) = record.line.item()
            && ((record.number == 1 && !may_be_copied) || meta.id == Some(thread_id))
        {
            return Ok(Some(*meta));
        }
        may_be_copied = true;
    }
    Ok(None)
}
