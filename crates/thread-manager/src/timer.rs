//! Timers that work in any Tokio runtime.
//!
//! A Tokio runtime has timers only if it was built with them. Without them `tokio::time::sleep` panics, and nothing
//! reports beforehand whether they exist. So the timers here come from a thread of this crate, which runs only while a
//! timer is registered.
//!
//! Two clocks are involved. A deadline counts in Tokio's clock, which a test can stop and advance. The thread waits by
//! the system's clock. A timer that wakes too early by Tokio's clock registers again for the rest.
//!
//! ```text
//!               poll: time is left                the thread: its time has come
//! unregistered ────────────────────> registered ────────────────────────────────> woken, unregistered
//!      ^                                 │                                               │
//!      └────── poll again, or drop ──────┘                             poll again ───────┘
//! ```

use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

/// Used for a deadline that the clock cannot express.
const FAR_FUTURE: Duration = Duration::from_secs(365 * 24 * 3600);

/// The system time at which to wake a timer, and a number that distinguishes timers of the same time.
///
/// No key is used twice. So removing a key that the thread has removed already does nothing, instead of removing
/// another timer.
type TimerKey = (std::time::Instant, u64);

/// All timers of the process, and the thread that wakes them.
#[derive(Debug)]
struct TimerService {
    queue: Mutex<TimerQueue>,
    /// Notified when a timer is registered that comes before all others, since the thread waits for a later one.
    earlier_timer: Condvar,
}

#[derive(Debug)]
struct TimerQueue {
    wakers: BTreeMap<TimerKey, Waker>,
    /// How many timers were registered since the process started.
    registered: u64,
    /// Whether the thread runs. It changes only under the lock of the queue.
    has_thread: bool,
}

static TIMERS: TimerService = TimerService {
    queue: Mutex::new(TimerQueue { wakers: BTreeMap::new(), registered: 0, has_thread: false }),
    earlier_timer: Condvar::new(),
};

impl TimerService {
    fn queue(&self) -> MutexGuard<'_, TimerQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a timer and starts the thread if it does not run.
    fn register(&'static self, time: Duration, waker: &Waker) -> TimerKey {
        let mut queue = self.queue();
        queue.registered += 1;
        let now = std::time::Instant::now();
        let key = (now.checked_add(time).unwrap_or(now + FAR_FUTURE), queue.registered);
        let is_earliest = queue.wakers.first_key_value().is_none_or(|(first, _)| key < *first);
        queue.wakers.insert(key, waker.clone());
        if !queue.has_thread {
            let thread = std::thread::Builder::new().name("selvedge-timers".to_owned()).spawn(|| self.run());
            match thread {
                Ok(_) => queue.has_thread = true,
                // The timer stays registered. The next timer that is registered tries to start the thread again.
                Err(error) => tracing::warn!(%error, "cannot start the thread that wakes timers"),
            }
        } else if is_earliest {
            self.earlier_timer.notify_one();
        }
        key
    }

    /// The thread: wakes each timer when its time has come, and ends when no timer is left.
    fn run(&self) {
        let mut queue = self.queue();
        loop {
            let Some((&(time, _), _)) = queue.wakers.first_key_value() else {
                // Still under the lock: the next call of `register` sees that it has to start a thread.
                queue.has_thread = false;
                return;
            };
            let left = time.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                let (_, waker) = queue.wakers.pop_first().unzip();
                // Not under the lock: waking runs code of the runtime, which may drop a timer, and that takes the lock.
                drop(queue);
                waker.into_iter().for_each(Waker::wake);
                queue = self.queue();
            } else {
                queue = self.earlier_timer.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}

/// Wakes all timers, so that each checks whether its deadline has passed: for tests that advance Tokio's clock.
#[doc(hidden)]
pub fn wake_timers() {
    let wakers = std::mem::take(&mut TIMERS.queue().wakers);
    wakers.into_values().for_each(Waker::wake);
}

/// Returns a future that is ready after this time.
pub(crate) fn sleep(time: Duration) -> Sleep {
    let now = Instant::now();
    Sleep { deadline: now.checked_add(time).unwrap_or(now + FAR_FUTURE), key: None }
}

/// Waits for work, but no longer than this time. `None` if the work took longer; it is dropped then.
pub(crate) async fn with_timeout<T>(time: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut sleep = sleep(time);
    std::future::poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Pin::new(&mut sleep).poll(context).map(|()| None),
    })
    .await
}

/// A future that is ready at a deadline.
#[derive(Debug)]
pub(crate) struct Sleep {
    deadline: Instant,
    /// The key of the registered timer. Its waker may have been called already.
    key: Option<TimerKey>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // The waker may differ from that of the last poll, so each poll registers again.
        self.unregister();
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Poll::Ready(());
        }
        self.key = Some(TIMERS.register(left, context.waker()));
        Poll::Pending
    }
}

impl Sleep {
    fn unregister(&mut self) {
        if let Some(key) = self.key.take() {
            TIMERS.queue().wakers.remove(&key);
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.unregister();
    }
}
