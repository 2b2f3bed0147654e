//! Splits the bytes between two newlines into entries.

use std::ops::Range;

use super::entry::{DamageKind, DamagedRange, Entry, LineRecord};
use super::salvage::{SalvagedPart, salvage};
use crate::RolloutLine;

/// The byte order mark of UTF-8. At the beginning of a log it is damage of its own, and the line behind it is intact.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Appends the entries of one line to `entries`. The usual result is a single [`Entry::Line`].
///
/// `bytes` are the bytes behind one newline up to and including the next one, or up to the end of the log. `offset` is
/// the offset of the first byte in the log, and `number` the number of the line, counted from 1 by newlines. White
/// space between entries makes no entry.
///
/// ```
/// use selvedge_protocol::log::{DamageKind, Entry, split_line};
///
/// // A writer died in the middle of a line, and the next one appended behind it.
/// let line = r#"{"timestamp":"2026-11-21T09:08:56.680Z","type":"event_msg","payload":{}}"#;
/// let bytes = format!("{}{line}\n", &line[..20]);
/// let mut entries = Vec::new();
/// split_line(bytes.as_bytes(), 100, 3, &mut entries);
/// let [Entry::Damage(torn), Entry::Line(intact)] = &entries[..] else { panic!("{entries:?}") };
/// assert!(matches!(torn.kind, DamageKind::NotJson { .. }));
/// assert_eq!((&torn.range, intact.line.text()), (&(100..120), line));
/// ```
pub fn split_line(bytes: &[u8], offset: u64, number: u64, entries: &mut impl Extend<Entry>) {
    // A byte order mark is legal only as the first bytes of a file. Anywhere else it makes its line damaged.
    let (bytes, offset) = match bytes.strip_prefix(BYTE_ORDER_MARK) {
        Some(rest) if offset == 0 => {
            let range = 0..BYTE_ORDER_MARK.len() as u64;
            let kind = DamageKind::ByteOrderMark;
            entries.extend([Entry::Damage(DamagedRange { range, number, kind })]);
            (rest, BYTE_ORDER_MARK.len() as u64)
        }
        _ => (bytes, offset),
    };
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return;
    }
    let kind = match parse(bytes) {
        Ok(line) => {
            let range = offset..offset + bytes.len() as u64;
            entries.extend([Entry::Line(LineRecord { line, range, number })]);
            return;
        }
        Err(kind) => kind,
    };
    // Only bytes that are not a line as a whole are searched for lines. So `salvage` costs nothing in an intact log.
    let in_log = |range: Range<usize>| offset + range.start as u64..offset + range.end as u64;
    entries.extend(salvage(bytes, kind).into_iter().map(|part| match part {
        SalvagedPart::Line(line, range) => Entry::Line(LineRecord { line, range: in_log(range), number }),
        SalvagedPart::Damage(kind, range) => Entry::Damage(DamagedRange { range: in_log(range), number, kind }),
    }));
}

/// Parses bytes as one line, or returns what is wrong with them.
///
/// A last line without a newline still counts as a line if it is complete. If it is not, it is torn, regardless of the
/// error of the parser: its writer may still be writing it.
fn parse(bytes: &[u8]) -> std::result::Result<RolloutLine, DamageKind> {
    let ended = bytes.ends_with(b"\n");
    let text = std::str::from_utf8(bytes).map_err(|error| match error.error_len() {
        // The input ends within a character. Only the end of the file can cause that, because a newline ends no
        // character.
        None if !ended => DamageKind::Torn,
        _ => DamageKind::InvalidUtf8,
    })?;
    RolloutLine::parse(text)
        .map_err(|error| if ended { DamageKind::NotJson { reason: error.reason } } else { DamageKind::Torn })
}
