//! What can be found wrong.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use selvedge_protocol::ThreadId;
use selvedge_protocol::log::DamageKind;
use serde::{Serialize, Serializer};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Severity {
    /// Something is lost, at risk or open to others, or other programs stumble over it.
    Fault,
    /// Something is out of the ordinary, and nothing has to be done.
    Notice,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $severity:ident, $is_repairable:literal, $kept:literal;)*) => {
        /// The kinds of findings. Their names, as [`as_str`](Self::as_str) gives them, stay what they are.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum FindingKind {
            $($(#[$doc])* $name,)*
        }

        impl FindingKind {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The kind's name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// How much it matters.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)* }
            }

            /// Whether [`repair`](super::repair) mends it, as a rule.
            #[must_use]
            pub const fn is_repairable(self) -> bool {
                match self { $(Self::$name => $is_repairable,)* }
            }

            /// What to do about it.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$name => $kept,)* }
            }
        }
    };
}

kinds! {
    /// A stretch is not UTF-8.
    InvalidUtf8 = "invalid_utf8", Fault, true, "repair takes the stretch out; the original is kept beside the file";
    /// A stretch is no JSON object.
    NotJson = "not_json", Fault, true, "repair takes the stretch out; the original is kept beside the file";
    /// The file ends in the middle of a line.
    Torn = "torn", Fault, true, "repair takes the rest of the line out; the original is kept beside the file";
    /// A stretch of NULs.
    Nul = "nul", Fault, true, "repair takes the NULs out; the original is kept beside the file";
    /// A byte order mark.
    ByteOrderMark = "byte_order_mark", Fault, true, "repair takes it out; the original is kept beside the file";
    /// A line that is longer than what is read.
    TooLong = "too_long", Fault, false, "look at it by hand; repair leaves it where it is, because it may be whole";
    /// A compressed file cannot be read to its end.
    Compression = "compression", Fault, true, "repair makes a plain file of what decompresses; the original is kept beside it";
    /// Two lines stand on one.
    SplicedLines = "spliced_lines", Fault, true, "repair puts a newline between them";
    /// The last line lacks its newline.
    Unsealed = "unsealed", Fault, true, "repair ends it, and so does the next append";
    /// No head says whose file it is.
    MissingHead = "missing_head", Fault, true, "repair puts a new head before the lines, with what the file's name says";
    /// The head names another thread than the file's name.
    ForeignHead = "foreign_head", Fault, false, "if the file was renamed or copied by hand, give it back the name of its thread, or remove it";
    /// A file cannot be opened or read.
    Unreadable = "unreadable", Fault, false, "see to it that this user may read it and that the disk is in order";
    /// The segment that a file builds on is not there.
    MissingBase = "missing_base", Fault, false, "bring its file back from a backup or another machine; until then the thread has its own lines only";
    /// The segment that a file builds on ends before the part that is referred to.
    BaseTooShort = "base_too_short", Fault, false, "bring a whole copy of the base back from a backup; the thread reads what is there";
    /// The segment that a file builds on does not have a line that ends where the reference says.
    BaseDiffers = "base_differs", Fault, false, "bring an older copy of the base back, or `selvedge delete --detach` copies the history; the thread is read by ordinals";
    /// Segments build on each other in a circle.
    BaseCycle = "base_cycle", Fault, false, "bring one of the files back from a backup; each thread has its own lines";
    /// Another file holds the same segment and counts more.
    Duplicate = "duplicate", Fault, true, "repair removes it if the other file has all of it, and else sets it aside";
    /// A temporary file that nobody finished.
    Leftover = "leftover", Fault, true, "repair removes it";
    /// A lock file that nobody holds.
    StaleLock = "stale_lock", Fault, true, "repair removes it; it keeps nobody out";
    /// A name of a thread that is not there.
    OrphanName = "orphan_name", Fault, true, "repair clears it, by one more line in the index of names";
    /// A stretch of the index of names is no name.
    DamagedNames = "damaged_names", Fault, true, "repair takes the stretch out; the original is kept beside the index";
    /// Others than the owner may read or write it.
    WideMode = "wide_mode", Fault, true, "repair narrows it to its owner";
    /// A symbolic link stands where a file or directory of the home is looked for.
    SymbolicLink = "symbolic_link", Notice, false, "links are not followed; put the file itself there if it belongs here";
    /// The file holds no line.
    Empty = "empty", Notice, false, "nothing has to be done: a writer that goes on gives it a head";
    /// Ordinals are left out.
    OrdinalGap = "ordinal_gap", Notice, false, "nothing can be done: the lines in between were lost before; ordinals are never changed, because forks refer to them";
    /// An ordinal is given again.
    RepeatedOrdinal = "repeated_ordinal", Notice, false, "nothing has to be done: an ordinal is an order and no key, and is never changed";
    /// A line of a paginated file has no ordinal.
    MissingOrdinal = "missing_ordinal", Notice, false, "nothing has to be done: the line is read where it stands";
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

/// Something that is wrong or out of the ordinary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub kind: FindingKind,
    /// How much it matters.
    pub severity: Severity,
    /// In which file or directory.
    pub path: PathBuf,
    /// Of which thread, where it is one's.
    pub thread_id: Option<ThreadId>,
    /// Which (decompressed) bytes of the file, where it is about some.
    pub range: Option<Range<u64>>,
    /// The line that they begin in, counted from 1.
    pub line: Option<u64>,
    /// What exactly, and what is lost by it.
    pub detail: String,
    /// Whether [`repair`](super::repair) mends it.
    pub mendable: bool,
    /// What to do about it.
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
            mendable: kind.is_repairable(),
            remedy: kind.remedy(),
        }
    }

    pub(super) fn of(self, thread_id: ThreadId) -> Self {
        Self { thread_id: Some(thread_id), ..self }
    }

    pub(super) fn at(self, range: Range<u64>, line: u64) -> Self {
        Self { range: Some(range), line: Some(line), ..self }
    }

    /// The same finding, as one that repair cannot mend, and why.
    pub(super) fn unmendable(self, why: &str) -> Self {
        Self { mendable: false, detail: format!("{}; {why}", self.detail), ..self }
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
