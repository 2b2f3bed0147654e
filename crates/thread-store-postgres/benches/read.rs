//! The speed of reads of a thread of 100 MB, and of a search among many threads.
//!
//! `cargo bench -p selvedge-thread-store-postgres --bench read`. It starts a server of its own, with `fsync` on. `docs/scale.md` has the
//! results.
//!
//! Options: `--threads N` for the search (100,000), `--rounds N` for each read (20).
//!
//! The threads of the search are 1,000 that were recorded and projected, each copied in the database as often as needed with an id of
//! its own.

#![expect(clippy::print_stdout, reason = "a benchmark prints its numbers")]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use selvedge_postgres_server::PostgresServer;
use selvedge_protocol::{
    Compacted, Cursor, HistoryMode, ResponseItem, RolloutItem, SearchQuery, SessionMeta, SortDirection, ThreadId,
    Timestamp, TurnContext, TurnQuery,
};
use selvedge_thread_store::{BatchId, ThreadReader, ThreadStore};
use selvedge_thread_store_conformance::fixtures;
use selvedge_thread_store_postgres::{PostgresOptions, PostgresThreadStore};
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor};

const MODE: HistoryMode = HistoryMode::Paginated;

/// The size of the long thread, of its end after the compaction, and of one of its turns.
const LONG: usize = 100_000_000;
const AFTER_COMPACTION: usize = 1_000_000;
const TURN: usize = 10_000;

/// How many threads are recorded for the search. The others are copies.
const RECORDED: usize = 1_000;

fn main() -> Result<()> {
    let (mut threads, mut rounds) = (100_000, 20);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().context("an option has a value");
        match &*argument {
            "--threads" => threads = value()?.parse()?,
            "--rounds" => rounds = value()?.parse()?,
            _ => {}
        }
    }
    let Some(server) = PostgresServer::start(&[]) else { return Ok(()) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(long_thread(&server.url(), rounds))?;
    runtime.block_on(many_threads(&server.url(), threads, rounds))
}

async fn open(url: &str, namespace: &str) -> Result<PostgresThreadStore> {
    let separator = if url.contains('?') { '&' } else { '?' };
    let options: PostgresOptions = format!("{url}{separator}namespace={namespace}").parse()?;
    PostgresThreadStore::migrate(&options).await?;
    Ok(PostgresThreadStore::connect(&options).await?)
}

/// Returns words that look random, and are the same for the same number.
fn words(number: usize, bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 16);
    let mut state = number as u64 + 1;
    while text.len() < bytes {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // One of 5,000 words of four syllables.
        let mut word = (mixed >> 33) % 5_000;
        for _ in 0..4 {
            let syllables = ["ba", "de", "fi", "go", "lu", "ma", "ne", "pi", "ro", "su"];
            text.push_str(syllables[usize::try_from(word % 10).unwrap_or_default()]);
            word = word / 10 + 3;
        }
        text.push(' ');
    }
    text
}

/// Returns a turn of about this many bytes of lines.
fn turn(name: &str, number: usize, bytes: usize) -> Vec<RolloutItem> {
    let context: RolloutItem = TurnContext { model: Some("m".into()), ..TurnContext::default() }.into();
    let mut items = fixtures::turn(MODE, name);
    let texts = (0..4).map(|part| ResponseItem::assistant_text(&words(number * 4 + part, bytes / 4)).into());
    items.splice(1..1, [context].into_iter().chain(texts));
    items
}

async fn begin(store: &PostgresThreadStore, thread_id: ThreadId) -> Result<()> {
    let meta = SessionMeta { history_mode: Some(MODE), ..SessionMeta::new(thread_id, Timestamp::from_millis(0)) };
    Ok(store.create_thread(meta).await?)
}

/// Waits until the projections of a namespace have every line. Returns how long that took.
async fn projected(connection: &mut PgConnection, namespace: &str) -> Result<Duration> {
    let began = Instant::now();
    let behind = "SELECT count(*) FROM selvedge.threads WHERE namespace = $1 AND projection_version = 0";
    while sqlx::query_scalar::<_, i64>(behind).bind(namespace).fetch_one(&mut *connection).await? > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(began.elapsed())
}

/// Prints the median and the slowest of several reads.
async fn measure<F: Future<Output = Result<()>>>(
    name: &str,
    target: &str,
    rounds: usize,
    read: impl Fn() -> F,
) -> Result<()> {
    read().await?;
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let began = Instant::now();
        read().await?;
        times.push(began.elapsed());
    }
    times.sort();
    println!("{name}: {:.1?} (at most {target}), slowest {:.1?}", times[times.len() / 2], times[times.len() - 1]);
    Ok(())
}

async fn long_thread(url: &str, rounds: usize) -> Result<()> {
    let store = open(url, "long").await?;
    let thread_id = ThreadId::new(Timestamp::from_millis(1));
    begin(&store, thread_id).await?;
    let (turns, before) = (LONG / TURN, (LONG - AFTER_COMPACTION) / TURN);
    for first in (0..turns).step_by(50) {
        let mut items = Vec::new();
        for number in first..(first + 50).min(turns) {
            if number == before {
                let compacted = Compacted {
                    message: Some("summary".into()),
                    replacement_history: Some(vec![ResponseItem::user_text("kept")]),
                    window_number: Some(1),
                    ..Compacted::default()
                };
                let mut with_compaction = turn(&format!("t{number}"), number, TURN);
                with_compaction.insert(2, compacted.into());
                items.extend(with_compaction);
            } else {
                items.extend(turn(&format!("t{number}"), number, TURN));
            }
        }
        store.append_items(thread_id, BatchId::generate(), &items).await?;
    }
    store.shutdown_thread(thread_id).await?;
    let mut connection = PgConnection::connect(url).await?;
    let late = projected(&mut connection, "long").await?;
    println!("projections of the long thread: {late:.1?} after the last line was written");
    connection.execute("ANALYZE").await?;
    // The first read and others of its own in between.
    measure("model context", "30 ms", rounds, || async {
        let context = store.load_model_context(thread_id).await?;
        ensure!(context.history.len() > 100, "{} items", context.history.len());
        Ok(())
    })
    .await?;
    for (name, direction, cursor) in [
        ("20 turns at the end", SortDirection::Descending, None),
        ("20 turns in the middle", SortDirection::Ascending, Some(Cursor::at_position(turns as u64 / 2))),
        ("20 turns at the beginning", SortDirection::Ascending, None),
    ] {
        let query = TurnQuery { direction, cursor, limit: 20, ..TurnQuery::all(thread_id) };
        measure(name, "10 ms", rounds, || async {
            let page = store.list_turns(&query).await?;
            ensure!(page.items.len() == 20 && page.items[0].items.len() > 4, "{} turns", page.items.len());
            Ok(())
        })
        .await?;
    }
    Ok(())
}

async fn many_threads(url: &str, threads: usize, rounds: usize) -> Result<()> {
    let store = open(url, "many").await?;
    let mut connection = PgConnection::connect(url).await?;
    let began = Instant::now();
    let recorded = RECORDED.min(threads);
    for number in 0..recorded {
        let thread_id = ThreadId::new(Timestamp::from_millis(number as i64));
        begin(&store, thread_id).await?;
        store.append_items(thread_id, BatchId::generate(), &turn("t", number, 1_000)).await?;
        store.shutdown_thread(thread_id).await?;
    }
    let late = projected(&mut connection, "many").await?;
    println!("{recorded} threads recorded in {:.1?}, projected {late:.1?} later", began.elapsed() - late);
    let began = Instant::now();
    copy_threads(&mut connection, (threads / recorded).max(1)).await?;
    let (rare, text) = (ThreadId::new(Timestamp::from_millis(i64::from(u32::MAX))), "an unheard-of zyzzyvaline word");
    begin(&store, rare).await?;
    let mut items = turn("t", 1, 1_000);
    items.insert(2, ResponseItem::assistant_text(text).into());
    store.append_items(rare, BatchId::generate(), &items).await?;
    store.shutdown_thread(rare).await?;
    projected(&mut connection, "many").await?;
    connection.execute("ANALYZE").await?;
    let count: i64 =
        sqlx::query_scalar("SELECT count(*) FROM selvedge.search_blocks").fetch_one(&mut connection).await?;
    println!("{threads} threads, {count} blocks, copied in {:.1?}", began.elapsed());
    for (name, text) in
        [("a rare word", "zyzzyvaline"), ("a part of it", "zyzzyv"), ("a word that nobody has", "qwrtzp")]
    {
        let expected = usize::from(text.starts_with("zy"));
        measure(name, "50 ms", rounds, || async {
            let page = store.search_threads(&SearchQuery::new(text)).await?;
            ensure!(page.items.len() == expected, "{} hits", page.items.len());
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// Copies all threads of the namespace `many`, so that there are `times` as many.
async fn copy_threads(connection: &mut PgConnection, times: usize) -> Result<()> {
    connection
        .execute(&*format!(
            "CREATE TEMP TABLE copies AS SELECT thread_id AS old, gen_random_uuid() AS new
                FROM selvedge.threads CROSS JOIN generate_series(2, {times}) WHERE namespace = 'many'"
        ))
        .await?;
    // A first segment has the id of its thread.
    for (table, columns) in [
        ("threads", "record, folded_segment, segment_id"),
        ("segments", "head, segment_id"),
        ("segment_owners", "segment_id"),
        ("lines", "bytes, segment_id"),
        ("projections", "chain"),
        ("turns", ""),
        ("search_blocks", ""),
    ] {
        let names = "SELECT column_name::text FROM information_schema.columns
            WHERE table_schema = 'selvedge' AND table_name = $1 AND is_generated = 'NEVER' ORDER BY ordinal_position";
        let names: Vec<String> = sqlx::query_scalar(names).bind(table).fetch_all(&mut *connection).await?;
        let changed: Vec<&str> = columns.split(", ").collect();
        let value = |name: &String| match &**name {
            "thread_id" | "segment_id" | "folded_segment" => "c.new".to_owned(),
            "state" => "gen_random_uuid()".to_owned(),
            name if changed.contains(&name) => {
                format!("convert_to(replace(convert_from(t.{name}, 'UTF8'), c.old::text, c.new::text), 'UTF8')")
            }
            name => format!("t.{name}"),
        };
        let values: Vec<String> = names.iter().map(value).collect();
        let statement = format!(
            "INSERT INTO selvedge.{table} ({}) SELECT {} FROM selvedge.{table} t JOIN copies c ON c.old = t.thread_id
            WHERE t.namespace = 'many'",
            names.join(", "),
            values.join(", ")
        );
        connection.execute(&*statement).await?;
    }
    Ok(())
}
