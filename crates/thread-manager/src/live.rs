//! A thread that an agent is writing.

use std::borrow::Cow;
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use selvedge_history::{MetadataFold, ModelContext, WindowTracker, WorldStateTracker, is_persisted};
use selvedge_protocol::{
    Compacted, EventMsg, HistoryMode, ResponseItem, RolloutItem, SessionMeta, StoredThread, ThreadId,
    ThreadMetadataPatch, Timestamp, Window, WorldState,
};
use selvedge_thread_store::{Appended, PatchOrigin, Result, RevertThread, StoreError, ThreadStore};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::manager::Registry;
use crate::touch::{Due, Touches};

/// A thread that is live in a store: the handle by which an agent records it.
///
/// All methods may be called from any task; they take effect one after another. A handle that is dropped loses nothing that
/// was acknowledged.
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
    touches: Touches,
    world_state: WorldStateTracker,
    window: WindowTracker,
    /// Whether the store knows the thread: not before its first append.
    is_stored: bool,
    is_closed: bool,
}

impl State {
    /// A new thread, of which its head says all that is known.
    fn new(head: &SessionMeta, thread_id: ThreadId) -> Self {
        let at = head.timestamp.unwrap_or_default();
        let mut fold = MetadataFold::new(thread_id, at);
        fold.observe(&head.clone().into(), Some(at));
        Self {
            fold,
            touches: Touches::default(),
            world_state: WorldStateTracker::new(),
            window: WindowTracker::new(Window::first(head.window_id())),
            is_stored: false,
            is_closed: false,
        }
    }

    /// A thread that is gone on with.
    fn resumed(row: StoredThread, context: &ModelContext) -> Self {
        Self {
            fold: MetadataFold::resume(row),
            touches: Touches::default(),
            world_state: WorldStateTracker::restored(context.world_state.clone()),
            window: WindowTracker::new(context.window),
            is_stored: true,
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
        context: &ModelContext,
    ) -> Arc<Self> {
        Self::new(store, registry, row.id, row.history_mode, State::resumed(row, context))
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
    /// that changed: whole when the model was told nothing in this window yet, as a patch otherwise.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub async fn append_context(&self, items: &[RolloutItem], current: &WorldState) -> Result<Appended> {
        let mut state = self.open_state().await?;
        let record = state.world_state.clone().record(current);
        let batch: Vec<RolloutItem> = items.iter().cloned().chain(record.map(RolloutItem::WorldState)).collect();
        self.append_locked(&mut state, &batch).await
    }

    /// Appends a compaction: from now on the model sees `replacement_history`, in a new window. What it was told about its
    /// surroundings is forgotten, so the next [`append_context`](Self::append_context) tells all of it.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub async fn compact(&self, message: &str, replacement_history: Vec<ResponseItem>) -> Result<Window> {
        let mut state = self.open_state().await?;
        let window = state.window.clone().compact(now());
        let compacted = Compacted::new(message, replacement_history, window);
        self.append_locked(&mut state, &[compacted.into()]).await?;
        Ok(window)
    }

    /// The context window that the thread is in.
    pub async fn window(&self) -> Window {
        self.state.lock().await.window.current()
    }

    /// What the model was told about its surroundings; nothing when it has to be told all of it.
    pub async fn world_state(&self) -> Option<WorldState> {
        self.state.lock().await.world_state.baseline().cloned()
    }

    /// The thread's row, with what was not told to the store yet.
    pub async fn metadata(&self) -> StoredThread {
        self.state.lock().await.fold.thread().clone()
    }

    /// Makes a thread visible that nothing was appended to yet.
    ///
    /// # Errors
    /// As [`ThreadStore::persist`].
    pub async fn persist(&self) -> Result<()> {
        let mut state = self.open_state().await?;
        self.persist_locked(&mut state).await
    }

    /// A barrier: everything that was appended before is as durable as the store makes it, and its facts are told.
    ///
    /// # Errors
    /// As [`ThreadStore::flush`] and [`ThreadStore::update_metadata`].
    pub async fn flush(&self) -> Result<()> {
        let mut state = self.open_state().await?;
        self.flush_locked(&mut state).await
    }

    /// Flushes and gives up the writer. The thread is cold afterwards, and gone when nothing was ever appended. A second call
    /// does nothing.
    ///
    /// # Errors
    /// As [`flush`](Self::flush); the thread is still live then.
    pub async fn shutdown(&self) -> Result<()> {
        let mut state = self.state.lock().await;
        if state.is_closed {
            return Ok(());
        }
        self.flush_locked(&mut state).await?;
        self.store.shutdown(self.thread_id).await?;
        self.close(&mut state);
        Ok(())
    }

    /// Gives up the writer without further ado; a thread that nothing was appended to leaves no trace.
    ///
    /// # Errors
    /// As [`ThreadStore::discard`].
    pub async fn discard(&self) -> Result<()> {
        let mut state = self.state.lock().await;
        if state.is_closed {
            return Ok(());
        }
        self.store.discard(self.thread_id).await?;
        self.close(&mut state);
        Ok(())
    }

    /// Sets metadata explicitly. A thread that nothing was appended to is made visible by it.
    pub(crate) async fn update_metadata(&self, patch: &ThreadMetadataPatch) -> Result<StoredThread> {
        let mut state = self.open_state().await?;
        self.persist_locked(&mut state).await?;
        self.tell(&mut state).await?;
        let row = self.store.update_metadata(self.thread_id, patch, PatchOrigin::Explicit).await?;
        state.fold = MetadataFold::resume(row.clone());
        Ok(row)
    }

    /// Undoes the newest turns. The trackers go back with them.
    pub(crate) async fn revert(&self, request: RevertThread) -> Result<StoredThread> {
        let mut state = self.open_state().await?;
        self.flush_locked(&mut state).await?;
        let row = self.store.revert(request).await?;
        self.restore(&mut state).await?;
        Ok(row)
    }

    async fn open_state(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.state.lock().await;
        if state.is_closed { Err(StoreError::not_live(self.thread_id)) } else { Ok(state) }
    }

    async fn append_locked(&self, state: &mut State, items: &[RolloutItem]) -> Result<Appended> {
        let items = self.persisted(items);
        let appended = self.store.append_items(self.thread_id, &items).await?;
        if items.is_empty() {
            return Ok(appended);
        }
        state.is_stored = true;
        let at = now();
        let mut is_news = false;
        let mut was_rolled_back = false;
        for item in items.iter() {
            is_news |= state.touches.add(state.fold.observe(item, Some(at)));
            was_rolled_back |= follow(state, item);
        }
        if was_rolled_back {
            // What was before the undone turns is in the log alone. Failing to read it must not fail the append: a
            // baseline that is forgotten only makes the next record a whole one.
            if let Err(error) = self.restore(state).await {
                tracing::warn!(thread_id = %self.thread_id, %error, "cannot go back to the context before a rollback");
            }
        }
        self.touch(state, is_news).await;
        Ok(appended)
    }

    /// The items that belong into the log.
    fn persisted<'a>(&self, items: &'a [RolloutItem]) -> Cow<'a, [RolloutItem]> {
        if items.iter().all(|item| is_persisted(item, self.mode)) {
            return Cow::Borrowed(items);
        }
        items.iter().filter(|item| is_persisted(item, self.mode)).cloned().collect()
    }

    async fn persist_locked(&self, state: &mut State) -> Result<()> {
        self.store.persist(self.thread_id).await?;
        state.is_stored = true;
        Ok(())
    }

    async fn flush_locked(&self, state: &mut State) -> Result<()> {
        self.store.flush(self.thread_id).await?;
        self.tell(state).await
    }

    /// Reads the trackers' state and the row anew from the store.
    async fn restore(&self, state: &mut State) -> Result<()> {
        state.world_state.clear();
        let context = self.store.load_model_context(self.thread_id).await?;
        state.world_state = WorldStateTracker::restored(context.world_state);
        state.window = WindowTracker::new(context.window);
        state.fold = MetadataFold::resume(self.store.read_thread(self.thread_id).await?);
        state.touches.clear();
        Ok(())
    }

    /// Tells what is due, or sees to it that it will be told.
    async fn touch(&self, state: &mut State, is_news: bool) {
        match state.touches.due(is_news, Instant::now()) {
            Due::Nothing => {}
            Due::Now => self.try_to_tell(state).await,
            Due::Later(wait) if !state.touches.timer_runs => {
                if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                    state.touches.timer_runs = true;
                    runtime.spawn(tell_later(self.this.clone(), wait));
                }
            }
            Due::Later(_) => {}
        }
    }

    /// Tells the store what is pending. Failing that is no failure of an append: metadata may lag behind the log.
    async fn try_to_tell(&self, state: &mut State) {
        if let Err(error) = self.tell(state).await {
            tracing::warn!(thread_id = %self.thread_id, %error, "metadata lags behind the log for now");
        }
    }

    /// Tells the store what is pending.
    async fn tell(&self, state: &mut State) -> Result<()> {
        if !state.is_stored {
            return Ok(());
        }
        let Some(patch) = state.touches.take(Instant::now()) else { return Ok(()) };
        match self.store.update_metadata(self.thread_id, &patch, PatchOrigin::Observed).await {
            Ok(_) => Ok(()),
            Err(error) => {
                state.touches.put_back(patch);
                Err(error)
            }
        }
    }

    fn close(&self, state: &mut State) {
        state.is_closed = true;
        if let Some(registry) = self.registry.upgrade() {
            registry.forget(self.thread_id);
        }
    }
}

/// Lets the trackers follow an item that was appended, and says whether it undid turns.
fn follow(state: &mut State, item: &RolloutItem) -> bool {
    match item {
        RolloutItem::Compacted(compacted) => {
            state.world_state.clear();
            let window = state.window.current();
            state.window = WindowTracker::new(Window {
                number: compacted.window_number.unwrap_or(window.number + 1),
                first_window_id: compacted.first_window_id,
                previous_window_id: compacted.previous_window_id,
                window_id: compacted.window_id,
            });
        }
        RolloutItem::WorldState(record) => state.world_state = told(&state.world_state, record),
        RolloutItem::EventMsg(EventMsg::ThreadRolledBack(_)) => return true,
        _ => {}
    }
    false
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

async fn tell_later(thread: Weak<LiveThread>, wait: std::time::Duration) {
    tokio::time::sleep(wait).await;
    let Some(thread) = thread.upgrade() else { return };
    let mut state = thread.state.lock().await;
    state.touches.timer_runs = false;
    if !state.is_closed {
        thread.try_to_tell(&mut state).await;
    }
}
