//! The background process that completes an index which the program itself did not complete.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::wiring::HomeAdmin;

/// Starts a process that fills the index to the end. The caller has already printed its result and does not wait.
pub(crate) fn spawn_indexer(home: &Path, admin: &HomeAdmin) {
    let (Ok(program), Some(index)) = (std::env::current_exe(), admin.index_path()) else { return };
    let mut command = Command::new(program);
    // The home and the index are passed as options, so that the new process does not read environment variables for them.
    command.arg("--home").arg(home).arg("--index").arg(index).args(["index", "sync", "--background"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // In a process group of its own, a Ctrl-C that follows on the terminal does not reach it.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    if let Err(error) = command.spawn() {
        // An incomplete index is no failure: a later query continues to fill it.
        tracing::debug!(%error, "the index is left incomplete");
    }
}
