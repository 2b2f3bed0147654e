//! What every reader has because it has [`read_lines`](ThreadReader::read_lines).

use std::io::Write;

use selvedge_protocol::{SegmentId, ThreadId};

use crate::{Damage, EntryKind, LineEntry, LineQuery, LineStart, Result, StoreError, ThreadHistory, ThreadReader};

/// Hands every entry of a thread's history to `visit`, page by page.
async fn for_each_entry<R: ThreadReader + ?Sized>(
    reader: &R,
    thread_id: ThreadId,
    mut visit: impl FnMut(LineEntry) -> Result<()> + Send,
) -> Result<()> {
    let mut query = LineQuery::from(thread_id, LineStart::Beginning);
    loop {
        let page = reader.read_lines(&query).await?;
        if page.rewound_to.is_some() {
            // What was visited is not the thread any more.
            return Err(StoreError::PositionGone { thread_id });
        }
        page.entries.into_iter().try_for_each(&mut visit)?;
        if page.is_end {
            return Ok(());
        }
        query.start = LineStart::At(page.next);
    }
}

pub(crate) async fn export<R: ThreadReader + ?Sized>(
    reader: &R,
    thread_id: ThreadId,
    out: &mut (dyn Write + Send),
) -> Result<u64> {
    let mut written = 0;
    let mut missing = None;
    let visit = |entry: LineEntry| {
        if let EntryKind::Missing { bytes, reason } = entry.kind
            && written == 0
        {
            missing = Some((entry.segment, bytes, reason));
        }
        written += entry.bytes.len() as u64;
        out.write_all(&entry.bytes).map_err(|error| StoreError::backend("cannot write what is exported", error))
    };
    for_each_entry(reader, thread_id, visit).await?;
    match missing {
        None => Ok(written),
        Some((_, bytes, reason)) => Err(StoreError::Corrupt {
            thread_id,
            place: "the beginning of the history".to_owned(),
            range: 0..bytes.unwrap_or(0),
            reason: format!("{reason}; what is there was exported"),
        }),
    }
}

pub(crate) async fn load_history<R: ThreadReader + ?Sized>(reader: &R, thread_id: ThreadId) -> Result<ThreadHistory> {
    let mode = reader.read_session_meta(thread_id).await?.map(|head| head.mode()).unwrap_or_default();
    let mut history = ThreadHistory { thread_id, mode, lines: Vec::new(), inherited: 0, damage: Vec::new() };
    let mut place = SegmentPlace::default();
    for_each_entry(reader, thread_id, |entry| {
        place.take(entry, &mut history);
        Ok(())
    })
    .await?;
    Ok(history)
}

/// How far a segment was read.
#[derive(Default)]
struct SegmentPlace {
    segment: Option<SegmentId>,
    byte: u64,
    line: u64,
    /// Whether a damaged stretch goes on here.
    is_torn: bool,
}

impl SegmentPlace {
    /// A share begins with the first byte of its segment.
    fn enter(&mut self, segment: SegmentId) {
        if self.segment != Some(segment) {
            *self = Self { segment: Some(segment), byte: 0, line: 1, is_torn: false };
        }
    }

    /// Adds the next entry to what was read.
    fn take(&mut self, entry: LineEntry, history: &mut ThreadHistory) {
        self.enter(entry.segment);
        let (start, end) = (self.byte, self.byte + entry.bytes.len() as u64);
        let goes_on = std::mem::take(&mut self.is_torn);
        let line = self.line;
        let damage = |range, reason| Damage { place: format!("segment {}", entry.segment), range, line, reason };
        match &entry.kind {
            EntryKind::Line => {
                if let Some(line) = entry.line() {
                    history.inherited += usize::from(entry.inherited);
                    history.lines.push(line);
                }
            }
            EntryKind::Blank => {}
            EntryKind::Damage { reason, is_complete } => {
                self.is_torn = !is_complete;
                match history.damage.last_mut().filter(|_| goes_on) {
                    Some(stretch) => stretch.range.end = end,
                    None => history.damage.push(damage(start..end, reason.clone())),
                }
            }
            EntryKind::Missing { bytes, reason } => {
                history.damage.push(damage(start..start + bytes.unwrap_or(0), reason.clone()));
            }
        }
        self.byte = end;
        self.line += entry.bytes.iter().filter(|byte| **byte == b'\n').map(|_| 1).sum::<u64>();
    }
}

#[cfg(test)]
mod tests {
    use selvedge_protocol::HistoryMode;

    use super::*;

    fn entry(thread_id: ThreadId, bytes: &str, kind: EntryKind) -> LineEntry {
        let at = String::new().into();
        LineEntry { at, segment: thread_id.into(), inherited: false, bytes: bytes.into(), kind }
    }

    #[test]
    fn pieces_of_one_line_are_one_stretch_of_damage() {
        let [one, other] = [1, 2].map(|n| format!("01a1fd5d-0000-7000-8000-{n:012}").parse::<ThreadId>().unwrap());
        let mut history = ThreadHistory {
            thread_id: one,
            mode: HistoryMode::Legacy,
            lines: Vec::new(),
            inherited: 0,
            damage: Vec::new(),
        };
        let mut place = SegmentPlace::default();
        let piece = |is_complete| EntryKind::Damage { reason: "too long".to_owned(), is_complete };
        for entry in [
            entry(one, "\n", EntryKind::Blank),
            entry(one, "aaa", piece(false)),
            entry(one, "aa", piece(false)),
            entry(one, "a\n", piece(true)),
            entry(one, "b\n", piece(true)),
            entry(one, "torn", piece(false)),
            entry(other, "c\n", piece(true)),
        ] {
            place.take(entry, &mut history);
        }
        let found: Vec<_> = history.damage.iter().map(|damage| (damage.line, damage.range.clone())).collect();
        assert_eq!(found, [(2, 1..8), (3, 8..10), (4, 10..14), (1, 0..2)]);
    }
}
