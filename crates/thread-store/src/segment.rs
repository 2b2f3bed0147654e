//! How the log of a fork, and the segment that a revert begins, start.

use selvedge_history::MetadataFold;
use selvedge_protocol::{
    GitInfoPatch, HistoryBase, HistoryMode, RolloutItem, RolloutLine, SessionMeta, ThreadId, ThreadMetadataPatch,
    ThreadMetadataRecord, Timestamp, WindowId,
};

use crate::{Result, StoreError};

/// Id and time of a head, without which there is no thread.
///
/// # Errors
/// `InvalidRequest` when one is missing.
pub fn identity(meta: &SessionMeta) -> Result<(ThreadId, Timestamp)> {
    let id = meta.id.ok_or_else(|| StoreError::invalid("a new thread needs an id"))?;
    let at = meta.timestamp.ok_or_else(|| StoreError::invalid("a new thread needs the time of its creation"))?;
    Ok((id, at))
}

/// The head of a new thread, ready to begin a log: paginated, unless it says legacy.
///
/// # Errors
/// `InvalidRequest` without an id or a time, or with a base, which only a fork has.
pub fn new_head(mut meta: SessionMeta) -> Result<SessionMeta> {
    identity(&meta)?;
    if meta.history_base.is_some() {
        return Err(StoreError::invalid("a thread that begins in another one is made by a fork"));
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

/// What a thread's own lines say of the thread itself: its heads, and what was set explicitly. Takes the lines in their
/// order and tells what a revert carries over.
#[derive(Clone, Debug)]
pub struct Labels {
    thread_id: ThreadId,
    newest_head: Option<SessionMeta>,
    /// Whether a head stands before the point that is gone back to.
    keeps_head: bool,
    /// What was set explicitly behind that point.
    carried: ThreadMetadataPatch,
    /// Knows when the thread was created, as all of the lines tell it.
    fold: MetadataFold,
}

impl Labels {
    /// No line was taken. `made_at` is when the thread was created, should no line say so.
    #[must_use]
    pub fn new(thread_id: ThreadId, made_at: Timestamp) -> Self {
        Self {
            thread_id,
            newest_head: None,
            keeps_head: false,
            carried: ThreadMetadataPatch::default(),
            fold: MetadataFold::new(thread_id, made_at),
        }
    }

    /// Whether a line can say something of a thread itself. Others need not be taken.
    #[must_use]
    pub fn concerns(line: &RolloutLine) -> bool {
        matches!(line.kind(), "session_meta" | "thread_metadata")
    }

    /// Takes the next line; `is_undone` says whether it stands behind the point that is gone back to.
    pub fn take(&mut self, line: &RolloutLine, is_undone: bool) {
        if !Self::concerns(line) {
            return;
        }
        self.fold.observe_line(line);
        match line.item() {
            RolloutItem::SessionMeta(head) if is_undone => {
                // The new head has the newest git facts, and a clearing that was older must not take them away.
                if self.carried.git.is_some() && head.id == Some(self.thread_id) {
                    let git = head.git.as_ref().map(|git| Some(GitInfoPatch::set_all(git)));
                    self.carried.merge(ThreadMetadataPatch { git, ..ThreadMetadataPatch::default() });
                }
                self.take_head(*head, is_undone);
            }
            RolloutItem::SessionMeta(head) => self.take_head(*head, is_undone),
            RolloutItem::ThreadMetadata(record) if is_undone && record.thread_id == Some(self.thread_id) => {
                self.carried.merge(record.patch.unwrap_or_default());
            }
            _ => {}
        }
    }

    /// Takes a head of which the line is not at hand.
    pub fn take_head(&mut self, head: SessionMeta, is_undone: bool) {
        if head.id == Some(self.thread_id) {
            self.keeps_head |= !is_undone;
            self.newest_head = Some(head);
        }
    }

    /// Whether a head of the thread was taken.
    #[must_use]
    pub fn has_head(&self) -> bool {
        self.newest_head.is_some()
    }
}

/// The items that a segment begins with that takes a thread back to where `base` ends, or to its beginning: its head, and
/// what the undone lines said of the thread itself. Going back undoes what was said and done; how somebody labelled the
/// thread, and when it was created, stays.
#[must_use]
pub fn revert_items(labels: Labels, at: Timestamp, base: Option<HistoryBase>) -> Vec<RolloutItem> {
    let thread_id = labels.thread_id;
    let mut carried = labels.carried;
    let keeps_head = labels.keeps_head && base.is_some();
    if carried.created_at.is_none() && !keeps_head {
        carried.created_at = Some(labels.fold.thread().created_at);
    }
    let mut head = labels.newest_head.unwrap_or_else(|| SessionMeta::new(thread_id, at));
    head.timestamp = Some(at);
    head.history_mode = Some(HistoryMode::Paginated);
    head.history_base = base;
    head.copied_base = None;
    let mut items: Vec<RolloutItem> = vec![head.into()];
    if !carried.is_empty() {
        items.push(ThreadMetadataRecord::new(thread_id, carried).into());
    }
    items
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
