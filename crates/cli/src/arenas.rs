//! Memory of a process that runs for a long time.

/// Limits the arenas of the allocator, for a process with many threads.
///
/// The allocator of the GNU library gives up to eight arenas for each core to threads, and an arena keeps what was freed in it. A server
/// whose requests run on one thread after the other would need half as much memory again. The limit is read from the environment
/// when a process begins, so that this replaces the process by itself, once. If that fails, the process goes on as it is.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn limit_arenas() {
    use std::os::unix::process::CommandExt;

    const LIMIT: &str = "MALLOC_ARENA_MAX";
    if std::env::var_os(LIMIT).is_none() {
        let mut arguments = std::env::args_os();
        let name = arguments.next().unwrap_or_default();
        // This returns only if it fails.
        let _ = std::process::Command::new("/proc/self/exe").arg0(name).args(arguments).env(LIMIT, "2").exec();
    }
}

/// Does nothing: other allocators have no such arenas.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn limit_arenas() {}
