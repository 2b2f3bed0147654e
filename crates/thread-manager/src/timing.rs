//! The intervals and limits of this crate, in one place, with what each one trades off.

use std::time::Duration;

/// The shortest time between two metadata updates of one live thread that only report progress: the time of the last
/// update, the start of a turn, token counts.
///
/// A shorter interval makes the store write metadata more often. A longer one makes lists show older times and counts.
/// No value loses anything: the log has every fact before the store's metadata does.
pub const METADATA_SYNC_INTERVAL: Duration = Duration::from_secs(5);

/// How often a call is repeated whose answer was lost.
///
/// A repeated call of a [`LiveThread`](crate::LiveThread) mostly holds that thread's lock, so other calls on the thread
/// wait. With fewer repeats, the caller gets [`OutcomeUnknown`](selvedge_thread_store::StoreError::OutcomeUnknown) more
/// often.
pub(crate) const MAX_REPEATS: u32 = 6;

/// The pause before the second repeat. It doubles before each further one; the first repeat comes without a pause.
///
/// All pauses together are 155 ms: 0, 5, 10, 20, 40 and 80.
pub(crate) const FIRST_REPEAT_PAUSE: Duration = Duration::from_millis(5);
