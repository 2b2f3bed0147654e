//! The handle of a thread that an agent is writing.

use std::borrow::Cow;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use selvedge_history::{
    ModelContext, TokenBudget, TurnFormat, aborted_output, is_persisted, known_kinds, unanswered_calls,
};
use selvedge_protocol::{
    ContextWindow, HistoryMode, ItemId, ResponseItem, RolloutItem, SessionMeta, StoredThread, ThreadId,
    ThreadMetadataPatch, TurnBoundary, TurnId, WorldState,
};
use selvedge_thread_store::{Appended, BatchId, MetadataOrigin, Result, RevertThread, StoreError, ThreadStore};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::clock::now;
use crate::compaction::Compaction;
use crate::completion::run_to_completion;
use crate::derived_record::{DerivedRecord, derive_record};
use crate::live_state::{AppendGuard, CallKey, LiveState, UnconfirmedBatch, apply_to_world_state};
use crate::lost_answer::{is_outcome_unknown, repeat_while_unknown};
use crate::metadata_sync::SyncSchedule;
use crate::recorded::Recorded;
use crate::registry::Registry;
use crate::timer::sleep;
use crate::turn_settings::TurnSettings;

/// A thread that is live in a store: the handle by which an agent records it.
///
/// Any task may call any method. Calls take effect one after another. Dropping the handle loses nothing that was
/// acknowledged. The handle keeps no history in memory: [`model_input`](Self::model_input) loads it. It can give up the
/// writer while it is idle ([`ThreadManager::with_idle_timeout`](crate::ThreadManager::with_idle_timeout)).
///
/// # Dropped calls and lost answers
///
/// A call whose future is dropped has taken effect as a whole or not at all. The next call finds out which: it first
/// reads the state of the thread from the store, and fails if the store cannot be read. The same holds for a call that
/// fails with [`OutcomeUnknown`](StoreError::OutcomeUnknown).
///
/// An append that was dropped, or whose outcome stayed unknown, can be repeated with the same items. They are in the
/// log once.
#[derive(Debug)]
pub struct LiveThread {
    thread_id: ThreadId,
    mode: HistoryMode,
    store: Arc<dyn ThreadStore>,
    /// Weak: the registry owns the handle.
    registry: Weak<Registry<LiveThread>>,
    /// The handle itself, for tasks that outlive a call.
    weak_self: Weak<LiveThread>,
    /// The settings with which the thread was started, for turns that have none.
    first_settings: TurnSettings,
    /// Items that the next append writes first: the ends of turns whose recorders were dropped.
    owed: std::sync::Mutex<Vec<RolloutItem>>,
    /// Locked during a whole call, the work of the store included; only [`sync`](Self::sync) waits without it. So calls
    /// take effect one after another, and the state always belongs to the end of the log.
    state: Mutex<LiveState>,
}

impl LiveThread {
    /// Creates the handle of a thread that was just created in the store.
    pub(crate) fn started(
        store: Arc<dyn ThreadStore>,
        registry: Weak<Registry<LiveThread>>,
        head: &SessionMeta,
        thread_id: ThreadId,
        settings: TurnSettings,
    ) -> Arc<Self> {
        Self::new(store, registry, thread_id, head.mode(), settings, LiveState::new(head, thread_id))
    }

    /// Creates the handle of a thread that was just resumed in the store.
    pub(crate) fn resumed(
        store: Arc<dyn ThreadStore>,
        registry: Weak<Registry<LiveThread>>,
        derived: DerivedRecord,
        context: &ModelContext,
    ) -> Arc<Self> {
        let (thread_id, mode) = (derived.fold.thread().id, derived.fold.thread().history_mode);
        Self::new(store, registry, thread_id, mode, TurnSettings::default(), LiveState::resumed(derived, context))
    }

    fn new(
        store: Arc<dyn ThreadStore>,
        registry: Weak<Registry<LiveThread>>,
        thread_id: ThreadId,
        mode: HistoryMode,
        first_settings: TurnSettings,
        state: LiveState,
    ) -> Arc<Self> {
        Arc::new_cyclic(|weak_self| Self {
            thread_id,
            mode,
            store,
            registry,
            weak_self: weak_self.clone(),
            first_settings,
            owed: std::sync::Mutex::default(),
            state: Mutex::new(state),
        })
    }

    /// Returns the id of the thread.
    #[must_use]
    pub fn id(&self) -> ThreadId {
        self.thread_id
    }

    /// Returns how the log of the thread is kept.
    #[must_use]
    pub fn mode(&self) -> HistoryMode {
        self.mode
    }

    /// Returns the settings with which the thread was started. A turn that has no settings of its own, and follows none, has these.
    pub(crate) fn first_settings(&self) -> &TurnSettings {
        &self.first_settings
    }

    /// Returns what the model sees next, from the store: also right after a rewind, a compaction or a dropped call.
    ///
    /// # Errors
    /// The errors of [`ThreadReader::load_model_context`](selvedge_thread_store::ThreadReader::load_model_context).
    #[tracing::instrument(level = "debug", skip_all, fields(thread_id = %self.thread_id), err(level = "debug"))]
    pub async fn model_input(&self) -> Result<Vec<ResponseItem>> {
        // Under the lock, so that no append is half-way. A reader needs no writer, so an idle thread stays idle.
        let mut state = self.state.lock().await;
        if state.is_closed {
            return Err(StoreError::not_live(self.thread_id));
        }
        if state.is_stale && !state.is_idle {
            self.refresh(&mut state).await?;
        }
        match self.store.load_model_context(self.thread_id).await {
            // The thread is still lazy: the model sees nothing.
            Err(StoreError::NotFound { live: false, .. }) => Ok(Vec::new()),
            outcome => Ok(outcome?.history),
        }
    }

    /// Returns the tool calls that the model sees without an output, oldest first: those that were in progress when an
    /// agent died or dropped them.
    ///
    /// # Errors
    /// The errors of [`model_input`](Self::model_input).
    pub async fn unanswered_calls(&self) -> Result<Vec<ResponseItem>> {
        Ok(unanswered_calls(&self.model_input().await?))
    }

    /// Answers every call without an output with the output `aborted`, as Codex does before it asks the model again.
    /// Returns how many there were.
    ///
    /// # Errors
    /// The errors of [`model_input`](Self::model_input) and [`append`](Self::append).
    pub async fn abort_unanswered_calls(&self) -> Result<usize> {
        let outputs: Vec<RolloutItem> =
            self.unanswered_calls().await?.iter().filter_map(aborted_output).map(RolloutItem::from).collect();
        if !outputs.is_empty() {
            self.append(&outputs).await?;
        }
        Ok(outputs.len())
    }

    /// Appends items as one batch, without the items that the persistence policy keeps out of the log.
    ///
    /// When it returns, the items are in the store, as [`ThreadStore::append_items`] promises. The metadata that
    /// derives from them follows. If the store cannot store that metadata, the append still succeeds: it is stored
    /// later, and [`flush`](Self::flush) reports an error if that fails as well.
    ///
    /// An item that no reader would show, because its type or the name of a field is misspelt, is refused.
    /// [`known_kinds`] has the types and their fields, and [`append_unchecked`](Self::append_unchecked) appends
    /// anything.
    ///
    /// # Errors
    /// - `InvalidRequest` if an item is likely misspelt. Nothing was appended then.
    /// - The errors of [`ThreadStore::append_items`]. Nothing was appended then, and the same call can be repeated.
    /// - `OutcomeUnknown` if all answers were lost. The same call can be repeated; the items are in the log once.
    /// - After a call that was dropped or whose outcome is unknown: the errors of reading the thread from the store.
    pub async fn append(&self, items: &[RolloutItem]) -> Result<Recorded> {
        if let Some(misspelt) = items.iter().find_map(known_kinds::misspelling) {
            return Err(StoreError::invalid(format!("{misspelt} would show in no reader")));
        }
        self.append_unchecked(items).await
    }

    /// Appends items as [`append`](Self::append) does, also of types that are not known and without fields that they
    /// need: those of a later version of the format, for example. They are kept as they are.
    ///
    /// # Errors
    /// Those of [`append`](Self::append), apart from the first.
    #[tracing::instrument(
        name = "append", level = "debug", skip_all, fields(thread_id = %self.thread_id), err(level = "debug")
    )]
    pub async fn append_unchecked(&self, items: &[RolloutItem]) -> Result<Recorded> {
        let mut state = self.lock_current().await?;
        self.append_locked(&mut state, items, None).await
    }

    /// Appends the items that a call of a recorder builds. If the last append was dropped and the same call made it,
    /// its items are appended again, and are in the log once.
    #[tracing::instrument(level = "debug", skip_all, fields(thread_id = %self.thread_id), err(level = "debug"))]
    pub(crate) async fn append_call(
        &self,
        call: &CallKey<'_>,
        build: impl FnOnce(&LiveState) -> Vec<RolloutItem>,
    ) -> Result<Recorded> {
        let mut state = self.lock_current().await?;
        let items = match &state.unconfirmed {
            Some(unconfirmed) if unconfirmed.call.is_some_and(|made| made == call()) => unconfirmed.items.clone(),
            _ => build(&state),
        };
        self.append_locked(&mut state, &items, Some(call)).await
    }

    /// Appends items as soon as possible, without waiting: by a task, and at the latest with the next call that appends
    /// or flushes.
    pub(crate) fn append_soon(&self, items: Vec<RolloutItem>) {
        self.lock_owed().extend(items);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let weak_self = self.weak_self.clone();
            runtime.spawn(async move {
                let Some(thread) = weak_self.upgrade() else { return };
                let Ok(mut state) = thread.lock_current().await else { return };
                if let Err(error) = thread.append_owed(&mut state).await {
                    tracing::warn!(thread_id = %thread.thread_id, %error, "the end of a turn cannot be recorded for now");
                }
            });
        }
    }

    fn lock_owed(&self) -> std::sync::MutexGuard<'_, Vec<RolloutItem>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends the items that are owed, if there are any.
    async fn append_owed(&self, state: &mut LiveState) -> Result<()> {
        if self.lock_owed().is_empty() {
            return Ok(());
        }
        self.append_locked(state, &[], None).await.map(drop)
    }

    /// Appends what the model is told about its surroundings. A record of `current` follows in the same batch, if
    /// `current` differs from what the model knows.
    ///
    /// The record is full if the model was told nothing in this context window yet, and a patch otherwise. A compaction
    /// among the items begins a new window. After a rollback the record is full, because only the log has the state
    /// that a rollback restores.
    ///
    /// # Errors
    /// The errors of [`append`](Self::append).
    #[tracing::instrument(level = "debug", skip_all, fields(thread_id = %self.thread_id), err(level = "debug"))]
    pub async fn append_context(&self, items: &[RolloutItem], current: &WorldState) -> Result<Recorded> {
        let mut state = self.lock_current().await?;
        // A copy of the tracker: the state follows only if the append succeeds, and then it follows the record as well.
        let mut world_state = state.world_state.clone();
        items.iter().for_each(|item| apply_to_world_state(&mut world_state, item));
        let record = world_state.record(current);
        // The record comes after the items, in one batch. A crash leaves a prefix of the batch at worst. So the log
        // never records something that the model was not told.
        let batch: Vec<RolloutItem> = items.iter().cloned().chain(record.map(RolloutItem::WorldState)).collect();
        self.append_locked(&mut state, &batch, None).await
    }

    /// Appends a compaction: from now on the model sees `replacement_history`, in a new context window. A client shows that the
    /// context was compacted.
    ///
    /// It is one batch. While a turn is open that this handle has begun, the compaction is part of it. Otherwise it is a turn of
    /// its own, as Codex records it. A rewind by a number of turns does not count such a turn
    /// ([`TurnBoundary::BeforeNewest`]).
    ///
    /// The model forgets what it was told about its surroundings. So the next record of
    /// [`append_context`](Self::append_context) is full.
    ///
    /// # Errors
    /// The errors of [`append`](Self::append).
    #[tracing::instrument(level = "debug", skip_all, fields(thread_id = %self.thread_id), err(level = "debug"))]
    pub async fn compact(&self, message: &str, replacement_history: Vec<ResponseItem>) -> Result<ContextWindow> {
        let mut state = self.lock_current().await?;
        let at = now();
        // A copy of the tracker: the window of the thread changes only if the append succeeds.
        let window = state.window.clone().compact(at);
        let compaction = Compaction { message, replacement_history: &replacement_history, window, at };
        let (format, item_id) =
            (TurnFormat::new(self.thread_id, self.mode), ItemId::from(ThreadId::new(at).to_string()));
        let items = match state.turns.open() {
            Some(turn_id) => {
                let mut items = Vec::new();
                compaction.within(turn_id, item_id, &format, &mut items);
                items
            }
            None => compaction.as_turn(&TurnId::from(ThreadId::new(at).to_string()), item_id, &format),
        };
        self.append_locked(&mut state, &items, None).await?;
        Ok(window)
    }

    /// Returns the context window that the thread is in.
    pub async fn window(&self) -> ContextWindow {
        self.lock_refreshed().await.window.current()
    }

    /// Returns the message that tells the model its context window and, if known, how many tokens are left.
    ///
    /// The caller appends it like any other message.
    pub async fn token_budget(&self, tokens_left: Option<u64>) -> TokenBudget {
        TokenBudget::new(self.thread_id, &self.window().await, tokens_left)
    }

    /// Returns what the model was told about its surroundings. `None` if it has to be told everything.
    pub async fn world_state(&self) -> Option<WorldState> {
        self.lock_refreshed().await.world_state.baseline().cloned()
    }

    /// Returns the thread record, including changes that the store does not have yet.
    pub async fn metadata(&self) -> StoredThread {
        self.lock_refreshed().await.fold.thread().clone()
    }

    /// Returns whether the thread was neither shut down nor discarded.
    pub(crate) async fn is_open(&self) -> bool {
        !self.state.lock().await.is_closed
    }

    /// Makes a lazy thread visible. Does nothing to a thread that is visible.
    ///
    /// # Errors
    /// The errors of [`ThreadStore::persist_thread`].
    pub async fn persist(&self) -> Result<()> {
        let mut state = self.lock_current().await?;
        repeat_while_unknown!(self.store.persist_thread(self.thread_id))?;
        state.has_log = true;
        Ok(())
    }

    /// Flushes the thread: everything that was appended before is as durable as the store's level, and the store has
    /// the metadata that derives from it.
    ///
    /// # Errors
    /// The errors of [`ThreadStore::flush_thread`] and [`ThreadStore::update_thread_metadata`].
    #[tracing::instrument(level = "debug", skip_all, fields(thread_id = %self.thread_id), err(level = "debug"))]
    pub async fn flush(&self) -> Result<()> {
        if self.is_idle().await {
            // Everything was flushed when the writer was given up.
            return Ok(());
        }
        let mut state = self.lock_current().await?;
        self.flush_locked(&mut state).await
    }

    /// Flushes the thread like [`flush`](Self::flush). In addition, everything that was appended before survives a
    /// power loss, whatever the durability level of the store.
    ///
    /// # Errors
    /// The errors of [`ThreadStore::sync_thread`] and [`ThreadStore::update_thread_metadata`].
    #[tracing::instrument(level = "debug", skip_all, fields(thread_id = %self.thread_id), err(level = "debug"))]
    pub async fn sync(&self) -> Result<()> {
        // Not under the lock: other tasks can append while an fsync runs. The promise is only about earlier appends.
        drop(self.lock_current().await?);
        repeat_while_unknown!(self.store.sync_thread(self.thread_id))?;
        self.flush_metadata(&mut *self.lock_current().await?).await
    }

    /// Flushes the thread and gives up the writer. The thread is cold afterwards; a lazy thread is gone.
    ///
    /// A second call does nothing. The shutdown continues if its future is dropped.
    ///
    /// # Errors
    /// The errors of [`flush`](Self::flush) and [`ThreadStore::shutdown_thread`]. The thread is still live then.
    #[tracing::instrument(level = "debug", skip_all, fields(thread_id = %self.thread_id), err(level = "debug"))]
    pub async fn shutdown(&self) -> Result<()> {
        let this = self.strong_self()?;
        run_to_completion(async move { this.close(CloseMode::Shutdown).await }).await
    }

    /// Releases the writer without a flush. A lazy thread leaves no trace; a stored thread keeps everything that was
    /// appended.
    ///
    /// A second call does nothing. The call continues if its future is dropped.
    ///
    /// # Errors
    /// The errors of [`ThreadStore::discard_thread`]. The thread is still live then.
    #[tracing::instrument(level = "debug", skip_all, fields(thread_id = %self.thread_id), err(level = "debug"))]
    pub async fn discard(&self) -> Result<()> {
        let this = self.strong_self()?;
        run_to_completion(async move { this.close(CloseMode::Discard).await }).await
    }

    /// Sets metadata explicitly. A lazy thread becomes visible.
    pub(crate) async fn update_metadata(&self, patch: &ThreadMetadataPatch) -> Result<StoredThread> {
        let mut state = self.lock_current().await?;
        if patch.is_empty() {
            return Ok(state.fold.thread().clone());
        }
        repeat_while_unknown!(self.store.persist_thread(self.thread_id))?;
        state.has_log = true;
        // Derived changes first. They are older than the explicit ones and must not replace them later.
        self.flush_metadata(&mut state).await?;
        state.is_stale = true;
        // Safe to repeat: a patch sets values literally, so applying it twice has the same result.
        let update = || self.store.update_thread_metadata(self.thread_id, patch, MetadataOrigin::Explicit);
        let outcome = repeat_while_unknown!(update());
        state.is_stale = matches!(&outcome, Err(error) if is_outcome_unknown(error));
        let record = outcome?;
        state.fold.replace_thread(record.clone());
        Ok(record)
    }

    /// Undoes the newest turns and returns how many they were.
    ///
    /// The state becomes stale and is read when it is next needed: that costs more than the rewind itself.
    pub(crate) async fn rewind(&self, to: TurnBoundary) -> Result<usize> {
        // The state may be stale, because a rewind uses nothing of it. So several rewinds in a row do not read the
        // thread in between.
        let mut state = self.lock_open().await?;
        // Pending metadata derives from turns that may be undone now. It must reach the store before the rewind, not
        // after it.
        self.flush_locked(&mut state).await?;
        let was_stale = std::mem::replace(&mut state.is_stale, true);
        state.turns.rewind();
        let request = RevertThread { thread_id: self.thread_id, to, batch: BatchId::generate() };
        let outcome = repeat_while_unknown!(self.store.revert_thread(request.clone()));
        state.is_stale = was_stale
            || match &outcome {
                Ok(undone) => *undone > 0,
                Err(error) => is_outcome_unknown(error),
            };
        outcome
    }

    /// Returns the shared handle. It exists as long as a caller has it, so it exists during every call.
    pub(crate) fn strong_self(&self) -> Result<Arc<Self>> {
        self.weak_self.upgrade().ok_or(StoreError::not_live(self.thread_id))
    }

    async fn close(&self, mode: CloseMode) -> Result<()> {
        // The lock is held to the end. Calls that wait for it find the thread closed and fail.
        let mut state = self.state.lock().await;
        if state.is_closed {
            return Ok(());
        }
        let outcome = match mode {
            _ if state.is_idle => Ok(()),
            CloseMode::Shutdown => self.shutdown_locked(&mut state).await,
            CloseMode::Discard => repeat_while_unknown!(self.store.discard_thread(self.thread_id)),
        };
        match outcome {
            // The store does not have the thread as live any more, so there is nothing to give up.
            Ok(()) | Err(StoreError::NotFound { live: true, .. }) => {}
            Err(error) => return Err(error),
        }
        // Only now: a shutdown that failed can be repeated, and until then the thread stays usable.
        state.is_closed = true;
        if let Some(registry) = self.registry.upgrade() {
            registry.remove(self.thread_id, self);
        }
        Ok(())
    }

    async fn shutdown_locked(&self, state: &mut LiveState) -> Result<()> {
        self.flush_locked(state).await?;
        repeat_while_unknown!(self.store.shutdown_thread(self.thread_id))
    }

    /// Locks the state of an open thread and refreshes it if it is stale.
    async fn lock_current(&self) -> Result<MutexGuard<'_, LiveState>> {
        let mut state = self.lock_open().await?;
        if state.is_stale {
            self.refresh(&mut state).await?;
        }
        Ok(state)
    }

    /// Locks the state of an open thread. It may be stale.
    async fn lock_open(&self) -> Result<MutexGuard<'_, LiveState>> {
        let mut state = self.state.lock().await;
        if state.is_closed {
            return Err(StoreError::not_live(self.thread_id));
        }
        state.last_call = Instant::now();
        if state.is_idle {
            self.claim_idle(&mut state).await?;
        }
        Ok(state)
    }

    /// Claims the writer that was given up while the handle was idle.
    async fn claim_idle(&self, state: &mut LiveState) -> Result<()> {
        // Another process may have written meanwhile.
        state.is_stale = true;
        let was_dropped = std::mem::replace(&mut state.is_claiming, true);
        let this = self.strong_self()?;
        let claim = async move { repeat_while_unknown!(this.store.resume_thread(this.thread_id)) };
        let outcome = run_to_completion(claim).await;
        state.is_claiming = matches!(&outcome, Err(error) if is_outcome_unknown(error));
        match outcome {
            // A call that was dropped while it claimed the writer, or whose answer was lost, may have got it.
            Err(StoreError::Conflict { .. })
                if (was_dropped || state.is_claiming) && self.store.writer_state(self.thread_id).await.is_ok() => {}
            outcome => outcome?,
        }
        state.is_idle = false;
        state.turns.rewind();
        self.watch_idle();
        Ok(())
    }

    /// Claims the writer again if it was given up. Returns whether it was.
    pub(crate) async fn claim_again(&self) -> Result<bool> {
        // Without waiting: a handle that is busy is not idle, and may be shutting down for as long as its store takes.
        if !self.state.try_lock().is_ok_and(|state| state.is_idle && !state.is_closed) {
            return Ok(false);
        }
        self.lock_current().await.map(|_| true)
    }

    /// Returns whether the writer was given up because the handle was idle.
    pub(crate) async fn is_idle(&self) -> bool {
        let state = self.state.lock().await;
        state.is_idle && !state.is_closed
    }

    /// Starts the task that gives up the writer when the handle is idle, if the manager wants that.
    pub(crate) fn watch_idle(&self) {
        if let Some(timeout) = self.registry.upgrade().and_then(|registry| registry.idle_timeout())
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(give_up_when_idle(self.weak_self.clone(), timeout));
        }
    }

    /// Releases the writer, unless a turn is open or the thread has no log.
    async fn give_up(&self, state: &mut LiveState) {
        if state.turns.open().is_some() || !state.has_log {
            return;
        }
        match self.shutdown_locked(state).await {
            Ok(()) => state.is_idle = true,
            Err(error) => tracing::warn!(thread_id = %self.thread_id, %error, "an idle thread stays live for now"),
        }
    }

    /// Locks the state of an open or closed thread, and refreshes a stale one if the store can be read.
    async fn lock_refreshed(&self) -> MutexGuard<'_, LiveState> {
        let mut state = self.state.lock().await;
        // Another process may write a thread that is idle here.
        if (state.is_stale || state.is_idle) && !state.is_closed {
            self.try_refresh(&mut state).await;
        }
        state
    }

    /// Appends items, after those that are owed. `call` is the call of a recorder that built them.
    async fn append_locked(
        &self,
        state: &mut LiveState,
        items: &[RolloutItem],
        call: Option<&CallKey<'_>>,
    ) -> Result<Recorded> {
        let owed = std::mem::take(&mut *self.lock_owed());
        let all: Cow<'_, [RolloutItem]> =
            if owed.is_empty() { items.into() } else { owed.iter().chain(items).cloned().collect() };
        // An unconfirmed batch is compared with what would be written, so the filter comes first.
        let items = self.persisted_items(&all);
        let dropped = all.len() - items.len();
        if dropped > 0 {
            self.warn_of_other_mode(&all);
        }
        let batch = match state.unconfirmed.take() {
            Some(UnconfirmedBatch { batch, items: unconfirmed, .. }) if unconfirmed[..] == items[..] => batch,
            _ => BatchId::generate(),
        };
        let outcome = self.append_batch(state, batch, &items, call).await;
        if outcome.is_err() && !owed.is_empty() {
            // What was owed is owed again. If it is in the log after all, the turn ends twice, which changes nothing.
            self.lock_owed().splice(0..0, owed);
        }
        let appended = outcome?;
        if items.is_empty() {
            return Ok(Recorded::new(appended, dropped));
        }
        state.has_log = true;
        // History first, metadata second. From here on the items are in the log, so nothing below may fail the append.
        // If the process ends here, the log is ahead of the metadata, and the next writer of the thread derives what is
        // missing.
        let at = now();
        let mut has_new_facts = false;
        let first_ordinal = appended.last_ordinal.map(|last| last.saturating_add(1).saturating_sub(items.len() as u64));
        for (index, item) in (0..).zip(items.iter()) {
            let ordinal = first_ordinal.map(|first| first + index);
            has_new_facts |= state.metadata_sync.add(state.fold.observe_numbered(item, ordinal, Some(at)));
            state.apply_item(item);
        }
        if state.is_stale {
            self.try_refresh(state).await;
        }
        self.schedule_metadata_flush(state, has_new_facts).await;
        Ok(Recorded::new(appended, dropped))
    }

    /// Appends a batch. It takes effect once, however often its answer is lost.
    async fn append_batch(
        &self,
        state: &mut LiveState,
        batch: BatchId,
        items: &[RolloutItem],
        call: Option<&CallKey<'_>>,
    ) -> Result<Appended> {
        let guard = AppendGuard::begin(state, batch, items, call);
        let outcome = repeat_while_unknown!(self.store.append_items(self.thread_id, batch, items));
        if !matches!(&outcome, Err(error) if is_outcome_unknown(error)) {
            guard.confirm();
        }
        outcome
    }

    /// Warns of events that a thread of the other history mode would keep: their program takes this thread for one.
    fn warn_of_other_mode(&self, items: &[RolloutItem]) {
        let other = match self.mode {
            HistoryMode::Legacy => HistoryMode::Paginated,
            HistoryMode::Paginated => HistoryMode::Legacy,
        };
        let of_other_mode =
            items.iter().filter(|item| !is_persisted(item, self.mode) && is_persisted(item, other)).count();
        if of_other_mode > 0 {
            tracing::warn!(
                thread_id = %self.thread_id, count = of_other_mode, mode = ?self.mode,
                "events of the other history mode were dropped"
            );
        }
    }

    /// Returns the items that belong in the log.
    fn persisted_items<'a>(&self, items: &'a [RolloutItem]) -> Cow<'a, [RolloutItem]> {
        if items.iter().all(|item| is_persisted(item, self.mode)) {
            return Cow::Borrowed(items);
        }
        items.iter().filter(|item| is_persisted(item, self.mode)).cloned().collect()
    }

    async fn flush_locked(&self, state: &mut LiveState) -> Result<()> {
        self.append_owed(state).await?;
        repeat_while_unknown!(self.store.flush_thread(self.thread_id))?;
        self.flush_metadata(state).await
    }

    /// Reads the state from the store.
    async fn refresh(&self, state: &mut LiveState) -> Result<()> {
        // If this fails, it stays unknown what the model was told. Then the next record must be a full one.
        state.world_state.clear();
        if !state.is_idle {
            // A dropped call may still be running in the store. The flush ends after it, so the reads below see its effect.
            repeat_while_unknown!(self.store.flush_thread(self.thread_id))?;
        }
        let context = match self.store.load_model_context(self.thread_id).await {
            // The thread is still lazy: nothing was appended, and the state is that of a new thread.
            Err(StoreError::NotFound { live: false, .. }) => {
                state.is_stale = false;
                return Ok(());
            }
            outcome => outcome?,
        };
        let derived = derive_record(&*self.store, self.thread_id).await?;
        state.replace(derived, context);
        Ok(())
    }

    /// Refreshes the state. If that fails, it stays stale and the next call tries again.
    async fn try_refresh(&self, state: &mut LiveState) {
        if let Err(error) = self.refresh(state).await {
            tracing::warn!(thread_id = %self.thread_id, %error, "cannot read the state of the thread for now");
        }
    }

    /// Flushes pending metadata if it is time, and otherwise starts a task that flushes it later.
    async fn schedule_metadata_flush(&self, state: &mut LiveState, has_new_facts: bool) {
        if state.metadata_sync.schedule(has_new_facts, Instant::now()) == SyncSchedule::Now {
            self.try_flush_metadata(state).await;
        }
        // Not `else`: the flush may have failed, and the changes are still pending.
        if let SyncSchedule::Later(wait) = state.metadata_sync.schedule(false, Instant::now())
            && !state.metadata_sync.has_timer
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            state.metadata_sync.has_timer = true;
            runtime.spawn(flush_metadata_later(self.weak_self.clone(), wait));
        }
    }

    /// Flushes pending metadata. An error does not fail an append: metadata may lag behind the log.
    async fn try_flush_metadata(&self, state: &mut LiveState) {
        if let Err(error) = self.flush_metadata(state).await {
            tracing::warn!(thread_id = %self.thread_id, %error, "metadata lags behind the log for now");
        }
    }

    /// Flushes pending metadata. It stays pending until the store has it.
    async fn flush_metadata(&self, state: &mut LiveState) -> Result<()> {
        let Some(patch) = state.metadata_sync.start_flush(Instant::now()) else { return Ok(()) };
        let update = || self.store.update_thread_metadata(self.thread_id, &patch, MetadataOrigin::Derived);
        let record = repeat_while_unknown!(update())?;
        state.metadata_sync.finish_flush();
        // The record of the store has facts that no item has: its location, and a name that another process set
        // meanwhile.
        state.fold.replace_thread(record);
        Ok(())
    }
}

/// How to give up the writer.
#[derive(Clone, Copy, Debug)]
enum CloseMode {
    Shutdown,
    Discard,
}

/// Flushes pending metadata after a time, and again after each failed attempt. Ends when nothing is pending any more.
///
/// It holds the handle only while it flushes, so a handle that all callers dropped is not kept alive.
async fn flush_metadata_later(thread: Weak<LiveThread>, mut wait: Duration) {
    loop {
        sleep(wait).await;
        // Without a handle there is nothing to do: the next writer derives the pending metadata from the log.
        let Some(thread) = thread.upgrade() else { return };
        let mut state = thread.state.lock().await;
        if state.is_closed || state.is_idle {
            state.metadata_sync.has_timer = false;
            return;
        }
        if state.metadata_sync.schedule(false, Instant::now()) == SyncSchedule::Now {
            thread.try_flush_metadata(&mut state).await;
        }
        match state.metadata_sync.schedule(false, Instant::now()) {
            SyncSchedule::Later(more) => wait = more,
            SyncSchedule::Idle | SyncSchedule::Now => {
                state.metadata_sync.has_timer = false;
                return;
            }
        }
    }
}

/// Releases the writer of a thread that had no call for this time, outside of a turn. Ends then, or when the handle is gone.
async fn give_up_when_idle(thread: Weak<LiveThread>, timeout: Duration) {
    let mut wait = timeout;
    loop {
        sleep(wait).await;
        let Some(thread) = thread.upgrade() else { return };
        let mut state = thread.state.lock().await;
        wait = timeout.saturating_sub(state.last_call.elapsed());
        if wait.is_zero() && !state.is_closed && !state.is_idle {
            thread.give_up(&mut state).await;
            wait = timeout;
        }
        if state.is_closed || state.is_idle {
            return;
        }
    }
}
