//! The command line: the options of the program, and one verb.

use clap::Parser;

use crate::commands::VerbArgs;
use crate::global_options::GlobalOptions;

/// Keeps the threads of AI agents: shows, finds, resumes, forks and rewinds them.
///
/// Threads are read and written in place, in the rollout format of Codex. A command refers to a thread by its id, by
/// a unique prefix of the id (4 characters or more), or by its exact name.
#[derive(Debug, Parser)]
#[command(name = "selvedge", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalOptions,
    /// `None` shows an overview on a terminal.
    #[command(subcommand)]
    pub(crate) verb: Option<VerbArgs>,
}

const AFTER_HELP: &str = "\
Store: --store or --home, else SELVEDGE_STORE, else SELVEDGE_HOME, else CODEX_HOME, else ~/.codex if it exists, else \
~/.selvedge. A store is a home (a directory) or a database (postgres://user@host/database?schema=…&namespace=…); `selvedge \
store init` creates the tables of a database.
Exit codes: 0 done, 1 failure (of doctor: findings), 2 usage, 3 not found, 4 conflict (another process writes the \
thread, other threads depend on it, or Codex would not notice the change), 130 nothing chosen (pick).

Without a command, `selvedge` says on a terminal what it finds.

Examples:
  selvedge demo                   a tour on recorded threads, in a temporary folder
  selvedge list                   the threads with the newest updates
  selvedge show 01a1fd5d-aacb     one thread as a transcript
  selvedge search 'connection reset'
  selvedge show \"$(selvedge pick)\"";
