//! Finds the Codex program.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

use crate::failure::{Failure, FailureKind, Result};
use crate::home;

/// The variable that names the program if no option does.
const PROGRAM_VARIABLE: &str = "SELVEDGE_CODEX";

/// The names of the program on the PATH. Where npm installs it on Windows, it is a script.
const NAMES: &[&str] = if cfg!(windows) { &["codex.exe", "codex.cmd"] } else { &["codex"] };

/// Returns the program that the option names, else `SELVEDGE_CODEX`, else `codex` on the PATH. `None` if there is none on the PATH, or if
/// the option or the variable is `off`.
///
/// # Errors
/// If the program that the option or the variable names does not exist.
pub(super) fn find(option: Option<&Path>) -> Result<Option<PathBuf>> {
    let Some(named) = option.map(Path::to_path_buf).or_else(|| home::variable(PROGRAM_VARIABLE).map(PathBuf::from))
    else {
        return Ok(NAMES.iter().find_map(|name| on_path(name.as_ref())));
    };
    if named.as_os_str() == "off" {
        return Ok(None);
    }
    // A name without a directory is looked up as a shell does.
    let is_bare = named.components().count() == 1 && named.file_name() == Some(named.as_os_str());
    let found = if is_bare { on_path(named.as_os_str()) } else { Some(named.clone()).filter(|path| is_program(path)) };
    let found = found.ok_or_else(|| {
        Failure::new(FailureKind::Usage, format!("there is no Codex program {}", named.display()))
            .hint("--codex and SELVEDGE_CODEX name the program of Codex, or `off` for none")
    })?;
    // The program runs in another directory.
    Ok(Some(std::path::absolute(&found).unwrap_or(found)))
}

fn on_path(name: &OsStr) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    // A relative directory on the PATH would mean the directory that the program runs in, which is another one.
    env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && is_executable(&metadata))
}

#[cfg(unix)]
fn is_executable(metadata: &Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o111 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &Metadata) -> bool {
    true
}
