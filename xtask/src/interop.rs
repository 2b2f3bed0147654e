//! `cargo xtask interop`: the real Codex opens threads that Selvedge wrote, and Selvedge opens threads that Codex wrote.
//!
//! It is not part of the normal tests: it needs npm (or an installed Codex) and starts programs. After the installation it uses no
//! network: the model is a stand-in on loopback. `docs/interop.md` describes the checks and contains the results.

mod by_codex;
mod by_selvedge;
mod compare;
mod detached;
mod diverged;
mod fragments;
mod known_changes;
mod known_home;
mod locks;
mod markdown;
mod material;
mod older;
mod overview;
mod reader;
mod recorder;
mod recordings;
mod report;
mod selvedge;
mod sent_input;
mod setup;
mod threads;
mod unknown_lines;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use material::RecordedStory;
use report::{InteropReport, Section};
use selvedge::Selvedge;
use setup::InteropSetup;

use crate::codex::stand_in::StandIn;
use crate::codex::{self, Codex};
use crate::workspace::{Usage, root};

pub(crate) const HELP: &str = "\
usage: cargo xtask interop [options]

  --version VERSION   the released Codex to check against (0.171.0), may be given several times; installed with npm under
                      target/interop if it is not there
  --all               every version that has recordings in samples/, one after the other
  --codex PATH        an installed Codex program, instead of one from npm
  --selvedge PATH     a built selvedge program, instead of building crates/cli
  --selftest          only the recordings of samples/: checks the harness itself, needs no selvedge program
  --only TEXT         only the parts with this text in their titles; writes no results
  --keep              keep the homes of the run and print their paths

Releases before 0.160 only open their own recordings and continue threads of Selvedge. A full run writes its results to
docs/interop.md and keeps those of other versions. It is not part of the normal tests.";

const DEFAULT_VERSION: &str = "0.171.0";

/// The parsed command line.
#[derive(Default)]
struct InteropOptions {
    /// Empty means the default version.
    versions: Vec<String>,
    all: bool,
    codex: Option<PathBuf>,
    selvedge: Option<PathBuf>,
    selftest: bool,
    only: Option<String>,
    keep: bool,
}

/// Runs the comparison.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let options = parse(args)?;
    let target = codex::target_directory()?.join("interop");
    std::fs::create_dir_all(&target).with_context(|| format!("cannot create {}", target.display()))?;
    let selvedge = match &options.selvedge {
        _ if options.selftest => None,
        Some(program) => Some(program.clone()),
        None => Some(Selvedge::build()?),
    };
    let mut failures = 0;
    for codex in programs(&options, &target)? {
        let report = check(codex?, selvedge.as_deref(), &options, &target)?;
        println!("{}\n", report.table());
        if !options.selftest && options.only.is_none() {
            report.write_into(&root().join("docs").join("interop.md"))?;
        }
        failures += report.failures();
    }
    match failures {
        0 => Ok(()),
        failures => bail!("{failures} checks failed"),
    }
}

/// Returns the programs to check. Each one is installed when the iterator reaches it.
fn programs<'a>(options: &'a InteropOptions, target: &'a Path) -> Result<Box<dyn Iterator<Item = Result<Codex>> + 'a>> {
    if let Some(program) = &options.codex {
        return Ok(Box::new(std::iter::once(Codex::at(program))));
    }
    let versions = match (options.all, options.versions.as_slice()) {
        (true, _) => RecordedStory::versions()?,
        (false, []) => vec![DEFAULT_VERSION.to_owned()],
        (false, versions) => versions.to_vec(),
    };
    Ok(Box::new(versions.into_iter().map(|version| Codex::from_npm(target, &version))))
}

/// Runs all checks against one program.
fn check(codex: Codex, selvedge: Option<&Path>, options: &InteropOptions, target: &Path) -> Result<InteropReport> {
    eprintln!("interop: Codex {}", codex.version);
    let folder = tempfile::Builder::new().prefix("run-").tempdir_in(target)?;
    let bench = InteropSetup { codex, model: StandIn::start()?, folder: folder.path().to_path_buf() };
    let sections = match selvedge {
        None => vec![section("recordings", || recordings::check(&bench, None))],
        Some(program) => {
            let is_older = older::is_older(&bench.codex.release());
            let parts = if is_older { OF_OLDER_READERS } else { EVERYTHING };
            run_parts(parts, &bench, program, options.only.as_deref())
        }
    };
    if options.keep {
        println!("kept: {}", folder.keep().display());
    }
    Ok(InteropReport::new(&bench.codex.version, sections))
}

/// A part of the checks: its title, and the function that runs it.
type CheckPart = (&'static str, fn(&InteropSetup, &Path) -> Result<Section>);

const OF_OLDER_READERS: &[CheckPart] =
    &[("recordings", |bench, program| recordings::check(bench, Some(program))), ("written by Selvedge", older::check)];

const EVERYTHING: &[CheckPart] = &[
    ("recordings", |bench, program| recordings::check(bench, Some(program))),
    ("written by Selvedge", by_selvedge::check),
    ("recorded by an agent", recorder::check),
    ("compressed by Selvedge", by_selvedge::check_compressed),
    ("detached forks", detached::check),
    ("in a home that Codex knows", known_home::check),
    ("changes of known threads", known_changes::check),
    ("diverged histories", diverged::check),
    ("written by Codex", by_codex::check),
    ("one writer", locks::check),
    ("unknown lines", unknown_lines::check),
    ("input as it is sent", sent_input::check),
    ("markers of context fragments", fragments::check),
];

/// Runs the parts whose titles contain the text of `--only`.
fn run_parts(parts: &[CheckPart], bench: &InteropSetup, program: &Path, only: Option<&str>) -> Vec<Section> {
    let chosen = parts.iter().filter(|(title, _)| only.is_none_or(|text| title.contains(text)));
    chosen.map(|(title, check)| section(title, || check(bench, program))).collect()
}

/// Runs one part of the checks. If it fails before its checks, that is a failed check, and the other parts still run.
fn section(title: &'static str, check: impl FnOnce() -> Result<Section>) -> Section {
    eprintln!("interop: {title}");
    match check() {
        Ok(section) => section.titled(title),
        Err(error) => {
            let mut section = Section::default();
            section.record("the run itself", "finishes", Err(error));
            section.titled(title)
        }
    }
}

fn parse(args: &[String]) -> Result<InteropOptions> {
    let mut options = InteropOptions::default();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let mut value = || rest.next().cloned().ok_or_else(|| Usage(format!("{arg} needs a value\n\n{HELP}")));
        match arg.as_str() {
            "--version" => options.versions.push(value()?),
            "--all" => options.all = true,
            "--codex" => options.codex = Some(absolute(&value()?)?),
            "--selvedge" => options.selvedge = Some(absolute(&value()?)?),
            "--selftest" => options.selftest = true,
            "--only" => options.only = Some(value()?),
            "--keep" => options.keep = true,
            _ => return Err(Usage(format!("interop does not know `{arg}`\n\n{HELP}")).into()),
        }
    }
    if usize::from(options.all) + usize::from(options.codex.is_some()) + usize::from(!options.versions.is_empty()) > 1 {
        return Err(Usage(format!("--version, --all and --codex exclude each other\n\n{HELP}")).into());
    }
    Ok(options)
}

/// Makes a path absolute, because the programs run in other directories.
fn absolute(path: &str) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot find {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_unknown_ones_are_usage_errors() {
        let strings = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
        let options = parse(&strings(&["--version", "0.1.2", "--keep", "--version", "0.1.3"])).unwrap();
        assert_eq!((options.versions, options.keep, options.selftest), (strings(&["0.1.2", "0.1.3"]), true, false));
        assert!(parse(&strings(&["--all", "--version", "0.1.2"])).err().unwrap().is::<Usage>());
        assert!(parse(&strings(&["--version"])).err().unwrap().is::<Usage>());
        assert!(parse(&strings(&["--frobnicate"])).err().unwrap().is::<Usage>());
    }
}
