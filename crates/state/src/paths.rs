//! Paths of rollout files as the index stores them.

use std::path::Path;

use selvedge_protocol::SegmentId;
use selvedge_rollout::{RolloutFileName, RolloutHome};

/// Returns a path relative to the home. `None` if it is not UTF-8, or not in the home; such a file is not indexed.
///
/// The names of rollout files are UTF-8, and so are those of their directories. Only other directories on the
/// path can have names that are not UTF-8.
pub(crate) fn home_relative(home: &RolloutHome, path: &Path) -> Option<String> {
    Some(path.strip_prefix(home.root()).ok()?.to_str()?.to_owned())
}

/// Hashes a path. The hash is the same in every build (FNV-1a). It has 40 bits, so that the sum over millions of paths is
/// still an SQLite integer: a comparison of count and sum shows whether files were added or removed.
pub(crate) fn path_hash(path: &str) -> i64 {
    let hash = path
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    (hash >> 24).cast_signed()
}

/// Returns the segment of a file by its name.
pub(crate) fn segment_id_of(path: &str) -> Option<SegmentId> {
    let name = Path::new(path).file_name()?.to_str()?;
    Some(RolloutFileName::parse(name)?.segment_id())
}
