//! Builds benchmarks and finds the resulting programs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::benchmarks::BENCHMARKS;
use crate::workspace::short_name;

/// A program that measures the workloads of an area, or some of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Program {
    /// The directory of its crate.
    pub(super) folder: String,
    pub(super) path: PathBuf,
}

/// The fields of a cargo message that are used.
#[derive(Deserialize)]
struct CargoMessage {
    reason: String,
    target: Option<CargoArtifact>,
    executable: Option<PathBuf>,
    manifest_path: Option<PathBuf>,
}

#[derive(Deserialize)]
struct CargoArtifact {
    kind: Vec<String>,
    name: String,
}

/// Returns the directories of the crates that have benchmarks of the area.
pub(super) fn folders(area: &str) -> impl Iterator<Item = &'static str> {
    BENCHMARKS.iter().filter(move |bench| bench.area == area).map(|bench| short_name(bench.package))
}

/// Builds the programs of an area in a tree.
///
/// The command names the crates of all areas that can be compared. So every area is built with the same features of the dependencies, and the dependencies
/// are built once.
pub(super) fn build(tree: &Path, target_dir: Option<&Path>, area: &str) -> Result<Vec<Program>> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(tree).args(["bench", "--no-run", "--message-format=json-render-diagnostics", "--bench", area]);
    if let Some(dir) = target_dir {
        command.arg("--target-dir").arg(dir);
    }
    let mut packages: Vec<&str> =
        BENCHMARKS.iter().filter(|bench| bench.has_workloads).map(|bench| bench.package).collect();
    packages.dedup();
    packages.iter().for_each(|package| {
        command.args(["-p", package]);
    });
    eprintln!("$ cargo bench --no-run --bench {area}  # in {}", tree.display());
    let output = command.stderr(Stdio::inherit()).output().context("cannot run cargo bench")?;
    ensure!(output.status.success(), "the benchmarks of area {area} do not compile in {}", tree.display());
    let programs = programs(&String::from_utf8_lossy(&output.stdout), area)?;
    for folder in folders(area) {
        let is_there = programs.iter().any(|program| program.folder == folder);
        ensure!(is_there, "{} has no benchmark {area} in crate {folder}", tree.display());
    }
    Ok(programs)
}

/// Returns the programs of an area that cargo's messages name, sorted by their directories.
fn programs(messages: &str, area: &str) -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    for line in messages.lines().filter(|line| line.starts_with('{')) {
        let message: CargoMessage = serde_json::from_str(line).context("cargo printed something unexpected")?;
        let is_wanted =
            message.target.is_some_and(|target| target.name == area && target.kind.iter().any(|kind| kind == "bench"));
        if message.reason != "compiler-artifact" || !is_wanted {
            continue;
        }
        let folder = message.manifest_path.as_deref().and_then(Path::parent).and_then(Path::file_name);
        if let (Some(folder), Some(path)) = (folder, message.executable) {
            programs.push(Program { folder: folder.to_string_lossy().into_owned(), path });
        }
    }
    programs.sort_by(|one, other| one.folder.cmp(&other.folder));
    Ok(programs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_among_the_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","manifest_path":"/w/crates/state/Cargo.toml","target":{"kind":["lib"],"name":"index"},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","manifest_path":"/w/crates/state/Cargo.toml","target":{"kind":["bench"],"name":"index"},"executable":"/t/index-1"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","manifest_path":"/w/crates/cli/Cargo.toml","target":{"kind":["bench"],"name":"index"},"executable":"/t/index-2"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        let program = |folder: &str, path: &str| Program { folder: folder.into(), path: path.into() };
        assert_eq!(
            programs(messages, "index").unwrap(),
            [program("cli", "/t/index-2"), program("state", "/t/index-1")]
        );
        assert_eq!(programs(messages, "append").unwrap(), []);
    }

    #[test]
    fn an_area_may_have_several_crates() {
        assert_eq!(folders("index").collect::<Vec<_>>(), ["state", "cli"]);
    }
}
