//! The effects of a repair on file_system. All but one go through [`FileSystem`](crate::FileSystem). A mode is set directly, because no
//! content depends on it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::error::{IoContext, Result};
use crate::files::placement::SyncPolicy;
use crate::home::RolloutHome;
#[cfg(unix)]
use crate::identity::FileIdentity;

/// The paths of a replacement.
#[derive(Clone, Copy)]
pub(super) struct Replacement<'a> {
    pub(super) original: &'a Path,
    /// The path of the new file: that of the original, or one at which there is no file.
    pub(super) target: &'a Path,
    /// The path at which the original is kept.
    pub(super) kept: &'a Path,
}

/// Replaces a file by new content, atomically, and keeps the original.
///
/// `check` gets the path of the new file before it takes effect, and can refuse it.
///
/// ```text
/// write and sync a temporary file, check it     a crash leaves the original
/// link the original to `kept`                   the original, by two names
/// rename over the original                      the new file, and the original as `kept`
///
/// or, if the new file has another name (a decompressed one):
/// link to `target`                              both files; the plain one counts
/// remove the name of the original               the new file, and the original as `kept`
/// ```
pub(super) fn replace(
    home: &RolloutHome,
    Replacement { original, target, kept }: Replacement<'_>,
    write: impl FnOnce(&mut dyn Write) -> Result<()>,
    check: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let content = |out: &mut dyn Write| write(out).map_err(io::Error::other);
    let mut temporary = home.write_temporary(target, SyncPolicy::Always, content)?;
    check(&temporary.path)?;
    let file_system = home.file_system();
    // A second name costs nothing, and at no moment is the original without a name.
    file_system.hard_link(original, kept).context("keep the original of", original)?;
    narrow(kept, 0o600)?;
    if target == original {
        file_system.rename(&temporary.path, target).context("replace", target)?;
        temporary.is_renamed = true;
    } else {
        file_system.hard_link(&temporary.path, target).context("create", target)?;
        home.sync_names(target)?;
        file_system.remove_file(original).context("remove", original)?;
    }
    home.sync_names(target)
}

/// Renames a file to a name that is free.
pub(super) fn set_aside(home: &RolloutHome, path: &Path, kept: &Path) -> Result<()> {
    narrow(path, 0o600)?;
    home.file_system().rename(path, kept).context("set aside", path)?;
    home.sync_names(kept)
}

/// Removes a file. Succeeds if there is no such file.
pub(super) fn remove(home: &RolloutHome, path: &Path) -> Result<()> {
    home.remove_file(path)
}

/// Removes a temporary file, unless a process uses it.
pub(super) fn remove_leftover(home: &RolloutHome, path: &Path) -> Result<()> {
    home.remove_unless_locked(path);
    let still_exists = fs::symlink_metadata(path).is_ok();
    if still_exists { Err(io::Error::other("another process is writing it")).context("remove", path) } else { Ok(()) }
}

/// Takes the rights of all users but the owner from a file or directory. Refuses a symbolic link.
#[cfg(unix)]
pub(super) fn narrow(path: &Path, wanted: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;

    // The mode is set on the open file. So a link that replaces the path in the meantime cannot redirect it.
    let seen = fs::symlink_metadata(path).context("narrow", path)?;
    let opened = File::open(path).context("narrow", path)?;
    let metadata = opened.metadata().context("narrow", path)?;
    if FileIdentity::of(&seen) != FileIdentity::of(&metadata) {
        return Err(io::Error::other("it is a symbolic link")).context("narrow", path);
    }
    let mode = metadata.permissions().mode() & 0o7777;
    opened.set_permissions(fs::Permissions::from_mode(mode & wanted)).context("narrow", path)
}

#[cfg(not(unix))]
pub(super) fn narrow(_: &Path, _: u32) -> Result<()> {
    Ok(())
}
