//! The head of a segment.

use selvedge_history::segment_head;
use selvedge_protocol::SessionMeta;

use crate::error::Result;
use crate::home::RolloutFile;
use crate::reader::RolloutReader;

/// Returns the `session_meta` with which a segment begins. `None` if it is missing or damaged.
///
/// # Errors
/// If the file cannot be read.
pub fn read_head(file: &RolloutFile) -> Result<Option<SessionMeta>> {
    segment_head(file.name.thread_id, RolloutReader::open(&file.path)?)
}
