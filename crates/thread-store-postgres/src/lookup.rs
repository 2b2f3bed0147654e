//! Threads by what a person types, and the length of ids that a person has to type.

use selvedge_protocol::ThreadId;
use selvedge_thread_store::{Result, ThreadLookup};
use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::QueryScalar;
use uuid::Uuid;

use crate::host::PostgresHost;
use crate::list_columns::indexed;

impl PostgresHost {
    /// Returns the threads that match what a person typed, in the order of their ids.
    pub(crate) async fn find_ids(&self, lookup: &ThreadLookup) -> Result<Vec<ThreadId>> {
        match lookup {
            ThreadLookup::Name(name) => {
                let query = self.sql(
                    "SELECT thread_id FROM @.threads WHERE namespace = $1 AND name_start = $2 AND name = $3 ORDER BY thread_id",
                );
                let (name, start) = (name.as_bytes(), indexed(name));
                self.ids(|| sqlx::query_scalar(&query).bind(self.namespace()).bind(start.clone()).bind(name)).await
            }
            ThreadLookup::IdPrefix(prefix) => {
                let Some((first, last)) = id_range(prefix) else { return Ok(Vec::new()) };
                let query = self.sql(
                    "SELECT thread_id FROM @.threads WHERE namespace = $1 AND thread_id BETWEEN $2 AND $3 ORDER BY thread_id",
                );
                self.ids(|| sqlx::query_scalar(&query).bind(self.namespace()).bind(first).bind(last)).await
            }
        }
    }

    /// Returns the neighbours of ids in the order of all ids of the namespace: one on each side, found by the key.
    pub(crate) async fn neighbours(&self, ids: &[ThreadId]) -> Result<Vec<ThreadId>> {
        let query = self.sql(
            "SELECT beside.thread_id FROM unnest($2::uuid[]) AS given(id) CROSS JOIN LATERAL (
                (SELECT thread_id FROM @.threads WHERE namespace = $1 AND thread_id < given.id ORDER BY thread_id DESC LIMIT 1)
                UNION ALL
                (SELECT thread_id FROM @.threads WHERE namespace = $1 AND thread_id > given.id ORDER BY thread_id LIMIT 1)
            ) beside",
        );
        let given: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        self.ids(|| sqlx::query_scalar(&query).bind(self.namespace()).bind(given.clone())).await
    }

    /// Runs a query for ids.
    async fn ids<'q>(&self, query: impl Fn() -> QueryScalar<'q, Postgres, Uuid, PgArguments>) -> Result<Vec<ThreadId>> {
        let found = self.reading(async || Ok(query().fetch_all(&self.pool).await?)).await?;
        Ok(found.into_iter().map(ThreadId::from_uuid).collect())
    }
}

/// Returns the first and the last id whose text begins with a prefix. `None` if no text of an id does.
fn id_range(prefix: &str) -> Option<(Uuid, Uuid)> {
    let prefix = prefix.to_ascii_lowercase();
    let filled = |rest: &str| -> Option<Uuid> {
        let id = Uuid::try_parse(&format!("{prefix}{}", rest.get(prefix.len()..)?)).ok()?;
        // The parser knows other forms of ids, too.
        id.to_string().starts_with(&prefix).then_some(id)
    };
    Some((filled("00000000-0000-0000-0000-000000000000")?, filled("ffffffff-ffff-ffff-ffff-ffffffffffff")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_ranges_of_ids() {
        let range = |prefix| id_range(prefix).map(|(first, last)| format!("{first} {last}"));
        let all = "00000000-0000-0000-0000-000000000000 ffffffff-ffff-ffff-ffff-ffffffffffff";
        let some = "01a1fd5d-a000-0000-0000-000000000000 01a1fd5d-afff-ffff-ffff-ffffffffffff";
        let one = "01a1fd5d-ba9e-7000-8000-000000000001";
        assert_eq!(range("").as_deref(), Some(all));
        assert_eq!(range("01A1fd5d-a").as_deref(), Some(some));
        assert_eq!(range(one), Some(format!("{one} {one}")));
        for prefix in ["x", "01a1fd5da", "01a1fd5d-ba9e-7000-8000-0000000000011", "-", "ä", "{01a1", "urn:uuid:0"] {
            assert_eq!(range(prefix), None, "{prefix}");
        }
    }
}
