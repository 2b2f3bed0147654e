//! Scans a thread: folds the lines of its whole history, or folds appended lines onto what the index knows.

use selvedge_history::{ActivityFold, ActivityFoldState, MetadataFold, ThreadActivity};
use selvedge_protocol::log::Entry;
use selvedge_protocol::{RolloutLine, SegmentId, StoredThread, ThreadId};
use selvedge_rollout::{FileStamp, HistoryEntry, HomeFiles, ResolvedHistory, RolloutFile, RolloutReader, now};

use crate::error::Result;
use crate::indexed_prefix::IndexedPrefix;
use crate::open_turns::{OpenTurnScan, ScannedLines};
use selvedge_history::turn_index::{KeptSizes, TurnIndexer, TurnRows, TurnSink};

/// The result of a scan.
#[derive(Clone, Debug)]
pub(crate) struct ScannedThread {
    /// The thread record, without what is not in the log: name, archived and location.
    pub(crate) thread: StoredThread,
    /// The stamp of the newest segment before it was read.
    pub(crate) stamp: FileStamp,
    /// How far the newest segment was read.
    pub(crate) prefix: IndexedPrefix,
    /// A number of the scan of the whole history to which everything here goes back.
    pub(crate) scan_id: i64,
    /// Whether the next scan can read only what was appended.
    pub(crate) is_resumable: bool,
    /// The other segments of the history's chain, oldest first, and last one that is missing if there is such. Empty if only
    /// appended lines were read.
    pub(crate) bases: Vec<SegmentId>,
    /// Whether a base is missing, or shorter than the thread refers to.
    pub(crate) is_incomplete: bool,
    pub(crate) turns: TurnRows,
    pub(crate) activity: ThreadActivity,
    /// The state of the activity after the last line.
    pub(crate) activity_state: ActivityFoldState,
    /// The ends, exclusive, of the inherited prefixes: a byte offset for each part except the last.
    pub(crate) inherited_ends: Vec<u64>,
    pub(crate) bytes_read: u64,
}

/// Reads the whole history of a thread, and what happened in its other segments. `files` are those among which the history was
/// resolved.
pub(crate) fn scan(files: &HomeFiles, resolved: &ResolvedHistory, sink: &mut impl TurnSink) -> Result<ScannedThread> {
    // The first attempt hands on turns and items early to bound memory. That is right for nearly every thread. Only a line that changes
    // what was handed on already makes a second attempt necessary, which keeps everything until the end.
    let scanned = scan_whole(files, resolved, Some(KeptSizes::default()), sink)?;
    if !scanned.turns.affects_earlier_turns && !scanned.turns.changes_handed_items {
        return Ok(scanned);
    }
    sink.restart_thread();
    let again = scan_whole(files, resolved, None, sink)?;
    Ok(ScannedThread { bytes_read: scanned.bytes_read + again.bytes_read, ..again })
}

fn scan_whole(
    files: &HomeFiles,
    resolved: &ResolvedHistory,
    kept: Option<KeptSizes>,
    sink: &mut impl TurnSink,
) -> Result<ScannedThread> {
    let newest = resolved.newest();
    // Before the first line is read: if lines are appended meanwhile, the next plan finds another stamp.
    let stamp = FileStamp::read(&newest.path)?;
    let last_part = resolved.parts.len() - 1;
    let mut fold = MetadataFold::new(resolved.thread_id, resolved.fallback_created_at());
    let mut activity = resolved.begin_activity(files)?;
    let mut indexer = TurnIndexer::whole(kept);
    let mut prefix = IndexedPrefix::default();
    let mut has_own_head = false;
    let mut is_incomplete = resolved.missing.is_some();
    let mut inherited_ends = vec![0; last_part];
    let mut bytes_read = 0;
    for entry in resolved.reader() {
        let (part, record) = match entry? {
            HistoryEntry::Entry { part, entry: Entry::Line(record) } => (part, record),
            HistoryEntry::Entry { part, entry: Entry::Damage(damage) } => {
                indexer.push_damage(part, damage.number);
                continue;
            }
            // A base ends before the position at which the thread branches off.
            HistoryEntry::Short { .. } => {
                is_incomplete = true;
                continue;
            }
        };
        bytes_read += record.range.end - record.range.start;
        // Inherited lines belong to another thread: only some of them affect the record of this one.
        if resolved.is_inherited(part) {
            fold.observe_inherited(&record.line);
        } else {
            fold.observe_line(&record.line);
        }
        indexer.push_line(part, &record, sink);
        if part == last_part {
            activity.observe(&record.line, record.range.end);
            has_own_head |= is_head(&record.line);
            prefix.extend(&record);
        } else {
            inherited_ends[part] = record.range.end;
        }
    }
    let turns = indexer.finish(last_part, prefix.end, sink);
    // A compressed file cannot be read from an offset, and does not grow.
    let is_resumable = has_own_head && !newest.name.compressed && turns.resume_point.is_some();
    let bases = resolved.parts[..last_part].iter().map(|part| part.file.name.segment_id());
    let (activity, activity_state) = activity.finish();
    let missing = resolved.missing.iter().map(|missing| missing.segment_id);
    Ok(ScannedThread {
        thread: fold.into_thread(),
        stamp,
        prefix,
        scan_id: new_scan_id(),
        is_resumable,
        bases: bases.chain(missing).collect(),
        inherited_ends,
        is_incomplete,
        turns,
        activity,
        activity_state,
        bytes_read,
    })
}

/// What the index knows of a thread whose log grew.
#[derive(Clone, Debug)]
pub(crate) struct ResumableThread {
    pub(crate) thread: StoredThread,
    /// How many files its history is in.
    pub(crate) parts: usize,
    pub(crate) lines: ScannedLines,
    pub(crate) activity: ThreadActivity,
    pub(crate) activity_state: ActivityFoldState,
}

/// Reads what was appended to a file, and folds it onto what the index knows. `paused` is the scan of the open turn that can go on. Returns
/// `None` if an appended line changes the meaning of lines before it, so that the whole history has to be read; and the scan of the turn that
/// is open now, if it can go on.
pub(crate) fn scan_tail(
    file: &RolloutFile,
    known: &ResumableThread,
    paused: Option<OpenTurnScan>,
    sink: &mut impl TurnSink,
) -> Result<Option<(ScannedThread, Option<OpenTurnScan>)>> {
    let paused = paused.map(|paused| (paused.lines.prefix.end, paused.indexer));
    // As for a whole scan, the first attempt bounds memory.
    let resumed = [Some(KeptSizes::default()), None].into_iter().map(|kept| {
        let indexer = TurnIndexer::resume(&known.lines.resume_point, known.parts.saturating_sub(1), kept);
        (known.lines.resume_point.byte, indexer)
    });
    let mut read_in_vain = 0;
    for (from, indexer) in paused.into_iter().chain(resumed) {
        match scan_tail_from(file, known, from, indexer, sink)? {
            TailScan::Scanned(mut scanned) => {
                scanned.0.bytes_read += read_in_vain;
                return Ok(Some(*scanned));
            }
            TailScan::ChangesHandedItems { bytes_read } => {
                read_in_vain += bytes_read;
                sink.restart_thread();
            }
            TailScan::Impossible => break,
        }
    }
    Ok(None)
}

/// The outcome of a scan of appended lines.
enum TailScan {
    Scanned(Box<(ScannedThread, Option<OpenTurnScan>)>),
    /// Lines changed what was handed on already.
    ChangesHandedItems {
        bytes_read: u64,
    },
    /// The whole history has to be read.
    Impossible,
}

/// Reads a file from the byte `from` on, at which the lines begin that the indexer does not have.
fn scan_tail_from(
    file: &RolloutFile,
    known: &ResumableThread,
    from: u64,
    mut indexer: TurnIndexer,
    sink: &mut impl TurnSink,
) -> Result<TailScan> {
    // Two positions matter. The resume point is where the turn begins that may still be open, and its lines are projected
    // again, unless the indexer goes on. The end of the prefix is where appended lines begin, and only those are folded into the record:
    //
    //   ├── indexed turns ──┬── last turn ───────┬── appended lines ──▶
    //                       resume point         end of the prefix
    //   turns:              └── projected again ─────────────────────▶
    //   record, activity:                        └── folded ─────────▶
    let stamp = FileStamp::read(&file.path)?;
    let mut prefix = known.lines.prefix;
    let mut activity = ActivityFold::resume(known.thread.id, known.activity.clone(), known.activity_state.clone());
    let appended_at = prefix.end;
    let last_part = known.parts.saturating_sub(1);
    let mut fold = MetadataFold::resume(known.thread.clone());
    let mut bytes_read = 0;
    for entry in RolloutReader::open_range(&file.path, from.min(appended_at)..u64::MAX)? {
        let record = match entry? {
            Entry::Line(record) => record,
            Entry::Damage(damage) => {
                indexer.push_damage(last_part, damage.number);
                continue;
            }
        };
        let is_appended = record.range.start >= appended_at;
        // A second head can change where the thread comes from.
        if is_appended && is_head(&record.line) {
            return Ok(TailScan::Impossible);
        }
        bytes_read += record.range.end - record.range.start;
        if is_appended {
            fold.observe_line(&record.line);
            activity.observe(&record.line, record.range.end);
            prefix.extend(&record);
        }
        indexer.push_line(last_part, &record, sink);
    }
    let paused = indexer.pause(last_part, prefix.end, sink);
    let (turns, open) = match paused {
        Some(turns) => (turns, Some(indexer)),
        None => (indexer.finish(last_part, prefix.end, sink), None),
    };
    let Some(resume_point) = turns.resume_point.filter(|_| !turns.affects_earlier_turns) else {
        return Ok(TailScan::Impossible);
    };
    if turns.changes_handed_items {
        return Ok(TailScan::ChangesHandedItems { bytes_read });
    }
    let (path, lines) = (file.path.clone(), ScannedLines { resume_point, prefix, ..known.lines });
    let open = open.map(|indexer| OpenTurnScan { path, lines, indexer });
    let (activity, activity_state) = activity.finish();
    let scanned = ScannedThread {
        thread: fold.into_thread(),
        stamp,
        prefix,
        scan_id: known.lines.scan_id,
        is_resumable: true,
        bases: Vec::new(),
        inherited_ends: Vec::new(),
        is_incomplete: false,
        turns,
        activity,
        activity_state,
        bytes_read,
    };
    Ok(TailScan::Scanned(Box::new((scanned, open))))
}

/// Returns a number that no other scan has.
fn new_scan_id() -> i64 {
    // The last bits of an id are random.
    let id = ThreadId::new(now()).as_uuid().as_u128();
    i64::from_ne_bytes((id as u64).to_ne_bytes())
}

fn is_head(line: &RolloutLine) -> bool {
    line.kind() == "session_meta"
}
