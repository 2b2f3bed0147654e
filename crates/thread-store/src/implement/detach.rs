//! Detaching: a thread that builds on others gets a copy of the lines that it inherits.

use std::borrow::Borrow;

use selvedge_history::detached_head;
use selvedge_protocol::log::{RawContent, RawEntry};
use selvedge_protocol::{HistoryMode, RolloutLine, SessionMeta};

use super::{Segment, SegmentChain};
use crate::{Result, StoreError};

/// Returns the bytes of a segment that contains the whole history of a thread. `None` if the thread builds on no other
/// thread.
///
/// The first line is a head of the thread itself. Heads after it are marked as copied. Everything else is copied as it
/// is.
///
/// # Errors
/// - `Corrupt` if a segment of the history is missing.
pub fn detached_bytes<S: Borrow<Segment>>(chain: &SegmentChain<S>) -> Result<Option<Vec<u8>>> {
    let thread_id = chain.thread_id();
    if let Some((segment_id, missing)) = chain.missing() {
        let (location, range) = (format!("segment {segment_id}"), 0..missing.bytes.unwrap_or(0));
        return Err(StoreError::Corrupt { thread_id, location, range, reason: missing.reason.clone() });
    }
    // A thread that was reverted has several segments of its own. It needs no copy.
    let builds_on_others = chain.segments().any(|segment| segment.thread_id != thread_id);
    Ok(builds_on_others.then(|| copy_history(chain)))
}

/// Copies the whole history into one segment.
///
/// Every line keeps its ordinal. So readers see no difference, and positions in the old segments can be found in the
/// copy.
///
/// ```text
/// history    0 head of A   1 ...   2 ...  │  3 head of B   4 ...      B builds on the first three lines of A
/// copy of B  0 head of B   1 ...   2 ...     3 head of B   4 ...
///              new           as they are       marked as copied
/// ```
fn copy_history<S: Borrow<Segment>>(chain: &SegmentChain<S>) -> Vec<u8> {
    let mut bytes = encode_new_head(chain);
    let mut is_first = true;
    for part in chain.parts() {
        for entry in part.raw_entries() {
            match line_of(&entry).filter(|line| line.kind() == "session_meta") {
                // The first line of the history, the head of the thread in which it began. The new head replaces it,
                // with the same ordinal. If the first line was lost, the first one that is left has another ordinal,
                // and nothing is replaced.
                Some(line) if is_first && line.ordinal().is_none_or(|ordinal| ordinal == 0) => {}
                Some(line) => {
                    bytes.extend_from_slice(line.as_copied_head().as_bytes());
                    bytes.push(b'\n');
                }
                None => bytes.extend_from_slice(&entry.bytes),
            }
            // The first line is the first intact one: damage and white space before it are only copied.
            is_first &= line_of(&entry).is_none();
        }
        // A prefix may end with a torn line. The next part must not continue it.
        if !bytes.ends_with(b"\n") {
            bytes.push(b'\n');
        }
    }
    bytes
}

/// Returns the first line of the copy: a head of the thread itself, without a base.
fn encode_new_head<S: Borrow<Segment>>(chain: &SegmentChain<S>) -> Vec<u8> {
    let thread_id = chain.thread_id();
    // `detached_head` needs the first head that belongs to the thread itself.
    let own = chain.segments().find(|segment| segment.thread_id == thread_id);
    let head = own.and_then(Segment::head).unwrap_or_default();
    // The line keeps its time as well, so that the creation time of the thread does not become that of the detach.
    let at = own.and_then(|own| own.lines().next()).and_then(|record| record.line.timestamp());
    let head = SessionMeta { id: Some(thread_id), ..head };
    let mut bytes = Vec::new();
    let ordinal = (head.mode() == HistoryMode::Paginated).then_some(0);
    // The head of the thread in which the history begins.
    let replaced = chain.segments().next().and_then(Segment::head);
    let head = detached_head(head, replaced.as_ref());
    RolloutLine::encode(&mut bytes, at.or(head.timestamp).unwrap_or_default(), ordinal, &head.into());
    bytes
}

fn line_of(entry: &RawEntry) -> Option<&RolloutLine> {
    if let RawContent::Line(line) = &entry.content { Some(line) } else { None }
}
