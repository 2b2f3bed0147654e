//! Exponential backoff: for locks that others hold, and for work on files that others move meanwhile.

use std::fs::TryLockError;
use std::io;
use std::thread;
use std::time::Duration;

/// The longest pause between two tries.
const LONGEST: Duration = Duration::from_millis(16);

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
        let pause = self.next.min(self.remaining);
        self.remaining -= pause;
        self.next = (self.next * 2).clamp(Duration::from_millis(1), LONGEST);
        Some(pause)
    }
}

/// For how long work is repeated while others move its files.
pub(crate) const MOVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs work that finds files and reads them, and runs it again while it fails because a file is not where it was found:
/// other processes move files, into the archive or into compressed ones. `is_moved` says of an error whether that is the reason.
/// Each attempt has to find the files anew.
///
/// The pauses between the attempts add up to 2 s; then the last error is returned. This is the only place where such work is
/// repeated: what it calls makes one attempt ([`CachedHome::try_resolve`](crate::CachedHome::try_resolve)), so that
/// retries do not multiply. It blocks the calling thread.
///
/// # Errors
/// Those of the work.
pub fn retry_if_moved<T, E>(is_moved: impl Fn(&E) -> bool, mut attempt: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    for pause in Backoff::new(MOVE_TIMEOUT) {
        match attempt() {
            Err(error) if is_moved(&error) => thread::sleep(pause),
            outcome => return outcome,
        }
    }
    attempt()
}

/// Takes a lock, and waits for it while others hold it, but no longer than `timeout`. Returns whether the lock was taken.
///
/// The lock is polled: the kernel's own wait has no timeout.
pub(crate) fn lock_within(
    timeout: Duration,
    mut try_lock: impl FnMut() -> Result<(), TryLockError>,
) -> io::Result<bool> {
    let mut backoff = Backoff::new(timeout);
    loop {
        match try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) => match backoff.next() {
                Some(pause) => thread::sleep(pause),
                None => return Ok(false),
            },
        }
    }
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
