//! Effects on files: made private, replaced whole or not at all.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::{IoContext, Result};

/// Makes a directory and those above it, for this user only.
pub(crate) fn create_dir(path: &Path) -> Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).context("create directory", path)
}

/// Options to open files that, if they are made, are for this user only.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes a file that must not be there yet, with this content: at once, for all to see, or not at all.
///
/// # Errors
/// When the system refuses; with [`io::ErrorKind::AlreadyExists`] when the file is there.
pub fn write_new_file(path: &Path, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    if let Some(dir) = path.parent() {
        create_dir(dir)?;
    }
    let temporary = temporary_beside(path);
    let written = write_all(&temporary, content);
    // A hard link, unlike a rename, does not replace what is there.
    let placed = written.and_then(|()| fs::hard_link(&temporary, path).context("create", path));
    let _ = fs::remove_file(&temporary);
    placed
}

fn write_all(path: &Path, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let file = private().write(true).create_new(true).open(path).context("create", path)?;
    let mut writer = io::BufWriter::with_capacity(1 << 16, file);
    content(&mut writer).and_then(|()| writer.flush()).context("write", path)
}

/// A name beside `path` that no reader takes for a rollout.
fn temporary_beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".tmp-{}", uuid::Uuid::now_v7().simple()));
    path.with_file_name(name)
}

/// Makes a plain file of a compressed one, which goes, and gives its path. Readers see one or the other at any time.
///
/// # Errors
/// When the system refuses or the frame is damaged; the compressed file stays then.
pub fn decompress_in_place(compressed: &Path) -> Result<PathBuf> {
    let plain = compressed.with_extension("");
    let source = File::open(compressed).context("open", compressed)?;
    let mut decoder = zstd::Decoder::new(source).context("decompress", compressed)?;
    write_new_file(&plain, |out| io::copy(&mut Blaming { decoder: &mut decoder, compressed }, out).map(drop))?;
    fs::remove_file(compressed).context("remove", compressed)?;
    Ok(plain)
}

/// Says of which file it is that it cannot be decompressed.
struct Blaming<'a, R> {
    decoder: R,
    compressed: &'a Path,
}

impl<R: io::Read> io::Read for Blaming<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(buffer).map_err(|error| {
            io::Error::new(error.kind(), format!("{} cannot be decompressed: {error}", self.compressed.display()))
        })
    }
}

/// Moves a file into a directory that is made if it is missing, where no file of its name may be.
///
/// # Errors
/// When the system refuses; with [`io::ErrorKind::AlreadyExists`] when there is a file of that name.
pub fn move_file(from: &Path, to: &Path) -> Result<()> {
    if let Some(dir) = to.parent() {
        create_dir(dir)?;
    }
    if to.try_exists().context("look for", to)? {
        return Err(io::Error::from(io::ErrorKind::AlreadyExists)).context("move a file to", to);
    }
    fs::rename(from, to).context("move", from)
}

/// Removes a file; one that is gone already is fine.
///
/// # Errors
/// When the system refuses.
pub fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.context("remove", path),
    }
}

/// Whether a path names a compressed file.
pub(crate) fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "zst")
}
