//! Ticks for those who wait for what other processes do.
//!
//! They come from a thread of its own and not from the timers of a runtime: a store works in any runtime, and any number of
//! waiters cost one thread. Without waiters there is none.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// The time between two ticks. Shorter than a person notices, and long enough that a look at a file each time costs nothing.
const TICK: Duration = Duration::from_millis(75);

/// Wakes waiters at every tick, and when this store writes.
#[derive(Debug, Default)]
pub(crate) struct Ticker {
    wakes: watch::Sender<(u64, u64)>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
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
    /// Begins to wait. The first wake-up is for what happens from now on.
    pub(crate) fn subscribe(self: &Arc<Self>) -> Ticks {
        let mut state = self.state();
        state.waiters += 1;
        if !std::mem::replace(&mut state.is_running, true) {
            let ticker = Arc::clone(self);
            std::thread::spawn(move || ticker.run());
        }
        let mut wakes = self.wakes.subscribe();
        let (_, written) = *wakes.borrow_and_update();
        Ticks { wakes, written, ticker: Arc::clone(self) }
    }

    /// Wakes the waiters: this store wrote something. Costs next to nothing while there are none.
    pub(crate) fn wrote(&self) {
        if self.wakes.receiver_count() > 0 {
            self.wakes.send_modify(|(_, written)| *written += 1);
        }
    }

    fn run(&self) {
        loop {
            std::thread::sleep(TICK);
            let mut state = self.state();
            if state.waiters == 0 {
                state.is_running = false;
                return;
            }
            drop(state);
            self.wakes.send_modify(|(ticks, _)| *ticks += 1);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A waiter.
#[derive(Debug)]
pub(crate) struct Ticks {
    wakes: watch::Receiver<(u64, u64)>,
    written: u64,
    ticker: Arc<Ticker>,
}

impl Ticks {
    /// Waits for the next wake-up.
    pub(crate) async fn next(&mut self) -> Wake {
        // The sender lives in the ticker, which this waiter holds.
        let _ = self.wakes.changed().await;
        let (_, written) = *self.wakes.borrow_and_update();
        if std::mem::replace(&mut self.written, written) == written { Wake::Tick } else { Wake::Written }
    }
}

impl Drop for Ticks {
    fn drop(&mut self) {
        self.ticker.state().waiters -= 1;
    }
}
