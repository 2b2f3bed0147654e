//! Standard output, with the colours and the width that it takes. Nothing else in the program writes to it.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use serde::Serialize;

use crate::failure::Result;
use crate::render::paint::Paint;
use crate::render::sanitize::escape_json;

/// Buffered standard output.
pub(crate) struct Output {
    sink: BufWriter<Stdout>,
    paint: Paint,
    width: Option<usize>,
    is_terminal: bool,
    is_closed: bool,
}

impl Output {
    /// Opens the standard output of this process.
    pub(crate) fn stdout(color: clap::ColorChoice) -> Self {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        Self {
            paint: Paint::for_stream(color, &stdout),
            width: width(is_terminal),
            is_terminal,
            is_closed: false,
            sink: BufWriter::new(stdout),
        }
    }

    /// Returns how to colour text for this output.
    pub(crate) fn paint(&self) -> Paint {
        self.paint
    }

    /// Returns the number of columns, or `None` if the output is no terminal and `COLUMNS` is not set.
    pub(crate) fn width(&self) -> Option<usize> {
        self.width
    }

    /// Returns whether the output is a terminal, which a person reads.
    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Returns whether a write has found that the reader is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Writes a JSON value: indented and free of control characters on a terminal, else on one line.
    pub(crate) fn json<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        if self.is_terminal {
            let text = serde_json::to_string_pretty(value)?;
            self.write_all(escape_json(&text).as_bytes())?;
        } else {
            serde_json::to_writer(&mut *self, value)?;
        }
        self.write_all(b"\n")?;
        Ok(())
    }

    /// Writes a JSON value on one line, also on a terminal.
    pub(crate) fn json_line<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        if self.is_terminal {
            let text = serde_json::to_string(value)?;
            self.write_all(escape_json(&text).as_bytes())?;
        } else {
            serde_json::to_writer(&mut *self, value)?;
        }
        self.write_all(b"\n")?;
        Ok(())
    }

    /// Writes what is still in the buffer.
    pub(crate) fn finish(&mut self) -> Result<()> {
        Ok(self.flush()?)
    }

    // A closed pipe is remembered here, at the only place that sees every write: the error itself may reach `main`
    // inside an error of the store or of serde, where its kind can no longer be seen.
    fn remember_closed<T>(&mut self, outcome: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &outcome {
            self.is_closed |= error.kind() == io::ErrorKind::BrokenPipe;
        }
        outcome
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let outcome = self.sink.write(bytes);
        self.remember_closed(outcome)
    }

    fn flush(&mut self) -> io::Result<()> {
        let outcome = self.sink.flush();
        self.remember_closed(outcome)
    }
}

/// Returns `COLUMNS` if it is set, else the width of the terminal.
fn width(is_terminal: bool) -> Option<usize> {
    let asked = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).filter(|columns| *columns > 0);
    // `terminal_size` would find the terminal of another standard stream. A pipe has no width, and gets whole lines.
    asked.or_else(|| {
        let (terminal_size::Width(columns), _) = terminal_size::terminal_size().filter(|_| is_terminal)?;
        Some(usize::from(columns))
    })
}
