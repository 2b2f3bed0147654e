//! What ends `selvedge tail` from outside: an interrupt, or a reader that is gone.

use crate::timing::INTERRUPT_GRACE;

/// Returns when the user interrupts the program.
///
/// The program then ends in the usual way. If it cannot, because it is stuck in a write to a pipe that no process
/// reads, a task ends the process after [`INTERRUPT_GRACE`].
pub(crate) async fn interrupted() {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    // A task of its own, on the worker thread: the verb's thread may be the one that is stuck.
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_err() {
            // No handler could be installed, so the signal itself ends the program.
            return std::future::pending().await;
        }
        let _ = sender.send(());
        tokio::time::sleep(INTERRUPT_GRACE).await;
        std::process::exit(0);
    });
    let _ = receiver.await;
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
