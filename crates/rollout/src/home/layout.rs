//! The layout of a home: the paths of its files.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use selvedge_protocol::{Durability, Timestamp};

use super::file_name::RolloutFileName;
use crate::file_system::{FileSystem, SystemFiles};

/// Levels of directories between `sessions` and the files: year, month, day.
pub(crate) const SESSION_LEVELS: usize = 3;

/// The file name of the name index.
pub(crate) const NAME_INDEX: &str = "session_index.jsonl";

/// A home directory with sessions, archive, name index and locks, and the durability level at which it is written.
///
/// Two values are equal if they have the same path.
#[derive(Clone)]
pub struct RolloutHome {
    root: PathBuf,
    durability: Durability,
    file_system: Arc<dyn FileSystem>,
    clock: fn() -> Timestamp,
    /// The directories that this process has swept. Once is enough: what a process that dies later leaves is swept by the next
    /// process.
    swept: Arc<Mutex<HashSet<PathBuf>>>,
}

impl RolloutHome {
    /// Returns the home at this path, with level [`Durability::Written`]. Has no effect on files and reads none.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            durability: Durability::default(),
            file_system: Arc::new(SystemFiles),
            clock: crate::clock::now,
            swept: Arc::default(),
        }
    }

    /// Returns the same home with another durability level.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Returns the same home with another implementation of effects on files, for tests.
    #[must_use]
    pub fn with_file_system(mut self, file_system: Arc<dyn FileSystem>) -> Self {
        self.file_system = file_system;
        self
    }

    /// Returns the same home with another clock, for tests. That clock determines the names of new segments; lines get their
    /// timestamps from the clock of the system.
    #[must_use]
    pub fn with_clock(mut self, clock: fn() -> Timestamp) -> Self {
        self.clock = clock;
        self
    }

    /// Returns the current time of the home's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Returns the durability level at which an effect on this home is acknowledged.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// Returns whether an effect is acknowledged only when it is durable (level `synced`).
    pub(crate) fn is_synced(&self) -> bool {
        self.durability == Durability::Synced
    }

    pub(crate) fn file_system(&self) -> &dyn FileSystem {
        &*self.file_system
    }

    /// Returns whether a directory has to be swept, and remembers it as swept. `true` only at the first call for a directory.
    pub(crate) fn is_first_sweep(&self, dir: &Path) -> bool {
        self.swept.lock().unwrap_or_else(PoisonError::into_inner).insert(dir.to_owned())
    }

    /// Returns the path of the home.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the directory of active threads, with subdirectories for year, month and day.
    #[must_use]
    pub fn sessions_dir(&self) -> PathBuf {
        self.root.join("sessions")
    }

    /// Returns the directory of archived threads, which has no subdirectories.
    #[must_use]
    pub fn archived_dir(&self) -> PathBuf {
        self.root.join("archived_sessions")
    }

    /// Returns the path of the name index.
    #[must_use]
    pub fn name_index_path(&self) -> PathBuf {
        self.root.join(NAME_INDEX)
    }

    /// Returns the directory of the writer locks.
    #[must_use]
    pub fn locks_dir(&self) -> PathBuf {
        self.root.join("thread-writer-locks")
    }

    /// Returns the path of the [reference lock](crate::ReferenceLock).
    pub(crate) fn reference_lock_path(&self) -> PathBuf {
        self.root.join("selvedge-references.lock")
    }

    /// Returns the path of the [maintenance lock](crate::MaintenanceLock), which Codex takes, too.
    pub(crate) fn maintenance_lock_path(&self) -> PathBuf {
        self.root.join(".tmp").join("rollout-maintenance.lock")
    }

    /// Returns the path of an active file with this name.
    #[must_use]
    pub fn active_path(&self, name: &RolloutFileName) -> PathBuf {
        let date = name.created.date();
        self.sessions_dir()
            .join(format!("{:04}", date.year()))
            .join(format!("{:02}", date.month()))
            .join(format!("{:02}", date.day()))
            .join(name.to_string())
    }

    /// Returns the path of an archived file with this name.
    #[must_use]
    pub fn archived_path(&self, name: &RolloutFileName) -> PathBuf {
        self.archived_dir().join(name.to_string())
    }
}

impl PartialEq for RolloutHome {
    fn eq(&self, other: &Self) -> bool {
        self.root == other.root
    }
}

impl Eq for RolloutHome {}

impl fmt::Debug for RolloutHome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RolloutHome")
            .field("root", &self.root)
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}
