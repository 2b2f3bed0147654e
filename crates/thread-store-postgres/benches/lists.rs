//! The speed of lists in a namespace with many threads.
//!
//! `cargo bench -p selvedge-thread-store-postgres --bench lists`. It starts a server of its own, with `fsync` on, and writes the rows of
//! the threads with SQL. Each question is asked by the store, as a program asks it. `docs/scale.md` has the results.
//!
//! Options: `--threads N` (100000), `--live N` threads that another store writes (100), `--rounds N` for each question (200).

#![expect(clippy::print_stdout, reason = "a benchmark prints its numbers")]

#[path = "../tests/it/many_threads.rs"]
mod many_threads;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use many_threads::{directory_of, id_of, insert, name_of};
use selvedge_postgres_server::PostgresServer;
use selvedge_protocol::{
    ArchivedFilter, CwdFilter, HistoryMode, Relation, ResponseItem, SessionMeta, SortDirection, ThreadId, ThreadQuery,
    ThreadSortKey, Timestamp,
};
use selvedge_thread_store::{BatchId, ThreadLookup, ThreadReader, ThreadStore};
use selvedge_thread_store_postgres::{PostgresOptions, PostgresThreadStore};
use sqlx::{Connection, Executor, PgConnection};
use uuid::Uuid;

/// The longest time for a page of 50 threads.
const TARGET: Duration = Duration::from_millis(5);

fn main() -> Result<()> {
    let (mut threads, mut live, mut rounds) = (100_000, 100, 200);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().context("an option has a value")?.parse::<usize>().context("a number");
        match &*argument {
            "--threads" => threads = value()?,
            "--live" => live = value()?,
            "--rounds" => rounds = value()?,
            _ => {}
        }
    }
    let Some(server) = PostgresServer::start(&[("max_connections", "100")]) else { return Ok(()) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(measure(&server.url(), (threads, live, rounds)))
}

async fn measure(url: &str, (threads, live, rounds): (usize, usize, usize)) -> Result<()> {
    let separator = if url.contains('?') { '&' } else { '?' };
    let options: PostgresOptions = format!("{url}{separator}namespace=many").parse()?;
    PostgresThreadStore::migrate(&options).await?;
    let mut connection = PgConnection::connect(url).await?;
    let began = Instant::now();
    insert(&mut connection, &options.schema, &options.namespace, threads).await?;
    println!("{threads} threads were written in {:?}", began.elapsed());
    let began = Instant::now();
    PostgresThreadStore::migrate(&options).await?;
    println!("their columns were filled in {:?}", began.elapsed());
    connection.execute("VACUUM ANALYZE").await?;
    let size = "SELECT pg_size_pretty(sum(pg_table_size(relid))), pg_size_pretty(sum(pg_indexes_size(relid)))
        FROM pg_partition_tree('selvedge.threads') WHERE isleaf";
    let (table, indexes): (String, String) = sqlx::query_as(size).fetch_one(&mut connection).await?;
    println!("the rows of threads have {table}, and their indexes {indexes}");

    // Another process writes some threads all the time.
    let writer = PostgresThreadStore::connect(&options).await?;
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..live {
        let (writer, id, now) = (writer.clone(), ThreadId::from_uuid(Uuid::now_v7()), Timestamp::from_millis(1));
        let head = SessionMeta { history_mode: Some(HistoryMode::Paginated), ..SessionMeta::new(id, now) };
        writer.create_thread(head).await?;
        writer.persist_thread(id).await?;
        writers.spawn(async move {
            loop {
                let item = ResponseItem::assistant_text("some words").into();
                if writer.append_items(id, BatchId::generate(), &[item]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(1000)).await;
            }
        });
    }
    let store = PostgresThreadStore::connect(&options).await?;
    ask(&store, threads, rounds).await?;
    writers.abort_all();
    Ok(())
}

/// Asks each question several times, and prints the median and the 99th percentile.
async fn ask(store: &PostgresThreadStore, threads: usize, rounds: usize) -> Result<()> {
    let first = ThreadQuery::default();
    let middle = Timestamp::from_millis(1_795_252_000_000 + (threads as i64 / 6) * 1000);
    let until = ThreadQuery { until: Some(middle), limit: 1, ..first.clone() };
    let cursor = store.list_threads(&until).await?.next_cursor;
    let cwd = |filter| ThreadQuery { cwd: vec![filter], ..first.clone() };
    let questions = [
        ("the first page", first.clone(), true),
        ("a page in the middle", ThreadQuery { cursor, ..first.clone() }, true),
        ("archived and active ones", ThreadQuery { archived: ArchivedFilter::All, ..first.clone() }, true),
        (
            "oldest first",
            ThreadQuery { sort: ThreadSortKey::CreatedAt, direction: SortDirection::Ascending, ..first.clone() },
            true,
        ),
        ("a directory with a tenth", cwd(CwdFilter::Exactly(directory_of(0))), true),
        ("a directory with few", cwd(CwdFilter::Exactly(directory_of(1))), true),
        ("below a directory with a tenth", cwd(CwdFilter::Under("/srv/team0".into())), true),
        ("below a directory with few", cwd(CwdFilter::Under(directory_of(1))), true),
        (
            "a source and a model",
            { ThreadQuery { sources: vec!["exec".into()], models: vec!["model1".into()], ..first.clone() } },
            true,
        ),
        ("with a name", ThreadQuery { named: Some(true), ..first.clone() }, true),
        ("descendants", ThreadQuery { relation: Some(Relation::DescendantOf(id_of(50))), ..first.clone() }, true),
        ("a model that no thread has", ThreadQuery { models: vec!["none".into()], ..first.clone() }, false),
        ("a word that no record has", ThreadQuery { search_term: Some("nowhere".into()), ..first.clone() }, false),
    ];
    for (what, query, has_target) in questions {
        let rounds = if has_target { rounds } else { 5 };
        let found = store.list_threads(&query).await?.items.len();
        let times = times(rounds, async || store.list_threads(&query).await.map(drop)).await?;
        print(&format!("{what}: {found} threads"), times, has_target);
    }
    let name = ThreadLookup::Name(name_of(14 * 20).context("a name")?);
    print("a name", times(rounds, async || store.find_threads(&name).await.map(drop)).await?, true);
    let prefix = ThreadLookup::IdPrefix(id_of(5).to_string()[..9].to_owned());
    print("the beginning of an id", times(rounds, async || store.find_threads(&prefix).await.map(drop)).await?, true);

    let began = Instant::now();
    let start = store.list_changes(None, 1).await?.next;
    println!("changes, the first time: {:?}", began.elapsed());
    // The cursor counts changes, so this is the one after all that were there.
    let log = start.as_str().rsplit_once('.').context("a cursor")?.0.to_owned();
    let cursor = format!("{log}.{}", usize::MAX).into();
    print(
        "changes, a poll",
        times(rounds, async || store.list_changes(Some(&cursor), 50).await.map(drop)).await?,
        true,
    );
    Ok(())
}

async fn times(rounds: usize, question: impl AsyncFn() -> selvedge_thread_store::Result<()>) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    for _ in 0..rounds {
        let began = Instant::now();
        question().await?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    Ok(times)
}

fn print(what: &str, times: Vec<Duration>, has_target: bool) {
    let (median, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    let target = if has_target { format!(" (at most {TARGET:?})") } else { String::new() };
    println!("{what}: median {median:.2?}, p99 {p99:.2?}{target}");
}
