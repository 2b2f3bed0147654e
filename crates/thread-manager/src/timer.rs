//! Waiting for a time, in any runtime.
//!
//! Tokio makes timers only where they are asked for, panics where they are missing, and does not say beforehand. These come from
//! a thread of their own, which is there while somebody waits. The time is that of Tokio's clock, which a test can put on.

use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

/// As good as for ever.
const LONG: Duration = Duration::from_secs(365 * 24 * 3600);

/// When somebody is to be woken, by the clock of the system, and which of those who wait for that time.
type Place = (std::time::Instant, u64);

#[derive(Debug)]
struct Timers {
    state: Mutex<State>,
    /// Somebody waits for a time that is earlier than the first was.
    is_earlier: Condvar,
}

#[derive(Debug)]
struct State {
    waiting: BTreeMap<Place, Waker>,
    count: u64,
    is_running: bool,
}

static TIMERS: Timers = Timers {
    state: Mutex::new(State { waiting: BTreeMap::new(), count: 0, is_running: false }),
    is_earlier: Condvar::new(),
};

impl Timers {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&'static self, time: Duration, waker: &Waker) -> Place {
        let mut state = self.state();
        state.count += 1;
        let now = std::time::Instant::now();
        let place = (now.checked_add(time).unwrap_or(now + LONG), state.count);
        let is_earlier = state.waiting.first_key_value().is_none_or(|(first, _)| place < *first);
        state.waiting.insert(place, waker.clone());
        if !state.is_running {
            let thread = std::thread::Builder::new().name("selvedge-timers".to_owned()).spawn(|| self.run());
            match thread {
                Ok(_) => state.is_running = true,
                // The next one who waits tries again.
                Err(error) => tracing::warn!(%error, "nobody is woken when a time has come"),
            }
        } else if is_earlier {
            self.is_earlier.notify_one();
        }
        place
    }

    fn run(&self) {
        let mut state = self.state();
        loop {
            let Some((&(time, _), _)) = state.waiting.first_key_value() else {
                state.is_running = false;
                return;
            };
            let left = time.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                let (_, waker) = state.waiting.pop_first().unzip();
                drop(state);
                waker.into_iter().for_each(Waker::wake);
                state = self.state();
            } else {
                state = self.is_earlier.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}

/// Wakes all who wait for a time, to look whether it has come: for tests that put Tokio's clock on.
#[doc(hidden)]
pub fn wake_timers() {
    let waiting = std::mem::take(&mut TIMERS.state().waiting);
    waiting.into_values().for_each(Waker::wake);
}

/// Waits for so long.
pub(crate) fn sleep(time: Duration) -> Sleep {
    let now = Instant::now();
    Sleep { until: now.checked_add(time).unwrap_or(now + LONG), place: None }
}

/// Waits for work, but no longer than this; nothing if it took longer, and was dropped.
pub(crate) async fn within<T>(time: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut sleep = sleep(time);
    std::future::poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Pin::new(&mut sleep).poll(context).map(|()| None),
    })
    .await
}

/// Waits for a time.
#[derive(Debug)]
pub(crate) struct Sleep {
    until: Instant,
    place: Option<Place>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.leave();
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Poll::Ready(());
        }
        self.place = Some(TIMERS.wait(left, context.waker()));
        Poll::Pending
    }
}

impl Sleep {
    fn leave(&mut self) {
        if let Some(place) = self.place.take() {
            TIMERS.state().waiting.remove(&place);
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.leave();
    }
}
