//! Entries and bytes of one file, plain or compressed.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use selvedge_protocol::log::{DamageKind, RawContent, RawEntry, RawReader};
use selvedge_rollout::{RolloutFile, open_bytes};
use selvedge_thread_store::implement::RawEntryIter;
use selvedge_thread_store::{Result, StoreError};

use crate::error::{stat, store_error};

/// Reads all entries of a file from an offset on. Texts of more than `max_text` bytes are shortened.
pub(crate) fn entries_from(path: &Path, from: u64, max_text: Option<usize>) -> Result<RawEntryIter<'_>> {
    let (bytes, compressed) = open_bytes(path, from..u64::MAX).map_err(store_error)?;
    let mut reader = RawReader::new(BufReader::with_capacity(1 << 16, bytes), from).shortening(max_text);
    let mut end = from;
    Ok(Box::new(std::iter::from_fn(move || match reader.next()? {
        Ok(entry) => {
            end = entry.range.end;
            Some(Ok(entry))
        }
        // A damaged frame. What was decompressed has been returned, and nothing after it can be read. An error of the system,
        // which has a number, is not damage.
        Err(error) if compressed && error.raw_os_error().is_none() => {
            let kind = DamageKind::Compression { reason: error.to_string() };
            let content = RawContent::Damage { kind, is_complete: true };
            Some(Ok(RawEntry { range: end..end, bytes: Vec::new(), content }))
        }
        Err(error) => Some(Err(StoreError::backend(format!("cannot read {}", path.display()), error))),
    })))
}

/// Reads bytes of a file, decompressed if its name ends in `.zst`.
pub(crate) fn read_at(path: &Path, range: Range<u64>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut source, compressed) = open_bytes(path, range).map_err(store_error)?;
    match source.read_to_end(&mut bytes) {
        Err(error) if !compressed => Err(StoreError::backend(format!("cannot read {}", path.display()), error)),
        // A damaged frame ends at the last byte that can be decompressed.
        _ => Ok(bytes),
    }
}

/// Returns how many bytes a segment has, decompressed if its file is compressed.
pub(crate) fn content_len(file: &RolloutFile) -> Result<u64> {
    if !file.name.compressed {
        return Ok(stat(&file.path)?.len());
    }
    let (mut bytes, _) = open_bytes(&file.path, 0..u64::MAX).map_err(store_error)?;
    let mut block = vec![0; 1 << 16];
    let mut len = 0;
    // A damaged frame ends at the last byte that can be decompressed.
    while let Ok(read) = bytes.read(&mut block)
        && read > 0
    {
        len += read as u64;
    }
    Ok(len)
}

/// Returns the offset just past the last newline of a plain file before `end`.
pub(crate) fn end_of_last_line(path: &Path, end: u64) -> Result<u64> {
    let failed = |error: io::Error| StoreError::backend(format!("cannot read {}", path.display()), error);
    let mut file = File::open(path).map_err(failed)?;
    let mut block = vec![0; 1 << 16];
    let mut end = end;
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let len = usize::try_from(end - start).unwrap_or(block.len());
        file.seek(SeekFrom::Start(start)).map_err(failed)?;
        file.read_exact(&mut block[..len]).map_err(failed)?;
        if let Some(at) = memchr::memrchr(b'\n', &block[..len]) {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}
