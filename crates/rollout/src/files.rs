//! Effects on files: made private, replaced whole or not at all.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use selvedge_protocol::Timestamp;

use crate::clock::now;
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
pub(crate) fn temporary_beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".tmp-{}", uuid::Uuid::now_v7().simple()));
    path.with_file_name(name)
}

/// How many times its size a compressed file may hold, beyond the first [`FREE_BYTES`]. Real logs reach a few hundred.
const MAX_RATIO: u64 = 1_000;
/// How much a compressed file may hold whatever its size.
const FREE_BYTES: u64 = 1 << 30;

/// The decompressed bytes of a file. What holds more than a log ever does ends with an error that says so: a few kilobytes
/// can be made to fill any disk.
pub(crate) fn decompress(file: File, path: &Path) -> Result<impl Read + Send + use<>> {
    let size = file.metadata().context("read", path)?.len();
    let limit = size.saturating_mul(MAX_RATIO).saturating_add(FREE_BYTES);
    let decoder = zstd::Decoder::new(file).context("decompress", path)?;
    Ok(Limited { decoder, left: limit, limit })
}

struct Limited<R> {
    decoder: R,
    left: u64,
    limit: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !buffer.is_empty() {
            let message = format!("it holds more than the limit of {} bytes, {MAX_RATIO} times its size", self.limit);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let len = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = self.decoder.read(&mut buffer[..len])?;
        self.left -= read as u64;
        Ok(read)
    }
}

/// Makes a plain file of a compressed one, which goes, and gives its path. Readers see one or the other at any time.
///
/// Of a damaged frame the plain file holds what can be decompressed; the compressed one is kept beside it as
/// `<name>.damaged-<time>`.
///
/// # Errors
/// When the system refuses, or nothing can be decompressed; the compressed file stays then.
pub fn decompress_in_place(compressed: &Path) -> Result<PathBuf> {
    let plain = compressed.with_extension("");
    let source = File::open(compressed).context("open", compressed)?;
    let mut decoder = Salvaging { decoder: decompress(source, compressed)?, compressed, given: 0, damage: None };
    write_new_file(&plain, |out| io::copy(&mut decoder, out).map(drop))?;
    match decoder.damage {
        None => fs::remove_file(compressed).context("remove", compressed)?,
        Some(error) => {
            let kept = damaged_beside(compressed, now());
            fs::rename(compressed, &kept).context("set aside", compressed)?;
            let (path, kept) = (compressed.display(), kept.display());
            tracing::warn!("{path} cannot be decompressed to its end: {error}; it is kept as {kept}");
        }
    }
    Ok(plain)
}

/// Ends at what cannot be decompressed, if anything was.
struct Salvaging<'a, R> {
    decoder: R,
    compressed: &'a Path,
    given: u64,
    damage: Option<io::Error>,
}

impl<R: Read> Read for Salvaging<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.decoder.read(buffer) {
            Ok(read) => {
                self.given += read as u64;
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            // What the system refuses now it may give later.
            Err(error) if self.given > 0 && error.raw_os_error().is_none() => {
                self.damage = Some(error);
                Ok(0)
            }
            Err(error) => {
                let message = format!("{} cannot be decompressed: {error}", self.compressed.display());
                Err(io::Error::new(error.kind(), message))
            }
        }
    }
}

/// A name beside `path`, not taken yet, for a file that was damaged; no reader takes it for a rollout.
pub(crate) fn damaged_beside(path: &Path, at: Timestamp) -> PathBuf {
    let time = at.to_string().replace(['-', ':', '.'], "");
    let mut kept = path.as_os_str().to_owned();
    kept.push(format!(".damaged-{time}"));
    let mut candidate = PathBuf::from(&kept);
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
