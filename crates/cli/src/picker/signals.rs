//! Signals from other processes, while the picker runs. Keys send none: the terminal delivers Ctrl-C as a key then.

#[cfg(unix)]
pub(crate) use unix::Signals;

#[cfg(unix)]
mod unix {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
    use signal_hook::flag::register_usize;
    use signal_hook::low_level::emulate_default_handler;

    /// Remembers the last signal that would end or stop the program.
    ///
    /// A signal handler may call only very few functions, so it only stores the number. The event loop restores the terminal, and
    /// then lets the signal take its usual effect.
    pub(crate) struct Signals {
        last: Arc<AtomicUsize>,
    }

    impl Signals {
        /// Starts to listen, for the rest of the program.
        pub(crate) fn listen() -> io::Result<Self> {
            let last = Arc::new(AtomicUsize::new(0));
            // SIGKILL and SIGSTOP cannot be handled: the shell restores the terminal after them, if at all.
            for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP] {
                register_usize(signal, Arc::clone(&last), usize::try_from(signal).unwrap_or_default())?;
            }
            Ok(Self { last })
        }

        /// Returns whether a signal has arrived.
        pub(crate) fn has_arrived(&self) -> bool {
            self.last.load(Ordering::SeqCst) != 0
        }

        /// Runs the default action of the signal: ends the program, or stops it until it is continued.
        pub(crate) fn deliver(&self) -> io::Result<()> {
            let signal = self.last.swap(0, Ordering::SeqCst);
            i32::try_from(signal).ok().filter(|signal| *signal != 0).map_or(Ok(()), emulate_default_handler)
        }
    }
}

/// The replacement on systems without signals.
#[cfg(not(unix))]
pub(crate) struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self)
    }

    pub(crate) fn has_arrived(&self) -> bool {
        false
    }

    pub(crate) fn deliver(&self) -> std::io::Result<()> {
        Ok(())
    }
}
