//! Detaching: a thread that builds on others gets a segment that holds its whole history.
//!
//! Every line keeps its ordinal, and the copied bytes stay as they are, damage included, with two exceptions:
//!
//! - The first line is the head of the segment in which the history begins. It is replaced by a head of the thread itself, under
//!   the same ordinal.
//! - Later heads become `copied_session_meta` lines, because Codex takes any `session_meta` for the beginning of the file.
//!
//! ```text
//!   before   base      │ head A │ a1 a2 │ (more of A)          after  │ head B, ordinal 0 │ a1 a2 │ copied head B │ b1 b2 │
//!            newest    │ head B, base: A │ b1 b2 │
//! ```
//!
//! The new segment contains everything that the newest one contains. So it replaces that one, unless another segment builds on
//! it. Replacing is better than adding a segment: an index of Codex continues in the file that it knows, and would find a base
//! there that may be deleted by then.
//!
//! The step by which the change takes effect is the rename, or the new name, of the finished copy. A crash before it leaves the
//! old history and a temporary file. One case has a step after it: if the newest segment was compressed, the plain copy
//! appears beside it, and readers use it from then on. A crash before the compressed file is removed leaves a file that readers
//! ignore.

use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use selvedge_history::detached_head;
use selvedge_protocol::log::{Entry, LineRecord};
use selvedge_protocol::{HistoryMode, RolloutItem, RolloutLine, SessionMeta, ThreadId, Timestamp};
use selvedge_rollout::{
    HistoryEntry, HomeFiles, ReferenceLock, ResolvedHistory, RolloutError, RolloutFile, now, open_bytes, read_head,
};
use selvedge_thread_store::Result;

use super::new_segment::copy_ending_in_newline;
use crate::error::{corrupt, retry_if_moved, store_error};
use crate::read::damage::missing_damage;
use crate::read::inherited_prefix::prefix_ends;
use crate::store_core::{FoundHistory, StoreCore};

impl StoreCore {
    pub(crate) fn detach(&self, thread_id: ThreadId) -> Result<()> {
        let _lock = self.lock_cold(thread_id)?;
        // The newest segment may be replaced. While this lock is held, no other segment begins to refer to it.
        let _references = ReferenceLock::exclusive(&self.home).map_err(store_error)?;
        // Safe to repeat: a copy that failed because a base was moved has changed nothing.
        retry_if_moved(|| {
            let FoundHistory { files, resolved } = self.resolve(self.files()?, thread_id)?;
            if let Some(missing) = missing_damage(&resolved) {
                return Err(corrupt(thread_id, missing));
            }
            if (0..resolved.parts.len()).any(|part| resolved.is_inherited(part)) {
                self.copy_into_segment(&files, &resolved)?;
            }
            Ok(())
        })
    }

    /// Writes the whole history as the thread's newest segment, atomically.
    fn copy_into_segment(&self, files: &HomeFiles, resolved: &ResolvedHistory) -> Result<()> {
        let pieces = copy_pieces(resolved)?;
        let write = |out: &mut dyn Write| pieces.iter().try_for_each(|piece| piece.write(out));
        let newest = resolved.newest();
        if is_built_on(files, newest)? {
            let path = self.next_segment(files, resolved, now()).path;
            return self.home.write_new_file(&path, write).map_err(store_error);
        }
        if !newest.name.compressed {
            return self.home.replace_file(&newest.path, write).map_err(store_error);
        }
        // There is no rename that turns a compressed name into a plain one and replaces the file as well. A plain file counts
        // more than its compressed sibling, so the copy counts immediately, and a sibling that stays does no harm.
        self.home.write_new_file(&newest.path.with_extension(""), write).map_err(store_error)?;
        if let Err(error) = self.home.remove_file(&newest.path) {
            tracing::warn!(thread_id = %resolved.thread_id, %error, "a compressed file stays beside its detached copy");
        }
        Ok(())
    }
}

/// Returns whether any segment of the home has, or may have, this one as its base.
fn is_built_on(files: &HomeFiles, segment: &RolloutFile) -> Result<bool> {
    // Such a segment may be in a directory that cannot be read. What it may refer to has to stay.
    if files.unreadable().next().is_some() {
        return Ok(true);
    }
    let segment_id = Some(segment.name.segment_id());
    // The heads of all segments, abandoned ones too: their bases have to stay as well.
    for file in files.threads().flat_map(|(_, segments)| segments) {
        let base = read_head(file).map_err(store_error)?.and_then(|head| head.history_base);
        if base.is_some_and(|base| base.thread_id == segment_id) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The position of a head in a history.
struct HeadPosition {
    part: usize,
    range: Range<u64>,
}

/// The heads of a history.
#[derive(Default)]
struct HistoryHeads {
    /// The history's first line, if it is a head. `None` if damage has taken that line: then its ordinal is free.
    first: Option<HeadPosition>,
    /// The head in that line.
    replaced: Option<SessionMeta>,
    /// The first head of the thread itself, with the time of its line.
    own: Option<(Option<Timestamp>, SessionMeta)>,
    /// All heads but the first line.
    others: Vec<HeadPosition>,
}

impl HistoryHeads {
    fn of(resolved: &ResolvedHistory) -> Result<Self> {
        let mut heads = Self::default();
        let mut is_first = true;
        for entry in resolved.reader() {
            let HistoryEntry::Entry { part, entry: Entry::Line(record) } = entry.map_err(store_error)? else {
                continue;
            };
            if record.line.kind() == "session_meta" {
                heads.add(resolved, part, &record, is_first)?;
            }
            is_first = false;
        }
        Ok(heads)
    }

    fn add(&mut self, resolved: &ResolvedHistory, part: usize, record: &LineRecord, is_first: bool) -> Result<()> {
        let head = HeadPosition { part, range: record.range.clone() };
        // The first intact line may be a later head, if the real first line is damaged. Its ordinal shows which one it is.
        if is_first && record.line.ordinal().is_none_or(|ordinal| ordinal == 0) {
            self.first = Some(head);
            if let RolloutItem::SessionMeta(replaced) = record.line.item() {
                self.replaced = Some(*replaced);
            }
        } else {
            self.others.push(head);
        }
        if self.own.is_none() && !resolved.is_inherited(part) {
            let head = read_head(&resolved.parts[part].file).map_err(store_error)?;
            self.own = head.map(|head| (record.line.timestamp(), head));
        }
        Ok(())
    }

    /// Returns the line that the copy begins with.
    fn first_line(&self, thread_id: ThreadId) -> Vec<u8> {
        let (at, head) = self.own.clone().unwrap_or_default();
        // The file name decides which thread a segment belongs to. Its head may have a different id.
        let head = SessionMeta { id: Some(thread_id), ..head };
        let at = at.or(head.timestamp).unwrap_or_else(now);
        let ordinal = (head.mode() == HistoryMode::Paginated).then_some(0);
        let mut bytes = Vec::new();
        RolloutLine::encode(&mut bytes, at, ordinal, &detached_head(head, self.replaced.as_ref()).into());
        bytes
    }
}

/// A piece of the copy.
enum CopyPiece {
    /// The first line.
    FirstLine(Vec<u8>),
    /// Bytes of a file, copied as they are.
    Bytes(PathBuf, Range<u64>),
    /// A line of a file that is a head, to be rewritten as a copied one.
    Head(PathBuf, Range<u64>),
}

/// Cuts the history into pieces: each part at its heads. Nothing is read here but the heads, so the copy streams.
fn copy_pieces(resolved: &ResolvedHistory) -> Result<Vec<CopyPiece>> {
    let heads = HistoryHeads::of(resolved)?;
    let mut pieces = vec![CopyPiece::FirstLine(heads.first_line(resolved.thread_id))];
    for (number, (part, end)) in resolved.parts.iter().zip(prefix_ends(resolved)?).enumerate() {
        let path = &part.file.path;
        // Everything before this offset is in a piece already.
        let mut done = 0;
        for head in heads.first.iter().filter(|head| head.part == number) {
            pieces.push(CopyPiece::Bytes(path.clone(), done..head.range.start));
            // `FirstLine` replaces it.
            done = head.range.end;
        }
        for head in heads.others.iter().filter(|head| head.part == number) {
            pieces.push(CopyPiece::Bytes(path.clone(), done..head.range.start));
            pieces.push(CopyPiece::Head(path.clone(), head.range.clone()));
            done = head.range.end;
        }
        pieces.push(CopyPiece::Bytes(path.clone(), done..end));
    }
    Ok(pieces)
}

impl CopyPiece {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::FirstLine(line) => out.write_all(line),
            Self::Bytes(path, range) => copy_ending_in_newline(open(path, range)?, out),
            Self::Head(path, range) => {
                let mut text = String::new();
                open(path, range)?.read_to_string(&mut text)?;
                let copied = RolloutLine::parse(&text).map(|line| line.as_copied_head()).unwrap_or(text);
                writeln!(out, "{}", copied.trim_end())
            }
        }
    }
}

fn open(path: &Path, range: &Range<u64>) -> io::Result<Box<dyn Read + Send>> {
    let opened: Result<_, RolloutError> = open_bytes(path, range.clone());
    opened.map(|(bytes, _)| bytes).map_err(io::Error::other)
}
