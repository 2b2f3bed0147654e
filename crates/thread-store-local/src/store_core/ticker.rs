//! Wake-ups for callers that wait for changes of other processes.
//!
//! They come from a thread of its own and not from the timers of a runtime. So a store works in any runtime, and any number of
//! waiters cost one thread. Without waiters there is no thread.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::limits::TICK;

/// Wakes all waiters at every tick, and whenever this store writes.
#[derive(Debug, Default)]
pub(crate) struct Ticker {
    wakes: watch::Sender<WakeCounts>,
    state: Mutex<TickerState>,
}

/// How many wake-ups of each kind there were. A waiter compares the counts, so a slow one misses no write.
#[derive(Clone, Copy, Debug, Default)]
struct WakeCounts {
    ticks: u64,
    writes: u64,
}

#[derive(Debug, Default)]
struct TickerState {
    waiters: usize,
    is_running: bool,
}

/// Why a waiter was woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// Time has passed.
    Tick,
    /// This store wrote something.
    Written,
}

impl Ticker {
    /// Registers a waiter. It is woken by what happens from now on. The first waiter starts the thread.
    pub(crate) fn subscribe(self: &Arc<Self>) -> Ticks {
        let mut state = self.state();
        state.waiters += 1;
        if !std::mem::replace(&mut state.is_running, true) {
            let ticker = Arc::clone(self);
            std::thread::spawn(move || ticker.run());
        }
        let mut wakes = self.wakes.subscribe();
        let seen_writes = wakes.borrow_and_update().writes;
        Ticks { wakes, seen_writes, ticker: Arc::clone(self) }
    }

    /// Wakes the waiters because this store wrote something. Costs next to nothing while there are none.
    pub(crate) fn notify_written(&self) {
        if self.wakes.receiver_count() > 0 {
            self.wakes.send_modify(|counts| counts.writes += 1);
        }
    }

    fn run(&self) {
        loop {
            std::thread::sleep(TICK);
            let mut state = self.state();
            // Under the same lock as `subscribe`: a new waiter either is counted here, or finds `is_running` false.
            if state.waiters == 0 {
                state.is_running = false;
                return;
            }
            drop(state);
            self.wakes.send_modify(|counts| counts.ticks += 1);
        }
    }

    fn state(&self) -> MutexGuard<'_, TickerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The wake-ups of one waiter.
#[derive(Debug)]
pub(crate) struct Ticks {
    wakes: watch::Receiver<WakeCounts>,
    seen_writes: u64,
    ticker: Arc<Ticker>,
}

impl Ticks {
    /// Waits for the next wake-up.
    pub(crate) async fn next(&mut self) -> Wake {
        // This fails only without a sender, and the sender is in the ticker that this waiter holds.
        let _ = self.wakes.changed().await;
        let writes = self.wakes.borrow_and_update().writes;
        if std::mem::replace(&mut self.seen_writes, writes) == writes { Wake::Tick } else { Wake::Written }
    }
}

impl Drop for Ticks {
    fn drop(&mut self) {
        self.ticker.state().waiters -= 1;
    }
}
