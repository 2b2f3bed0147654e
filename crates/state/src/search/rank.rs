//! Ranks threads by relevance, as far as the index of words knows it.
//! [`ranking`](selvedge_history::ranking) has the formula.

use std::cmp::Reverse;
use std::collections::HashMap;

use selvedge_history::ranking::{relevance, shortness};
use selvedge_protocol::{ThreadCursor, ThreadId, Timestamp};
use sqlx::{Row, SqliteConnection};

use crate::error::Result;
use crate::search::candidates::SearchCandidates;
use crate::search::docs::{ItemDoc, unpack_docs};
use crate::search::proposal::ProposedThread;
use crate::sql::{ids_json, unsigned};

/// The position of a thread in a ranking. The best position is the smallest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RankPosition {
    /// Whether the name does not match.
    pub(super) is_unnamed: bool,
    /// The relevance, counted from the largest number down.
    pub(super) distance: u32,
    /// The time by which threads are sorted.
    pub(super) age: Reverse<(Timestamp, ThreadId)>,
}

/// Ranks threads. Returns them in the given order, each with its position and its items, the most relevant first.
pub(super) async fn rank(
    connection: &mut SqliteConnection,
    candidates: &SearchCandidates,
    threads: Vec<ThreadCursor>,
) -> Result<Vec<(RankPosition, ProposedThread)>> {
    let mut docs = load_docs(connection, candidates, threads.iter().map(|thread| thread.id)).await?;
    let ranked = threads.into_iter().map(|ThreadCursor { at, id }| {
        let mut items = docs.remove(&id).unwrap_or_default();
        items.sort_by(|(one, weight), (other, other_weight)| {
            other_weight.total_cmp(weight).then((one.turn, one.item).cmp(&(other.turn, other.item)))
        });
        let position = RankPosition {
            is_unnamed: !candidates.named.contains(&id),
            distance: u32::MAX - relevance(items.first().map(|(_, weight)| *weight), items.len()),
            age: Reverse((at, id)),
        };
        (position, ProposedThread { id, items: items.into_iter().map(|(doc, _)| doc).collect() })
    });
    Ok(ranked.collect())
}

/// Loads the items of these threads that may be hits and are not superseded, with their weights.
pub(super) async fn load_docs(
    connection: &mut SqliteConnection,
    candidates: &SearchCandidates,
    threads: impl Iterator<Item = ThreadId>,
) -> Result<HashMap<ThreadId, Vec<(ItemDoc, f32)>>> {
    let threads: Vec<ThreadId> = threads.filter(|id| candidates.items.contains_key(id)).collect();
    let mut docs: HashMap<ThreadId, Vec<(ItemDoc, f32)>> = HashMap::new();
    let sql = "SELECT thread_id, run, until, docs FROM search_threads \
        WHERE thread_id IN (SELECT unhex(value) FROM json_each(?))";
    for row in sqlx::query(sql).bind(ids_json(&threads)).fetch_all(connection).await? {
        let id = ThreadId::from_uuid(row.try_get(0)?);
        let run: i64 = row.try_get(1)?;
        let until = row.try_get::<Option<i64>, _>(2)?.map_or(u64::MAX, unsigned);
        let of_run = candidates.items.get(&id).into_iter().flatten().filter(|candidate| candidate.run == run);
        // Docs and candidates are both in ascending order, so that one pass joins them.
        let mut of_run = of_run.peekable();
        for (index, doc) in (0..).zip(unpack_docs(row.try_get(3)?)) {
            if let Some(candidate) = of_run.next_if(|candidate| candidate.index == index)
                && doc.position() < until
            {
                docs.entry(id).or_default().push((doc, candidate.weight * shortness(doc.words)));
            }
        }
    }
    Ok(docs)
}
