//! Runs the program as a user without the rights of root: root may read and write everything, so that permissions mean nothing to it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::support::Home;

/// The number of the user and the group `nobody` on most systems. The user need not exist.
pub(crate) const PLAIN_USER: u32 = 65_534;

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Makes the plain user the owner of a home and of everything in it, if this process is root. Otherwise the user of this process is plain.
pub(crate) fn give_to_plain_user(home: &Home) {
    if is_root() {
        // The folder of the home is private to root.
        fs::set_permissions(home.folder(), fs::Permissions::from_mode(0o755)).unwrap();
        give(&home.user(), PLAIN_USER);
        if home.path().exists() {
            give(&home.path(), PLAIN_USER);
        }
    }
}

/// Makes a user the owner of a file, or of a directory and everything in it.
pub(crate) fn give(path: &Path, user: u32) {
    std::os::unix::fs::lchown(path, Some(user), Some(user)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), user);
        }
    }
}

/// Lets a command run as the plain user.
pub(crate) fn as_plain_user<'a>(home: &Home, command: &'a mut Command) -> &'a mut Command {
    if is_root() {
        // The directory of the build may be one that the other user cannot reach.
        let program = home.folder().join("selvedge");
        if !program.exists() {
            // Copied by another process: a program that this one has open for writing, in any thread, cannot be started.
            let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_selvedge")).arg(&program).status();
            assert!(copied.unwrap().success());
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let mut other = Command::new(program);
        other.env_clear().args(command.get_args());
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                other.env(name, value);
            }
        }
        if let Some(dir) = command.get_current_dir() {
            other.current_dir(dir);
        }
        other.uid(PLAIN_USER).gid(PLAIN_USER);
        *command = other;
    }
    command
}

/// Takes all rights on a file or directory from the plain user.
pub(crate) fn lock(path: &Path) {
    if is_root() {
        chown(path, Some(0), Some(0)).unwrap();
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
}

/// Restores the rights of the plain user.
pub(crate) fn unlock(path: &Path) {
    if is_root() {
        chown(path, Some(PLAIN_USER), Some(PLAIN_USER)).unwrap();
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
}
