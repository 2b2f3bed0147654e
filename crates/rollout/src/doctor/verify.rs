//! Verification of a repaired file before it replaces the original.

use std::fs::File;
use std::io;
use std::path::Path;

use selvedge_protocol::log::{Entry, LineRecord};

use super::repaired_file::RepairedFile;
use crate::error::{IoContext, Result};
use crate::home::RolloutFile;
use crate::reader::RolloutReader;

/// Verifies that a repaired file holds every intact line of the original and no other line, except for a new head.
///
/// The file is read back from the disk, so this also finds an error of the code that wrote it.
pub(super) fn verify_repaired(original: &RolloutFile, repaired_path: &Path, repaired: &RepairedFile) -> Result<()> {
    let mut before = intact_lines(RolloutReader::open(&original.path)?);
    let mut after = intact_lines(RolloutReader::from_bytes(File::open(repaired_path).context("open", repaired_path)?));
    if repaired.new_head {
        after.next().transpose()?;
    }
    loop {
        match (before.next().transpose()?, after.next().transpose()?) {
            (None, None) => return Ok(()),
            (Some(one), Some(other)) if one.line.text() == other.line.text() => {}
            _ => {
                let message = "the repaired file would not hold the same lines; the original stays as it is";
                return Err(io::Error::new(io::ErrorKind::InvalidData, message)).context("repair", &original.path);
            }
        }
    }
}

fn intact_lines(reader: RolloutReader) -> impl Iterator<Item = Result<LineRecord>> {
    reader.filter_map(|entry| match entry {
        Ok(Entry::Line(record)) => Some(Ok(record)),
        Ok(Entry::Damage(_)) => None,
        Err(error) => Some(Err(error)),
    })
}
