//! `cargo xtask bench`: the known benchmarks by name, so that nobody has to remember where each one lives, and what a change
//! costs them.

mod against;
mod build;
mod compare;
mod measure;
mod tree;

use anyhow::Result;

use self::compare::Bounds;
use crate::workspace::{Usage, cargo, run_command};

pub(crate) const HELP: &str = "\
usage: cargo xtask bench [<area>] [-- <arguments of the benchmark>...]
       cargo xtask bench [<area>] --against <commit> [--rounds <n>] [--max-time <ratio>] [--max-instructions <ratio>] [--json]

  append   items a second through the recorder, the store and LiveThread, against a bare write loop
  context  time and memory to load the model context of a 1 GB thread, against reading its tail alone
  fork     time, bytes and memory to fork and to rewind a 1 GB thread
  sync     items a second at level synced: what syncs of one thread share, and 64 threads against bare loops
  index    building, following and asking the index: 10,000 threads of 30 kB, 100 of 10 MB, two of 100 MB; and what a list
           takes from the start of the program and in a running one

Without an area all of them, one after the other.

With --against the area's workloads, which are small and always the same, are measured in this tree, as it lies here, and in
the commit, by turns. It fails if anything costs more than the bounds say.

  --against <commit>           what to compare with: HEAD~1, a tag, a hash
  --rounds <n>                 how often each of the two programs runs, 15 by default; the order changes from round to round.
                               0 leaves the times out and counts instructions only
  --max-time <ratio>           the most time that is allowed, 1.10 by default
  --max-instructions <ratio>   the most instructions that are allowed, 1.05 by default
  --json                       the outcome as JSON, for scripts

A time is the best of 5 within one run. The ratio is the median of the rounds' own ratios, with their quartiles beside it, and
not the one of the two medians: on a busy machine both sides of a round suffer alike. Instructions are those of all threads
under callgrind, the least of 4 times in 2 runs. Most come out the same within 1%, rewinds and those where many threads wait
for each other (area sync, syncs of the index) within 3%. Without valgrind they are left out (apt-get install valgrind).

The commit is checked out and built in target/bench-against, where its programs are kept for the next time. Both sides are
measured by the benchmarks of this tree if they compile in the commit, else by those of the commit, else by the first ones
after it that can be compared. Docs: docs/decisions/0016-a-change-is-held-against-its-parent.md";

/// A benchmark: `cargo bench -p <package> --bench <area>`. Those of one area belong together.
struct Bench {
    area: &'static str,
    package: &'static str,
}

const BENCHES: &[Bench] = &[
    Bench { area: "append", package: "selvedge-thread-manager" },
    Bench { area: "context", package: "selvedge-thread-store-local" },
    Bench { area: "fork", package: "selvedge-thread-store-local" },
    Bench { area: "sync", package: "selvedge-thread-store-local" },
    Bench { area: "index", package: "selvedge-state" },
    Bench { area: "index", package: "selvedge-cli" },
];

/// Options that say something of a comparison.
const OF_A_COMPARISON: [&str; 4] = ["--rounds", "--max-time", "--max-instructions", "--json"];

/// What the command line asks for.
#[derive(Debug, PartialEq)]
struct Options {
    /// All of them if there is none.
    area: Option<String>,
    against: Option<String>,
    rounds: usize,
    bounds: Bounds,
    json: bool,
    /// Arguments of the benchmarks themselves.
    theirs: Vec<String>,
}

pub(crate) fn run(args: &[String]) -> Result<()> {
    let options = Options::parse(args)?;
    match &options.against {
        Some(commit) => against::run(commit, &options),
        None => run_benchmarks(&options),
    }
}

fn run_benchmarks(options: &Options) -> Result<()> {
    // One that does not hold what is asked keeps none of the others from being run.
    let mut outcome = Ok(());
    for bench in BENCHES.iter().filter(|bench| options.has(bench.area)) {
        let mut command = cargo(&["bench", "-p", bench.package, "--bench", bench.area]);
        outcome = outcome.and(run_command(command.arg("--").args(&options.theirs)));
    }
    outcome
}

impl Options {
    fn parse(args: &[String]) -> Result<Self> {
        let mut options =
            Self { area: None, against: None, rounds: 15, bounds: Bounds::default(), json: false, theirs: Vec::new() };
        let mut only_against = None;
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| Usage(format!("{arg} needs a value")));
            match arg.as_str() {
                "--against" => options.against = Some(value()?.clone()),
                "--rounds" => options.rounds = number(arg, value()?)?,
                "--max-time" => options.bounds.time = ratio(arg, value()?)?,
                "--max-instructions" => options.bounds.instructions = ratio(arg, value()?)?,
                "--json" => options.json = true,
                "--" => options.theirs.extend(args.by_ref().cloned()),
                flag if flag.starts_with('-') => return Err(Usage(format!("bench has no option {flag}")).into()),
                area => options.take_area(area)?,
            }
            only_against = only_against.or(OF_A_COMPARISON.iter().find(|flag| *flag == arg));
        }
        match (&options.against, only_against) {
            (None, Some(flag)) => Err(Usage(format!("{flag} goes with --against")).into()),
            (Some(_), _) if !options.theirs.is_empty() => {
                Err(Usage("a comparison has no arguments for the benchmarks".into()).into())
            }
            _ => Ok(options),
        }
    }

    fn take_area(&mut self, area: &str) -> Result<()> {
        if self.area.is_some() {
            return Err(Usage(format!("one benchmark at a time: what is `{area}`?")).into());
        }
        if !areas().contains(&area) {
            return Err(Usage(format!("there is no benchmark `{area}`; there is: {}", areas().join(", "))).into());
        }
        self.area = Some(area.to_owned());
        Ok(())
    }

    fn has(&self, area: &str) -> bool {
        self.area.as_deref().is_none_or(|wanted| wanted == area)
    }

    fn areas(&self) -> Vec<&'static str> {
        areas().into_iter().filter(|area| self.has(area)).collect()
    }
}

fn areas() -> Vec<&'static str> {
    let mut areas: Vec<&str> = BENCHES.iter().map(|bench| bench.area).collect();
    areas.dedup();
    areas
}

fn number(flag: &str, text: &str) -> Result<usize> {
    text.parse().map_err(|_| Usage(format!("{flag} takes a number, not {text:?}")).into())
}

fn ratio(flag: &str, text: &str) -> Result<f64> {
    let ratio = text.parse().ok().filter(|ratio: &f64| ratio.is_finite() && *ratio > 0.0);
    ratio.ok_or_else(|| Usage(format!("{flag} takes a ratio such as 1.10, not {text:?}")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options> {
        Options::parse(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn an_unknown_benchmark_is_a_usage_error() {
        let error = run(&["apend".to_owned()]).unwrap_err();
        assert!(error.is::<Usage>());
        assert!(error.to_string().contains("append"));
    }

    #[test]
    fn without_an_area_all_of_them() {
        let options = parse(&[]).unwrap();
        assert_eq!(options.areas(), ["append", "context", "fork", "sync", "index"]);
        assert_eq!(options.against, None);
    }

    #[test]
    fn an_area_and_what_its_benchmark_is_told() {
        let options = parse(&["index", "--", "--threads", "1000"]).unwrap();
        assert_eq!(options.areas(), ["index"]);
        assert_eq!(options.theirs, ["--threads", "1000"]);
    }

    #[test]
    fn a_comparison_has_bounds_and_rounds() {
        let options = parse(&["fork", "--against", "HEAD~1"]).unwrap();
        assert_eq!(options.against.as_deref(), Some("HEAD~1"));
        assert_eq!((options.rounds, options.bounds), (15, Bounds { time: 1.10, instructions: 1.05 }));
        let flags = ["--rounds", "3", "--max-time", "1.5", "--max-instructions", "1.01", "--json"];
        let options = parse(&[&["--against", "v1"], &flags[..]].concat()).unwrap();
        assert_eq!((options.rounds, options.bounds), (3, Bounds { time: 1.5, instructions: 1.01 }));
        assert!(options.json);
    }

    #[test]
    fn wrong_options_are_usage_errors() {
        let wrong: [&[&str]; 9] = [
            &["append", "fork"],
            &["--against"],
            &["--quick"],
            &["--against", "HEAD", "--rounds", "many"],
            &["--against", "HEAD", "--max-time", "fast"],
            &["--against", "HEAD", "--max-time", "NaN"],
            &["--against", "HEAD", "--max-instructions", "0"],
            &["--against", "HEAD", "--", "--threads", "1000"],
            &["append", "--rounds", "3"],
        ];
        for args in wrong {
            assert!(parse(args).unwrap_err().is::<Usage>(), "{args:?}");
        }
    }
}
