//! Parts of segments that are copied into a store.

use std::ops::Range;

use crate::{Result, SegmentPart, StoreError};

/// How many bytes of a segment are read at once at most.
pub const MAX_SEGMENT_READ: usize = 16 << 20;

/// Compares a part with what a store has of its segment, the first `known` bytes, and returns what of it is new. `read` returns
/// bytes that the store has.
///
/// # Errors
/// `InvalidRequest` for a part that does not join on; `AlreadyExists` if the store has other bytes; those of `read`.
pub fn compare_part<'a>(
    part: &SegmentPart<'a>,
    known: u64,
    read: impl FnOnce(Range<u64>) -> Result<Vec<u8>>,
) -> Result<&'a [u8]> {
    if part.at > known {
        let SegmentPart { info, at, .. } = part;
        return Err(StoreError::invalid(format!(
            "the part of segment {} begins at byte {at}, and the store has {known} bytes of it",
            info.id
        )));
    }
    let shared = usize::try_from(known - part.at).unwrap_or(usize::MAX).min(part.bytes.len());
    let (again, rest) = part.bytes.split_at(shared);
    if !again.is_empty() && read(part.at..part.at + shared as u64)? != again {
        return Err(StoreError::AlreadyExists { thread_id: part.info.thread_id });
    }
    Ok(rest)
}
