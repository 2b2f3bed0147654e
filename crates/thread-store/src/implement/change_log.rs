//! A log of the threads that changed, for a store that only knows the present state of its threads.
//!
//! The store passes the versions of all threads ([`ChangeLog::update`]). The log compares them with those of the last
//! time, and gives each change the next number. A cursor is a number: every change with a higher number came after it.
//!
//! Only the newest change of a thread is kept, since a change reports the present state. For example, with three
//! threads:
//!
//! ```text
//! update(A:v1, B:v1, C:v1)    1 A:v1   2 B:v1   3 C:v1
//! update(A:v2, B:v1, C:v1)             2 B:v1   3 C:v1   4 A:v2
//! update(A:v2, C:v1)                            3 C:v1   4 A:v2   5 B gone
//! ```
//!
//! A reader with cursor 3 gets 4 and 5. The log is in memory and its numbers are its own. So a cursor contains the id
//! of its log, and a cursor of another log has expired.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;

use selvedge_protocol::{Cursor, ThreadId, check_limit};
use uuid::Uuid;

use crate::{ChangePage, LinePosition, Result, StoreError, ThreadChange};

/// How many deleted threads are remembered. A cursor from before the newest forgotten deletion has expired.
const MAX_DELETED: usize = 10_000;

/// A log of changed threads.
#[derive(Debug)]
pub struct ChangeLog {
    /// Identifies this log in its cursors.
    id: Uuid,
    /// The number of the newest change.
    newest: u64,
    /// The newest change of each thread that exists.
    present: HashMap<ThreadId, LoggedVersion>,
    /// All changes by their numbers, each with the version of the thread. `None` if the thread was deleted.
    by_number: BTreeMap<u64, (ThreadId, Option<String>)>,
    /// The changes that are deletions, by their numbers. They are counted and forgotten separately: a thread that
    /// exists must never be forgotten.
    deleted: BTreeMap<u64, ThreadId>,
    /// The number of the newest change that was forgotten.
    forgotten: u64,
}

/// A version of a thread.
#[derive(Debug)]
struct LoggedVersion {
    /// The number of the change that brought it.
    number: u64,
    text: String,
}

impl Default for ChangeLog {
    fn default() -> Self {
        Self {
            id: Uuid::now_v7(),
            newest: 0,
            present: HashMap::new(),
            by_number: BTreeMap::new(),
            deleted: BTreeMap::new(),
            forgotten: 0,
        }
    }
}

impl ChangeLog {
    /// Compares the versions of all threads of the store with those of the last update, and logs what changed.
    pub fn update(&mut self, threads: impl IntoIterator<Item = (ThreadId, String)>) {
        // What remains in `unseen` at the end is not in the store any more.
        let mut unseen: HashSet<ThreadId> = self.present.keys().copied().collect();
        for (thread_id, text) in threads {
            unseen.remove(&thread_id);
            self.note(thread_id, Some(text));
        }
        self.update_some(unseen.into_iter().map(|thread_id| (thread_id, None)));
    }

    /// Compares the versions of some threads with those of the last update, and logs what changed. All other threads are as they
    /// were. `None` for a thread that the store does not have any more.
    pub fn update_some(&mut self, threads: impl IntoIterator<Item = (ThreadId, Option<String>)>) {
        for (thread_id, text) in threads {
            self.note(thread_id, text);
        }
        // Without a limit, the log would grow with every thread that was ever deleted.
        while self.deleted.len() > MAX_DELETED
            && let Some((number, _)) = self.deleted.pop_first()
        {
            self.by_number.remove(&number);
            self.forgotten = number;
        }
    }

    /// Logs the version of a thread, if it is another one than before.
    fn note(&mut self, thread_id: ThreadId, text: Option<String>) {
        let known = self.present.get(&thread_id);
        if known.map(|known| &known.text) == text.as_ref() {
            return;
        }
        if let Some(known) = known {
            self.by_number.remove(&known.number);
        }
        self.newest += 1;
        self.by_number.insert(self.newest, (thread_id, text.clone()));
        match text {
            Some(text) => drop(self.present.insert(thread_id, LoggedVersion { number: self.newest, text })),
            None => {
                self.present.remove(&thread_id);
                self.deleted.insert(self.newest, thread_id);
            }
        }
    }

    /// Returns at most `limit` changes after a cursor. Without a cursor, it returns the threads that exist.
    ///
    /// Each change has the thread, its version (`None` if the thread was deleted), and the cursor after the change.
    ///
    /// # Errors
    /// - `CursorExpired` if the cursor belongs to another log, or if deletions after it were forgotten.
    /// - `InvalidRequest` if the limit is 0 or the cursor is malformed.
    pub fn after(&self, cursor: Option<&Cursor>, limit: usize) -> Result<Vec<(ThreadId, Option<String>, Cursor)>> {
        check_limit(limit)?;
        let number = cursor.map(|cursor| self.number(cursor)).transpose()?;
        let changes = self.by_number.range((Bound::Excluded(number.unwrap_or(0)), Bound::Unbounded));
        // A caller without a cursor does not know the deleted threads.
        let wanted = changes.filter(|(_, (_, version))| number.is_some() || version.is_some());
        let wanted = wanted.map(|(number, (id, version))| (*id, version.clone(), self.cursor(*number)));
        Ok(wanted.take(limit).collect())
    }

    /// Returns the page of changes after a cursor, as [`ThreadReader::list_changes`](crate::ThreadReader::list_changes)
    /// does. `end_of` returns the position at which the history of a thread ends.
    ///
    /// # Errors
    /// The errors of [`after`](Self::after) and of `end_of`.
    pub fn page(
        &self,
        after: Option<&Cursor>,
        limit: usize,
        mut end_of: impl FnMut(ThreadId) -> Result<LinePosition>,
    ) -> Result<ChangePage> {
        let found = self.after(after, limit)?;
        let is_end = found.len() < limit;
        // At the end, the next page starts after *all* changes, also after those that the first page leaves out.
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

    /// Returns the cursor after all changes.
    #[must_use]
    pub fn end(&self) -> Cursor {
        self.cursor(self.newest)
    }

    /// Returns the cursor after a change: `v1.<log>.<number>`.
    fn cursor(&self, number: u64) -> Cursor {
        format!("v1.{}.{number}", self.id.simple()).into()
    }

    /// Returns the number of the change after which a cursor is.
    fn number(&self, cursor: &Cursor) -> Result<u64> {
        let expired = |reason: &str| StoreError::CursorExpired { reason: reason.to_owned() };
        let parts: Vec<&str> = cursor.as_str().split('.').collect();
        let ["v1", id, number] = parts[..] else {
            return Err(StoreError::invalid(format!("not a cursor of changes: {cursor}")));
        };
        if id != self.id.simple().to_string() {
            return Err(expired("it belongs to another run of the store"));
        }
        // A cursor at the newest forgotten deletion is still complete: everything after it is known.
        let number = number.parse().map_err(|_| StoreError::invalid(format!("not a cursor of changes: {cursor}")))?;
        if number < self.forgotten {
            Err(expired("the store no longer knows which threads were deleted since"))
        } else {
            Ok(number)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> ThreadId {
        ThreadId::from_uuid(Uuid::from_u128(n as u128))
    }

    #[test]
    fn a_cursor_from_before_a_forgotten_deletion_has_expired() {
        let mut log = ChangeLog::default();
        log.update((0..MAX_DELETED + 1).map(|n| (id(n), "1".to_owned())));
        let before = log.end();
        log.update([]);
        assert!(matches!(log.after(Some(&before), 1), Err(StoreError::CursorExpired { .. })));
        assert!(log.after(None, 1).unwrap().is_empty());
        let after = log.end();
        log.update([(id(7), "2".to_owned())]);
        assert_eq!(log.after(Some(&after), 10).unwrap().len(), 1);
        assert_eq!(log.deleted.len(), MAX_DELETED);
    }

    #[test]
    fn some_versions_leave_all_other_threads_as_they_were() {
        let mut log = ChangeLog::default();
        log.update((1..=4).map(|n| (id(n), "1".to_owned())));
        let before = log.end();
        log.update_some([(id(1), Some("1".to_owned())), (id(2), Some("2".to_owned())), (id(3), None), (id(9), None)]);
        let changes = log.after(Some(&before), 10).unwrap().into_iter().map(|(id, version, _)| (id, version));
        assert_eq!(changes.collect::<Vec<_>>(), [(id(2), Some("2".to_owned())), (id(3), None)]);
        assert_eq!(log.after(None, 10).unwrap().len(), 3);
    }

    #[test]
    fn nothing_comes_after_the_highest_number() {
        let mut log = ChangeLog::default();
        log.update([(id(1), "1".to_owned())]);
        assert!(log.after(Some(&log.cursor(u64::MAX)), 1).unwrap().is_empty());
    }
}
