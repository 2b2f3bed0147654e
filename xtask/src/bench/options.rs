//! The command line of `bench`, and the benchmarks that it can name.

use anyhow::Result;

use super::benchmarks::{BENCHMARKS, Benchmark};
use super::compare::Bounds;
use crate::workspace::Usage;

/// Options that apply to a comparison only.
const OF_A_COMPARISON: [&str; 4] = ["--rounds", "--max-time", "--max-instructions", "--json"];

/// The parsed command line.
#[derive(Debug, PartialEq)]
pub(super) struct BenchOptions {
    /// `None` means all areas.
    pub(super) area: Option<String>,
    pub(super) against: Option<String>,
    pub(super) rounds: usize,
    pub(super) bounds: Bounds,
    pub(super) json: bool,
    /// Arguments that are passed to the benchmarks.
    pub(super) theirs: Vec<String>,
}

impl BenchOptions {
    pub(super) fn parse(args: &[String]) -> Result<Self> {
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
            (Some(_), _) if options.compared().is_empty() => {
                Err(Usage("this benchmark has no small workloads, which a comparison measures".into()).into())
            }
            _ => Ok(options),
        }
    }

    fn take_area(&mut self, area: &str) -> Result<()> {
        if self.area.is_some() {
            return Err(Usage(format!("one benchmark at a time: what is `{area}`?")).into());
        }
        let all = areas(|_| true);
        if !all.contains(&area) {
            return Err(Usage(format!("there is no benchmark `{area}`; the benchmarks are: {}", all.join(", "))).into());
        }
        self.area = Some(area.to_owned());
        Ok(())
    }

    pub(super) fn has(&self, area: &str) -> bool {
        self.area.as_deref().is_none_or(|wanted| wanted == area)
    }

    /// Returns the areas that a comparison measures.
    pub(super) fn compared(&self) -> Vec<&'static str> {
        areas(|bench| bench.has_workloads && self.has(bench.area))
    }
}

fn areas(are_wanted: impl Fn(&Benchmark) -> bool) -> Vec<&'static str> {
    let mut areas: Vec<&str> = BENCHMARKS.iter().filter(|bench| are_wanted(bench)).map(|bench| bench.area).collect();
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

    fn parse(args: &[&str]) -> Result<BenchOptions> {
        BenchOptions::parse(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn without_an_area_all_benchmarks_run() {
        let options = parse(&[]).unwrap();
        assert!(BENCHMARKS.iter().all(|bench| options.has(bench.area)));
        assert_eq!(options.compared(), ["append", "context", "fork", "sync", "index"]);
        assert_eq!(options.against, None);
    }

    #[test]
    fn an_area_and_the_arguments_of_its_benchmark_are_read() {
        let options = parse(&["index", "--", "--threads", "1000"]).unwrap();
        assert_eq!(options.compared(), ["index"]);
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
        let wrong: [&[&str]; 10] = [
            &["viewer", "--against", "HEAD"],
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
