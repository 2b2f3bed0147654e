//! The check of one rollout file.

use std::io::Read;
use std::ops::Range;
use std::path::Path;

use selvedge_protocol::log::{Entry, LineRecord};
use selvedge_protocol::{HistoryBase, SessionMeta};
use serde_json::value::RawValue;

use super::finding::{Finding, FindingKind};
use super::interleaved_turns::InterleavedTurns;
use crate::error::Result;
use crate::history::read_head;
use crate::home::RolloutFile;
use crate::identity::FileStamp;
use crate::reader::{RolloutReader, open_bytes};

/// How many findings one file may have. A file that consists of damage has more, and they add no information.
const MAX_FINDINGS: usize = 10_000;

/// A rollout file that was read completely, with its findings.
#[derive(Clone, Debug)]
pub(super) struct ExaminedFile {
    pub(super) file: RolloutFile,
    /// Whether the file counts, and is not shadowed by another file of the same segment.
    pub(super) counts: bool,
    pub(super) findings: Vec<Finding>,
    /// How many findings were left out.
    pub(super) omitted: u64,
    /// The (decompressed) size, as far as the file could be read.
    pub(super) bytes: u64,
    /// The number of intact lines.
    pub(super) lines: u64,
    pub(super) base: Option<HistoryBase>,
    pub(super) head_range: Range<u64>,
    /// Whether the file was not at the path where it was found.
    pub(super) is_gone: bool,
    pub(super) stamp_before_read: Option<FileStamp>,
}

/// Reads a file completely. Whatever is wrong with it is a finding, also that it cannot be read.
pub(super) fn check_file(file: &RolloutFile, counts: bool) -> ExaminedFile {
    let mut examination = FileExamination {
        examined: ExaminedFile {
            file: file.clone(),
            counts,
            findings: Vec::new(),
            omitted: 0,
            bytes: 0,
            lines: 0,
            base: None,
            head_range: 0..0,
            is_gone: false,
            stamp_before_read: FileStamp::read_by_status_change(&file.path),
        },
        previous_line: None,
        next_ordinal: None,
        has_ordinals: false,
        turns: InterleavedTurns::default(),
    };
    // What was found before the failure stays.
    if let Err(error) = examination.run() {
        let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        let mut detail = format!("{error}{source}");
        if examination.examined.lines > 0 {
            detail.push_str("; what comes before it was read");
        }
        examination.add_finding(FindingKind::Unreadable, None, &detail);
        examination.examined.is_gone = error.is_gone();
    }
    examination.examined
}

/// The position of a finding in a file.
#[derive(Clone)]
struct FindingPosition {
    range: Range<u64>,
    /// The number of the line, counted from 1.
    line: u64,
}

impl From<&LineRecord> for FindingPosition {
    fn from(record: &LineRecord) -> Self {
        Self { range: record.range.clone(), line: record.number }
    }
}

/// A line that was read just before, without damage in between.
struct PreviousLine {
    position: FindingPosition,
    /// Whether the line may lack its newline.
    may_lack_newline: bool,
}

struct FileExamination {
    examined: ExaminedFile,
    previous_line: Option<PreviousLine>,
    /// The ordinal after the highest one so far.
    next_ordinal: Option<u64>,
    /// Whether any line so far had an ordinal.
    has_ordinals: bool,
    turns: InterleavedTurns,
}

impl FileExamination {
    fn run(&mut self) -> Result<()> {
        let path = self.examined.file.path.clone();
        for entry in RolloutReader::open(&path)? {
            let entry = entry?;
            self.examined.bytes = entry.range().end;
            match entry {
                Entry::Line(record) => self.check_line(&record),
                Entry::Damage(damage) => {
                    // The detail states what is lost: NULs and a mark never held anything, any other damage may have been a line.
                    let kind = FindingKind::from(&damage.kind);
                    let detail = match kind {
                        FindingKind::ByteOrderMark | FindingKind::Nul => {
                            format!("{}; nothing is lost by it", damage.kind)
                        }
                        FindingKind::Compression => format!("{}; what comes before it was read", damage.kind),
                        FindingKind::TooLong => format!("{}; it is not read", damage.kind),
                        _ => format!("{}; these bytes are no line, and every other line was read", damage.kind),
                    };
                    let position = FindingPosition { range: damage.range.clone(), line: damage.number };
                    self.add_finding(kind, Some(position), &detail);
                    self.previous_line = None;
                }
            }
        }
        self.check_end(&path)?;
        self.check_head()
    }

    fn check_line(&mut self, record: &LineRecord) {
        self.examined.lines += 1;
        let text_len = record.line.text().len() as u64;
        // The range of a line includes its newline. A range that is no longer than its text and one more byte may lack it: that
        // byte can be other white space. `check_end` decides.
        let may_lack_newline = record.range.end - record.range.start <= text_len + 1;
        // Two intact lines with the same line number have no newline between them.
        if let Some(previous) = self.previous_line.take()
            && previous.position.line == record.number
        {
            let detail = "there is no newline between two lines; programs that read line by line lose both, and nothing is \
                          lost here";
            let range = previous.position.range.start..record.range.end;
            let position = FindingPosition { range, line: record.number };
            self.add_finding(FindingKind::SplicedLines, Some(position), detail);
        }
        self.previous_line = Some(PreviousLine { position: record.into(), may_lack_newline });
        self.check_ordinal(record);
        if let Some(detail) = self.turns.take(&record.line) {
            self.add_finding(FindingKind::InterleavedWriters, Some(record.into()), &detail);
        }
    }

    fn check_ordinal(&mut self, record: &LineRecord) {
        let position = || Some(FindingPosition::from(record));
        let Some(ordinal) = record.line.ordinal() else {
            if self.has_ordinals {
                let detail = "the lines before it have ordinals, and it has none";
                self.add_finding(FindingKind::MissingOrdinal, position(), detail);
            }
            return;
        };
        self.has_ordinals = true;
        match self.next_ordinal {
            Some(next) if ordinal < next => {
                let detail = format!("an earlier line has ordinal {ordinal} or a higher one");
                self.add_finding(FindingKind::RepeatedOrdinal, position(), &detail);
            }
            Some(next) if ordinal > next => {
                let detail = format!("ordinals {next} to {} are missing", ordinal - 1);
                self.add_finding(FindingKind::OrdinalGap, position(), &detail);
            }
            _ => {}
        }
        // The highest one counts, so that lines behind a repeated range are not all reported as repeated and then as a gap.
        self.next_ordinal = self.next_ordinal.max(Some(ordinal.saturating_add(1)));
    }

    /// Checks whether the last line has its newline.
    fn check_end(&mut self, path: &Path) -> Result<()> {
        if let Some(PreviousLine { position, may_lack_newline: true }) = self.previous_line.take() {
            let (bytes, _) = open_bytes(path, position.range.end.saturating_sub(1)..u64::MAX)?;
            let is_sealed = ends_with_newline(bytes);
            if !is_sealed {
                let detail = "the last line lacks its newline; nothing is lost";
                self.add_finding(FindingKind::Unsealed, Some(position), detail);
            }
        }
        Ok(())
    }

    fn check_head(&mut self) -> Result<()> {
        let head = read_head(&self.examined.file)?;
        self.examined.base = head.as_ref().and_then(|head| head.history_base.clone());
        let start = FindingPosition { range: 0..0, line: 1 };
        let thread_id = self.examined.file.name.thread_id;
        if let Some(mode) = head.as_ref().and_then(unknown_mode) {
            let detail = format!("its head names history mode {mode}, which this version does not know");
            self.add_finding(FindingKind::UnknownHistoryMode, Some(start.clone()), &detail);
        }
        match head.map(|head| head.id) {
            None if self.examined.lines > 0 => {
                let detail =
                    format!("no head records the thread of these lines; by its name, the file belongs to {thread_id}");
                self.add_finding(FindingKind::MissingHead, Some(start), &detail);
            }
            None if self.examined.findings.is_empty() => {
                let detail = "it holds no line: its writer ended before it wrote one";
                self.add_finding(FindingKind::Empty, None, detail);
            }
            Some(None) => {
                let detail = format!(
                    "its head has no id that is a UUID, so that Codex does not open it; by its name it is read as {thread_id}"
                );
                self.add_finding(FindingKind::BadHeadId, Some(start), &detail);
            }
            Some(Some(id)) if id != thread_id => {
                let detail = format!("its head is that of thread {id}; by its name it is read as {thread_id}");
                self.add_finding(FindingKind::ForeignHead, Some(start), &detail);
            }
            _ => {}
        }
        Ok(())
    }

    /// Adds a finding. A damaged range that begins where the last one of the same kind ended is merged with it.
    fn add_finding(&mut self, kind: FindingKind, position: Option<FindingPosition>, detail: &str) {
        let examined = &mut self.examined;
        if let Some(position) = &position
            && let Some(last) = examined.findings.last_mut()
            && last.kind == kind
            && matches!(kind, FindingKind::NotJson | FindingKind::InvalidUtf8 | FindingKind::Nul)
            && let Some(known) = &mut last.range
            && known.end == position.range.start
        {
            known.end = position.range.end;
            return;
        }
        if examined.findings.len() >= MAX_FINDINGS {
            examined.omitted += 1;
            return;
        }
        let finding = Finding::new(kind, &examined.file.path, detail).of(examined.file.name.thread_id);
        examined.findings.push(match position {
            Some(FindingPosition { range, line }) => finding.at(range, line),
            None => finding,
        });
    }
}

/// Returns the history mode of a head, as it is written, if it is none that this version knows.
fn unknown_mode(head: &SessionMeta) -> Option<&str> {
    head.extra.get("history_mode").map(RawValue::get).filter(|mode| *mode != "null")
}

/// Returns whether bytes end with a newline, also if they cannot be read to their end.
fn ends_with_newline(mut bytes: impl Read) -> bool {
    let mut last = b'\n';
    let mut block = [0; 4096];
    loop {
        match bytes.read(&mut block) {
            Ok(0) | Err(_) => return last == b'\n',
            Ok(len) => last = block[len - 1],
        }
    }
}
