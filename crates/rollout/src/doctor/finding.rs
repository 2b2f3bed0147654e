//! The findings of a diagnosis: their kinds, and what a user can do about each.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use selvedge_protocol::ThreadId;
use selvedge_protocol::log::DamageKind;
use serde::{Serialize, Serializer};

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Severity {
    /// Something is wrong: data is lost, hidden or at risk, or other programs fail because of it. `selvedge doctor` exits with 1.
    Fault,
    /// Something is unusual, and nothing is lost or at risk because of it. A home as Codex leaves it has notices and no faults.
    Notice,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $severity:ident, $is_repairable:literal, $remedy:literal;)*) => {
        /// The kinds of findings. Their names, as [`as_str`](Self::as_str) returns them, never change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum FindingKind {
            $($(#[$doc])* $name,)*
        }

        impl FindingKind {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Returns the name of the kind.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Returns the severity of the kind.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)* }
            }

            /// Returns whether [`repair`](super::repair) can repair findings of the kind, as a rule.
            #[must_use]
            pub const fn is_repairable(self) -> bool {
                match self { $(Self::$name => $is_repairable,)* }
            }

            /// Returns what to do about a finding of the kind.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy,)* }
            }
        }
    };
}

kinds! {
    /// A range is not UTF-8.
    InvalidUtf8 = "invalid_utf8", Fault, true, "repair removes the damaged range; the original is kept beside the file";
    /// A range is no JSON object.
    NotJson = "not_json", Fault, true, "repair removes the damaged range; the original is kept beside the file";
    /// The file ends in the middle of a line.
    Torn = "torn", Fault, true, "repair removes the torn line; the original is kept beside the file";
    /// A range of NULs.
    Nul = "nul", Fault, true, "repair removes the NULs; the original is kept beside the file";
    /// A byte order mark.
    ByteOrderMark = "byte_order_mark", Fault, true, "repair removes it; the original is kept beside the file";
    /// A line that is too long to be read.
    TooLong = "too_long", Fault, false, "inspect it by hand; repair leaves it unchanged, because it may be intact";
    /// A compressed file cannot be read to its end.
    Compression = "compression", Fault, true, "repair makes a plain file of what can be decompressed; the original is kept beside it";
    /// Two lines without a newline between them.
    SplicedLines = "spliced_lines", Fault, true, "repair inserts a newline between them";
    /// The last line lacks its newline.
    Unsealed = "unsealed", Fault, true, "repair adds the newline, and so does the next append";
    /// No head records which thread the lines belong to.
    MissingHead = "missing_head", Fault, true, "repair inserts a new head before the lines, derived from the name of the file";
    /// The head names another thread than the name of the file does.
    ForeignHead = "foreign_head", Fault, false, "if the file was renamed or copied by hand, restore the name of its thread, or remove the file";
    /// The head has no id that is a UUID.
    BadHeadId = "bad_head_id", Fault, true, "repair inserts a head with the id in the name of the file; the line itself stays";
    /// The head names a way to keep the log that this version does not know.
    UnknownHistoryMode = "unknown_history_mode", Fault, false, "a newer program may have written it: use a version of Selvedge that knows it, and do not append with this one, which reads the thread as a legacy one";
    /// Two programs wrote the file at the same time.
    InterleavedWriters = "interleaved_writers", Fault, false, "end one of the programs, and continue in a fork from before the mixed turns: `selvedge fork ID --before TURN`; this thread keeps every line";
    /// A file or directory cannot be opened or read.
    Unreadable = "unreadable", Fault, false, "check that this user may read it and that the disk works; until then every command leaves it out";
    /// The base of a segment does not exist.
    MissingBase = "missing_base", Fault, false, "restore its file from a backup or another machine; until then the thread has only its own lines";
    /// A rewind abandoned the segment, and the base of the segment does not exist.
    AbandonedWithoutBase = "abandoned_without_base", Notice, false, "nothing has to be done: no history goes through the segment, and what it continued was deleted";
    /// The base of a segment ends before the part that the segment inherits.
    BaseTooShort = "base_too_short", Fault, false, "restore a complete copy of the base from a backup; until then the thread has the lines that exist";
    /// No line of the base ends at the position that the reference names.
    BaseDiffers = "base_differs", Fault, false, "restore an older copy of the base, or let `selvedge delete --detach` copy the history; until then the thread is read by ordinals";
    /// Segments are based on each other in a circle.
    BaseCycle = "base_cycle", Fault, false, "restore one of the files from a backup; until then each thread has only its own lines";
    /// A program went on in a segment that another one had abandoned.
    DivergedHistory = "diverged_history", Fault, true, "repair keeps both: it makes a fork that shows these lines; the thread stays as it is";
    /// Another file holds the same segment and counts.
    Duplicate = "duplicate", Fault, true, "repair removes the file if the other one has all of its content, and otherwise sets it aside";
    /// A temporary file of a process that died.
    Leftover = "leftover", Fault, true, "repair removes it";
    /// A lock file that no process holds.
    StaleLock = "stale_lock", Fault, true, "repair removes it; it excludes no writer";
    /// A name of a thread that does not exist.
    OrphanName = "orphan_name", Fault, true, "repair clears the name by appending a line to the name index";
    /// A range of the name index is no name.
    DamagedNames = "damaged_names", Fault, true, "repair removes the damaged range; the original is kept beside the index";
    /// All users may write a file or directory.
    WritableByAll = "writable_by_all", Fault, true, "repair restricts the mode to the owner";
    /// Other users may read a file or directory, or its group may write it, as the umask of most users lets Codex make it.
    WideMode = "wide_mode", Notice, true, "if other users of this machine must not read the threads, repair restricts the mode to the owner";
    /// A symbolic link at the path of a file or directory of the home.
    SymbolicLink = "symbolic_link", Notice, false, "links are not followed; put the file itself there if it belongs to the home";
    /// A directory that is none of a year, a month or a day, or a FIFO, a socket or a device, among the rollouts.
    Foreign = "foreign", Notice, false, "it is left out; move it out of the directories of rollouts if it is not needed there";
    /// A rollout that no command reads, with lines that are nowhere else.
    StrayRollout = "stray_rollout", Fault, false, "`selvedge import FILE` takes it in as a thread; it leaves the file itself where it is";
    /// A rollout that no command reads, whose lines the home has.
    StrayCopy = "stray_copy", Notice, false, "nothing has to be done: it holds nothing new, and can be removed";
    /// The home is on a file system of another machine.
    NetworkFileSystem = "network_file_system", Notice, false, "write the home from one machine at a time, and keep the index on a local disk with --index";
    /// The file holds no line.
    Empty = "empty", Notice, false, "nothing has to be done: the next writer gives it a head";
    /// Ordinals are missing.
    OrdinalGap = "ordinal_gap", Notice, false, "nothing can be done: the lines between were lost before; ordinals are never changed, because forks refer to them";
    /// An ordinal is repeated.
    RepeatedOrdinal = "repeated_ordinal", Notice, false, "nothing has to be done: an ordinal is an order and no key, and is never changed";
    /// A line of a paginated file has no ordinal.
    MissingOrdinal = "missing_ordinal", Notice, false, "nothing has to be done: the line is read at its position";
}

impl From<&DamageKind> for FindingKind {
    fn from(kind: &DamageKind) -> Self {
        match kind {
            DamageKind::InvalidUtf8 => Self::InvalidUtf8,
            DamageKind::NotJson { .. } => Self::NotJson,
            DamageKind::Torn => Self::Torn,
            DamageKind::Nul => Self::Nul,
            DamageKind::ByteOrderMark => Self::ByteOrderMark,
            DamageKind::TooLong => Self::TooLong,
            DamageKind::Compression { .. } => Self::Compression,
        }
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for FindingKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Something in a home that is wrong or unusual.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The kind.
    pub kind: FindingKind,
    /// The severity.
    pub severity: Severity,
    /// The file or directory.
    pub path: PathBuf,
    /// The thread, if the finding belongs to one.
    pub thread_id: Option<ThreadId>,
    /// The (decompressed) bytes of the file, if the finding is about some of them.
    pub range: Option<Range<u64>>,
    /// The number of the line in which these bytes begin, counted from 1.
    pub line: Option<u64>,
    /// A description, with what is lost.
    pub detail: String,
    /// Whether [`repair`](super::repair) can repair it.
    #[serde(rename = "mendable")]
    pub is_repairable: bool,
    /// What a user can do about it.
    pub remedy: &'static str,
}

impl Finding {
    pub(super) fn new(kind: FindingKind, path: impl Into<PathBuf>, detail: impl Into<String>) -> Self {
        Self {
            kind,
            severity: kind.severity(),
            path: path.into(),
            thread_id: None,
            range: None,
            line: None,
            detail: detail.into(),
            is_repairable: kind.is_repairable(),
            remedy: kind.remedy(),
        }
    }

    pub(super) fn of(self, thread_id: ThreadId) -> Self {
        Self { thread_id: Some(thread_id), ..self }
    }

    pub(super) fn at(self, range: Range<u64>, line: u64) -> Self {
        Self { range: Some(range), line: Some(line), ..self }
    }

    /// Returns the same finding as one that cannot be repaired, with the reason.
    pub(super) fn unrepairable(self, why: &str) -> Self {
        Self { is_repairable: false, detail: format!("{}; {why}", self.detail), ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if let Some(range) = &self.range {
            write!(f, ", bytes {}..{}", range.start, range.end)?;
        }
        write!(f, ": {}", self.detail)
    }
}
