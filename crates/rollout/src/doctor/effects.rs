//! All that a repair does to files.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::error::{IoContext, Result};
use crate::files::{private, temporary_beside};

/// Puts a new content in the place of a file, whole or not at all. The original is kept as `kept`. When the new file has
/// another name (`target`), there must be none of that name yet.
///
/// `check` sees the new file before it takes its place.
pub(super) fn replace(
    original: &Path,
    target: &Path,
    kept: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<()>,
    check: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let temporary = temporary_beside(target);
    let placed = write_synced(&temporary, original, write).and_then(|()| check(&temporary)).and_then(|()| {
        fs::hard_link(original, kept).context("keep the original of", original)?;
        narrow(kept, 0o600)?;
        if target == original {
            return fs::rename(&temporary, target).context("replace", target);
        }
        fs::hard_link(&temporary, target).context("create", target)?;
        fs::remove_file(original).context("remove", original)
    });
    // A rename took it away already.
    let _ = fs::remove_file(&temporary);
    if let Some(dir) = target.parent().filter(|_| placed.is_ok()) {
        sync_dir(dir)?;
    }
    placed
}

fn write_synced(path: &Path, original: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let file = private().write(true).create_new(true).open(path).context("create", path)?;
    let mut writer = BufWriter::with_capacity(1 << 16, file);
    write(&mut writer)?;
    let file = writer.into_inner().map_err(io::IntoInnerError::into_error).context("write", path)?;
    // Listings go by this time; a repair is no news of the thread.
    if let Ok(at) = fs::metadata(original).and_then(|metadata| metadata.modified()) {
        file.set_modified(at).context("write", path)?;
    }
    file.sync_all().context("sync", path)
}

/// Gives a file another name, which is not taken.
pub(super) fn set_aside(path: &Path, kept: &Path) -> Result<()> {
    fs::hard_link(path, kept).context("set aside", path)?;
    narrow(kept, 0o600)?;
    fs::remove_file(path).context("set aside", path)
}

/// Removes a file; one that is gone already is fine.
pub(super) fn remove(path: &Path) -> Result<()> {
    crate::files::remove_file(path)
}

/// Takes the rights of everybody but the owner from a file or directory, which must not be a symbolic link.
#[cfg(unix)]
pub(super) fn narrow(path: &Path, wanted: u32) -> Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    let seen = fs::symlink_metadata(path).context("narrow", path)?;
    let opened = File::open(path).context("narrow", path)?;
    let metadata = opened.metadata().context("narrow", path)?;
    if (seen.dev(), seen.ino()) != (metadata.dev(), metadata.ino()) {
        return Err(io::Error::other("it is a symbolic link")).context("narrow", path);
    }
    let mode = metadata.permissions().mode() & 0o7777;
    opened.set_permissions(fs::Permissions::from_mode(mode & wanted)).context("narrow", path)
}

#[cfg(not(unix))]
pub(super) fn narrow(_: &Path, _: u32) -> Result<()> {
    Ok(())
}

#[cfg(unix)]
fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).context("sync", dir)
}

#[cfg(not(unix))]
fn sync_dir(_: &Path) -> Result<()> {
    Ok(())
}
