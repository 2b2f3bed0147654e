//! Which home is meant, and whether it is one.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use selvedge_protocol::Durability;

use crate::exit::{Code, Failure, Result};

/// The home: what `--home` says, else `SELVEDGE_HOME`, else `CODEX_HOME`, else `~/.codex` if it is there, else
/// `~/.selvedge`. An empty variable counts as unset.
///
/// The path is absolute: what is printed of it, files of threads for one, has to hold in other directories too.
pub(crate) fn locate(option: Option<&Path>) -> Result<PathBuf> {
    let path = named(option)?;
    // Where the current directory is gone, a relative path leads nowhere, and opening it says so.
    Ok(std::path::absolute(&path).unwrap_or(path))
}

fn named(option: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = option {
        return Ok(path.to_path_buf());
    }
    if let Some(path) = variable("SELVEDGE_HOME").or_else(|| variable("CODEX_HOME")) {
        return Ok(path.into());
    }
    let user = std::env::home_dir().filter(|path| !path.as_os_str().is_empty()).ok_or_else(|| {
        Failure::new(Code::Failure, "there is no home directory to look for threads in")
            .hint("name a home with --home or SELVEDGE_HOME")
    })?;
    let codex = user.join(".codex");
    Ok(if codex.is_dir() { codex } else { user.join(".selvedge") })
}

/// Sees to it that `home` can be read.
pub(crate) fn require(home: &Path) -> Result<()> {
    match fs::read_dir(home) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Failure::new(Code::Failure, format!("home {} does not exist", home.display()))
                .hint("name another with --home, or make this one with `selvedge new`"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Err(not_a_directory(home)),
        Err(error) => Err(anyhow::Error::new(error).context(format!("cannot read home {}", home.display())).into()),
    }
}

/// Makes `home`, for its owner's eyes only, unless it is there. At level synced its name is on the medium then; what lies
/// in it, the store sees to.
pub(crate) fn create(home: &Path, durability: Durability) -> Result<()> {
    if home.is_dir() {
        return Ok(());
    }
    if home.exists() {
        return Err(not_a_directory(home));
    }
    let missing: Vec<&Path> = home.ancestors().take_while(|dir| !dir.exists()).collect();
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(home).with_context(|| format!("cannot make home {}", home.display()))?;
    if cfg!(unix) && durability == Durability::Synced {
        for dir in missing.iter().filter_map(|dir| dir.parent()) {
            let synced = fs::File::open(dir).and_then(|dir| dir.sync_all());
            synced.with_context(|| format!("cannot sync {}", dir.display()))?;
        }
    }
    Ok(())
}

fn not_a_directory(home: &Path) -> Failure {
    Failure::new(Code::Failure, format!("home {} is not a directory", home.display()))
        .hint("a home is the directory that holds `sessions`; name it with --home")
}

/// An environment variable, unless it is empty.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
