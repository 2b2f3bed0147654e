//! Lists threads, page by page.

use std::ops::Range;

use selvedge_protocol::{
    ArchivedFilter, DirectoryFilter, Page, Relation, RepositoryFilter, SortDirection, StoredThread, ThreadCursor,
    ThreadId, ThreadQuery, ThreadSortKey, check_limit,
};
use sqlx::{QueryBuilder, Sqlite};

use crate::error::Result;
use crate::index::StateIndex;
use crate::record::read_record;

impl StateIndex {
    /// Returns a page of the threads that the index knows.
    ///
    /// # Errors
    /// If the limit is 0, the cursor belongs to another query, or the database cannot be read.
    pub async fn list_threads(&self, query: &ThreadQuery) -> Result<Page<StoredThread>> {
        check_limit(query.limit)?;
        let start = query.start()?;
        let mut sql = QueryBuilder::new("SELECT record, name, archived, path FROM threads WHERE ");
        push_filters(&mut sql, query);
        push_order(&mut sql, query, start, query.limit.saturating_add(1));
        let rows = sql.build().fetch_all(&self.database.readers).await?;
        let root = Some(self.home.root());
        let threads = rows.iter().map(|row| read_record(row, root)).collect::<Result<Vec<_>>>()?;
        Ok(Page::first_of(threads, query.limit, |last| query.cursor_after(last)))
    }

    /// Returns the working directories of all threads, each in one of its spellings.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn directories(&self) -> Result<Vec<String>> {
        let sql = "SELECT min(cwd) FROM threads WHERE cwd_key IS NOT NULL GROUP BY cwd_key";
        Ok(sqlx::query_scalar(sql).fetch_all(&self.database.readers).await?)
    }

    /// Returns, for each of these ids, the ids before and after it in sorted order. Of all ids these have the longest prefixes in
    /// common with it.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn neighbours(&self, thread_ids: &[ThreadId]) -> Result<Vec<ThreadId>> {
        let mut found = Vec::new();
        let mut connection = self.database.readers.acquire().await?;
        for thread_id in thread_ids {
            let sql = "SELECT max(id) FROM threads WHERE id < ?1 UNION ALL SELECT min(id) FROM threads WHERE id > ?1";
            let query = sqlx::query_scalar::<_, Option<uuid::Uuid>>(sql).bind(thread_id.as_uuid());
            let neighbours = query.fetch_all(&mut *connection).await?;
            found.extend(neighbours.into_iter().flatten().map(ThreadId::from_uuid));
        }
        Ok(found)
    }

    /// Returns the record of a thread. `None` if the index does not know it.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn read_thread(&self, thread_id: ThreadId) -> Result<Option<StoredThread>> {
        let row = sqlx::query("SELECT record, name, archived, path FROM threads WHERE id = ?")
            .bind(thread_id.as_uuid())
            .fetch_optional(&self.database.readers)
            .await?;
        row.map(|row| read_record(&row, Some(self.home.root()))).transpose()
    }
}

/// Returns the column by which threads are sorted.
pub(crate) const fn column(sort: ThreadSortKey) -> &'static str {
    match sort {
        ThreadSortKey::CreatedAt => "created_at",
        ThreadSortKey::UpdatedAt => "updated_at",
        ThreadSortKey::RecencyAt => "recency_at",
    }
}

/// Adds the condition that a thread matches a query. It must agree with [`ThreadFilter`](selvedge_protocol::ThreadFilter).
pub(crate) fn push_filters<'a>(sql: &mut QueryBuilder<'a, Sqlite>, query: &'a ThreadQuery) {
    // The statement differs for each combination of filters. Values are always bound, never part of the text.
    let at = column(query.sort);
    sql.push(match query.archived {
        ArchivedFilter::Active => "archived = 0",
        ArchivedFilter::Archived => "archived = 1",
        ArchivedFilter::All => "1",
    });
    one_of(sql, "source", &query.sources);
    one_of(sql, "model_provider", &query.model_providers);
    one_of(sql, "model", &query.models);
    if !query.cwd.is_empty() {
        in_directories(sql, &DirectoryFilter::new(&query.cwd));
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
        // `instr`, because `LIKE` would give some letters a meaning. The columns are in lower case already.
        let term = term.to_lowercase();
        sql.push(" AND (instr(name_folded, ").push_bind(term.clone());
        sql.push(") > 0 OR instr(preview_folded, ").push_bind(term).push(") > 0)");
    }
}

/// Adds the order of a query, its start, which is after the thread of a cursor, and its limit.
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
    // The id makes the order total, so that a cursor has exactly one position.
    sql.push(format_args!(" ORDER BY {at} {order}, id {order} LIMIT "));
    sql.push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
}

/// Adds the condition that a column has one of these values. No values: any.
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

/// Adds the condition that a thread works in one of these directories.
fn in_directories(sql: &mut QueryBuilder<'_, Sqlite>, wanted: &DirectoryFilter) {
    // `+` keeps SQLite from going through the index of directories. It would have to sort all threads of the directory then,
    // which can be most threads of the home, for one page.
    let keys = serde_json::Value::from_iter(wanted.keys()).to_string();
    sql.push(" AND (+cwd_key IN (SELECT value FROM json_each(").push_bind(keys).push("))");
    for Range { start, end } in wanted.ranges() {
        sql.push(" OR (+cwd_key >= ")
            .push_bind(start.clone())
            .push(" AND +cwd_key < ")
            .push_bind(end.clone())
            .push(")");
    }
    sql.push(")");
}

/// Adds the condition that a thread belongs to a repository, whose name may be given without its beginning.
fn in_repository(sql: &mut QueryBuilder<'_, Sqlite>, wanted: &RepositoryFilter) {
    sql.push(" AND (git_repository = ").push_bind(wanted.whole().to_owned());
    if let Some(end) = wanted.end() {
        sql.push(" OR git_repository = ").push_bind(end.to_owned());
        // A comparison of the end, because `LIKE` would give some letters a meaning.
        let end = format!("/{end}");
        sql.push(" OR substr(git_repository, -length(").push_bind(end.clone()).push(")) = ").push_bind(end);
    }
    sql.push(")");
}

/// Adds the condition that a thread descends from another one. The recursion finds one generation after the other; `UNION` drops
/// threads that were found already, so that it ends even if threads descend from each other in a circle.
fn descendant_of(sql: &mut QueryBuilder<'_, Sqlite>, id: ThreadId) {
    sql.push(" AND id <> ").push_bind(id.as_uuid());
    sql.push(" AND id IN (WITH RECURSIVE kin(id) AS (VALUES(");
    sql.push_bind(id.as_uuid());
    sql.push(
        ") UNION SELECT threads.id FROM threads JOIN kin ON threads.forked_from_id = kin.id \
        UNION SELECT threads.id FROM threads JOIN kin ON threads.parent_id = kin.id) SELECT id FROM kin)",
    );
}
