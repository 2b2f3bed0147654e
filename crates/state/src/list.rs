//! Pages of threads.

use std::path::Path;

use selvedge_protocol::{
    ArchivedFilter, CwdFilter, Page, Relation, RepositoryFilter, SortDirection, StoredThread, ThreadCursor, ThreadId,
    ThreadQuery, ThreadSortKey, check_limit,
};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

use crate::StateIndex;
use crate::error::Result;

impl StateIndex {
    /// A page of the threads that the index knows.
    ///
    /// # Errors
    /// For a limit of 0 or a cursor of another query; when the database cannot be read.
    pub async fn list_threads(&self, query: &ThreadQuery) -> Result<Page<StoredThread>> {
        check_limit(query.limit)?;
        let start = query.start()?;
        let mut sql = QueryBuilder::new("SELECT record, name, archived, path FROM threads WHERE ");
        push_filters(&mut sql, query);
        push_order(&mut sql, query, start, query.limit.saturating_add(1));
        let rows = sql.build().fetch_all(&self.database.readers).await?;
        let root = Some(self.home.root());
        let threads = rows.iter().map(|row| stored_thread(row, root)).collect::<Result<Vec<_>>>()?;
        Ok(Page::first_of(threads, query.limit, |last| query.cursor_after(last)))
    }

    /// Returns the ids just before and just after each of these in the order of ids, with which they have most in common.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn neighbours(&self, thread_ids: &[ThreadId]) -> Result<Vec<ThreadId>> {
        let mut found = Vec::new();
        let mut connection = self.database.readers.acquire().await?;
        for thread_id in thread_ids {
            let beside =
                "SELECT max(id) FROM threads WHERE id < ?1 UNION ALL SELECT min(id) FROM threads WHERE id > ?1";
            let beside = sqlx::query_scalar::<_, Option<uuid::Uuid>>(beside).bind(thread_id.as_uuid());
            let beside = beside.fetch_all(&mut *connection).await?;
            found.extend(beside.into_iter().flatten().map(ThreadId::from_uuid));
        }
        Ok(found)
    }

    /// The row of a thread; nothing when the index does not know it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn read_thread(&self, thread_id: ThreadId) -> Result<Option<StoredThread>> {
        let row = sqlx::query("SELECT record, name, archived, path FROM threads WHERE id = ?")
            .bind(thread_id.as_uuid())
            .fetch_optional(&self.database.readers)
            .await?;
        row.map(|row| stored_thread(&row, Some(self.home.root()))).transpose()
    }
}

/// A thread out of `record, name, archived, path`.
pub(crate) fn stored_thread(row: &SqliteRow, root: Option<&Path>) -> Result<StoredThread> {
    let record: &str = row.try_get(0)?;
    let mut thread: StoredThread = serde_json::from_str(record).map_err(|error| sqlx::Error::Decode(error.into()))?;
    thread.name = row.try_get(1)?;
    thread.archived = row.try_get(2)?;
    let path: &str = row.try_get(3)?;
    thread.location = root.map(|root| root.join(path).to_string_lossy().into_owned());
    Ok(thread)
}

pub(crate) const fn column(sort: ThreadSortKey) -> &'static str {
    match sort {
        ThreadSortKey::CreatedAt => "created_at",
        ThreadSortKey::UpdatedAt => "updated_at",
        ThreadSortKey::RecencyAt => "recency_at",
    }
}

/// The condition that a thread answers a query. It must say the same as [`ThreadFilter`](selvedge_protocol::ThreadFilter).
pub(crate) fn push_filters<'a>(sql: &mut QueryBuilder<'a, Sqlite>, query: &'a ThreadQuery) {
    let at = column(query.sort);
    sql.push(match query.archived {
        ArchivedFilter::Active => "archived = 0",
        ArchivedFilter::Archived => "archived = 1",
        ArchivedFilter::All => "1",
    });
    one_of(sql, "source", &query.sources);
    one_of(sql, "model_provider", &query.model_providers);
    one_of(sql, "model", &query.models);
    match &query.cwd {
        Some(CwdFilter::Exactly(cwd)) => {
            sql.push(" AND cwd = ").push_bind(cwd.trim_end_matches('/'));
        }
        Some(CwdFilter::Under(cwd)) => {
            let cwd = cwd.trim_end_matches('/');
            // What begins with the directory and a slash, as a range that needs no escaping: `0` comes after `/`.
            sql.push(" AND (cwd = ").push_bind(cwd);
            sql.push(" OR (cwd >= ").push_bind(format!("{cwd}/"));
            sql.push(" AND cwd < ").push_bind(format!("{cwd}0")).push("))");
        }
        None => {}
    }
    if let Some(branch) = &query.git_branch {
        sql.push(" AND git_branch = ").push_bind(branch);
    }
    if let Some(repository) = &query.git_repository {
        in_repository(sql, &RepositoryFilter::new(repository));
    }
    if let Some(named) = query.named {
        sql.push(if named { " AND name IS NOT NULL" } else { " AND name IS NULL" });
    }
    if let Some(since) = query.since {
        sql.push(format_args!(" AND {at} >= ")).push_bind(since.as_millis());
    }
    if let Some(until) = query.until {
        sql.push(format_args!(" AND {at} < ")).push_bind(until.as_millis());
    }
    match query.relation {
        Some(Relation::ChildOf(id)) => {
            sql.push(" AND (forked_from_id = ").push_bind(id.as_uuid());
            sql.push(" OR parent_id = ").push_bind(id.as_uuid()).push(")");
        }
        Some(Relation::DescendantOf(id)) => descendant_of(sql, id),
        None => {}
    }
    if let Some(term) = &query.search_term {
        let term = term.to_lowercase();
        sql.push(" AND (instr(name_folded, ").push_bind(term.clone());
        sql.push(") > 0 OR instr(preview_folded, ").push_bind(term).push(") > 0)");
    }
}

/// So many threads behind a place in the order of a query.
pub(crate) fn push_order(
    sql: &mut QueryBuilder<'_, Sqlite>,
    query: &ThreadQuery,
    start: Option<ThreadCursor>,
    limit: usize,
) {
    let at = column(query.sort);
    let (compare, order) = match query.direction {
        SortDirection::Ascending => (">", "ASC"),
        SortDirection::Descending => ("<", "DESC"),
    };
    if let Some(start) = start {
        sql.push(format_args!(" AND ({at}, id) {compare} (")).push_bind(start.at.as_millis());
        sql.push(", ").push_bind(start.id.as_uuid()).push(")");
    }
    sql.push(format_args!(" ORDER BY {at} {order}, id {order} LIMIT "));
    sql.push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
}

fn one_of<'a>(sql: &mut QueryBuilder<'a, Sqlite>, column: &str, wanted: &'a [String]) {
    if wanted.is_empty() {
        return;
    }
    sql.push(format_args!(" AND {column} IN ("));
    let mut list = sql.separated(", ");
    for wanted in wanted {
        list.push_bind(wanted);
    }
    sql.push(")");
}

fn in_repository(sql: &mut QueryBuilder<'_, Sqlite>, wanted: &RepositoryFilter) {
    sql.push(" AND (git_repository = ").push_bind(wanted.whole().to_owned());
    if let Some(end) = wanted.end() {
        sql.push(" OR git_repository = ").push_bind(end.to_owned());
        // The end as it stands, without the letters that `LIKE` gives a meaning.
        let end = format!("/{end}");
        sql.push(" OR substr(git_repository, -length(").push_bind(end.clone()).push(")) = ").push_bind(end);
    }
    sql.push(")");
}

/// What comes from a thread, generation by generation. A thread that was found is not found again, so that circles end.
fn descendant_of(sql: &mut QueryBuilder<'_, Sqlite>, id: ThreadId) {
    sql.push(" AND id <> ").push_bind(id.as_uuid());
    sql.push(" AND id IN (WITH RECURSIVE kin(id) AS (VALUES(");
    sql.push_bind(id.as_uuid());
    sql.push(
        ") UNION SELECT threads.id FROM threads JOIN kin ON threads.forked_from_id = kin.id \
        UNION SELECT threads.id FROM threads JOIN kin ON threads.parent_id = kin.id) SELECT id FROM kin)",
    );
}
