//! The lines of a segment, block by block: what is folded over a history needs memory for a block and not for the history.

use std::ops::Range;

use selvedge_protocol::log::{LineRecord, RawContent, RawReader};
use selvedge_protocol::{RolloutLine, SegmentId, ThreadId};
use selvedge_thread_store::implement::first_line;
use sqlx::postgres::PgConnection;

use crate::error::AttemptError;
use crate::host::PostgresHost;

/// How many bytes are loaded at once, unless a line has more. Backwards, the first blocks are smaller: often a few lines are enough.
const BLOCK: Range<u64> = 16 << 10..1 << 20;

/// Returns the intact lines of a block that begins at the byte `start` of its segment, where a line begins.
pub(crate) fn lines_of(block: &[u8], start: u64) -> impl Iterator<Item = LineRecord> {
    // A slice has no errors.
    RawReader::new(block, start).map_while(Result::ok).filter_map(|entry| match entry.content {
        RawContent::Line(line) => Some(LineRecord { line, range: entry.range, number: 0 }),
        RawContent::Blank | RawContent::Damage { .. } => None,
    })
}

impl PostgresHost {
    /// Passes the lines of a segment in a range of bytes to a function, in their order. The range begins where a line does. Returns
    /// the byte after the last line that has its newline.
    pub(crate) async fn for_each_line(
        &self,
        connection: &mut PgConnection,
        place: (ThreadId, SegmentId),
        range: Range<u64>,
        mut take: impl FnMut(&LineRecord),
    ) -> Result<u64, AttemptError> {
        let (mut start, mut whole_to, mut size) = (range.start, range.start, BLOCK.end);
        loop {
            let asked = start..start.saturating_add(size).min(range.end);
            let block = self.bytes(connection, place, asked.clone()).await?;
            // The bytes after the last newline belong to a line that continues in the next block.
            let whole = block.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let is_last = asked.end == range.end || (block.len() as u64) < asked.end - asked.start;
            let used = if is_last { block.len() } else { whole };
            if used == 0 && !is_last {
                size *= 2;
                continue;
            }
            lines_of(&block[..used], start).for_each(|record| take(&record));
            if whole > 0 {
                whole_to = start + whole as u64;
            }
            if is_last {
                return Ok(whole_to);
            }
            (start, size) = (start + used as u64, BLOCK.end);
        }
    }

    /// Passes the lines of a segment before a byte to a function, the last one first, until it returns `true`. Returns whether it did.
    pub(crate) async fn find_line_back(
        &self,
        connection: &mut PgConnection,
        place: (ThreadId, SegmentId),
        before: u64,
        mut is_found: impl FnMut(&RolloutLine) -> bool,
    ) -> Result<bool, AttemptError> {
        let (mut end, mut size) = (before, BLOCK.start);
        while end > 0 {
            let start = end.saturating_sub(size);
            let block = self.bytes(connection, place, start..end).await?;
            if block.is_empty() {
                end = start;
                continue;
            }
            size = (size * 2).min(BLOCK.end.max(size));
            let Some(first) = first_line(start, &block) else {
                size = size.max(end - start) * 2;
                continue;
            };
            end = start + first as u64;
            let lines: Vec<LineRecord> = lines_of(&block[first..], end).collect();
            if lines.iter().rev().any(|record| is_found(&record.line)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_a_block_is_found() {
        // Lines without an envelope, as those of 2025, are found only where a line begins.
        let first = r#"{"type":"message","role":"user","content":[{"type":"input_text","text":"a"}]}"#;
        let second = first.replace("\"a\"", "\"b\"");
        let block = format!("{first}\n{{\"torn\": \n{second}\n\n");
        let found: Vec<(u64, u64)> =
            lines_of(block.as_bytes(), 1000).map(|record| (record.range.start, record.range.end)).collect();
        let behind_torn = 1000 + first.len() as u64 + 1 + 10;
        assert_eq!(found, [(1000, 1001 + first.len() as u64), (behind_torn, behind_torn + second.len() as u64 + 1)]);
    }
}
