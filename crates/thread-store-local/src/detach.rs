//! Detaching: a thread that builds on others gets a segment that holds its whole history.
//!
//! Every line keeps its ordinal, and the bytes that are copied stay as they are, damage too, with two exceptions. The first
//! line is the head of the segment that the history began in; it gives its place and its ordinal to a head of the thread
//! itself. And heads behind it are spelt as copied ones, because Codex takes any other for the beginning of the file.
//!
//! The new segment holds all that the newest one before it does. It takes that one's place, unless somebody builds on it:
//! an index of Codex goes on from the file that it knows, and would find there a base that may be gone by then.

use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use selvedge_history::detached_head;
use selvedge_protocol::{HistoryMode, RolloutLine, SessionMeta, ThreadId, Timestamp};
use selvedge_rollout::{
    Entry, HistoryEntry, HomeFiles, LineRecord, ReferenceLock, ResolvedHistory, RolloutError, RolloutFile, now,
    open_bytes, read_head,
};
use selvedge_thread_store::Result;

use crate::error::{corrupt, store_error, while_gone};
use crate::export::share_ends;
use crate::history::missing_damage;
use crate::store::Inner;

impl Inner {
    pub(crate) fn detach(&self, thread_id: ThreadId) -> Result<()> {
        let _lock = self.lock_cold(thread_id)?;
        // The newest segment may be replaced, unless somebody builds on it.
        let _references = ReferenceLock::exclusive(&self.home).map_err(store_error)?;
        // A copy that broke off because a base was moved has changed nothing.
        while_gone(|| {
            let (files, resolved) = self.resolve(self.files()?, thread_id)?;
            if let Some(missing) = missing_damage(&resolved) {
                return Err(corrupt(thread_id, missing));
            }
            if (0..resolved.parts.len()).any(|part| resolved.is_inherited(part)) {
                self.copy_into_segment(&files, &resolved)?;
            }
            Ok(())
        })
    }

    /// Writes the whole history as the thread's newest segment, all at once or not at all.
    fn copy_into_segment(&self, files: &HomeFiles, resolved: &ResolvedHistory) -> Result<()> {
        let pieces = pieces(resolved)?;
        let write = |out: &mut dyn Write| pieces.iter().try_for_each(|piece| piece.write(out));
        let newest = resolved.newest();
        if is_built_on(files, newest)? {
            let path = self.next_segment(files, resolved, now()).path;
            return self.home.write_new_file(&path, write).map_err(store_error);
        }
        if !newest.name.compressed {
            return self.home.replace_file(&newest.path, write).map_err(store_error);
        }
        // A plain file counts more than its compressed sibling, so that nothing is wrong if that one stays.
        self.home.write_new_file(&newest.path.with_extension(""), write).map_err(store_error)?;
        if let Err(error) = self.home.remove_file(&newest.path) {
            tracing::warn!(thread_id = %resolved.thread_id, %error, "a compressed file stays beside its detached copy");
        }
        Ok(())
    }
}

/// Whether any segment of the home has this one as its base.
fn is_built_on(files: &HomeFiles, segment: &RolloutFile) -> Result<bool> {
    let segment_id = Some(segment.name.segment_id());
    for file in files.threads().flat_map(|(_, segments)| segments) {
        let base = read_head(file).map_err(store_error)?.and_then(|head| head.history_base);
        if base.is_some_and(|base| base.thread_id == segment_id) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A head within a history.
struct Head {
    part: usize,
    range: Range<u64>,
}

/// What is known of the heads of a history.
#[derive(Default)]
struct Heads {
    /// The history's first line, if it is a head. A history that has lost it to damage has its ordinal to spare.
    first: Option<Head>,
    /// The thread's own first one, with its line's time.
    own: Option<(Option<Timestamp>, SessionMeta)>,
    /// All but the first line.
    others: Vec<Head>,
}

impl Heads {
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
        let head = Head { part, range: record.range.clone() };
        if is_first && record.line.ordinal().is_none_or(|ordinal| ordinal == 0) {
            self.first = Some(head);
        } else {
            self.others.push(head);
        }
        if self.own.is_none() && !resolved.is_inherited(part) {
            let head = read_head(&resolved.parts[part].file).map_err(store_error)?;
            self.own = head.map(|head| (record.line.timestamp(), head));
        }
        Ok(())
    }

    /// The line that the copy begins with.
    fn first_line(&self, thread_id: ThreadId) -> Vec<u8> {
        let (at, head) = self.own.clone().unwrap_or_default();
        // Whoever wrote the segment may have called the thread otherwise; the file's name is what counts.
        let head = SessionMeta { id: Some(thread_id), ..head };
        let at = at.or(head.timestamp).unwrap_or_else(now);
        let ordinal = (head.mode() == HistoryMode::Paginated).then_some(0);
        let mut bytes = Vec::new();
        RolloutLine::encode(&mut bytes, at, ordinal, &detached_head(head).into());
        bytes
    }
}

/// What a copy is made of.
enum Piece {
    /// The first line.
    Line(Vec<u8>),
    /// Bytes of a file.
    Bytes(PathBuf, Range<u64>),
    /// A line of a file that is a head.
    Head(PathBuf, Range<u64>),
}

fn pieces(resolved: &ResolvedHistory) -> Result<Vec<Piece>> {
    let heads = Heads::of(resolved)?;
    let mut pieces = vec![Piece::Line(heads.first_line(resolved.thread_id))];
    for (part, (share, end)) in resolved.parts.iter().zip(share_ends(resolved)?).enumerate() {
        let path = &share.file.path;
        let mut done = 0;
        for head in heads.first.iter().filter(|head| head.part == part) {
            pieces.push(Piece::Bytes(path.clone(), done..head.range.start));
            done = head.range.end;
        }
        for head in heads.others.iter().filter(|head| head.part == part) {
            pieces.push(Piece::Bytes(path.clone(), done..head.range.start));
            pieces.push(Piece::Head(path.clone(), head.range.clone()));
            done = head.range.end;
        }
        pieces.push(Piece::Bytes(path.clone(), done..end));
    }
    Ok(pieces)
}

impl Piece {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Line(line) => out.write_all(line),
            Self::Bytes(path, range) => copy(open(path, range)?, out),
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

/// Copies bytes as they are. What stands behind them begins on a line of its own.
fn copy(mut bytes: impl Read, out: &mut dyn Write) -> io::Result<()> {
    let mut block = vec![0; 1 << 16];
    let mut last = b'\n';
    loop {
        let len = bytes.read(&mut block)?;
        let Some(end) = block[..len].last() else { break };
        last = *end;
        out.write_all(&block[..len])?;
    }
    if last == b'\n' { Ok(()) } else { out.write_all(b"\n") }
}
