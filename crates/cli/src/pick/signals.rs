//! Signals from outside, while the terminal is a screen. Keys send none then.

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

    /// The last signal that would end or stop the program.
    pub(crate) struct Signals {
        last: Arc<AtomicUsize>,
    }

    impl Signals {
        /// Listens from now on, for the rest of the program.
        pub(crate) fn listen() -> io::Result<Self> {
            let last = Arc::new(AtomicUsize::new(0));
            for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP] {
                register_usize(signal, Arc::clone(&last), usize::try_from(signal).unwrap_or_default())?;
            }
            Ok(Self { last })
        }

        /// Whether a signal came.
        pub(crate) fn came(&self) -> bool {
            self.last.load(Ordering::SeqCst) != 0
        }

        /// Does what the signal does to a program that does not listen: ends it, or stops it until it is to go on.
        pub(crate) fn obey(&self) -> io::Result<()> {
            let signal = self.last.swap(0, Ordering::SeqCst);
            i32::try_from(signal).ok().filter(|signal| *signal != 0).map_or(Ok(()), emulate_default_handler)
        }
    }
}

/// Where there are no signals.
#[cfg(not(unix))]
pub(crate) struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self)
    }

    pub(crate) fn came(&self) -> bool {
        false
    }

    pub(crate) fn obey(&self) -> std::io::Result<()> {
        Ok(())
    }
}
