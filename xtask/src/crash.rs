//! `cargo xtask crash`: kills writers at random moments and checks whether anything was lost.

mod lane;
mod reader;
mod totals;

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};

use self::lane::Lane;
use self::totals::CrashTotals;
use crate::workspace::{Usage, cargo, root, run_command};

pub(crate) const HELP: &str = "\
usage: cargo xtask crash [<seconds>] [--seed <number>]

Runs writers that append, compact, fork and rewind at random, at both levels of durability, and kills them (SIGKILL) at random
moments, for 60 seconds or the given time. After each death a plain reader of JSON lines, which shares no code with
the crates, checks that everything that the writer acknowledged is stored, once and in order. Then the next writer continues
the same threads. A violation is reported with the seed.";

/// How many writers run at the same time, each with its own threads in the same home.
const LANES: u64 = 3;
/// After how many deaths the writers get new threads. Until then each writer reads what all writers before it wrote.
const ROUNDS_PER_THREADS: u64 = 25;

pub(crate) fn run(args: &[String]) -> Result<()> {
    let (seconds, seed) = parse(args)?;
    run_for(Duration::from_secs(seconds), seed)
}

/// Kills writers for some time.
pub(crate) fn run_for(duration: Duration, seed: u64) -> Result<()> {
    let program = build()?;
    let dir = tempfile::tempdir()?;
    println!("crash: seed {seed}, {} s, {LANES} writers at a time", duration.as_secs());
    let end = Instant::now() + duration;
    let outcomes: Vec<Result<CrashTotals>> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES)
            .map(|number| {
                let (program, home) = (&program, dir.path().join("home"));
                scope.spawn(move || kill_until(end, Lane::new(program, &home, seed, number)))
            })
            .collect();
        lanes
            .into_iter()
            .map(|lane| lane.join().unwrap_or_else(|_| bail!("a thread of this program panicked")))
            .collect()
    });
    let mut total = CrashTotals::default();
    for outcome in outcomes {
        match outcome {
            Ok(tally) => total.add(&tally),
            Err(error) => {
                let kept = dir.keep();
                return Err(
                    error.context(format!("a violation, with seed {seed}; the home is kept in {}", kept.display()))
                );
            }
        }
    }
    if let Some(stray) = reader::stray(&dir.path().join("home"))? {
        bail!("{} was left behind, with seed {seed}", stray.display());
    }
    println!(
        "crash: {} writers killed, {} operations acknowledged ({} synced), {} in flight; nothing lost, doubled or out of order",
        total.deaths, total.acknowledged, total.synced, total.in_flight
    );
    Ok(())
}

fn kill_until(end: Instant, mut lane: Lane<'_>) -> Result<CrashTotals> {
    let mut tally = CrashTotals::default();
    while Instant::now() < end {
        for _ in 0..ROUNDS_PER_THREADS {
            lane.round(&mut tally)?;
            if Instant::now() >= end {
                break;
            }
        }
        // At the end a writer must be able to continue the threads, and must leave no temporary files.
        lane.end()?;
    }
    Ok(tally)
}

fn parse(args: &[String]) -> Result<(u64, u64)> {
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (mut seconds, mut seed) = (60, clock.as_secs() | 1);
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let (place, text) = if arg == "--seed" {
            (&mut seed, rest.next().ok_or_else(|| Usage("--seed takes a number".to_owned()))?)
        } else {
            (&mut seconds, arg)
        };
        *place = text.parse().map_err(|_| Usage(format!("`{text}` is not a number")))?;
    }
    // The generator of random numbers never leaves 0.
    Ok((seconds, seed.max(1)))
}

/// Builds the writer and returns its path.
fn build() -> Result<PathBuf> {
    run_command(&mut cargo(&["build", "--release", "-p", "selvedge-thread-manager", "--example", "crash_writer"]))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let program = target.join("release/examples").join(format!("crash_writer{}", std::env::consts::EXE_SUFFIX));
    std::fs::metadata(&program).with_context(|| format!("the writer is not at {}", program.display()))?;
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_seed_are_numbers() {
        let strings = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
        assert_eq!(parse(&strings(&["5", "--seed", "7"])).unwrap(), (5, 7));
        assert_eq!(parse(&[]).unwrap().0, 60);
        assert!(parse(&strings(&["soon"])).unwrap_err().is::<Usage>());
        assert!(parse(&strings(&["--seed"])).unwrap_err().is::<Usage>());
    }
}
