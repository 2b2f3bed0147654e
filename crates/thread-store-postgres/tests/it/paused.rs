//! A process that is paused by SIGSTOP for longer than its lease.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use selvedge_protocol::HistoryMode;
use selvedge_thread_store::{BatchId, StoreError, ThreadReader, ThreadStore};
use selvedge_thread_store_conformance::fixtures::{assert_consecutive_ordinals, id, record};
use selvedge_thread_store_postgres::PostgresThreadStore;

use crate::appends::numbered;
use crate::place::{PostgresPlace, new_place};

const URL: &str = "SELVEDGE_PAUSED_URL";

/// How often a writer is paused. `SELVEDGE_PAUSES` sets it for a longer run by hand.
const PAUSES: usize = 3;

const LEASE: Duration = Duration::from_millis(700);

/// The first item of the other host in each round.
const OTHER: usize = 1_000_000;

/// Not a test: the writer that is paused. It appends numbers from its argument on, and prints each that was accepted, and how it
/// ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the writer of another test, in a process of its own"]
async fn writer() {
    let Ok(url) = std::env::var(URL) else { return };
    let store = PostgresThreadStore::connect(&url.parse().unwrap()).await.unwrap();
    store.resume_thread(id(1)).await.unwrap();
    let first = std::process::id() as usize * 100_000_000;
    for number in first.. {
        match store.append_items(id(1), BatchId::generate(), &[numbered(number)]).await {
            Ok(_) => println!("\naccepted {number}"),
            Err(error) => {
                println!("\nended {}", if matches!(error, StoreError::Lost { .. }) { "lost" } else { "otherwise" });
                println!("\nbecause {error}");
                return;
            }
        }
    }
}

struct PausedWriter {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    accepted: Vec<usize>,
}

impl PausedWriter {
    fn start(place: &PostgresPlace) -> Self {
        let (url, options) = (place.schema.url(), &place.options);
        let separator = if url.contains('?') { '&' } else { '?' };
        let (schema, namespace, lease) = (&options.schema, &options.namespace, LEASE.as_secs_f64());
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "paused::writer", "--ignored", "--nocapture"]);
        command.env(URL, format!("{url}{separator}schema={schema}&namespace={namespace}&lease={lease}&pool=3"));
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, accepted: Vec::new() }
    }

    /// Reads what the writer prints until `count` items were accepted, or until its end. Returns how it ended.
    fn read(&mut self, count: usize) -> Option<String> {
        while self.accepted.len() < count {
            let line = self.lines.next()?.unwrap();
            if let Some(number) = line.strip_prefix("accepted ") {
                self.accepted.push(number.parse().unwrap());
            } else if let Some(ending) = line.strip_prefix("ended ") {
                return Some(ending.to_owned());
            }
        }
        None
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
    }
}

impl Drop for PausedWriter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_paused_for_longer_than_its_lease_writes_nothing() {
    let place = new_place().await;
    let store = place.open().await;
    record(&store, 1, HistoryMode::Paginated, &[]).await;
    let pauses = std::env::var("SELVEDGE_PAUSES").map_or(PAUSES, |text| text.parse().unwrap());
    let mut expected = Vec::new();
    for round in 0..pauses {
        let mut writer = PausedWriter::start(&place);
        // In the middle of its appends: some statement of it is usually on the way.
        assert_eq!(writer.read(20 + round), None);
        writer.signal("STOP");
        let began = Instant::now();
        while let Err(error) = store.resume_thread(id(1)).await {
            assert!(matches!(error, StoreError::Conflict { .. }), "{error:?}");
            assert!(began.elapsed() < 20 * LEASE, "the lease of a paused process does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let others: Vec<_> = (0..5).map(|number| OTHER * (round + 1) + number).collect();
        for number in &others {
            store.append_items(id(1), BatchId::generate(), &[numbered(*number)]).await.unwrap();
            if *number % 5 == 2 {
                writer.signal("CONT");
                // The writer goes on while the other host writes.
                assert_eq!(writer.read(usize::MAX).as_deref(), Some("lost"), "round {round}");
            }
        }
        store.shutdown_thread(id(1)).await.unwrap();
        expected.push((writer.accepted.clone(), others));
    }

    let history = store.load_history(id(1)).await.unwrap();
    assert_consecutive_ordinals(&history);
    let mut stored = history.lines[1..].iter().map(|line| format!("{:?}", line.item())).peekable();
    for (round, (accepted, others)) in expected.iter().enumerate() {
        for number in accepted {
            assert_eq!(stored.next(), Some(format!("{:?}", numbered(*number))), "round {round}");
        }
        // An append that the server had before the pause, and whose answer the process never saw, was written before the takeover.
        let unseen = accepted.last().map(|last| format!("{:?}", numbered(last + 1)));
        if stored.peek() == unseen.as_ref() {
            stored.next();
        }
        for number in others {
            assert_eq!(stored.next(), Some(format!("{:?}", numbered(*number))), "round {round}");
        }
    }
    assert_eq!(stored.next(), None);
}
