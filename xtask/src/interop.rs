//! `cargo xtask interop`: the real Codex opens what Selvedge wrote, and Selvedge what Codex wrote.
//!
//! Outside the normal tests: it needs npm (or a Codex that is already there) and starts programs. No network is used once Codex is
//! installed: the model is a stand-in on loopback. `docs/interop.md` says what is checked and holds the results.

mod by_codex;
mod by_selvedge;
mod compare;
mod known_home;
mod locks;
mod material;
mod older;
mod recordings;
mod report;
mod selvedge;
mod unknown_lines;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use report::{Report, Section};
use selvedge::Selvedge;

use crate::codex::stand_in::StandIn;
use crate::codex::{self, Codex};
use crate::workspace::{Usage, root};

pub(crate) const HELP: &str = "\
usage: cargo xtask interop [options]

  --version VERSION   the released Codex to check against (0.169.0); installed with npm under target/interop if it is not there
  --codex PATH        a Codex program that is already there, instead of one from npm
  --selvedge PATH     a selvedge program that is already built, instead of building crates/cli
  --selftest          only the recordings of samples/: checks the harness itself, needs no selvedge program
  --keep              keep the homes of the run and say where they are

Releases before 0.160 are only asked to go on with threads of Selvedge. A full run writes its results into docs/interop.md. Runs
no part of the normal tests.";

const DEFAULT_VERSION: &str = "0.169.0";

/// The command line.
struct Options {
    version: String,
    codex: Option<PathBuf>,
    selvedge: Option<PathBuf>,
    selftest: bool,
    keep: bool,
}

/// What every part of the run uses: the two programs, the model and a folder to work in.
struct Bench {
    codex: Codex,
    model: StandIn,
    folder: PathBuf,
}

impl Bench {
    /// A new empty home that Codex is configured in.
    fn home(&self, name: &str) -> Result<PathBuf> {
        let home = self.folder.join(name);
        std::fs::create_dir_all(&home).with_context(|| format!("cannot create {}", home.display()))?;
        codex::configure(&home, self.model.address(), "")?;
        Ok(home)
    }
}

/// Runs the comparison.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let options = parse(args)?;
    let target = codex::target_directory()?.join("interop");
    std::fs::create_dir_all(&target).with_context(|| format!("cannot create {}", target.display()))?;
    let codex = match &options.codex {
        Some(program) => Codex::at(program)?,
        None => Codex::from_npm(&target, &options.version)?,
    };
    let folder = tempfile::Builder::new().prefix("run-").tempdir_in(&target)?;
    let bench = Bench { codex, model: StandIn::start()?, folder: folder.path().to_path_buf() };
    let report = if options.selftest { selftest(&bench)? } else { everything(&bench, options.selvedge.as_deref())? };
    if options.keep {
        println!("kept: {}", folder.keep().display());
    }
    finish(&report, &options)
}

fn finish(report: &Report, options: &Options) -> Result<()> {
    println!("{}", report.table());
    if !options.selftest {
        report.write_into(&root().join("docs").join("interop.md"))?;
    }
    match report.failures() {
        0 => Ok(()),
        failures => bail!("{failures} checks failed"),
    }
}

fn selftest(bench: &Bench) -> Result<Report> {
    Ok(Report::new(&bench.codex.version, vec![section("recordings", || recordings::check(bench))]))
}

fn everything(bench: &Bench, selvedge: Option<&Path>) -> Result<Report> {
    let program = match selvedge {
        Some(program) => program.to_path_buf(),
        None => Selvedge::build()?,
    };
    if older::is_older(&bench.codex.release()) {
        let sections = vec![section("written by Selvedge", || older::check(bench, &program))];
        return Ok(Report::new(&bench.codex.version, sections));
    }
    let sections = vec![
        section("recordings", || recordings::check(bench)),
        section("written by Selvedge", || by_selvedge::check(bench, &program)),
        section("in a home that Codex knows", || known_home::check(bench, &program)),
        section("written by Codex", || by_codex::check(bench, &program)),
        section("one writer", || locks::check(bench, &program)),
        section("unknown lines", || unknown_lines::check(bench, &program)),
    ];
    Ok(Report::new(&bench.codex.version, sections))
}

/// A part of the run that stops before its checks is a failed check of its own, and the other parts still run.
fn section(title: &'static str, check: impl FnOnce() -> Result<Section>) -> Section {
    eprintln!("interop: {title}");
    match check() {
        Ok(section) => section.titled(title),
        Err(error) => {
            let mut section = Section::default();
            section.record("the run itself", "gets to the end", Err(error));
            section.titled(title)
        }
    }
}

fn parse(args: &[String]) -> Result<Options> {
    let mut options =
        Options { version: DEFAULT_VERSION.to_owned(), codex: None, selvedge: None, selftest: false, keep: false };
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let mut value = || rest.next().cloned().ok_or_else(|| Usage(format!("{arg} needs a value\n\n{HELP}")));
        match arg.as_str() {
            "--version" => options.version = value()?,
            "--codex" => options.codex = Some(absolute(&value()?)?),
            "--selvedge" => options.selvedge = Some(absolute(&value()?)?),
            "--selftest" => options.selftest = true,
            "--keep" => options.keep = true,
            _ => return Err(Usage(format!("interop does not know `{arg}`\n\n{HELP}")).into()),
        }
    }
    Ok(options)
}

/// The programs run in other folders than this one.
fn absolute(path: &str) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot find {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_nonsense_is_a_usage_error() {
        let strings = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
        let options = parse(&strings(&["--version", "0.1.2", "--keep"])).unwrap();
        assert_eq!((options.version.as_str(), options.keep, options.selftest), ("0.1.2", true, false));
        assert!(parse(&strings(&["--version"])).err().unwrap().is::<Usage>());
        assert!(parse(&strings(&["--frobnicate"])).err().unwrap().is::<Usage>());
    }
}
