//! The live threads of a manager, and the notifications about new threads.
//!
//! A live thread removes itself from the registry when it is closed, so its file imports this one. To avoid a circle,
//! the registry does not know what a live thread is: `T` is the handle, and the id comes from the caller.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use selvedge_protocol::ThreadId;
use tokio::sync::broadcast;

/// How many notifications are kept for a slow subscriber. It loses the oldest ones beyond that and gets `Lagged`.
const CREATED_BACKLOG: usize = 256;

/// The live threads of a manager, by their ids.
#[derive(Debug)]
pub(crate) struct Registry<T> {
    live: Mutex<HashMap<ThreadId, Arc<T>>>,
    /// A lock for each thread that is being opened, so that it is opened once.
    opening: Mutex<HashMap<ThreadId, Weak<tokio::sync::Mutex<()>>>>,
    created: broadcast::Sender<ThreadId>,
    /// After how much time without a call a thread gives up its writer. `None`: never.
    idle_timeout: Mutex<Option<Duration>>,
}

impl<T> Registry<T> {
    pub(crate) fn new() -> Self {
        let (created, _) = broadcast::channel(CREATED_BACKLOG);
        Self { live: Mutex::default(), opening: Mutex::default(), created, idle_timeout: Mutex::default() }
    }

    pub(crate) fn idle_timeout(&self) -> Option<Duration> {
        *self.idle_timeout.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_idle_timeout(&self, time: Duration) {
        *self.idle_timeout.lock().unwrap_or_else(PoisonError::into_inner) = Some(time);
    }

    fn live(&self) -> MutexGuard<'_, HashMap<ThreadId, Arc<T>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the handle of a live thread. `None` if the thread is not live in this manager.
    pub(crate) fn get(&self, thread_id: ThreadId) -> Option<Arc<T>> {
        self.live().get(&thread_id).cloned()
    }

    /// Returns the lock under which a thread is opened. It exists as long as a caller has it.
    pub(crate) fn opening(&self, thread_id: ThreadId) -> Arc<tokio::sync::Mutex<()>> {
        let mut opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = opening.get(&thread_id).and_then(Weak::upgrade) {
            return lock;
        }
        opening.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::default();
        opening.insert(thread_id, Arc::downgrade(&lock));
        lock
    }

    /// Returns all live threads, in the order of their ids.
    pub(crate) fn all(&self) -> Vec<(ThreadId, Arc<T>)> {
        let mut all: Vec<_> = self.live().iter().map(|(id, thread)| (*id, Arc::clone(thread))).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }

    pub(crate) fn add(&self, thread_id: ThreadId, thread: &Arc<T>) {
        self.live().insert(thread_id, Arc::clone(thread));
    }

    /// Removes a thread that was closed. If the same thread was resumed meanwhile, its new handle stays.
    pub(crate) fn remove(&self, thread_id: ThreadId, thread: &T) {
        let mut live = self.live();
        if live.get(&thread_id).is_some_and(|known| std::ptr::eq(&**known, thread)) {
            live.remove(&thread_id);
        }
    }

    /// Notifies all subscribers of a new thread.
    pub(crate) fn announce(&self, thread_id: ThreadId) {
        // An error means that there is no subscriber.
        let _ = self.created.send(thread_id);
    }

    /// Returns a receiver of the ids of all threads that are announced from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<ThreadId> {
        self.created.subscribe()
    }
}
