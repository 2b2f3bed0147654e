//! Whether a file ends with a complete line.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// Returns whether the next byte of a file begins a line: the file is empty or ends with a newline.
pub(crate) fn ends_with_newline(mut file: &File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}
