//! What changed.

use std::hash::{DefaultHasher, Hash, Hasher};

use selvedge_protocol::{Cursor, ThreadId};

use super::segment::Segment;
use super::state::State;
use crate::{ChangePage, Result, ThreadChange};

impl State {
    pub(super) fn list_changes(&mut self, after: Option<&Cursor>, limit: usize) -> Result<ChangePage> {
        let versions: Vec<_> = self.thread_ids().into_iter().map(|id| (id, self.version(id))).collect();
        self.change_log_mut().update(versions);
        let found = self.change_log().after(after, limit)?;
        let is_end = found.len() < limit;
        let next = match found.last() {
            Some((.., cursor)) if !is_end => cursor.clone(),
            _ => self.change_log().end(),
        };
        let change = |(thread_id, version, _): (ThreadId, Option<String>, Cursor)| match version {
            Some(version) => Ok(ThreadChange::Present { thread_id, end: self.end_position(thread_id)?, version }),
            None => Ok(ThreadChange::Gone { thread_id }),
        };
        Ok(ChangePage { changes: found.into_iter().map(change).collect::<Result<_>>()?, next, is_end })
    }

    /// Differs when anything of a thread does.
    fn version(&self, thread_id: ThreadId) -> String {
        let mut hasher = DefaultHasher::new();
        if let Ok(row) = self.row(thread_id) {
            (row.name, row.archived).hash(&mut hasher);
        }
        for segment_id in self.segment_ids(thread_id).unwrap_or_default() {
            (segment_id, self.segment(*segment_id).map_or(0, Segment::len)).hash(&mut hasher);
        }
        format!("{:x}", hasher.finish())
    }
}
