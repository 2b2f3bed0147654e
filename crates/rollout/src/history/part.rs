//! The part of a segment that belongs to a history.
//!
//! # Where an inherited prefix ends
//!
//! A reference to a base names an ordinal and a byte. Both can be wrong:
//!
//! - The *byte* is wrong after bytes before it were moved: by an editor, or by a repair of another program.
//! - The *ordinal* is ambiguous if it is repeated. Codex repeats the ordinal of a last line that it does not understand. And
//!   if a crash took the last lines of a base, its next writer gives their ordinals again, to lines that were never inherited.
//!
//! So the byte decides if it is certainly right: a line ends there, and its ordinal is the last one of the prefix. Otherwise each
//! line is judged by its ordinal, the gaps before it and its age.

use selvedge_history::{InheritedPrefix, PrefixEnd};
use selvedge_protocol::log::Entry;

use crate::error::Result;
use crate::home::RolloutFile;
use crate::reverse::ReverseReader;

/// The part of a segment that belongs to a history.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct HistoryPart {
    /// The file of the segment.
    pub file: RolloutFile,
    /// The end of the part. `None` if the whole segment belongs to the history.
    pub end: Option<PrefixEnd>,
}

impl HistoryPart {
    /// Returns a fold over the entries of the segment that decides which ones belong to the part.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn inherited_prefix(&self) -> Result<InheritedPrefix> {
        let Some(end) = self.end else { return Ok(InheritedPrefix::whole()) };
        if self.file.name.compressed {
            // No writer continues a compressed file, so no line of it is too young. And it cannot be read backwards, so that the
            // byte stays unconfirmed.
            return Ok(InheritedPrefix::until(PrefixEnd { latest_write: None, ..end }));
        }
        Ok(if self.ends_at_its_byte(end)? { InheritedPrefix::until_byte(end) } else { InheritedPrefix::until(end) })
    }

    /// Returns whether a line of the file ends at the byte of `end` and has the last ordinal before that of `end`. Then the byte is
    /// right, and no line has to be judged by its ordinal.
    fn ends_at_its_byte(&self, end: PrefixEnd) -> Result<bool> {
        let (Some(byte), Some(ordinal)) = (end.byte, end.ordinal) else { return Ok(false) };
        let last = ReverseReader::open_before(&self.file.path, byte)?.next();
        Ok(matches!(last, Some(Ok(Entry::Line(record)))
            if record.range.end == byte && record.line.ordinal().and_then(|last| last.checked_add(1)) == Some(ordinal)))
    }
}
