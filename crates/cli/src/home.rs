//! Finds the home, and checks or creates it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, FailureKind, Result};
use crate::wiring;

/// Returns the home: `--home`, else `SELVEDGE_HOME`, else `CODEX_HOME`, else `~/.codex` if it exists, else
/// `~/.selvedge`. An empty variable counts as unset.
///
/// The path is absolute, because the program prints paths below it, such as the file of a thread. Those have to work in
/// other directories too.
pub(crate) fn locate(option: Option<&Path>) -> Result<PathBuf> {
    let path = configured(option)?;
    // If the current directory no longer exists, a relative path stays relative. Opening it then fails with a clear
    // error.
    Ok(std::path::absolute(&path).unwrap_or(path))
}

fn configured(option: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = option {
        return Ok(path.to_path_buf());
    }
    if let Some(path) = variable("SELVEDGE_HOME").or_else(|| variable("CODEX_HOME")) {
        return Ok(path.into());
    }
    let user = std::env::home_dir().filter(|path| !path.as_os_str().is_empty()).ok_or_else(|| {
        Failure::new(FailureKind::Other, "the home directory of the user is not known")
            .hint("name a home with --home or SELVEDGE_HOME")
    })?;
    let codex = user.join(".codex");
    Ok(if codex.is_dir() { codex } else { user.join(".selvedge") })
}

/// Checks that `home` exists and can be read.
pub(crate) fn require(home: &Path) -> Result<()> {
    match fs::read_dir(home) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Failure::new(FailureKind::Other, format!("home {} does not exist", home.display()))
                .hint("name another one with --home, create this one with `selvedge new`, or try `selvedge demo`"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Err(not_a_directory(home)),
        Err(error) => Err(anyhow::Error::new(error).context(format!("cannot read home {}", home.display())).into()),
    }
}

/// Creates `home` if it does not exist, readable by its owner only.
pub(crate) fn create(home: &Path) -> Result<()> {
    if home.is_dir() {
        return Ok(());
    }
    if home.exists() {
        return Err(not_a_directory(home));
    }
    wiring::create_home(home)
}

fn not_a_directory(home: &Path) -> Failure {
    Failure::new(FailureKind::Other, format!("home {} is not a directory", home.display()))
        .hint("a home is the directory that contains `sessions`; name it with --home")
}

/// Returns an environment variable, or `None` if it is unset or empty.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
