//! Compression of files to which no process appends.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::compare::decompresses_to;
use super::decompress::is_leftover_compressed;
use super::side_files::{compressed_beside, parent};
use crate::error::{IoContext, Result};
use crate::home::RolloutHome;

/// The compression level. A higher level takes several times as long and makes logs hardly smaller.
const LEVEL: i32 = 3;

/// The reason of an error after the plain file changed during its compression.
const CHANGED: &str = "another program changed it meanwhile";

impl RolloutHome {
    /// Replaces a plain file by its compressed form and returns the path of that. Readers find one or the other at any time, also
    /// after a crash. Where both remain, the plain one counts, and another call removes it.
    ///
    /// The plain file is removed only when the compressed one is durable, at any level, and was verified to hold the same bytes.
    /// The frame records the length of its content and a checksum. The compressed file gets the time of modification of the
    /// plain one. Damaged bytes are compressed like all others.
    ///
    /// The caller holds the writer lock of the thread. A program that takes no lock and appends during the call is noticed, up to
    /// the moment before the plain file is removed.
    ///
    /// # Errors
    /// - With kind [`io::ErrorKind::AlreadyExists`] if there is a compressed file with other content.
    /// - With kind [`io::ErrorKind::InvalidData`] if the content is so much larger than its compressed form that no reader would
    ///   accept it as a log.
    /// - If the file changes during the call, or the system fails to do it.
    ///
    /// The plain file stays then, and counts.
    pub fn compress_in_place(&self, plain: &Path) -> Result<PathBuf> {
        let compressed = compressed_beside(plain);
        self.refuse_links(plain)?;
        if fs::symlink_metadata(&compressed).is_ok() && !is_leftover_compressed(&compressed, plain) {
            let why =
                format!("{} exists and holds something else; `selvedge doctor` compares them", compressed.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, why)).context("compress", plain);
        }
        // A crash from here on to the removal leaves both files, of which the plain one counts. So the plain one must not lose
        // bytes in a power loss that the compressed one has.
        self.sync_file(plain)?;
        let source = File::open(plain).context("open", plain)?;
        let before = source.metadata().context("read", plain)?;
        let modified = before.modified().context("read", plain)?;
        let mut temporary = self.fill_temporary(&compressed, |out| encode(source, before.len(), out))?;
        temporary.file.set_modified(modified).context("set the time of", &compressed)?;
        temporary.file.sync().context("sync", &compressed)?;
        // The comparison reads the temporary file back. It finds an error of the encoder as well as a change of the plain file.
        if !decompresses_to(&temporary.path, plain)? {
            return Err(io::Error::other(CHANGED)).context("compress", plain);
        }
        // A rename and not a link: it replaces what an interrupted call left.
        self.file_system().rename(&temporary.path, &compressed).context("create", &compressed)?;
        temporary.is_renamed = true;
        self.sync_dir(parent(plain)).context("sync", parent(plain))?;
        // The last check before the only step that cannot be undone.
        let now = fs::metadata(plain).context("stat", plain)?;
        if now.len() != before.len() || now.modified().context("stat", plain)? != modified {
            return Err(io::Error::other(CHANGED)).context("compress", plain);
        }
        self.remove_file(plain)?;
        if self.is_synced() {
            self.sync_names(&compressed)?;
        }
        Ok(compressed)
    }
}

/// Compresses the first `len` bytes of a file into one frame.
fn encode(source: File, len: u64, out: &mut dyn Write) -> io::Result<()> {
    let mut encoder = zstd::Encoder::new(out, LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.set_pledged_src_size(Some(len))?;
    io::copy(&mut source.take(len), &mut encoder)?;
    encoder.finish().map(drop)
}
