//! The partitions of a store on four servers of their own, by `postgres_fdw`.
//!
//! ```text
//! store ── coordinator: partitioned tables without rows, and foreign tables as their partitions
//!            ├── server 0: partitions 0 and 4 of each table
//!            ├── server 1: partitions 1 and 5
//!            ├── server 2: partitions 2 and 6
//!            └── server 3: partitions 3 and 7
//! ```
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use selvedge_postgres_server::PostgresServer;
use selvedge_protocol::{HistoryMode, ThreadQuery};
use selvedge_thread_store::{BatchId, ThreadReader, ThreadStore};
use selvedge_thread_store_conformance::fixtures::{assert_consecutive_ordinals, id, record};
use selvedge_thread_store_conformance::run;
use selvedge_thread_store_postgres::PostgresThreadStore;

use crate::appends::numbered;
use crate::place::{PlaceServer, PostgresPlace, options_of};
use crate::roles::selected_rules;

const MODE: HistoryMode = HistoryMode::Paginated;

/// How many servers keep rows.
const SERVERS: usize = 4;

/// The rules that are checked, by the beginnings of their names. `SELVEDGE_DISTRIBUTED_RULES=.` checks all.
const RULES: &str = "lifecycle. batches.repeated-batch changes. list.filters";

// A statement for several threads locks rows on several servers, and no server sees a deadlock of two of them. So each server has a
// `lock_timeout`.

/// Puts foreign tables in the place of the partitions: partition N is that of server N modulo 4.
///
/// A partitioned table with a unique index can have no foreign partitions, so the coordinator has no keys. The servers have
/// them.
const DISTRIBUTE: &str = "DO $$
DECLARE
    part record;
BEGIN
    FOR part IN
        SELECT p.relname AS parent, c.relname AS name, pg_get_expr(c.relpartbound, c.oid) AS bound,
            substring(c.relname FROM '[0-9]+$')::integer AS number
        FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent JOIN pg_class c ON c.oid = i.inhrelid
        WHERE p.relkind = 'p' AND p.relnamespace = 'selvedge'::regnamespace
    LOOP
        EXECUTE format('ALTER TABLE selvedge.%I DROP CONSTRAINT IF EXISTS %I', part.parent, part.parent || '_pkey');
        EXECUTE format('DROP TABLE selvedge.%I', part.name);
        EXECUTE format(
            'CREATE FOREIGN TABLE selvedge.%I PARTITION OF selvedge.%I %s SERVER server_%s
                OPTIONS (schema_name ''selvedge'', table_name %L)',
            part.name, part.parent, part.bound, part.number % 4, part.name
        );
    END LOOP;
END $$";

/// The coordinator and the servers with the rows.
struct Servers {
    coordinator: PostgresServer,
    keepers: Vec<Mutex<PostgresServer>>,
}

impl Servers {
    /// Starts the servers, and creates the tables. Ends the process if there are no servers: the test is skipped, as a line says.
    async fn start() -> Self {
        let start = || PostgresServer::start(&[("max_connections", "300")]).unwrap_or_else(|| std::process::exit(0));
        let coordinator = start();
        coordinator.execute("CREATE EXTENSION postgres_fdw");
        PostgresThreadStore::migrate(&options_of(&coordinator.url(), "")).await.unwrap();
        let mut keepers = Vec::new();
        for number in 0..SERVERS {
            let keeper = start();
            PostgresThreadStore::migrate(&options_of(&keeper.url(), "")).await.unwrap();
            let url = keeper.url();
            let (_, folder) = url.split_once("?host=").unwrap();
            coordinator.execute(&format!(
                "CREATE SERVER server_{number} FOREIGN DATA WRAPPER postgres_fdw
                OPTIONS (host '{folder}', dbname 'postgres', connect_timeout '2', options '-c lock_timeout=500')"
            ));
            coordinator.execute(&format!(
                "CREATE USER MAPPING FOR CURRENT_USER SERVER server_{number} OPTIONS (user 'postgres')"
            ));
            keepers.push(Mutex::new(keeper));
        }
        coordinator.execute(DISTRIBUTE);
        Self { coordinator, keepers }
    }

    fn place(self: &Arc<Self>, parameters: &str) -> PostgresPlace<Self> {
        PostgresPlace { schema: Arc::clone(self), options: options_of(&self.url(), parameters) }
    }

    /// Returns how many threads a server keeps.
    fn threads_of(&self, number: usize) -> u64 {
        self.keepers[number].lock().unwrap().execute("SELECT count(*) FROM selvedge.threads").parse().unwrap()
    }
}

impl PlaceServer for Servers {
    fn url(&self) -> String {
        self.coordinator.url()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_on_four_servers_keeps_the_rules() {
    let servers = Arc::new(Servers::start().await);
    let counted = Arc::clone(&servers);
    let new_place = move || std::future::ready(servers.place(""));
    let report = run(new_place, &selected_rules("SELVEDGE_DISTRIBUTED_RULES", RULES)).await;
    println!("{report}");
    assert!(report.is_passed(), "{report}");
    assert!((0..SERVERS).all(|number| counted.threads_of(number) > 0), "each server keeps threads");
}

/// One of four servers is killed while 16 threads are written. Those of the others go on, and its own are complete when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threads_of_other_servers_go_on_while_one_is_down() {
    const THREADS: u32 = 16;
    let servers = Arc::new(Servers::start().await);
    let store = servers.place("retry=30&pool=8").open().await;
    let mut dead = Vec::new();
    for number in 1..=THREADS {
        let before = servers.threads_of(0);
        record(&store, number, MODE, &[]).await;
        store.resume_thread(id(number)).await.unwrap();
        dead.push(servers.threads_of(0) > before);
    }
    assert!(dead.contains(&true) && dead.contains(&false), "{dead:?}");
    let (begin, end) = (Instant::now() + Duration::from_millis(300), Duration::from_secs(6));
    let mut writers = tokio::task::JoinSet::new();
    for number in 1..=THREADS {
        let store = store.clone();
        writers.spawn(async move {
            let (mut count, mut longest) = (0, Duration::ZERO);
            while Instant::now() < begin + end {
                let began = Instant::now();
                store.append_items(id(number), BatchId::generate(), &[numbered(count)]).await.unwrap();
                longest = longest.max(began.elapsed());
                count += 1;
            }
            (number, count, longest)
        });
    }
    tokio::time::sleep_until(begin.into()).await;
    servers.keepers[0].lock().unwrap().kill();
    tokio::time::sleep(end / 2).await;
    servers.keepers[0].lock().unwrap().restart();
    for (number, count, longest) in writers.join_all().await {
        let is_dead = dead[number as usize - 1];
        println!("thread {number}: {count} appends, the longest took {longest:?}, on the killed server: {is_dead}");
        // An append that was on the way together with one for the killed server is tried again alone.
        assert_eq!(longest > end / 3, is_dead, "thread {number}: {longest:?}");
        let history = store.load_history(id(number)).await.unwrap();
        assert_consecutive_ordinals(&history);
        let items: Vec<_> = history.lines[1..].iter().map(|line| line.item()).collect();
        assert_eq!(items, (0..count).map(numbered).collect::<Vec<_>>());
    }
}

/// Returns how many appends of one line to 16 threads a store makes in a second, and how long a list of all threads takes.
async fn measure(store: &PostgresThreadStore) -> (f64, Duration) {
    const SECONDS: u64 = 5;
    for number in 1..=16 {
        record(store, number, MODE, &[]).await;
        store.resume_thread(id(number)).await.unwrap();
    }
    let mut writers = tokio::task::JoinSet::new();
    let began = Instant::now();
    for number in 1..=16 {
        let store = store.clone();
        writers.spawn(async move {
            let mut count = 0;
            while began.elapsed() < Duration::from_secs(SECONDS) {
                store.append_items(id(number), BatchId::generate(), &[numbered(count)]).await.unwrap();
                count += 1;
            }
            count
        });
    }
    let appends: usize = writers.join_all().await.iter().sum();
    let per_second = appends as f64 / began.elapsed().as_secs_f64();
    let began = Instant::now();
    assert_eq!(store.list_threads(&ThreadQuery::default()).await.unwrap().items.len(), 16);
    (per_second, began.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, for docs/scale.md"]
async fn what_distribution_costs() {
    let servers = Arc::new(Servers::start().await);
    for _ in 0..3 {
        let one = options_of(&servers.keepers[0].lock().unwrap().url(), "lease=30");
        let one = measure(&PostgresThreadStore::connect(&one).await.unwrap()).await;
        let four = measure(&servers.place("lease=30").open().await).await;
        println!(
            "one server: {:.0} appends/s, list {:?}; four: {:.0} appends/s ({:.3}), list {:?}",
            one.0,
            one.1,
            four.0,
            four.0 / one.0,
            four.1
        );
    }
}
