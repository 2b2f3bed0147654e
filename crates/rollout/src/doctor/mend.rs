//! The bytes of a repaired file.
//!
//! Every intact line comes out byte for byte and in its order. What is no line does not; where others refer to places in the
//! file, blanks of the same length take its place, so that no line moves that a reference counts on. Blank lines, and
//! `\r\n` at the ends of lines, stay as they are: they are no damage, and every reader knows them.

use std::io::{self, Read, Write};
use std::ops::Range;

use selvedge_protocol::log::{DamageKind, Entry};
use selvedge_protocol::{HistoryMode, RolloutItem, RolloutLine, SessionMeta, Timestamp};

use crate::error::{IoContext, Result};
use crate::history::read_head;
use crate::layout::RolloutFile;
use crate::reader::{RolloutReader, open_bytes};

/// What a repair makes of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairedFile {
    /// How many intact lines it holds.
    pub lines: u64,
    /// How many stretches that are no line are taken out.
    pub removed: u64,
    /// How many bytes they have.
    pub removed_bytes: u64,
    /// How many newlines are put in.
    pub newlines: u64,
    /// Whether a head is put before the lines.
    pub new_head: bool,
    /// What is wrong and stays, and why.
    pub left: Vec<String>,
}

impl RepairedFile {
    /// Whether the repaired file differs from the one that there is.
    #[must_use]
    pub fn changes_anything(&self) -> bool {
        self.removed > 0 || self.newlines > 0 || self.new_head
    }
}

/// Writes the repaired bytes of a file to `out`. Lines that begin before byte `keep` stay where they are.
///
/// # Errors
/// When the file cannot be read or `out` cannot be written.
pub fn mend(file: &RolloutFile, keep: u64, out: &mut dyn Write) -> Result<RepairedFile> {
    let (source, _) = open_bytes(&file.path, 0..u64::MAX)?;
    let mut mending =
        Mending { source, at: 0, out, is_at_line_start: true, keep, plan: RepairedFile::default(), head: None };
    if let Some((head, first_line)) = missing_head(file)? {
        mending.begin(head, first_line).context("repair", &file.path)?;
    }
    let mut is_over = false;
    for entry in RolloutReader::open(&file.path)? {
        let entry = entry?;
        if entry.range().start < mending.at {
            continue;
        }
        let step = match entry {
            Entry::Line(record) => mending.line(&record.range),
            Entry::Damage(damage) if damage.kind == DamageKind::TooLong => mending.too_long(&damage.range),
            Entry::Damage(damage) => {
                is_over = matches!(damage.kind, DamageKind::Compression { .. });
                mending.damage(&damage.range, &damage.kind)
            }
        };
        step.context("repair", &file.path)?;
    }
    if !is_over {
        mending.rest().context("repair", &file.path)?;
    }
    mending.seal().context("repair", &file.path)?;
    Ok(mending.plan)
}

/// The head that a file gets that has lost its own, and where its first line begins; nothing when it has one, or no line
/// at all.
fn missing_head(file: &RolloutFile) -> Result<Option<(Vec<u8>, u64)>> {
    if read_head(file)?.is_some() {
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
    let (first, begins_at) = (first.line, first.range.start);
    let at = first.timestamp().or(file.name.thread_id.made_at()).unwrap_or_else(|| file_time(file));
    let mode = if first.ordinal().is_some() { HistoryMode::Paginated } else { HistoryMode::Legacy };
    let meta = SessionMeta {
        history_mode: Some(mode),
        originator: Some("selvedge".to_owned()),
        cli_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        ..SessionMeta::new(file.name.thread_id, at)
    };
    let mut bytes = Vec::new();
    // Where ordinal 0 was not lost with the head, it is given twice: an ordinal is an order and no key.
    let ordinal = first.ordinal().map(|ordinal| ordinal.saturating_sub(1));
    RolloutLine::encode(&mut bytes, at, ordinal, &RolloutItem::from(meta));
    Ok(Some((bytes, begins_at)))
}

fn file_time(file: &RolloutFile) -> Timestamp {
    let zoned = file.name.created.to_zoned(jiff::tz::TimeZone::system());
    zoned.map_or_else(|_| Timestamp::default(), |at| Timestamp::from_millis(at.timestamp().as_millisecond()))
}

struct Mending<'a> {
    source: Box<dyn Read + Send>,
    /// How far the source was read.
    at: u64,
    out: &'a mut dyn Write,
    /// Whether nothing but white space was written since the last newline.
    is_at_line_start: bool,
    keep: u64,
    plan: RepairedFile,
    /// The head that has to come before the first line.
    head: Option<Vec<u8>>,
}

impl Mending<'_> {
    /// Whether what begins at this byte has to stay where it is.
    fn is_kept(&self, byte: u64) -> bool {
        byte < self.keep
    }

    fn line(&mut self, range: &Range<u64>) -> io::Result<()> {
        self.gap(range.start)?;
        self.put_head()?;
        if !self.is_at_line_start {
            if self.is_kept(range.start) {
                self.plan.left.push(format!(
                    "two lines stand on one at byte {}, and there is no room for a newline without moving lines that other \
                     threads refer to",
                    range.start
                ));
            } else {
                self.plan.newlines += 1;
                self.put(b"\n")?;
            }
        }
        self.plan.lines += 1;
        self.copy(range.end)
    }

    /// White space between what was given. Between two lines that stand on one, its last byte becomes the newline.
    fn gap(&mut self, end: u64) -> io::Result<()> {
        if self.at < end {
            self.copy(end - 1)?;
            let mut last = [0];
            self.source.read_exact(&mut last)?;
            self.at += 1;
            if last != *b"\n" && !self.is_at_line_start {
                self.plan.newlines += 1;
                last = *b"\n";
            }
            self.put(&last)?;
        }
        Ok(())
    }

    fn damage(&mut self, range: &Range<u64>, kind: &DamageKind) -> io::Result<()> {
        self.gap(range.start)?;
        let len = range.end - range.start;
        self.plan.removed += 1;
        self.plan.removed_bytes += len;
        let last = self.skip(range.end)?;
        if !self.is_kept(range.start) || len == 0 {
            return Ok(());
        }
        // Behind a mark or NULs the first line is still the first one.
        let is_part_of_line = matches!(kind, DamageKind::Nul | DamageKind::ByteOrderMark) && last != Some(b'\n');
        if self.is_at_line_start && is_part_of_line {
            return self.blank(len);
        }
        let begins_with = if self.is_at_line_start { b' ' } else { b'\n' };
        if len > 1 {
            self.put(&[begins_with])?;
            self.blank(len - 2)?;
        }
        self.put(b"\n")
    }

    /// A line of which nobody knows whether it is one stays.
    fn too_long(&mut self, range: &Range<u64>) -> io::Result<()> {
        self.gap(range.start)?;
        self.plan.left.push(format!("the line at byte {} is too long to be read, and stays", range.start));
        self.copy(range.end)
    }

    fn blank(&mut self, mut len: u64) -> io::Result<()> {
        let block = [b' '; 4096];
        while len > 0 {
            let step = usize::try_from(len).map_or(block.len(), |len| len.min(block.len()));
            self.put(&block[..step])?;
            len -= step as u64;
        }
        Ok(())
    }

    /// Sees to the new head: where places are kept, it goes into the room before the first line, which begins at this byte.
    fn begin(&mut self, head: Vec<u8>, first_line: u64) -> io::Result<()> {
        let len = head.len() as u64;
        if self.keep == 0 {
            self.head = Some(head);
        } else if len <= first_line {
            self.put(&head[..head.len() - 1])?;
            self.blank(first_line - len)?;
            self.put(b"\n")?;
            let _ = self.skip(first_line)?;
            self.plan.new_head = true;
            self.plan.removed += 1;
            self.plan.removed_bytes += first_line;
        } else {
            let why = "there is no head, and no room for one without moving lines that other threads refer to";
            self.plan.left.push(why.to_owned());
        }
        Ok(())
    }

    /// Puts the new head before the first line.
    fn put_head(&mut self) -> io::Result<()> {
        let Some(head) = self.head.take() else { return Ok(()) };
        self.plan.new_head = true;
        self.put(&head)
    }

    /// White space at the end of the file.
    fn rest(&mut self) -> io::Result<()> {
        let mut block = [0; 4096];
        loop {
            let len = self.source.read(&mut block)?;
            if len == 0 {
                return Ok(());
            }
            self.at += len as u64;
            self.put(&block[..len])?;
        }
    }

    fn seal(&mut self) -> io::Result<()> {
        if !self.is_at_line_start {
            self.plan.newlines += 1;
            self.put(b"\n")?;
        }
        Ok(())
    }

    fn copy(&mut self, end: u64) -> io::Result<()> {
        let mut block = [0; 1 << 14];
        while self.at < end {
            let left = usize::try_from(end - self.at).map_or(block.len(), |left| left.min(block.len()));
            let len = self.source.read(&mut block[..left])?;
            if len == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was read"));
            }
            self.at += len as u64;
            self.put(&block[..len])?;
        }
        Ok(())
    }

    /// Passes over bytes, and gives the last one.
    fn skip(&mut self, end: u64) -> io::Result<Option<u8>> {
        let mut block = [0; 1 << 14];
        let mut last = None;
        while self.at < end {
            let left = usize::try_from(end - self.at).map_or(block.len(), |left| left.min(block.len()));
            let len = self.source.read(&mut block[..left])?;
            if len == 0 {
                break;
            }
            self.at += len as u64;
            last = Some(block[len - 1]);
        }
        Ok(last)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        let line = bytes.iter().rposition(|byte| *byte == b'\n').map(|newline| &bytes[newline + 1..]);
        // White space at the front of a line is none of it.
        self.is_at_line_start =
            (line.is_some() || self.is_at_line_start) && line.unwrap_or(bytes).iter().all(u8::is_ascii_whitespace);
        Ok(())
    }
}
