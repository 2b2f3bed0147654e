//! `cargo xtask bench --against`: measures this tree and a commit alternately.

use std::fs;

use anyhow::{Result, bail, ensure};
use serde_json::json;

use super::build::{Program, build};
use super::compare::{Comparison, Side};
use super::measure::{can_count, instructions, times};
use super::options::BenchOptions;
use super::tree::{Built, built_at};
use crate::workspace::root;

const NO_VALGRIND: &str = "SKIPPED: instructions, because valgrind is not installed (apt-get install valgrind)";

/// How often each program runs under callgrind.
const COUNT_ROUNDS: usize = 2;

/// The two programs of the same workloads: that of the commit and that of this tree.
struct Rivals {
    area: &'static str,
    before: Program,
    after: Program,
}

impl Rivals {
    fn of(&self, side: Side) -> &Program {
        match side {
            Side::Before => &self.before,
            Side::After => &self.after,
        }
    }
}

pub(super) fn run(commit: &str, options: &BenchOptions) -> Result<()> {
    let counts = can_count();
    ensure!(counts || options.rounds > 0, "nothing to do without rounds. {NO_VALGRIND}");
    let built = built_at(commit, &options.compared())?;
    let rivals = rivals(&built)?;
    let comparison = measure(&rivals, options.rounds, if counts { COUNT_ROUNDS } else { 0 })?;
    let over = comparison.over(options.bounds);
    if options.json {
        println!("{:#}", json(&built, options, &comparison, &over, counts));
    } else {
        print(&built, options, &comparison);
    }
    if !counts {
        eprintln!("{NO_VALGRIND}");
    }
    for workload in comparison.not_compared() {
        eprintln!("not compared, because only one of the two measures it: {workload}");
    }
    for area in options.compared() {
        ensure!(comparison.says_something_of(area), "the two have no workload of area {area} in common");
    }
    if !over.is_empty() {
        bail!("more than before:\n  {}", over.join("\n  "));
    }
    Ok(())
}

/// Builds this tree and pairs its programs with those of the commit.
fn rivals(built: &Built) -> Result<Vec<Rivals>> {
    let mut rivals = Vec::new();
    for of_area in &built.areas {
        for after in build(&root(), None, of_area.area)? {
            let before = of_area.programs.iter().find(|before| before.folder == after.folder);
            rivals.extend(before.map(|before| Rivals { area: of_area.area, before: before.clone(), after }));
        }
    }
    Ok(rivals)
}

fn measure(rivals: &[Rivals], rounds: usize, count_rounds: usize) -> Result<Comparison> {
    let mut comparison = Comparison::default();
    for rival in rivals {
        let folder = &rival.after.folder;
        eprintln!("{} in {folder}: {rounds} rounds for time, {count_rounds} for instructions", rival.area);
        for round in 0..rounds {
            for side in order(round) {
                comparison.take_times(rival.area, side, times(rival.of(side))?);
            }
        }
        for round in 0..count_rounds {
            for side in order(round) {
                comparison.take_instructions(rival.area, side, instructions(rival.of(side))?);
            }
        }
    }
    Ok(comparison)
}

/// The order changes from round to round, because the first program changes the caches and the disk for the second one.
fn order(round: usize) -> [Side; 2] {
    if round.is_multiple_of(2) { [Side::Before, Side::After] } else { [Side::After, Side::Before] }
}

fn print(built: &Built, options: &BenchOptions, comparison: &Comparison) {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    println!("this tree against {}, {} rounds (load {load})", built.commit, options.rounds);
    for area in &built.areas {
        println!("{}: measured there by the benchmarks of {}", area.area, area.whose);
    }
    println!("\n{}", comparison.table());
}

fn json(
    built: &Built,
    options: &BenchOptions,
    comparison: &Comparison,
    over: &[String],
    counts: bool,
) -> serde_json::Value {
    let whose = built.areas.iter().map(|area| (area.area.to_owned(), json!(area.whose)));
    json!({
        "against": built.commit,
        "rounds": options.rounds,
        "bounds": {"time": options.bounds.time, "instructions": options.bounds.instructions},
        "benchmarks_of": whose.collect::<serde_json::Map<_, _>>(),
        "skipped": if counts { None } else { Some(NO_VALGRIND) },
        "workloads": comparison.json(),
        "not_compared": comparison.not_compared(),
        "over": over,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_programs_alternates() {
        assert_eq!(order(0), [Side::Before, Side::After]);
        assert_eq!(order(1), [Side::After, Side::Before]);
        assert_eq!(order(2), order(0));
    }
}
