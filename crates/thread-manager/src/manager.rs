//! The manager: starts, resumes, forks and rewinds threads, and changes their metadata.
//!
//! Calls that create or claim something run to completion even if their future is dropped (`run_to_completion`).
//! Otherwise a dropped call could leave a claim in the store that no handle belongs to, and nothing would give it up.

use std::sync::Arc;
use std::time::Duration;

use selvedge_history::{ModelContext, head_identity, new_head};
use selvedge_protocol::{StoredThread, ThreadId, ThreadMetadataPatch, TurnBoundary};
use selvedge_thread_store::{
    BatchId, ForkThread, LineStart, MetadataOrigin, Result, RevertThread, StoreError, ThreadStore, TracedStore,
};
use tokio::runtime::Handle;
use tokio::sync::broadcast;

use crate::clock::now;
use crate::completion::run_to_completion;
use crate::derived_record::derive_record;
use crate::follow::ThreadFollower;
use crate::live::LiveThread;
use crate::lost_answer::repeat_while_unknown;
use crate::new_head::complete_head;
use crate::new_thread::NewThread;
use crate::registry::Registry;
use crate::starting::StartingThread;
use crate::timer::with_timeout;

/// Starts, resumes, forks and rewinds threads over a store. Clones share the live threads.
#[derive(Clone, Debug)]
pub struct ThreadManager {
    store: Arc<dyn ThreadStore>,
    registry: Arc<Registry<LiveThread>>,
}

/// A thread that was resumed, and what its model sees next.
#[derive(Clone, Debug)]
pub struct ResumedThread {
    /// The handle of the thread.
    pub live: Arc<LiveThread>,
    /// What the model sees next.
    pub context: ModelContext,
}

/// The result of shutting down all live threads.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// The threads that are closed.
    pub closed: Vec<ThreadId>,
    /// The threads whose shutdown failed. They are still live.
    pub failed: Vec<(ThreadId, StoreError)>,
    /// The threads whose shutdown took longer than the timeout. It continues, and they may be closed later. The items
    /// that were appended to them are in the store in any case.
    pub timed_out: Vec<ThreadId>,
}

impl ShutdownReport {
    /// Returns whether every thread was closed.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failed.is_empty() && self.timed_out.is_empty()
    }

    /// Adds the outcome of one shutdown. `None` if it took longer than the timeout.
    fn add(&mut self, thread_id: ThreadId, outcome: Option<Result<()>>) {
        match outcome {
            Some(Ok(())) => self.closed.push(thread_id),
            Some(Err(error)) => self.failed.push((thread_id, error)),
            None => self.timed_out.push(thread_id),
        }
    }
}

impl ThreadManager {
    /// Creates a manager of the threads of a store.
    #[must_use]
    pub fn new(store: Arc<dyn ThreadStore>) -> Self {
        let store: Arc<dyn ThreadStore> = Arc::new(TracedStore::new(store));
        Self { store, registry: Arc::new(Registry::new()) }
    }

    /// Lets threads give up their writer after this much time without a call, outside of a turn. By default none does.
    ///
    /// Another process can write the thread then. The handle stays valid, and is still among the live threads: the next call
    /// that needs the writer claims it again, and reads what was added meanwhile. That call fails with `Conflict` if another
    /// process writes the thread. A thread without a log, and a turn that is open, are not given up.
    ///
    /// It holds for the threads that are started, resumed or used from now on, by all clones of the manager.
    #[must_use]
    pub fn with_idle_timeout(self, time: Duration) -> Self {
        self.registry.set_idle_timeout(time);
        self
    }

    /// Returns the store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn ThreadStore> {
        &self.store
    }

    /// Starts a new thread. It is lazy: no other process sees it before its first append, or before
    /// [`persist`](LiveThread::persist).
    ///
    /// What `thread` does not contain is added, as by [`begin`](Self::begin).
    ///
    /// # Errors
    /// The errors of [`ThreadStore::create_thread`].
    pub async fn start(&self, thread: impl Into<NewThread>) -> Result<Arc<LiveThread>> {
        Ok(self.begin(thread).await?.commit().await)
    }

    /// Begins the start of a new thread that takes several steps, of which any may fail.
    ///
    /// What `thread` does not contain is added: an id, the time, paginated mode, a context window of its own, and the
    /// originator, version and working directory of this process. Other programs do not open a rollout without the
    /// last three.
    ///
    /// # Errors
    /// The errors of [`ThreadStore::create_thread`].
    #[tracing::instrument(level = "debug", skip_all, err(level = "debug"))]
    pub async fn begin(&self, thread: impl Into<NewThread>) -> Result<StartingThread> {
        let (meta, settings) = thread.into().into_parts();
        let meta = complete_head(new_head(meta)?);
        let (thread_id, _) = head_identity(&meta)?;
        let manager = self.clone();
        run_to_completion(async move {
            let create = || manager.store.create_thread(meta.clone());
            // If the thread had existed before the first call, that call would have failed. So a repeat that finds it
            // finds what the first call created.
            let is_ours = |error| match error {
                StoreError::AlreadyExists { .. } => Ok(()),
                error => Err(error),
            };
            repeat_while_unknown!(create(), is_ours)?;
            let (store, registry) = (Arc::clone(&manager.store), Arc::downgrade(&manager.registry));
            Ok(manager.starting(LiveThread::started(store, registry, &meta, thread_id, settings)))
        })
        .await
    }

    fn starting(self, live: Arc<LiveThread>) -> StartingThread {
        StartingThread::new(live, self.registry)
    }

    /// Makes a cold thread live and loads what its model sees next.
    ///
    /// # Errors
    /// The errors of [`ThreadStore::resume_thread`] and
    /// [`ThreadReader::load_model_context`](selvedge_thread_store::ThreadReader::load_model_context). The thread is
    /// cold then.
    #[tracing::instrument(level = "debug", skip_all, fields(%thread_id), err(level = "debug"))]
    pub async fn resume(&self, thread_id: ThreadId) -> Result<ResumedThread> {
        // A handle that gave up its writer claims it again, instead of a second handle.
        if let Some(live) = self.live(thread_id)
            && live.claim_again().await?
        {
            let context = self.store.load_model_context(thread_id).await?;
            return Ok(ResumedThread { live, context });
        }
        // If this future is dropped, the task still claims the thread. Nothing takes the outcome then, and dropping it
        // ends the claim.
        let manager = self.clone();
        let (starting, context) = run_to_completion(manager.claim(thread_id)).await?;
        Ok(ResumedThread { live: starting.hand_over(), context })
    }

    /// Returns the handle of a thread: the live one, or a new one of a cold thread. Any number of callers at the same
    /// moment get the same handle.
    ///
    /// # Errors
    /// The errors of [`resume`](Self::resume). `Conflict` means that another process writes the thread. In a database it may have
    /// died: its claim then ends after [`Holder::held_for`](selvedge_thread_store::Holder::held_for), and the call succeeds.
    #[tracing::instrument(level = "debug", skip_all, fields(%thread_id), err(level = "debug"))]
    pub async fn open(&self, thread_id: ThreadId) -> Result<Arc<LiveThread>> {
        let lock = self.registry.opening(thread_id);
        let _opening = lock.lock().await;
        // A handle that is closed at this moment is waited for: `is_open` takes its lock.
        if let Some(live) = self.live(thread_id)
            && live.is_open().await
        {
            live.claim_again().await?;
            return Ok(live);
        }
        Ok(self.resume(thread_id).await?.live)
    }

    /// Returns a stream of what is added to a thread from a position on, whoever writes it: lines, rewinds, and the end.
    ///
    /// The stream repeats what failed and may work later. It ends if the thread is deleted, and at once if there is no such thread:
    /// one that another process has [started](Self::start) is there from its first append on.
    pub fn follow(&self, thread_id: ThreadId, from: LineStart) -> ThreadFollower {
        ThreadFollower::new(Arc::clone(&self.store), thread_id, from)
    }

    /// Sets the name of a thread, live or cold, and returns its record. An empty name clears it.
    ///
    /// # Errors
    /// As [`update_metadata`](Self::update_metadata).
    #[tracing::instrument(level = "debug", skip_all, fields(%thread_id), err(level = "debug"))]
    pub async fn rename(&self, thread_id: ThreadId, name: &str) -> Result<StoredThread> {
        let patch = ThreadMetadataPatch::default();
        let patch = if name.is_empty() { patch.clear_name() } else { patch.set_name(name) };
        self.update_metadata(thread_id, &patch).await
    }

    /// Claims a cold thread and loads it. The claim ends when the returned thread is dropped without being handed over.
    async fn claim(self, thread_id: ThreadId) -> Result<(StartingThread, ModelContext)> {
        // Claim first, read second. So no other writer can change the thread after it was read.
        let resume = || self.store.resume_thread(thread_id);
        let is_ours = |error| match error {
            StoreError::Conflict { .. } => Ok(()),
            error => Err(error),
        };
        repeat_while_unknown!(resume(), is_ours)?;
        // From here on this manager holds the claim, so every way out must give it up or hand it over.
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
        let derived = derive_record(&*self.store, thread_id).await?;
        let (store, registry) = (Arc::clone(&self.store), Arc::downgrade(&self.registry));
        let live = LiveThread::resumed(store, registry, derived, &context);
        Ok((live, context))
    }

    /// Creates a new thread that begins with the history of another, and returns its id. The new thread is cold.
    ///
    /// It gets a new id and the present time, unless the request has them.
    ///
    /// # Errors
    /// The errors of [`ThreadStore::fork_thread`].
    #[tracing::instrument(level = "debug", skip_all, fields(source = %request.source), err(level = "debug"))]
    pub async fn fork(&self, mut request: ForkThread) -> Result<ThreadId> {
        let at = *request.meta.timestamp.get_or_insert_with(now);
        request.meta.id.get_or_insert_with(|| ThreadId::new(at));
        let manager = self.clone();
        run_to_completion(async move {
            // To completion, so that a fork that exists is always announced.
            let fork_id = request.meta.id;
            let fork = || manager.store.fork_thread(request.clone());
            let is_ours = |error| match (error, fork_id) {
                (StoreError::AlreadyExists { thread_id }, Some(fork_id)) if thread_id == fork_id => Ok(fork_id),
                (error, _) => Err(error),
            };
            let fork = repeat_while_unknown!(fork(), is_ours)?;
            manager.registry.announce(fork);
            Ok(fork)
        })
        .await
    }

    /// Undoes the newest turns of a thread, live or cold, and returns how many they were:
    /// [`BeforeNewest(1)`](TurnBoundary::BeforeNewest) undoes the last one.
    ///
    /// The record and the trackers of a live thread are read from the store when they are next needed.
    ///
    /// # Errors
    /// The errors of [`ThreadStore::revert_thread`].
    #[tracing::instrument(level = "debug", skip_all, fields(%thread_id), err(level = "debug"))]
    pub async fn rewind(&self, thread_id: ThreadId, to: TurnBoundary) -> Result<usize> {
        let to = match to {
            // No turn is undone, so the store need not look for a position.
            TurnBoundary::BeforeNewest(0) => TurnBoundary::Latest,
            to => to,
        };
        if let Some(live) = self.live(thread_id)
            && let Some(outcome) = unless_closed(live.rewind(to.clone()).await)
        {
            return outcome;
        }
        let request = RevertThread { thread_id, to, batch: BatchId::generate() };
        repeat_while_unknown!(self.store.revert_thread(request.clone()))
    }

    /// Returns a live thread. `None` if the thread is not live in this manager.
    #[must_use]
    pub fn live(&self, thread_id: ThreadId) -> Option<Arc<LiveThread>> {
        self.registry.get(thread_id)
    }

    /// Returns the thread record of a thread, live or cold. The record of a live thread is as new as its last append.
    ///
    /// # Errors
    /// The errors of [`ThreadReader::read_thread`](selvedge_thread_store::ThreadReader::read_thread).
    #[tracing::instrument(level = "debug", skip_all, fields(%thread_id), err(level = "debug"))]
    pub async fn thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        match self.live(thread_id) {
            Some(live) => Ok(live.metadata().await),
            None => self.store.read_thread(thread_id).await,
        }
    }

    /// Sets metadata of a thread, live or cold, and returns its record. A lazy thread becomes visible.
    ///
    /// # Errors
    /// The errors of [`ThreadStore::update_thread_metadata`].
    #[tracing::instrument(level = "debug", skip_all, fields(%thread_id), err(level = "debug"))]
    pub async fn update_metadata(&self, thread_id: ThreadId, patch: &ThreadMetadataPatch) -> Result<StoredThread> {
        if let Some(live) = self.live(thread_id)
            && let Some(outcome) = unless_closed(live.update_metadata(patch).await)
        {
            return outcome;
        }
        let update = || self.store.update_thread_metadata(thread_id, patch, MetadataOrigin::Explicit);
        repeat_while_unknown!(update())
    }

    /// Archives a thread and returns its record. A live thread is shut down first; a lazy thread becomes visible.
    ///
    /// # Errors
    /// The errors of [`LiveThread::shutdown`] and [`ThreadStore::archive_thread`].
    #[tracing::instrument(level = "debug", skip_all, fields(%thread_id), err(level = "debug"))]
    pub async fn archive(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.make_cold(thread_id).await?;
        repeat_while_unknown!(self.store.archive_thread(thread_id))
    }

    /// Brings a thread back from the archive and returns its record. A live thread is shut down first, as by
    /// [`archive`](Self::archive).
    ///
    /// # Errors
    /// The errors of [`LiveThread::shutdown`] and [`ThreadStore::unarchive_thread`].
    #[tracing::instrument(level = "debug", skip_all, fields(%thread_id), err(level = "debug"))]
    pub async fn unarchive(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.make_cold(thread_id).await?;
        repeat_while_unknown!(self.store.unarchive_thread(thread_id))
    }

    /// Deletes a thread. A live thread is shut down first.
    ///
    /// # Errors
    /// The errors of [`LiveThread::shutdown`] and [`ThreadStore::delete_thread`].
    #[tracing::instrument(level = "debug", skip_all, fields(%thread_id), err(level = "debug"))]
    pub async fn delete(&self, thread_id: ThreadId) -> Result<()> {
        let is_deleted = |error| match error {
            StoreError::NotFound { .. } => Ok(()),
            error => Err(error),
        };
        let delete = || self.store.delete_thread(thread_id);
        let Some(live) = self.live(thread_id) else { return repeat_while_unknown!(delete(), is_deleted) };
        // The store deletes cold threads only. The shutdown waits for calls that are in progress.
        live.shutdown().await?;
        match repeat_while_unknown!(delete(), is_deleted) {
            // The thread was lazy, so the shutdown has removed it.
            Err(StoreError::NotFound { .. }) => Ok(()),
            outcome => outcome,
        }
    }

    /// Copies the whole history of a cold thread that builds on others into the thread, and returns its record.
    ///
    /// A live thread is a conflict: its writer has to shut it down.
    ///
    /// # Errors
    /// The errors of [`ThreadStore::detach_thread`].
    #[tracing::instrument(level = "debug", skip_all, fields(%thread_id), err(level = "debug"))]
    pub async fn detach(&self, thread_id: ThreadId) -> Result<StoredThread> {
        repeat_while_unknown!(self.store.detach_thread(thread_id))
    }

    /// Shuts a live thread down in such a way that the thread exists afterwards, even if it was lazy.
    async fn make_cold(&self, thread_id: ThreadId) -> Result<()> {
        let Some(live) = self.live(thread_id) else { return Ok(()) };
        // The shutdown of a lazy thread removes it, and a caller that archives it expects to find it in the archive.
        unless_closed(live.persist().await).transpose()?;
        live.shutdown().await
    }

    /// Returns a receiver of the ids of all threads that are started or forked from now on.
    ///
    /// [`thread`](Self::thread) returns the record that belongs to an id. A slow receiver loses the oldest ids and gets
    /// `Lagged`.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<ThreadId> {
        self.registry.subscribe()
    }

    /// Shuts down all live threads at the same time, and waits no longer than `timeout`. A shutdown that takes longer
    /// continues. Outside of a Tokio runtime they are shut down one after another, each for no longer than `timeout`.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn shutdown_all(&self, timeout: Duration) -> ShutdownReport {
        let shut_down = |thread: Arc<LiveThread>| async move { with_timeout(timeout, thread.shutdown()).await };
        let mut report = ShutdownReport::default();
        let Ok(runtime) = Handle::try_current() else {
            for (thread_id, thread) in self.registry.all() {
                report.add(thread_id, shut_down(thread).await);
            }
            return report;
        };
        // One task per thread, started before any is awaited: the timeouts run at the same time, so all of this takes
        // one timeout, however many threads hang.
        let start = |(thread_id, thread)| (thread_id, runtime.spawn(shut_down(thread)));
        let tasks: Vec<_> = self.registry.all().into_iter().map(start).collect();
        for (thread_id, task) in tasks {
            let failed = |error| Some(Err(StoreError::backend("a shutdown did not finish", error)));
            report.add(thread_id, task.await.unwrap_or_else(failed));
        }
        report
    }
}

/// Returns the outcome of a call on a live thread. `None` if the thread was closed before the call, so that it is cold
/// now.
///
/// The thread may be closed between the lookup and the call. The caller then makes the call for a cold thread.
fn unless_closed<T>(outcome: Result<T>) -> Option<Result<T>> {
    match outcome {
        Err(StoreError::NotFound { live: true, .. }) => None,
        outcome => Some(outcome),
    }
}
