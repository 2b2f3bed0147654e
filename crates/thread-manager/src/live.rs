//! A thread that an agent is writing.

use std::borrow::Cow;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use selvedge_history::{
    ContextWindowTracker, MetadataFold, ModelContext, TokenBudget, WorldStateTracker, is_persisted,
};
use selvedge_protocol::{
    Compacted, ContextWindow, EventMsg, HistoryMode, ResponseItem, RolloutItem, SessionMeta, StoredThread, ThreadId,
    ThreadMetadataPatch, Timestamp, WorldState,
};
use selvedge_thread_store::{
    Appended, BatchId, MetadataOrigin, Result, RevertThread, StoreError, ThreadStore, TurnBoundary,
};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::manager::Registry;
use crate::metadata_sync::{Due, MetadataSync};
use crate::task::{is_unknown, run_to_completion, settle};
use crate::timer::sleep;
use crate::unobserved::observed_row;

/// A thread that is live in a store: the handle by which an agent records it.
///
/// All methods may be called from any task; they take effect one after another. A handle that is dropped loses nothing that
/// was acknowledged. A call whose future is dropped has taken effect as a whole or not at all; which of the two, the next
/// call reads from the store before it does anything, and fails if the store cannot say. An append that was dropped, or whose
/// answer stayed lost, can be repeated with the same items: it takes effect once.
#[derive(Debug)]
pub struct LiveThread {
    thread_id: ThreadId,
    mode: HistoryMode,
    store: Arc<dyn ThreadStore>,
    registry: Weak<Registry>,
    this: Weak<LiveThread>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    fold: MetadataFold,
    touches: MetadataSync,
    world_state: WorldStateTracker,
    window: ContextWindowTracker,
    /// Whether the store may know more than this state: a call was dropped while the store was at work on it, or what it
    /// came to was not read yet.
    is_behind: bool,
    /// A batch of which it is not known whether it is in the log, because the call was dropped or its answer stayed lost. The
    /// same items again are the same batch.
    unsettled: Option<(BatchId, Vec<RolloutItem>)>,
    is_closed: bool,
}

/// Notes a batch as unsettled if the call that appends it is dropped.
struct Unsettled<'a> {
    state: &'a mut State,
    batch: BatchId,
    items: &'a [RolloutItem],
    is_settled: bool,
}

impl Drop for Unsettled<'_> {
    fn drop(&mut self) {
        if !self.is_settled {
            self.state.unsettled = Some((self.batch, self.items.to_vec()));
        }
    }
}

impl State {
    /// A new thread, of which its head says all that is known.
    fn new(head: &SessionMeta, thread_id: ThreadId) -> Self {
        let at = head.timestamp.unwrap_or_default();
        let mut fold = MetadataFold::new(thread_id, at);
        fold.observe(&head.clone().into(), Some(at));
        Self {
            fold,
            touches: MetadataSync::default(),
            world_state: WorldStateTracker::new(),
            window: ContextWindowTracker::new(ContextWindow::first(head.window_id())),
            is_behind: false,
            unsettled: None,
            is_closed: false,
        }
    }

    /// A thread that is gone on with.
    fn resumed(row: StoredThread, untold: ThreadMetadataPatch, context: &ModelContext) -> Self {
        Self {
            fold: MetadataFold::resume(row),
            touches: MetadataSync::of(untold),
            world_state: WorldStateTracker::restored(context.world_state.clone()),
            window: ContextWindowTracker::new(context.window),
            is_behind: false,
            unsettled: None,
            is_closed: false,
        }
    }
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

impl LiveThread {
    pub(crate) fn started(
        store: Arc<dyn ThreadStore>,
        registry: Weak<Registry>,
        head: &SessionMeta,
        thread_id: ThreadId,
    ) -> Arc<Self> {
        Self::new(store, registry, thread_id, head.mode(), State::new(head, thread_id))
    }

    pub(crate) fn resumed(
        store: Arc<dyn ThreadStore>,
        registry: Weak<Registry>,
        row: StoredThread,
        untold: ThreadMetadataPatch,
        context: &ModelContext,
    ) -> Arc<Self> {
        Self::new(store, registry, row.id, row.history_mode, State::resumed(row, untold, context))
    }

    fn new(
        store: Arc<dyn ThreadStore>,
        registry: Weak<Registry>,
        thread_id: ThreadId,
        mode: HistoryMode,
        state: State,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Self { thread_id, mode, store, registry, this: this.clone(), state: Mutex::new(state) })
    }

    /// The thread.
    #[must_use]
    pub fn id(&self) -> ThreadId {
        self.thread_id
    }

    /// How its log is kept.
    #[must_use]
    pub fn mode(&self) -> HistoryMode {
        self.mode
    }

    /// Appends items, without those that the persistence policy keeps out of the log, as one batch.
    ///
    /// When it returns, they are in the store as [`ThreadStore::append_items`] promises. That their facts could not be
    /// told does not make it fail; they are told at the next occasion, and [`flush`](Self::flush) says if that fails, too.
    ///
    /// # Errors
    /// As [`ThreadStore::append_items`]; nothing was appended then, and the same call can be repeated.
    pub async fn append(&self, items: &[RolloutItem]) -> Result<Appended> {
        let mut state = self.open_state().await?;
        self.append_locked(&mut state, items).await
    }

    /// Appends what the model is told about its surroundings, and behind it, in the same batch, the record of `current`, if
    /// that changed: whole when the model was told nothing in this window yet, as a patch otherwise. A compaction among the
    /// items begins a window of its own; behind a rollback all is told, since only the log knows what that goes back to.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub async fn append_context(&self, items: &[RolloutItem], current: &WorldState) -> Result<Appended> {
        let mut state = self.open_state().await?;
        let mut world_state = state.world_state.clone();
        items.iter().for_each(|item| hear(&mut world_state, item));
        let record = world_state.record(current);
        let batch: Vec<RolloutItem> = items.iter().cloned().chain(record.map(RolloutItem::WorldState)).collect();
        self.append_locked(&mut state, &batch).await
    }

    /// Appends a compaction: from now on the model sees `replacement_history`, in a new window. What it was told about its
    /// surroundings is forgotten, so the next [`append_context`](Self::append_context) tells all of it.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub async fn compact(&self, message: &str, replacement_history: Vec<ResponseItem>) -> Result<ContextWindow> {
        let mut state = self.open_state().await?;
        let window = state.window.clone().compact(now());
        let compacted = Compacted::new(message, replacement_history, window);
        self.append_locked(&mut state, &[compacted.into()]).await?;
        Ok(window)
    }

    /// The context window that the thread is in.
    pub async fn window(&self) -> ContextWindow {
        self.settled_state().await.window.current()
    }

    /// What to tell the model of the window that the thread is in, and of how many tokens are left, if that is known. It is
    /// appended by the caller, as any message.
    pub async fn token_budget(&self, tokens_left: Option<u64>) -> TokenBudget {
        TokenBudget::new(self.thread_id, &self.window().await, tokens_left)
    }

    /// What the model was told about its surroundings; nothing when it has to be told all of it.
    pub async fn world_state(&self) -> Option<WorldState> {
        self.settled_state().await.world_state.baseline().cloned()
    }

    /// The thread's row, with what was not told to the store yet.
    pub async fn metadata(&self) -> StoredThread {
        self.settled_state().await.fold.thread().clone()
    }

    /// Whether the thread was not closed yet.
    pub(crate) async fn is_open(&self) -> bool {
        !self.state.lock().await.is_closed
    }

    /// Makes a thread visible that nothing was appended to yet.
    ///
    /// # Errors
    /// As [`ThreadStore::persist_thread`].
    pub async fn persist(&self) -> Result<()> {
        let _state = self.open_state().await?;
        settle!(self.store.persist_thread(self.thread_id))
    }

    /// A barrier: everything that was appended before is as durable as the store makes it, and its facts are told.
    ///
    /// # Errors
    /// As [`ThreadStore::flush_thread`] and [`ThreadStore::update_thread_metadata`].
    pub async fn flush(&self) -> Result<()> {
        let mut state = self.open_state().await?;
        self.flush_locked(&mut state).await
    }

    /// As [`flush`](Self::flush), and everything that was appended before survives a power loss, whatever the store's level.
    ///
    /// # Errors
    /// As [`ThreadStore::sync_thread`] and [`ThreadStore::update_thread_metadata`].
    pub async fn sync(&self) -> Result<()> {
        // Not under the lock: others append while the medium is waited for.
        drop(self.open_state().await?);
        settle!(self.store.sync_thread(self.thread_id))?;
        self.tell(&mut *self.open_state().await?).await
    }

    /// Flushes and gives up the writer. The thread is cold afterwards, and gone when nothing was ever appended. A second call
    /// does nothing. Once begun it goes on, also when its future is dropped.
    ///
    /// # Errors
    /// As [`flush`](Self::flush); the thread is still live then.
    pub async fn shutdown(&self) -> Result<()> {
        let this = self.this()?;
        run_to_completion(async move { this.close(CloseBy::Shutdown).await }).await
    }

    /// Gives up the writer without further ado; a thread that nothing was appended to leaves no trace. Once begun it goes
    /// on, also when its future is dropped.
    ///
    /// # Errors
    /// As [`ThreadStore::discard_thread`].
    pub async fn discard(&self) -> Result<()> {
        let this = self.this()?;
        run_to_completion(async move { this.close(CloseBy::Discard).await }).await
    }

    /// Sets metadata explicitly. A thread that nothing was appended to is made visible by it.
    pub(crate) async fn update_metadata(&self, patch: &ThreadMetadataPatch) -> Result<StoredThread> {
        let mut state = self.open_state().await?;
        if patch.is_empty() {
            return Ok(state.fold.thread().clone());
        }
        settle!(self.store.persist_thread(self.thread_id))?;
        self.tell(&mut state).await?;
        state.is_behind = true;
        // A patch is literal: applied twice, it says the same.
        let update = || self.store.update_thread_metadata(self.thread_id, patch, MetadataOrigin::Explicit);
        let outcome = settle!(update());
        state.is_behind = matches!(&outcome, Err(error) if is_unknown(error));
        let row = outcome?;
        state.fold = MetadataFold::resume(row.clone());
        Ok(row)
    }

    /// Undoes the newest turns and says how many they were. The trackers and the row go back with them when they are next
    /// asked for: that costs more than going back.
    pub(crate) async fn rewind(&self, to: TurnBoundary) -> Result<usize> {
        let mut state = self.unclosed_state().await?;
        self.flush_locked(&mut state).await?;
        let was_behind = std::mem::replace(&mut state.is_behind, true);
        let request = RevertThread { thread_id: self.thread_id, to, batch: BatchId::generate() };
        let outcome = settle!(self.store.revert_thread(request.clone()));
        state.is_behind = was_behind
            || match &outcome {
                Ok(undone) => *undone > 0,
                Err(error) => is_unknown(error),
            };
        outcome
    }

    /// The handle that everybody shares. It is there as long as anybody can call.
    fn this(&self) -> Result<Arc<Self>> {
        self.this.upgrade().ok_or(StoreError::not_live(self.thread_id))
    }

    async fn close(&self, by: CloseBy) -> Result<()> {
        let mut state = self.state.lock().await;
        if state.is_closed {
            return Ok(());
        }
        let outcome = match by {
            CloseBy::Shutdown => self.shutdown_locked(&mut state).await,
            CloseBy::Discard => settle!(self.store.discard_thread(self.thread_id)),
        };
        match outcome {
            // The store let go of it before; there is nothing left to be given up.
            Ok(()) | Err(StoreError::NotFound { live: true, .. }) => {}
            Err(error) => return Err(error),
        }
        state.is_closed = true;
        if let Some(registry) = self.registry.upgrade() {
            registry.forget(self);
        }
        Ok(())
    }

    async fn shutdown_locked(&self, state: &mut State) -> Result<()> {
        self.flush_locked(state).await?;
        settle!(self.store.shutdown_thread(self.thread_id))
    }

    /// The state of an open thread, as the store knows it.
    async fn open_state(&self) -> Result<MutexGuard<'_, State>> {
        let mut state = self.unclosed_state().await?;
        if state.is_behind {
            self.catch_up(&mut state).await?;
        }
        Ok(state)
    }

    /// The state of an open thread, whether or not the store knows more.
    async fn unclosed_state(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.state.lock().await;
        if state.is_closed { Err(StoreError::not_live(self.thread_id)) } else { Ok(state) }
    }

    /// The state, as the store knows it if the store will say.
    async fn settled_state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().await;
        if state.is_behind && !state.is_closed {
            self.try_to_catch_up(&mut state).await;
        }
        state
    }

    async fn append_locked(&self, state: &mut State, items: &[RolloutItem]) -> Result<Appended> {
        let items = self.persisted(items);
        let batch = match state.unsettled.take() {
            Some((batch, unsettled)) if unsettled[..] == items[..] => batch,
            _ => BatchId::generate(),
        };
        let appended = self.append_batch(state, batch, &items).await?;
        if items.is_empty() {
            return Ok(appended);
        }
        let at = now();
        let mut is_news = false;
        for item in items.iter() {
            is_news |= state.touches.add(state.fold.observe(item, Some(at)));
            state.is_behind |= !follow(state, item);
        }
        if state.is_behind {
            self.try_to_catch_up(state).await;
        }
        self.touch(state, is_news).await;
        Ok(appended)
    }

    /// Appends a batch, once, however often its answer is lost.
    async fn append_batch(&self, state: &mut State, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
        let mut unsettled = Unsettled { state, batch, items, is_settled: false };
        unsettled.state.is_behind = true;
        let outcome = settle!(self.store.append_items(self.thread_id, batch, items));
        if matches!(&outcome, Err(error) if is_unknown(error)) {
            return outcome;
        }
        unsettled.is_settled = true;
        unsettled.state.is_behind = false;
        outcome
    }

    /// The items that belong into the log.
    fn persisted<'a>(&self, items: &'a [RolloutItem]) -> Cow<'a, [RolloutItem]> {
        if items.iter().all(|item| is_persisted(item, self.mode)) {
            return Cow::Borrowed(items);
        }
        items.iter().filter(|item| is_persisted(item, self.mode)).cloned().collect()
    }

    async fn flush_locked(&self, state: &mut State) -> Result<()> {
        settle!(self.store.flush_thread(self.thread_id))?;
        self.tell(state).await
    }

    /// Reads the trackers' state and the row anew from the store.
    async fn catch_up(&self, state: &mut State) -> Result<()> {
        // While it is not known what the model was told, it has to be told all of it.
        state.world_state.clear();
        // Whatever the store was at work on is in the log when it has flushed.
        settle!(self.store.flush_thread(self.thread_id))?;
        let context = match self.store.load_model_context(self.thread_id).await {
            // Nothing was appended yet, and the thread is what its head says.
            Err(StoreError::NotFound { live: false, .. }) => {
                state.is_behind = false;
                return Ok(());
            }
            outcome => outcome?,
        };
        let (mut row, untold) = observed_row(&*self.store, self.thread_id).await?;
        state.touches.add(untold);
        state.touches.apply(&mut row);
        state.fold = MetadataFold::resume(row);
        state.world_state = WorldStateTracker::restored(context.world_state);
        state.window = ContextWindowTracker::new(context.window);
        state.is_behind = false;
        Ok(())
    }

    /// Catches up with the store, or leaves that to the next call.
    async fn try_to_catch_up(&self, state: &mut State) {
        if let Err(error) = self.catch_up(state).await {
            tracing::warn!(thread_id = %self.thread_id, %error, "cannot read what a change came to for now");
        }
    }

    /// Tells what is due, and sees to it that the rest will be told.
    async fn touch(&self, state: &mut State, is_news: bool) {
        if state.touches.due(is_news, Instant::now()) == Due::Now {
            self.try_to_tell(state).await;
        }
        if let Due::Later(wait) = state.touches.due(false, Instant::now())
            && !state.touches.timer_runs
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            state.touches.timer_runs = true;
            runtime.spawn(tell_later(self.this.clone(), wait));
        }
    }

    /// Tells the store what is pending. Failing that is no failure of an append: metadata may lag behind the log.
    async fn try_to_tell(&self, state: &mut State) {
        if let Err(error) = self.tell(state).await {
            tracing::warn!(thread_id = %self.thread_id, %error, "metadata lags behind the log for now");
        }
    }

    /// Tells the store what is pending. It stays pending until the store has taken it.
    async fn tell(&self, state: &mut State) -> Result<()> {
        let Some(patch) = state.touches.begin(Instant::now()) else { return Ok(()) };
        let update = || self.store.update_thread_metadata(self.thread_id, &patch, MetadataOrigin::Derived);
        let row = settle!(update())?;
        state.touches.clear();
        // The store knows what no item says: where the thread is kept, and what others named it meanwhile.
        state.fold = MetadataFold::resume(row);
        Ok(())
    }
}

/// How a writer is given up.
#[derive(Clone, Copy, Debug)]
enum CloseBy {
    Shutdown,
    Discard,
}

/// Lets the trackers follow an item that was appended, and says whether they could: what a rollback goes back to, and the
/// window of a compaction that names none, are known from the whole log only.
fn follow(state: &mut State, item: &RolloutItem) -> bool {
    hear(&mut state.world_state, item);
    match item {
        RolloutItem::Compacted(compacted) => {
            let Some(number) = compacted.window_number else { return false };
            state.window = ContextWindowTracker::new(ContextWindow {
                number,
                first_window_id: compacted.first_window_id,
                previous_window_id: compacted.previous_window_id,
                window_id: compacted.window_id,
            });
        }
        RolloutItem::EventMsg(EventMsg::ThreadRolledBack(_)) => return false,
        _ => {}
    }
    true
}

/// Lets a tracker hear what the model is told by an item, and what it forgets. What a rollback goes back to is not in it.
fn hear(tracker: &mut WorldStateTracker, item: &RolloutItem) {
    match item {
        RolloutItem::WorldState(record) => *tracker = told(tracker, record),
        RolloutItem::Compacted(_) | RolloutItem::EventMsg(EventMsg::ThreadRolledBack(_)) => tracker.clear(),
        _ => {}
    }
}

/// What the model has been told after a record that was appended.
fn told(tracker: &WorldStateTracker, record: &selvedge_protocol::WorldStateRecord) -> WorldStateTracker {
    let value = record.state.clone().unwrap_or_default();
    let baseline = if record.is_full() {
        WorldState::new(value).ok()
    } else {
        tracker.baseline().cloned().and_then(|mut baseline| {
            baseline.apply(&selvedge_protocol::WorldStatePatch::new(value).ok()?);
            Some(baseline)
        })
    };
    WorldStateTracker::restored(baseline)
}

/// Tells what is pending when its time has come, and again after each time that this fails.
async fn tell_later(thread: Weak<LiveThread>, mut wait: Duration) {
    loop {
        sleep(wait).await;
        let Some(thread) = thread.upgrade() else { return };
        let mut state = thread.state.lock().await;
        if state.is_closed {
            return;
        }
        if state.touches.due(false, Instant::now()) == Due::Now {
            thread.try_to_tell(&mut state).await;
        }
        match state.touches.due(false, Instant::now()) {
            Due::Later(more) => wait = more,
            Due::Nothing | Due::Now => {
                state.touches.timer_runs = false;
                return;
            }
        }
    }
}
