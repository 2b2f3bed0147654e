//! Copying segments into a store, part by part.

use std::ops::Range;

use crate::{Result, SegmentPart, StoreError};

/// How many bytes one call reads from a segment at most. It bounds the memory of a copy.
pub const MAX_SEGMENT_READ: usize = 16 << 20;

/// Compares a part with the bytes that a store has of its segment, and returns the bytes of the part that are new.
///
/// The store has the first `known` bytes of the segment, and `read` returns a range of them.
///
/// ```text
/// the store has    0 ───────────────── known
/// the part                  at ────────────────────
///                           same bytes?   new bytes
/// ```
///
/// # Errors
/// - `InvalidRequest` if the part begins after the known bytes.
/// - `AlreadyExists` if the store has other bytes.
/// - The errors of `read`.
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
    // The store may have more than this part: then all of it is compared, and nothing is new.
    let shared = usize::try_from(known - part.at).unwrap_or(usize::MAX).min(part.bytes.len());
    let (repeated, new) = part.bytes.split_at(shared);
    if !repeated.is_empty() && read(part.at..part.at + shared as u64)? != repeated {
        return Err(StoreError::AlreadyExists { thread_id: part.info.thread_id });
    }
    Ok(new)
}
