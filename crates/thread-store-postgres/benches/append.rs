//! The speed of appends, relative to bare inserts of the same rows on the same server in the same run, and of imports.
//!
//! `cargo bench -p selvedge-thread-store-postgres --bench append`. It starts a server of its own, with `fsync` on. A bare insert is a
//! prepared `INSERT` without any check, each on a connection of its own. Rounds of both alternate, so that a noisy moment affects
//! both. `docs/scale.md` has the results.
//!
//! Options: `--seconds N` for each measurement (3), `--rounds N` (5), `--only NAME` for one setting.

#![expect(clippy::print_stdout, reason = "a benchmark prints its numbers")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use selvedge_postgres_server::PostgresServer;
use selvedge_protocol::{HistoryMode, ResponseItem, RolloutItem, RolloutLine, SessionMeta, ThreadId, Timestamp};
use selvedge_thread_store::{BatchId, SegmentInfo, SegmentPart, ThreadReader, ThreadStore};
use selvedge_thread_store_postgres::{PostgresOptions, PostgresThreadStore};
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor};
use tokio::task::JoinSet;
use uuid::Uuid;

/// A line has about this many bytes of text.
const TEXT: usize = 400;

/// One comparison.
#[derive(Clone, Copy)]
struct Setting {
    name: &'static str,
    /// How many threads append at the same time.
    threads: usize,
    lines: usize,
    /// The connections of the store, and of the bare inserts.
    connections: u32,
    /// How many lines a bare insert has.
    bare_lines: usize,
    /// How many stores, as if each were a process, share the threads.
    stores: usize,
    /// The least ratio of the throughputs.
    target: f64,
}

const SETTINGS: [Setting; 4] = [
    Setting { name: "one-line", threads: 32, lines: 1, connections: 32, bare_lines: 1, stores: 1, target: 0.7 },
    Setting { name: "ten-lines", threads: 32, lines: 10, connections: 32, bare_lines: 10, stores: 1, target: 0.7 },
    Setting { name: "many-threads", threads: 64, lines: 1, connections: 8, bare_lines: 1, stores: 1, target: 2.0 },
    Setting { name: "many-stores", threads: 32, lines: 1, connections: 32, bare_lines: 1, stores: 32, target: 0.7 },
];

/// The largest ratio of the p99 latencies.
const LATENCY_TARGET: f64 = 3.0;

/// The bytes of an imported segment and of a part of it, and the least speed in MB/s.
const IMPORTED: usize = 100_000_000;
const PART: usize = 1 << 20;
const IMPORT_TARGET: f64 = 20.0;

/// What one measurement found.
#[derive(Clone, Copy)]
struct Measured {
    lines_per_second: f64,
    p99: Duration,
}

fn main() -> Result<()> {
    let (mut seconds, mut rounds, mut only) = (3.0, 5, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().context("an option has a value");
        match &*argument {
            "--seconds" => seconds = value()?.parse()?,
            "--rounds" => rounds = value()?.parse()?,
            "--only" => only = Some(value()?),
            _ => {}
        }
    }
    let Some(server) = PostgresServer::start(&[("max_connections", "200")]) else { return Ok(()) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let duration = Duration::from_secs_f64(seconds);
    for setting in SETTINGS.iter().filter(|setting| only.as_deref().is_none_or(|only| only == setting.name)) {
        let (mut ratios, mut latencies) = (Vec::new(), Vec::new());
        for round in 0..=rounds {
            let bare = runtime.block_on(bare(&server.url(), *setting, duration))?;
            let store = runtime.block_on(appends(&server.url(), *setting, duration))?;
            // The first round warms up.
            if round == 0 {
                continue;
            }
            println!(
                "{}: bare {:.0} lines/s, p99 {:?}; appends {:.0} lines/s, p99 {:?}",
                setting.name, bare.lines_per_second, bare.p99, store.lines_per_second, store.p99
            );
            ratios.push(store.lines_per_second / bare.lines_per_second);
            latencies.push(store.p99.as_secs_f64() / bare.p99.as_secs_f64());
        }
        println!(
            "{}: throughput {:.2} (at least {}), p99 {:.2} (at most {LATENCY_TARGET})",
            setting.name,
            median(ratios),
            setting.target,
            median(latencies)
        );
    }
    if only.as_deref().is_none_or(|only| only == "import") {
        for _ in 0..rounds {
            let (speed, folded) = runtime.block_on(import(&server.url()))?;
            println!("import: {speed:.1} MB/s (at least {IMPORT_TARGET}), the record {folded:?} later");
        }
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Summarizes the latencies of all calls.
fn measured(mut latencies: Vec<Duration>, lines: usize, took: Duration) -> Measured {
    latencies.sort_unstable();
    let p99 = latencies.get(latencies.len() * 99 / 100).copied().unwrap_or_default();
    Measured { lines_per_second: (latencies.len() * lines) as f64 / took.as_secs_f64(), p99 }
}

fn item() -> RolloutItem {
    ResponseItem::assistant_text(&"words of an answer ".repeat(TEXT / 19)).into()
}

/// Runs `tasks` until the time is over, and collects their latencies.
async fn collect(mut tasks: JoinSet<Result<Vec<Duration>>>) -> Result<Vec<Duration>> {
    let mut all = Vec::new();
    while let Some(latencies) = tasks.join_next().await {
        all.extend(latencies??);
    }
    Ok(all)
}

fn options(url: &str, connections: u32) -> Result<PostgresOptions> {
    let separator = if url.contains('?') { '&' } else { '?' };
    let options = format!("{url}{separator}namespace={}&pool={connections}", Uuid::now_v7());
    Ok(options.parse()?)
}

/// Measures inserts of the rows of lines, without a check.
async fn bare(url: &str, setting: Setting, duration: Duration) -> Result<Measured> {
    PostgresThreadStore::migrate(&options(url, 2)?).await?;
    let line = RolloutLine::new(Timestamp::from_millis(1_795_252_000_000), Some(1000), &item());
    let bytes = Arc::new(format!("{}\n", line.text()).into_bytes());
    let mut connections = Vec::new();
    for _ in 0..setting.connections {
        connections.push(PgConnection::connect(url).await?);
    }
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for connection in connections {
        let (bytes, kind) = (Arc::clone(&bytes), line.kind().to_owned());
        tasks.spawn(insert_until(connection, setting.bare_lines, bytes, kind, began + duration));
    }
    let latencies = collect(tasks).await?;
    Ok(measured(latencies, setting.bare_lines, began.elapsed()))
}

async fn insert_until(
    mut connection: PgConnection,
    lines: usize,
    bytes: Arc<Vec<u8>>,
    kind: String,
    end: Instant,
) -> Result<Vec<Duration>> {
    const COLUMNS: &str =
        "namespace, thread_id, segment_id, start_byte, ordinal, at, batch, batch_lines, kind, damage, bytes";
    let (namespace, thread_id, mut latencies, mut start) = ("bare", Uuid::now_v7(), Vec::new(), 0_i64);
    let one = format!("INSERT INTO selvedge.lines ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)");
    let many = format!(
        "INSERT INTO selvedge.lines ({COLUMNS}) SELECT $1, $2, $3, l.* FROM unnest($4::bigint[], $5::bigint[], $6::bigint[],
            $7::uuid[], $8::integer[], $9::text[], $10::text[], $11::bytea[]) AS l"
    );
    while Instant::now() < end {
        let began = Instant::now();
        let query = sqlx::query(if lines == 1 { &one } else { &many });
        let query = query.bind(namespace).bind(thread_id).bind(thread_id);
        let size = bytes.len() as i64;
        let query = if lines == 1 {
            let query = query.bind(start).bind(start).bind(start).bind(Uuid::now_v7()).bind(1_i32);
            query.bind(&*kind).bind(None::<String>).bind(&**bytes)
        } else {
            let starts: Vec<i64> = (0..lines as i64).map(|number| start + number * size).collect();
            let batch: Vec<_> = (0..lines).map(|number| (number == 0).then(Uuid::now_v7)).collect();
            let batch_lines: Vec<_> = (0..lines).map(|number| (number == 0).then_some(lines as i32)).collect();
            let query = query.bind(starts.clone()).bind(starts.clone()).bind(starts).bind(batch).bind(batch_lines);
            let query = query.bind(vec![&*kind; lines]).bind(vec![None::<String>; lines]);
            query.bind(vec![&**bytes; lines])
        };
        connection.execute(query).await?;
        start += size * lines as i64;
        latencies.push(began.elapsed());
    }
    connection.close().await?;
    Ok(latencies)
}

/// Measures appends of a store.
async fn appends(url: &str, setting: Setting, duration: Duration) -> Result<Measured> {
    let options = options(url, (setting.connections / setting.stores as u32).max(2))?;
    let mut stores = Vec::new();
    for _ in 0..setting.stores {
        stores.push(PostgresThreadStore::connect(&options).await?);
    }
    let mut threads = Vec::new();
    for number in 0..setting.threads {
        let store = stores[number % stores.len()].clone();
        let (thread_id, now) = (ThreadId::from_uuid(Uuid::now_v7()), Timestamp::from_millis(1_795_252_000_000));
        let head = SessionMeta { history_mode: Some(HistoryMode::Paginated), ..SessionMeta::new(thread_id, now) };
        store.create_thread(head).await?;
        store.persist_thread(thread_id).await?;
        threads.push((store, thread_id));
    }
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for (store, thread_id) in threads {
        tasks.spawn(async move {
            let (items, mut latencies) = (vec![item(); setting.lines], Vec::new());
            while Instant::now() < began + duration {
                let began = Instant::now();
                store.append_items(thread_id, BatchId::generate(), &items).await?;
                latencies.push(began.elapsed());
            }
            Ok(latencies)
        });
    }
    let latencies = collect(tasks).await?;
    Ok(measured(latencies, setting.lines, began.elapsed()))
}

/// Imports a segment. Returns the speed in MB/s, and how long its record took afterwards.
async fn import(url: &str) -> Result<(f64, Duration)> {
    let options = options(url, 4)?;
    PostgresThreadStore::migrate(&options).await?;
    let store = PostgresThreadStore::connect(&options).await?;
    let (thread_id, now) = (ThreadId::from_uuid(Uuid::now_v7()), Timestamp::from_millis(1_795_252_000_000));
    let head = SessionMeta { history_mode: Some(HistoryMode::Paginated), ..SessionMeta::new(thread_id, now) };
    let mut bytes = format!("{}\n", RolloutLine::new(now, Some(0), &head.into()).text()).into_bytes();
    let mut ordinal = 1;
    while bytes.len() < IMPORTED {
        bytes.extend_from_slice(RolloutLine::new(now, Some(ordinal), &item()).text().as_bytes());
        bytes.push(b'\n');
        ordinal += 1;
    }
    let info = SegmentInfo {
        thread_id,
        id: thread_id.into(),
        created: now,
        file_name: None,
        base: None,
        bytes: bytes.len() as u64,
        is_current: true,
    };
    let began = Instant::now();
    for (number, part) in bytes.chunks(PART).enumerate() {
        let at = number * PART;
        let is_last = at + part.len() == bytes.len();
        store.import_segment(SegmentPart { info: &info, at: at as u64, bytes: part, is_last }).await?;
    }
    let took = began.elapsed();
    store.read_thread(thread_id).await?;
    Ok((bytes.len() as f64 / 1e6 / took.as_secs_f64(), began.elapsed() - took))
}
