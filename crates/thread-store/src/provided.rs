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
        place.enter(entry.segment);
        let end = place.byte + entry.bytes.len() as u64;
        let damage =
            |range, reason| Damage { place: format!("segment {}", entry.segment), range, line: place.line, reason };
        match &entry.kind {
            EntryKind::Line => {
                let Some(line) = entry.line() else { return Ok(()) };
                history.inherited += usize::from(entry.inherited);
                history.lines.push(line);
            }
            EntryKind::Blank => {}
            EntryKind::Damage { reason, .. } => history.damage.push(damage(place.byte..end, reason.clone())),
            EntryKind::Missing { bytes, reason } => {
                history.damage.push(damage(place.byte..place.byte + bytes.unwrap_or(0), reason.clone()));
            }
        }
        place.byte = end;
        place.line += entry.bytes.iter().filter(|byte| **byte == b'\n').map(|_| 1).sum::<u64>();
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
}

impl SegmentPlace {
    /// A share begins with the first byte of its segment.
    fn enter(&mut self, segment: SegmentId) {
        if self.segment != Some(segment) {
            *self = Self { segment: Some(segment), byte: 0, line: 1 };
        }
    }
}
