//! What tells one file from another.

use std::fs::Metadata;

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
    #[cfg(unix)]
    #[must_use]
    pub fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;

        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// Returns the identity of the file that the metadata is of.
    #[cfg(not(unix))]
    #[must_use]
    pub fn of(_: &Metadata) -> Self {
        Self { device: 0, inode: 0 }
    }
}
