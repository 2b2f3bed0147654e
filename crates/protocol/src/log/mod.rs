//! What the bytes of a log hold: lines, and stretches that are none.
//!
//! Every reader of a log splits its bytes by the same rule, wherever the bytes are kept, so that all stores know the same
//! lines of a damaged log.

mod raw;
mod salvage;

use std::fmt;
use std::ops::Range;

pub use self::raw::{PIECE_BYTES, RawContent, RawEntry, RawReader, split_raw};
use self::salvage::{Piece, salvage};
use crate::RolloutLine;

/// The longest line that is read into memory, in bytes. A longer one is given as a damaged range; it is still carried along
/// by whatever copies bytes.
pub const MAX_LINE_BYTES: usize = 1 << 28;

/// The byte order mark of UTF-8.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What is wrong with a stretch of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// It is not UTF-8.
    InvalidUtf8,
    /// It is no JSON object.
    NotJson {
        /// What the JSON parser says.
        reason: String,
    },
    /// The file ends in the middle of it.
    Torn,
    /// It is nothing but NULs, as a crash of the system leaves them.
    Nul,
    /// It is a byte order mark.
    ByteOrderMark,
    /// It is longer than a line may be.
    TooLong,
    /// The compressed file cannot be read beyond it.
    Compression {
        /// What the decompressor says.
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

/// An intact line and where it is.
#[derive(Clone, Debug, PartialEq)]
pub struct LineRecord {
    /// The line.
    pub line: RolloutLine,
    /// Its bytes in the (decompressed) file, with the newline.
    pub range: Range<u64>,
    /// Its number in the file, counted from 1 by newlines. Zero when the file is read backwards.
    pub number: u64,
}

/// A stretch that holds no intact line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedRange {
    /// Its bytes in the (decompressed) file.
    pub range: Range<u64>,
    /// Number of the line that it begins in, counted from 1 by newlines. Zero when the file is read backwards.
    pub number: u64,
    /// What is wrong with it.
    pub kind: DamageKind,
}

/// What a reader gives: a line, or a stretch that is none.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// An intact line.
    Line(LineRecord),
    /// A stretch that holds no intact line.
    Damage(DamagedRange),
}

impl Entry {
    /// The bytes of the entry.
    #[must_use]
    pub fn range(&self) -> &Range<u64> {
        match self {
            Self::Line(record) => &record.range,
            Self::Damage(damage) => &damage.range,
        }
    }
}

/// Adds what one stretch from newline to newline holds to `entries`: in the good case one line. `offset` is the place of the
/// stretch in its log, `number` its number, counted from 1 by newlines. White space between entries is none.
pub fn split_line(bytes: &[u8], offset: u64, number: u64, entries: &mut impl Extend<Entry>) {
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
    let place = |range: Range<usize>| offset + range.start as u64..offset + range.end as u64;
    entries.extend(salvage(bytes, kind).into_iter().map(|piece| match piece {
        Piece::Line(line, range) => Entry::Line(LineRecord { line, range: place(range), number }),
        Piece::Damage(kind, range) => Entry::Damage(DamagedRange { range: place(range), number, kind }),
    }));
}

fn parse(bytes: &[u8]) -> std::result::Result<RolloutLine, DamageKind> {
    let ended = bytes.ends_with(b"\n");
    let text = std::str::from_utf8(bytes).map_err(|error| match error.error_len() {
        // The file ends within a character.
        None if !ended => DamageKind::Torn,
        _ => DamageKind::InvalidUtf8,
    })?;
    RolloutLine::parse(text)
        .map_err(|error| if ended { DamageKind::NotJson { reason: error.reason } } else { DamageKind::Torn })
}
