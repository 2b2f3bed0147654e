//! The steps of the demo. Each step does what a verb does, and checks what the verb promises: a demo that
//! shows results without checking them would prove nothing.

use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::path::{Path, PathBuf};

use selvedge_protocol::{
    ArchivedFilter, Page, ResponseItem, RolloutItem, StoredThread, ThreadId, ThreadQuery, TurnBoundary, TurnQuery,
};
use selvedge_thread_store::ForkThread;

use super::killed_writer::{KilledWriter, item_numbers};
use super::recordings;
use crate::app::App;
use crate::clock::now;
use crate::commands::list;
use crate::failure::{Failure, FailureKind, Result};
use crate::render::context;
use crate::render::transcript::{self, TranscriptStyle};
use crate::session_meta::fork_session_meta;

/// The thread that the tour shows: recorded by 0.169, named, with tool calls, and rewound once.
const THREAD: &str = "01a1fd5d-aacb-7641-837d-630af077ebd5";
/// How much of an answer is shown: rows of a table, lines of a transcript, items of a context.
const ROWS: usize = 8;
const LINES: usize = 24;
const ITEMS: usize = 4;
/// The writer is killed after a random number of acknowledged items in this range, so that every run kills it somewhere
/// else.
const KILL_AFTER: std::ops::Range<u64> = 200..1000;

/// A tour under way.
pub(crate) struct Tour<'a> {
    app: App<'a>,
    home: PathBuf,
    program: String,
    step: usize,
}

impl<'a> Tour<'a> {
    pub(crate) fn new(app: App<'a>, home: PathBuf) -> Self {
        Self { app, home, program: program(), step: 0 }
    }

    /// Closes the home.
    pub(crate) async fn close(&self) {
        self.app.close().await;
    }

    /// Takes all steps, one after another.
    pub(crate) async fn take(&mut self, keep: bool) -> Result<()> {
        let source: ThreadId = THREAD.parse().map_err(anyhow::Error::new)?;
        self.say(
            "Selvedge keeps the threads of AI agents. This tour runs on threads that six versions of Codex recorded,",
        )?;
        self.say(&format!("copied to {}. Your own threads are not touched.", self.home.display()))?;
        let on_home = self.on_home();
        self.say(&format!("Below, `selvedge` stands for `{on_home}`."))?;
        self.list().await?;
        self.show(source).await?;
        self.context(source).await?;
        let fork = self.fork(source).await?;
        let acknowledged = self.kill(fork.id).await?;
        self.resume(fork.id, acknowledged).await?;
        self.end(fork.id, acknowledged, keep)
    }

    async fn list(&mut self) -> Result<()> {
        self.step("The threads of this home", "list --all")?;
        let query = ThreadQuery { archived: ArchivedFilter::All, limit: 1000, ..ThreadQuery::default() };
        let Page { items, .. } = self.app.store.list_threads(&query).await?;
        promise(items.len() == recordings::thread_count(), "the list has every recorded thread once")?;
        let shown = &items[..items.len().min(ROWS)];
        let id_len = self.app.short_id_len(shown).await?;
        let table = list::render(&self.app, shown, id_len);
        write!(self.app.out, "{table}")?;
        self.left_out(items.len() - shown.len(), "threads")
    }

    async fn show(&mut self, id: ThreadId) -> Result<()> {
        self.step("One of them, as a transcript", &format!("show {}", short(id)))?;
        let thread = self.app.store.read_thread(id).await?;
        let turns = self.app.store.list_turns(&TurnQuery::all(id)).await?.items;
        promise(!turns.is_empty(), "the thread has turns")?;
        let style = TranscriptStyle { paint: self.app.out.paint(), full: false, now: now() };
        let text = transcript::facts(&thread, style) + &transcript::turns(&turns, 1, style);
        let lines: Vec<&str> = text.lines().collect();
        for line in lines.iter().take(LINES) {
            writeln!(self.app.out, "{line}")?;
        }
        self.left_out(lines.len().saturating_sub(LINES), "lines")
    }

    async fn context(&mut self, id: ThreadId) -> Result<()> {
        self.step("Resumed: what the model would see next", &format!("context {}", short(id)))?;
        let resumed = self.app.manager.resume(id).await?;
        resumed.live.shutdown().await?;
        let history = &resumed.context.history;
        promise(!history.is_empty(), "the model sees something")?;
        let skipped = history.len().saturating_sub(ITEMS);
        self.left_out(skipped, "items before")?;
        for (number, item) in (skipped + 1..).zip(&history[skipped..]) {
            write!(self.app.out, "{}", context::item(number, item, false, self.app.out.paint()))?;
        }
        Ok(())
    }

    async fn fork(&mut self, source: ThreadId) -> Result<StoredThread> {
        self.step("A fork of it, and an item appended to the fork", &format!("fork {}", short(source)))?;
        // A fork refers to the lines of its source. An append to the fork must not show in the source.
        let before = self.items_of(source).await?;
        let meta = fork_session_meta(self.app.store.read_session_meta(source).await?.unwrap_or_default());
        let fork = self.app.manager.fork(ForkThread { source, at: TurnBoundary::Latest, meta }).await?;
        let fork = self.app.manager.rename(fork, "Fork of the tour").await?;
        self.append(fork.id, "appended to the fork").await?;
        promise(
            self.items_of(fork.id).await?.last().is_some_and(|text| text == "appended to the fork"),
            "the fork has the new item",
        )?;
        promise(self.items_of(source).await? == before, "the source stayed the same")?;
        let own = self.app.store.list_segments(fork.id).await?;
        let size: u64 = own.iter().map(|segment| segment.bytes).sum();
        self.say(&format!(
            "{} begins with all of {} and refers to it: its own file has {size} bytes.",
            fork.id,
            short(source)
        ))?;
        Ok(fork)
    }

    /// Starts a writer on the thread, kills it in the middle of its work, and returns how many items it acknowledged.
    async fn kill(&mut self, id: ThreadId) -> Result<usize> {
        self.step("A writer that is killed while it appends", &format!("append {id} < items.jsonl"))?;
        let range = KILL_AFTER.end - KILL_AFTER.start;
        let wanted = KILL_AFTER.start + RandomState::new().hash_one(id) % range;
        let KilledWriter { process_id, acknowledged, was_killed } = KilledWriter::run(&self.home, id, wanted)?;
        promise(was_killed, "the writer was killed while it was appending")?;
        let last = acknowledged.last().copied().unwrap_or_default();
        self.say(&format!(
            "Process {process_id} was killed with SIGKILL after {} acknowledged items. The last one has ordinal {last}.",
            acknowledged.len()
        ))?;
        Ok(acknowledged.len())
    }

    async fn resume(&mut self, id: ThreadId, acknowledged: usize) -> Result<()> {
        self.step("Resumed: nothing lost, nothing repeated", &format!("export {id}"))?;
        // More items than acknowledgements are fine: a write comes before its acknowledgement, and the kill may come in
        // between. A gap or a repetition never is.
        let found = item_numbers(&self.items_of(id).await?);
        let in_order = found.iter().copied().eq(1..=u64::try_from(found.len()).unwrap_or(u64::MAX));
        promise(in_order, "every item exists once and in order")?;
        promise(found.len() >= acknowledged, "every acknowledged item exists")?;
        self.append(id, "appended after the kill").await?;
        promise(
            self.items_of(id).await?.last().is_some_and(|text| text == "appended after the kill"),
            "the thread can be continued",
        )?;
        self.say(&format!(
            "{} items are in the thread, each once and in order: the {acknowledged} acknowledged ones, and {} that were\n\
             written but not yet acknowledged. One more was appended after them.",
            found.len(),
            found.len() - acknowledged
        ))
    }

    fn end(&mut self, fork: ThreadId, acknowledged: usize, keep: bool) -> Result<()> {
        let paint = self.app.out.paint();
        writeln!(self.app.out, "\n{}", paint.heading("What happened"))?;
        self.say(&format!(
            "Threads of six versions were listed, read, resumed and forked in place, without an import. A writer that died\n\
             without warning lost none of the {acknowledged} items that it had acknowledged."
        ))?;
        writeln!(self.app.out, "\n{}", paint.heading("What to type next"))?;
        let (home, program, on_home) = (self.home.clone(), self.program.clone(), self.on_home());
        let next = if keep {
            vec![
                format!("{on_home} list --all"),
                format!("{on_home} show {fork} --last 2"),
                format!("{on_home} search yaks"),
                format!("{on_home} rewind {} --turns 1", short(THREAD.parse().map_err(anyhow::Error::new)?)),
                format!("rm -r {}", home.display()),
            ]
        } else {
            vec![
                format!("{program} demo --keep    # the same, and keeps the home to play with"),
                format!("{program} list           # your own threads, in ~/.codex if you use Codex"),
                format!("{program} help"),
            ]
        };
        for line in next {
            writeln!(self.app.out, "  {line}")?;
        }
        Ok(())
    }

    /// Returns how to run the program on the home of the tour.
    fn on_home(&self) -> String {
        format!("{} --home {}", self.program, self.home.display())
    }

    async fn append(&self, id: ThreadId, text: &str) -> Result<()> {
        let live = self.app.manager.resume(id).await?.live;
        live.append(&[RolloutItem::from(ResponseItem::user_text(text))]).await?;
        live.shutdown().await?;
        Ok(())
    }

    /// Returns the texts of all messages in the history of a thread.
    async fn items_of(&self, id: ThreadId) -> Result<Vec<String>> {
        let history = self.app.store.load_history(id).await?;
        let texts =
            history.lines.iter().filter(|line| line.kind() == "response_item").flat_map(|line| match line.item() {
                RolloutItem::ResponseItem(item) => item.texts(),
                _ => Vec::new(),
            });
        Ok(texts.collect())
    }

    fn step(&mut self, title: &str, command: &str) -> Result<()> {
        self.step += 1;
        let paint = self.app.out.paint();
        let heading = paint.heading(format!("{}. {title}", self.step));
        writeln!(self.app.out, "\n{heading}\n{}", paint.dim(format!("$ selvedge {command}")))?;
        // The writer inherits standard error, which is usually the same terminal.
        self.app.out.flush()?;
        Ok(())
    }

    fn say(&mut self, text: &str) -> Result<()> {
        writeln!(self.app.out, "{text}")?;
        Ok(())
    }

    fn left_out(&mut self, count: usize, what: &str) -> Result<()> {
        if count > 0 {
            let text = self.app.out.paint().dim(format!("… {count} more {what}"));
            writeln!(self.app.out, "{text}")?;
        }
        Ok(())
    }
}

/// Returns how to call the program: by its relative path if it is below the current directory, as after `cargo build`.
fn program() -> String {
    let path = std::env::current_exe().ok().zip(std::env::current_dir().ok());
    let below = path.and_then(|(program, here)| program.strip_prefix(here).map(Path::to_path_buf).ok());
    match below {
        // A shell searches a bare name in PATH only.
        Some(path) if path.components().count() == 1 => format!("./{}", path.display()),
        Some(path) => path.display().to_string(),
        None => "selvedge".to_owned(),
    }
}

fn short(id: ThreadId) -> String {
    id.to_string()[..13].to_owned()
}

fn promise(kept: bool, what: &str) -> Result<()> {
    if kept {
        return Ok(());
    }
    Err(Failure::new(FailureKind::Other, format!("the demo found a broken promise: {what}")))
}
