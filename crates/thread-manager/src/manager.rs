//! The manager: which threads are live, and the one door to all of them.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use selvedge_history::ModelContext;
use selvedge_protocol::{SessionMeta, StoredThread, ThreadId, ThreadMetadataPatch, Timestamp, TurnQuery, WindowId};
use selvedge_thread_store::{ForkThread, PatchOrigin, Result, RevertThread, StoreError, ThreadStore, TurnCut};
use tokio::sync::broadcast;
use tokio::task::JoinSet;

use crate::live::LiveThread;

/// How many created threads a subscriber may be behind before it misses some.
const CREATED_BACKLOG: usize = 256;

/// Starts, resumes, forks and rewinds threads over a store. Clones share the live threads.
#[derive(Clone, Debug)]
pub struct ThreadManager {
    store: Arc<dyn ThreadStore>,
    registry: Arc<Registry>,
}

/// The live threads of a manager.
#[derive(Debug)]
pub(crate) struct Registry {
    live: Mutex<HashMap<ThreadId, Arc<LiveThread>>>,
    created: broadcast::Sender<StoredThread>,
}

impl Registry {
    fn live(&self) -> MutexGuard<'_, HashMap<ThreadId, Arc<LiveThread>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn forget(&self, thread_id: ThreadId) {
        self.live().remove(&thread_id);
    }

    fn announce(&self, thread: StoredThread) {
        // That nobody listens is no failure.
        let _ = self.created.send(thread);
    }
}

/// A thread that was resumed, and what its model sees next.
#[derive(Clone, Debug)]
pub struct ResumedThread {
    /// The thread.
    pub live: Arc<LiveThread>,
    /// What its model sees next.
    pub context: ModelContext,
}

/// What to rewind a thread to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RewindTo {
    /// A place between two turns.
    Cut(TurnCut),
    /// The place before the newest turns: so many of them are undone, or all when there are fewer.
    Turns(u64),
}

/// What came of shutting down all live threads.
#[derive(Debug, Default)]
pub struct ShutdownReport {
    /// These are closed.
    pub closed: Vec<ThreadId>,
    /// These could not be closed and are still live.
    pub failed: Vec<(ThreadId, StoreError)>,
    /// These did not answer in time. What was appended to them is in the store all the same.
    pub timed_out: Vec<ThreadId>,
}

impl ShutdownReport {
    /// Whether every thread was closed.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failed.is_empty() && self.timed_out.is_empty()
    }
}

/// A thread that is being started: dropped before [`commit`](Self::commit), it is discarded, so that a start that fails half
/// way leaves no thread and no claim behind.
#[derive(Debug)]
pub struct StartingThread {
    live: Arc<LiveThread>,
    manager: ThreadManager,
    is_committed: bool,
}

impl StartingThread {
    /// The start went well: the thread is the manager's from now on, and subscribers hear of it.
    pub async fn commit(mut self) -> Arc<LiveThread> {
        let live = Arc::clone(&self.live);
        self.manager.registry.live().insert(live.id(), Arc::clone(&live));
        self.is_committed = true;
        self.manager.registry.announce(live.metadata().await);
        live
    }
}

impl Deref for StartingThread {
    type Target = LiveThread;

    fn deref(&self) -> &LiveThread {
        &self.live
    }
}

impl Drop for StartingThread {
    fn drop(&mut self) {
        if self.is_committed {
            return;
        }
        // Without a runtime the claim ends with the process.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let live = Arc::clone(&self.live);
        runtime.spawn(async move {
            if let Err(error) = live.discard().await {
                tracing::warn!(thread_id = %live.id(), %error, "cannot discard a thread whose start failed");
            }
        });
    }
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

impl ThreadManager {
    /// A manager of the threads of a store.
    #[must_use]
    pub fn new(store: Arc<dyn ThreadStore>) -> Self {
        let (created, _) = broadcast::channel(CREATED_BACKLOG);
        Self { store, registry: Arc::new(Registry { live: Mutex::default(), created }) }
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn ThreadStore> {
        &self.store
    }

    /// Starts a new thread. It is lazy: nobody sees it before its first append.
    ///
    /// # Errors
    /// As [`ThreadStore::create_thread`].
    pub async fn start(&self, meta: SessionMeta) -> Result<Arc<LiveThread>> {
        Ok(self.begin(meta).await?.commit().await)
    }

    /// Begins to start a new thread: for a start of several steps, of which any may fail.
    ///
    /// A window of its own is made where `meta` brings none along.
    ///
    /// # Errors
    /// As [`ThreadStore::create_thread`].
    pub async fn begin(&self, mut meta: SessionMeta) -> Result<StartingThread> {
        let thread_id = meta.id.ok_or_else(|| StoreError::invalid("a new thread needs an id"))?;
        if meta.window_id().is_none() {
            meta.context_window.get_or_insert_default().window_id = Some(WindowId::new(now()));
        }
        self.store.create_thread(meta.clone()).await?;
        let live = LiveThread::started(Arc::clone(&self.store), Arc::downgrade(&self.registry), &meta, thread_id);
        Ok(StartingThread { live, manager: self.clone(), is_committed: false })
    }

    /// Makes a cold thread live and loads what its model sees next.
    ///
    /// # Errors
    /// As [`ThreadStore::resume_thread`] and [`ThreadStore::load_model_context`]; the thread is cold then.
    pub async fn resume(&self, thread_id: ThreadId) -> Result<ResumedThread> {
        self.store.resume_thread(thread_id).await?;
        match self.load(thread_id).await {
            Ok(resumed) => {
                self.registry.live().insert(thread_id, Arc::clone(&resumed.live));
                Ok(resumed)
            }
            Err(error) => {
                if let Err(error) = self.store.discard(thread_id).await {
                    tracing::warn!(%thread_id, %error, "cannot give up a thread that could not be resumed");
                }
                Err(error)
            }
        }
    }

    async fn load(&self, thread_id: ThreadId) -> Result<ResumedThread> {
        let context = self.store.load_model_context(thread_id).await?;
        let row = self.store.read_thread(thread_id).await?;
        let live = LiveThread::resumed(Arc::clone(&self.store), Arc::downgrade(&self.registry), row, &context);
        Ok(ResumedThread { live, context })
    }

    /// Makes a new thread that begins with the history of another, and gives its row. The new thread is cold.
    ///
    /// # Errors
    /// As [`ThreadStore::fork`].
    pub async fn fork(&self, request: ForkThread) -> Result<StoredThread> {
        let fork = self.store.fork(request).await?;
        self.registry.announce(fork.clone());
        Ok(fork)
    }

    /// Undoes a thread's newest turns, live or cold, and gives its row.
    ///
    /// # Errors
    /// As [`ThreadStore::revert`].
    pub async fn rewind(&self, thread_id: ThreadId, to: RewindTo) -> Result<StoredThread> {
        let to = match to {
            RewindTo::Cut(cut) => cut,
            RewindTo::Turns(count) => self.cut_before_newest(thread_id, count).await?,
        };
        let request = RevertThread { thread_id, to, at: now() };
        match self.live(thread_id) {
            Some(live) => live.revert(request).await,
            None => self.store.revert(request).await,
        }
    }

    async fn cut_before_newest(&self, thread_id: ThreadId, count: u64) -> Result<TurnCut> {
        let Ok(limit @ 1..) = usize::try_from(count) else { return Ok(TurnCut::Latest) };
        let query = TurnQuery {
            direction: selvedge_protocol::SortDirection::Descending,
            limit,
            items_view: selvedge_protocol::ItemsView::None,
            ..TurnQuery::all(thread_id)
        };
        let turns = self.store.list_turns(&query).await?.items;
        Ok(turns.last().map_or(TurnCut::Latest, |turn| TurnCut::Before(turn.id.clone())))
    }

    /// A live thread of this manager.
    #[must_use]
    pub fn live(&self, thread_id: ThreadId) -> Option<Arc<LiveThread>> {
        self.registry.live().get(&thread_id).cloned()
    }

    /// A thread's row, live or cold. That of a live one is up to date with its last append.
    ///
    /// # Errors
    /// As [`ThreadStore::read_thread`].
    pub async fn thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        match self.live(thread_id) {
            Some(live) => Ok(live.metadata().await),
            None => self.store.read_thread(thread_id).await,
        }
    }

    /// Sets metadata of a thread, live or cold, and gives its row.
    ///
    /// # Errors
    /// As [`ThreadStore::update_metadata`].
    pub async fn update_metadata(&self, thread_id: ThreadId, patch: &ThreadMetadataPatch) -> Result<StoredThread> {
        match self.live(thread_id) {
            Some(live) => live.update_metadata(patch).await,
            None => self.store.update_metadata(thread_id, patch, PatchOrigin::Explicit).await,
        }
    }

    /// Archives a thread; a live one is closed first.
    ///
    /// # Errors
    /// As [`LiveThread::shutdown`] and [`ThreadStore::archive`].
    pub async fn archive(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.close(thread_id).await?;
        self.store.archive(thread_id).await
    }

    /// Brings a thread back from the archive; a live one is closed first.
    ///
    /// # Errors
    /// As [`LiveThread::shutdown`] and [`ThreadStore::unarchive`].
    pub async fn unarchive(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.close(thread_id).await?;
        self.store.unarchive(thread_id).await
    }

    /// Deletes a thread; a live one is closed first.
    ///
    /// # Errors
    /// As [`LiveThread::shutdown`] and [`ThreadStore::delete`].
    pub async fn delete(&self, thread_id: ThreadId) -> Result<()> {
        self.close(thread_id).await?;
        self.store.delete(thread_id).await
    }

    async fn close(&self, thread_id: ThreadId) -> Result<()> {
        match self.live(thread_id) {
            Some(live) => live.shutdown().await,
            None => Ok(()),
        }
    }

    /// Hears of every thread that is started or forked from now on. Who is too slow misses the oldest ones and is told so.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<StoredThread> {
        self.registry.created.subscribe()
    }

    /// Shuts all live threads down at once, and waits for them no longer than `timeout`.
    pub async fn shutdown_all(&self, timeout: Duration) -> ShutdownReport {
        let threads: Vec<Arc<LiveThread>> = self.registry.live().values().cloned().collect();
        let mut tasks = JoinSet::new();
        for thread in threads {
            tasks.spawn(async move {
                let outcome = tokio::time::timeout(timeout, thread.shutdown()).await;
                (thread.id(), outcome)
            });
        }
        let mut report = ShutdownReport::default();
        while let Some(joined) = tasks.join_next().await {
            match joined {
                Ok((thread_id, Ok(Ok(())))) => report.closed.push(thread_id),
                Ok((thread_id, Ok(Err(error)))) => report.failed.push((thread_id, error)),
                Ok((thread_id, Err(_))) => report.timed_out.push(thread_id),
                Err(error) => tracing::error!(%error, "a shutdown did not finish"),
            }
        }
        report.closed.sort_unstable();
        report.timed_out.sort_unstable();
        report
    }
}
