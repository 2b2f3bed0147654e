//! Homes that are made to exhaust memory or time. They take seconds to create and are run by `cargo xtask hostile`. The other
//! tests have smaller ones of the same kinds.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::time::{Duration, Instant};

use selvedge_protocol::log::MAX_LINE_BYTES;
use selvedge_protocol::{
    HistoryBase, HistoryMode, ResponseItem, RolloutItem, SessionMeta, ThreadId, ThreadQuery, TurnBoundary, TurnQuery,
};
use selvedge_rollout::RolloutHome;
use selvedge_rollout::doctor::{FindingKind, diagnose};
use selvedge_thread_store::{BatchId, ForkThread, ThreadReader, ThreadStore};
use selvedge_thread_store_local::LocalThreadStore;

use crate::damage::{head_line, line};
use crate::home::TestHome;
use selvedge_thread_store_conformance::fixtures::{head, id};

/// The length of the chain of bases.
const CHAIN: u32 = 100_000;
/// The length of the long line.
const LONG: usize = 1 << 30;

/// Returns the peak memory of the process since the last call. `None` if the system does not report it.
fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    let _ = fs::write("/proc/self/clear_refs", "5");
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

/// Runs work, prints what it took, and checks the limits.
async fn within<T>(what: &str, seconds: u64, mebibytes: u64, work: impl Future<Output = T>) -> T {
    peak();
    let start = Instant::now();
    let outcome = work.await;
    let (took, peak) = (start.elapsed(), peak());
    #[expect(clippy::print_stderr, reason = "the numbers are the purpose of the run")]
    {
        eprintln!("{what:<24} {:>7.2} s, peak {:>5} MiB", took.as_secs_f64(), peak.unwrap_or_default());
    }
    assert!(took < Duration::from_secs(seconds), "{what} took {took:?}");
    assert!(peak.is_none_or(|peak| peak < mebibytes), "{what} took {peak:?} MiB");
    outcome
}

/// Uses a thread and its home in every way, within these limits.
async fn use_all(home: &TestHome, thread_id: ThreadId, seconds: u64, mebibytes: u64) {
    let store: &LocalThreadStore = &home.store;
    within("read_thread", seconds, mebibytes, store.read_thread(thread_id)).await.unwrap();
    let query = ThreadQuery { limit: 20, ..ThreadQuery::default() };
    let listed = within("list_threads", seconds, mebibytes, store.list_threads(&query)).await.unwrap();
    assert!(!listed.items.is_empty());
    within("list_turns", seconds, mebibytes, store.list_turns(&TurnQuery::all(thread_id))).await.unwrap();
    within("load_model_context", seconds, mebibytes, store.load_model_context(thread_id)).await.unwrap();
    within("resume_thread", seconds, mebibytes, store.resume_thread(thread_id)).await.unwrap();
    let item = RolloutItem::from(ResponseItem::user_text("goes on"));
    within("append_items", seconds, mebibytes, store.append_items(thread_id, BatchId::generate(), &[item]))
        .await
        .unwrap();
    within("shutdown", seconds, mebibytes, store.shutdown_thread(thread_id)).await.unwrap();
    let meta = head(CHAIN + 1, HistoryMode::Paginated);
    let fork = ForkThread { source: thread_id, at: TurnBoundary::Latest, meta };
    within("fork", seconds, mebibytes, store.fork_thread(fork)).await.unwrap();
}

#[tokio::test]
#[ignore = "takes long; `cargo xtask hostile` runs it"]
async fn a_chain_of_100_000_bases_stays_within_limits() {
    let home = TestHome::empty().without_index();
    let day = home.put(id(1), head_line(head(1, HistoryMode::Paginated), 0) + &line(1)).parent().unwrap().to_owned();
    for n in 2..=CHAIN {
        let ordinal = u64::from(n);
        let base = HistoryBase {
            thread_id: Some(id(n - 1).into()),
            end_ordinal_exclusive: Some(ordinal),
            end_byte_offset: Some(1 << 20),
            ..Default::default()
        };
        let meta = SessionMeta { history_base: Some(base), ..head(1, HistoryMode::Paginated) };
        let name = format!("rollout-2026-11-21T09-09-03-{}_{}.jsonl", id(1), id(n));
        fs::write(day.join(name), head_line(meta, ordinal) + &line(ordinal + 1)).unwrap();
    }
    let history = within("load_history", 30, 300, home.store.load_history(id(1))).await.unwrap();
    // The head of each base is part of the chain.
    assert_eq!(history.lines.len(), 10_001);
    let reported: Vec<String> = history.damage.iter().map(ToString::to_string).collect();
    assert!(reported.iter().any(|reported| reported.contains("limit of 10,000")), "{:?}", reported.first());
    use_all(&home, id(1), 30, 300).await;
    let home = RolloutHome::new(home.path());
    let found = within("doctor", 60, 600, async { diagnose(&home, None, &|_| {}) }).await.unwrap();
    assert!(found.checked.files >= u64::from(CHAIN));
}

#[tokio::test]
#[ignore = "takes long; `cargo xtask hostile` runs it"]
async fn a_line_of_1_gib_stays_within_limits() {
    let home = TestHome::empty().without_index();
    let path = home.put(id(1), head_line(head(1, HistoryMode::Paginated), 0) + &line(1));
    let mut file = BufWriter::new(File::options().append(true).open(&path).unwrap());
    file.write_all(br#"{"timestamp":"2026-11-21T09:06:39.000Z","ordinal":2,"type":"event_msg","payload":{"a":""#)
        .unwrap();
    let block = vec![b'x'; 1 << 20];
    for _ in 0..LONG >> 20 {
        file.write_all(&block).unwrap();
    }
    file.write_all(b"\"}}\n").unwrap();
    file.write_all(line(3).as_bytes()).unwrap();
    file.flush().unwrap();
    drop(file);
    // A line is kept in memory up to its limit, in a buffer of up to twice that size, and a piece of it is kept as well.
    let most = 2 * (MAX_LINE_BYTES as u64 >> 20) + 256;
    let history = within("load_history", 30, most, home.store.load_history(id(1))).await.unwrap();
    assert_eq!((history.lines.len(), history.damage.len()), (3, 1), "{:?}", history.damage);
    use_all(&home, id(1), 30, most).await;
    let after = within("load_history", 30, most, home.store.load_history(id(1))).await.unwrap();
    assert_eq!(after.lines.last().unwrap().ordinal(), Some(4));
    let exported = within("export", 30, most, home.store.export(id(1), &mut std::io::sink())).await.unwrap();
    assert!(exported > LONG as u64);
    let home = RolloutHome::new(home.path());
    let found = within("doctor", 60, most, async { diagnose(&home, None, &|_| {}) }).await.unwrap();
    assert!(found.findings.iter().any(|finding| finding.kind == FindingKind::TooLong));
}
