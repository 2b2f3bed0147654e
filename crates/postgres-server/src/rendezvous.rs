//! Where the test processes of a user find each other.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::PathBuf;

use crate::account::current_uid;

/// Returns the folder through which the processes of this user find each other. Nobody else may enter it.
pub(crate) fn rendezvous_folder() -> io::Result<PathBuf> {
    let uid = current_uid()?;
    let folder = std::env::temp_dir().join(format!("selvedge-postgres-{uid}"));
    match fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // In a folder of somebody else the file could name the server of somebody else.
    let metadata = fs::symlink_metadata(&folder)?;
    if !metadata.is_dir() || metadata.uid() != uid || metadata.mode() & 0o077 != 0 {
        return Err(io::Error::other(format!("{} is not a folder of user {uid} alone", folder.display())));
    }
    Ok(folder)
}
