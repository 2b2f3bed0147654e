//! The clock of this program. The libraries below take the time from their callers.

use std::time::SystemTime;

use selvedge_protocol::Timestamp;

/// Returns the current time.
pub(crate) fn now() -> Timestamp {
    SystemTime::now().into()
}
