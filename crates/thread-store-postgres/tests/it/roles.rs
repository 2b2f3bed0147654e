//! Roles: what each may do, and that none reaches into the namespaces of others.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use selvedge_protocol::{HistoryMode, ThreadQuery};
use selvedge_thread_store::{BatchId, ForkThread, StoreError, ThreadReader, ThreadStore};
use selvedge_thread_store_conformance::fixtures::{head, id, record, turn};
use selvedge_thread_store_conformance::{RunOptions, run};
use selvedge_thread_store_postgres::{PostgresOptions, PostgresThreadStore};
use sqlx::{Connection, PgConnection};
use url::Url;

use crate::place::{PostgresPlace, new_place, options_of};

const MODE: HistoryMode = HistoryMode::Paginated;

/// The rules that a writer with the least rights is checked against, by the beginnings of their names.
/// `SELVEDGE_ROLE_RULES=.` checks all.
const RULES: &str = "lifecycle. batches.repeated fork. segments.";

/// A store with roles, and the logins that a test created.
struct StoreWithRoles {
    place: PostgresPlace,
    logins: Vec<String>,
}

impl StoreWithRoles {
    async fn new() -> Self {
        let place = new_place().await;
        let roles = PostgresThreadStore::roles(&place.options).unwrap();
        // A second run changes nothing.
        for _ in 0..2 {
            place.schema.execute(&roles);
        }
        Self { place, logins: Vec::new() }
    }

    /// Creates a login with one of the roles.
    fn login(&mut self, name: &str, role: &str) -> String {
        let login = format!("{}_{name}", self.place.schema.name());
        self.place.schema.execute(&self.place.sql(&format!("CREATE ROLE {login} LOGIN PASSWORD 'p' IN ROLE @_{role}")));
        self.logins.push(login.clone());
        login
    }

    /// Gives a namespace to a role.
    fn grant(&self, namespace: &str, role: &str) {
        let statement = format!("INSERT INTO @.namespace_roles VALUES ('{namespace}', '{role}')");
        self.place.schema.execute(&self.place.sql(&statement));
    }

    /// Returns the options of a login in a namespace.
    fn options(&self, login: &str, namespace: &str) -> PostgresOptions {
        let mut options = options_of(&self.url(login), "");
        options.schema.clone_from(&self.place.options.schema);
        namespace.clone_into(&mut options.namespace);
        options
    }

    fn url(&self, login: &str) -> String {
        let mut url = Url::parse(&self.place.schema.url()).unwrap();
        url.set_username(login).unwrap();
        url.set_password(Some("p")).unwrap();
        url.into()
    }

    async fn open(&self, login: &str, namespace: &str) -> PostgresThreadStore {
        PostgresThreadStore::connect(&self.options(login, namespace)).await.unwrap()
    }

    /// Executes a statement as a login, and returns how many rows it returned or changed, or the code of its error.
    async fn execute(&self, login: &str, statement: &str) -> Result<u64, String> {
        let mut connection = PgConnection::connect(&self.url(login)).await.unwrap();
        let done = sqlx::query(&self.place.sql(statement)).execute(&mut connection).await;
        done.map(|done| done.rows_affected())
            .map_err(|error| error.as_database_error().unwrap().code().unwrap().into_owned())
    }
}

impl Drop for StoreWithRoles {
    fn drop(&mut self) {
        // Roles belong to the whole server, and the schema depends on them.
        let logins: String = self.logins.iter().map(|login| format!("DROP ROLE {login};")).collect();
        self.place.schema.execute(&self.place.sql(&format!(
            "SET client_min_messages TO warning; DROP SCHEMA @ CASCADE; {logins} DROP ROLE @_migrate, @_write, @_read"
        )));
    }
}

/// Returns the rules that a variable selects by the beginnings of their names, or these. `.` selects all.
pub(crate) fn selected_rules(variable: &str, rules: &str) -> RunOptions {
    let rules = std::env::var(variable).unwrap_or_else(|_| rules.to_owned());
    let only = rules.split_whitespace().filter(|rule| *rule != ".").map(Into::into).collect();
    RunOptions { only, ..RunOptions::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_keeps_the_rules() {
    let mut store = StoreWithRoles::new().await;
    let writer = store.login("w", "write");
    let (store, count) = (Arc::new(store), AtomicU64::new(0));
    let new_place = move || {
        // Each rule has a namespace of its own, as in the other tests.
        let namespace = format!("rule {}", count.fetch_add(1, Ordering::Relaxed));
        store.grant(&namespace, &writer);
        let place =
            PostgresPlace { schema: Arc::clone(&store.place.schema), options: store.options(&writer, &namespace) };
        std::future::ready(place)
    };
    let report = run(new_place, &selected_rules("SELVEDGE_ROLE_RULES", RULES)).await;
    println!("{report}");
    assert!(report.is_passed(), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_reads_and_changes_nothing() {
    let mut store = StoreWithRoles::new().await;
    let (writer, reader) = (store.login("w", "write"), store.login("r", "read"));
    // A namespace that is given to a role is given to its members.
    for role in ["write", "read"] {
        store.grant("a", &store.place.sql(&format!("@_{role}")));
    }
    let writing = store.open(&writer, "a").await;
    record(&writing, 1, MODE, &["one", "two"]).await;
    let reading = store.open(&reader, "a").await;
    let stored = writing.load_history(id(1)).await.unwrap();
    assert_eq!(reading.load_history(id(1)).await.unwrap().lines.len(), stored.lines.len());
    assert_eq!(reading.read_thread(id(1)).await.unwrap(), writing.read_thread(id(1)).await.unwrap());
    assert_eq!(reading.list_threads(&ThreadQuery::default()).await.unwrap().items.len(), 1);

    let refusals = [
        reading.resume_thread(id(1)).await.map(drop),
        reading.archive_thread(id(1)).await.map(drop),
        reading.delete_thread(id(1)).await.map(drop),
        reading.fork_thread(ForkThread { meta: head(2, MODE), ..ForkThread::of(id(1)) }).await.map(drop),
    ];
    for outcome in refusals {
        let error = outcome.unwrap_err();
        assert!(error.to_string().contains("the role of the database connection may not do this"), "{error}");
    }
    assert_eq!(writing.load_history(id(1)).await.unwrap().lines.len(), stored.lines.len());
    writing.resume_thread(id(1)).await.unwrap();
    writing.append_items(id(1), BatchId::generate(), &turn(MODE, "three")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_role_reaches_another_namespace() {
    let mut store = StoreWithRoles::new().await;
    let (anna, ben) = (store.login("anna", "write"), store.login("ben", "write"));
    store.grant("a", &anna);
    store.grant("b", &ben);
    let of_anna = store.open(&anna, "a").await;
    record(&of_anna, 1, MODE, &["of anna"]).await;
    let of_ben = store.open(&ben, "b").await;
    record(&of_ben, 1, MODE, &["of ben"]).await;
    let before = of_ben.load_history(id(1)).await.unwrap();

    // The program says why. Without that, the namespace would look empty.
    let error = PostgresThreadStore::connect(&store.options(&anna, "b")).await.unwrap_err();
    assert!(matches!(error, StoreError::InvalidRequest { .. }), "{error:?}");
    assert!(error.to_string().contains("has no rights in this namespace"), "{error}");
    let status = PostgresThreadStore::status(&store.options(&anna, "b")).await.unwrap();
    assert_eq!((status.namespaces, status.threads), (vec![("a".to_owned(), 1)], 0));

    // Statements of one's own go no further than the program.
    for table in ["threads", "segments", "lines", "segment_owners", "projections", "turns", "search_blocks"] {
        // Projections are written behind the lines.
        let own = format!("SELECT FROM @.{table} WHERE namespace = 'a'");
        let began = Instant::now();
        while store.execute(&anna, &own).await == Ok(0) && began.elapsed() < Duration::from_secs(20) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let count = |condition: &str| format!("SELECT FROM @.{table} WHERE {condition}");
        assert!(store.execute(&anna, &count("namespace = 'a'")).await.unwrap() > 0, "{table}");
        assert_eq!(store.execute(&anna, &count("namespace <> 'a'")).await, Ok(0), "{table}");
        let delete = format!("DELETE FROM @.{table} WHERE namespace = 'b'");
        assert_eq!(store.execute(&anna, &delete).await, Ok(0), "{table}");
        let columns = store.place.schema.execute(&store.place.sql(&format!(
            "SELECT string_agg(attname, ', ') FROM pg_attribute
            WHERE attrelid = '@.{table}'::regclass AND attnum > 0 AND attgenerated = ''"
        )));
        let copy = format!(
            "INSERT INTO @.{table} ({columns}) SELECT {columns} FROM (
                SELECT (jsonb_populate_record(t, '{{\"namespace\": \"b\"}}')).* FROM @.{table} t WHERE namespace = 'a'
            ) copies ON CONFLICT DO NOTHING"
        );
        assert_eq!(store.execute(&anna, &copy).await, Err("42501".to_owned()), "{table}");
        for denied in [
            format!("SELECT FROM @.{table}_p0"),
            format!("INSERT INTO @.{table}_p0 DEFAULT VALUES"),
            format!("TRUNCATE @.{table}"),
            format!("ALTER TABLE @.{table} DISABLE ROW LEVEL SECURITY"),
        ] {
            assert_eq!(store.execute(&anna, &denied).await, Err("42501".to_owned()), "{denied}");
        }
    }
    // A deletion leaves a row for readers of changes, in the namespace of the thread.
    record(&store.open(&anna, "a").await, 2, MODE, &["deleted"]).await;
    store.open(&anna, "a").await.delete_thread(id(2)).await.unwrap();
    assert_eq!(store.execute(&anna, "SELECT FROM @.deleted_threads").await, Ok(1));
    assert_eq!(store.execute(&ben, "SELECT FROM @.deleted_threads").await, Ok(0));
    let forged = "INSERT INTO @.deleted_threads SELECT 'b', thread_id, deleted_in, deleted_at FROM @.deleted_threads";
    assert_eq!(store.execute(&anna, forged).await, Err("42501".to_owned()));
    let take = "UPDATE @.threads SET epoch = epoch + 1 WHERE namespace = 'b'";
    assert_eq!(store.execute(&anna, take).await, Ok(0));
    let moved = "UPDATE @.threads SET namespace = 'b'";
    assert_eq!(store.execute(&anna, moved).await, Err("42501".to_owned()));
    let grant = format!("INSERT INTO @.namespace_roles VALUES ('b', '{anna}')");
    assert_eq!(store.execute(&anna, &grant).await, Err("42501".to_owned()));
    assert_eq!(store.execute(&anna, "SELECT FROM @.namespace_roles").await, Ok(1));

    // The policy of each partition is one of its own, if somebody gives rights to one by mistake.
    store.place.schema.execute(&store.place.sql("GRANT SELECT ON ALL TABLES IN SCHEMA @ TO @_write"));
    for number in 0..8 {
        assert_eq!(store.execute(&anna, &format!("SELECT FROM @.lines_p{number}")).await, Ok(0));
    }

    let after = of_ben.load_history(id(1)).await.unwrap();
    assert_eq!(format!("{:?}", after.lines), format!("{:?}", before.lines));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_without_a_namespace_gets_nothing() {
    let mut store = StoreWithRoles::new().await;
    record(&store.place.open().await, 1, MODE, &["one"]).await;
    let (writer, migrator) = (store.login("w", "write"), store.login("m", "migrate"));
    let namespace = store.place.options.namespace.clone();
    assert!(PostgresThreadStore::connect(&store.options(&writer, &namespace)).await.is_err());
    assert_eq!(store.execute(&writer, "SELECT FROM @.threads").await, Ok(0));
    // A role that owns the tables updates them and sees everything.
    PostgresThreadStore::migrate(&store.options(&migrator, &namespace)).await.unwrap();
    assert_eq!(store.execute(&migrator, "SELECT FROM @.threads").await, Ok(1));
    // A writer does not.
    let created = store.execute(&writer, "CREATE TABLE @.more ()").await;
    assert_eq!(created, Err("42501".to_owned()));
}
