//! Decompression of files before a writer appends to them.
//!
//! # What a crash leaves
//!
//! ```text
//! place the plain file (durable, atomic)    before it: the compressed file alone
//! fsync the directory                       both; the plain one counts
//! remove the compressed file                both, or the plain one alone
//! ```
//!
//! Where both exist, the compressed file holds nothing that the plain one does not begin with. The next writer removes it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::compare::begins_with_compressed;
use super::decoder::open_decoder;
use super::side_files::{compressed_beside, damaged_beside, parent};
use crate::clock::now;
use crate::error::{IoContext, Result};
use crate::home::RolloutHome;

impl RolloutHome {
    /// Replaces a compressed file by its plain form and returns the path of that. Readers find one or the other at any time, also
    /// after a crash: the compressed file is removed when the plain one is durable, at any level.
    ///
    /// If the compressed file is damaged, the plain file gets what can be decompressed. The compressed one is then kept beside it
    /// as `<name>.damaged-<time>`.
    ///
    /// # Errors
    /// If the system fails to do it, or nothing can be decompressed. The compressed file stays then.
    pub fn decompress_in_place(&self, compressed: &Path) -> Result<PathBuf> {
        let plain = compressed.with_extension("");
        let source = File::open(compressed).context("open", compressed)?;
        let mut decoder =
            SalvagingReader { decoder: open_decoder(source, compressed)?, compressed, bytes_read: 0, damage: None };
        self.write_new_file(&plain, |out| io::copy(&mut decoder, out).map(drop))?;
        match decoder.damage {
            None => self.remove_compressed(compressed, &plain)?,
            Some(error) => {
                let kept = damaged_beside(compressed, now());
                // As in `remove_compressed`: the plain name is durable before the compressed one is taken away.
                self.sync_dir(parent(&plain)).context("sync", parent(&plain))?;
                self.file_system().rename(compressed, &kept).context("set aside", compressed)?;
                let (path, kept) = (compressed.display(), kept.display());
                tracing::warn!("{path} cannot be decompressed to its end: {error}; it is kept as {kept}");
            }
        }
        Ok(plain)
    }

    /// Removes a compressed file whose plain form exists, after the name of the plain file is durable.
    pub(crate) fn remove_compressed(&self, compressed: &Path, plain: &Path) -> Result<()> {
        self.sync_dir(parent(plain)).context("sync", parent(plain))?;
        self.remove_file(compressed)
    }

    /// Removes the compressed file that an interrupted compression or decompression left beside a plain one.
    ///
    /// It is such a leftover if the plain file begins with its whole content. Any other compressed file is kept, because it holds
    /// data that exists nowhere else.
    ///
    /// # Errors
    /// If the system fails to do it.
    pub fn remove_leftover_compressed(&self, plain: &Path) -> Result<()> {
        let compressed = compressed_beside(plain);
        if is_leftover_compressed(&compressed, plain) {
            self.remove_compressed(&compressed, plain)?;
        }
        Ok(())
    }
}

/// Returns whether the plain file begins with the whole content of the compressed one. It may have grown since.
pub(crate) fn is_leftover_compressed(compressed: &Path, plain: &Path) -> bool {
    let is_file = fs::symlink_metadata(compressed).is_ok_and(|metadata| metadata.is_file());
    is_file && begins_with_compressed(plain, compressed).unwrap_or(false)
}

/// Yields what can be decompressed, and ends where the damage begins.
struct SalvagingReader<'a, R> {
    decoder: R,
    compressed: &'a Path,
    bytes_read: u64,
    damage: Option<io::Error>,
}

impl<R: Read> Read for SalvagingReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.decoder.read(buffer) {
            Ok(read) => {
                self.bytes_read += read as u64;
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            // An error with a number comes from the system: a read that may succeed later. It must not cut the file short. An
            // error of the decoder has no number.
            Err(error) if self.bytes_read > 0 && error.raw_os_error().is_none() => {
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
