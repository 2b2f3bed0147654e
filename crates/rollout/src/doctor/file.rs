//! What is wrong with one rollout file.

use std::ops::Range;

use selvedge_protocol::HistoryBase;
use selvedge_protocol::log::{Entry, LineRecord};

use super::finding::{Finding, FindingKind};
use super::home::stamp_of;
use crate::history::read_head;
use crate::identity::FileStamp;
use crate::layout::RolloutFile;
use crate::reader::{RolloutReader, open_bytes};

/// How many findings one file may have. A file that is nothing but damage has more, and they say nothing new.
const MAX_FINDINGS: usize = 10_000;

/// What was seen of a file.
#[derive(Clone, Debug)]
pub(super) struct Examined {
    pub(super) file: RolloutFile,
    /// Whether no other file holds the same segment and counts more.
    pub(super) counts: bool,
    pub(super) findings: Vec<Finding>,
    /// How many findings were left out.
    pub(super) omitted: u64,
    /// Its (decompressed) size, as far as it could be read.
    pub(super) bytes: u64,
    /// Its intact lines.
    pub(super) lines: u64,
    pub(super) base: Option<HistoryBase>,
    pub(super) head_range: Range<u64>,
    /// Whether the file was not where it had been found.
    pub(super) is_gone: bool,
    /// How it looked before it was read.
    pub(super) stamp: Option<FileStamp>,
}

/// Reads a file through. Whatever is wrong with it is a finding, that it cannot be read too.
pub(super) fn examine(file: &RolloutFile, counts: bool) -> Examined {
    let mut examination = Examination {
        examined: Examined {
            file: file.clone(),
            counts,
            findings: Vec::new(),
            omitted: 0,
            bytes: 0,
            lines: 0,
            base: None,
            head_range: 0..0,
            is_gone: false,
            stamp: stamp_of(&file.path),
        },
        previous: None,
        highest: None,
        has_ordinals: false,
    };
    if let Err(error) = examination.run() {
        let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        let mut detail = format!("{error}{source}");
        if examination.examined.lines > 0 {
            detail.push_str("; what comes before it was read");
        }
        examination.tell(FindingKind::Unreadable, None, &detail);
        examination.examined.is_gone = error.is_gone();
    }
    examination.examined
}

struct Examination {
    examined: Examined,
    /// Where the entry before ended and whether it was a line, and whether that lacks a newline.
    previous: Option<(Range<u64>, u64, bool)>,
    /// The ordinal after the highest one so far.
    highest: Option<u64>,
    has_ordinals: bool,
}

impl Examination {
    fn run(&mut self) -> crate::error::Result<()> {
        let path = self.examined.file.path.clone();
        for entry in RolloutReader::open(&path)? {
            let entry = entry?;
            self.examined.bytes = entry.range().end;
            match entry {
                Entry::Line(record) => self.line(&record),
                Entry::Damage(damage) => {
                    let kind = FindingKind::from(&damage.kind);
                    let detail = match kind {
                        FindingKind::ByteOrderMark | FindingKind::Nul => {
                            format!("{}; nothing is lost by it", damage.kind)
                        }
                        FindingKind::Compression => format!("{}; what comes before it was read", damage.kind),
                        FindingKind::TooLong => format!("{}; it is not read", damage.kind),
                        _ => format!("{}; these bytes are no line, and every other line was read", damage.kind),
                    };
                    self.tell(kind, Some((damage.range.clone(), damage.number)), &detail);
                    self.previous = None;
                }
            }
        }
        self.end(&path)
    }

    fn line(&mut self, record: &LineRecord) {
        self.examined.lines += 1;
        let text_len = record.line.text().len() as u64;
        // A range holds the line's newline; without one it is the text alone, or ends with other white space.
        let may_be_bare = record.range.end - record.range.start <= text_len + 1;
        if let Some((range, number, _)) = self.previous.take()
            && number == record.number
        {
            let detail = "two lines stand on one, and programs that read line by line lose both; nothing is lost here";
            self.tell(FindingKind::SplicedLines, Some((range.start..record.range.end, number)), detail);
        }
        self.previous = Some((record.range.clone(), record.number, may_be_bare));
        self.ordinal(record);
    }

    fn ordinal(&mut self, record: &LineRecord) {
        let place = || Some((record.range.clone(), record.number));
        let Some(ordinal) = record.line.ordinal() else {
            if self.has_ordinals {
                self.tell(FindingKind::MissingOrdinal, place(), "the lines before it have ordinals, and it has none");
            }
            return;
        };
        self.has_ordinals = true;
        match self.highest {
            Some(next) if ordinal < next => {
                let detail = format!("ordinal {ordinal} was given already");
                self.tell(FindingKind::RepeatedOrdinal, place(), &detail);
            }
            Some(next) if ordinal > next => {
                let detail = format!("ordinals {next} to {} are left out", ordinal - 1);
                self.tell(FindingKind::OrdinalGap, place(), &detail);
            }
            _ => {}
        }
        self.highest = self.highest.max(Some(ordinal.saturating_add(1)));
    }

    fn end(&mut self, path: &std::path::Path) -> crate::error::Result<()> {
        if let Some((range, number, true)) = self.previous.take() {
            let (bytes, _) = open_bytes(path, range.end.saturating_sub(1)..u64::MAX)?;
            let is_sealed = ends_with_newline(bytes);
            if !is_sealed {
                let detail = "the last line lacks its newline; nothing is lost";
                self.tell(FindingKind::Unsealed, Some((range, number)), detail);
            }
        }
        let head = read_head(&self.examined.file)?;
        self.examined.base = head.as_ref().and_then(|head| head.history_base.clone());
        let name = self.examined.file.name.thread_id;
        match head.map(|head| head.id) {
            None if self.examined.lines > 0 => {
                let detail = format!("no head says whose lines these are; by the file's name they are those of {name}");
                self.tell(FindingKind::MissingHead, Some((0..0, 1)), &detail);
            }
            None if self.examined.findings.is_empty() => {
                self.tell(
                    FindingKind::Empty,
                    None,
                    "there is no line in it: whoever made it did not come to write one",
                );
            }
            Some(Some(id)) if id != name => {
                let detail = format!("its head is that of thread {id}; it is read as {name}, as its name says");
                self.tell(FindingKind::ForeignHead, Some((0..0, 1)), &detail);
            }
            _ => {}
        }
        Ok(())
    }

    /// Adds a finding; a stretch that goes on where the last one of its kind ended becomes one with it.
    fn tell(&mut self, kind: FindingKind, place: Option<(Range<u64>, u64)>, detail: &str) {
        let examined = &mut self.examined;
        if let Some((range, _)) = &place
            && let Some(last) = examined.findings.last_mut()
            && last.kind == kind
            && matches!(kind, FindingKind::NotJson | FindingKind::InvalidUtf8 | FindingKind::Nul)
            && let Some(known) = &mut last.range
            && known.end == range.start
        {
            known.end = range.end;
            return;
        }
        if examined.findings.len() >= MAX_FINDINGS {
            examined.omitted += 1;
            return;
        }
        let finding = Finding::new(kind, &examined.file.path, detail).of(examined.file.name.thread_id);
        examined.findings.push(match place {
            Some((range, line)) => finding.at(range, line),
            None => finding,
        });
    }
}

fn ends_with_newline(mut bytes: impl std::io::Read) -> bool {
    let mut last = b'\n';
    let mut block = [0; 4096];
    loop {
        match bytes.read(&mut block) {
            Ok(0) | Err(_) => return last == b'\n',
            Ok(len) => last = block[len - 1],
        }
    }
}
