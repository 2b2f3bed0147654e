//! Detaching: a thread that builds on others gets a copy of their lines.

use std::time::SystemTime;

use selvedge_history::detached_head;
use selvedge_protocol::{HistoryMode, RolloutLine, SessionMeta, StoredThread, ThreadId, Timestamp};

use super::segment::{Parts, Segment, text_of};
use super::state::State;
use crate::{Result, StoreError};

impl State {
    pub(super) fn detach(&mut self, thread_id: ThreadId) -> Result<StoredThread> {
        self.check_cold(thread_id, None)?;
        let history = self.parts(thread_id)?;
        if let Some((segment_id, missing)) = history.missing {
            let (place, range) = (format!("segment {segment_id}"), 0..missing.bytes.unwrap_or(0));
            return Err(StoreError::Corrupt { thread_id, place, range, reason: missing.reason });
        }
        if history.parts.iter().any(|part| part.segment.thread_id != thread_id) {
            let now = Timestamp::from(SystemTime::now());
            let mut segment = Segment::new(self.next_segment_id(thread_id, now)?, thread_id, now);
            segment.extend(&detached(thread_id, &history));
            self.put_segment(segment)?;
        }
        self.row(thread_id)
    }
}

/// The bytes of a history with a head of the thread itself as its first line. Heads behind it are spelt as copied ones.
fn detached(thread_id: ThreadId, history: &Parts<'_>) -> Vec<u8> {
    let own = history.parts.iter().map(|part| part.segment).find(|segment| segment.thread_id == thread_id);
    let head = own.and_then(Segment::head).unwrap_or_default();
    let at = own.and_then(|own| own.lines().next()).and_then(|record| record.line.timestamp());
    let head = SessionMeta { id: Some(thread_id), ..head };
    let mut bytes = Vec::new();
    let ordinal = (head.mode() == HistoryMode::Paginated).then_some(0);
    RolloutLine::encode(&mut bytes, at.or(head.timestamp).unwrap_or_default(), ordinal, &detached_head(head).into());
    let mut is_first = true;
    for part in &history.parts {
        for entry in part.raw_entries() {
            match text_of(&entry).filter(|line| line.kind() == "session_meta") {
                // Its place is taken by the head of the thread itself.
                Some(line) if is_first && line.ordinal().is_none_or(|ordinal| ordinal == 0) => {}
                Some(line) => {
                    bytes.extend_from_slice(line.as_copied_head().as_bytes());
                    bytes.push(b'\n');
                }
                None => bytes.extend_from_slice(&entry.bytes),
            }
            is_first &= text_of(&entry).is_none();
        }
        if !bytes.ends_with(b"\n") {
            bytes.push(b'\n');
        }
    }
    bytes
}
