//! Operations on files, whole or not at all: made of the single effects in `file_system`.
//!
//! # What a crash leaves
//!
//! A file comes under its real name only when it is whole: it is written under a temporary name beside, put on the medium, and
//! then gets the real name by one call. So a process that dies leaves the old or the new, and perhaps the temporary file,
//! which [`sweep`](crate::sweep) takes away. A power loss leaves the same: what a file holds is on the medium before its
//! name may be, at any level, and what is taken away for it goes only when the new name is there, too. What a level
//! adds is when the call returns: at [`Durability::Synced`](selvedge_protocol::Durability::Synced) the directories are on
//! the medium, up to the home.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use selvedge_protocol::Timestamp;

use crate::clock::now;
use crate::error::{IoContext, Result};
use crate::file_system::{OpenFile, OpenMode, Writer};
use crate::layout::RolloutHome;

/// Whether the bytes of a new file have to be on the medium before it gets its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// They must: somebody relies on all of them, or on none.
    Whole,
    /// As the home's level has it: it is a log, of which a power loss may take the end anyway.
    Log,
}

impl RolloutHome {
    /// Makes a directory and those above it, for this user only. The names of those that are made are on the medium, at any
    /// level: what is moved into a new directory must not be lost with it.
    pub(crate) fn create_dir(&self, path: &Path) -> Result<()> {
        self.refuse_links(path)?;
        let missing: Vec<&Path> = path.ancestors().take_while(|dir| !dir.is_dir()).collect();
        for dir in missing.into_iter().rev().filter(|dir| !dir.as_os_str().is_empty()) {
            match self.file_system().create_dir(dir) {
                // Somebody was quicker.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
                other => other.context("create directory", dir)?,
            }
            self.sync_dir(parent(dir)).context("sync", parent(dir))?;
        }
        Ok(())
    }

    /// Refuses a path on which a symbolic link leads out of the home: whoever planted it may not choose what is read as a
    /// thread, or where transcripts are written. The home itself may be a link, and so may anything that stays inside.
    pub(crate) fn refuse_links(&self, path: &Path) -> Result<()> {
        let inside = path.ancestors().take_while(|part| part.starts_with(self.root()) && *part != self.root());
        for part in inside.filter(|part| part.is_symlink()) {
            let leads_out = match (part.canonicalize(), self.root().canonicalize()) {
                (Ok(target), Ok(root)) => !target.starts_with(root),
                // Nobody knows where it will lead.
                _ => true,
            };
            if leads_out {
                let why = "it is a symbolic link that leads out of the home; put the directory or file itself there";
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, why)).context("follow", part);
            }
        }
        Ok(())
    }

    /// Puts a file's name on the medium, and those of the directories above it up to the home. Another process may have made
    /// them at another level.
    pub(crate) fn sync_names(&self, path: &Path) -> Result<()> {
        for dir in path.ancestors().skip(1) {
            self.sync_dir(dir).context("sync", dir)?;
            if dir == self.root() || !dir.starts_with(self.root()) {
                break;
            }
        }
        Ok(())
    }

    pub(crate) fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        self.file_system().sync_dir(dir)
    }

    /// Sees to it that a file can be referred to: its bytes are on the medium, whoever wrote them, at any level. If a power
    /// loss took bytes that another file refers to, what is written to this one later would come to stand in their place.
    /// At level synced its names are on the medium, too.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn sync_file(&self, path: &Path) -> Result<()> {
        let file = self.file_system().open(path, OpenMode::Append).context("open", path)?;
        file.sync().context("sync", path)?;
        if self.is_synced() { self.sync_names(path) } else { Ok(()) }
    }

    /// Makes a file that must not be there yet, with this content: at once, for all to see, or not at all. Its bytes are on
    /// the medium before it has its name, at any level.
    ///
    /// # Errors
    /// When the system refuses; with [`io::ErrorKind::AlreadyExists`] when the file is there. There is no new file then.
    pub fn write_new_file(&self, path: &Path, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
        self.place_new_file(path, Content::Whole, content).map(drop)
    }

    /// The same, and gives the file, open to append to it.
    pub(crate) fn place_new_file(
        &self,
        path: &Path,
        kind: Content,
        content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<Arc<dyn OpenFile>> {
        let temporary = self.write_temporary(path, kind, content)?;
        // A hard link, unlike a rename, does not replace what is there.
        self.file_system().hard_link(&temporary.path, path).context("create", path)?;
        let file = Arc::clone(&temporary.file);
        drop(temporary);
        if self.is_synced()
            && let Err(error) = self.sync_names(path)
        {
            let _ = self.file_system().remove_file(path);
            return Err(error);
        }
        Ok(file)
    }

    /// Puts a file with this content in the place of one that is there. Readers see one or the other at any time, and so
    /// does who comes after a crash.
    ///
    /// # Errors
    /// When the system refuses. The old file is there then; at level synced, either may be there after a power loss.
    pub fn replace_file(&self, path: &Path, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
        let mut temporary = self.write_temporary(path, Content::Whole, content)?;
        self.file_system().rename(&temporary.path, path).context("replace", path)?;
        temporary.is_moved = true;
        if self.is_synced() { self.sync_names(path) } else { Ok(()) }
    }

    /// Writes a file under a temporary name beside `path`. A lock on it says that somebody is at work on it.
    pub(crate) fn write_temporary(
        &self,
        path: &Path,
        kind: Content,
        content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<Temporary<'_>> {
        let temporary = self.fill_temporary(path, content)?;
        if kind == Content::Whole || self.is_synced() {
            temporary.file.sync().context("sync", path)?;
        }
        Ok(temporary)
    }

    /// The same, and leaves it to the caller to put the file on the medium.
    pub(crate) fn fill_temporary(
        &self,
        path: &Path,
        content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<Temporary<'_>> {
        let dir = parent(path);
        self.create_dir(dir)?;
        self.sweep(dir);
        let temporary = self.open_temporary(path)?;
        let mut writer = io::BufWriter::with_capacity(1 << 16, Writer(&*temporary.file));
        content(&mut writer).and_then(|()| writer.flush()).context("write", path)?;
        drop(writer);
        Ok(temporary)
    }

    fn open_temporary(&self, path: &Path) -> Result<Temporary<'_>> {
        loop {
            let name = temporary_beside(path);
            let file = self.file_system().open(&name, OpenMode::New).context("create", &name)?;
            let temporary = Temporary { home: self, path: name, file, is_moved: false };
            // Where there are no locks, nobody takes a file for left over.
            let is_locked = temporary.file.lock().is_ok();
            // Before the lock was there, somebody may have taken it for one.
            if !is_locked || temporary.path.exists() {
                return Ok(temporary);
            }
        }
    }

    /// Makes a plain file of a compressed one, which goes, and gives its path. Readers see one or the other at any time, and
    /// so does who comes after a crash: the compressed file goes when the plain one is on the medium, at any level.
    ///
    /// Of a damaged frame the plain file holds what can be decompressed; the compressed one is kept beside it as
    /// `<name>.damaged-<time>`.
    ///
    /// # Errors
    /// When the system refuses, or nothing can be decompressed; the compressed file stays then.
    pub fn decompress_in_place(&self, compressed: &Path) -> Result<PathBuf> {
        let plain = compressed.with_extension("");
        let source = File::open(compressed).context("open", compressed)?;
        let mut decoder = Salvaging { decoder: decompress(source, compressed)?, compressed, given: 0, damage: None };
        self.write_new_file(&plain, |out| io::copy(&mut decoder, out).map(drop))?;
        match decoder.damage {
            None => self.remove_compressed(compressed, &plain)?,
            Some(error) => {
                let kept = damaged_beside(compressed, now());
                self.sync_dir(parent(&plain)).context("sync", parent(&plain))?;
                self.file_system().rename(compressed, &kept).context("set aside", compressed)?;
                let (path, kept) = (compressed.display(), kept.display());
                tracing::warn!("{path} cannot be decompressed to its end: {error}; it is kept as {kept}");
            }
        }
        Ok(plain)
    }

    /// Removes the compressed form of a file of which the plain form is there.
    pub(crate) fn remove_compressed(&self, compressed: &Path, plain: &Path) -> Result<()> {
        self.sync_dir(parent(plain)).context("sync", parent(plain))?;
        self.remove_file(compressed)
    }

    /// Moves a file into a directory that is made if it is missing, where no file of its name may be, except one that is the
    /// same: then a move that broke off is completed.
    ///
    /// # Errors
    /// When the system refuses; with [`io::ErrorKind::AlreadyExists`] when there is another file of that name. The file is
    /// where it was then, or, when only the sync failed, where it should be.
    pub fn move_file(&self, from: &Path, to: &Path) -> Result<()> {
        let dir = parent(to);
        self.create_dir(dir)?;
        self.sweep(dir);
        if !to.try_exists().context("look for", to)? {
            self.file_system().rename(from, to).context("move", from)?;
        } else if have_same_content(from, to).context("compare", to)? {
            self.file_system().remove_file(from).context("remove", from)?;
        } else {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists)).context("move a file to", to);
        }
        self.sync_rename(from, to)
    }

    /// Sees to it that a move that was done is as durable as the home's level.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn sync_rename(&self, from: &Path, to: &Path) -> Result<()> {
        if !self.is_synced() {
            return Ok(());
        }
        // The new name first: with the old one gone and the new one not there yet, the file would be lost.
        self.sync_names(to)?;
        self.sync_removal(from)
    }

    /// Sees to it that a file's removal is as durable as the home's level.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn sync_removal(&self, path: &Path) -> Result<()> {
        let dir = parent(path);
        if self.is_synced() && dir.is_dir() { self.sync_dir(dir).context("sync", dir) } else { Ok(()) }
    }

    /// Removes a file; one that is gone already is fine. How durable that is, [`sync_removal`](Self::sync_removal) says.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn remove_file(&self, path: &Path) -> Result<()> {
        match self.file_system().remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.context("remove", path),
        }
    }
}

/// A file under a temporary name, which it loses in the end, whatever comes of it.
pub(crate) struct Temporary<'a> {
    home: &'a RolloutHome,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn OpenFile>,
    /// Whether the file has another name now, and the temporary one is gone.
    pub(crate) is_moved: bool,
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.is_moved {
            // Should this fail, the file is left over, and swept away as one.
            let _ = self.home.file_system().remove_file(&self.path);
        }
        let _ = self.file.unlock();
    }
}

const MARK: &str = ".tmp-";

/// A name beside `path` that no reader takes for a rollout.
fn temporary_beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!("{MARK}{}", uuid::Uuid::now_v7().simple()));
    path.with_file_name(name)
}

/// Whether a file's name is one of those that [`temporary_beside`] gives.
pub(crate) fn is_temporary(name: &str) -> bool {
    name.starts_with('.')
        && name
            .rsplit_once(MARK)
            .is_some_and(|(_, id)| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
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
            let message =
                format!("it holds more than the limit of {} bytes (1 GiB and {MAX_RATIO} times its size)", self.limit);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let len = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = self.decoder.read(&mut buffer[..len])?;
        self.left -= read as u64;
        Ok(read)
    }
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

/// Whether a plain file begins with all that a compressed one holds.
pub(crate) fn is_beginning(compressed: &Path, plain: &Path) -> io::Result<bool> {
    let beginning = zstd::Decoder::new(File::open(compressed)?)?;
    begins_with(io::BufReader::new(File::open(plain)?), beginning)
}

fn have_same_content(one: &Path, other: &Path) -> io::Result<bool> {
    let is_as_long = fs::metadata(one)?.len() == fs::metadata(other)?.len();
    Ok(is_as_long && begins_with(File::open(one)?, File::open(other)?)?)
}

/// Whether `whole` begins with all of `beginning`.
pub(crate) fn begins_with(mut whole: impl Read, mut beginning: impl Read) -> io::Result<bool> {
    let (mut expected, mut found) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let len = beginning.read(&mut expected)?;
        if len == 0 {
            return Ok(true);
        }
        match whole.read_exact(&mut found[..len]) {
            Ok(()) if found[..len] == expected[..len] => {}
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
            _ => return Ok(false),
        }
    }
}

pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// Whether a path names a compressed file.
pub(crate) fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "zst")
}
