//! What a thread's lines say of the thread itself, and how the segment that a revert begins starts.

use selvedge_protocol::{
    GitInfoPatch, HistoryBase, HistoryMode, RolloutItem, RolloutLine, SessionMeta, ThreadId, ThreadMetadataPatch,
    ThreadMetadataRecord, Timestamp,
};

use crate::MetadataFold;

/// What a thread's own lines say of the thread itself: its heads, and what was set explicitly. Takes the lines in their
/// order and tells what a revert carries over.
#[derive(Clone, Debug)]
pub struct CarriedMetadata {
    thread_id: ThreadId,
    newest_head: Option<SessionMeta>,
    /// Whether a head stands before the point that is gone back to.
    keeps_head: bool,
    /// What was set explicitly behind that point.
    carried: ThreadMetadataPatch,
    /// Knows when the thread was created, as all of the lines tell it.
    fold: MetadataFold,
}

impl CarriedMetadata {
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
pub fn revert_items(labels: CarriedMetadata, at: Timestamp, base: Option<HistoryBase>) -> Vec<RolloutItem> {
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
