//! Compression of files that nobody appends to.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::error::{IoContext, Result};
use crate::files::{begins_with, decompress, is_beginning, parent};
use crate::layout::RolloutHome;

/// The level of compression: a higher one takes several times as long, and logs hardly get smaller.
const LEVEL: i32 = 3;

impl RolloutHome {
    /// Makes a compressed file of a plain one, which goes, and gives its path. Readers see one or the other at any time, and so
    /// does who comes after a crash: the plain file goes when the compressed one is on the medium, at any level, and was found
    /// to hold the same bytes. Where both are left the plain one counts, and doing it again removes it.
    ///
    /// The frame says how long its content is and has a checksum. The file has the time of the plain one. Its bytes, damage
    /// too, come back as they were.
    ///
    /// This is for who holds the lock of the thread. A program that asks for no lock and appends meanwhile is noticed, up to
    /// the moment in which the plain file goes.
    ///
    /// # Errors
    /// When the system refuses, or the file changes meanwhile; with [`io::ErrorKind::AlreadyExists`] when there is a
    /// compressed file that holds something else; with [`io::ErrorKind::InvalidData`] when the file holds so much more than
    /// its compressed form that no reader would take that for a log. The plain file stays then, and counts.
    pub fn compress_in_place(&self, plain: &Path) -> Result<PathBuf> {
        let compressed = compressed_beside(plain);
        self.refuse_links(plain)?;
        if fs::symlink_metadata(&compressed).is_ok() && !is_left_over(&compressed, plain) {
            let why =
                format!("{} is there and holds something else; `selvedge doctor` compares them", compressed.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, why)).context("compress", plain);
        }
        // A power loss may leave both, and must not leave less in the one that counts.
        self.sync_file(plain)?;
        let source = File::open(plain).context("open", plain)?;
        let before = source.metadata().context("read", plain)?;
        let modified = before.modified().context("read", plain)?;
        let mut temporary = self.fill_temporary(&compressed, |out| encode(source, before.len(), out))?;
        temporary.file.set_modified(modified).context("set the time of", &compressed)?;
        temporary.file.sync().context("sync", &compressed)?;
        if !has_content(&temporary.path, plain)? {
            return Err(io::Error::other(CHANGED)).context("compress", plain);
        }
        self.file_system().rename(&temporary.path, &compressed).context("create", &compressed)?;
        temporary.is_moved = true;
        self.sync_dir(parent(plain)).context("sync", parent(plain))?;
        let now = fs::metadata(plain).context("look at", plain)?;
        if now.len() != before.len() || now.modified().context("look at", plain)? != modified {
            return Err(io::Error::other(CHANGED)).context("compress", plain);
        }
        self.remove_file(plain)?;
        if self.is_synced() {
            self.sync_names(&compressed)?;
        }
        Ok(compressed)
    }

    /// Removes what a compression or a decompression that broke off left: the compressed form of a plain file that begins with
    /// all that the compressed one holds. Any other compressed file is somebody's data.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn remove_left_compressed(&self, plain: &Path) -> Result<()> {
        let compressed = compressed_beside(plain);
        if is_left_over(&compressed, plain) {
            self.remove_compressed(&compressed, plain)?;
        }
        Ok(())
    }
}

const CHANGED: &str = "another program changed it meanwhile";

/// The compressed form's name.
fn compressed_beside(plain: &Path) -> PathBuf {
    let mut name = plain.as_os_str().to_owned();
    name.push(".zst");
    name.into()
}

/// Whether a compressed file holds nothing that the plain one beside it does not begin with.
fn is_left_over(compressed: &Path, plain: &Path) -> bool {
    let is_file = fs::symlink_metadata(compressed).is_ok_and(|metadata| metadata.is_file());
    is_file && is_beginning(compressed, plain).unwrap_or(false)
}

/// Compresses so many bytes into one frame.
fn encode(source: File, len: u64, out: &mut dyn Write) -> io::Result<()> {
    let mut encoder = zstd::Encoder::new(out, LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.set_pledged_src_size(Some(len))?;
    io::copy(&mut source.take(len), &mut encoder)?;
    encoder.finish().map(drop)
}

/// Whether a compressed file holds just what the plain one does, as readers would read it.
fn has_content(compressed: &Path, plain: &Path) -> Result<bool> {
    let content = decompress(File::open(compressed).context("open", compressed)?, compressed)?;
    let mut whole = File::open(plain).context("open", plain)?;
    let is_same = begins_with(&mut whole, content).and_then(|begins| Ok(begins && whole.read(&mut [0])? == 0));
    is_same.context("compress", plain)
}
