//! The manager: which threads are live, and the one door to all of them.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use selvedge_history::{ModelContext, head_identity, new_head};
use selvedge_protocol::{SessionMeta, StoredThread, ThreadId, ThreadMetadataPatch, Timestamp, WindowId};
use selvedge_thread_store::{
    BatchId, ForkThread, MetadataOrigin, Result, RevertThread, StoreError, ThreadStore, TurnBoundary,
};
use tokio::sync::broadcast;

use crate::live::LiveThread;
use crate::task::{run_to_completion, settle};
use crate::timer::within;
use crate::unobserved::observed_row;

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
    created: broadcast::Sender<ThreadId>,
}

impl Registry {
    fn live(&self) -> MutexGuard<'_, HashMap<ThreadId, Arc<LiveThread>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, thread: &Arc<LiveThread>) {
        self.live().insert(thread.id(), Arc::clone(thread));
    }

    /// Forgets a thread that was closed, but not another handle by which the same thread was resumed since.
    pub(crate) fn forget(&self, thread: &LiveThread) {
        let mut live = self.live();
        if live.get(&thread.id()).is_some_and(|known| std::ptr::eq(&**known, thread)) {
            live.remove(&thread.id());
        }
    }

    fn announce(&self, thread_id: ThreadId) {
        // That nobody listens is no failure.
        let _ = self.created.send(thread_id);
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
    Cut(TurnBoundary),
    /// The place before the newest turns: so many of them are undone, or all when there are fewer.
    Turns(u64),
}

impl From<RewindTo> for TurnBoundary {
    fn from(to: RewindTo) -> Self {
        match to {
            RewindTo::Cut(cut) => cut,
            RewindTo::Turns(0) => Self::Latest,
            RewindTo::Turns(count) => Self::BeforeNewest(count),
        }
    }
}

/// What came of shutting down all live threads.
#[derive(Debug, Default)]
pub struct ShutdownReport {
    /// These are closed.
    pub closed: Vec<ThreadId>,
    /// These could not be closed and are still live.
    pub failed: Vec<(ThreadId, StoreError)>,
    /// These did not answer in time; they may be closed later. What was appended to them is in the store all the same.
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
/// way leaves no claim behind, and no thread if nothing was appended to it. What was appended stays, as a cold thread.
#[derive(Debug)]
pub struct StartingThread {
    live: Arc<LiveThread>,
    manager: ThreadManager,
    is_committed: bool,
}

impl StartingThread {
    /// The start went well: the thread is the manager's from now on, and subscribers hear of it.
    pub async fn commit(self) -> Arc<LiveThread> {
        let is_open = self.live.is_open().await;
        let manager = self.manager.clone();
        let live = self.take_over();
        if is_open {
            manager.registry.announce(live.id());
        } else {
            // It was shut down or discarded before: there is nothing to hear of.
            manager.registry.forget(&live);
        }
        live
    }

    /// Makes the thread the manager's.
    fn take_over(mut self) -> Arc<LiveThread> {
        self.is_committed = true;
        self.manager.registry.add(&self.live);
        Arc::clone(&self.live)
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

/// The head of a new thread with all that a rollout's first line must say.
fn complete(mut meta: SessionMeta) -> SessionMeta {
    meta.originator.get_or_insert_with(|| "selvedge".to_owned());
    meta.cli_version.get_or_insert_with(|| env!("CARGO_PKG_VERSION").to_owned());
    meta.cwd.get_or_insert_with(|| {
        let cwd = std::env::current_dir().unwrap_or_else(|_| "/".into());
        cwd.to_string_lossy().into_owned()
    });
    if meta.window_id().is_none() {
        meta.context_window.get_or_insert_default().window_id = Some(WindowId::new(now()));
    }
    meta
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
    /// What `meta` does not say is added: paginated mode, a window of its own, and originator, version and working directory
    /// of this process, without which other programs do not open a rollout.
    ///
    /// # Errors
    /// As [`ThreadStore::create_thread`].
    pub async fn begin(&self, meta: SessionMeta) -> Result<StartingThread> {
        let meta = complete(new_head(meta)?);
        let (thread_id, _) = head_identity(&meta)?;
        let manager = self.clone();
        run_to_completion(async move {
            let create = || manager.store.create_thread(meta.clone());
            let is_ours = |error| match error {
                // It was not there when the first call was made, or that would have said so.
                StoreError::AlreadyExists { .. } => Ok(()),
                error => Err(error),
            };
            settle!(create(), is_ours)?;
            let (store, registry) = (Arc::clone(&manager.store), Arc::downgrade(&manager.registry));
            Ok(manager.starting(LiveThread::started(store, registry, &meta, thread_id)))
        })
        .await
    }

    fn starting(self, live: Arc<LiveThread>) -> StartingThread {
        StartingThread { live, manager: self, is_committed: false }
    }

    /// Makes a cold thread live and loads what its model sees next.
    ///
    /// # Errors
    /// As [`ThreadStore::resume_thread`] and [`ThreadReader::load_model_context`](selvedge_thread_store::ThreadReader::load_model_context); the thread is cold then.
    pub async fn resume(&self, thread_id: ThreadId) -> Result<ResumedThread> {
        let manager = self.clone();
        let (starting, context) = run_to_completion(manager.claim(thread_id)).await?;
        Ok(ResumedThread { live: starting.take_over(), context })
    }

    /// Claims a cold thread and loads it. The claim ends with what is returned, unless it is taken over.
    async fn claim(self, thread_id: ThreadId) -> Result<(StartingThread, ModelContext)> {
        let resume = || self.store.resume_thread(thread_id);
        let is_ours = |error| match error {
            StoreError::Conflict { .. } => Ok(()),
            error => Err(error),
        };
        settle!(resume(), is_ours)?;
        match self.load(thread_id).await {
            Ok((live, context)) => Ok((self.starting(live), context)),
            Err(error) => {
                if let Err(error) = self.store.discard_thread(thread_id).await {
                    tracing::warn!(%thread_id, %error, "cannot give up a thread that could not be resumed");
                }
                Err(error)
            }
        }
    }

    async fn load(&self, thread_id: ThreadId) -> Result<(Arc<LiveThread>, ModelContext)> {
        let context = self.store.load_model_context(thread_id).await?;
        let (row, untold) = observed_row(&*self.store, thread_id).await?;
        let (store, registry) = (Arc::clone(&self.store), Arc::downgrade(&self.registry));
        let live = LiveThread::resumed(store, registry, row, untold, &context);
        Ok((live, context))
    }

    /// Makes a new thread that begins with the history of another, and gives its id. The new thread is cold.
    ///
    /// # Errors
    /// As [`ThreadStore::fork_thread`].
    pub async fn fork(&self, request: ForkThread) -> Result<ThreadId> {
        let manager = self.clone();
        run_to_completion(async move {
            let fork_id = request.meta.id;
            let fork = || manager.store.fork_thread(request.clone());
            let is_made = |error| match (error, fork_id) {
                (StoreError::AlreadyExists { thread_id }, Some(fork_id)) if thread_id == fork_id => Ok(fork_id),
                (error, _) => Err(error),
            };
            let fork = settle!(fork(), is_made)?;
            manager.registry.announce(fork);
            Ok(fork)
        })
        .await
    }

    /// Undoes a thread's newest turns, live or cold, and says how many they were. What that makes of the row and the trackers
    /// of a live thread, its next call reads.
    ///
    /// # Errors
    /// As [`ThreadStore::revert_thread`].
    pub async fn rewind(&self, thread_id: ThreadId, to: RewindTo) -> Result<usize> {
        let to = TurnBoundary::from(to);
        if let Some(live) = self.live(thread_id)
            && let Some(outcome) = unless_closed(live.rewind(to.clone()).await)
        {
            return outcome;
        }
        let request = RevertThread { thread_id, to, batch: BatchId::generate() };
        settle!(self.store.revert_thread(request.clone()))
    }

    /// A live thread of this manager.
    #[must_use]
    pub fn live(&self, thread_id: ThreadId) -> Option<Arc<LiveThread>> {
        self.registry.live().get(&thread_id).cloned()
    }

    /// A thread's row, live or cold. That of a live one is up to date with its last append.
    ///
    /// # Errors
    /// As [`ThreadReader::read_thread`](selvedge_thread_store::ThreadReader::read_thread).
    pub async fn thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        match self.live(thread_id) {
            Some(live) => Ok(live.metadata().await),
            None => self.store.read_thread(thread_id).await,
        }
    }

    /// Sets metadata of a thread, live or cold, and gives its row. A live thread that nothing was appended to is made
    /// visible by it.
    ///
    /// # Errors
    /// As [`ThreadStore::update_thread_metadata`].
    pub async fn update_metadata(&self, thread_id: ThreadId, patch: &ThreadMetadataPatch) -> Result<StoredThread> {
        if let Some(live) = self.live(thread_id)
            && let Some(outcome) = unless_closed(live.update_metadata(patch).await)
        {
            return outcome;
        }
        let update = || self.store.update_thread_metadata(thread_id, patch, MetadataOrigin::Explicit);
        settle!(update())
    }

    /// Archives a thread. A live one is closed first, and made visible if nothing was appended to it.
    ///
    /// # Errors
    /// As [`LiveThread::shutdown`] and [`ThreadStore::archive_thread`].
    pub async fn archive(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.make_cold(thread_id).await?;
        settle!(self.store.archive_thread(thread_id))
    }

    /// Brings a thread back from the archive. A live one is closed first, as by [`archive`](Self::archive).
    ///
    /// # Errors
    /// As [`LiveThread::shutdown`] and [`ThreadStore::unarchive_thread`].
    pub async fn unarchive(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.make_cold(thread_id).await?;
        settle!(self.store.unarchive_thread(thread_id))
    }

    /// Deletes a thread; a live one is closed first.
    ///
    /// # Errors
    /// As [`LiveThread::shutdown`] and [`ThreadStore::delete_thread`].
    pub async fn delete(&self, thread_id: ThreadId) -> Result<()> {
        let is_gone = |error| match error {
            StoreError::NotFound { .. } => Ok(()),
            error => Err(error),
        };
        let delete = || self.store.delete_thread(thread_id);
        let Some(live) = self.live(thread_id) else { return settle!(delete(), is_gone) };
        live.shutdown().await?;
        match settle!(delete(), is_gone) {
            // Nothing was ever appended to it, so it went with its writer.
            Err(StoreError::NotFound { .. }) => Ok(()),
            outcome => outcome,
        }
    }

    /// Gives a cold thread that builds on others a history of its own, and gives its row. A live one is a conflict: it is for
    /// whoever writes it to close it.
    ///
    /// # Errors
    /// As [`ThreadStore::detach_thread`].
    pub async fn detach(&self, thread_id: ThreadId) -> Result<StoredThread> {
        settle!(self.store.detach_thread(thread_id))
    }

    /// Closes a live thread in such a way that it is still there.
    async fn make_cold(&self, thread_id: ThreadId) -> Result<()> {
        let Some(live) = self.live(thread_id) else { return Ok(()) };
        unless_closed(live.persist().await).transpose()?;
        live.shutdown().await
    }

    /// Hears of every thread that is started or forked from now on, by its id; [`thread`](Self::thread) has its row. Who is
    /// too slow misses the oldest ones and is told so.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<ThreadId> {
        self.registry.created.subscribe()
    }

    /// Shuts all live threads down at once, and waits for them no longer than `timeout`. A shutdown that takes longer goes
    /// on.
    pub async fn shutdown_all(&self, timeout: Duration) -> ShutdownReport {
        let mut threads: Vec<Arc<LiveThread>> = self.registry.live().values().cloned().collect();
        threads.sort_unstable_by_key(|thread| thread.id());
        let tasks: Vec<_> = threads
            .into_iter()
            .map(|thread| {
                let thread_id = thread.id();
                (thread_id, tokio::spawn(async move { within(timeout, thread.shutdown()).await }))
            })
            .collect();
        let mut report = ShutdownReport::default();
        for (thread_id, task) in tasks {
            match task.await {
                Ok(Some(Ok(()))) => report.closed.push(thread_id),
                Ok(Some(Err(error))) => report.failed.push((thread_id, error)),
                Ok(None) => report.timed_out.push(thread_id),
                Err(error) => report.failed.push((thread_id, StoreError::backend("a shutdown did not finish", error))),
            }
        }
        report
    }
}

/// The outcome of a call on a live thread; none when the thread was closed before, so that it is cold now.
fn unless_closed<T>(outcome: Result<T>) -> Option<Result<T>> {
    match outcome {
        Err(StoreError::NotFound { live: true, .. }) => None,
        outcome => Some(outcome),
    }
}
