//! Detaching: a thread that builds on others gets a copy of their lines.

use std::borrow::Borrow;

use selvedge_history::detached_head;
use selvedge_protocol::log::{RawContent, RawEntry};
use selvedge_protocol::{HistoryMode, RolloutLine, SessionMeta};

use super::{Segment, SegmentChain};
use crate::{Result, StoreError};

/// Returns the bytes of the segment that gives a thread a history of its own. `None` for a thread that builds on no other.
///
/// The first line is a head of the thread itself, and heads behind it are spelt as copied ones. All else is copied as it is.
///
/// # Errors
/// `Corrupt` if part of the history is gone as a whole.
pub fn detached_bytes<S: Borrow<Segment>>(chain: &SegmentChain<S>) -> Result<Option<Vec<u8>>> {
    let thread_id = chain.thread_id();
    if let Some((segment_id, missing)) = chain.missing() {
        let (place, range) = (format!("segment {segment_id}"), 0..missing.bytes.unwrap_or(0));
        return Err(StoreError::Corrupt { thread_id, place, range, reason: missing.reason.clone() });
    }
    let builds_on_others = chain.segments().any(|segment| segment.thread_id != thread_id);
    Ok(builds_on_others.then(|| copied(chain)))
}

fn copied<S: Borrow<Segment>>(chain: &SegmentChain<S>) -> Vec<u8> {
    let thread_id = chain.thread_id();
    let own = chain.segments().find(|segment| segment.thread_id == thread_id);
    let head = own.and_then(Segment::head).unwrap_or_default();
    let at = own.and_then(|own| own.lines().next()).and_then(|record| record.line.timestamp());
    let head = SessionMeta { id: Some(thread_id), ..head };
    let mut bytes = Vec::new();
    let ordinal = (head.mode() == HistoryMode::Paginated).then_some(0);
    RolloutLine::encode(&mut bytes, at.or(head.timestamp).unwrap_or_default(), ordinal, &detached_head(head).into());
    let mut is_first = true;
    for part in chain.parts() {
        for entry in part.raw_entries() {
            match line_of(&entry).filter(|line| line.kind() == "session_meta") {
                // Its place is taken by the head of the thread itself.
                Some(line) if is_first && line.ordinal().is_none_or(|ordinal| ordinal == 0) => {}
                Some(line) => {
                    bytes.extend_from_slice(line.as_copied_head().as_bytes());
                    bytes.push(b'\n');
                }
                None => bytes.extend_from_slice(&entry.bytes),
            }
            is_first &= line_of(&entry).is_none();
        }
        if !bytes.ends_with(b"\n") {
            bytes.push(b'\n');
        }
    }
    bytes
}

fn line_of(entry: &RawEntry) -> Option<&RolloutLine> {
    if let RawContent::Line(line) = &entry.content { Some(line) } else { None }
}
