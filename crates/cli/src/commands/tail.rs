//! `selvedge tail`: follows a thread while other processes write it.

mod ending;
mod follower;
mod record;

use clap::Args;

pub(crate) use self::ending::interrupts;
use self::follower::Follower;
use crate::app::App;
use crate::failure::Result;
use crate::resolve::ThreadArg;

/// Arguments of `selvedge tail`.
#[derive(Debug, Args)]
#[command(after_help = "\
Prints the newest lines, each as one short line, and then every line that is added. Lines with nothing to show are \
left out. It ends when it is interrupted (exit 0), when the reader of its output is gone (exit 0), or when the thread \
is deleted (exit 3).

No line is missed or repeated, whichever process writes, and even if the thread is archived, compressed or rewound in \
the meantime. Damage is reported on standard error. If the store has a problem that may pass, the command tries again.

A repair may rewrite the history. The command reports that and continues after the last printed line; in a log without \
ordinals it continues with the lines that are written from then on. With --from-start it prints everything again.

With --json: one object on one line for each entry of the history, written immediately:
  {\"kind\": \"line\", \"at\", \"segment\", \"inherited\", \"line\"}    line: as it is stored
  {\"kind\": \"damage\", \"at\", \"segment\", \"inherited\", \"reason\", \"complete\"}    complete: false if the next entry continues the damage
  {\"kind\": \"missing\", \"at\", \"segment\", \"inherited\", \"reason\"}
  {\"kind\": \"rewound\", \"to\"}    the entry at this position and all later ones are undone; if it was not printed, all printed entries are undone
  {\"kind\": \"rewritten\", \"follows\"}    all: from the beginning; rest: after the last line; new: from now on

Examples:
  selvedge tail 01a1fd5d-aacb
  selvedge tail 01a1fd5d-aacb -n 0 --json | jq -r 'select(.kind == \"line\") | .line.type'
  selvedge tail 01a1fd5d-aacb --from-start --json > replica.jsonl")]
pub(crate) struct TailArgs {
    #[command(flatten)]
    thread: ThreadArg,
    /// Begin at the beginning of the history
    #[arg(long, conflicts_with = "lines")]
    from_start: bool,
    /// How many of the newest lines to print first
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10)]
    lines: usize,
}

/// Follows a thread until something ends the command.
pub(crate) async fn run(args: &TailArgs, app: &mut App<'_>) -> Result<()> {
    // First of all, so that no line is printed before an interrupt ends the command in the usual way.
    let interrupts = interrupts();
    let id = args.thread.resolve(&*app.store).await?;
    let follower = Follower::new(app, id, args.from_start);
    tokio::select! {
        outcome = follower.follow(args.lines) => outcome,
        () = interrupts => Ok(()),
        () = ending::reader_gone() => Ok(()),
    }
}
