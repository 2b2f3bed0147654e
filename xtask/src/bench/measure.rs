//! Runs a program of an area and reads the costs of its workloads.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::build::Program;

/// How often one run repeats a workload to measure a time. The shortest time counts.
const TIMED: usize = 5;

/// How often one run under callgrind repeats a workload. The smallest count is used, because a thread sometimes waits in a
/// busy loop.
const COUNTED: usize = 2;

/// A workload and its cost: nanoseconds or instructions.
pub(super) type Measured = (String, u64);

/// Returns whether instructions can be counted on this machine.
pub(super) fn can_count() -> bool {
    let mut command = Command::new("valgrind");
    let status = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Measures the nanoseconds of each workload.
pub(super) fn times(program: &Program) -> Result<Vec<Measured>> {
    run(Command::new(&program.path).args(["--probe", &TIMED.to_string()]))
}

/// Counts the instructions of each workload, in all threads.
///
/// callgrind writes a dump whenever the program enters the function that ends counting, and resets its counters when the program
/// enters the function that begins counting. (The option of callgrind that collects within one function ignores all other threads.)
pub(super) fn instructions(program: &Program) -> Result<Vec<Measured>> {
    let dir = tempfile::tempdir()?;
    let dumps = dir.path().join("dump");
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--zero-before=*probe_begins*", "--dump-before=*probe_ends*"]);
    command.arg(format!("--callgrind-out-file={}", dumps.display()));
    let workloads = run(command.arg(&program.path).args(["--probe", &COUNTED.to_string()]))?;
    let mut counts = (1..).map(|number| totals(&dumps.with_extension(number.to_string())));
    let mut measured = Vec::new();
    for (name, _) in workloads {
        let counts = counts.by_ref().take(COUNTED).collect::<Result<Vec<_>>>()?;
        measured.push((name, counts.into_iter().min().unwrap_or_default()));
    }
    Ok(measured)
}

/// Returns the total instructions of a dump.
fn totals(dump: &Path) -> Result<u64> {
    let text = fs::read(dump).with_context(|| format!("callgrind wrote no {}", dump.display()))?;
    let text = String::from_utf8_lossy(&text);
    let totals = text.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok());
    totals.with_context(|| format!("{} has no totals", dump.display()))
}

fn run(command: &mut Command) -> Result<Vec<Measured>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        bail!("{name} failed ({}):\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let measured = workloads(&String::from_utf8_lossy(&output.stdout))?;
    ensure!(!measured.is_empty(), "{name} measured nothing");
    Ok(measured)
}

/// Parses the output of a program: lines with `probe`, the name of a workload and a number, separated by tabs.
fn workloads(text: &str) -> Result<Vec<Measured>> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("probe\t"));
    lines
        .map(|line| {
            let (name, number) = line.rsplit_once('\t').context("a line without a number")?;
            Ok((name.to_owned(), number.parse().with_context(|| format!("{name}: {number:?} is not a number"))?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_are_read_from_among_other_lines() {
        let text = "a word\nprobe\trecorder, 2000 items\t3240864\nprobe\tstore\t1\n";
        let expected = [("recorder, 2000 items".to_owned(), 3_240_864), ("store".to_owned(), 1)];
        assert_eq!(workloads(text).unwrap(), expected);
        assert!(workloads("probe\tstore\tfast\n").is_err());
        assert!(workloads("probe\tstore\n").is_err());
    }

    #[test]
    fn the_totals_of_a_dump_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let dump = dir.path().join("dump.1");
        fs::write(&dump, "version: 1\nsummary: 77\nfn=(1) f\n1 7\ntotals: 4711\n").unwrap();
        assert_eq!(totals(&dump).unwrap(), 4711);
        assert!(totals(&dir.path().join("dump.2")).is_err());
    }
}
