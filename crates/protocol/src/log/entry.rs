//! The entries of a log: intact lines and damaged ranges.

use std::fmt;
use std::ops::Range;

use crate::RolloutLine;

/// Length of the longest line that is read into memory, in bytes (256 MiB). A longer line counts as a damaged range
/// ([`DamageKind::TooLong`]). A copy of a log's bytes still contains it.
///
/// The limit bounds the memory of a reader: without it, a file that has no newline would be read as a whole.
pub const MAX_LINE_BYTES: usize = 1 << 28;

/// What is wrong with a range of bytes that contains no intact line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// The bytes are not UTF-8.
    InvalidUtf8,
    /// The bytes are UTF-8 and ended by a newline, but not a JSON object.
    NotJson {
        /// The message of the JSON parser.
        reason: String,
    },
    /// The line is not ended by a newline and not complete: the file ends in the middle of it, as after a crash of its
    /// writer.
    Torn,
    /// The range consists of NUL bytes (and white space), as a crash of the system leaves them.
    Nul,
    /// The range is a UTF-8 byte order mark at the beginning of the file.
    ByteOrderMark,
    /// The line is longer than [`MAX_LINE_BYTES`].
    TooLong,
    /// The compressed file cannot be decompressed beyond this offset.
    Compression {
        /// The message of the decompressor.
        reason: String,
    },
}

impl fmt::Display for DamageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidUtf8 => f.write_str("not UTF-8"),
            Self::NotJson { reason } => write!(f, "not a JSON object: {reason}"),
            Self::Torn => f.write_str("torn: the file ends within the line"),
            Self::Nul => f.write_str("a block of NUL bytes"),
            Self::ByteOrderMark => f.write_str("a byte order mark"),
            Self::TooLong => write!(f, "a line longer than {MAX_LINE_BYTES} bytes"),
            Self::Compression { reason } => write!(f, "the compressed file cannot be read further: {reason}"),
        }
    }
}

/// An intact line with its location.
#[derive(Clone, Debug, PartialEq)]
pub struct LineRecord {
    /// The line.
    pub line: RolloutLine,
    /// The bytes of the line in the (decompressed) file, with its newline.
    pub range: Range<u64>,
    /// The number of the line in the file, counted from 1 by newlines. 0 if the file is read backwards, where the
    /// number is unknown.
    pub number: u64,
}

/// A range of bytes that contains no intact line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedRange {
    /// The bytes of the range in the (decompressed) file.
    pub range: Range<u64>,
    /// The number of the line in which the range begins, counted from 1 by newlines. 0 if the file is read backwards,
    /// where the number is unknown.
    pub number: u64,
    /// What is wrong with the bytes.
    pub kind: DamageKind,
}

/// One entry of a log: an intact line, or a range of bytes that contains none.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// An intact line.
    Line(LineRecord),
    /// A range of bytes that contains no intact line.
    Damage(DamagedRange),
}

impl Entry {
    /// Returns the bytes of the entry in the (decompressed) file.
    #[must_use]
    pub fn range(&self) -> &Range<u64> {
        match self {
            Self::Line(record) => &record.range,
            Self::Damage(damage) => &damage.range,
        }
    }
}
