//! The steps of a repair.

use std::fmt;
use std::path::PathBuf;

use selvedge_protocol::ThreadId;
use serde::Serialize;

/// What a repair does to a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RepairAction {
    /// A rollout file is replaced by one that holds its intact lines.
    RewriteFile,
    /// A file is removed, because another one has all of its content.
    RemoveDuplicate,
    /// A file is renamed so that no reader takes it for a rollout.
    SetAside,
    /// A temporary file is removed.
    RemoveLeftover,
    /// A lock file that no process holds is removed.
    RemoveLock,
    /// The name of a thread that does not exist is cleared.
    ClearName,
    /// The name index is replaced by one that holds its intact lines.
    RewriteNames,
    /// A mode is restricted to the owner.
    NarrowMode,
    /// A fork is made of the history that ends with an abandoned segment.
    Fork,
}

impl fmt::Display for RepairAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RewriteFile => "rewrite",
            Self::RemoveDuplicate => "remove duplicate",
            Self::SetAside => "set aside",
            Self::RemoveLeftover => "remove leftover",
            Self::RemoveLock => "remove lock",
            Self::ClearName => "clear name",
            Self::RewriteNames => "rewrite names",
            Self::NarrowMode => "narrow",
            Self::Fork => "fork",
        })
    }
}

/// A step of a repair, done or planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RepairStep {
    /// What is done.
    pub action: RepairAction,
    /// The file or directory.
    pub path: PathBuf,
    /// The thread, if the file belongs to one.
    pub thread_id: Option<ThreadId>,
    /// A description.
    pub detail: String,
    /// The path at which the original is kept.
    pub kept: Option<PathBuf>,
    /// The thread that was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_thread_id: Option<ThreadId>,
    /// Why the step was not done, or not completely.
    pub error: Option<String>,
}
