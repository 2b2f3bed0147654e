//! Every pause, interval and time limit of the program, and what each one trades off.

use std::time::Duration;

/// How long the end of the program waits for live threads to shut down. Longer keeps a user waiting behind a hung disk;
/// shorter gives up on a slow one.
pub(crate) const SHUTDOWN_LIMIT: Duration = Duration::from_secs(10);

/// The least time between two drawings of a progress line. Shorter costs writes to the terminal; longer looks stuck.
pub(crate) const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

/// The first pause of `tail` after an error of the store that may pass. Short, as most such errors pass quickly.
pub(crate) const FIRST_RETRY_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause of `tail` between two retries. Pauses double up to this. Longer would delay the output when the
/// store recovers; shorter would keep a broken store busy.
pub(crate) const LONGEST_RETRY_PAUSE: Duration = Duration::from_secs(5);

/// How long `tail` may take to end after an interrupt, before the process exits regardless. Long enough to flush a
/// page, short enough that a second Ctrl-C is not needed.
pub(crate) const INTERRUPT_GRACE: Duration = Duration::from_secs(1);

/// How often `tail` checks whether the reader of its output is gone. Shorter costs wakeups of an idle process; longer
/// keeps the process alive after its reader.
#[cfg(unix)]
pub(crate) const READER_CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// How long the picker waits for a key before it checks for previews and signals. Shorter costs wakeups; longer delays
/// a preview that has arrived.
pub(crate) const PICKER_TICK: Duration = Duration::from_millis(50);

/// How long the selection has to rest on a thread before its preview is read. Shorter reads threads that the user only
/// scrolls past; longer delays the preview.
pub(crate) const PREVIEW_DELAY: Duration = Duration::from_millis(40);

/// How long Codex may take for an answer, unless `SELVEDGE_CODEX_TIMEOUT` says otherwise. It answers within a second; a longer
/// time waits for a slow disk, a shorter one ends a program that hangs sooner.
pub(crate) const CODEX_PATIENCE: Duration = Duration::from_secs(60);

/// How long an error waits for the last words of a Codex that has ended. They usually are there already.
pub(crate) const LAST_WORDS_LIMIT: Duration = Duration::from_secs(1);
