//! Comparison of the content of files.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::decoder::open_decoder;
use crate::error::{IoContext, Result};

/// Returns whether a plain file begins with the whole content of a compressed one.
pub(crate) fn begins_with_compressed(plain: &Path, compressed: &Path) -> io::Result<bool> {
    let beginning = zstd::Decoder::new(File::open(compressed)?)?;
    begins_with(io::BufReader::new(File::open(plain)?), beginning)
}

/// Returns whether two files have the same bytes.
pub(crate) fn have_same_content(one: &Path, other: &Path) -> io::Result<bool> {
    let is_as_long = fs::metadata(one)?.len() == fs::metadata(other)?.len();
    Ok(is_as_long && begins_with(File::open(one)?, File::open(other)?)?)
}

/// Returns whether `whole` begins with all bytes of `beginning`.
pub(crate) fn begins_with(mut whole: impl Read, mut beginning: impl Read) -> io::Result<bool> {
    let (mut expected, mut found) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let len = beginning.read(&mut expected)?;
        if len == 0 {
            return Ok(true);
        }
        // `beginning` decides how many bytes are compared at a time. So a source that returns few bytes per read (a decoder) needs
        // no buffer of its own.
        match whole.read_exact(&mut found[..len]) {
            Ok(()) if found[..len] == expected[..len] => {}
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
            _ => return Ok(false),
        }
    }
}

/// Returns whether a compressed file has the same content as a plain one. It is read with the limits that readers have.
pub(crate) fn decompresses_to(compressed: &Path, plain: &Path) -> Result<bool> {
    let content = open_decoder(File::open(compressed).context("open", compressed)?, compressed)?;
    let mut whole = File::open(plain).context("open", plain)?;
    let is_same = begins_with(&mut whole, content).and_then(|begins| Ok(begins && whole.read(&mut [0])? == 0));
    is_same.context("compress", plain)
}
