//! Calls whose answer may be lost.
//!
//! A store behind a network can apply a call and fail to report it. The error then says that the outcome is unknown
//! ([`Recovery::RepeatSame`]). The contract makes every such call safe to repeat: a batch id takes effect once, and the
//! other calls lead to the same state when they are made twice. So this crate repeats the same call until an answer
//! arrives.
//!
//! A repeat can fail *because* the lost call took effect. For example, the lost call created the thread, and the repeat
//! finds that the thread exists. Such callers pass a function that turns this error into a success.

use std::time::Duration;

use selvedge_thread_store::{Recovery, Result, StoreError};

use crate::timer::sleep;
use crate::timing::{FIRST_REPEAT_PAUSE, MAX_REPEATS};

/// Makes a call, and repeats the same call while its outcome is unknown, at most [`MAX_REPEATS`] times.
///
/// The first argument is an expression that starts a new call each time it is evaluated. The second one is applied to
/// the error of a *repeated* call: it returns `Ok` if this error means that an earlier call took effect. It never sees
/// the error of the first call: before that one, there was no call of ours that could have taken effect.
macro_rules! repeat_while_unknown {
    ($call:expr) => {
        repeat_while_unknown!($call, Err)
    };
    ($call:expr, $took_effect:expr) => {{
        let mut backoff = $crate::lost_answer::RepeatBackoff::default();
        let mut outcome = $call.await;
        while backoff.should_repeat(&outcome).await {
            outcome = match $call.await {
                Err(error) if !$crate::lost_answer::is_outcome_unknown(&error) => $took_effect(error),
                outcome => outcome,
            };
        }
        outcome
    }};
}
pub(crate) use repeat_while_unknown;

/// Returns whether an error leaves open if the call took effect.
pub(crate) fn is_outcome_unknown(error: &StoreError) -> bool {
    error.recovery() == Recovery::RepeatSame
}

/// The repeats of one call so far.
#[derive(Debug, Default)]
pub(crate) struct RepeatBackoff {
    repeats: u32,
    /// The pause before the next repeat.
    pause: Duration,
}

impl RepeatBackoff {
    /// Returns whether to repeat a call with this outcome, after the pause that this repeat needs.
    pub(crate) async fn should_repeat<T>(&mut self, outcome: &Result<T>) -> bool {
        if self.repeats == MAX_REPEATS || !matches!(outcome, Err(error) if is_outcome_unknown(error)) {
            return false;
        }
        self.repeats += 1;
        // The first repeat comes without a pause: usually a single answer was lost. Only an answer that is lost again
        // suggests a cause that lasts a while.
        let pause = self.pause;
        self.pause = (pause * 2).max(FIRST_REPEAT_PAUSE);
        if !pause.is_zero() {
            sleep(pause).await;
        }
        true
    }
}
