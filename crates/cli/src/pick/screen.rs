//! The terminal as a screen: taken over, drawn on, and given back as it was, whatever happens.

use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crossterm::cursor::{MoveTo, Show};
use crossterm::style::Print;
use crossterm::terminal::{Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen};
use crossterm::{execute, queue, terminal};

use super::view::Frame;

/// Whether the terminal is a screen now.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// What was to be said on standard error meanwhile.
static HELD: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// The terminal while it is a screen. Dropping it, a panic, and [`give_back`] make it a terminal again.
pub(crate) struct Screen {
    tty: File,
    drawn: Vec<String>,
}

impl Screen {
    /// Takes the terminal of this process, wherever its standard streams lead.
    ///
    /// # Errors
    /// Without a terminal.
    pub(crate) fn take() -> io::Result<Self> {
        let mut tty = tty()?;
        terminal::enable_raw_mode()?;
        TAKEN.store(true, Ordering::SeqCst);
        let screen = execute!(tty, EnterAlternateScreen).map(|()| Self { tty, drawn: Vec::new() });
        if screen.is_err() {
            give_back();
        }
        screen
    }

    /// Its size in columns and lines.
    pub(crate) fn size() -> (usize, usize) {
        let (width, height) = terminal::size().unwrap_or((80, 24));
        (width.into(), height.into())
    }

    /// Forgets what was drawn: the next frame is drawn whole.
    pub(crate) fn forget(&mut self) {
        self.drawn.clear();
    }

    /// Draws the lines of a frame that are not there yet.
    pub(crate) fn draw(&mut self, frame: Frame) -> io::Result<()> {
        let mut bytes = Vec::new();
        if self.drawn.len() != frame.lines.len() {
            queue!(bytes, Clear(ClearType::All))?;
            self.drawn.clear();
        }
        for (at, line) in frame.lines.iter().enumerate() {
            if self.drawn.get(at) != Some(line) {
                let at = u16::try_from(at).unwrap_or(u16::MAX);
                queue!(bytes, MoveTo(0, at), Clear(ClearType::CurrentLine), Print(line))?;
            }
        }
        queue!(bytes, MoveTo(frame.cursor.0, frame.cursor.1))?;
        self.tty.write_all(&bytes)?;
        self.tty.flush()?;
        self.drawn = frame.lines;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Makes the screen a terminal again, and says what was held back. Does nothing when it is one.
pub(crate) fn give_back() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    // There is nobody left to tell of a terminal that went away.
    let _ = terminal::disable_raw_mode();
    if let Ok(mut tty) = tty() {
        let _ = execute!(tty, LeaveAlternateScreen, Show);
    }
    let held = std::mem::take(&mut *HELD.lock().unwrap_or_else(PoisonError::into_inner));
    let _ = io::stderr().write_all(&held);
}

/// Makes a panic give the terminal back before it says what happened.
pub(crate) fn give_back_on_panic() {
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        give_back();
        say(panic);
    }));
}

/// The terminal of this process.
#[cfg(unix)]
fn tty() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/tty")
}

#[cfg(windows)]
fn tty() -> io::Result<File> {
    File::options().read(true).write(true).open("CONOUT$")
}

/// Standard error, unless the terminal is a screen: then what is said waits until it is none.
#[derive(Debug, Default)]
pub(crate) struct Aside;

impl Write for Aside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if TAKEN.load(Ordering::SeqCst) {
            HELD.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            return Ok(bytes.len());
        }
        io::stderr().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
