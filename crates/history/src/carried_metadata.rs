//! The metadata that a revert carries over to its new segment, and the first items of that segment.

use selvedge_protocol::{
    GitInfoPatch, HistoryBase, HistoryMode, RolloutItem, RolloutLine, SessionMeta, ThreadId, ThreadMetadataPatch,
    ThreadMetadataRecord, Timestamp,
};

use crate::MetadataFold;

/// Collects the metadata that a revert carries over: from the thread's own heads, and from explicit changes. Takes the lines of
/// the thread in order.
///
/// A revert undoes turns. It undoes neither metadata that was set explicitly nor the creation time.
#[derive(Clone, Debug)]
pub struct CarriedMetadata {
    thread_id: ThreadId,
    newest_head: Option<SessionMeta>,
    /// Whether a head is before the boundary of the revert.
    keeps_head: bool,
    /// Explicit changes after the boundary.
    carried: ThreadMetadataPatch,
    /// Determines the creation time from all lines.
    fold: MetadataFold,
}

impl CarriedMetadata {
    /// Creates a collector without lines. `made_at` is the creation time to use if no line contains it.
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

    /// Returns whether a line can contain such metadata. Other lines need not be taken.
    #[must_use]
    pub fn concerns(line: &RolloutLine) -> bool {
        matches!(line.kind(), "session_meta" | "thread_metadata")
    }

    /// Takes the next line. `is_undone` is whether it is after the boundary.
    pub fn take(&mut self, line: &RolloutLine, is_undone: bool) {
        if !Self::concerns(line) {
            return;
        }
        self.fold.observe_line(line);
        match line.item() {
            RolloutItem::SessionMeta(head) if is_undone => {
                // The new head will have the git facts of this one. An older change that removed facts must not remove them.
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

    /// Takes a head whose line is not in memory.
    pub fn take_head(&mut self, head: SessionMeta, is_undone: bool) {
        if head.id == Some(self.thread_id) {
            self.keeps_head |= !is_undone;
            self.newest_head = Some(head);
        }
    }

    /// Returns whether a head of the thread was taken.
    #[must_use]
    pub fn has_head(&self) -> bool {
        self.newest_head.is_some()
    }
}

/// Returns the first items of the segment that reverts a thread to the end of `base`, or to its beginning if there is no base: the
/// head, and the metadata from the undone lines.
#[must_use]
pub fn revert_items(metadata: CarriedMetadata, at: Timestamp, base: Option<HistoryBase>) -> Vec<RolloutItem> {
    let thread_id = metadata.thread_id;
    // Without a head before the boundary, no remaining line has the creation time: the new head has the time of the revert.
    let mut carried = metadata.carried;
    let keeps_head = metadata.keeps_head && base.is_some();
    if carried.created_at.is_none() && !keeps_head {
        carried.created_at = Some(metadata.fold.thread().created_at);
    }
    let mut head = metadata.newest_head.unwrap_or_else(|| SessionMeta::new(thread_id, at));
    head.timestamp = Some(at);
    head.history_mode = Some(HistoryMode::Paginated);
    // A segment without a base has no copied lines, and its own ones begin at ordinal 0.
    if base.is_none() {
        head.subagent_history_start_ordinal = None;
    }
    head.history_base = base;
    head.copied_base = None;
    let mut items: Vec<RolloutItem> = vec![head.into()];
    if !carried.is_empty() {
        items.push(ThreadMetadataRecord::new(thread_id, carried).into());
    }
    items
}
