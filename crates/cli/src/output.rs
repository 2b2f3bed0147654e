//! Where results go: standard output, with the colours and the width that it takes.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use serde::Serialize;

use crate::exit::Result;
use crate::render::style::Paint;
use crate::render::text::escape_json;

/// Standard output. Nothing else in the program writes to it.
pub(crate) struct Output {
    sink: BufWriter<Stdout>,
    paint: Paint,
    width: Option<usize>,
    terminal: bool,
    closed: bool,
}

impl Output {
    /// The program's standard output.
    pub(crate) fn stdout(color: clap::ColorChoice) -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        Self {
            paint: Paint::for_stream(color, &stdout),
            width: width(terminal),
            terminal,
            closed: false,
            sink: BufWriter::new(stdout),
        }
    }

    /// How to colour text for it.
    pub(crate) fn paint(&self) -> Paint {
        self.paint
    }

    /// How many columns it has; nothing when it is no terminal and nobody said.
    pub(crate) fn width(&self) -> Option<usize> {
        self.width
    }

    /// Whether a person reads it.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Whether the reader went away.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Writes one JSON value: laid out and safe for people on a terminal, on one line for scripts.
    pub(crate) fn json<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        if self.terminal {
            let text = serde_json::to_string_pretty(value)?;
            self.write_all(escape_json(&text).as_bytes())?;
        } else {
            serde_json::to_writer(&mut *self, value)?;
        }
        self.write_all(b"\n")?;
        Ok(())
    }

    /// Writes one JSON value on one line, for whoever reads line by line.
    pub(crate) fn json_line<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        if self.terminal {
            let text = serde_json::to_string(value)?;
            self.write_all(escape_json(&text).as_bytes())?;
        } else {
            serde_json::to_writer(&mut *self, value)?;
        }
        self.write_all(b"\n")?;
        Ok(())
    }

    /// Writes what is still held back.
    pub(crate) fn finish(&mut self) -> Result<()> {
        Ok(self.flush()?)
    }

    fn noting<T>(&mut self, outcome: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &outcome {
            self.closed |= error.kind() == io::ErrorKind::BrokenPipe;
        }
        outcome
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let outcome = self.sink.write(bytes);
        self.noting(outcome)
    }

    fn flush(&mut self) -> io::Result<()> {
        let outcome = self.sink.flush();
        self.noting(outcome)
    }
}

/// `COLUMNS` where it is set, else what the terminal says.
fn width(terminal: bool) -> Option<usize> {
    let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).filter(|columns| *columns > 0);
    said.or_else(|| {
        let (terminal_size::Width(columns), _) = terminal_size::terminal_size().filter(|_| terminal)?;
        Some(usize::from(columns))
    })
}
