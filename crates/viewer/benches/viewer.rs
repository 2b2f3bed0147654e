//! Measures the viewer over a home of 10,000 threads of about 30 kB, two of 100 MB, one with a single turn of 100 MB, and one with a single
//! output of 50 MB: how long pages take, when a line that another process appends is sent, and how much memory the server takes.
//!
//! `cargo bench -p selvedge-viewer --bench viewer`, with `-- --threads 1000` for a smaller home. Each measurement is printed beside its target, and a missed target fails the benchmark. The server is a process of its own.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use selvedge_protocol::ThreadId;
use selvedge_rollout::RolloutHome;
use selvedge_thread_manager::{ThreadManager, TurnSettings};
use selvedge_thread_store_local::LocalThreadStore;
use selvedge_viewer::{Viewer, ViewerOptions};
use serde_json::json;

use crate::support::report::{Report, Times};
use crate::support::{COMMON, RARE, Words, fill, write_thread};

#[expect(dead_code, reason = "other benchmarks use the rest of it")]
#[path = "../../state/benches/support/mod.rs"]
mod support;

/// The size in bytes of the largest threads.
const HUGE_BYTES: usize = 100_000_000;

/// Targets of issue 18.
const HOME: Duration = Duration::from_millis(100);
const SEARCH: Duration = Duration::from_millis(50);
const HUGE: Duration = Duration::from_millis(500);
const LIVE: Duration = Duration::from_millis(300);
const MEMORY: u64 = 100 << 20;

/// How often each page is asked for.
const TIMES: usize = 10;

/// The argument with which this program is the server of a home.
const SERVE: &str = "--serve-home";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    // The runtime of the program.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    if let Some(at) = arguments.iter().position(|argument| argument == SERVE) {
        let home = arguments.get(at + 1).context("a home")?;
        return runtime.block_on(serve(Path::new(home)));
    }
    let threads = match arguments.iter().position(|argument| argument == "--threads") {
        Some(at) => arguments.get(at + 1).and_then(|count| count.parse().ok()).context("--threads takes a number")?,
        None => 10_000,
    };
    runtime.block_on(measure(threads))
}

async fn serve(home: &Path) -> Result<()> {
    let manager = Arc::new(ThreadManager::new(Arc::new(LocalThreadStore::open(home))));
    let viewer = Viewer::start(manager, ViewerOptions::default()).await?;
    println!("{}", viewer.url());
    std::future::pending::<()>().await;
    Ok(viewer.stop().await?)
}

async fn measure(threads: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let home = RolloutHome::new(folder.path());
    let mut words = Words::new();
    let files = fill(&home, &mut words, threads)?.len();
    let legacy = write_thread(&home, &mut words, 0, HUGE_BYTES, "")?.0;
    let paginated = write_thread(&home, &mut words, 1, HUGE_BYTES, "")?.0;
    let turn = write_huge_turn(&home, &mut words, HUGE_BYTES / 2_000, 900)?;
    let output = write_huge_turn(&home, &mut words, 1, HUGE_BYTES / 4)?;
    LocalThreadStore::open(folder.path()).admin().fill_index().await?;
    let mut report = Report::default();

    Report::begin(&format!("Viewer: {files} threads, and four huge ones"));
    let server = Server::start(folder.path())?;
    let first = server.time("/")?;
    report.hold_time("home, first page of a new server", &Times::of(vec![first]), HOME);
    page(&mut report, &server, "home", "/", HOME)?;
    page(&mut report, &server, "home, by project", "/?project=%2Fhome%2Fada%2Floom%2Fproject-7", HOME)?;
    page(&mut report, &server, "search, a word of half of the threads", &format!("/?q={COMMON}"), SEARCH)?;
    page(&mut report, &server, "search, a word of one thread", &format!("/?q={RARE}"), SEARCH)?;
    page(&mut report, &server, "search, a word of none", "/?q=nosuchwordatall", SEARCH)?;
    for (kind, id) in [("legacy", legacy), ("paginated", paginated)] {
        page(&mut report, &server, &format!("100 MB, {kind}: its end"), &format!("/threads/{id}"), HUGE)?;
        let older = older_link(&server.get(&format!("/threads/{id}"))?)?;
        page(&mut report, &server, &format!("100 MB, {kind}: older turns"), &older, HUGE)?;
        let beginning = format!("/threads/{id}/turns?direction=newer&cursor=p1.0");
        page(&mut report, &server, &format!("100 MB, {kind}: its first turns"), &beginning, HUGE)?;
        let turn = turn_id(&server.get(&format!("/threads/{id}/turns?direction=newer&cursor=p1.3000"))?)?;
        page(
            &mut report,
            &server,
            &format!("100 MB, {kind}: a turn in the middle"),
            &format!("/threads/{id}?turn={turn}"),
            HUGE,
        )?;
    }
    memory(&mut report, &server, "memory of the server so far");
    huge_turn(&mut report, &server, turn)?;
    let place = format!("/threads/{output}");
    page(&mut report, &server, "one output of 50 MB", &place, HUGE)?;
    page(&mut report, &server, "one output of 50 MB: more of it", &format!("{place}/item?turn=huge&item=2"), HUGE)?;
    memory(&mut report, &server, "memory of the server, with huge turns");
    let times = live(&server, folder.path(), 0).await?;
    report.hold_time("a live line, from its append", &times, LIVE);
    let times = live(&server, folder.path(), HUGE_BYTES / 2).await?;
    report.hold_time("a live line in a turn of 100 MB", &times, LIVE);
    memory(&mut report, &server, "memory of the server, after live lines");

    // Pages that go through the whole log. They are no part of the targets of time.
    let mut paths = vec!["/activity".to_owned(), "/activity?model=a-model".to_owned()];
    for page in ["lines", "lines?damage=1", "lines?position=20000", "windows", "world", "find?q=weftwarp", "context"] {
        paths.push(format!("/threads/{paginated}/{page}"));
    }
    paths.push(format!("/threads/{turn}/context"));
    for path in paths {
        let time = Times::of(vec![server.time(&path)?]);
        let name = path.replace(&paginated.to_string(), "100 MB").replace(&turn.to_string(), "turn of 100 MB");
        Report::tell(&name, &format!("{time}, memory so far {}", megabytes(server.peak_memory()).trim()));
    }
    memory(&mut report, &server, "memory of the server, with all pages");
    // They read the line with the output as a whole.
    for page in ["lines", "context", "raw"] {
        let at =
            if page == "raw" { raw_link(&server.get(&format!("/threads/{output}/lines"))?)? } else { String::new() };
        let path = format!("/threads/{output}/{page}{at}");
        let time = Times::of(vec![server.time(&path)?]);
        Report::tell(
            &format!("output of 50 MB: {page}"),
            &format!("{time}, memory so far {}", megabytes(server.peak_memory()).trim()),
        );
    }
    report.end()
}

/// Pages of a thread with a single turn.
fn huge_turn(report: &mut Report, server: &Server, id: ThreadId) -> Result<()> {
    let place = format!("/threads/{id}");
    page(report, server, "turn of 100 MB: its end", &place, HUGE)?;
    let older = older_link(&server.get(&place)?)?;
    page(report, server, "turn of 100 MB: older items", &older, HUGE)?;
    page(report, server, "turn of 100 MB: an item in the middle", &format!("{place}?turn=huge&item=20000"), HUGE)?;
    let line = format!("{place}/at?turn=huge&number=1&position=90003");
    let times = (0..TIMES).map(|_| server.time_of(&line, "303")).collect::<Result<Vec<_>>>()?;
    report.hold_time("turn of 100 MB: a hit of a search", &Times::of(times), HUGE);
    page(report, server, "turn of 100 MB: JSON of items", &format!("/api/v1{place}/items?newest_first=true"), HUGE)
}

/// Writes a thread with a single turn that has so many commands, each with so many words of output, which the log has twice.
fn write_huge_turn(home: &RolloutHome, words: &mut Words, commands: usize, output: usize) -> Result<ThreadId> {
    // Its head is that of a paginated thread.
    let (id, path) = write_thread(home, words, 3 + commands % 2 * 2, 0, "")?;
    let log = fs::read_to_string(&path)?;
    let mut file = std::io::BufWriter::new(fs::File::create(&path)?);
    writeln!(file, "{}", log.lines().next().context("a head")?)?;
    let mut ordinal = 0;
    // As in real logs, the payload begins with its type.
    let mut push = |kind: &str, payload_type: &str, members: serde_json::Value| {
        ordinal += 1;
        let envelope = format!(r#"{{"timestamp":"2026-11-21T09:08:56.705Z","ordinal":{ordinal},"type":"{kind}","#);
        let members = members.to_string();
        writeln!(file, r#"{envelope}"payload":{{"type":"{payload_type}",{}}}"#, &members[1..])
    };
    push("event_msg", "task_started", json!({"turn_id": "huge"}))?;
    let message = json!({"type": "UserMessage", "id": "m", "content": [{"type": "text", "text": "a huge turn"}]});
    push("event_msg", "item_completed", json!({"turn_id": "huge", "item": message}))?;
    for number in 0..commands {
        let (call, output) =
            (format!("call-{number}"), "x".repeat(8) + &words.text(output / 10) + &"words ".repeat(output / 10));
        let arguments = json!({"command": ["bash", "-lc", format!("make part-{number}")]}).to_string();
        let members = json!({"name": "shell", "arguments": arguments, "call_id": call});
        push("response_item", "function_call", members)?;
        let command = ["bash", "-lc", &format!("make part-{number}")];
        let item = json!({"type": "CommandExecution", "id": call, "command": command, "cwd": "/", "aggregated_output": output, "exit_code": 0});
        push("event_msg", "item_completed", json!({"turn_id": "huge", "item": item}))?;
        push("response_item", "function_call_output", json!({"call_id": call, "output": output}))?;
    }
    push("event_msg", "task_complete", json!({"turn_id": "huge"}))?;
    file.flush()?;
    Ok(id)
}

fn page(report: &mut Report, server: &Server, what: &str, path: &str, target: Duration) -> Result<()> {
    let times = (0..TIMES).map(|_| server.time(path)).collect::<Result<Vec<_>>>()?;
    let bytes = server.get(path)?.len();
    let peak = megabytes(server.peak_memory());
    report.hold_time(
        &format!("{what} ({} kB, memory so far {})", bytes / 1_000, peak.trim()),
        &Times::of(times),
        target,
    );
    Ok(())
}

/// Returns the query of the last link on a page of lines to the bytes of a line that has megabytes.
fn raw_link(page: &str) -> Result<String> {
    let entry =
        page.split("<article").find(|entry| entry.contains(" MiB") || entry.contains(" MB")).context("a long line")?;
    let link = entry.split("/raw").nth(1).context("a link")?;
    Ok(link.split('"').next().unwrap_or_default().to_owned())
}

fn memory(report: &mut Report, server: &Server, what: &str) {
    let peak = server.peak_memory();
    report.hold(what, &megabytes(peak), "at most 100 MiB", peak <= MEMORY);
}

fn megabytes(bytes: u64) -> String {
    format!("{:9.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Appends messages to a thread that a page follows, in this process. Their turn has messages of so many bytes, which the log has twice.
/// Returns the times from each append to the event of the server.
async fn live(server: &Server, home: &Path, bytes: usize) -> Result<Times> {
    let manager = ThreadManager::new(Arc::new(LocalThreadStore::open(home)));
    let now = std::time::SystemTime::now().into();
    let live = manager.start(selvedge_protocol::SessionMeta::new(ThreadId::new(now), now)).await?;
    let turn = live.begin_turn(TurnSettings::default()).await?;
    turn.user_message("begin").await?;
    let earlier = "words ".repeat(150);
    for _ in 0..bytes / earlier.len() {
        turn.agent_message(earlier.as_str()).await?;
    }
    server.get(&format!("/threads/{}", live.id()))?;
    let mut events = server.events(&format!("/threads/{}/live", live.id()))?;
    let mut times = Vec::new();
    for number in 0..TIMES {
        // Between two appends the server waits again.
        tokio::time::sleep(Duration::from_millis(150)).await;
        let message = format!("live-{number}.");
        let started = Instant::now();
        turn.agent_message(message.as_str()).await?;
        loop {
            let mut line = String::new();
            ensure!(events.read_line(&mut line)? > 0, "the events have ended");
            if line.contains(&message) {
                break;
            }
        }
        times.push(started.elapsed());
    }
    turn.complete().await?;
    live.shutdown().await?;
    Ok(Times::of(times))
}

/// The server, as a process of its own.
struct Server {
    child: Child,
    host: String,
    cookie: String,
}

impl Server {
    fn start(home: &Path) -> Result<Self> {
        // As `selvedge serve` does it.
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg(SERVE).arg(home).env("MALLOC_ARENA_MAX", "2").stdout(Stdio::piped()).spawn()?;
        let mut url = String::new();
        BufReader::new(child.stdout.take().context("a pipe")?).read_line(&mut url)?;
        let (host, token) =
            url.trim().strip_prefix("http://").and_then(|url| url.split_once("/?token=")).context("a URL")?;
        let port = host.rsplit_once(':').context("a port")?.1;
        Ok(Self { cookie: format!("selvedge-{port}={token}"), host: host.to_owned(), child })
    }

    fn request(&self, path: &str) -> Result<TcpStream> {
        let mut stream = TcpStream::connect(&self.host)?;
        let (host, cookie) = (&self.host, &self.cookie);
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n")?;
        Ok(stream)
    }

    fn get(&self, path: &str) -> Result<String> {
        self.answer(path, "200")
    }

    fn answer(&self, path: &str, status: &str) -> Result<String> {
        let mut answer = Vec::new();
        self.request(path)?.read_to_end(&mut answer)?;
        let answer = String::from_utf8(answer)?;
        if !answer.starts_with(&format!("HTTP/1.1 {status}")) {
            bail!("{path}: {}", answer.lines().next().unwrap_or_default());
        }
        Ok(answer)
    }

    fn time(&self, path: &str) -> Result<Duration> {
        self.time_of(path, "200")
    }

    fn time_of(&self, path: &str, status: &str) -> Result<Duration> {
        let started = Instant::now();
        self.answer(path, status)?;
        Ok(started.elapsed())
    }

    fn events(&self, path: &str) -> Result<BufReader<TcpStream>> {
        let stream = self.request(path)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(BufReader::new(stream))
    }

    /// Returns the most memory that the server has had, in bytes.
    fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse().ok()).map_or(0, |kilobytes: u64| kilobytes << 10)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn older_link(page: &str) -> Result<String> {
    let after = page.split("data-more=\"older\" href=\"").nth(1).context("a link to older turns")?;
    Ok(after.split('"').next().unwrap_or_default().replace("&amp;", "&"))
}

fn turn_id(part: &str) -> Result<String> {
    let after = part.split("id=\"turn-").nth(1).context("a turn")?;
    Ok(after.split('"').next().unwrap_or_default().to_owned())
}
