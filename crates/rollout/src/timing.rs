//! Every timeout, pause and interval of the crate, with what each one trades off.
//!
//! A program of Codex may hold the same locks, so no wait for a lock is endless: a process that hangs must not stop all
//! others. If a duration allows for the coarse clock of a file system, a shorter one would be wrong, and a longer one only slow.

use std::time::Duration;

// Locks that other processes hold.

/// How long a new writer waits for the coordination lock, under which lock files are created and removed.
///
/// Other processes hold it for microseconds, so a process that holds it longer hangs. A longer timeout would only delay the
/// error.
pub(crate) const COORDINATION_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the lock file of a writer that has ended waits for the coordination lock, to be removed.
///
/// Shorter than [`COORDINATION_TIMEOUT`]: the file may stay, because the next writer takes it over.
pub(crate) const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long to wait for the reference lock.
///
/// Long, because a deletion reads the head of every file of the home under this lock.
pub(crate) const REFERENCE_LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait for the lock of programs that rewrite many rollouts.
///
/// They can hold it for minutes. A user learns at once what the program waits for, and can run it again later.
pub(crate) const MAINTENANCE_LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait for the lock of the name index.
///
/// Writers hold it for one short `write`. The timeout leaves room for a process that is suspended for a moment.
pub(crate) const NAME_LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest pause between two attempts to take a lock or to find a file.
///
/// It bounds how much later than the release of a lock a waiting process notices it. A shorter pause would cost processor time
/// during long waits.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_millis(16);

// Files that other processes move.

/// For how long work is repeated while other processes move its files.
///
/// A move is one call of the system, so 2 s cover many moves in a row. After that, an error is more useful than a longer wait.
pub(crate) const MOVE_TIMEOUT: Duration = Duration::from_secs(2);

/// How old the time of a directory must be before an equal time proves that the directory did not change.
///
/// The coarsest clock of a file system (FAT) counts in steps of 2 s. Within one step a directory can change and keep its time.
pub(crate) const DIRECTORY_SETTLE_TIME: Duration = Duration::from_secs(3);

// The file that a writer appends to.

/// The longest gap between two writes of one streak ([`log_file`](crate::log_file)).
///
/// Shorter than another program needs to replace a file, so that the check of the path can be left out within a streak.
pub(crate) const LONGEST_STREAK_GAP: Duration = Duration::from_micros(3);

/// How long a streak of writes continues without a check that the path still leads to the file.
///
/// A longer interval would let more lines go to a file that another program took away; a shorter one costs a `stat` more often.
pub(crate) const PATH_CHECK_INTERVAL: Duration = Duration::from_millis(1);

// Files that another process may be working on while the doctor reads.

/// How long a process may need to lock a temporary file that it just created.
pub(crate) const TEMPORARY_LOCK_GRACE: Duration = Duration::from_millis(20);

/// How old a temporary file must be to be no longer "just created". Covers coarse clocks of file systems.
pub(crate) const TEMPORARY_FILE_AGE: Duration = Duration::from_secs(1);

/// How long a plain and a compressed file of one segment may both exist while a live process makes one from the other.
pub(crate) const CONVERSION_GRACE: Duration = Duration::from_secs(1);
