//! All that a repair does to files, made of the effects of the seam; a mode is set beside it, since no content hangs on it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::error::{IoContext, Result};
use crate::files::Content;
#[cfg(unix)]
use crate::identity::FileIdentity;
use crate::layout::RolloutHome;

/// Puts a new content in the place of a file, whole or not at all. The original is kept as `kept`. When the new file has
/// another name (`target`), there must be none of that name yet.
///
/// `check` sees the new file before it takes its place. A crash leaves the original under its name, or the new file under its
/// own and the original under the name by which it is kept.
pub(super) fn replace(
    home: &RolloutHome,
    [original, target, kept]: [&Path; 3],
    write: impl FnOnce(&mut dyn Write) -> Result<()>,
    check: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let content = |out: &mut dyn Write| write(out).map_err(io::Error::other);
    let mut temporary = home.write_temporary(target, Content::Whole, content)?;
    check(&temporary.path)?;
    let files = home.file_system();
    files.hard_link(original, kept).context("keep the original of", original)?;
    narrow(kept, 0o600)?;
    if target == original {
        files.rename(&temporary.path, target).context("replace", target)?;
        temporary.is_moved = true;
    } else {
        files.hard_link(&temporary.path, target).context("create", target)?;
        home.sync_names(target)?;
        files.remove_file(original).context("remove", original)?;
    }
    home.sync_names(target)
}

/// Gives a file another name, which is not taken.
pub(super) fn set_aside(home: &RolloutHome, path: &Path, kept: &Path) -> Result<()> {
    narrow(path, 0o600)?;
    home.file_system().rename(path, kept).context("set aside", path)?;
    home.sync_names(kept)
}

/// Removes a file; one that is gone already is fine.
pub(super) fn remove(home: &RolloutHome, path: &Path) -> Result<()> {
    home.remove_file(path)
}

/// Removes a temporary file that nobody is at work on.
pub(super) fn remove_leftover(home: &RolloutHome, path: &Path) -> Result<()> {
    home.remove_unless_locked(path);
    let is_there = fs::symlink_metadata(path).is_ok();
    if is_there { Err(io::Error::other("somebody is writing it")).context("remove", path) } else { Ok(()) }
}

/// Takes the rights of everybody but the owner from a file or directory, which must not be a symbolic link.
#[cfg(unix)]
pub(super) fn narrow(path: &Path, wanted: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;

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
