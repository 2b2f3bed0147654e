//! What a process holds of a store: connections, and the threads that it writes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use selvedge_protocol::{Durability, ThreadId, Timestamp};
use selvedge_thread_store::implement::{ChangeSignal, ColdQueues};
use selvedge_thread_store::{BatchId, Holder, Result, StoreError};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Executor, PgPool, Postgres, Transaction};
use tokio::task::JoinHandle;

use crate::behind::RecordsBehind;
use crate::change_feed::ChangeFeed;
use crate::commit_queue::GroupCommit;
use crate::error::{AttemptError, backend, pause, with_cause};
use crate::live_threads::HeldThreads;
use crate::{PostgresOptions, schema};

/// After this time of failed attempts, a warning says what is going on.
const QUIET_RETRIES: Duration = Duration::from_secs(2);

/// A transaction.
pub(crate) type PgTransaction = Transaction<'static, Postgres>;

/// One of the hosts of a store: a process with a pool of connections and writers of its own.
pub(crate) struct PostgresHost {
    options: PostgresOptions,
    /// The name of this machine, for the error of a caller that wants a thread that this process holds.
    machine: Option<String>,
    pub(crate) pool: PgPool,
    pub(crate) live: HeldThreads,
    /// The order of the changes to threads that this process does not write.
    pub(crate) cold_queues: ColdQueues,
    pub(crate) commit: GroupCommit,
    pub(crate) behind: Arc<RecordsBehind>,
    /// Wakes the callers of this process that wait for lines or changes.
    pub(crate) signal: ChangeSignal,
    /// Whether something changed since other processes were last told.
    pub(crate) has_news: AtomicBool,
    /// Whether a process, which may be this one, told all of a change since the last round of [`notify`](crate::background).
    pub(crate) was_notified: AtomicBool,
    /// The versions of all threads when they were last compared.
    pub(crate) changes: tokio::sync::Mutex<ChangeFeed>,
}

impl PostgresHost {
    pub(crate) async fn connect(options: &PostgresOptions) -> Result<Arc<Self>> {
        let connecting = PgPoolOptions::new()
            .max_connections(options.pool_size)
            .acquire_timeout(options.connect_timeout)
            // A connection that broke shows this in the statement, which is tried again. A question before each statement would
            // cost a round trip.
            .test_before_acquire(false)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    // The server would plan each statement for the partition of its thread again, which takes three times as long as an
                    // append. A plan for all partitions chooses that one when it runs. The costs of such a plan are those of all
                    // partitions, and the server would compile it to machine code, which takes a second. Only the speed depends on
                    // these, so an engine without the settings works, and so does a pooler that gives the session to somebody else.
                    for setting in ["plan_cache_mode = force_generic_plan", "jit = off"] {
                        if let Err(error) = connection.execute(&*format!("SET {setting}")).await {
                            tracing::debug!(%error, setting, "a session has no such setting");
                        }
                    }
                    Ok(())
                })
            })
            .connect_with(options.connect.clone())
            .await;
        let pool = match connecting {
            Ok(pool) => pool,
            Err(error) => return Err(backend(with_cause(error, options).await)),
        };
        let mut connection = pool.acquire().await.map_err(backend)?;
        schema::check(&mut connection, options).await?;
        if options.durability == Durability::Synced && !schema::is_synced(&mut connection).await.map_err(backend)? {
            return Err(StoreError::Unsupported {
                what: "the durability level `synced` on a server with `synchronous_commit` or `fsync` off: turn both on, or use \
                       the level `written`"
                    .to_owned(),
            });
        }
        let changes = ChangeFeed::new(&mut connection, &options.schema).await;
        drop(connection);
        Ok(Arc::new(Self {
            machine: whoami::fallible::hostname().ok(),
            live: HeldThreads::default(),
            cold_queues: ColdQueues::default(),
            commit: GroupCommit::new(options),
            behind: Arc::default(),
            signal: ChangeSignal::default(),
            has_news: AtomicBool::new(false),
            was_notified: AtomicBool::new(false),
            changes: tokio::sync::Mutex::new(changes),
            options: options.clone(),
            pool,
        }))
    }

    pub(crate) fn options(&self) -> &PostgresOptions {
        &self.options
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.options.namespace
    }

    /// Notes a change: wakes the callers of this process that wait, and soon those of other processes.
    pub(crate) fn announce(&self) {
        self.signal.wake();
        self.has_news.store(true, Ordering::Relaxed);
    }

    /// Returns this process as the holder of a claim.
    pub(crate) fn holder(&self) -> Holder {
        Holder { process_id: Some(std::process::id()), host: self.machine.clone(), held_for: None }
    }

    /// Returns the text of a statement, with the name of the schema for each `@` before a point.
    ///
    /// The names of tables have their schema, since the search path is a property of a session, and a pooler shares sessions.
    pub(crate) fn sql(&self, text: &str) -> String {
        text.replace("@.", &format!("{}.", self.options.schema))
    }

    /// Begins a transaction that changes something.
    pub(crate) async fn begin(&self) -> Result<PgTransaction, AttemptError> {
        let mut tx = self.begin_with("BEGIN").await?;
        if self.options.durability == Durability::Synced {
            sqlx::query("SET LOCAL synchronous_commit = on").execute(&mut *tx).await?;
        }
        Ok(tx)
    }

    /// Begins a transaction that reads one state of the database in all its statements.
    pub(crate) async fn snapshot(&self) -> Result<PgTransaction, AttemptError> {
        self.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await
    }

    /// Begins a transaction, also if the caller is dropped meanwhile. It is undone then.
    ///
    /// sqlx knows nothing of a transaction whose beginning is dropped before the answer, and gives the connection back to the pool.
    /// The statements of its next users would be in that transaction: they would see an old state, and what they write
    /// would never be committed. So a task of its own waits for the answer.
    pub(crate) async fn begin_with(&self, statement: &'static str) -> Result<PgTransaction, AttemptError> {
        let pool = self.pool.clone();
        Ok(outcome_of(tokio::spawn(async move { pool.begin_with(statement).await })).await??)
    }

    /// Makes attempts of an operation until one succeeds, is refused, or transient failures last for too long.
    ///
    /// `attempt` gets whether the answer of an earlier attempt was lost: that one may have taken effect.
    pub(crate) async fn retrying<T, F>(
        &self,
        thread_id: Option<ThreadId>,
        batch: Option<BatchId>,
        mut attempt: impl FnMut(bool) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T, AttemptError>>,
    {
        let began = Instant::now();
        let (mut may_have_happened, mut has_warned) = (false, false);
        for number in 0.. {
            let limited = tokio::time::timeout(self.options.statement_timeout, attempt(may_have_happened));
            let timed_out = || AttemptError::Unanswered(io::Error::from(io::ErrorKind::TimedOut).into());
            let failure = match limited.await.unwrap_or_else(|_| Err(timed_out())) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            may_have_happened |= matches!(failure, AttemptError::Unanswered(_));
            if !failure.is_transient() || began.elapsed() >= self.options.retry_for {
                let failure = failure.with_cause(&self.options).await;
                return Err(failure.into_error(thread_id, batch, may_have_happened));
            }
            if !has_warned && began.elapsed() >= QUIET_RETRIES {
                has_warned = true;
                let limit = self.options.retry_for.as_secs();
                tracing::warn!(%failure, "no answer from the database yet; trying again for {limit} s in all");
            }
            tracing::debug!(
                thread_id = thread_id.map(tracing::field::display),
                ?failure,
                number,
                "the database failed, and the operation is tried again"
            );
            tokio::time::sleep(pause(number)).await;
        }
        unreachable!("the loop has no end")
    }

    /// Reads something, with as many attempts as it needs.
    pub(crate) async fn reading<T, F>(&self, attempt: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T, AttemptError>>,
    {
        self.retrying(None, None, |_| attempt()).await
    }
}

/// Returns the outcome of a task. A panic in it goes on in the caller.
///
/// # Errors
/// `Backend` if the runtime ended before the task.
pub(crate) async fn outcome_of<T>(task: JoinHandle<T>) -> Result<T> {
    match task.await {
        Ok(outcome) => Ok(outcome),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(StoreError::backend("the call was ended with its runtime", error)),
    }
}

/// Ends a snapshot. Its result is already there, so an error does not matter.
pub(crate) async fn end(snapshot: PgTransaction) {
    let _ = snapshot.commit().await;
}

/// Commits a transaction.
pub(crate) async fn commit(tx: PgTransaction) -> Result<(), AttemptError> {
    tx.commit().await.map_err(AttemptError::of_commit)
}

/// Returns the current time. The clock of the process that writes stamps every line.
pub(crate) fn now() -> Timestamp {
    SystemTime::now().into()
}
