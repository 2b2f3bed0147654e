//! The point at which a resumed recorder continues: the history mode of a file and its next ordinal.

use std::path::Path;

use selvedge_protocol::log::Entry;
use selvedge_protocol::{HistoryMode, SessionMeta};

use crate::error::Result;
use crate::reverse::ReverseReader;

/// How many of the last entries show whether a file has ordinals.
const MODE_ENTRIES: usize = 64;

/// In how many of the last lines the highest ordinal is searched for.
const ORDINAL_LINES: usize = 256;

/// How far before the last line the highest ordinal is searched for, in bytes.
const ORDINAL_BYTES: u64 = 1 << 20;

/// Returns the mode of a file without a readable head. Only a paginated file has ordinals.
pub(super) fn guess_mode(path: &Path) -> Result<HistoryMode> {
    for entry in ReverseReader::open(path)?.take(MODE_ENTRIES) {
        if let Entry::Line(record) = entry?
            && record.line.ordinal().is_some()
        {
            return Ok(HistoryMode::Paginated);
        }
    }
    Ok(HistoryMode::Legacy)
}

/// Returns the ordinal of the next line: the one after the highest ordinal near the end of the file. If the file has none, it is
/// the first ordinal after the base.
pub(super) fn find_next_ordinal(path: &Path, head: Option<&SessionMeta>) -> Result<u64> {
    // The last line need not have the highest ordinal. A program that does not understand the last line repeats its
    // ordinal. A damaged file may hold an older range of bytes a second time at its end. So the search covers some
    // lines:
    //
    //     ordinals in the file:  … 41 42 43 38 39        the next one is 44
    //
    // It has a limit, because a resume must not cost a read of the whole file. If no line up to the limit has an ordinal,
    // it continues until one has.
    let mut highest = None;
    let mut lines = 0;
    let mut last_line = None;
    for entry in ReverseReader::open(path)? {
        let Entry::Line(record) = entry? else { continue };
        let last_line = *last_line.get_or_insert(record.range.start);
        let is_far = lines >= ORDINAL_LINES || last_line.saturating_sub(record.range.start) > ORDINAL_BYTES;
        if highest.is_some() && is_far {
            break;
        }
        lines += 1;
        highest = highest.max(record.line.ordinal());
    }
    let base = head.and_then(|head| head.history_base.as_ref()?.end_ordinal_exclusive);
    Ok(highest.map_or(base.unwrap_or(0), |highest| highest.saturating_add(1)))
}
