//! What ends `selvedge tail` from outside: an interrupt, or a reader that is gone.

use crate::timing::INTERRUPT_GRACE;

/// Installs a handler for interrupts. The future returns when the user interrupts the program.
///
/// The program then ends in the usual way. If it cannot, because it is stuck in a write to a pipe that no process
/// reads, a task ends the process after [`INTERRUPT_GRACE`].
///
/// The handler is installed before this function returns: an interrupt right after the first printed line must already
/// end the program with exit code 0.
pub(crate) fn interrupts() -> impl Future<Output = ()> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    #[cfg(unix)]
    let handler = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt());
    #[cfg(not(unix))]
    let handler = tokio::signal::windows::ctrl_c();
    // A task of its own, on the worker thread: the verb's thread may be the one that is stuck.
    tokio::spawn(async move {
        let Ok(mut handler) = handler else {
            // Without a handler the signal itself ends the program.
            return std::future::pending().await;
        };
        let _ = handler.recv().await;
        let _ = sender.send(());
        tokio::time::sleep(INTERRUPT_GRACE).await;
        std::process::exit(0);
    });
    async {
        let _ = receiver.await;
    }
}

/// Returns when the reader of standard output is gone. A write would notice that, but there may be nothing to write for
/// a long time.
#[cfg(unix)]
pub(crate) async fn reader_gone() {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdout = std::io::stdout();
    loop {
        let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
        // `poll` always reports errors and hangups, so no other event is requested.
        let is_polled = poll(&mut polled, Some(&Timespec::default())).is_ok();
        if is_polled && polled[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
            return;
        }
        tokio::time::sleep(crate::timing::READER_CHECK_INTERVAL).await;
    }
}

#[cfg(not(unix))]
pub(crate) async fn reader_gone() {
    std::future::pending().await
}
