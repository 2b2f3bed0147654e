//! Which threads changed, for a store that can only tell how they are now.
//!
//! A store compares the versions of all threads with those it saw before ([`ChangeLog::update`]). Each change gets the next
//! number; a thread stands in the log once, under the number of its newest change. A cursor is a number: what stands behind it
//! changed since. The numbers are this log's own, so that a cursor of another one is expired.

use std::collections::{BTreeMap, HashMap};

use selvedge_protocol::{Cursor, ThreadId, check_limit};
use uuid::Uuid;

use crate::{ChangePage, LinePosition, Result, StoreError, ThreadChange};

/// How many threads that are gone are remembered. Cursors from before the first forgotten one are expired.
const REMEMBERED_GONE: usize = 10_000;

/// A log of changes.
#[derive(Debug)]
pub struct ChangeLog {
    id: Uuid,
    newest: u64,
    /// The newest change of each thread that is there.
    present: HashMap<ThreadId, (u64, String)>,
    /// All changes by their numbers: the version of a thread that is there, nothing for one that is gone.
    by_number: BTreeMap<u64, (ThreadId, Option<String>)>,
    gone: BTreeMap<u64, ThreadId>,
    /// The number of the newest change that was forgotten.
    forgotten: u64,
}

impl Default for ChangeLog {
    fn default() -> Self {
        Self {
            id: Uuid::now_v7(),
            newest: 0,
            present: HashMap::new(),
            by_number: BTreeMap::new(),
            gone: BTreeMap::new(),
            forgotten: 0,
        }
    }
}

impl ChangeLog {
    /// Compares all threads of the store, with their versions, with those of the last time.
    pub fn update(&mut self, threads: impl IntoIterator<Item = (ThreadId, String)>) {
        let mut missed: HashMap<ThreadId, (u64, String)> = std::mem::take(&mut self.present);
        for (thread_id, version) in threads {
            let number = match missed.remove(&thread_id) {
                Some((number, known)) if known == version => number,
                known => {
                    if let Some((number, _)) = known {
                        self.by_number.remove(&number);
                    }
                    self.newest += 1;
                    self.by_number.insert(self.newest, (thread_id, Some(version.clone())));
                    self.newest
                }
            };
            self.present.insert(thread_id, (number, version));
        }
        for (thread_id, (number, _)) in missed {
            self.by_number.remove(&number);
            self.newest += 1;
            self.by_number.insert(self.newest, (thread_id, None));
            self.gone.insert(self.newest, thread_id);
        }
        while self.gone.len() > REMEMBERED_GONE
            && let Some((number, _)) = self.gone.pop_first()
        {
            self.by_number.remove(&number);
            self.forgotten = number;
        }
    }

    /// Returns the changes behind a cursor, at most `limit` of them: threads with their versions, none for those that are gone.
    /// Without a cursor, the threads that are there. The cursor that comes with each is the place behind it.
    ///
    /// # Errors
    /// `CursorExpired`; `InvalidRequest` for a limit of 0.
    pub fn after(&self, cursor: Option<&Cursor>, limit: usize) -> Result<Vec<(ThreadId, Option<String>, Cursor)>> {
        check_limit(limit)?;
        let number = cursor.map(|cursor| self.number(cursor)).transpose()?;
        let changes = self.by_number.range(number.unwrap_or(0) + 1..);
        // Whoever begins has seen nothing that could be gone.
        let wanted = changes.filter(|(_, (_, version))| number.is_some() || version.is_some());
        let wanted = wanted.map(|(number, (id, version))| (*id, version.clone(), self.cursor(*number)));
        Ok(wanted.take(limit).collect())
    }

    /// Returns the page of changes behind a cursor, as [`ThreadReader::list_changes`](crate::ThreadReader::list_changes) does.
    /// `end_of` returns where the history of a thread ends.
    ///
    /// # Errors
    /// As [`after`](Self::after); those of `end_of`.
    pub fn page(
        &self,
        after: Option<&Cursor>,
        limit: usize,
        mut end_of: impl FnMut(ThreadId) -> Result<LinePosition>,
    ) -> Result<ChangePage> {
        let found = self.after(after, limit)?;
        let is_end = found.len() < limit;
        let next = match found.last() {
            Some((.., cursor)) if !is_end => cursor.clone(),
            _ => self.end(),
        };
        let change = |(thread_id, version, _): (ThreadId, Option<String>, Cursor)| match version {
            Some(version) => Ok(ThreadChange::Present { thread_id, end: end_of(thread_id)?, version }),
            None => Ok(ThreadChange::Gone { thread_id }),
        };
        Ok(ChangePage { changes: found.into_iter().map(change).collect::<Result<_>>()?, next, is_end })
    }

    /// Returns the cursor behind all changes.
    #[must_use]
    pub fn end(&self) -> Cursor {
        self.cursor(self.newest)
    }

    fn cursor(&self, number: u64) -> Cursor {
        format!("v1.{}.{number}", self.id.simple()).into()
    }

    fn number(&self, cursor: &Cursor) -> Result<u64> {
        let expired = |reason: &str| StoreError::CursorExpired { reason: reason.to_owned() };
        let parts: Vec<&str> = cursor.as_str().split('.').collect();
        let ["v1", id, number] = parts[..] else {
            return Err(StoreError::invalid(format!("not a cursor of changes: {cursor}")));
        };
        if id != self.id.simple().to_string() {
            return Err(expired("it is of another run of the store"));
        }
        let number = number.parse().map_err(|_| StoreError::invalid(format!("not a cursor of changes: {cursor}")))?;
        if number < self.forgotten { Err(expired("what was deleted since is not known any more")) } else { Ok(number) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> ThreadId {
        ThreadId::from_uuid(Uuid::from_u128(n as u128))
    }

    #[test]
    fn a_cursor_from_before_forgotten_deletions_is_expired() {
        let mut log = ChangeLog::default();
        log.update((0..REMEMBERED_GONE + 1).map(|n| (id(n), "1".to_owned())));
        let before = log.end();
        log.update([]);
        assert!(matches!(log.after(Some(&before), 1), Err(StoreError::CursorExpired { .. })));
        assert!(log.after(None, 1).unwrap().is_empty());
        let after = log.end();
        log.update([(id(7), "2".to_owned())]);
        assert_eq!(log.after(Some(&after), 10).unwrap().len(), 1);
        assert_eq!(log.gone.len(), REMEMBERED_GONE);
    }
}
