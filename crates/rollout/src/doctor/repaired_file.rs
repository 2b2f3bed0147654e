//! The bytes of a repaired file.
//!
//! Every intact line is copied byte for byte, in its order. A damaged range is left out, unless another segment refers to a position
//! behind it: then blanks of the same length take its place, so that no inherited line moves.
//!
//! ```text
//! original                            keep        end
//! | line 1 | damage | line 2 | line 3 |  damage | line 4 |
//! | line 1 | blanks | line 2 | line 3 | line 4 |
//! ```
//!
//! Blank lines and `\r\n` at the ends of lines stay as they are. They are no damage, because every reader accepts them.

use std::io::{self, Read, Write};
use std::ops::Range;

use selvedge_protocol::log::{DamageKind, Entry};
use selvedge_protocol::{HistoryMode, RolloutItem, RolloutLine, SessionMeta, Timestamp};

use crate::error::{IoContext, Result};
use crate::history::read_head;
use crate::home::RolloutFile;
use crate::reader::{RolloutReader, open_bytes};

/// What a repair does to the bytes of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairedFile {
    /// The number of intact lines that the file holds.
    pub lines: u64,
    /// The number of damaged ranges that are removed.
    pub removed: u64,
    /// The number of bytes in these ranges.
    pub removed_bytes: u64,
    /// The number of newlines that are inserted.
    pub newlines: u64,
    /// Whether a head is inserted before the lines.
    pub new_head: bool,
    /// What is wrong and stays, with the reason.
    pub left: Vec<String>,
}

impl RepairedFile {
    /// Returns whether the repaired file differs from the original.
    #[must_use]
    pub fn changes_anything(&self) -> bool {
        self.removed > 0 || self.newlines > 0 || self.new_head
    }
}

/// Writes the repaired bytes of a file to `out`. No line that begins before byte `keep` moves.
///
/// # Errors
/// If the file cannot be read or `out` cannot be written.
pub fn write_repaired(file: &RolloutFile, keep: u64, out: &mut dyn Write) -> Result<RepairedFile> {
    // Two readers go through the file at the same pace: `entries` finds what is a line, `source` yields the bytes to copy.
    let (source, _) = open_bytes(&file.path, 0..u64::MAX)?;
    let mut writer = RepairWriter {
        source,
        position: 0,
        out,
        is_at_line_start: true,
        keep,
        repaired: RepairedFile::default(),
        pending_head: None,
    };
    if let Some(MissingHead { head, first_line }) = build_missing_head(file)? {
        writer.write_missing_head(head, first_line).context("repair", &file.path)?;
    }
    let mut is_cut_short = false;
    for entry in RolloutReader::open(&file.path)? {
        let entry = entry?;
        // A new head may have taken the room of damage before the first line.
        if entry.range().start < writer.position {
            continue;
        }
        let step = match entry {
            Entry::Line(record) => writer.write_line(&record.range),
            Entry::Damage(damage) if damage.kind == DamageKind::TooLong => writer.write_long_line(&damage.range),
            Entry::Damage(damage) => {
                is_cut_short = matches!(damage.kind, DamageKind::Compression { .. });
                writer.replace_damage(&damage.range, &damage.kind)
            }
        };
        step.context("repair", &file.path)?;
    }
    // Behind the point where decompression fails, `source` fails, too.
    if !is_cut_short {
        writer.copy_rest().context("repair", &file.path)?;
    }
    writer.end_last_line().context("repair", &file.path)?;
    Ok(writer.repaired)
}

/// The head for a file that has lost its own.
struct MissingHead {
    head: Vec<u8>,
    /// The position of the first line.
    first_line: u64,
}

/// Returns the head for a file that has lost its own, or whose head has no id. `None` if it has one, or no line at all.
fn build_missing_head(file: &RolloutFile) -> Result<Option<MissingHead>> {
    let found = read_head(file)?;
    if found.as_ref().is_some_and(|head| head.id.is_some()) {
        return Ok(None);
    }
    let mut first = None;
    for entry in RolloutReader::open(&file.path)? {
        if let Entry::Line(record) = entry? {
            first = Some(record);
            break;
        }
    }
    let Some(first) = first else { return Ok(None) };
    let (first, first_line) = (first.line, first.range.start);
    let at = first.timestamp().or(file.name.thread_id.made_at()).unwrap_or_else(|| read_time_in_name(file));
    let mode = if first.ordinal().is_some() { HistoryMode::Paginated } else { HistoryMode::Legacy };
    let new = SessionMeta::new(file.name.thread_id, at);
    // A head without an id keeps everything else. It is copied, because lines are never changed; readers take the first one.
    let mut meta = found.unwrap_or_default();
    (meta.id, meta.session_id) = (new.id, meta.session_id.or(new.session_id));
    meta.timestamp = meta.timestamp.or(new.timestamp);
    meta.history_mode.get_or_insert(mode);
    meta.originator.get_or_insert_with(|| "selvedge".to_owned());
    meta.cli_version.get_or_insert_with(|| env!("CARGO_PKG_VERSION").to_owned());
    let mut head = Vec::new();
    // The head gets the ordinal before that of the first line. If the first line has ordinal 0, the ordinal is repeated. That does
    // no harm, because an ordinal is an order and no key.
    let ordinal = first.ordinal().map(|ordinal| ordinal.saturating_sub(1));
    RolloutLine::encode(&mut head, at, ordinal, &RolloutItem::from(meta));
    Ok(Some(MissingHead { head, first_line }))
}

/// Returns the time in the name of a file, read as local time of this machine.
fn read_time_in_name(file: &RolloutFile) -> Timestamp {
    let zoned = file.name.created.to_zoned(jiff::tz::TimeZone::system());
    zoned.map_or_else(|_| Timestamp::default(), |at| Timestamp::from_millis(at.timestamp().as_millisecond()))
}

/// Copies intact lines from the original and replaces damage.
///
/// Invariant: everything before `keep` is written with the same length as it is read. So a line that begins before `keep` is
/// written at the position at which it was read.
struct RepairWriter<'a> {
    source: Box<dyn Read + Send>,
    /// How far the source was read.
    position: u64,
    out: &'a mut dyn Write,
    /// Whether only white space was written since the last newline.
    is_at_line_start: bool,
    keep: u64,
    repaired: RepairedFile,
    /// The head that is to be written before the first line.
    pending_head: Option<Vec<u8>>,
}

impl RepairWriter<'_> {
    /// Returns whether what begins at this byte must not move.
    fn is_kept(&self, byte: u64) -> bool {
        byte < self.keep
    }

    fn write_line(&mut self, range: &Range<u64>) -> io::Result<()> {
        self.copy_white_space(range.start)?;
        self.write_pending_head()?;
        if !self.is_at_line_start {
            // A newline between two lines needs one byte more. Before `keep` there is no room for it.
            if self.is_kept(range.start) {
                self.repaired.left.push(format!(
                    "two lines are not separated at byte {}, and there is no room for a newline without moving lines that \
                     other threads refer to",
                    range.start
                ));
            } else {
                self.repaired.newlines += 1;
                self.write(b"\n")?;
            }
        }
        self.repaired.lines += 1;
        self.copy(range.end)
    }

    /// Copies the white space before position `end`, which belongs to no entry. If it separates two lines without a newline, its
    /// last byte becomes the newline.
    fn copy_white_space(&mut self, end: u64) -> io::Result<()> {
        if self.position < end {
            self.copy(end - 1)?;
            let mut last = [0];
            self.source.read_exact(&mut last)?;
            self.position += 1;
            if last != *b"\n" && !self.is_at_line_start {
                self.repaired.newlines += 1;
                last = *b"\n";
            }
            self.write(&last)?;
        }
        Ok(())
    }

    /// Leaves out a damaged range, or writes blanks of the same length in its place.
    fn replace_damage(&mut self, range: &Range<u64>, kind: &DamageKind) -> io::Result<()> {
        self.copy_white_space(range.start)?;
        let len = range.end - range.start;
        self.repaired.removed += 1;
        self.repaired.removed_bytes += len;
        let last = self.skip(range.end)?;
        if !self.is_kept(range.start) || len == 0 {
            return Ok(());
        }
        // A byte order mark or NULs directly before a line become blanks without a newline. The line keeps its line number then:
        // readers accept any `session_meta` with line number 1 as the head of a segment.
        let is_part_of_line = matches!(kind, DamageKind::Nul | DamageKind::ByteOrderMark) && last != Some(b'\n');
        if self.is_at_line_start && is_part_of_line {
            return self.write_blanks(len);
        }
        // Any other damage becomes a blank line. Behind a line that lacks its newline, the first byte becomes that newline:
        //
        //     {…line…}dam\n   →   {…line…}\n  \n        len 4: newline, len - 2 blanks, newline
        let first = if self.is_at_line_start { b' ' } else { b'\n' };
        if len > 1 {
            self.write(&[first])?;
            self.write_blanks(len - 2)?;
        }
        self.write(b"\n")
    }

    /// Copies a line that is too long to be read. It may be intact, so it stays.
    fn write_long_line(&mut self, range: &Range<u64>) -> io::Result<()> {
        self.copy_white_space(range.start)?;
        self.repaired.left.push(format!("the line at byte {} is too long to be read, and stays", range.start));
        self.copy(range.end)
    }

    fn write_blanks(&mut self, mut len: u64) -> io::Result<()> {
        let block = [b' '; 4096];
        while len > 0 {
            let step = usize::try_from(len).map_or(block.len(), |len| len.min(block.len()));
            self.write(&block[..step])?;
            len -= step as u64;
        }
        Ok(())
    }

    /// Writes the new head, or keeps it to be written before the first line, which begins at `first_line`.
    fn write_missing_head(&mut self, head: Vec<u8>, first_line: u64) -> io::Result<()> {
        let len = head.len() as u64;
        if self.keep == 0 {
            self.pending_head = Some(head);
        } else if len <= first_line {
            // No line may move. So the head takes the room of the damage before the first line, filled up with blanks.
            self.write(&head[..head.len() - 1])?;
            self.write_blanks(first_line - len)?;
            self.write(b"\n")?;
            let _ = self.skip(first_line)?;
            self.repaired.new_head = true;
            self.repaired.removed += 1;
            self.repaired.removed_bytes += first_line;
        } else {
            let why = "there is no head, and no room for one without moving lines that other threads refer to";
            self.repaired.left.push(why.to_owned());
        }
        Ok(())
    }

    /// Writes the new head before the first line.
    fn write_pending_head(&mut self) -> io::Result<()> {
        let Some(head) = self.pending_head.take() else { return Ok(()) };
        self.repaired.new_head = true;
        self.write(&head)
    }

    /// Copies the white space at the end of the file.
    fn copy_rest(&mut self) -> io::Result<()> {
        let mut block = [0; 4096];
        loop {
            let len = self.source.read(&mut block)?;
            if len == 0 {
                return Ok(());
            }
            self.position += len as u64;
            self.write(&block[..len])?;
        }
    }

    /// Writes the newline of the last line if it lacks one.
    fn end_last_line(&mut self) -> io::Result<()> {
        if !self.is_at_line_start {
            self.repaired.newlines += 1;
            self.write(b"\n")?;
        }
        Ok(())
    }

    /// Copies the bytes before position `end`.
    fn copy(&mut self, end: u64) -> io::Result<()> {
        let mut block = [0; 1 << 14];
        while self.position < end {
            let wanted = usize::try_from(end - self.position).map_or(block.len(), |rest| rest.min(block.len()));
            let len = self.source.read(&mut block[..wanted])?;
            if len == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was read"));
            }
            self.position += len as u64;
            self.write(&block[..len])?;
        }
        Ok(())
    }

    /// Skips the bytes before position `end`, and returns the last one.
    fn skip(&mut self, end: u64) -> io::Result<Option<u8>> {
        let mut block = [0; 1 << 14];
        let mut last = None;
        while self.position < end {
            let wanted = usize::try_from(end - self.position).map_or(block.len(), |rest| rest.min(block.len()));
            let len = self.source.read(&mut block[..wanted])?;
            if len == 0 {
                break;
            }
            self.position += len as u64;
            last = Some(block[len - 1]);
        }
        Ok(last)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        let line = bytes.iter().rposition(|byte| *byte == b'\n').map(|newline| &bytes[newline + 1..]);
        // White space before a line does not belong to it, so the line still begins.
        self.is_at_line_start =
            (line.is_some() || self.is_at_line_start) && line.unwrap_or(bytes).iter().all(u8::is_ascii_whitespace);
        Ok(())
    }
}
