//! The segments of a thread as bytes: what a copy of a thread is made of.
//!
//! A segment has bytes in every store, files or not: its lines as they are stored, each with its newline. A
//! [`HistoryBase`] counts in these bytes. So does a store that keeps lines in rows: it has to know, of each line, where it ends.

use selvedge_protocol::{HistoryBase, SegmentId, ThreadId, Timestamp};
use serde::{Deserialize, Serialize};

/// A segment of a thread, as its store has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentInfo {
    /// The thread.
    pub thread_id: ThreadId,
    /// The segment.
    pub id: SegmentId,
    /// When it was begun.
    pub created: Timestamp,
    /// What its file is called, in a store of files. A store that keeps files gives a copy the same name.
    pub file_name: Option<String>,
    /// The place in another segment that it goes on from, as its head says.
    pub base: Option<HistoryBase>,
    /// How many bytes it has. A segment that is being written has more later.
    pub bytes: u64,
    /// Whether the thread's history goes through it. A rewind leaves segments behind that it does not go through any more.
    pub is_current: bool,
}

/// Some bytes of a segment that is copied into a store.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SegmentPart<'a> {
    /// The segment, as its source has it.
    pub info: &'a SegmentInfo,
    /// Where the bytes begin in it.
    pub at: u64,
    /// The bytes.
    pub bytes: &'a [u8],
    /// Whether the segment ends with them.
    pub is_last: bool,
}
