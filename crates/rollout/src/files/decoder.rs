//! The decompressed bytes of a file, with a limit on their number.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::error::{IoContext, Result};

/// How many times its own size a compressed file may hold, in addition to [`FREE_BYTES`]. Real logs reach a few hundred.
const MAX_RATIO: u64 = 1_000;

/// How much a compressed file may hold whatever its size.
const FREE_BYTES: u64 = 1 << 30;

/// Returns the decompressed bytes of a file.
///
/// A few kilobytes can be crafted to fill any disk. So reading ends with an error if the file holds more than any log would.
pub(crate) fn open_decoder(file: File, path: &Path) -> Result<impl Read + Send + use<>> {
    let size = file.metadata().context("read", path)?.len();
    let limit = size.saturating_mul(MAX_RATIO).saturating_add(FREE_BYTES);
    let decoder = zstd::Decoder::new(file).context("decompress", path)?;
    Ok(LimitedReader { decoder, remaining: limit, limit })
}

/// Ends with an error when more than `limit` bytes are read.
struct LimitedReader<R> {
    decoder: R,
    remaining: u64,
    limit: u64,
}

impl<R: Read> Read for LimitedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.remaining == 0 && !buffer.is_empty() {
            let message =
                format!("it holds more than the limit of {} bytes (1 GiB and {MAX_RATIO} times its size)", self.limit);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let len = usize::try_from(self.remaining).map_or(buffer.len(), |remaining| remaining.min(buffer.len()));
        let read = self.decoder.read(&mut buffer[..len])?;
        self.remaining -= read as u64;
        Ok(read)
    }
}
