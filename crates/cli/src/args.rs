//! The command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ColorChoice, Parser, Subcommand, ValueEnum};
use selvedge_history::TextSearch;
use selvedge_protocol::{Durability, HistoryMode, StatsKey, ThreadId, ThreadSortKey, Timestamp};

use crate::app::now;

/// Keeps the threads of AI agents: shows, finds, resumes, forks and rewinds them.
///
/// Threads are read and written where they are, in the rollout format of Codex. A thread is named by its id, by the
/// beginning of one (4 characters or more) if no other begins so, or by its exact name.
#[derive(Debug, Parser)]
#[command(name = "selvedge", version, arg_required_else_help = true, max_term_width = 100, after_help = AFTER)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const AFTER: &str = "\
Home: --home, else SELVEDGE_HOME, else CODEX_HOME, else ~/.codex if it is there, else ~/.selvedge.
Exit codes: 0 done, 1 failure (of doctor: findings), 2 usage, 3 not found, 4 conflict (another process writes the thread, or forks are \
built on it), 130 nothing chosen (pick).

Examples:
  selvedge demo                   a tour on recorded threads, in a temporary folder
  selvedge list                   the threads that were updated last
  selvedge show 01a1fd5d-aacb     one thread as a transcript
  selvedge search 'connection reset'
  selvedge show \"$(selvedge pick)\"";

/// Options of every verb.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Home that holds the threads
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub(crate) home: Option<PathBuf>,
    /// Print JSON, for scripts
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,
    /// How safe what is written has to be before the program says so: written survives the end of any program, synced a power
    /// loss, too [default: SELVEDGE_DURABILITY, else written]
    #[arg(long, global = true, value_name = "LEVEL", help_heading = "Global options")]
    pub(crate) durability: Option<Level>,
    /// Where the index is: a file, or off to have every answer from the logs [default: SELVEDGE_INDEX, else
    /// selvedge-index.sqlite in the home]
    #[arg(long, global = true, value_name = "FILE|off", help_heading = "Global options")]
    pub(crate) index: Option<PathBuf>,
    /// When to use colour; by itself it is used on terminals, and NO_COLOR and CLICOLOR_FORCE are obeyed
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", help_heading = "Global options")]
    pub(crate) color: ColorChoice,
}

/// A level of durability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// Survives the end of any program
    Written,
    /// Survives a power loss
    Synced,
}

impl From<Level> for Durability {
    fn from(level: Level) -> Self {
        match level {
            Level::Written => Self::Written,
            Level::Synced => Self::Synced,
        }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// List threads, newest update first
    List(ListArgs),
    /// Show a thread as a transcript
    Show(ShowArgs),
    /// Show what the model would see next
    Context(ContextArgs),
    /// Write a thread's resolved history as JSONL, in its original bytes
    Export(ExportArgs),
    /// Follow a thread while other processes write it
    Tail(TailArgs),
    /// Start a thread and print its id
    New(NewArgs),
    /// Append items from standard input to a thread
    Append(AppendArgs),
    /// Make a thread that begins with the history of another, and print its id
    Fork(ForkArgs),
    /// Take back a thread's newest turns
    Rewind(RewindArgs),
    /// Give a thread a name, or take it away
    Rename(RenameArgs),
    /// Take a thread out of the list; it keeps everything
    Archive(OneThread),
    /// Bring a thread back from the archive
    Unarchive(OneThread),
    /// Compress the files of threads that nobody writes
    Compress(CompressArgs),
    /// Delete a thread for good
    Delete(DeleteArgs),
    /// Find threads that hold a text
    Search(SearchArgs),
    /// Choose a thread on the terminal, and print its id
    Pick(PickArgs),
    /// Draw forks and sub-agents below the threads that they come from
    Tree(TreeArgs),
    /// Add up threads, turns, tokens and bytes by day, project, model or source
    Stats(StatsArgs),
    /// Look at the index beside the logs, bring it up to date, or make it anew
    Index(IndexArgs),
    /// Check the files of a home, and mend what can be mended
    Doctor(DoctorArgs),
    /// Take a tour on recorded threads, in a temporary folder
    Demo(DemoArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
}

/// What to do with the index.
#[derive(Debug, Args)]
pub(crate) struct IndexArgs {
    #[command(subcommand)]
    pub(crate) verb: IndexVerb,
}

/// What to do with the index.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum IndexVerb {
    /// Say where it is, what it holds, and what it has not taken in yet; changes nothing
    Status,
    /// Look at every file and take in what changed
    Sync {
        /// Say nothing, and leave it to another process that is at it already
        #[arg(long, hide = true)]
        background: bool,
    },
    /// Forget everything and read every thread again
    Rebuild,
}

/// A verb on one thread.
#[derive(Debug, Args)]
pub(crate) struct OneThread {
    /// Thread: id, unique beginning of one, or name
    #[arg(value_name = "ID")]
    pub(crate) thread: String,
}

/// Which threads to look at, and in which order.
#[derive(Debug, Args)]
pub(crate) struct Filters {
    /// Active and archived threads
    #[arg(long, conflicts_with = "archived")]
    pub(crate) all: bool,
    /// Archived threads only
    #[arg(long)]
    pub(crate) archived: bool,
    /// How many threads at most [default: 50 for people, no limit with --json]
    #[arg(long, short = 'n', value_name = "N")]
    pub(crate) limit: Option<NonZeroUsize>,
    /// Where to go on: the cursor that the page before gave
    #[arg(long, value_name = "CURSOR")]
    pub(crate) cursor: Option<String>,
    /// What to sort by [default: updated]
    #[arg(long, value_name = "KEY")]
    pub(crate) sort: Option<Sort>,
    /// Oldest first
    #[arg(long)]
    pub(crate) ascending: bool,
    /// Threads that work in this directory
    #[arg(long, value_name = "DIR", conflicts_with = "under")]
    pub(crate) cwd: Option<PathBuf>,
    /// Threads that work in this directory or below it
    #[arg(long, value_name = "DIR")]
    pub(crate) under: Option<PathBuf>,
    /// Threads from this source (cli, exec, vscode, subagent, …); may be given again
    #[arg(long, value_name = "SOURCE")]
    pub(crate) source: Vec<String>,
    /// Threads with this model; may be given again
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Vec<String>,
    /// Threads with this model provider; may be given again
    #[arg(long, value_name = "PROVIDER")]
    pub(crate) provider: Vec<String>,
    /// Threads on this git branch
    #[arg(long, value_name = "BRANCH")]
    pub(crate) branch: Option<String>,
    /// Threads in this git repository: its URL in any spelling, or how that ends: owner/name, or name
    #[arg(long, value_name = "REPOSITORY", value_parser = not_empty)]
    pub(crate) repository: Option<String>,
    /// Threads that have a name
    #[arg(long, conflicts_with = "unnamed")]
    pub(crate) named: bool,
    /// Threads that have none
    #[arg(long)]
    pub(crate) unnamed: bool,
    /// Not older than this, by the sort key: 2026-11-21, 2026-11-21T09:00:00Z, or an age such as 90m, 12h, 3d, 2w
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) since: Option<Timestamp>,
    /// Older than this, by the sort key
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) until: Option<Timestamp>,
    /// Threads that were forked from this one, or started by it
    #[arg(long, value_name = "ID")]
    pub(crate) child_of: Option<String>,
    /// Threads that come from this one through any number of forks and sub-agents
    #[arg(long, value_name = "ID", conflicts_with = "child_of")]
    pub(crate) descendant_of: Option<String>,
}

/// What threads are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sort {
    /// When the log last grew
    Updated,
    /// When the thread was created
    Created,
    /// When the newest turn began
    Recency,
}

impl Sort {
    /// The key as the store knows it.
    pub(crate) fn key(self) -> ThreadSortKey {
        match self {
            Self::Updated => ThreadSortKey::UpdatedAt,
            Self::Created => ThreadSortKey::CreatedAt,
            Self::Recency => ThreadSortKey::RecencyAt,
        }
    }
}

/// In which order a search gives threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Order {
    /// Those first that have most to do with the text
    Best,
    /// As --sort and --ascending say
    Sorted,
}

/// `selvedge list`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  selvedge list --under . --since 3d
  selvedge list --all --json | jq -r '.[].id'
  selvedge list --search zebra --sort created --ascending")]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) filters: Filters,
    /// Threads whose name or preview holds this text
    #[arg(long, value_name = "TEXT")]
    pub(crate) search: Option<String>,
}

/// `selvedge show`
#[derive(Debug, Args)]
#[command(after_help = "\
With --json: {thread, turns: [{id, status, started_at, completed_at, items: [{type, …}]}]}.

Examples:
  selvedge show 01a1fd5d-aacb
  selvedge show 'Thread on zebras' --last 3 --full
  selvedge show 01a1fd5d-aacb --json | jq '.turns[].items[].type'")]
pub(crate) struct ShowArgs {
    /// Thread: id, unique beginning of one, or name
    #[arg(value_name = "ID")]
    pub(crate) thread: String,
    /// Print long outputs and messages whole
    #[arg(long)]
    pub(crate) full: bool,
    /// Only the newest N turns
    #[arg(long, value_name = "N")]
    pub(crate) last: Option<NonZeroUsize>,
}

/// `selvedge context`
#[derive(Debug, Args)]
#[command(after_help = "\
Off a terminal, or with --json: {history, world_state, window, turn_context}, the items of history verbatim.

Examples:
  selvedge context 01a1fd5d-aacb
  selvedge context 01a1fd5d-aacb --json | jq '.history | length'")]
pub(crate) struct ContextArgs {
    /// Thread: id, unique beginning of one, or name
    #[arg(value_name = "ID")]
    pub(crate) thread: String,
    /// Print long texts whole
    #[arg(long)]
    pub(crate) full: bool,
}

/// `selvedge export`
#[derive(Debug, Args)]
#[command(after_help = "\
The history of a thread that was not forked or rewound is its file, byte for byte; inherited lines come first.

Examples:
  selvedge export 01a1fd5d-aacb > thread.jsonl
  selvedge export 01a1fd5d-aacb -o thread.jsonl")]
pub(crate) struct ExportArgs {
    /// Thread: id, unique beginning of one, or name
    #[arg(value_name = "ID")]
    pub(crate) thread: String,
    /// File to write, whole or not at all; `-` is standard output
    #[arg(long, short = 'o', value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// `selvedge tail`
#[derive(Debug, Args)]
#[command(after_help = "\
Prints the newest lines that show something, each as one, then every line that is added, until it is interrupted (exit 0), nobody \
reads its output (exit 0) or the thread is deleted (exit 3). Nothing is missed and nothing comes twice, whoever writes, and whether the \
thread is archived, compressed or rewound meanwhile. What is damaged is told on standard error; a store that has trouble is asked \
again. If a repair rewrote the history, that is told, and it goes on behind the last line that was printed; where lines have no \
ordinals, with what is written from then on; with --from-start, anew from the beginning.

With --json: an object for each entry of the history, on one line each and written out at once:
  {\"kind\": \"line\", \"at\", \"segment\", \"inherited\", \"line\"}    line: as it is stored
  {\"kind\": \"damage\", \"at\", \"segment\", \"inherited\", \"reason\", \"complete\"}    complete: not gone on with in the next entry
  {\"kind\": \"missing\", \"at\", \"segment\", \"inherited\", \"reason\"}
  {\"kind\": \"rewound\", \"to\"}    the entry at this position and all behind it are undone; all of them, if it was not printed
  {\"kind\": \"rewritten\", \"follows\"}    all: from the beginning; rest: behind the last line; new: from now on

Examples:
  selvedge tail 01a1fd5d-aacb
  selvedge tail 01a1fd5d-aacb -n 0 --json | jq -r 'select(.kind == \"line\") | .line.type'
  selvedge tail 01a1fd5d-aacb --from-start --json > replica.jsonl")]
pub(crate) struct TailArgs {
    /// Thread: id, unique beginning of one, or name
    #[arg(value_name = "ID")]
    pub(crate) thread: String,
    /// Begin with the beginning of the history
    #[arg(long, conflicts_with = "lines")]
    pub(crate) from_start: bool,
    /// How many of the newest lines to begin with
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10)]
    pub(crate) lines: usize,
}

/// `selvedge new`
#[derive(Debug, Args)]
#[command(after_help = "\
A home that is not there is made.

Examples:
  selvedge new --name 'Thread on zebras'
  id=$(selvedge new) && selvedge append $id < items.jsonl")]
pub(crate) struct NewArgs {
    /// How the log is kept
    #[arg(long, value_name = "MODE", default_value = "paginated")]
    pub(crate) mode: Mode,
    /// Directory that the thread works in [default: the current one]
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,
    /// Model
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// Provider of the model. Codex opens only threads whose provider it has configured
    #[arg(long, value_name = "PROVIDER", default_value = "openai")]
    pub(crate) provider: String,
    /// Where the thread comes from: a word, or a JSON object
    #[arg(long, value_name = "SOURCE", default_value = "cli", value_parser = source)]
    pub(crate) source: serde_json::Value,
    /// Name
    #[arg(long, value_name = "NAME", value_parser = one_line)]
    pub(crate) name: Option<String>,
    /// Id [default: a fresh one]
    #[arg(long, value_name = "UUID")]
    pub(crate) id: Option<ThreadId>,
}

/// How a thread's log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// No ordinals, forks by copy: what programs before 2026 read
    Legacy,
    /// An ordinal on every line, forks and rewinds by reference
    Paginated,
}

impl From<Mode> for HistoryMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Legacy => Self::Legacy,
            Mode::Paginated => Self::Paginated,
        }
    }
}

/// `selvedge append`
#[derive(Debug, Args)]
#[command(after_help = "\
Each line of standard input is one item, {\"type\": …, \"payload\": …}; other keys, such as those of an exported line, are \
passed over. After each item that is recorded, the number that the thread has reached is printed: the ordinal of its last \
line, or for a legacy thread the number of its lines. What was acknowledged so survives the death of this program, and with \
--durability synced a power loss. Items that are not kept in a log (deltas, warnings, …) leave the number as it is. The first line that is no item ends it.

Examples:
  selvedge append 01a1fd5d-aacb < items.jsonl
  item='{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"hello\"}]}'
  echo '{\"type\":\"response_item\",\"payload\":'$item'}' | selvedge append 01a1fd5d-aacb")]
pub(crate) struct AppendArgs {
    /// Thread: id, unique beginning of one, or name
    #[arg(value_name = "ID")]
    pub(crate) thread: String,
}

/// `selvedge fork`
#[derive(Debug, Args)]
#[command(after_help = "\
A turn is its id, a unique beginning of one, or its number as `selvedge show` prints it.

Examples:
  selvedge fork 01a1fd5d-aacb
  selvedge fork 01a1fd5d-aacb --after 2 --name 'another way'")]
pub(crate) struct ForkArgs {
    /// Thread: id, unique beginning of one, or name
    #[arg(value_name = "ID")]
    pub(crate) thread: String,
    /// Leave the thread just after this turn [default: after everything]
    #[arg(long, value_name = "TURN", conflicts_with = "before")]
    pub(crate) after: Option<String>,
    /// Leave the thread just before this turn
    #[arg(long, value_name = "TURN")]
    pub(crate) before: Option<String>,
    /// Name of the new thread
    #[arg(long, value_name = "NAME", value_parser = one_line)]
    pub(crate) name: Option<String>,
}

/// `selvedge rewind`
#[derive(Debug, Args)]
#[command(after_help = "\
Nothing is taken from the log: a rewind is one more thing that it tells.

Examples:
  selvedge rewind 01a1fd5d-aacb --turns 1
  selvedge rewind 01a1fd5d-aacb --after 2")]
pub(crate) struct RewindArgs {
    /// Thread: id, unique beginning of one, or name
    #[arg(value_name = "ID")]
    pub(crate) thread: String,
    #[command(flatten)]
    pub(crate) to: RewindPoint,
}

/// What to go back to.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct RewindPoint {
    /// Take back the newest N turns
    #[arg(long, value_name = "N")]
    pub(crate) turns: Option<std::num::NonZeroU64>,
    /// Go back to just before this turn
    #[arg(long, value_name = "TURN")]
    pub(crate) before: Option<String>,
    /// Go back to just after this turn
    #[arg(long, value_name = "TURN")]
    pub(crate) after: Option<String>,
}

/// `selvedge rename`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  selvedge rename 01a1fd5d-aacb 'Thread on zebras'
  selvedge rename 01a1fd5d-aacb --clear")]
pub(crate) struct RenameArgs {
    /// Thread: id, unique beginning of one, or name
    #[arg(value_name = "ID")]
    pub(crate) thread: String,
    /// The new name; an empty one takes the name away
    #[arg(value_name = "NAME", required_unless_present = "clear", value_parser = one_line)]
    pub(crate) name: Option<String>,
    /// Take the name away
    #[arg(long, conflicts_with = "name")]
    pub(crate) clear: bool,
}

/// `selvedge delete`
#[derive(Debug, Args)]
#[command(after_help = "\
Asks first on a terminal. A thread that others are built on is kept, unless --detach gives each of them a history of its \
own first, which costs a copy each.

Examples:
  selvedge delete 01a1fd5d-aacb --yes
  selvedge delete 01a1fd5d-aacb --detach")]
pub(crate) struct DeleteArgs {
    /// Thread: id, unique beginning of one, or name
    #[arg(value_name = "ID")]
    pub(crate) thread: String,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub(crate) yes: bool,
    /// First give each thread that is built on this one its own copy of the history
    #[arg(long)]
    pub(crate) detach: bool,
}

/// `selvedge compress`
#[derive(Debug, Args)]
#[command(after_help = "\
Everything reads a compressed thread as it reads any other, and whoever appends to one decompresses its newest file first. So \
does Codex: it reads compressed rollouts, and decompresses one before it appends. The bytes are kept as they are, damage too, \
and so is the time of the last change. A file goes only when its compressed form is on the medium and was read back.

Threads that somebody writes are left alone; to name one is a conflict. What is compressed already is passed over.

With --json: {threads: [{id, files, bytes_before, bytes_after}], total: {threads, files, bytes_before, bytes_after}, left: \
[{id, reason}]}; with --dry-run bytes_after is null, and nothing is left.

Examples:
  selvedge compress 01a1fd5d-aacb
  selvedge compress --older-than 30 --dry-run
  selvedge compress --older-than 90 --all --json | jq .total")]
pub(crate) struct CompressArgs {
    /// Threads to compress: id, unique beginning of one, or name
    #[arg(value_name = "ID")]
    pub(crate) threads: Vec<String>,
    /// All active threads that were not updated for so many days; an age such as 12h or 2w is taken, too
    #[arg(long, value_name = "DAYS", value_parser = days_ago, conflicts_with = "threads")]
    pub(crate) older_than: Option<Timestamp>,
    /// With --older-than: active and archived threads
    #[arg(long, conflicts_with_all = ["archived", "threads"])]
    pub(crate) all: bool,
    /// With --older-than: archived threads only
    #[arg(long, conflicts_with = "threads")]
    pub(crate) archived: bool,
    /// Say what would be compressed, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `selvedge search`
#[derive(Debug, Args)]
#[command(after_help = "\
Looks, in any case, in names and in what users and agents said, thought and ran.

All terms must stand in the same name, message, command, … A term of 3 characters or more is found within words, a shorter \
one where a word begins; term* where a word begins; \"a phrase\" as it is written, with any white space in it (a quote in it \
is doubled). Of what tools were given and gave, and of what files were changed to, the beginning is searched: 4 KiB of a text, \
16 KiB of an item.

With --json: [{thread, turn_id, turn_number, position, kind, snippet, highlights: [[start, end], …]}]; position is that of the \
item's first line in the thread's history, counted from 0; the highlights are in bytes of the snippet's UTF-8. With --open and \
--json: what `show --json` prints, with the one turn.

Examples:
  selvedge search 'connection reset'
  selvedge search '\"connection reset\" retr*' --repository owner/name
  selvedge search zebra --all --hits 10 --json
  selvedge search zebra --sort created --ascending
  selvedge search 'connection reset' --open")]
pub(crate) struct SearchArgs {
    /// What to find
    #[arg(value_name = "TEXT", value_parser = searchable)]
    pub(crate) text: String,
    /// Whether the best threads come first, or --sort counts [default: best, unless --sort or --ascending is given]
    #[arg(long, value_name = "ORDER")]
    pub(crate) order: Option<Order>,
    /// Print the turn of the first hit, as `selvedge show` prints it; of a hit in a name, the newest turn
    #[arg(long)]
    pub(crate) open: bool,
    /// With --open: print long outputs and messages whole
    #[arg(long, requires = "open")]
    pub(crate) full: bool,
    /// How many places of one thread to give at most
    #[arg(long, value_name = "N", default_value = "3")]
    pub(crate) hits: NonZeroUsize,
    #[command(flatten)]
    pub(crate) filters: Filters,
}

/// `selvedge pick`
#[derive(Debug, Args)]
#[command(after_help = "\
What is typed is looked for in name, first message, directory and branch; letters may be left out, and words stand in any \
order. A capital letter makes case count; 'word is found as it is, ^word and word$ at an end, and !word must not be there.

Keys: Enter chooses, Esc and Ctrl-C leave; Up, Down, Ctrl-P, Ctrl-N, Page Up, Page Down, Home and End move; Ctrl-U and Ctrl-W \
take back what was typed. The newest turns of the thread are shown beside or below the list where there is room.

The choice is made on the terminal itself, so that standard output has nothing but the answer. Whoever leaves gets no answer \
and exit code 130.

Examples:
  selvedge show \"$(selvedge pick)\"
  cd \"$(selvedge pick --print cwd --since 1w)\"
  selvedge pick --under . --query zebra --json | jq .model")]
pub(crate) struct PickArgs {
    /// What is typed already
    #[arg(long, short = 'q', value_name = "TEXT")]
    pub(crate) query: Option<String>,
    /// What to print of the chosen thread
    #[arg(long, value_name = "WHAT", default_value = "id")]
    pub(crate) print: Printed,
    #[command(flatten)]
    pub(crate) filters: Filters,
}

/// What to print of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Printed {
    /// Its id
    Id,
    /// The file of its newest part
    Path,
    /// The directory that it works in
    Cwd,
    /// All that `list --json` says of it
    Json,
}

/// `selvedge tree`
#[derive(Debug, Args)]
#[command(after_help = "\
Archived threads are marked, and so are those that others come from and that are not in the home. Without ID, threads that \
have nothing to do with others are left out, except with --json. Then a tree is \
{id, relation: null, \"fork\" or \"sub_agent\", thread: {…} or null, children: […]}; without ID \
a list of these is printed.

Examples:
  selvedge tree
  selvedge tree 01a1fd5d-aacb
  selvedge tree --json | jq '.[] | select(.children != []) | .id'")]
pub(crate) struct TreeArgs {
    /// Thread whose family to draw: id, unique beginning of one, or name [default: all]
    #[arg(value_name = "ID")]
    pub(crate) thread: Option<String>,
    /// Draw with ASCII letters
    #[arg(long)]
    pub(crate) ascii: bool,
}

/// `selvedge stats`
#[derive(Debug, Args)]
#[command(
    mut_arg("limit", |limit| limit.help("How many rows at most; the rest is added up [default: 30; with --json all are told]")),
    mut_arg("cursor", |cursor| cursor.hide(true).value_parser(one_page)),
    mut_arg("sort", |sort| sort.help("Which time --since and --until are about [default: updated]")),
    mut_arg("ascending", |ascending| ascending.help("Oldest day first, or that with the fewest threads")),
    after_help = "\
Days are those on which threads were created, where the reader is: with TZ=UTC those of UTC. A project is a git repository, or \
the directory of a thread that works in none. A model is the one that the thread had last.

Turns and tokens are those that `show` and `list` tell of each thread: a fork has those that it inherited too. Bytes are those \
of the threads' own files, as they lie on disk.

With --json: {by, groups: [{key, threads, turns, bytes, input_tokens, cached_input_tokens, output_tokens, \
reasoning_output_tokens, total_tokens}], total: {threads, …}}; key is null for threads that do not say. The newest day comes \
first, or that with the most threads.

Examples:
  selvedge stats --since 30d
  selvedge stats --by project --plot=tokens
  selvedge stats --by model --all --json | jq '.groups[] | [.key, .total_tokens]'"
)]
pub(crate) struct StatsArgs {
    /// What to add up by
    #[arg(long, value_name = "WHAT", default_value = "day")]
    pub(crate) by: StatsBy,
    /// Draw bars of one sum instead of a table of all
    #[arg(long, value_name = "SUM", num_args = 0..=1, require_equals = true, default_missing_value = "threads")]
    pub(crate) plot: Option<Measure>,
    /// Draw with ASCII letters
    #[arg(long)]
    pub(crate) ascii: bool,
    #[command(flatten)]
    pub(crate) filters: Filters,
}

/// What threads are put together by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatsBy {
    /// The day on which they were created
    Day,
    /// The git repository, or else the directory
    Project,
    /// The model
    Model,
    /// The source
    Source,
}

impl StatsBy {
    /// The key as the store knows it.
    pub(crate) const fn key(self) -> StatsKey {
        match self {
            Self::Day => StatsKey::Day,
            Self::Project => StatsKey::Project,
            Self::Model => StatsKey::Model,
            Self::Source => StatsKey::Source,
        }
    }

    /// What stands above a column of them.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Day => "DAY",
            Self::Project => "PROJECT",
            Self::Model => "MODEL",
            Self::Source => "SOURCE",
        }
    }
}

/// A sum over threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Measure {
    /// How many threads
    Threads,
    /// Their turns
    Turns,
    /// Their tokens, read and written
    Tokens,
    /// Bytes of their files
    Bytes,
}

/// `selvedge doctor`
#[derive(Debug, Args)]
#[command(after_help = "\
Reads only, unless --repair is given. Repair keeps the original of every file that it replaces beside it, as \
FILE.damaged-TIME; a repaired file holds every intact line, byte for byte. Threads that somebody writes are left alone. \
docs/damage.md says what each kind of finding means.

The index is checked as well: a row without a file, or one that says something else than the files, is a finding; what it has \
not taken in yet is a notice. Repair brings it up to date, and sets a file aside that is no index.

Exit codes: 0 nothing is wrong, 1 there are findings (after --repair: some are left). Notices do not count.

With --json: {checked: {files, bytes, lines}, findings: [{kind, severity, path, thread_id, range: {start, end}, line, detail, \
mendable, remedy}], omitted}; with --repair or --dry-run also repairs: [{action, path, thread_id, detail, kept, error}], and \
after --repair left: the findings that there are still. Also index: {path, threads, findings: [{kind, severity, thread_id, \
detail}]}, null without one; after --repair with repair: {set_aside, report} and left.

Examples:
  selvedge doctor
  selvedge doctor 01a1fd5d-aacb --json | jq '.findings[].kind'
  selvedge doctor --repair --dry-run")]
pub(crate) struct DoctorArgs {
    /// Threads to check: id, unique beginning of one, or name [default: the whole home]
    #[arg(value_name = "ID")]
    pub(crate) threads: Vec<String>,
    /// Compare each row of the index with the whole of its log
    #[arg(long)]
    pub(crate) deep: bool,
    /// Mend what can be mended
    #[arg(long)]
    pub(crate) repair: bool,
    /// Say what repair would do, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `selvedge demo`
#[derive(Debug, Args)]
#[command(after_help = "\
MetadataSync nothing but a temporary folder. Ends with exit code 1 if anything is not as promised.")]
pub(crate) struct DemoArgs {
    /// Keep the temporary home, to go on with it by hand
    #[arg(long)]
    pub(crate) keep: bool,
}

/// `selvedge completions`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  selvedge completions bash > ~/.local/share/bash-completion/completions/selvedge
  selvedge completions fish > ~/.config/fish/completions/selvedge.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

/// A time, a date (its beginning in UTC) or an age.
fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    if let Ok(at) = format!("{text}T00:00:00Z").parse() {
        return Ok(at);
    }
    let age =
        age(text).ok_or("neither a time (2026-11-21T09:00:00Z), a date (2026-11-21) nor an age (90m, 12h, 3d, 2w)")?;
    Ok(ago(age))
}

/// A number of days, or an age.
fn days_ago(text: &str) -> Result<Timestamp, String> {
    let days = text.parse::<u64>().ok().map(|days| Duration::from_secs(days.saturating_mul(86_400)));
    days.or_else(|| age(text)).map(ago).ok_or_else(|| "neither a number of days nor an age (12h, 3d, 2w)".to_owned())
}

fn ago(age: Duration) -> Timestamp {
    let millis = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(now().as_millis().saturating_sub(millis))
}

fn age(text: &str) -> Option<Duration> {
    let unit = text.chars().next_back()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return None,
    };
    let count: u64 = text[..text.len() - 1].parse().ok()?;
    Some(Duration::from_secs(count.saturating_mul(seconds)))
}

fn source(text: &str) -> Result<serde_json::Value, String> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|error| error.to_string());
    }
    if text.trim().is_empty() {
        return Err("a source is a word or a JSON object".to_owned());
    }
    Ok(serde_json::Value::from(text))
}

/// Names stand in tables and in a line-based index.
fn one_line(text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        return Err("a name is one line of plain text".to_owned());
    }
    Ok(text.trim().to_owned())
}

fn searchable(text: &str) -> Result<String, String> {
    TextSearch::new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn one_page(_: &str) -> Result<String, String> {
    Err("sums come on one page".to_owned())
}

fn not_empty(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("nothing to find".to_owned()) } else { Ok(text.to_owned()) }
}
