//! Exponential backoff: for locks that other processes hold, and for work on files that other processes move.

use std::thread;
use std::time::Duration;

use crate::timing::{LONGEST_PAUSE, MOVE_TIMEOUT};

/// The pauses between tries: the first retry is immediate, and then the pauses are 1, 2, 4 … ms, and never longer than 16 ms.
/// The iterator ends when their sum has reached a limit.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
    remaining: Duration,
}

impl Backoff {
    /// Creates a backoff whose pauses add up to `total`.
    #[must_use]
    pub const fn new(total: Duration) -> Self {
        Self { next: Duration::ZERO, remaining: total }
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if self.remaining.is_zero() {
            return None;
        }
        // The last pause is shortened, so that the sum is exactly the limit.
        let pause = self.next.min(self.remaining);
        self.remaining -= pause;
        self.next = (self.next * 2).clamp(Duration::from_millis(1), LONGEST_PAUSE);
        Some(pause)
    }
}

/// Runs work that finds files and reads them, and repeats it while a file is no longer where it was found.
///
/// Other processes move files: into the archive and out of it, and into compressed files. `is_moved` decides whether an error has
/// that cause. Each attempt must find the files again.
///
/// The pauses between the attempts add up to 2 s; then the last error is returned. The call blocks the calling thread.
///
/// Only this function repeats such work. What it calls makes one attempt
/// ([`CachedHome::try_resolve`](crate::CachedHome::try_resolve)), so that retries do not multiply.
///
/// # Errors
/// Those of the work.
pub fn retry_if_moved<T, E>(is_moved: impl Fn(&E) -> bool, mut attempt: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    for (tries, pause) in (1_u32..).zip(Backoff::new(MOVE_TIMEOUT)) {
        match attempt() {
            Err(error) if is_moved(&error) => thread::sleep(pause),
            outcome => {
                if tries > 1 {
                    tracing::debug!(tries, "another process moved a file, which was found again");
                }
                return outcome;
            }
        }
    }
    // The time is over. This attempt decides, and its error is returned whatever its cause.
    attempt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_add_up_to_the_limit() {
        let millis =
            |total| Backoff::new(Duration::from_millis(total)).map(|pause| pause.as_millis()).collect::<Vec<_>>();
        assert_eq!(millis(0), [0_u128; 0]);
        assert_eq!(millis(40), [0, 1, 2, 4, 8, 16, 9]);
        assert_eq!(millis(2_000).iter().sum::<u128>(), 2_000);
        assert!(millis(2_000).len() < 140);
    }
}
