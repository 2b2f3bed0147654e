//! The segments of a thread as bytes: this is what a copy of a thread consists of.
//!
//! A segment has bytes in every store, with or without files: its lines as they are stored, each with its newline. The
//! offsets in a [`HistoryBase`] count these bytes. So a store that keeps lines in table rows has to know the byte at
//! which each line ends.

use selvedge_protocol::{HistoryBase, SegmentId, ThreadId, Timestamp};
use serde::{Deserialize, Serialize};

/// A segment of a thread, as its store has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentInfo {
    /// The thread.
    pub thread_id: ThreadId,
    /// The segment.
    pub id: SegmentId,
    /// When it was created.
    pub created: Timestamp,
    /// The name of its file. `None` in a store without files. A store with files gives a copy the same name.
    pub file_name: Option<String>,
    /// The position in another segment from which it continues, according to its head. `None` if it begins a history.
    pub base: Option<HistoryBase>,
    /// How many bytes it has. A segment that has a writer may grow.
    pub bytes: u64,
    /// Whether the history of the thread goes through it. A rewind leaves abandoned segments, through which it no
    /// longer goes.
    pub is_current: bool,
}

/// A range of bytes of a segment that is copied into a store.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SegmentPart<'a> {
    /// The segment, as the source store describes it.
    pub info: &'a SegmentInfo,
    /// The offset of the bytes in the segment.
    pub at: u64,
    /// The bytes.
    pub bytes: &'a [u8],
    /// Whether the segment ends with them.
    pub is_last: bool,
}
