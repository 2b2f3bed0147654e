//! Progress of long work, drawn on a terminal and nowhere else.

use std::cell::OnceCell;
use std::io::{IsTerminal, Write};
use std::pin::pin;
use std::sync::Mutex;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::timing::PROGRESS_INTERVAL;

const BAR_TEMPLATE: &str = "{bar:30} {msg} threads, {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";

/// How much of some work is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    pub(crate) done: u64,
    pub(crate) total: u64,
}

/// A progress bar over threads and their bytes. It appears with the first update, and disappears when it is dropped.
#[derive(Default)]
pub(crate) struct ThreadsBar(OnceCell<ProgressBar>);

impl ThreadsBar {
    /// Shows how many threads and bytes are done.
    pub(crate) fn update(&self, threads: Progress, bytes: Progress) {
        let message = format!("{} of {}", threads.done, threads.total);
        // The bar is drawn when it is created. It is created with its message, so that no frame shows an empty one.
        let bar = self.0.get_or_init(|| {
            let style = ProgressStyle::with_template(BAR_TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::with_draw_target(Some(bytes.total), ProgressDrawTarget::stderr());
            bar.with_style(style).with_message(message.clone())
        });
        bar.set_length(bytes.total);
        bar.set_position(bytes.done);
        bar.set_message(message);
    }
}

impl Drop for ThreadsBar {
    fn drop(&mut self) {
        if let Some(bar) = self.0.get() {
            bar.finish_and_clear();
        }
    }
}

/// A line on standard error that long work overwrites with its progress. Work that takes less than
/// [`PROGRESS_INTERVAL`] draws nothing.
pub(crate) struct ProgressLine {
    is_terminal: bool,
    started: Instant,
    drawn: Mutex<Instant>,
}

impl ProgressLine {
    /// Starts the clock; draws nothing yet.
    pub(crate) fn start() -> Self {
        let now = Instant::now();
        Self { is_terminal: std::io::stderr().is_terminal(), started: now, drawn: Mutex::new(now) }
    }

    /// Draws `text` if the last drawing is long enough ago.
    pub(crate) fn update(&self, text: impl FnOnce() -> String) {
        // Several threads may report at the same time. One of them draws, and the others do not wait for it.
        let Ok(mut drawn) = self.drawn.try_lock() else { return };
        if self.is_terminal && drawn.elapsed() >= PROGRESS_INTERVAL {
            *drawn = Instant::now();
            // The work continues when its progress cannot be shown.
            let _ = write!(std::io::stderr(), "\r{} ", text());
        }
    }

    /// Erases the line.
    pub(crate) fn clear(&self) {
        if self.is_terminal && self.started.elapsed() >= PROGRESS_INTERVAL {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// Awaits `work`, and shows on a terminal for how long it has been running.
pub(crate) async fn with_elapsed_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    if !std::io::stderr().is_terminal() {
        return work.await;
    }
    let (started, mut work) = (Instant::now(), pin!(work));
    loop {
        let Ok(outcome) = tokio::time::timeout(PROGRESS_INTERVAL, work.as_mut()).await else {
            // The work continues when its progress cannot be shown.
            let _ = write!(std::io::stderr(), "\r{what}: {} s ", started.elapsed().as_secs());
            continue;
        };
        if started.elapsed() >= PROGRESS_INTERVAL {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
        return outcome;
    }
}
