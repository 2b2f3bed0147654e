//! How a file looks from outside.

use std::path::Path;
use std::time::UNIX_EPOCH;

use selvedge_rollout::RolloutError;

use crate::error::Result;

/// Size, time of last change and identity of a file: when they are the same, so is the file, as far as can be told without
/// reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Bytes.
    pub(crate) size: u64,
    /// Nanoseconds since 1970.
    pub(crate) modified_ns: i64,
    /// Which file it is; 0 where the system does not say.
    pub(crate) inode: u64,
}

impl Stamp {
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let metadata = std::fs::metadata(path).map_err(|source| RolloutError::Io {
            action: "look at",
            path: path.to_owned(),
            source,
        })?;
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Ok(Self {
            size: metadata.len(),
            modified_ns: modified.map_or(0, |time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)),
            inode,
        })
    }
}
