//! A namespace of a database as a place of the conformance suite.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use selvedge_postgres_server::{FaultyProxy, PostgresServer, TestSchema};
use selvedge_protocol::ThreadId;
use selvedge_thread_store::{LinePosition, LineQuery, LineStart, ThreadReader, ThreadStore};
use selvedge_thread_store_conformance::{NotApplicable, StorePlace};
use selvedge_thread_store_postgres::{PostgresOptions, PostgresThreadStore};
use sqlx::{Connection, PgConnection};

/// The lease of a host in a rule.
const LEASE: Duration = Duration::from_secs(2);

/// What holds the tables of a place.
pub(crate) trait PlaceServer: Send + Sync + 'static {
    fn url(&self) -> String;
}

impl PlaceServer for TestSchema {
    fn url(&self) -> String {
        self.url()
    }
}

/// A namespace of its own. Each host is a store with a pool of its own.
pub(crate) struct PostgresPlace<S = TestSchema> {
    pub(crate) schema: Arc<S>,
    pub(crate) options: PostgresOptions,
}

/// Chooses a schema for the tables. Ends the process if there is no server: the tests are skipped, as a line says.
pub(crate) fn new_schema() -> Arc<TestSchema> {
    match TestSchema::fresh() {
        Some(schema) => Arc::new(schema),
        None => std::process::exit(0),
    }
}

/// Creates a place without threads.
pub(crate) async fn new_place() -> PostgresPlace {
    let place = PostgresPlace::new(new_schema());
    PostgresThreadStore::migrate(&place.options).await.unwrap();
    place
}

impl PostgresPlace {
    /// Chooses a new namespace in a schema.
    pub(crate) fn new(schema: Arc<TestSchema>) -> Self {
        let mut options = options_of(&schema.url(), "");
        options.schema = schema.name().to_owned();
        Self { schema, options }
    }
}

impl<S: PlaceServer> PostgresPlace<S> {
    /// Opens a host.
    pub(crate) async fn open(&self) -> PostgresThreadStore {
        PostgresThreadStore::connect(&self.options).await.unwrap()
    }

    /// Opens a host behind a proxy.
    pub(crate) async fn open_behind(&self, proxy: &FaultyProxy, parameters: &str) -> PostgresThreadStore {
        let mut options = options_of(&proxy.url(), parameters);
        options.schema.clone_from(&self.options.schema);
        options.namespace.clone_from(&self.options.namespace);
        PostgresThreadStore::connect(&options).await.unwrap()
    }

    /// Returns the text of a statement, with the name of the schema for each `@`.
    pub(crate) fn sql(&self, statement: &str) -> String {
        statement.replace('@', &self.options.schema)
    }

    /// Executes a statement behind the back of all hosts, with the namespace as its first parameter.
    pub(crate) async fn execute(&self, statement: &str) -> u64 {
        let mut connection = self.connection().await;
        let statement = self.sql(statement);
        let query = sqlx::query(&statement).bind(&self.options.namespace);
        query.execute(&mut connection).await.unwrap().rows_affected()
    }

    pub(crate) async fn connection(&self) -> PgConnection {
        PgConnection::connect(&self.schema.url()).await.unwrap()
    }
}

#[async_trait]
impl<S: PlaceServer> StorePlace for PostgresPlace<S> {
    async fn open_host(&self) -> Arc<dyn ThreadStore> {
        Arc::new(self.open().await)
    }

    fn claim_expiry(&self) -> Option<Duration> {
        Some(LEASE)
    }

    async fn pause_past_expiry(&self, _: &Arc<dyn ThreadStore>) -> Result<(), NotApplicable> {
        // The claims are released without the knowledge of the host. Only one host has claims in these rules.
        let released = self
            .execute(
                "UPDATE @.threads SET owner = NULL, owner_host = NULL, owner_process = NULL, claimed_at = NULL,
                expires_at = NULL WHERE namespace = $1 AND owner IS NOT NULL",
            )
            .await;
        assert!(released > 0, "no host has a claim");
        Ok(())
    }

    async fn restart(&self) -> Result<(), NotApplicable> {
        Err(NotApplicable::because(
            "other tests use this server at the same time; `operations` restarts a server of its own",
        ))
    }

    async fn damage(&self, thread_id: ThreadId, at: &LinePosition, bytes: &[u8]) -> Result<(), NotApplicable> {
        // The position as bytes of its segment: the lengths of the entries before it.
        let store = self.open().await;
        let query = LineQuery { max_bytes: usize::MAX, ..LineQuery::from(thread_id, LineStart::Beginning) };
        let entries = store.read_lines(&query).await.unwrap().entries;
        let found = entries.iter().position(|entry| entry.at == *at).unwrap();
        let segment = entries[found].segment;
        let before = entries[..found].iter().filter(|entry| entry.segment == segment);
        let mut offset: usize = before.map(|entry| entry.bytes.len()).sum();
        let mut rest = bytes;
        let mut connection = self.connection().await;
        while !rest.is_empty() {
            let row = self.sql(
                "SELECT thread_id, start_byte, bytes FROM @.lines WHERE namespace = $1 AND segment_id = $2
                AND start_byte <= $3 ORDER BY start_byte DESC LIMIT 1",
            );
            let row = sqlx::query_as(&row).bind(&self.options.namespace).bind(segment.as_uuid()).bind(offset as i64);
            let (owner, start, mut stored): (uuid::Uuid, i64, Vec<u8>) = row.fetch_one(&mut connection).await.unwrap();
            let from = offset - start as usize;
            let count = rest.len().min(stored.len() - from);
            stored[from..from + count].copy_from_slice(&rest[..count]);
            let update = self.sql(
                "UPDATE @.lines SET bytes = $5
                WHERE namespace = $1 AND thread_id = $2 AND segment_id = $3 AND start_byte = $4",
            );
            let update =
                sqlx::query(&update).bind(&self.options.namespace).bind(owner).bind(segment.as_uuid()).bind(start);
            assert_eq!(update.bind(stored).execute(&mut connection).await.unwrap().rows_affected(), 1);
            rest = &rest[count..];
            offset += count;
        }
        Ok(())
    }
}

/// A place on a server of its own, which can be restarted.
pub(crate) struct RestartablePlace {
    server: Mutex<PostgresServer>,
    options: PostgresOptions,
}

/// Creates a place without threads on a server of its own.
pub(crate) async fn new_restartable_place() -> RestartablePlace {
    let Some(server) = PostgresServer::start(&[]) else { std::process::exit(0) };
    let options = options_of(&server.url(), "");
    PostgresThreadStore::migrate(&options).await.unwrap();
    RestartablePlace { server: Mutex::new(server), options }
}

#[async_trait]
impl StorePlace for RestartablePlace {
    async fn open_host(&self) -> Arc<dyn ThreadStore> {
        Arc::new(PostgresThreadStore::connect(&self.options).await.unwrap())
    }

    async fn restart(&self) -> Result<(), NotApplicable> {
        self.server.lock().unwrap().restart();
        Ok(())
    }
}

/// Returns settings for tests: a namespace that no other test uses, a short lease and a small pool.
pub(crate) fn options_of(url: &str, parameters: &str) -> PostgresOptions {
    let separator = if url.contains('?') { '&' } else { '?' };
    let (namespace, lease) = (uuid::Uuid::now_v7(), LEASE.as_secs_f64());
    let parameters = format!("{separator}namespace={namespace}&lease={lease}&pool=4&{parameters}");
    format!("{url}{}", parameters.trim_end_matches('&')).parse().unwrap()
}
