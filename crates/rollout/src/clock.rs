//! The clock of the log.

use std::time::SystemTime;

use selvedge_protocol::Timestamp;

/// The time now, by the system's clock.
#[must_use]
pub fn now() -> Timestamp {
    SystemTime::now().into()
}
