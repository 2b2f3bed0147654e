//! The thread record, folded from the log of a thread.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use selvedge_history::{MetadataFold, has_no_later_metadata, has_no_metadata};
use selvedge_protocol::log::Entry;
use selvedge_protocol::{StoredThread, ThreadId, Timestamp};
use selvedge_rollout::{BackwardEntry, HistoryEntry, HistoryPart, HomeFiles, NameIndex, ResolvedHistory};
use selvedge_thread_store::{Result, StoreError};

use crate::error::{stat, store_error};
use crate::store_core::StoreCore;

impl StoreCore {
    pub(crate) fn read_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        let resolved = self.resolve_now(thread_id)?;
        read_record(&resolved, &self.names())
    }

    /// Returns the record of a thread that was found in `files` and may have moved since. `None` if its files are gone or cannot
    /// be read: one unreadable file must not hide the other threads from a list, so the error is logged.
    pub(crate) fn try_read_record(
        &self,
        files: &Arc<HomeFiles>,
        names: &NameIndex,
        thread_id: ThreadId,
    ) -> Option<StoredThread> {
        let record = self.read_found(files, thread_id, |_, resolved| read_record(resolved, names));
        record
            .inspect_err(|error| {
                let is_known = matches!(error, StoreError::NotFound { .. }) || self.report_unreadable(files, thread_id);
                if !is_known {
                    tracing::warn!(%thread_id, %error, "thread left out of a listing");
                }
            })
            .ok()
    }

    /// Reports the files of a thread that cannot be opened, so that the caller of a query can learn what was left out of the answer.
    /// Returns whether there are such files.
    pub(crate) fn report_unreadable(&self, files: &HomeFiles, thread_id: ThreadId) -> bool {
        let mut is_any = false;
        for file in files.segments(thread_id) {
            if let Err(error) = File::open(&file.path)
                && error.kind() != io::ErrorKind::NotFound
            {
                self.cached_home.report_unreadable(&file.path, &error);
                is_any = true;
            }
        }
        is_any
    }
}

/// Folds the record of a thread from its log. Lines that cannot contain metadata, which are most, are skipped unparsed.
pub(crate) fn read_record(resolved: &ResolvedHistory, names: &NameIndex) -> Result<StoredThread> {
    let newest = resolved.newest();
    let mut fold = MetadataFold::new(resolved.thread_id, resolved.fallback_created_at());
    let mut reader = resolved.reader_skipping(has_no_metadata);
    let mut has_first_message = false;
    while let Some(entry) = reader.next() {
        let HistoryEntry::Entry { part, entry: Entry::Line(record) } = entry.map_err(store_error)? else { continue };
        if resolved.is_inherited(part) {
            fold.observe_inherited(&record.line);
        } else {
            fold.observe_line(&record.line);
        }
        if !has_first_message && fold.thread().first_user_message.is_some() {
            has_first_message = true;
            reader.skip_from_here(has_no_later_metadata);
        }
    }
    let mut record = fold.into_thread();
    // `updated_at` is the time of the newest line, and skipped lines were not folded. Within a segment the last line is enough.
    // Across segments it is not: a clock may have been set back since an older segment was abandoned.
    for (_, part) in resolved.parts.iter().enumerate().filter(|(number, _)| !resolved.is_inherited(*number)) {
        if let Some(at) = time_of_skipped_last_line(resolved.thread_id, part)? {
            record.updated_at = record.updated_at.max(at);
        }
    }
    record.name = names.get(record.id).map(|entry| entry.name.clone());
    record.archived = newest.archived;
    record.location = Some(newest.path.to_string_lossy().into_owned());
    Ok(record)
}

/// Returns the time of a part's last line if the fold skipped that line. The fold knows the times of all other lines.
fn time_of_skipped_last_line(thread_id: ThreadId, part: &HistoryPart) -> Result<Option<Timestamp>> {
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
    Ok(last.filter(|line| has_no_later_metadata(line.text().as_bytes())).and_then(|line| line.timestamp()))
}

/// Returns the modification time of a file.
pub(crate) fn modified_at(path: &Path) -> Result<Timestamp> {
    let modified = stat(path)?.modified();
    Ok(modified.map_err(|error| StoreError::backend("cannot stat a file", error))?.into())
}
