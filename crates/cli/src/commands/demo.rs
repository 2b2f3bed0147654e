//! `selvedge demo`: a tour on recorded threads, in a temporary folder.
//!
//! Every step is what a verb does, and what it promises is checked: a demo that only looked good would be worse than none.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, anyhow};
use selvedge_protocol::{
    ArchivedFilter, Durability, Page, ResponseItem, RolloutItem, StoredThread, ThreadId, ThreadMetadataPatch,
    ThreadQuery, TurnQuery,
};
use selvedge_thread_store::{ForkThread, TurnBoundary};

use super::{fork, list};
use crate::app::{App, now};
use crate::args::DemoArgs;
use crate::demo_data::FILES;
use crate::exit::{Code, Failure, Result};
use crate::home;
use crate::output::Output;
use crate::render::context;
use crate::render::transcript::{self, Style};
use crate::wiring::HomeOptions;

/// The thread that the tour looks at: recorded by 0.169, named, with tool calls, and rewound once.
const THREAD: &str = "01a1fd5d-aacb-7641-837d-630af077ebd5";
/// How many rows and lines of an answer are shown.
const ROWS: usize = 8;
const LINES: usize = 24;
const ITEMS: usize = 4;
/// Items that wait to be appended when the writer is killed: more than it gets to.
const STREAM: u64 = 200_000;

/// Takes the tour.
pub(crate) async fn run(args: &DemoArgs, out: &mut Output) -> Result<()> {
    let folder =
        tempfile::Builder::new().prefix("selvedge-demo-").tempdir().context("cannot make a temporary folder")?;
    let home = folder.path().to_path_buf();
    write_home(&home)?;
    let mut tour = Tour { app: App::open(&home, HomeOptions::default(), false, out)?, program: program(), step: 0 };
    let outcome = tour.all(args.keep).await;
    tour.app.close().await;
    if args.keep {
        let _ = folder.keep();
    }
    outcome
}

/// Lays the recordings out as a home.
fn write_home(home: &Path) -> Result<()> {
    for (path, bytes) in FILES {
        let path = home.join(path);
        let cannot = || format!("cannot write {}", path.display());
        home::create(path.parent().unwrap_or(home), Durability::Written)?;
        // Several recordings have a name index; one after the other they are one.
        let mut options = fs::File::options();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&path).with_context(cannot)?.write_all(bytes).with_context(cannot)?;
    }
    Ok(())
}

/// The program as it can be typed: by its path from here where it lies below, as after `cargo build`.
fn program() -> String {
    let path = std::env::current_exe().ok().zip(std::env::current_dir().ok());
    let below = path.and_then(|(program, here)| program.strip_prefix(here).map(Path::to_path_buf).ok());
    match below {
        // A shell looks for a bare name elsewhere.
        Some(path) if path.components().count() == 1 => format!("./{}", path.display()),
        Some(path) => path.display().to_string(),
        None => "selvedge".to_owned(),
    }
}

struct Tour<'a> {
    app: App<'a>,
    program: String,
    step: usize,
}

impl Tour<'_> {
    async fn all(&mut self, keep: bool) -> Result<()> {
        let source: ThreadId = THREAD.parse().map_err(anyhow::Error::new)?;
        self.say(
            "Selvedge keeps the threads of AI agents. This tour runs on threads that six versions of Codex recorded,",
        )?;
        self.say(&format!("copied to {}; nothing of yours is touched.", self.app.home.display()))?;
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
        self.step("What is there", "list --all")?;
        let query = ThreadQuery { archived: ArchivedFilter::All, limit: 1000, ..ThreadQuery::default() };
        let Page { items, .. } = self.app.store.list_threads(&query).await?;
        promise(items.len() == threads_recorded(), "every recorded thread is listed once")?;
        let shown = &items[..items.len().min(ROWS)];
        let table = list::render(&self.app, shown).await?;
        write!(self.app.out, "{table}")?;
        self.left_out(items.len() - shown.len(), "threads")
    }

    async fn show(&mut self, id: ThreadId) -> Result<()> {
        self.step("One of them, as a transcript", &format!("show {}", short(id)))?;
        let thread = self.app.store.read_thread(id).await?;
        let turns = self.app.store.list_turns(&TurnQuery::all(id)).await?.items;
        promise(!turns.is_empty(), "the thread has turns")?;
        let style = Style { paint: self.app.out.paint(), full: false, now: now() };
        let text = transcript::head(&thread, style) + &transcript::turns(&turns, 1, style);
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
        promise(!history.is_empty(), "the model would see something")?;
        let skipped = history.len().saturating_sub(ITEMS);
        self.left_out(skipped, "items before")?;
        for (number, item) in (skipped + 1..).zip(&history[skipped..]) {
            write!(self.app.out, "{}", context::item(number, item, false, self.app.out.paint()))?;
        }
        Ok(())
    }

    async fn fork(&mut self, source: ThreadId) -> Result<StoredThread> {
        self.step("A fork of it, and something appended to the fork", &format!("fork {}", short(source)))?;
        let before = self.items_of(source).await?;
        let meta = fork::meta(self.app.store.read_session_meta(source).await?.unwrap_or_default());
        let fork = self.app.manager.fork(ForkThread { source, at: TurnBoundary::Latest, meta }).await?;
        let name = ThreadMetadataPatch { name: Some(Some("Fork of the tour".to_owned())), ..Default::default() };
        let fork = self.app.manager.update_metadata(fork, &name).await?;
        self.append(fork.id, "appended to the fork").await?;
        promise(
            self.items_of(fork.id).await?.last().is_some_and(|text| text == "appended to the fork"),
            "the fork grew",
        )?;
        promise(self.items_of(source).await? == before, "the source did not")?;
        let own = self.app.store.list_segments(fork.id).await?;
        let size: u64 = own.iter().map(|segment| segment.bytes).sum();
        self.say(&format!(
            "{} begins with all of {} and refers to it: its own file has {size} bytes.",
            fork.id,
            short(source)
        ))?;
        Ok(fork)
    }

    /// Starts a writer on the thread, kills it in the middle of its work, and tells how many items it acknowledged.
    async fn kill(&mut self, id: ThreadId) -> Result<usize> {
        self.step("A writer killed in the middle of an append", &format!("append {id} < items.jsonl"))?;
        let wanted = 200 + RandomState::new().hash_one(id) % 800;
        let mut child = writer(&self.app.home, id)?;
        let process_id = child.id();
        let acknowledged = kill_after(&mut child, wanted)?;
        let last = acknowledged.last().copied().unwrap_or_default();
        self.say(&format!(
            "process {process_id} was sent SIGKILL with {} items acknowledged, the last of them as ordinal {last}.",
            acknowledged.len()
        ))?;
        Ok(acknowledged.len())
    }

    async fn resume(&mut self, id: ThreadId, acknowledged: usize) -> Result<()> {
        self.step("Resumed: nothing lost, nothing twice", &format!("export {id}"))?;
        let found = streamed(&self.items_of(id).await?);
        let in_order = found.iter().copied().eq(1..=u64::try_from(found.len()).unwrap_or(u64::MAX));
        promise(in_order, "every item is there once and in order")?;
        promise(found.len() >= acknowledged, "every acknowledged item is there")?;
        self.append(id, "appended after the kill").await?;
        promise(self.items_of(id).await?.last().is_some_and(|text| text == "appended after the kill"), "it goes on")?;
        self.say(&format!(
            "{} items are in the thread, each once and in order: the {acknowledged} acknowledged ones and {} whose\n\
             acknowledgement the kill came before. One more was appended behind them.",
            found.len(),
            found.len() - acknowledged
        ))
    }

    fn end(&mut self, fork: ThreadId, acknowledged: usize, keep: bool) -> Result<()> {
        let paint = self.app.out.paint();
        writeln!(self.app.out, "\n{}", paint.heading("What happened"))?;
        self.say(&format!(
            "Threads of six versions were listed, read, resumed and forked where they are, with no import and no index, and a\n\
             writer that died without warning lost none of the {acknowledged} items it had acknowledged."
        ))?;
        writeln!(self.app.out, "\n{}", paint.heading("What to type next"))?;
        let (home, program, on_home) = (self.app.home.clone(), self.program.clone(), self.on_home());
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
                format!("{program} demo --keep    # the same, and the home stays to play with"),
                format!("{program} list           # your own threads, in ~/.codex if you use Codex"),
                format!("{program} help"),
            ]
        };
        for line in next {
            writeln!(self.app.out, "  {line}")?;
        }
        Ok(())
    }

    /// How to run the program on the home of the tour.
    fn on_home(&self) -> String {
        format!("{} --home {}", self.program, self.app.home.display())
    }

    async fn append(&self, id: ThreadId, text: &str) -> Result<()> {
        let live = self.app.manager.resume(id).await?.live;
        live.append(&[RolloutItem::from(ResponseItem::user_text(text))]).await?;
        live.shutdown().await?;
        Ok(())
    }

    /// The texts of all messages in a thread's history.
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
        // A killed process and its killer write to the same terminal.
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

/// A writer process that appends a long stream of items.
fn writer(home: &Path, id: ThreadId) -> Result<Child> {
    let program: PathBuf = std::env::current_exe().context("cannot tell where this program is")?;
    let mut child = Command::new(program)
        .arg("--home")
        .arg(home)
        .args(["append", &id.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start a writer")?;
    let mut input = child.stdin.take().ok_or_else(|| anyhow!("the writer takes no input"))?;
    std::thread::spawn(move || {
        for number in 1..=STREAM {
            let item = RolloutItem::from(ResponseItem::user_text(&format!("streamed item {number}")));
            let line = serde_json::to_string(&item).unwrap_or_default();
            // The writer is killed while this goes on.
            if writeln!(input, "{line}").is_err() {
                break;
            }
        }
    });
    Ok(child)
}

/// Kills the writer once it has acknowledged this many items, and gives all that it acknowledged before it died.
fn kill_after(child: &mut Child, wanted: u64) -> Result<Vec<u64>> {
    let output = child.stdout.take().ok_or_else(|| anyhow!("the writer gives no output"))?;
    let mut acknowledged = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line.context("cannot hear the writer")?;
        // The last line may be torn, and a torn acknowledgement is none.
        let Ok(number) = line.parse() else { break };
        acknowledged.push(number);
        if u64::try_from(acknowledged.len()).is_ok_and(|count| count == wanted) {
            child.kill().context("cannot kill the writer")?;
        }
    }
    let status = child.wait().context("cannot wait for the writer")?;
    promise(!status.success() && acknowledged.len() as u64 >= wanted, "the writer was killed at work")?;
    Ok(acknowledged)
}

/// The numbers of the items that the writer appended.
fn streamed(texts: &[String]) -> Vec<u64> {
    texts.iter().filter_map(|text| text.strip_prefix("streamed item ")?.parse().ok()).collect()
}

fn threads_recorded() -> usize {
    let mut ids: Vec<&str> = FILES.iter().filter_map(|(path, _)| thread_of(path)).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.len()
}

/// The thread's id in a file name such as `rollout-2026-11-21T09-08-58-<thread>_<segment>.jsonl`.
fn thread_of(path: &str) -> Option<&str> {
    let name = path.rsplit('/').next()?.strip_prefix("rollout-")?;
    name.get("2026-11-21T09-08-58-".len()..)?.get(..36)
}

fn short(id: ThreadId) -> String {
    id.to_string()[..13].to_owned()
}

fn promise(kept: bool, what: &str) -> Result<()> {
    if kept {
        return Ok(());
    }
    Err(Failure::new(Code::Failure, format!("the demo found a promise broken: {what}")))
}
