//! Notes beside a result, on standard error.

use std::io::Write;

use selvedge_protocol::Cursor;

use crate::failure::Result;
use crate::output::Output;
use crate::render::sanitize::sanitize;

/// Writes one line to standard error.
pub(crate) fn note(text: &str) {
    // The result is already written. It stays valid if the note cannot be written.
    let _ = writeln!(std::io::stderr().lock(), "{}", sanitize(text));
}

/// Tells the user how to get the next page, if there is one. The note follows what was printed.
pub(crate) fn note_next_page(cursor: Option<&Cursor>, out: &mut Output) -> Result<()> {
    if let Some(cursor) = cursor {
        out.flush()?;
        note(&format!("more with --cursor {cursor}"));
    }
    Ok(())
}
