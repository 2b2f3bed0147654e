//! Work that must not stop half way, and calls whose answers may be lost.

use std::time::Duration;

use selvedge_thread_store::{Recovery, Result, StoreError};
use tokio::runtime::Handle;

use crate::timer::sleep;

/// How often a call is made again whose answer was lost.
const REPEATS: u32 = 6;

/// The pause before the second repeat; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// Does work to its end, also when nobody waits for it any more; its outcome is dropped then. Without a runtime the caller
/// does it.
pub(crate) async fn run_to_completion<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let Ok(runtime) = Handle::try_current() else { return work.await };
    match runtime.spawn(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(StoreError::backend("a task of the thread manager did not finish", error)),
    }
}

/// Makes a call, and the same again while its answer is lost. What it comes to is then known, and it took effect once.
///
/// The second argument says of an error of a repeated call whether it means that the call before it took effect: a thread
/// that was to be made is there already.
macro_rules! settle {
    ($call:expr) => {
        settle!($call, Err)
    };
    ($call:expr, $took_effect:expr) => {{
        let mut repeats = $crate::task::Repeats::default();
        let mut outcome = $call.await;
        while repeats.next_after(&outcome).await {
            outcome = match $call.await {
                Err(error) if !$crate::task::is_unknown(&error) => $took_effect(error),
                outcome => outcome,
            };
        }
        outcome
    }};
}
pub(crate) use settle;

/// Whether an error says that it is not known what became of the call.
pub(crate) fn is_unknown(error: &StoreError) -> bool {
    error.recovery() == Recovery::RepeatSame
}

/// How often a call was repeated.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    count: u32,
    pause: Duration,
}

impl Repeats {
    /// Whether a call with this outcome is to be made again. Waits a little before all but the first time.
    pub(crate) async fn next_after<T>(&mut self, outcome: &Result<T>) -> bool {
        if self.count == REPEATS || !matches!(outcome, Err(error) if is_unknown(error)) {
            return false;
        }
        self.count += 1;
        let pause = self.pause;
        self.pause = (pause * 2).max(FIRST_PAUSE);
        if !pause.is_zero() {
            sleep(pause).await;
        }
        true
    }
}
