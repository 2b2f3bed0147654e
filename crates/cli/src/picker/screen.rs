//! The alternate screen of the terminal: entered, drawn on, and left again, whatever happens.

use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crossterm::cursor::{MoveTo, Show};
use crossterm::style::Print;
use crossterm::terminal::{Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen};
use crossterm::{execute, queue, terminal};

use super::frame::Frame;

// Both are global, because a panic and the log of the libraries can come from any thread, without access to the
// `Screen`.

/// Whether the terminal shows the alternate screen.
static IS_ACTIVE: AtomicBool = AtomicBool::new(false);

/// What was written to standard error while the alternate screen was active.
static DEFERRED: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// The terminal while it shows the alternate screen. Dropping this, a panic, and [`restore`] leave that screen.
pub(crate) struct Screen {
    tty: File,
    /// The lines that the terminal shows. Empty if they are not known.
    drawn: Vec<String>,
}

impl Screen {
    /// Enters the alternate screen on the terminal of this process, wherever its standard streams lead.
    ///
    /// # Errors
    /// If the process has no terminal.
    pub(crate) fn enter() -> io::Result<Self> {
        // Raw mode comes first: if it fails, nothing has to be undone. From `IS_ACTIVE` on, every way out restores the
        // terminal.
        let mut tty = open_terminal()?;
        terminal::enable_raw_mode()?;
        IS_ACTIVE.store(true, Ordering::SeqCst);
        let screen = execute!(tty, EnterAlternateScreen).map(|()| Self { tty, drawn: Vec::new() });
        if screen.is_err() {
            restore();
        }
        screen
    }

    /// Returns the size of the terminal in columns and lines.
    pub(crate) fn size() -> (usize, usize) {
        let (width, height) = terminal::size().unwrap_or((80, 24));
        (width.into(), height.into())
    }

    /// Makes the next frame be drawn completely.
    pub(crate) fn invalidate(&mut self) {
        self.drawn.clear();
    }

    /// Draws the lines of a frame that differ from what the terminal shows.
    pub(crate) fn draw(&mut self, frame: Frame) -> io::Result<()> {
        let mut bytes = Vec::new();
        // Another number of lines means another size, after which a terminal may have moved anything anywhere.
        if self.drawn.len() != frame.lines.len() {
            queue!(bytes, Clear(ClearType::All))?;
            self.drawn.clear();
        }
        for (row, line) in frame.lines.iter().enumerate() {
            if self.drawn.get(row) != Some(line) {
                let row = u16::try_from(row).unwrap_or(u16::MAX);
                queue!(bytes, MoveTo(0, row), Clear(ClearType::CurrentLine), Print(line))?;
            }
        }
        queue!(bytes, MoveTo(frame.cursor.0, frame.cursor.1))?;
        // One write for the whole frame, so that the terminal never shows half of it.
        self.tty.write_all(&bytes)?;
        self.tty.flush()?;
        self.drawn = frame.lines;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Leaves the alternate screen, and writes what was deferred. Does nothing if the alternate screen is not active.
fn restore() {
    // The swap lets one caller restore. In a panic, the hook and then the destructor of `Screen` both come here.
    if !IS_ACTIVE.swap(false, Ordering::SeqCst) {
        return;
    }
    // If the terminal is gone, there is nothing to restore and nowhere to report an error.
    let _ = terminal::disable_raw_mode();
    if let Ok(mut tty) = open_terminal() {
        let _ = execute!(tty, LeaveAlternateScreen, Show);
    }
    let deferred = std::mem::take(&mut *DEFERRED.lock().unwrap_or_else(PoisonError::into_inner));
    let _ = io::stderr().write_all(&deferred);
}

/// Makes a panic restore the terminal before it prints its message, which the alternate screen would hide.
pub(crate) fn restore_on_panic() {
    let print_message = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        restore();
        print_message(panic);
    }));
}

/// Opens the terminal of this process.
#[cfg(unix)]
fn open_terminal() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/tty")
}

#[cfg(windows)]
fn open_terminal() -> io::Result<File> {
    File::options().read(true).write(true).open("CONOUT$")
}

/// Standard error. While the alternate screen is active, what is written waits until [`restore`].
#[derive(Debug, Default)]
pub(crate) struct DeferredStderr;

impl Write for DeferredStderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if IS_ACTIVE.load(Ordering::SeqCst) {
            DEFERRED.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            return Ok(bytes.len());
        }
        io::stderr().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
