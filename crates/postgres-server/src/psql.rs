//! Runs SQL with the client of PostgreSQL, which knows every kind of authentication.

use std::io;
use std::process::{Command, Stdio};

use crate::programs;

/// Runs statements on the server of a URL, each in a transaction of its own, over one connection. Returns their rows, one in
/// a line, with `|` between the columns.
///
/// # Errors
/// If a statement fails, the connection is lost, or `psql` is missing. The text is what `psql` prints.
pub fn execute_sql(url: &str, statements: &[&str]) -> io::Result<String> {
    let output = command(url, statements)?.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    }
    Err(io::Error::other(format!("{statements:?}: {}", String::from_utf8_lossy(&output.stderr).trim_end())))
}

/// Starts statements, and does not wait for them.
pub(crate) fn start(url: &str, statements: &[&str]) -> io::Result<()> {
    command(url, statements)?.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map(drop)
}

fn command(url: &str, statements: &[&str]) -> io::Result<Command> {
    let program = programs::psql().ok_or_else(|| io::Error::other("there is no `psql` on the PATH"))?;
    let mut command = Command::new(program);
    // Neither settings of the user nor those of the environment change what the statements do.
    command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url]);
    command.args(statements.iter().flat_map(|statement| ["-c", statement]));
    command.env_remove("PGOPTIONS").env_remove("PGSERVICE").stdin(Stdio::null());
    Ok(command)
}
