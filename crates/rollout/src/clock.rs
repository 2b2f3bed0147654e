//! The clock of the log.

use std::time::SystemTime;

use selvedge_protocol::Timestamp;

/// Returns the current time of the system's clock.
#[must_use]
pub fn now() -> Timestamp {
    SystemTime::now().into()
}
