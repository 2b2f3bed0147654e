//! What tells one file from another, and one state of a file from another.

use std::fs::{self, Metadata};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::error::{IoContext, Result};

/// Which file it is, whatever its name. Where the system does not tell, all files are the same.
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

/// How the file or directory at a path looks from outside. While it looks the same, it holds the same, as far as can be told
/// without reading it.
///
/// A stamp can be stored, and compared by a process that runs later. So it has no device: on some file systems its number is
/// another one each time they are mounted. Compare only stamps that were made by the same function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileStamp {
    /// The number of the file on its device; 0 where the system does not tell.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// When it changed last, in nanoseconds since 1970.
    pub changed_ns: i64,
}

impl FileStamp {
    /// Returns the stamp of a file, with the time at which its content was modified (`mtime`). That time stays when the file is
    /// moved, and anybody can set it.
    #[must_use]
    pub fn by_modification(metadata: &Metadata) -> Self {
        Self {
            inode: inode_of(metadata),
            size: metadata.len(),
            changed_ns: metadata.modified().map_or(0, nanos_since_1970),
        }
    }

    /// Returns the stamp of a file or directory, with the time at which anything of it changed: its content, its names or its
    /// mode (`ctime`). Nobody can set that time, not even a program that copies a directory with all its times.
    #[cfg(unix)]
    #[must_use]
    pub fn by_status_change(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;

        let changed_ns = metadata.ctime().saturating_mul(1_000_000_000).saturating_add(metadata.ctime_nsec());
        Self { changed_ns, ..Self::by_modification(metadata) }
    }

    /// Returns the stamp of a file or directory. Where the system tells no time of modification, the time is in the future.
    #[cfg(not(unix))]
    #[must_use]
    pub fn by_status_change(metadata: &Metadata) -> Self {
        let changed_ns = metadata.modified().map_or(i64::MAX, nanos_since_1970);
        Self { changed_ns, ..Self::by_modification(metadata) }
    }

    /// Stats the file at a path and returns its stamp [by modification](Self::by_modification).
    ///
    /// # Errors
    /// When there is no such file, or the system refuses.
    pub fn read(path: &Path) -> Result<Self> {
        Ok(Self::by_modification(&fs::metadata(path).context("look at", path)?))
    }

    /// How long before `now` the last change was; `None` if it was not before.
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
