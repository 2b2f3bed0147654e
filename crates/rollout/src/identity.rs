//! The identity of a file, and stamps that distinguish one state of a file from another.

use std::fs::{self, Metadata};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::error::{IoContext, Result};

/// The identity of a file, which stays when the file is renamed. On a system without inodes, all files have the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    /// The device that the file is on.
    pub device: u64,
    /// The number of the file on its device.
    pub inode: u64,
}

impl FileIdentity {
    /// Returns the identity of the file that the metadata is of.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let device = std::os::unix::fs::MetadataExt::dev(metadata);
        #[cfg(not(unix))]
        let device = 0;
        Self { device, inode: inode_of(metadata) }
    }
}

/// What `stat` reports of the file or directory at a path. While the stamp stays the same, the content most likely does, too.
///
/// A stamp can be stored, and compared by a process that runs later. Therefore it has no device number, which some file systems
/// change with each mount. Compare only stamps that were made by the same function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileStamp {
    /// The number of the file on its device; 0 on a system without inodes.
    pub inode: u64,
    /// The size in bytes.
    pub size: u64,
    /// The time of the last change, in nanoseconds since 1970.
    pub changed_ns: i64,
}

impl FileStamp {
    /// Returns the stamp of a file, with the time at which its content was modified (`mtime`). That time stays when the file is
    /// moved, and any program can set it.
    #[must_use]
    pub fn by_modification(metadata: &Metadata) -> Self {
        Self {
            inode: inode_of(metadata),
            size: metadata.len(),
            changed_ns: metadata.modified().map_or(0, nanos_since_1970),
        }
    }

    /// Returns the stamp of a file or directory, with the time at which its content, its names or its mode changed (`ctime`). No
    /// program can set that time, not even one that copies a directory with all its times.
    #[cfg(unix)]
    #[must_use]
    pub fn by_status_change(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;

        let changed_ns = metadata.ctime().saturating_mul(1_000_000_000).saturating_add(metadata.ctime_nsec());
        Self { changed_ns, ..Self::by_modification(metadata) }
    }

    /// Returns the stamp of a file or directory. If the system reports no time of modification, the time is in the future, so that
    /// the stamp never counts as old.
    #[cfg(not(unix))]
    #[must_use]
    pub fn by_status_change(metadata: &Metadata) -> Self {
        let changed_ns = metadata.modified().map_or(i64::MAX, nanos_since_1970);
        Self { changed_ns, ..Self::by_modification(metadata) }
    }

    /// Stats the file at a path and returns its stamp [by modification](Self::by_modification).
    ///
    /// # Errors
    /// If there is no such file, or the system does not allow it.
    pub fn read(path: &Path) -> Result<Self> {
        Ok(Self::by_modification(&fs::metadata(path).context("stat", path)?))
    }

    /// Stats the file or directory at a path and returns its stamp [by status change](Self::by_status_change). `None` if there is
    /// nothing at the path. Another file in its place has another stamp.
    pub(crate) fn read_by_status_change(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|metadata| Self::by_status_change(&metadata))
    }

    /// Returns how long before `now` the last change was. `None` if it was not before `now`.
    pub(crate) fn age(&self, now: SystemTime) -> Option<Duration> {
        let age = nanos_since_1970(now).checked_sub(self.changed_ns)?;
        u64::try_from(age).ok().map(Duration::from_nanos)
    }
}

fn inode_of(metadata: &Metadata) -> u64 {
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(metadata);
    #[cfg(not(unix))]
    let inode = 0;
    #[cfg(not(unix))]
    let _ = metadata;
    inode
}

fn nanos_since_1970(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
