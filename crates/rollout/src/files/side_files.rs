//! Names of the files that may exist beside a rollout.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use selvedge_protocol::Timestamp;

/// What separates the name of the future file from the random part in the name of a temporary file.
const TEMPORARY_MARK: &str = ".tmp-";

/// Returns a new name in the directory of `path` for a temporary file: `.<name>.tmp-<32 hex digits>`. No reader takes it for a
/// rollout.
pub(crate) fn temporary_beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!("{TEMPORARY_MARK}{}", uuid::Uuid::now_v7().simple()));
    path.with_file_name(name)
}

/// Returns the name of the file that a temporary file was to become. `None` if `name` does not have the form of
/// [`temporary_beside`].
pub(crate) fn temporary_target(name: &str) -> Option<&str> {
    let (target, id) = name.rsplit_once(TEMPORARY_MARK)?;
    let is_temporary = name.starts_with('.') && id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_temporary.then(|| target.strip_prefix('.').unwrap_or(target))
}

/// Returns a free name beside `path` for the original of a damaged file: `<name>.damaged-<time>`, with a number if that name is
/// taken. No reader takes it for a rollout.
pub(crate) fn damaged_beside(path: &Path, at: Timestamp) -> PathBuf {
    let time = at.to_string().replace(['-', ':', '.'], "");
    let mut kept = path.as_os_str().to_owned();
    kept.push(format!(".damaged-{time}"));
    let mut candidate = PathBuf::from(&kept);
    // `symlink_metadata` also finds a link without a target, which would make the name unusable.
    for number in 2_u32.. {
        if fs::symlink_metadata(&candidate).is_err() {
            break;
        }
        let mut next = kept.clone();
        next.push(format!("-{number}"));
        candidate = next.into();
    }
    candidate
}

/// Returns the directory of a path.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// Returns whether a path is that of a compressed file.
pub(crate) fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "zst")
}

/// Returns the path of the compressed form of a plain file.
pub(crate) fn compressed_beside(plain: &Path) -> PathBuf {
    let mut name = plain.as_os_str().to_owned();
    name.push(".zst");
    name.into()
}
