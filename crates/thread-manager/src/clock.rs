//! The one place where this crate reads the time of day.

use std::time::SystemTime;

use selvedge_protocol::Timestamp;

/// Returns the current time.
pub(crate) fn now() -> Timestamp {
    SystemTime::now().into()
}
