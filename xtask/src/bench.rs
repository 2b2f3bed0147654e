//! `cargo xtask bench`: runs benchmarks by the name of their area, or compares them with those of a commit.

mod against;
mod benchmarks;
mod build;
mod compare;
mod measure;
mod options;
mod tree;

use anyhow::Result;

use self::benchmarks::BENCHMARKS;
use self::options::BenchOptions;
use crate::workspace::{cargo, run_command};

pub(crate) const HELP: &str = "\
usage: cargo xtask bench [<area>] [-- <arguments of the benchmark>...]
       cargo xtask bench [<area>] --against <commit> [--rounds <n>] [--max-time <ratio>] [--max-instructions <ratio>] [--json]

  append   items a second through the recorder, the store and LiveThread, against a bare write loop
  context  time and memory to load the model context of a 1 GB thread, against reading its tail alone
  fork     time, bytes and memory to fork and to rewind a 1 GB thread
  sync     items a second at level synced: what syncs of one thread share, and 64 threads against bare loops
  index    building, updating and querying the index: 10,000 threads of 30 kB, 100 of 10 MB, two of 100 MB; and the time of a
           list from the start of the program and in a running one
  postgres the store on a PostgreSQL server of its own: appends and imports against bare inserts, reads of a thread of 100 MB, searches and
           lists over 100,000 threads; not compared with --against
  viewer   how long pages of the viewer take over 10,000 threads and two of 100 MB, how soon a live line is on its page, and the
           memory of the server; nothing of it is compared with --against

Without an area it runs all of them, one after the other.

With --against, the small fixed workloads of the area are measured alternately in this tree (with uncommitted changes) and in
the commit. It fails if a workload costs more than the bounds allow.

  --against <commit>           what to compare with: HEAD~1, a tag, a hash
  --rounds <n>                 how often each of the two programs runs, 15 by default; the order changes from round to round.
                               0 measures no times and counts instructions only
  --max-time <ratio>           the largest allowed ratio of times, 1.10 by default
  --max-instructions <ratio>   the largest allowed ratio of instructions, 1.05 by default
  --json                       print the result as JSON, for scripts

A time is the best of 5 within one run. The ratio is the median of the ratios of all rounds, printed with their quartiles. It is
not the ratio of the two medians, because a busy machine slows both sides of a round. Instructions are those of all threads
under callgrind, the smallest of 4 counts in 2 runs. Most counts vary by less than 1%; those of rewinds, and of workloads whose
threads wait for each other (area sync, updates of the index), by less than 3%. Without valgrind they are not measured (apt-get install valgrind).

The commit is checked out and built in target/bench-against, where its programs are kept for the next comparison. Both sides are
measured by the benchmarks of this tree if they compile in the commit, otherwise by those of the commit, otherwise by the first later
ones that can be compared. Docs: docs/decisions/0016-a-change-is-held-against-its-parent.md";

pub(crate) fn run(args: &[String]) -> Result<()> {
    let options = BenchOptions::parse(args)?;
    match &options.against {
        Some(commit) => against::run(commit, &options),
        None => run_benchmarks(&options),
    }
}

fn run_benchmarks(options: &BenchOptions) -> Result<()> {
    // A benchmark that fails must not keep the others from running.
    let mut outcome = Ok(());
    for bench in BENCHMARKS.iter().filter(|bench| options.has(bench.area)) {
        let mut command = cargo(&["bench", "-p", bench.package, "--bench", bench.name]);
        outcome = outcome.and(run_command(command.arg("--").args(&options.theirs)));
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Usage;

    #[test]
    fn an_unknown_benchmark_is_a_usage_error() {
        let error = run(&["apend".to_owned()]).unwrap_err();
        assert!(error.is::<Usage>());
        assert!(error.to_string().contains("append"));
    }
}
