//! Pages of many threads: what they have, and how the database finds it.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use selvedge_postgres_server::PostgresServer;
use selvedge_protocol::{
    ArchivedFilter, CwdFilter, HistoryMode, Page, Relation, SortDirection, StoredThread, ThreadQuery, ThreadSortKey,
    Timestamp,
};
use selvedge_thread_store::implement::page_threads;
use selvedge_thread_store::{BatchId, LineQuery, LineStart, ThreadChange, ThreadLookup, ThreadReader, ThreadStore};
use selvedge_thread_store_conformance::fixtures::{head, id, record, turn};
use selvedge_thread_store_conformance::{RunOptions, run};
use selvedge_thread_store_postgres::{PostgresOptions, PostgresThreadStore};
use serde_json::Value;
use sqlx::{Connection, Executor, PgConnection};
use url::Url;

use crate::many_threads::{directory_of, id_of, insert, name_of};
use crate::place::{PostgresPlace, new_place, options_of};

const MODE: HistoryMode = HistoryMode::Paginated;

/// More than a chunk of a list and than a directory with few threads has, and enough for an index to be worth it in each partition.
const THREADS: usize = 5000;

/// Creates a namespace with many threads.
async fn fill(options: &PostgresOptions, url: &str) -> PgConnection {
    PostgresThreadStore::migrate(options).await.unwrap();
    let mut connection = PgConnection::connect(url).await.unwrap();
    insert(&mut connection, &options.schema, &options.namespace, THREADS).await.unwrap();
    connection
}

/// Returns queries of all kinds: every order, every filter, alone and together.
fn queries() -> Vec<ThreadQuery> {
    let base = ThreadQuery::default();
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let at = |number: i64| Some(Timestamp::from_millis(1_795_252_000_000 + number));
    let large = directory_of(0);
    let mut queries = vec![
        ThreadQuery { limit: 1, ..base.clone() },
        ThreadQuery { limit: 63, archived: ArchivedFilter::All, ..base.clone() },
        ThreadQuery { limit: 64, archived: ArchivedFilter::Archived, ..base.clone() },
        ThreadQuery { limit: 300, ..base.clone() },
        ThreadQuery { sources: texts(&["subagent", "exec"]), ..base.clone() },
        ThreadQuery { model_providers: texts(&["provider1"]), models: texts(&["model2", "x"]), ..base.clone() },
        ThreadQuery { cwd: vec![CwdFilter::Exactly(large.clone())], ..base.clone() },
        ThreadQuery { cwd: vec![CwdFilter::Exactly(format!("{large}/../project0/."))], limit: 3, ..base.clone() },
        ThreadQuery { cwd: vec![CwdFilter::Under("/srv/team7".into())], ..base.clone() },
        ThreadQuery { cwd: vec![CwdFilter::Under("/srv/team0".into())], ..base.clone() },
        // More threads than are read together.
        ThreadQuery { cwd: vec![CwdFilter::Under("/srv".into()), CwdFilter::Exactly("/x".into())], ..base.clone() },
        ThreadQuery { cwd: (0..3).map(|n| CwdFilter::Exactly(directory_of(n))).collect(), ..base.clone() },
        ThreadQuery { cwd: (0..9).map(|n| CwdFilter::Exactly(directory_of(n))).collect(), ..base.clone() },
        ThreadQuery { cwd: vec![CwdFilter::Exactly(String::new())], ..base.clone() },
        ThreadQuery { git_branch: Some("topic".into()), ..base.clone() },
        ThreadQuery { git_repository: Some("repo7".into()), ..base.clone() },
        ThreadQuery { git_repository: Some("epo7".into()), ..base.clone() },
        ThreadQuery { git_repository: Some("git@HOST:team7/repo7".into()), ..base.clone() },
        ThreadQuery { named: Some(true), ..base.clone() },
        ThreadQuery { named: Some(false), limit: 200, ..base.clone() },
        ThreadQuery { since: at(100_000), until: at(1_500_000), ..base.clone() },
        // Few matches, which only the program can tell.
        ThreadQuery { search_term: Some("PART 77".into()), ..base.clone() },
        ThreadQuery { search_term: Some("Name 5".into()), limit: 7, ..base.clone() },
        ThreadQuery { search_term: Some("nowhere".into()), ..base.clone() },
        ThreadQuery { relation: Some(Relation::ChildOf(id_of(50))), ..base.clone() },
        ThreadQuery { relation: Some(Relation::DescendantOf(id_of(50))), limit: 1, ..base.clone() },
        ThreadQuery { relation: Some(Relation::DescendantOf(id_of(50))), sources: texts(&["exec"]), ..base.clone() },
    ];
    let other = [ThreadSortKey::CreatedAt, ThreadSortKey::RecencyAt].into_iter().cycle();
    let others = queries.iter().zip(other).map(|(query, sort)| {
        let direction = SortDirection::Ascending;
        ThreadQuery { sort, direction, ..query.clone() }
    });
    let others: Vec<_> = others.collect();
    queries.extend(others);
    queries
}

/// Compares the first pages of queries with those of the whole list.
async fn compare_pages(store: &PostgresThreadStore, all: &[StoredThread], queries: Vec<ThreadQuery>) {
    for mut query in queries {
        let whole = ThreadQuery { limit: usize::MAX, ..query.clone() };
        let whole = page_threads(&whole, all.to_vec()).unwrap().items;
        for start in (0..=whole.len()).step_by(query.limit).take(3) {
            let end = whole.len().min(start + query.limit);
            let next_cursor = (end < whole.len()).then(|| query.cursor_after(&whole[end - 1]));
            let expected = Page { items: whole[start..end].to_vec(), next_cursor };
            let found = store.list_threads(&query).await.unwrap();
            assert_eq!(found, expected, "from {start} of {query:?}");
            query.cursor = found.next_cursor;
            if query.cursor.is_none() {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_are_those_of_the_whole_list() {
    let place = new_place().await;
    let mut connection = fill(&place.options, &place.schema.url()).await;
    let store = place.open().await;
    let everything = ThreadQuery {
        limit: usize::MAX,
        archived: ArchivedFilter::All,
        sort: ThreadSortKey::CreatedAt,
        ..ThreadQuery::default()
    };
    // Without the columns, a list folds records as it did before there were any.
    let all = store.list_threads(&everything).await.unwrap().items;
    assert_eq!(all.len(), THREADS);
    let recent = ThreadQuery { limit: 100, ..ThreadQuery::default() };
    assert_eq!(store.list_threads(&recent).await.unwrap(), page_threads(&recent, all.clone()).unwrap());

    PostgresThreadStore::migrate(&place.options).await.unwrap();
    let missing = place.sql("SELECT count(*) FROM @.threads WHERE record_version <> 2 OR record_updated_at IS NULL");
    assert_eq!(place.schema.execute(&missing), "0");
    assert_eq!(store.list_threads(&everything).await.unwrap().items, all);
    compare_pages(&store, &all, queries()).await;

    // Some threads have lines that are not in their stored records, as after the death of a writer, and one record is behind.
    for number in [3, 500, 501, 777, 1490, 3000, 4999] {
        let thread_id = id_of(number);
        store.resume_thread(thread_id).await.unwrap();
        store.append_items(thread_id, BatchId::generate(), &turn(MODE, "new")).await.unwrap();
    }
    let namespace = &place.options.namespace;
    let dead = place.sql(&format!(
        "UPDATE @.threads SET owner = gen_random_uuid(), expires_at = clock_timestamp() - interval '1 s'
            WHERE namespace = '{namespace}' AND owner IS NOT NULL;
        UPDATE @.threads SET record_version = 0, is_unsettled = true, record_updated_at = 0, directory = NULL
            WHERE namespace = '{namespace}' AND thread_id = '{}'",
        id_of(51).as_uuid()
    ));
    // In one transaction, so that no record is stored in between.
    connection.execute(&*dead).await.unwrap();
    drop(store);
    let store = place.open().await;
    let mut all = all;
    for thread in &mut all {
        if [3, 500, 501, 777, 1490, 3000, 4999, 51].map(id_of).contains(&thread.id) {
            *thread = store.read_thread(thread.id).await.unwrap();
        }
    }
    compare_pages(&store, &all, queries().into_iter().step_by(3).collect()).await;
}

/// A server that writes the plan of every statement to its log.
struct PlanServer {
    server: PostgresServer,
    /// How much of the log was read.
    read: i64,
}

/// A plan as the server logged it: the statement and the tables that were read, each with the node that did it.
#[derive(Debug)]
struct LoggedPlan {
    text: String,
    scans: Vec<(String, String)>,
    /// The most rows that a node has read in vain.
    removed: i64,
}

impl PlanServer {
    fn start() -> Option<Self> {
        let settings = [
            ("session_preload_libraries", "auto_explain"),
            ("auto_explain.log_min_duration", "0"),
            ("auto_explain.log_analyze", "on"),
            ("auto_explain.log_timing", "off"),
            ("auto_explain.log_format", "json"),
            ("max_connections", "50"),
        ];
        Some(Self { server: PostgresServer::start(&settings)?, read: 0 })
    }

    /// Returns the plans that were logged since the last call, of statements about the tables of a store.
    async fn plans(&mut self, connection: &mut PgConnection) -> Vec<LoggedPlan> {
        let path = "current_setting('data_directory') || '/../log'";
        let log: String = sqlx::query_scalar(&format!("SELECT pg_read_file({path}, {}, 1 << 28)", self.read))
            .fetch_one(&mut *connection)
            .await
            .unwrap();
        self.read += log.len() as i64;
        let mut plans = Vec::new();
        for entry in log.split("  plan:\n").skip(1) {
            // The lines of an entry after the first one begin with a tab.
            let json: Vec<&str> = entry.lines().map_while(|line| line.strip_prefix('\t')).collect();
            let plan: Value = serde_json::from_str(&json.join("\n")).unwrap();
            let text = plan["Query Text"].as_str().unwrap().to_owned();
            let mut logged = LoggedPlan { text, scans: Vec::new(), removed: 0 };
            logged.collect(&plan["Plan"]);
            plans.push(logged);
        }
        plans
    }
}

impl LoggedPlan {
    /// Collects the nodes that read a table and were executed.
    fn collect(&mut self, node: &Value) {
        if node["Actual Loops"].as_i64() == Some(0) {
            return;
        }
        let kind = node["Node Type"].as_str().unwrap();
        if let Some(table) = node["Relation Name"].as_str()
            && kind != "ModifyTable"
        {
            self.scans.push((table.to_owned(), kind.to_owned()));
        }
        self.removed = self.removed.max(node["Rows Removed by Filter"].as_i64().unwrap_or_default());
        for part in node["Plans"].as_array().into_iter().flatten() {
            self.collect(part);
        }
    }
}

/// The tables of threads, whose partitions have a number behind their names.
const TABLES: [&str; 4] = ["threads_p", "segments_p", "lines_p", "segment_owners_p"];

/// Fails if a plan reads a whole partition.
fn assert_indexes(what: &str, plans: &[LoggedPlan]) {
    let about: Vec<_> = plans.iter().filter(|plan| !plan.scans.is_empty()).collect();
    assert!(!about.is_empty(), "{what} reads nothing: {plans:#?}");
    for plan in about {
        let is_whole =
            |(table, kind): &&(String, String)| TABLES.iter().any(|name| table.starts_with(name)) && kind == "Seq Scan";
        assert!(!plan.scans.iter().any(|scan| is_whole(&scan)), "{what} reads a whole table: {plan:#?}");
    }
}

/// Fails if plans read more than one partition of a table. `segment_owners` is partitioned by the segment.
fn assert_one_partition(what: &str, plans: &[LoggedPlan]) {
    let mut partitions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (table, _) in plans.iter().flat_map(|plan| &plan.scans) {
        if let Some(name) = TABLES.iter().find(|name| table.starts_with(**name)) {
            partitions.entry(name).or_default().insert(table);
        }
    }
    for (table, read) in partitions {
        assert_eq!(read.len(), 1, "{what} reads several partitions of {table}: {plans:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_plan_reads_a_whole_table() {
    let Some(mut logged) = PlanServer::start() else { return };
    let url = logged.server.url();
    let mut options = options_of(&url, "listen=false");
    // The store renews no claim meanwhile.
    options.lease = Duration::from_secs(600);
    let mut connection = fill(&options, &url).await;
    PostgresThreadStore::migrate(&options).await.unwrap();
    connection.execute("VACUUM ANALYZE").await.unwrap();
    let store = PostgresThreadStore::connect(&options).await.unwrap();

    // Row-level security of a login must not keep conditions from the indexes.
    let login = "CREATE ROLE kim LOGIN PASSWORD 'p' IN ROLE selvedge_write";
    let grant = format!("INSERT INTO selvedge.namespace_roles VALUES ('{}', 'kim')", options.namespace);
    for statement in [&*PostgresThreadStore::roles(&options).unwrap(), login, &grant] {
        connection.execute(statement).await.unwrap();
    }
    let mut of_login = Url::parse(&url).unwrap();
    of_login.set_username("kim").unwrap();
    of_login.set_password(Some("p")).unwrap();
    let mut restricted = options_of(of_login.as_str(), "listen=false");
    restricted.namespace.clone_from(&options.namespace);
    let restricted = PostgresThreadStore::connect(&restricted).await.unwrap();

    for (number, query) in queries().into_iter().enumerate() {
        logged.plans(&mut connection).await;
        let store = if number % 2 == 0 { &store } else { &restricted };
        let page = store.list_threads(&query).await.unwrap();
        store.list_threads(&ThreadQuery { cursor: page.next_cursor, ..query.clone() }).await.unwrap();
        let plans = logged.plans(&mut connection).await;
        assert_indexes(&format!("{query:?}"), &plans);
        // An index of directories or names is searched, and not read from one end to the other.
        let is_read_in_vain = |plan: &LoggedPlan| plan.removed > THREADS as i64 / 16;
        assert!(query.cwd.is_empty() || !plans.iter().any(is_read_in_vain), "{query:?} {plans:#?}");
    }
    for store in [&store, &restricted] {
        let name = name_of(7 * 40).unwrap();
        let found = store.find_threads(&ThreadLookup::Name(name)).await.unwrap();
        assert_eq!(found.len(), 2);
        assert_indexes("a name", &logged.plans(&mut connection).await);
        let prefix = ThreadLookup::IdPrefix(id_of(5).to_string()[..9].to_owned());
        assert_eq!(store.find_threads(&prefix).await.unwrap(), [id_of(5)]);
        assert_indexes("the beginning of an id", &logged.plans(&mut connection).await);
        store.distinct_prefix_len(&[id_of(1), id_of(2)]).await.unwrap();
        assert_indexes("neighbours", &logged.plans(&mut connection).await);

        // The first time it compares all threads. The cursor counts changes, so this is the one after all.
        let first = store.list_changes(None, 1).await.unwrap().next;
        let end = format!("{}.{THREADS}", first.as_str().rsplit_once('.').unwrap().0).into();
        logged.plans(&mut connection).await;
        assert!(store.list_changes(Some(&end), 10).await.unwrap().changes.is_empty());
        assert_indexes("changes", &logged.plans(&mut connection).await);
    }

    let thread_id = id_of(4321);
    store.read_thread(thread_id).await.unwrap();
    let plans = logged.plans(&mut connection).await;
    assert_indexes("read_thread", &plans);
    assert_one_partition("read_thread", &plans);
    for start in [LineStart::Beginning, LineStart::End] {
        store.read_lines(&LineQuery::from(thread_id, start)).await.unwrap();
        let plans = logged.plans(&mut connection).await;
        assert_indexes("read_lines", &plans);
        assert_one_partition("read_lines", &plans);
    }
    store.load_model_context(thread_id).await.unwrap();
    let plans = logged.plans(&mut connection).await;
    assert_indexes("load_model_context", &plans);
    assert_one_partition("load_model_context", &plans);

    store.resume_thread(thread_id).await.unwrap();
    let plans = logged.plans(&mut connection).await;
    assert_indexes("resume_thread", &plans);
    assert_one_partition("resume_thread", &plans);
    store.append_items(thread_id, BatchId::generate(), &turn(MODE, "a")).await.unwrap();
    let plans = logged.plans(&mut connection).await;
    assert!(plans.iter().any(|plan| plan.text.contains("lines") && plan.text.contains("INSERT")), "{plans:#?}");
    assert_indexes("append_items", &plans);
    assert_one_partition("append_items", &plans);
    store.shutdown_thread(thread_id).await.unwrap();
    assert_one_partition("shutdown_thread", &logged.plans(&mut connection).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_name_and_a_long_directory_are_found() {
    let place = new_place().await;
    let store = place.open().await;
    // Longer than an entry of an index may be, and different behind its beginning only. The letters do not compress.
    let random: String = (0..400).map(|number| id_of(number).as_uuid().simple().to_string()).collect();
    let mut expected = Vec::new();
    for n in 1..=3 {
        let cwd = format!("/{random}/{n}");
        store.create_thread(selvedge_protocol::SessionMeta { cwd: Some(cwd), ..head(n, MODE) }).await.unwrap();
        store.append_items(id(n), BatchId::generate(), &turn(MODE, "a")).await.unwrap();
        store.shutdown_thread(id(n)).await.unwrap();
        let patch = selvedge_protocol::ThreadMetadataPatch {
            name: Some(Some(format!("{random} {n}"))),
            ..selvedge_protocol::ThreadMetadataPatch::default()
        };
        let origin = selvedge_thread_store::MetadataOrigin::Explicit;
        store.update_thread_metadata(id(n), &patch, origin).await.unwrap();
        expected.push(id(n));
    }
    let found = store.find_threads(&ThreadLookup::Name(format!("{random} 2"))).await.unwrap();
    assert_eq!(found, [id(2)]);
    assert!(store.find_threads(&ThreadLookup::Name(random[..300].to_owned())).await.unwrap().is_empty());
    for (filter, wanted) in [
        (CwdFilter::Exactly(format!("/{random}/2")), vec![id(2)]),
        (CwdFilter::Under(format!("/{random}")), expected.clone()),
        (CwdFilter::Under(format!("/{}", &random[..300])), vec![]),
    ] {
        let query = ThreadQuery { cwd: vec![filter], direction: SortDirection::Ascending, ..ThreadQuery::default() };
        let page = store.list_threads(&query).await.unwrap();
        let mut found: Vec<_> = page.items.iter().map(|thread| thread.id).collect();
        found.sort_unstable();
        assert_eq!(found, wanted);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletions_are_changes_and_new_threads_with_old_ids_are_there() {
    let place = new_place().await;
    let (store, other) = (place.open().await, place.open().await);
    for n in 1..=3 {
        record(&store, n, MODE, &["a"]).await;
    }
    let start = other.list_changes(None, 100).await.unwrap().next;
    store.delete_thread(id(1)).await.unwrap();
    store.delete_thread(id(2)).await.unwrap();
    record(&store, 2, MODE, &["b"]).await;
    let page = other.list_changes(Some(&start), 100).await.unwrap();
    let is_gone = |change: &ThreadChange| matches!(change, ThreadChange::Gone { .. });
    let mut found: Vec<_> = page.changes.iter().map(|change| (change.thread_id(), is_gone(change))).collect();
    found.sort_unstable();
    assert_eq!(found, [(id(1), true), (id(2), false)]);
    // A deletion whose transaction is committed late is found, too. Meanwhile the feed went on.
    let mut connection = place.connection().await;
    let mut late = connection.begin().await.unwrap();
    let row = format!("thread_id = '{}'", id(3).as_uuid());
    late.execute(&*place.sql(&format!("DELETE FROM @.threads WHERE {row}"))).await.unwrap();
    record(&store, 4, MODE, &["c"]).await;
    let page = other.list_changes(Some(&page.next), 100).await.unwrap();
    assert_eq!(page.changes.iter().map(ThreadChange::thread_id).collect::<Vec<_>>(), [id(4)]);
    late.commit().await.unwrap();
    let page = other.list_changes(Some(&page.next), 100).await.unwrap();
    assert_eq!(page.changes, [ThreadChange::Gone { thread_id: id(3) }]);
    assert!(other.list_changes(Some(&page.next), 100).await.unwrap().changes.is_empty());
}

/// Creates a place on an engine without triggers.
async fn new_place_without_triggers() -> PostgresPlace {
    let place = new_place().await;
    place.schema.execute(&place.sql("DROP TRIGGER note_change ON @.threads; DROP TRIGGER note_deletion ON @.threads"));
    place
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_triggers_changes_are_found_by_comparing_all_threads() {
    let only = vec!["changes.".to_owned()];
    let report = run(new_place_without_triggers, &RunOptions { only, ..RunOptions::default() }).await;
    assert!(report.is_passed() && report.counts().passed > 3, "{report}");
}
