//! How far work on many threads is, told on a terminal and nowhere else.

use std::cell::OnceCell;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const TEMPLATE: &str = "{bar:30} {msg} threads, {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";

/// A bar of threads and bytes, drawn from the first time on that it is told something, and taken away at the end.
#[derive(Default)]
pub(crate) struct ThreadsBar(OnceCell<ProgressBar>);

impl ThreadsBar {
    /// So many threads and bytes are done, of so many.
    pub(crate) fn tell(&self, (threads_done, threads): (u64, u64), (bytes_done, bytes): (u64, u64)) {
        let message = format!("{threads_done} of {threads}");
        let bar = self.0.get_or_init(|| {
            let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
            bar.with_style(style).with_message(message.clone())
        });
        bar.set_length(bytes);
        bar.set_position(bytes_done);
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
