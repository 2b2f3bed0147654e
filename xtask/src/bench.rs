//! `cargo xtask bench`: the known benchmarks by name, so that nobody has to remember where each one lives.

use anyhow::Result;

use crate::workspace::{Usage, cargo, run_command};

pub(crate) const HELP: &str = "\
usage: cargo xtask bench [<name>] [-- <arguments of the benchmark>...]

  append   items a second through the recorder, the store and LiveThread, against a bare write loop
  context  time and memory to load the model context of a 1 GB thread, against reading its tail alone
  fork     time, bytes and memory to fork and to rewind a 1 GB thread
  sync     items a second at level synced: what syncs of one thread share, and 64 threads against bare loops
  index    building, following and asking the index of 10,000 threads of 30 kB

Without a name all of them, one after the other.";

/// A benchmark: `cargo bench -p <package> --bench <name>`.
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
];

pub(crate) fn run(args: &[String]) -> Result<()> {
    let (ours, theirs) = split(args);
    let chosen: Vec<&Bench> = match ours {
        [] => BENCHES.iter().collect(),
        [name] => vec![find(name)?],
        [_, extra, ..] => {
            return Err(Usage(format!("one benchmark at a time: what is `{extra}`?")).into());
        }
    };
    for bench in chosen {
        let mut command = cargo(&["bench", "-p", bench.package, "--bench", bench.name]);
        run_command(command.arg("--").args(theirs))?;
    }
    Ok(())
}

fn split(args: &[String]) -> (&[String], &[String]) {
    match args.iter().position(|arg| arg == "--") {
        Some(at) => (&args[..at], &args[at + 1..]),
        None => (args, &[]),
    }
}

fn find(name: &str) -> Result<&'static Bench> {
    let known: Vec<&str> = BENCHES.iter().map(|bench| bench.name).collect();
    let found = BENCHES.iter().find(|bench| bench.name == name);
    found.ok_or_else(|| Usage(format!("there is no benchmark `{name}`; there is: {}", known.join(", "))).into())
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
