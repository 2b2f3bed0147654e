//! Pages of threads.
//!
//! The database delivers candidates, and [`ThreadFilter`] decides, so that a filter means the same as in every other store. What the
//! SQL of a filter drops, `ThreadFilter` would drop as well. There are three ways to the candidates:
//!
//! - *In the order of the list*, by an index over (namespace, archived, time, thread), from the cursor on and in chunks until the page is full.
//!   With exact directories and the order of updates, the index begins with the directory.
//! - *By directory*, if few threads have one of the directories. Otherwise most threads of the namespace could be passed for one page.
//! - *By relation*: the children of a thread, their children and so on, each by the indexes of links.
//!
//! The stored record of some threads is not what their lines say: a writer died, or a copy came in. An index has them. Their records
//! are folded first, and take the places of the stored ones.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use selvedge_protocol::{
    ArchivedFilter, DirectoryFilter, Page, Relation, RepositoryFilter, SortDirection, StoredThread, ThreadCursor,
    ThreadFilter, ThreadId, ThreadLink, ThreadQuery, ThreadSortKey,
};
use selvedge_thread_store::Result;
use selvedge_thread_store::implement::{decode_thread_cursor, page_threads};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{FromRow, Postgres, QueryBuilder};
use uuid::Uuid;

use crate::error::AttemptError;
use crate::host::{PostgresHost, end};
use crate::list_columns::{RECORD_VERSION, indexed};
use crate::tables::{RECORD, THREAD, ThreadRow, stored_record};

/// How many threads a chunk of a list has at least and at most. A chunk that holds no page is followed by one of twice its size. These
/// numbers are part of the text of a statement: the server plans a statement for all parameters, and has to know that it ends early.
const CHUNK: (usize, usize) = (64, 4096);

/// Up to how many threads of wanted directories are read together.
const FEW: usize = 1000;

/// Up to how many directories are each walked in order.
const MAX_WALKED_DIRECTORIES: usize = 4;

/// A position in the order of a list: the time and the id.
type Place = (i64, Uuid);

/// A record as it is stored, with the facts beside the log.
struct ListedRecord(StoredThread);

impl FromRow<'_, PgRow> for ListedRecord {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        stored_record(row).map(Self)
    }
}

/// A walk in the order of a list.
struct Walk<'q> {
    query: &'q ThreadQuery,
    /// The directories to go through, each in order. `None` to go through all threads in order.
    directories: Option<Vec<Vec<u8>>>,
    /// The conditions on directories that are not gone through one by one.
    within: Option<&'q DirectoryFilter>,
    repository: Option<RepositoryFilter>,
    /// Where the walk ends: the last time, inclusive.
    end: i64,
}

/// Returns the column of a sort key.
const fn column(sort: ThreadSortKey) -> &'static str {
    match sort {
        ThreadSortKey::CreatedAt => "record_created_at",
        ThreadSortKey::UpdatedAt => "record_updated_at",
        ThreadSortKey::RecencyAt => "record_recency_at",
    }
}

/// Returns the keyword of an order.
const fn order(direction: SortDirection) -> &'static str {
    match direction {
        SortDirection::Ascending => "ASC",
        SortDirection::Descending => "DESC",
    }
}

/// Returns the place after which a walk begins, and the last time of it. The cursor and the first time are one condition: with
/// two, the database might begin at the time and pass everything up to the cursor.
fn bounds(query: &ThreadQuery, cursor: Option<ThreadCursor>) -> (Place, i64) {
    let cursor = cursor.map(|cursor| (cursor.at.as_millis(), cursor.id.as_uuid()));
    let (since, until) = (query.since.map(|at| at.as_millis()), query.until.map(|at| at.as_millis()));
    match query.direction {
        SortDirection::Descending => {
            let places = [cursor, until.map(|until| (until, Uuid::nil()))];
            (places.into_iter().flatten().min().unwrap_or((i64::MAX, Uuid::max())), since.unwrap_or(i64::MIN))
        }
        SortDirection::Ascending => {
            let places = [cursor, since.map(|since| (since.saturating_sub(1), Uuid::max()))];
            let last = until.map_or(i64::MAX, |until| until.saturating_sub(1));
            (places.into_iter().flatten().max().unwrap_or((i64::MIN, Uuid::nil())), last)
        }
    }
}

/// Adds the condition that the directory of a thread is one of these or below one, as far as the index has it.
fn push_directories(sql: &mut QueryBuilder<'_, Postgres>, wanted: &DirectoryFilter) {
    // Not the column itself: the database would take all threads of the directories by their index and sort them for one page, and
    // there are many.
    let column = "coalesce(t.directory, t.directory)";
    sql.push(format_args!(" AND ({column} = ANY("));
    sql.push_bind(wanted.keys().map(indexed).collect::<Vec<_>>()).push(")");
    for range in wanted.ranges() {
        sql.push(" OR ");
        push_range(sql, column, range);
    }
    sql.push(")");
}

/// Adds the condition that a directory is in a range, as far as the index has it. Beginnings of texts have the order of the texts,
/// or are equal.
fn push_range(sql: &mut QueryBuilder<'_, Postgres>, column: &str, range: &Range<String>) {
    sql.push(format_args!("{column} BETWEEN ")).push_bind(indexed(&range.start));
    sql.push(" AND ").push_bind(indexed(&range.end));
}

/// Adds the condition that a column has one of these texts. No texts: any.
fn push_one_of(sql: &mut QueryBuilder<'_, Postgres>, column: &str, wanted: &[String]) {
    if !wanted.is_empty() {
        let wanted: Vec<Vec<u8>> = wanted.iter().map(|text| text.as_bytes().to_vec()).collect();
        sql.push(format_args!(" AND t.{column} = ANY(")).push_bind(wanted).push(")");
    }
}

impl Walk<'_> {
    /// Adds the conditions that columns decide. They may let more pass than the query wants.
    fn push_filters(&self, sql: &mut QueryBuilder<'_, Postgres>) {
        let query = self.query;
        push_one_of(sql, "source", &query.sources);
        push_one_of(sql, "model_provider", &query.model_providers);
        push_one_of(sql, "model", &query.models);
        if let Some(wanted) = self.within {
            push_directories(sql, wanted);
        }
        if let Some(branch) = &query.git_branch {
            sql.push(" AND t.git_branch = ").push_bind(branch.as_bytes().to_vec());
        }
        if let Some(repository) = &self.repository {
            sql.push(" AND (t.git_repository = ").push_bind(repository.whole().as_bytes().to_vec());
            if let Some(end) = repository.end() {
                let end = end.as_bytes().to_vec();
                sql.push(" OR substring(t.git_repository FROM octet_length(t.git_repository) + 1 - octet_length(");
                sql.push_bind(end.clone()).push(")) = ").push_bind(end);
            }
            sql.push(")");
        }
        match query.named {
            Some(true) => sql.push(" AND t.name IS NOT NULL"),
            Some(false) => sql.push(" AND t.name IS NULL"),
            None => sql,
        };
    }

    /// Adds a walk through the threads of one index range.
    fn push_part(
        &self,
        sql: &mut QueryBuilder<'_, Postgres>,
        host: &PostgresHost,
        (archived, directory): (bool, Option<&Vec<u8>>),
        (at, id): Place,
        size: usize,
    ) {
        let at_column = column(self.query.sort);
        let (after, until) = match self.query.direction {
            SortDirection::Ascending => (">", "<="),
            SortDirection::Descending => ("<", ">="),
        };
        let order = order(self.query.direction);
        let schema = &host.options().schema;
        sql.push(format_args!(
            "SELECT t.{at_column} AS at, {RECORD} FROM {schema}.threads t WHERE t.archived = {archived} AND t.namespace = "
        ));
        sql.push_bind(host.namespace().to_owned());
        if let Some(directory) = directory {
            sql.push(" AND t.directory = ").push_bind(directory.clone());
        }
        sql.push(format_args!(" AND (t.{at_column}, t.thread_id) {after} (")).push_bind(at).push(", ").push_bind(id);
        sql.push(format_args!(") AND t.{at_column} {until} ")).push_bind(self.end);
        self.push_filters(sql);
        sql.push(format_args!(" ORDER BY t.{at_column} {order}, t.thread_id {order} LIMIT {size}"));
    }

    /// Returns the next threads in order, at most `size`.
    async fn chunk(
        &self,
        host: &PostgresHost,
        connection: &mut PgConnection,
        after: Place,
        size: usize,
    ) -> Result<Vec<StoredThread>, AttemptError> {
        let archived: &[bool] = match self.query.archived {
            ArchivedFilter::Active => &[false],
            ArchivedFilter::Archived => &[true],
            ArchivedFilter::All => &[false, true],
        };
        let directories: Vec<Option<&Vec<u8>>> = match &self.directories {
            Some(directories) => directories.iter().map(Some).collect(),
            None => vec![None],
        };
        let parts: Vec<_> =
            archived.iter().flat_map(|archived| directories.iter().map(|directory| (*archived, *directory))).collect();
        let mut sql = QueryBuilder::new("");
        if let [part] = parts[..] {
            self.push_part(&mut sql, host, part, after, size);
        } else {
            for (number, part) in parts.into_iter().enumerate() {
                sql.push(if number == 0 { "SELECT * FROM ((" } else { ") UNION ALL (" });
                self.push_part(&mut sql, host, part, after, size);
            }
            let order = order(self.query.direction);
            sql.push(format_args!(")) parts ORDER BY at {order}, thread_id {order} LIMIT {size}"));
        }
        let rows: Vec<ListedRecord> = sql.build_query_as().fetch_all(connection).await?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }
}

impl PostgresHost {
    /// Returns a page of threads.
    pub(crate) async fn list_threads(self: &Arc<Self>, query: &ThreadQuery) -> Result<Page<StoredThread>> {
        let cursor = decode_thread_cursor(query)?;
        self.reading(async || {
            let mut snapshot = self.snapshot().await?;
            let folded = self.folded_threads(&mut snapshot).await?;
            let threads = self.candidates(&mut snapshot, query, cursor, &folded).await?;
            end(snapshot).await;
            Ok(page_threads(query, threads)?)
        })
        .await
    }

    /// Returns the exact records of the threads whose columns may differ from what their lines say. Threads that other processes
    /// write are not among them: their writers store their records by themselves.
    async fn folded_threads(
        self: &Arc<Self>,
        connection: &mut PgConnection,
    ) -> Result<HashMap<ThreadId, StoredThread>, AttemptError> {
        // A dead writer leaves its mark. As long as its lines are in the record, the record is exact.
        let query = self.sql(&format!(
            "SELECT {THREAD} FROM @.threads t
            WHERE t.namespace = $1 AND (t.is_unsettled OR t.record_version <> {RECORD_VERSION}) AND (
                t.record_version <> {RECORD_VERSION} OR t.folded_segment <> t.segment_id
                OR NOT coalesce(t.owner IS NOT NULL AND t.expires_at > clock_timestamp(), false) AND EXISTS (
                    SELECT 1 FROM @.lines l WHERE l.namespace = t.namespace AND l.thread_id = t.thread_id
                    AND l.segment_id = t.segment_id AND l.start_byte >= t.folded_to))"
        ));
        let rows: Vec<ThreadRow> = sqlx::query_as(&query).bind(self.namespace()).fetch_all(&mut *connection).await?;
        let mut folded = HashMap::new();
        for mut thread in rows {
            // A record that only lacks its columns is exact. Migrations fill them.
            self.fold_later((thread.is_behind() || thread.is_unsettled).then_some(thread.id));
            folded.insert(thread.id, self.exact_record(connection, &mut thread).await?);
        }
        Ok(folded)
    }

    /// Returns threads among which are all that the page of a query and the question for more need.
    async fn candidates(
        &self,
        connection: &mut PgConnection,
        query: &ThreadQuery,
        cursor: Option<ThreadCursor>,
        folded: &HashMap<ThreadId, StoredThread>,
    ) -> Result<Vec<StoredThread>, AttemptError> {
        if let Some(relation) = query.relation {
            let related = self.relatives(connection, relation, folded).await?;
            return self.with_folded(connection, related, folded).await;
        }
        let directories = DirectoryFilter::new(&query.cwd);
        let is_limited = !query.cwd.is_empty();
        let exact: Vec<Vec<u8>> = directories.keys().map(indexed).collect();
        let has_order = query.sort == ThreadSortKey::UpdatedAt
            && directories.ranges().is_empty()
            && (1..=MAX_WALKED_DIRECTORIES).contains(&exact.len());
        if is_limited
            && !has_order
            && let Some(few) = self.few_in(connection, &directories).await?
        {
            return self.with_folded(connection, few, folded).await;
        }
        let (place, end) = bounds(query, cursor);
        let walk = Walk {
            query,
            directories: (is_limited && has_order).then_some(exact),
            within: (is_limited && !has_order).then_some(&directories),
            repository: query.git_repository.as_deref().map(RepositoryFilter::new),
            end,
        };
        self.walk(connection, &walk, (place, cursor), folded).await
    }

    /// Returns the threads of a walk until a page is full, and the folded ones.
    async fn walk(
        &self,
        connection: &mut PgConnection,
        walk: &Walk<'_>,
        (mut place, cursor): (Place, Option<ThreadCursor>),
        folded: &HashMap<ThreadId, StoredThread>,
    ) -> Result<Vec<StoredThread>, AttemptError> {
        let query = walk.query;
        let filter = ThreadFilter::new(query, Vec::new);
        let is_before = |one: &ThreadCursor, other: &ThreadCursor| one.cmp(other, query.direction).is_lt();
        let place_of = |thread: &StoredThread| ThreadCursor::of(thread, query.sort);
        let mut found: Vec<StoredThread> = folded
            .values()
            .filter(|thread| {
                filter.matches(thread) && cursor.is_none_or(|cursor| is_before(&cursor, &place_of(thread)))
            })
            .cloned()
            .collect();
        let others: Vec<ThreadCursor> = found.iter().map(place_of).collect();
        let mut size = query.limit.saturating_add(1).clamp(CHUNK.0, CHUNK.1).next_power_of_two();
        loop {
            let chunk = walk.chunk(self, connection, place, size).await?;
            let last = chunk.last().map(place_of).filter(|_| chunk.len() == size);
            found.extend(chunk.into_iter().filter(|thread| !folded.contains_key(&thread.id) && filter.matches(thread)));
            // Everything up to the last one is known. A folded thread behind it can still be behind others.
            let Some(last) = last else { return Ok(found) };
            let behind = others.iter().filter(|other| is_before(&last, other)).count();
            if found.len() - behind > query.limit {
                return Ok(found);
            }
            place = (last.at.as_millis(), last.id.as_uuid());
            size = CHUNK.1.min(size * 2);
        }
    }

    /// Returns the threads in directories, if they are few.
    async fn few_in(
        &self,
        connection: &mut PgConnection,
        directories: &DirectoryFilter,
    ) -> Result<Option<HashSet<ThreadId>>, AttemptError> {
        // Each condition by itself, so that the database reads no more entries of the index than it returns.
        let (schema, limit) = (&self.options().schema, FEW + 1);
        let mut sql = QueryBuilder::new("SELECT thread_id FROM ((SELECT t.thread_id FROM unnest(");
        sql.push_bind(directories.keys().map(indexed).collect::<Vec<_>>()).push(") AS wanted(directory)");
        sql.push(format_args!(" JOIN {schema}.threads t ON t.directory = wanted.directory AND t.namespace = "));
        sql.push_bind(self.namespace()).push(format_args!(" LIMIT {limit})"));
        for range in directories.ranges() {
            sql.push(format_args!(" UNION ALL (SELECT t.thread_id FROM {schema}.threads t WHERE t.namespace = "));
            sql.push_bind(self.namespace()).push(" AND ");
            push_range(&mut sql, "t.directory", range);
            // The order is that of the index.
            sql.push(format_args!(" ORDER BY t.directory LIMIT {limit})"));
        }
        sql.push(format_args!(") found LIMIT {limit}"));
        let found: Vec<Uuid> = sql.build_query_scalar().fetch_all(connection).await?;
        Ok((found.len() <= FEW).then(|| found.into_iter().map(ThreadId::from_uuid).collect()))
    }

    /// Returns the records of threads, and all folded ones.
    async fn with_folded(
        &self,
        connection: &mut PgConnection,
        mut ids: HashSet<ThreadId>,
        folded: &HashMap<ThreadId, StoredThread>,
    ) -> Result<Vec<StoredThread>, AttemptError> {
        ids.retain(|id| !folded.contains_key(id));
        let query = self.sql(&format!(
            "SELECT {RECORD} FROM unnest($2::uuid[]) AS wanted(id)
            JOIN @.threads t ON t.namespace = $1 AND t.thread_id = wanted.id"
        ));
        let ids: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        let rows: Vec<ListedRecord> =
            sqlx::query_as(&query).bind(self.namespace()).bind(ids).fetch_all(connection).await?;
        Ok(rows.into_iter().map(|row| row.0).chain(folded.values().cloned()).collect())
    }

    /// Returns threads among which are all that have a relation: one generation after the other, each with one statement.
    async fn relatives(
        &self,
        connection: &mut PgConnection,
        relation: Relation,
        folded: &HashMap<ThreadId, StoredThread>,
    ) -> Result<HashSet<ThreadId>, AttemptError> {
        let (of, generations) = match relation {
            Relation::ChildOf(of) => (of, 1),
            Relation::DescendantOf(of) => (of, usize::MAX),
        };
        let query = self.sql(
            "SELECT t.thread_id FROM unnest($2::uuid[]) AS wanted(id)
                JOIN @.threads t ON t.namespace = $1 AND t.forked_from_id = wanted.id
            UNION ALL SELECT t.thread_id FROM unnest($2::uuid[]) AS wanted(id)
                JOIN @.threads t ON t.namespace = $1 AND t.parent_id = wanted.id",
        );
        let links: Vec<ThreadLink> = folded.values().map(ThreadLink::of).collect();
        let mut related = HashSet::new();
        let mut newest = vec![of];
        // Links can form a circle, so each thread is found once.
        for _ in 0..generations {
            if newest.is_empty() {
                break;
            }
            let ids: Vec<Uuid> = newest.iter().map(|id| id.as_uuid()).collect();
            let found: Vec<Uuid> =
                sqlx::query_scalar(&query).bind(self.namespace()).bind(ids).fetch_all(&mut *connection).await?;
            let parents: HashSet<ThreadId> = newest.drain(..).collect();
            let stored = found.into_iter().map(ThreadId::from_uuid).filter(|id| !folded.contains_key(id));
            let others = links.iter().filter(|link| {
                [link.forked_from_id, link.parent_thread_id].iter().flatten().any(|source| parents.contains(source))
            });
            newest.extend(stored.chain(others.map(|link| link.id)).filter(|id| related.insert(*id)));
        }
        Ok(related)
    }
}

#[cfg(test)]
mod tests {
    use selvedge_protocol::Timestamp;

    use super::*;

    #[test]
    fn a_walk_begins_at_the_nearer_of_cursor_and_time() {
        let id = ThreadId::from_uuid(Uuid::from_u128(7));
        let cursor = |at| Some(ThreadCursor { at: Timestamp::from_millis(at), id });
        let query = |direction, since: i64, until: i64| ThreadQuery {
            direction,
            since: Some(Timestamp::from_millis(since)),
            until: Some(Timestamp::from_millis(until)),
            ..ThreadQuery::default()
        };
        let down = query(SortDirection::Descending, 10, 20);
        assert_eq!(bounds(&down, None), ((20, Uuid::nil()), 10));
        assert_eq!(bounds(&down, cursor(15)), ((15, id.as_uuid()), 10));
        // A thread of the time 20 is not wanted, wherever the cursor is.
        assert_eq!(bounds(&down, cursor(20)), ((20, Uuid::nil()), 10));
        let up = query(SortDirection::Ascending, 10, 20);
        assert_eq!(bounds(&up, None), ((9, Uuid::max()), 19));
        assert_eq!(bounds(&up, cursor(15)), ((15, id.as_uuid()), 19));
        assert_eq!(bounds(&up, cursor(5)), ((9, Uuid::max()), 19));
        let open = ThreadQuery::default();
        assert_eq!(bounds(&open, None), ((i64::MAX, Uuid::max()), i64::MIN));
    }
}
