//! Taking in a rollout file that no command reads: a copy that a synchronizing program made of a conflict, or a file in another place.
//!
//! The file itself is only read. What it becomes depends on its thread:
//!
//! - No thread of the home has its id: the file gets the place and the name of a rollout, byte for byte.
//! - A thread has it, and the file holds lines that are nowhere in the home: it becomes a new thread, forked from that one. A legacy
//!   thread begins with a head of its own, and all bytes follow, as in a fork by copy. In a paginated thread the new head takes the
//!   place of the old one, so that every other line keeps its ordinal.
//! - It holds no such line: nothing happens, and that is an error.
//!
//! A new file is written under a temporary name, synced, and then gets its real name. A crash before that leaves only the temporary
//! file.

use std::fs;
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use selvedge_history::fork_head;
use selvedge_protocol::log::Entry;
use selvedge_protocol::{HistoryMode, RolloutItem, RolloutLine, SessionMeta, ThreadId, Timestamp};
use selvedge_rollout::doctor::StrayLines;
use selvedge_rollout::{
    ReferenceLock, RolloutError, RolloutFile, RolloutFileName, RolloutReader, WriterLock, open_bytes,
};
use selvedge_thread_store::{Result, StoreError};

use super::fork::LegacyPrefix;
use super::new_segment::copy_ending_in_newline;
use crate::error::store_error;
use crate::store_core::StoreCore;

/// A file that was taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImportedFile {
    /// The thread that holds its lines now.
    pub thread_id: ThreadId,
    /// The thread whose copy it was. `None` if no thread of the home had its id.
    pub forked_from_id: Option<ThreadId>,
    /// The new file.
    pub path: PathBuf,
    /// The number of its lines, heads not counted.
    pub lines: u64,
    /// The number of those that were nowhere in the home.
    pub new_lines: u64,
}

/// What the first lines of a file say about it.
#[derive(Default)]
struct StrayHead {
    meta: Option<SessionMeta>,
    /// The bytes and the ordinal of the line with the head.
    line: Option<(Range<u64>, Option<u64>)>,
    /// The time of the first line that has one.
    began_at: Option<Timestamp>,
    has_ordinals: bool,
}

impl StoreCore {
    /// Takes in a rollout file.
    pub(crate) fn import_file(&self, source: &Path) -> Result<ImportedFile> {
        let metadata = fs::metadata(source).map_err(|error| cannot_read(source, error))?;
        if !metadata.is_file() {
            return Err(StoreError::invalid(format!("{} is no regular file", source.display())));
        }
        let head = StrayHead::read(source).map_err(store_error)?;
        let files = self.files()?;
        let StrayLines { lines, new_lines, .. } = StrayLines::compare(&files, source).map_err(store_error)?;
        if lines == 0 {
            return Err(StoreError::invalid(format!("{} holds no line of a rollout", source.display())));
        }
        if new_lines == 0 {
            let why = format!("{} holds nothing new: all of its {lines} lines are in the home", source.display());
            return Err(StoreError::invalid(why));
        }
        // By its head, or by its name if it has none.
        let name = source.file_name().and_then(|name| name.to_str()).and_then(RolloutFileName::parse);
        let id = match &head.meta {
            Some(meta) => meta.id,
            None => name.as_ref().map(|name| name.thread_id),
        };
        let name = name.filter(|name| Some(name.thread_id) == id).map(|name| name.plain());
        let is_archived = source.starts_with(self.home.archived_dir());
        let place = |name: &RolloutFileName| {
            if is_archived { self.home.archived_path(name) } else { self.home.active_path(name) }
        };
        let done = |thread_id, forked_from_id, path| ImportedFile { thread_id, forked_from_id, path, lines, new_lines };

        if let Some(id) = id
            && head.meta.is_some()
            && files.segments(id).is_empty()
        {
            self.live.ensure_not_live(id)?;
            // No writer may create the thread at the same time.
            let _lock = WriterLock::acquire(&self.home, id).map_err(store_error)?;
            let _references = ReferenceLock::shared(&self.home).map_err(store_error)?;
            self.ensure_id_is_free(&*self.files()?, id)?;
            let name = name.unwrap_or_else(|| RolloutFileName::new(head.created_at(Some(id)), id, None));
            let path = place(&name);
            self.home.write_new_file(&path, |out| copy_range(source, 0..u64::MAX, out)).map_err(store_error)?;
            return Ok(done(id, None, path));
        }

        let at = self.home.now();
        let thread_id = ThreadId::new(at);
        let forked_from_id = id.filter(|id| !files.segments(*id).is_empty());
        let meta = head.of_new_thread(thread_id, forked_from_id, at);
        let path = place(&RolloutFileName::new(at, thread_id, None));
        // The file may refer to other segments, as soon as it has its name.
        let _references = ReferenceLock::shared(&self.home).map_err(store_error)?;
        let write = |out: &mut dyn Write| match meta.mode() {
            HistoryMode::Legacy => {
                write_head(out, at, None, &meta)?;
                LegacyPrefix { file: stray_file(source, thread_id, at), end: u64::MAX }.copy(out, at)
            }
            HistoryMode::Paginated => {
                let (range, ordinal) = head.line.clone().unwrap_or((0..0, None));
                write_head(out, at, ordinal.or(Some(0)), &meta)?;
                copy_range(source, 0..range.start, out)?;
                copy_range(source, range.end..u64::MAX, out)
            }
        };
        self.home.write_new_file(&path, write).map_err(store_error)?;
        Ok(done(thread_id, forked_from_id, path))
    }
}

impl StrayHead {
    fn read(source: &Path) -> Result<Self, RolloutError> {
        let mut head = Self::default();
        for entry in RolloutReader::open(source)? {
            let Entry::Line(record) = entry? else { continue };
            head.began_at = head.began_at.or(record.line.timestamp());
            head.has_ordinals |= record.line.ordinal().is_some();
            if let RolloutItem::SessionMeta(meta) = record.line.item() {
                head.line = Some((record.range.clone(), record.line.ordinal()));
                head.meta = Some(*meta);
                break;
            }
        }
        Ok(head)
    }

    /// Returns when the thread was created.
    fn created_at(&self, id: Option<ThreadId>) -> Timestamp {
        let in_head = self.meta.as_ref().and_then(|meta| meta.timestamp);
        in_head.or(self.began_at).or_else(|| id.and_then(|id| id.made_at())).unwrap_or_default()
    }

    /// Returns the head of the thread that the file becomes.
    fn of_new_thread(&self, thread_id: ThreadId, forked_from_id: Option<ThreadId>, at: Timestamp) -> SessionMeta {
        let inferred = if self.has_ordinals { HistoryMode::Paginated } else { HistoryMode::Legacy };
        let old = self
            .meta
            .clone()
            .unwrap_or(SessionMeta { history_mode: Some(inferred), ..SessionMeta::new(thread_id, at) });
        let mode = old.mode();
        let base = old.history_base.clone();
        // A session of the old thread alone becomes one of the new thread alone.
        let meta = SessionMeta { id: Some(thread_id), timestamp: Some(at), session_id: None, ..old };
        match forked_from_id {
            Some(source) => fork_head(meta, source, mode, base),
            None => meta,
        }
    }
}

fn stray_file(source: &Path, thread_id: ThreadId, at: Timestamp) -> RolloutFile {
    RolloutFile { path: source.to_owned(), name: RolloutFileName::new(at, thread_id, None), archived: false }
}

fn write_head(out: &mut dyn Write, at: Timestamp, ordinal: Option<u64>, meta: &SessionMeta) -> io::Result<()> {
    let mut bytes = Vec::new();
    RolloutLine::encode(&mut bytes, at, ordinal, &meta.clone().into());
    out.write_all(&bytes)
}

/// Copies a range of the (decompressed) bytes of a file as they are, and ends them with a newline.
fn copy_range(source: &Path, range: Range<u64>, out: &mut dyn Write) -> io::Result<()> {
    if range.is_empty() {
        return Ok(());
    }
    let (bytes, _) = open_bytes(source, range).map_err(io::Error::other)?;
    copy_ending_in_newline(bytes, out)
}

fn cannot_read(source: &Path, error: io::Error) -> StoreError {
    StoreError::backend(format!("cannot read {}", source.display()), error)
}
