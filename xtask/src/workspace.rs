//! Facts about the workspace that verbs need: its path, its crates, and how to call cargo.

use std::fmt;
use std::io::{BufRead, BufReader, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// The command line is wrong. The message is printed and the exit code is 2.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The fields of `cargo metadata` that the checks use.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    workspace_members: Vec<String>,
}

/// A package of the workspace or of its dependency tree.
#[derive(Deserialize)]
pub(crate) struct Package {
    id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) rust_version: Option<String>,
    pub(crate) dependencies: Vec<Dependency>,
    targets: Vec<PackageTarget>,
}

/// A dependency in a manifest.
#[derive(Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `None` for a normal dependency, otherwise `dev` or `build`.
    pub(crate) kind: Option<String>,
}

#[derive(Deserialize)]
struct PackageTarget {
    kind: Vec<String>,
}

impl Metadata {
    /// Reads the packages of the workspace only; this is fast and needs no network.
    pub(crate) fn of_workspace() -> Result<Self> {
        Self::load(&["--no-deps"])
    }

    /// Reads the whole dependency tree for every platform.
    pub(crate) fn of_everything() -> Result<Self> {
        Self::load(&[])
    }

    fn load(flags: &[&str]) -> Result<Self> {
        let mut command = cargo(&["metadata", "--format-version", "1"]);
        let output = command.args(flags).stderr(Stdio::inherit()).output().context("cannot run cargo metadata")?;
        if !output.status.success() {
            bail!("cargo metadata failed ({})", output.status);
        }
        serde_json::from_slice(&output.stdout).context("cargo metadata printed something unexpected")
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.is_member(package))
    }

    pub(crate) fn is_member(&self, package: &Package) -> bool {
        self.workspace_members.contains(&package.id)
    }

    /// Returns a member by its full name or by its directory: `rollout` is `selvedge-rollout`.
    pub(crate) fn member(&self, word: &str) -> Result<&Package> {
        let found = self.members().find(|package| package.name == word || short_name(&package.name) == word);
        found.ok_or_else(|| {
            let known: Vec<&str> = self.members().map(|package| short_name(&package.name)).collect();
            Usage(format!("there is no crate `{word}`; the crates are {}", known.join(", "))).into()
        })
    }
}

impl Package {
    /// Returns whether a package is a library. Only libraries have doctests, and cargo refuses other packages.
    pub(crate) fn has_library(&self) -> bool {
        self.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "lib" || kind == "proc-macro"))
    }
}

/// Returns the name of a crate without its prefix, which is also its directory.
pub(crate) fn short_name(name: &str) -> &str {
    name.strip_prefix("selvedge-").unwrap_or(name)
}

pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

pub(crate) fn cargo(args: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root()).args(args);
    command
}

/// Returns whether `cargo <tool>` is installed.
pub(crate) fn has_tool(tool: &str) -> bool {
    let mut command = cargo(&[tool, "--version"]);
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Prints a command, runs it, and returns an error if its exit code is not 0.
pub(crate) fn run_command(command: &mut Command) -> Result<()> {
    let line = announce(command);
    let status = command.status().with_context(|| format!("cannot run `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// The output stream of a program that is read.
#[derive(Clone, Copy)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// Does the same as [`run_command`], and passes each line of one stream to `look`, without colours.
pub(crate) fn run_watched(command: &mut Command, stream: Stream, mut look: impl FnMut(&str)) -> Result<()> {
    if std::io::stderr().is_terminal() {
        // Without this, programs print no colours into a pipe.
        command.env("CARGO_TERM_COLOR", "always");
    }
    let line = announce(command);
    match stream {
        Stream::Stdout => command.stdout(Stdio::piped()),
        Stream::Stderr => command.stderr(Stdio::piped()),
    };
    let mut child = command.spawn().with_context(|| format!("cannot run `{line}`"))?;
    match stream {
        Stream::Stdout => echo(child.stdout.take(), |text| println!("{text}"), &mut look)?,
        Stream::Stderr => echo(child.stderr.take(), |text| eprintln!("{text}"), &mut look)?,
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

fn echo(pipe: Option<impl std::io::Read>, print: impl Fn(&str), look: &mut impl FnMut(&str)) -> Result<()> {
    let Some(pipe) = pipe else { return Ok(()) };
    for line in BufReader::new(pipe).split(b'\n') {
        // Tests may print bytes that are not UTF-8.
        let line = line?;
        let text = String::from_utf8_lossy(&line);
        print(&text);
        look(&plain(&text));
    }
    Ok(())
}

/// Returns a text without terminal colour codes.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, code)) = rest.split_once("\u{1b}[") {
        out.push_str(before);
        rest = code.split_once('m').map_or("", |(_, after)| after);
    }
    out + rest
}

fn announce(command: &Command) -> String {
    let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
    let line = format!("cargo {}", args.join(" "));
    eprintln!("$ {line}");
    line
}

/// Returns a usage error if there are arguments.
pub(crate) fn no_arguments(verb: &str, args: &[String]) -> Result<()> {
    match args.first() {
        None => Ok(()),
        Some(arg) => Err(Usage(format!("{verb} takes no arguments, but got `{arg}`")).into()),
    }
}

/// Copies a directory with everything in it into another one, which may exist.
pub(crate) fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for entry in std::fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let path = entry?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_folder(&path, &target)?;
        } else {
            std::fs::copy(&path, &target).with_context(|| format!("cannot copy {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_stripped() {
        assert_eq!(plain("\u{1b}[32;1m  Summary\u{1b}[0m [ 0.1s] 3 tests run"), "  Summary [ 0.1s] 3 tests run");
        assert_eq!(plain("nothing to strip"), "nothing to strip");
    }
}
