//! The tables of a store: creating them, updating them, and checking their version.

use std::time::Duration;

use selvedge_thread_store::{Result, StoreError};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnection, PgListener, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Executor};

use crate::error::backend;
use crate::{PostgresOptions, list_columns};

static MIGRATIONS: Migrator = sqlx::migrate!();

/// The roles of a store, with the name of the schema for each `@`.
const ROLES: &str = include_str!("roles.sql");

/// How long a notification may take to come back.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// The longest ending of the name of a role.
const LONGEST_ROLE_ENDING: &str = "_migrate";

/// The longest name that PostgreSQL does not cut, in bytes.
const MAX_NAME_LEN: usize = 63;

/// How the tables of a store relate to this version of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaState {
    /// There are no tables.
    Missing,
    /// The tables are older and have to be migrated.
    Older {
        /// The version of the tables.
        version: i64,
        /// The version that this program needs.
        needed: i64,
    },
    /// The tables are those of this version of the program.
    Current {
        /// The version of the tables.
        version: i64,
    },
    /// The tables are newer than this program.
    Newer {
        /// The version of the tables.
        version: i64,
        /// The newest version that this program knows.
        needed: i64,
    },
}

/// What a server says of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreStatus {
    /// Where the store is, as a text for people.
    pub location: String,
    /// The version of the server, as it calls itself.
    pub server: String,
    /// The tables.
    pub schema: SchemaState,
    /// The role that the connection has.
    pub role: String,
    /// How many threads the namespace has. 0 without tables.
    pub threads: u64,
    /// The namespaces with threads that the role may see, by name, and how many threads each has. Empty without tables.
    pub namespaces: Vec<(String, u64)>,
    /// What the server can do besides the SQL that a store needs.
    pub extras: ServerExtras,
    /// The setting `synchronous_commit`. `None` if the server has no such setting.
    pub synchronous_commit: Option<String>,
    /// The setting `fsync`. `None` if the server has no such setting.
    pub fsync: Option<String>,
    /// Whether the server waits for the disk before it acknowledges a commit: `synchronous_commit` and `fsync` are on.
    pub is_synced: bool,
    /// How far the server is, if it is a replica, which can be read only. `None` if it is none, or does not say.
    pub replica: Option<ReplicaState>,
}

/// How far a replica is behind its primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplicaState {
    /// The time since the newest transaction that the replica shows was committed, by the clocks of both servers. `None` if it has
    /// shown none since its start. While nothing is written to the primary, this grows although nothing is missing.
    pub since_newest: Option<Duration>,
    /// Whether the replica shows everything that it has received.
    pub is_caught_up: bool,
    /// Whether it is connected to its primary. `None` if the role of the connection may not know it.
    pub is_connected: Option<bool>,
}

/// What a server can do besides the SQL that a store needs. Each was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerExtras {
    /// Whether a notification comes back to a listener. Without them readers poll.
    pub notifications: bool,
    /// Whether there are advisory locks. Without them one process at a time has to migrate.
    pub advisory_locks: bool,
}

/// Creates the tables of a store, or updates them to the version of this program. Several processes may do so at the same
/// time.
///
/// # Errors
/// If the tables are newer than this program, or the server fails or refuses it.
pub(crate) async fn migrate(options: &PostgresOptions) -> Result<SchemaState> {
    let mut connection = options.connect.connect().await.map_err(backend)?;
    let schema = &options.schema;
    // The role may not be allowed to create schemas if there is one already. Two processes may create it at the same time, and the
    // slower one gets an error although it asks whether the schema exists.
    if !schema_exists(&mut connection, schema).await?
        && let Err(error) = connection.execute(&*format!("CREATE SCHEMA IF NOT EXISTS {schema}")).await
        && !schema_exists(&mut connection, schema).await?
    {
        return Err(backend(error));
    }
    connection.execute(&*format!("SET search_path TO {schema}")).await.map_err(backend)?;
    // The migrator holds an advisory lock, so that several processes follow each other.
    // `run` would do the same, and its future is not `Send` for the compiler.
    MIGRATIONS.run_direct(&mut connection).await.map_err(|error| match error {
        MigrateError::VersionMissing(version) => newer(version),
        error => StoreError::backend("cannot migrate the tables of the store", error),
    })?;
    list_columns::fill(&mut connection, schema).await?;
    let state = state(&mut connection, schema).await?;
    let _ = connection.close().await;
    Ok(state)
}

/// Returns what the server says of a store.
pub(crate) async fn status(options: &PostgresOptions) -> Result<StoreStatus> {
    let asking = async {
        let mut connection = options.connect.connect().await.map_err(backend)?;
        let query = "SELECT current_setting('server_version'), current_user::text,
            current_setting('synchronous_commit', true), current_setting('fsync', true)";
        let (server, role, synchronous_commit, fsync) =
            sqlx::query_as(query).fetch_one(&mut connection).await.map_err(backend)?;
        let schema = state(&mut connection, &options.schema).await?;
        let namespaces: Vec<(String, i64)> = match schema {
            SchemaState::Current { .. } => {
                let count = format!(
                    "SELECT namespace, count(*) FROM {}.threads GROUP BY namespace ORDER BY namespace",
                    options.schema
                );
                sqlx::query_as(&count).fetch_all(&mut connection).await.map_err(backend)?
            }
            _ => Vec::new(),
        };
        let namespaces: Vec<_> =
            namespaces.into_iter().map(|(name, count)| (name, u64::try_from(count).unwrap_or_default())).collect();
        let own = namespaces.iter().find(|(name, _)| *name == options.namespace);
        let is_synced = is_synced(&mut connection).await.map_err(backend)?;
        let replica = replica_state(&mut connection).await;
        // A failed probe may break the connection, and has the last word.
        let advisory_locks = has_advisory_locks(&mut connection).await;
        let _ = connection.close().await;
        Ok(StoreStatus {
            location: options.location(),
            server,
            schema,
            role,
            threads: own.map_or(0, |(_, count)| *count),
            namespaces,
            extras: ServerExtras { notifications: has_notifications(options).await, advisory_locks },
            synchronous_commit,
            fsync,
            is_synced,
            replica,
        })
    };
    let unanswered = || Err(backend(sqlx::Error::PoolTimedOut));
    tokio::time::timeout(options.connect_timeout.max(options.statement_timeout), asking)
        .await
        .unwrap_or_else(|_| unanswered())
}

/// Asks a replica how far it is.
async fn replica_state(connection: &mut PgConnection) -> Option<ReplicaState> {
    // The function of an engine that is not PostgreSQL may be missing. A question that fails is the answer of such an engine.
    let query = "SELECT (extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000)::bigint,
            pg_last_wal_receive_lsn() IS NOT DISTINCT FROM pg_last_wal_replay_lsn(),
            CASE WHEN pg_has_role('pg_read_all_stats', 'MEMBER')
                THEN EXISTS (SELECT 1 FROM pg_stat_wal_receiver WHERE status = 'streaming') END
        WHERE pg_is_in_recovery()";
    let (millis, is_caught_up, is_connected): (Option<i64>, bool, Option<bool>) =
        sqlx::query_as(query).fetch_optional(connection).await.ok()??;
    let since_newest = millis.map(|millis| Duration::from_millis(u64::try_from(millis).unwrap_or_default()));
    Some(ReplicaState { since_newest, is_caught_up, is_connected })
}

/// Tries an advisory lock that ends with its statement.
async fn has_advisory_locks(connection: &mut PgConnection) -> bool {
    sqlx::query("SELECT pg_try_advisory_xact_lock_shared(0)").execute(connection).await.is_ok()
}

/// Sends a notification to a listener of its own. A pooler that shares sessions accepts `LISTEN`, and the notification never
/// comes.
async fn has_notifications(options: &PostgresOptions) -> bool {
    let probe = async {
        let pool = PgPoolOptions::new().max_connections(2).connect_with(options.connect.clone()).await?;
        let channel = format!("selvedge_probe_{}", uuid::Uuid::now_v7().simple());
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen(&channel).await?;
        sqlx::query("SELECT pg_notify($1, '')").bind(&channel).execute(&pool).await?;
        listener.recv().await
    };
    let received = tokio::time::timeout(PROBE_LIMIT, probe).await;
    received.is_ok_and(|received: sqlx::Result<_>| received.is_ok())
}

/// Returns the SQL that creates the roles of a store and gives them their rights.
pub(crate) fn roles(options: &PostgresOptions) -> Result<String> {
    let longest = options.schema.len() + LONGEST_ROLE_ENDING.len();
    if longest > MAX_NAME_LEN {
        return Err(StoreError::invalid(format!(
            "the roles have the name of the schema and `{LONGEST_ROLE_ENDING}`, which is {longest} bytes, and PostgreSQL takes {MAX_NAME_LEN}"
        )));
    }
    Ok(ROLES.replace('@', &options.schema))
}

/// Fails if the tables are not those of this version of the program.
pub(crate) async fn check(connection: &mut PgConnection, options: &PostgresOptions) -> Result<()> {
    match state(connection, &options.schema).await? {
        SchemaState::Current { .. } => check_namespace(connection, options).await,
        SchemaState::Missing => Err(StoreError::invalid(format!(
            "there is no store yet: {} has no tables; create them with `selvedge store init`",
            options.location()
        ))),
        SchemaState::Older { version, needed } => Err(StoreError::invalid(format!(
            "the tables of the store have version {version}, and this program needs version {needed}; update them with \
             `selvedge store migrate`"
        ))),
        SchemaState::Newer { version, .. } => Err(newer(version)),
    }
}

/// Fails if the role is restricted to namespaces, and this is none of them. Without this check such a store would look empty.
async fn check_namespace(connection: &mut PgConnection, options: &PostgresOptions) -> Result<()> {
    let query = "SELECT current_user::text, NOT row_security_active('@.threads'::regclass)
        OR EXISTS (SELECT 1 FROM @.namespace_roles WHERE namespace = $1)";
    let query = query.replace('@', &options.schema);
    let asked = sqlx::query_as(&query).bind(&options.namespace).fetch_one(connection).await;
    let (role, is_allowed): (String, bool) = asked.map_err(backend)?;
    if !is_allowed {
        return Err(StoreError::invalid(format!(
            "the database role {role} has no rights in this namespace of {}; a row in {}.namespace_roles gives them",
            options.location(),
            options.schema
        )));
    }
    Ok(())
}

fn newer(version: i64) -> StoreError {
    StoreError::invalid(format!(
        "the tables of the store have version {version}, which is newer than this program; use a newer program"
    ))
}

/// Returns whether the server waits for the disk before it acknowledges a commit.
pub(crate) async fn is_synced(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    // An engine that does not know a setting has no such weaker level.
    let query = "SELECT coalesce(current_setting('synchronous_commit', true), 'on') <> 'off'
        AND coalesce(current_setting('fsync', true), 'on') <> 'off'";
    sqlx::query_scalar(query).fetch_one(connection).await
}

async fn schema_exists(connection: &mut PgConnection, schema: &str) -> Result<bool> {
    // Not from `information_schema`, which shows a role only what it owns.
    let query = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1)";
    sqlx::query_scalar(query).bind(schema).fetch_one(connection).await.map_err(backend)
}

async fn state(connection: &mut PgConnection, schema: &str) -> Result<SchemaState> {
    let needed = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default();
    let table = "SELECT to_regclass($1) IS NOT NULL";
    let table = sqlx::query_scalar(table).bind(format!("{schema}._sqlx_migrations"));
    let exists: bool = table.fetch_one(&mut *connection).await.map_err(backend)?;
    if !exists {
        return Ok(SchemaState::Missing);
    }
    let version = format!("SELECT max(version) FROM {schema}._sqlx_migrations WHERE success");
    let version: Option<i64> = sqlx::query_scalar(&version).fetch_one(connection).await.map_err(backend)?;
    Ok(match version {
        None => SchemaState::Missing,
        Some(version) if version < needed => SchemaState::Older { version, needed },
        Some(version) if version > needed => SchemaState::Newer { version, needed },
        Some(version) => SchemaState::Current { version },
    })
}
