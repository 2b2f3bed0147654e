//! What happened in a thread, read from all of its segments.

use selvedge_history::{ActivityFold, PrefixEnd, ThreadActivity, has_no_activity};
use selvedge_protocol::log::Entry;
use selvedge_protocol::{RolloutLine, ThreadId};

use super::backward_reader::BackwardEntry;
use super::head::read_head;
use super::part::HistoryPart;
use super::reader::HistoryEntry;
use super::resolve::ResolvedHistory;
use crate::error::Result;
use crate::home::{HomeFiles, RolloutFile};

/// How many bases of a segment are searched for the newest count and the newest model. They are in the first one, unless
/// somebody reverted again and again and nothing happened in between. The limit bounds the work for a chain that was built to be
/// long.
const MAX_BASES: usize = 64;

impl ResolvedHistory {
    /// Reads what happened in the thread: in the segments of its history, and in those that it has abandoned.
    ///
    /// # Errors
    /// If the newest segment cannot be read, or a file was moved.
    pub fn read_activity(&self, files: &HomeFiles) -> Result<ThreadActivity> {
        let mut fold = self.begin_activity(files)?;
        fold_lines(&mut fold, self.newest())?;
        Ok(fold.finish().0)
    }

    /// Returns a fold that has the thread's own segments except the newest one of the history, whose lines have to come next. An
    /// older segment that cannot be read is left out: it must not hide the others.
    ///
    /// # Errors
    /// If a file was moved.
    pub fn begin_activity(&self, files: &HomeFiles) -> Result<ActivityFold> {
        let own = files.segments(self.thread_id);
        let mut fold = ActivityFold::new(self.thread_id, self.fallback_created_at(), own.len());
        let newest = self.newest();
        for file in own.iter().filter(|file| file.name.segment_id() != newest.name.segment_id()) {
            begin_segment(&mut fold, files, file)?;
            if_readable(fold_lines(&mut fold, file))?;
        }
        match (&self.parts[..], &self.missing) {
            // Most threads build on nothing, which is known without reading the head again.
            ([_], None) => fold.begin_segment(),
            _ => begin_segment(&mut fold, files, newest)?,
        }
        Ok(fold)
    }
}

/// Begins a segment: takes from the lines on which it builds where its counter is. Those are read from their end.
fn begin_segment(fold: &mut ActivityFold, files: &HomeFiles, file: &RolloutFile) -> Result<()> {
    fold.begin_segment();
    let mut builder = HistoryPart { file: file.clone(), end: None };
    for _ in 0..MAX_BASES {
        let Some(head) = if_readable(read_head(&builder.file))? else { break };
        let Some(reference) = head.and_then(|head| head.history_base) else { return Ok(()) };
        let Some(base) = reference.thread_id.and_then(|segment_id| files.segment(segment_id)) else { break };
        let end = PrefixEnd::of(&reference, builder.file.name.segment_id()).within(builder.end);
        let part = HistoryPart { file: base.clone(), end: Some(end) };
        match if_readable(fold_base(fold, file.name.thread_id, &part))? {
            Some(true) => return Ok(()),
            Some(false) => builder = part,
            None => break,
        }
    }
    fold.miss_base_lines();
    Ok(())
}

/// Takes the lines of a base, the last one first. Returns whether no earlier one matters.
fn fold_base(fold: &mut ActivityFold, thread_id: ThreadId, part: &HistoryPart) -> Result<bool> {
    let part = ResolvedHistory { thread_id, parts: vec![part.clone()], missing: None };
    for entry in part.backwards() {
        match entry? {
            BackwardEntry::Line { record, .. } => {
                if fold.observe_base_back(&record.line) {
                    return Ok(true);
                }
            }
            BackwardEntry::Damage { .. } => {}
            BackwardEntry::NeedsForwardRead => return fold_base_forwards(fold, &part),
        }
    }
    Ok(false)
}

/// Takes a base that cannot be read from its end: finds the last lines that matter, and takes these.
fn fold_base_forwards(fold: &mut ActivityFold, part: &ResolvedHistory) -> Result<bool> {
    let (mut total, mut model): (Option<RolloutLine>, Option<RolloutLine>) = (None, None);
    for entry in part.reader_skipping(has_no_activity) {
        match entry? {
            HistoryEntry::Entry { entry: Entry::Line(record), .. } => {
                let (has_total, has_model) = ActivityFold::tells(&record.line);
                if has_total {
                    total = Some(record.line);
                } else if has_model {
                    model = Some(record.line);
                }
            }
            HistoryEntry::Entry { .. } => {}
            HistoryEntry::Short { .. } => fold.miss_base_lines(),
        }
    }
    let mut is_complete = false;
    for line in [total, model].iter().flatten() {
        is_complete = fold.observe_base_back(line);
    }
    Ok(is_complete)
}

/// Takes the own lines of a segment.
fn fold_lines(fold: &mut ActivityFold, file: &RolloutFile) -> Result<()> {
    let part = HistoryPart { file: file.clone(), end: None };
    let segment = ResolvedHistory { thread_id: file.name.thread_id, parts: vec![part], missing: None };
    for entry in segment.reader_skipping(has_no_activity) {
        if let HistoryEntry::Entry { entry: Entry::Line(record), .. } = entry? {
            fold.observe(&record.line, record.range.end);
        }
    }
    Ok(())
}

/// Returns `None` instead of an error, unless a file was moved: then it has to be looked for.
fn if_readable<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_gone() => Err(error),
        Err(_) => Ok(None),
    }
}
