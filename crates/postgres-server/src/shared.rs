//! One server for all test processes of a user.
//!
//! Each test of nextest is a process of its own, and starting a server takes a second. So the first process starts a server
//! and writes its folder to a file, and the others find it there. All of them are its holders (see `cluster.rs`).

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use crate::cluster::{self, Cluster};
use crate::programs::ServerPrograms;
use crate::rendezvous::rendezvous_folder;

/// How long the server waits for another test process after the last one has ended.
const GRACE: Duration = Duration::from_secs(15);

/// Returns the socket folder of the shared server, and starts that server if there is none. This process becomes a holder.
pub(crate) fn socket_folder(programs: &ServerPrograms) -> io::Result<PathBuf> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let outcome = FOLDER.get_or_init(|| join_or_start(programs).map_err(|error| error.to_string()));
    outcome.clone().map_err(io::Error::other)
}

fn join_or_start(programs: &ServerPrograms) -> io::Result<PathBuf> {
    let rendezvous = rendezvous_folder()?;
    // Another version of the programs, or of this crate, gets a server of its own.
    let mut hasher = DefaultHasher::new();
    (programs.folder(), include_str!("cluster.rs"), include_str!("watcher.sh")).hash(&mut hasher);
    let name = format!("{:016x}", hasher.finish());
    let lock = fs::File::create(rendezvous.join(format!("{name}.lock")))?;
    lock.lock()?;
    let pointer = rendezvous.join(name);
    if let Some(folder) = read_pointer(&pointer)
        && cluster::hold(&folder).is_ok()
        && cluster::is_running(&folder)
    {
        return Ok(folder);
    }
    let cluster = Cluster::create(programs, GRACE)?;
    // The server is no child of a holder for long: the watcher ends it.
    drop(cluster.start(&[])?);
    fs::write(&pointer, cluster.folder().as_os_str().as_encoded_bytes())?;
    Ok(cluster.folder().to_owned())
}

fn read_pointer(pointer: &Path) -> Option<PathBuf> {
    fs::read_to_string(pointer).ok().filter(|text| !text.is_empty()).map(PathBuf::from)
}
