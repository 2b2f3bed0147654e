//! The state of a live thread: what its writer knows of the log without reading it.
//!
//! The state follows the log item by item, so an append costs no read. Where that is impossible, the state is *stale*,
//! and the next call reads it from the store. Three things make it stale:
//!
//! - A call whose outcome is unknown, or whose future was dropped: the log may have more than the state.
//! - A rewind: what the state was at an earlier turn is only in the log.
//! - A compaction that names no window: which number its window has is only in the log.

use selvedge_history::{ContextWindowTracker, MetadataFold, ModelContext, WorldStateTracker};
use selvedge_protocol::{
    ContextWindow, EventMsg, RolloutItem, SessionMeta, ThreadId, WorldState, WorldStatePatch, WorldStateRecord,
};
use selvedge_thread_store::BatchId;
use tokio::time::Instant;

use crate::derived_record::DerivedRecord;
use crate::metadata_sync::MetadataSync;
use crate::turn_tracker::TurnTracker;

/// The state of a live thread, behind the lock of its handle.
#[derive(Debug)]
pub(crate) struct LiveState {
    /// The thread record, as new as the last append.
    pub(crate) fold: MetadataFold,
    /// What the record has and the store lacks.
    pub(crate) metadata_sync: MetadataSync,
    /// What the model was told about its surroundings.
    pub(crate) world_state: WorldStateTracker,
    /// The context window that the thread is in.
    pub(crate) window: ContextWindowTracker,
    /// The turns that this handle has begun.
    pub(crate) turns: TurnTracker,
    /// Whether the log may contain something that this state does not reflect.
    ///
    /// A call sets it *before* it asks the store for a change and clears it afterwards. So it stays set if the future
    /// of the call is dropped in between, without any code that runs then.
    pub(crate) is_stale: bool,
    /// A batch that may or may not be in the log: its call was dropped, or all its answers were lost.
    ///
    /// If the next append has the same items, it is taken for a repeat and gets the same batch id, so the items are in
    /// the log once. An append of other items gets a new id.
    pub(crate) unconfirmed: Option<UnconfirmedBatch>,
    /// Whether the handle has given up the writer.
    pub(crate) is_closed: bool,
    /// Whether the writer was given up because the handle was idle. The next call that needs it claims it again.
    pub(crate) is_idle: bool,
    /// Whether a call began to claim the writer again, and its outcome is not known: its future was dropped.
    pub(crate) is_claiming: bool,
    /// Whether the log has a line. A lazy thread cannot be given up: that would remove it.
    pub(crate) has_log: bool,
    /// When the last call began.
    pub(crate) last_call: Instant,
}

/// Returns what identifies a call of a recorder: a hash of the method and its arguments. It is computed only for a batch that may
/// or may not be in the log, because it would cost as much as building a small batch.
pub(crate) type CallKey<'a> = dyn Fn() -> u64 + Sync + 'a;

/// A batch that may or may not be in the log.
#[derive(Debug)]
pub(crate) struct UnconfirmedBatch {
    pub(crate) batch: BatchId,
    pub(crate) items: Vec<RolloutItem>,
    /// The call of a recorder that built the items. If the same call is made again, it appends these items: it would
    /// build others, with new ids and times.
    pub(crate) call: Option<u64>,
}

impl LiveState {
    /// Returns the state of a new thread, whose log is its head alone.
    pub(crate) fn new(head: &SessionMeta, thread_id: ThreadId) -> Self {
        // The head is not in the log yet, since the thread is lazy. Its facts are valid already: the first append writes it.
        let at = head.timestamp.unwrap_or_default();
        let mut fold = MetadataFold::new(thread_id, at);
        fold.observe(&head.clone().into(), Some(at));
        Self {
            fold,
            metadata_sync: MetadataSync::default(),
            world_state: WorldStateTracker::new(),
            window: ContextWindowTracker::new(ContextWindow::first(head.window_id())),
            turns: TurnTracker::default(),
            is_stale: false,
            unconfirmed: None,
            is_closed: false,
            is_idle: false,
            is_claiming: false,
            has_log: false,
            last_call: Instant::now(),
        }
    }

    /// Returns the state of a thread that is resumed.
    pub(crate) fn resumed(derived: DerivedRecord, context: &ModelContext) -> Self {
        Self {
            fold: derived.fold,
            metadata_sync: MetadataSync::with_pending(derived.unsynced),
            world_state: WorldStateTracker::restored(context.world_state.clone()),
            window: ContextWindowTracker::new(context.window),
            turns: TurnTracker::default(),
            is_stale: false,
            unconfirmed: None,
            is_closed: false,
            is_idle: false,
            is_claiming: false,
            has_log: true,
            last_call: Instant::now(),
        }
    }

    /// Replaces the state by what was read from the store.
    pub(crate) fn replace(&mut self, derived: DerivedRecord, context: ModelContext) {
        let DerivedRecord { mut fold, unsynced } = derived;
        // Changes that were pending before stay pending, so the record that was read lacks them.
        self.metadata_sync.add(unsynced);
        let mut record = fold.thread().clone();
        self.metadata_sync.apply_pending(&mut record);
        fold.replace_thread(record);
        self.fold = fold;
        self.world_state = WorldStateTracker::restored(context.world_state);
        self.window = ContextWindowTracker::new(context.window);
        self.is_stale = false;
    }

    /// Applies an item that was appended to the trackers, and marks the state as stale if only the log has the result.
    pub(crate) fn apply_item(&mut self, item: &RolloutItem) {
        apply_to_world_state(&mut self.world_state, item);
        self.turns.apply(item);
        match item {
            RolloutItem::Compacted(compacted) => match compacted.window_number {
                Some(number) => {
                    self.window = ContextWindowTracker::new(ContextWindow {
                        number,
                        first_window_id: compacted.first_window_id,
                        previous_window_id: compacted.previous_window_id,
                        window_id: compacted.window_id,
                    });
                }
                None => self.is_stale = true,
            },
            RolloutItem::EventMsg(EventMsg::ThreadRolledBack(_)) => self.is_stale = true,
            _ => {}
        }
    }
}

/// Marks a batch as unconfirmed, unless its append gets an answer.
///
/// It does so when it is dropped. This covers an append whose future is dropped while the store works on it.
pub(crate) struct AppendGuard<'a> {
    pub(crate) state: &'a mut LiveState,
    batch: BatchId,
    items: &'a [RolloutItem],
    call: Option<&'a CallKey<'a>>,
    is_confirmed: bool,
}

impl<'a> AppendGuard<'a> {
    /// Begins an append: from here on the log may contain the batch.
    pub(crate) fn begin(
        state: &'a mut LiveState,
        batch: BatchId,
        items: &'a [RolloutItem],
        call: Option<&'a CallKey<'a>>,
    ) -> Self {
        state.is_stale = true;
        Self { state, batch, items, call, is_confirmed: false }
    }

    /// Ends an append whose outcome is known.
    pub(crate) fn confirm(mut self) {
        self.is_confirmed = true;
        self.state.is_stale = false;
    }
}

impl Drop for AppendGuard<'_> {
    fn drop(&mut self) {
        if !self.is_confirmed {
            let (batch, items) = (self.batch, self.items.to_vec());
            let call = self.call.map(|call| call());
            self.state.unconfirmed = Some(UnconfirmedBatch { batch, items, call });
        }
    }
}

/// Applies an item to what the model was told about its surroundings.
///
/// After a compaction or a rollback the tracker knows nothing, and the next record is a full one. A rollback restores
/// an earlier state, which only the log has.
pub(crate) fn apply_to_world_state(tracker: &mut WorldStateTracker, item: &RolloutItem) {
    match item {
        RolloutItem::WorldState(record) => *tracker = after_record(tracker, record),
        // In both cases the model no longer sees what it was told: the history was replaced, or goes back to an earlier
        // point.
        RolloutItem::Compacted(_) | RolloutItem::EventMsg(EventMsg::ThreadRolledBack(_)) => tracker.clear(),
        _ => {}
    }
}

/// Returns the tracker after a record that was appended. A patch without a base, or a record that cannot be read,
/// leaves a tracker that knows nothing.
fn after_record(tracker: &WorldStateTracker, record: &WorldStateRecord) -> WorldStateTracker {
    let value = record.state.clone().unwrap_or_default();
    let baseline = if record.is_full() {
        WorldState::new(value).ok()
    } else {
        tracker.baseline().cloned().and_then(|mut baseline| {
            baseline.apply(&WorldStatePatch::new(value).ok()?);
            Some(baseline)
        })
    };
    WorldStateTracker::restored(baseline)
}
