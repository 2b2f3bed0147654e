//! Splits the bytes of a log into intact lines and damaged ranges.
//!
//! A crash, a full disk or a foreign program can leave bytes in a log that are not a line. A reader must still return
//! every intact line. All readers and all stores split bytes by the rule of [`split_line`], so they agree on which
//! lines a damaged log has.
//!
//! - [`split_line`] splits the bytes between two newlines into [`Entry`] values, without blanks.
//! - [`ShortTexts`] shortens long texts while lines are read.
//! - [`split_raw`] and [`RawReader`] return [`RawEntry`] values, which together hold *every* byte of the log.

mod entry;
mod raw;
mod salvage;
mod short_texts;
mod split;

pub use self::entry::{DamageKind, DamagedRange, Entry, LineRecord, MAX_LINE_BYTES};
pub use self::raw::{LONG_LINE_CHUNK_BYTES, RawContent, RawEntry, RawReader, split_raw};
pub use self::short_texts::{ShortTexts, bytes_left_out, shorten_text};
pub use self::split::{BYTE_ORDER_MARK, split_line};
