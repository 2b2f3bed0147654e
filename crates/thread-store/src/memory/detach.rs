//! Detaching: a thread that builds on others gets a copy of their lines.

use std::time::SystemTime;

use selvedge_protocol::{RolloutItem, RolloutLine, SegmentId, SessionMeta, StoredThread, ThreadId, Timestamp};

use super::state::{History, State};
use crate::Result;
use crate::segment::detached_head;

impl State {
    pub(super) fn detach(&mut self, thread_id: ThreadId) -> Result<StoredThread> {
        self.check_cold(thread_id, None)?;
        let history = self.history(thread_id)?;
        if history.inherited > 0 {
            let segment_id = SegmentId::new(SystemTime::now().into());
            self.copy_into_segment(thread_id, segment_id, detached(thread_id, history))?;
        }
        self.row(thread_id)
    }
}

/// The history with a head of the thread itself as its first line.
fn detached(thread_id: ThreadId, history: History) -> Vec<RolloutLine> {
    let mut lines = history.lines;
    // The thread's own lines begin with a head.
    let own = lines.get(history.inherited).map(|line| (line.timestamp(), line.item()));
    let (at, head) = match own {
        Some((at, RolloutItem::SessionMeta(head))) => (at.unwrap_or_default(), *head),
        _ => (Timestamp::default(), SessionMeta::new(thread_id, Timestamp::default())),
    };
    for line in lines.iter_mut().filter(|line| line.kind() == "session_meta") {
        *line = RolloutLine::parse(&line.as_copied_head()).unwrap_or_else(|_| line.clone());
    }
    if let Some(first) = lines.first_mut() {
        *first = RolloutLine::new(at, first.ordinal(), &detached_head(head).into());
    }
    lines
}
