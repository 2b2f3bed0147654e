//! The findings of a check, and the result of a repair.

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;

use selvedge_protocol::ThreadId;
use selvedge_rollout::doctor::Severity;
use serde::Serialize;

use crate::database::SetAside;
use crate::update::UpdateReport;

/// The scope of a check.
#[derive(Clone, Debug, Default)]
pub struct CheckScope {
    /// The threads to check. `None`: all threads.
    pub threads: Option<HashSet<ThreadId>>,
    /// Whether each row is compared with its whole log. This reads every log.
    pub deep: bool,
}

/// The kinds of findings. Their names ([`as_str`](Self::as_str)) are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum IndexFindingKind {
    /// The file is not an index, or is damaged.
    UnusableIndex,
    /// The index counts as complete, but has a row of a thread that has no file.
    RowWithoutFile,
    /// The index counts as complete, but has no row of a thread.
    MissingRow,
    /// A row differs from the files, although these did not change since they were read.
    WrongRow,
    /// A row has another name than the name index, although this did not change since it was read.
    WrongName,
    /// Another version of the program created the index.
    OtherVersion,
    /// The index was never filled to the end.
    Unfilled,
    /// Threads have no row yet.
    #[serde(rename = "not_taken_in")]
    NotIndexed,
    /// Threads were deleted.
    Deleted,
    /// Files of threads changed.
    Changed,
    /// Names changed.
    StaleNames,
}

impl CheckScope {
    pub(super) fn includes(&self, thread_id: ThreadId) -> bool {
        self.threads.as_ref().is_none_or(|threads| threads.contains(&thread_id))
    }
}

impl IndexFindingKind {
    /// Returns the name of the kind.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnusableIndex => "unusable_index",
            Self::RowWithoutFile => "row_without_file",
            Self::MissingRow => "missing_row",
            Self::WrongRow => "wrong_row",
            Self::WrongName => "wrong_name",
            Self::OtherVersion => "other_version",
            Self::Unfilled => "unfilled",
            Self::NotIndexed => "not_taken_in",
            Self::Deleted => "deleted",
            Self::Changed => "changed",
            Self::StaleNames => "stale_names",
        }
    }

    /// Returns how much a finding of this kind matters. A notice is what the next query puts right.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::UnusableIndex | Self::RowWithoutFile | Self::MissingRow | Self::WrongRow | Self::WrongName => {
                Severity::Fault
            }
            Self::OtherVersion
            | Self::Unfilled
            | Self::NotIndexed
            | Self::Deleted
            | Self::Changed
            | Self::StaleNames => Severity::Notice,
        }
    }
}

impl fmt::Display for IndexFindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that is wrong in an index, or that it does not know yet. [`StateIndex::repair`](crate::StateIndex::repair) repairs
/// every kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct IndexFinding {
    /// The kind.
    pub kind: IndexFindingKind,
    /// How much it matters.
    pub severity: Severity,
    /// The thread, if the finding is about one.
    pub thread_id: Option<ThreadId>,
    /// What exactly was found.
    pub detail: String,
}

impl IndexFinding {
    pub(super) fn new(kind: IndexFindingKind, thread_id: Option<ThreadId>, detail: impl Into<String>) -> Self {
        Self { kind, severity: kind.severity(), thread_id, detail: detail.into() }
    }
}

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct IndexCheck {
    /// The database file.
    pub path: PathBuf,
    /// Whether the file exists. An empty file counts as missing.
    #[serde(rename = "is_there")]
    pub exists: bool,
    /// The number of threads in the index.
    pub threads: u64,
    /// What is wrong or stale.
    pub findings: Vec<IndexFinding>,
}

/// The result of a repair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct IndexRepair {
    /// The file that could not be used and was replaced, if there was one.
    pub set_aside: Option<SetAside>,
    /// What the update did that followed.
    pub report: UpdateReport,
}
