//! The only file that names concrete stores: it opens a home or a database, and lists what this program uses of the
//! stores' crates.
//!
//! Every other file works through [`ThreadStore`], and through [`HomeAdmin`] for the files of a home.

use std::path::Path;
use std::sync::Arc;

use selvedge_protocol::Durability;
use selvedge_thread_store::ThreadStore;
use selvedge_thread_store_local::LocalThreadStore;

use serde::Serialize;

use crate::failure::{Failure, FailureKind, Result};

pub(crate) use self::postgres::ThreadDatabase;

pub(crate) use selvedge_thread_store_local::{
    CheckScope, CheckedTotals, CodexChange, CodexRecord, CompressionReport, CompressionScope, Diagnosis,
    DiagnosisProgress, DivergedSegment, Finding, FindingKind, HomeAdmin, HomeMaintenance, HomeOptions, ImportedFile,
    IndexAdmin, IndexCheck, IndexError, IndexFinding, IndexLocation, IndexRepair, IndexStatus, LeftOut, LockHolder,
    RepairStep, Severity, UncompressedThread, UnnoticedChange, UpdateProgress, UpdateReport,
};

/// Creates the directory of a home and its missing ancestors, durably.
pub(crate) fn create_home(home: &Path) -> Result<()> {
    Ok(LocalThreadStore::create_home(home)?)
}

/// Opens the home at this path. Reads nothing and creates nothing.
pub(crate) fn open(home: &Path, options: HomeOptions) -> (Arc<dyn ThreadStore>, HomeAdmin) {
    let store = LocalThreadStore::open_with(home, options);
    let admin = store.admin();
    (Arc::new(store), admin)
}

/// What the server of a database says of the store in it.
#[derive(Debug, Serialize)]
pub(crate) struct DatabaseStatus {
    /// Where the store is, without secrets.
    pub(crate) location: String,
    /// The version of the server, as it calls itself.
    pub(crate) server: String,
    /// The tables of the store.
    pub(crate) tables: TablesState,
    /// The role that the connection has.
    pub(crate) role: String,
    /// How many threads the namespace has.
    pub(crate) threads: u64,
    /// The namespaces with threads that the role may see.
    pub(crate) namespaces: Vec<NamespaceCount>,
    /// Whether notifications wake waiting readers. Without them readers poll.
    pub(crate) has_notifications: bool,
    /// Whether several processes can migrate at the same time.
    pub(crate) has_advisory_locks: bool,
    /// The setting of the server. Null if it has none.
    pub(crate) synchronous_commit: Option<String>,
    /// The setting of the server. Null if it has none.
    pub(crate) fsync: Option<String>,
    /// Whether the server waits for its disk before it acknowledges a commit.
    pub(crate) is_synced: bool,
    /// How far a replica is behind its primary. Null for another server.
    pub(crate) replica: Option<ReplicaStatus>,
}

/// How far a replica is behind its primary.
#[derive(Debug, Serialize)]
pub(crate) struct ReplicaStatus {
    /// The age of the newest transaction that it shows, in milliseconds. Null if it has shown none since its start.
    pub(crate) newest_age_ms: Option<u64>,
    /// Whether it shows all that it has received.
    pub(crate) is_caught_up: bool,
    /// Whether it is connected to its primary. Null if this role may not know it.
    pub(crate) is_connected: Option<bool>,
}

/// How many threads a namespace has.
#[derive(Debug, Serialize)]
pub(crate) struct NamespaceCount {
    pub(crate) namespace: String,
    pub(crate) threads: u64,
}

/// How the tables of a store relate to this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
#[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "without databases there are no tables"))]
pub(crate) enum TablesState {
    /// There are none.
    Missing,
    /// They are older than this program needs.
    Older { version: i64, needed: i64 },
    /// They are what this program needs.
    Current { version: i64 },
    /// They are newer than this program knows.
    Newer { version: i64, needed: i64 },
}

/// Returns the failure for a URL that names no store. `reason` must not contain the URL, which may have a password.
fn not_a_store(reason: &str) -> Failure {
    Failure::new(FailureKind::Usage, reason)
        .hint("a store is a directory, or postgres://user@host:5432/database?schema=selvedge&namespace=default")
}

#[cfg(feature = "postgres")]
mod postgres {
    use selvedge_thread_store::StoreError;
    use selvedge_thread_store_postgres::{PostgresOptions, PostgresThreadStore, SchemaState};

    use crate::progress::with_elapsed_time;

    use super::{
        Arc, DatabaseStatus, Durability, Failure, NamespaceCount, ReplicaStatus, Result, TablesState, ThreadStore,
        not_a_store,
    };

    /// A database that holds threads.
    #[derive(Clone, Debug)]
    pub(crate) struct ThreadDatabase(Box<PostgresOptions>);

    impl ThreadDatabase {
        /// Parses a URL.
        pub(crate) fn parse(url: &str) -> Result<Self> {
            if !PostgresOptions::is_url(url) {
                return Err(not_a_store("the URL of a database begins with postgres://"));
            }
            url.parse().map(|options| Self(Box::new(options))).map_err(|error| not_a_store(&format!("{error}")))
        }

        /// Sets the durability level, in place of the one in the URL.
        pub(crate) fn set_durability(&mut self, durability: Durability) {
            self.0.durability = durability;
        }

        /// Returns where the store is, without secrets.
        pub(crate) fn location(&self) -> String {
            self.0.location()
        }

        /// Connects to the store.
        pub(crate) async fn open(&self) -> Result<Arc<dyn ThreadStore>> {
            let connecting = PostgresThreadStore::connect(&self.0);
            let store = with_elapsed_time(&format!("connecting to {}", self.location()), connecting).await;
            Ok(Arc::new(store.map_err(|error| self.failure(error))?))
        }

        /// Creates the tables, or updates them.
        pub(crate) async fn migrate(&self) -> Result<()> {
            PostgresThreadStore::migrate(&self.0).await.map(drop).map_err(|error| self.failure(error))
        }

        /// Asks the server about the store.
        pub(crate) async fn status(&self) -> Result<DatabaseStatus> {
            let status = PostgresThreadStore::status(&self.0).await.map_err(|error| self.failure(error))?;
            let tables = match status.schema {
                SchemaState::Missing => TablesState::Missing,
                SchemaState::Older { version, needed } => TablesState::Older { version, needed },
                SchemaState::Current { version } => TablesState::Current { version },
                SchemaState::Newer { version, needed } => TablesState::Newer { version, needed },
            };
            let count = |(namespace, threads)| NamespaceCount { namespace, threads };
            Ok(DatabaseStatus {
                location: status.location,
                server: status.server,
                tables,
                role: status.role,
                threads: status.threads,
                namespaces: status.namespaces.into_iter().map(count).collect(),
                has_notifications: status.extras.notifications,
                has_advisory_locks: status.extras.advisory_locks,
                synchronous_commit: status.synchronous_commit,
                fsync: status.fsync,
                is_synced: status.is_synced,
                replica: status.replica.map(|replica| ReplicaStatus {
                    newest_age_ms: replica.since_newest.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
                    is_caught_up: replica.is_caught_up,
                    is_connected: replica.is_connected,
                }),
            })
        }

        /// Returns the SQL that creates the roles of the store.
        pub(crate) fn roles(&self) -> Result<String> {
            Ok(PostgresThreadStore::roles(&self.0)?)
        }

        /// Adds where the store is, and what to do if its server does not answer.
        fn failure(&self, error: StoreError) -> Failure {
            let may_be_wrong_url =
                matches!(error, StoreError::Backend { .. }) && !PostgresThreadStore::lacks_rights(&error);
            let location = self.location();
            let names_location = error.to_string().contains(&location);
            let mut failure = Failure::from(error);
            if !names_location {
                failure = failure.context(format!("cannot use the store in {location}"));
            }
            if may_be_wrong_url {
                return failure.hint("check that the server runs, and host, port, database and user of the URL; PGPASSWORD or ~/.pgpass can hold the password");
            }
            failure
        }
    }
}

#[cfg(not(feature = "postgres"))]
mod postgres {
    use super::{Arc, DatabaseStatus, Durability, Result, ThreadStore, not_a_store};

    /// No database: this program was built without the feature `postgres`.
    #[derive(Clone, Debug)]
    pub(crate) enum ThreadDatabase {}

    impl ThreadDatabase {
        pub(crate) fn parse(_: &str) -> Result<Self> {
            Err(not_a_store("this program was built without PostgreSQL (cargo feature `postgres`)"))
        }

        pub(crate) fn set_durability(&mut self, _: Durability) {
            match *self {}
        }

        pub(crate) fn location(&self) -> String {
            match *self {}
        }

        pub(crate) async fn open(&self) -> Result<Arc<dyn ThreadStore>> {
            match *self {}
        }

        pub(crate) async fn migrate(&self) -> Result<()> {
            match *self {}
        }

        pub(crate) async fn status(&self) -> Result<DatabaseStatus> {
            match *self {}
        }

        pub(crate) fn roles(&self) -> Result<String> {
            match *self {}
        }
    }
}
