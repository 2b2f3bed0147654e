//! The user of the system that runs the server.

use std::io;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Users that can run the server for root, the best one first.
const SERVER_USERS: [&str; 2] = ["postgres", "nobody"];

/// The user that runs the server, if it is not the user of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerAccount {
    uid: u32,
    gid: u32,
}

impl ServerAccount {
    /// Returns the account for root. `None` for every other user, who runs the server in person.
    pub(crate) fn find() -> io::Result<Option<Self>> {
        if current_uid()? != 0 {
            return Ok(None);
        }
        for user in SERVER_USERS {
            if let (Ok(uid), Ok(gid)) = (id(&["-u", user]), id(&["-g", user])) {
                return Ok(Some(Self { uid, gid }));
            }
        }
        Err(io::Error::other(format!("PostgreSQL does not run as root, and there is no user {SERVER_USERS:?}")))
    }

    /// Makes the command run as this user.
    pub(crate) fn apply(self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    /// Makes this user the owner of a file or a folder.
    pub(crate) fn give(self, path: &Path) -> io::Result<()> {
        chown(path, Some(self.uid), Some(self.gid))
    }
}

/// Returns the number of the user of this process.
pub(crate) fn current_uid() -> io::Result<u32> {
    id(&["-u"])
}

fn id(args: &[&str]) -> io::Result<u32> {
    let output = Command::new("id").args(args).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().map_err(|_| io::Error::other(format!("`id {}` printed {text:?}", args.join(" "))))
}
