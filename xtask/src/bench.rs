//! `cargo xtask bench`: the known benchmarks by name, so that nobody has to remember where each one lives.

use anyhow::Result;

use crate::workspace::{Usage, cargo, run_command};

pub(crate) const HELP: &str = "\
usage: cargo xtask bench [<name>] [-- <arguments of the benchmark>...]

  append   items a second through the recorder, the store and LiveThread, against a bare write loop
  context  time and memory to load the model context of a 1 GB thread, against reading its tail alone
  fork     time, bytes and memory to fork and to rewind a 1 GB thread
  sync     items a second at level synced: what syncs of one thread share, and 64 threads against bare loops
  index    building, following and asking the index: 10,000 threads of 30 kB, 100 of 10 MB, two of 100 MB; and what a list
           takes from the start of the program and in a running one

Without a name all of them, one after the other.";

/// A benchmark: `cargo bench -p <package> --bench <name>`. Those of one name belong together.
struct Bench {
    name: &'static str,
    package: &'static str,
}

const BENCHES: &[Bench] = &[
    Bench { name: "append", package: "selvedge-thread-manager" },
    Bench { name: "context", package: "selvedge-thread-store-local" },
    Bench { name: "fork", package: "selvedge-thread-store-local" },
    Bench { name: "sync", package: "selvedge-thread-store-local" },
    Bench { name: "index", package: "selvedge-state" },
    Bench { name: "index", package: "selvedge-cli" },
];

pub(crate) fn run(args: &[String]) -> Result<()> {
    let (ours, theirs) = split(args);
    let chosen: Vec<&Bench> = match ours {
        [] => BENCHES.iter().collect(),
        [name] => find(name)?,
        [_, extra, ..] => {
            return Err(Usage(format!("one benchmark at a time: what is `{extra}`?")).into());
        }
    };
    // One that does not hold what is asked keeps none of the others from being run.
    let mut outcome = Ok(());
    for bench in chosen {
        let mut command = cargo(&["bench", "-p", bench.package, "--bench", bench.name]);
        outcome = outcome.and(run_command(command.arg("--").args(theirs)));
    }
    outcome
}

fn split(args: &[String]) -> (&[String], &[String]) {
    match args.iter().position(|arg| arg == "--") {
        Some(at) => (&args[..at], &args[at + 1..]),
        None => (args, &[]),
    }
}

fn find(name: &str) -> Result<Vec<&'static Bench>> {
    let found: Vec<&Bench> = BENCHES.iter().filter(|bench| bench.name == name).collect();
    if found.is_empty() {
        let mut known: Vec<&str> = BENCHES.iter().map(|bench| bench.name).collect();
        known.dedup();
        return Err(Usage(format!("there is no benchmark `{name}`; there is: {}", known.join(", "))).into());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_benchmark_is_a_usage_error() {
        let error = run(&["apend".to_owned()]).unwrap_err();
        assert!(error.is::<Usage>());
        assert!(error.to_string().contains("append"));
    }
}
