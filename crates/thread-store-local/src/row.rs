//! A thread's row, folded from its log.

use std::path::Path;
use std::sync::Arc;

use selvedge_history::{MetadataFold, has_no_metadata};
use selvedge_protocol::{StoredThread, ThreadId, Timestamp};
use selvedge_rollout::{BackwardEntry, Entry, HistoryEntry, HistoryPart, HomeFiles, NameIndex, ResolvedHistory};
use selvedge_thread_store::{Result, StoreError};

use crate::error::{look_at, store_error};
use crate::store::Inner;

impl Inner {
    pub(crate) fn read_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        let resolved = self.resolve_now(thread_id)?;
        read_row(&resolved, &self.names())
    }

    /// The row of a thread that was found, and may have been moved since; nothing when its files went away or cannot be read.
    ///
    /// One unreadable file must not hide the other threads from a listing, so it is told in the log and passed over.
    pub(crate) fn try_read_record(
        &self,
        files: &Arc<HomeFiles>,
        names: &NameIndex,
        thread_id: ThreadId,
    ) -> Option<StoredThread> {
        let row = self.read_found(files, thread_id, |_, resolved| read_row(resolved, names));
        row.inspect_err(|error| {
            if !matches!(error, StoreError::NotFound { .. }) {
                tracing::warn!(%thread_id, %error, "thread left out of a listing");
            }
        })
        .ok()
    }
}

/// The row of a thread: one fold over its log, in which most lines are passed over unparsed.
pub(crate) fn read_row(resolved: &ResolvedHistory, names: &NameIndex) -> Result<StoredThread> {
    let newest = resolved.newest();
    let mut fold = MetadataFold::new(resolved.thread_id, resolved.fallback_created_at());
    for entry in resolved.reader_skipping(has_no_metadata) {
        let HistoryEntry::Entry { part, entry: Entry::Line(record) } = entry.map_err(store_error)? else { continue };
        if resolved.is_inherited(part) {
            fold.observe_inherited(&record.line);
        } else {
            fold.observe_line(&record.line);
        }
    }
    let mut row = fold.into_thread();
    // What a rewind left of an older segment may be newer than all behind it: clocks are set back.
    for (_, part) in resolved.parts.iter().enumerate().filter(|(number, _)| !resolved.is_inherited(*number)) {
        if let Some(at) = time_of_passed_over_end(resolved.thread_id, part)? {
            row.updated_at = row.updated_at.max(at);
        }
    }
    row.name = names.get(row.id).map(|entry| entry.name.clone());
    row.archived = newest.archived;
    row.location = Some(newest.path.to_string_lossy().into_owned());
    Ok(row)
}

/// The time of the last line of a thread's own part, if the fold passed it over. The fold knows the times of all others.
fn time_of_passed_over_end(thread_id: ThreadId, part: &HistoryPart) -> Result<Option<Timestamp>> {
    let part = ResolvedHistory { thread_id, parts: vec![part.clone()], missing: None };
    let mut last = None;
    for entry in part.backwards() {
        match entry.map_err(store_error)? {
            BackwardEntry::Line { record, .. } => {
                last = Some(record.line);
                break;
            }
            BackwardEntry::Damage { .. } => {}
            BackwardEntry::NeedsForwardRead => {
                for entry in part.reader() {
                    if let HistoryEntry::Entry { entry: Entry::Line(record), .. } = entry.map_err(store_error)? {
                        last = Some(record.line);
                    }
                }
                break;
            }
        }
    }
    Ok(last.filter(|line| has_no_metadata(line.text().as_bytes())).and_then(|line| line.timestamp()))
}

/// When a file last changed, by its file system.
pub(crate) fn modified_at(path: &Path) -> Result<Timestamp> {
    let modified = look_at(path)?.modified();
    Ok(modified.map_err(|error| StoreError::backend("cannot look at a file", error))?.into())
}
