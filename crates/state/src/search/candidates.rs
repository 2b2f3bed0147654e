//! The candidates of a search: threads that may have hits, by the words of their items or by their names.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};

use selvedge_history::SearchTerm;
use selvedge_protocol::ThreadId;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};

use crate::error::Result;
use crate::index::StateIndex;
use crate::search::block::matching_words;
use crate::search::directory::{Directory, DirectoryThread};
use crate::search::postings::{for_each_posting, postings_of};
use crate::search::store::{block_id, run_and_block};
use crate::sql::{ids_json, numbers_json};
use selvedge_history::ranking::repetitions;
use selvedge_history::ranking::words::WordPattern;

/// How many blocks are loaded at a time.
const BLOCKS: usize = 256;

/// What may be found by a search, as of one transaction.
pub(super) struct SearchCandidates {
    /// The runs that were searched. As long as the database has exactly these, the docs of the candidates are right, and no
    /// thread was indexed that is not considered.
    pub(super) runs: Vec<i64>,
    /// The items that may be hits.
    pub(super) items: HashMap<ThreadId, Vec<Candidate>>,
    /// The threads whose names may be hits.
    pub(super) named: HashSet<ThreadId>,
}

impl SearchCandidates {
    pub(super) fn contains(&self, id: &ThreadId) -> bool {
        self.items.contains_key(id) || self.named.contains(id)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &ThreadId> {
        self.items.keys().chain(self.named.iter().filter(|id| !self.items.contains_key(id)))
    }

    pub(super) fn count(&self) -> usize {
        self.ids().count()
    }
}

/// An item that may be a hit: for each pattern it has a word that matches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) run: i64,
    /// The index of the item among the docs of its thread in the run.
    pub(super) index: u32,
    /// How relevant the item is, regardless of its length.
    pub(super) weight: f32,
}

/// A block with the words in it that match a pattern, by their indexes.
struct BlockMatch {
    block: usize,
    words: Vec<usize>,
}

/// For each pattern of a search the blocks of one run with matching words.
type RunMatches = HashMap<usize, Vec<BlockMatch>>;

/// The candidates of one run, by thread.
type RunCandidates = HashMap<ThreadId, Vec<Candidate>>;

impl StateIndex {
    /// Finds the candidates of a search with these terms, which have these patterns.
    pub(super) async fn find_candidates(
        &self,
        connection: &mut SqliteConnection,
        terms: &[SearchTerm],
        patterns: &[WordPattern],
    ) -> Result<SearchCandidates> {
        let runs = runs(connection).await?;
        let directories = self.load_directories(connection, &runs).await?;
        let mut of_runs: HashMap<i64, RunCandidates> = HashMap::new();
        for (run, matches) in matching_blocks(connection, &directories, patterns).await? {
            // An item must match all patterns, and all its words are in one run.
            if matches.len() == patterns.len()
                && let Some((_, directory)) = directories.iter().find(|(known, _)| *known == run)
            {
                let docs = weigh_docs(connection, run, directory, &matches).await?;
                of_runs.insert(run, by_thread(run, docs, &directory.threads));
            }
        }
        remove_superseded(connection, &mut of_runs).await?;
        let mut items: HashMap<ThreadId, Vec<Candidate>> = HashMap::new();
        for (id, candidates) in of_runs.into_values().flatten() {
            items.entry(id).or_default().extend(candidates);
        }
        let named = find_named(connection, terms).await?;
        Ok(SearchCandidates { runs, items, named })
    }

    /// Loads the directories of these runs. A run never changes, so that directories are kept until the run is gone.
    async fn load_directories(
        &self,
        connection: &mut SqliteConnection,
        runs: &[i64],
    ) -> Result<Vec<(i64, Arc<Directory>)>> {
        let known = || self.directories.lock().unwrap_or_else(PoisonError::into_inner);
        let missing: Vec<i64> = {
            let mut known = known();
            // Runs that were merged away are forgotten here, so that the cache does not grow.
            known.retain(|run, _| runs.contains(run));
            runs.iter().copied().filter(|run| !known.contains_key(run)).collect()
        };
        if !missing.is_empty() {
            let sql = "SELECT run, directory FROM search_runs WHERE run IN (SELECT value FROM json_each(?))";
            for row in sqlx::query(sql).bind(numbers_json(&missing)).fetch_all(connection).await? {
                let directory = Directory::unpack(row.try_get(1)?);
                let directory = directory.ok_or_else(|| sqlx::Error::Decode("the directory of a search run".into()))?;
                known().insert(row.try_get(0)?, Arc::new(directory));
            }
        }
        // Another search of this process may have dropped a directory in between, if it saw other runs.
        let known = known();
        Ok(runs.iter().filter_map(|run| Some((*run, Arc::clone(known.get(run)?)))).collect())
    }
}

/// Returns all runs, oldest first.
pub(super) async fn runs(connection: &mut SqliteConnection) -> Result<Vec<i64>> {
    Ok(sqlx::query_scalar("SELECT run FROM search_runs ORDER BY run").fetch_all(connection).await?)
}

/// Groups weighted docs by their threads. Both are in the order of the docs, so that one pass is enough. Docs that belong to no
/// thread are dropped.
fn by_thread(run: i64, docs: Vec<(u32, f32)>, threads: &[DirectoryThread]) -> RunCandidates {
    let mut candidates: RunCandidates = HashMap::new();
    let mut threads = threads.iter().peekable();
    for (doc, weight) in docs {
        while threads.next_if(|thread| doc >= thread.first_doc + thread.doc_count).is_some() {}
        let Some(thread) = threads.peek() else { break };
        if doc >= thread.first_doc {
            let candidate = Candidate { run, index: doc - thread.first_doc, weight };
            candidates.entry(thread.id).or_default().push(candidate);
        }
    }
    candidates
}

/// Removes the threads whose items in a run are all superseded. Items that are superseded in part are removed when they are
/// loaded.
async fn remove_superseded(connection: &mut SqliteConnection, of_runs: &mut HashMap<i64, RunCandidates>) -> Result<()> {
    // The cost is bounded by what was found, however many threads are superseded. If those are fewer they are all loaded;
    // otherwise the ones that were found are looked up.
    let found = of_runs.values().map(HashMap::len).sum::<usize>();
    let sql = "SELECT run, thread_id FROM search_threads WHERE until IS NOT NULL AND until = 0 LIMIT ?";
    let limit = i64::try_from(found).unwrap_or(i64::MAX - 1) + 1;
    let mut superseded = sqlx::query(sql).bind(limit).fetch_all(&mut *connection).await?;
    if superseded.len() > found {
        superseded.clear();
        let sql = "SELECT run, thread_id FROM search_threads WHERE until IS NOT NULL AND until = 0 \
            AND run = ? AND thread_id IN (SELECT unhex(value) FROM json_each(?))";
        for (run, threads) in &*of_runs {
            let query = sqlx::query(sql).bind(*run).bind(ids_json(threads.keys()));
            superseded.extend(query.fetch_all(&mut *connection).await?);
        }
    }
    for row in superseded {
        if let Some(threads) = of_runs.get_mut(&row.try_get(0)?) {
            threads.remove(&ThreadId::from_uuid(row.try_get(1)?));
        }
    }
    Ok(())
}

/// Returns, for each run with a match, the blocks with matching words.
async fn matching_blocks(
    connection: &mut SqliteConnection,
    directories: &[(i64, Arc<Directory>)],
    patterns: &[WordPattern],
) -> Result<HashMap<i64, RunMatches>> {
    // First by the directories alone: for each block the patterns that may match in it.
    let mut wanted: HashMap<i64, Vec<usize>> = HashMap::new();
    for (run, directory) in directories {
        let of_run: Vec<Vec<usize>> = patterns.iter().map(|pattern| directory.blocks_for(pattern)).collect();
        // A pattern without blocks rules out the whole run.
        if of_run.iter().all(|blocks| !blocks.is_empty()) {
            for (pattern, blocks) in of_run.into_iter().enumerate() {
                for block in blocks {
                    wanted.entry(block_id(*run, block)).or_default().push(pattern);
                }
            }
        }
    }
    // Then by the words of these blocks. Their postings are loaded later, and only where words match.
    let mut ids: Vec<i64> = wanted.keys().copied().collect();
    ids.sort_unstable();
    let mut found: HashMap<i64, RunMatches> = HashMap::new();
    for ids in ids.chunks(BLOCKS) {
        let sql = "SELECT id, words FROM search_blocks WHERE id IN (SELECT value FROM json_each(?))";
        for row in sqlx::query(sql).bind(numbers_json(ids)).fetch_all(&mut *connection).await? {
            let id: i64 = row.try_get(0)?;
            let words: &[u8] = row.try_get(1)?;
            let (run, block) = run_and_block(id);
            for pattern in wanted.get(&id).into_iter().flatten() {
                let words = matching_words(words, &patterns[*pattern]);
                if !words.is_empty() {
                    let matches = found.entry(run).or_default().entry(*pattern).or_default();
                    matches.push(BlockMatch { block, words });
                }
            }
        }
    }
    Ok(found)
}

/// Returns the docs of a run that match all patterns, in ascending order, with their weights.
async fn weigh_docs(
    connection: &mut SqliteConnection,
    run: i64,
    directory: &Directory,
    matches: &RunMatches,
) -> Result<Vec<(u32, f32)>> {
    // Each pattern is a round over its postings. A doc takes part in a round only if it matched in all rounds before, so that a
    // counter per doc is enough for the intersection. Several words can match one pattern (`loom` matches `loom` and `looms`), and
    // their repetitions count together.
    let mut ids: Vec<i64> = matches.values().flatten().map(|found| block_id(run, found.block)).collect();
    // Two patterns can match in the same block.
    ids.sort_unstable();
    ids.dedup();
    let mut blocks: HashMap<usize, Vec<u8>> = HashMap::new();
    for ids in ids.chunks(BLOCKS) {
        let sql = "SELECT id, postings FROM search_blocks WHERE id IN (SELECT value FROM json_each(?))";
        for row in sqlx::query(sql).bind(numbers_json(ids)).fetch_all(&mut *connection).await? {
            blocks.insert(run_and_block(row.try_get(0)?).1, row.try_get(1)?);
        }
    }
    let docs = directory.docs as usize;
    let mut weights: Vec<f32> = vec![0.0; docs];
    let mut rounds_matched: Vec<u16> = vec![0; docs];
    // In the order of the patterns, because a sum of fractions depends on the order.
    let mut of_patterns: Vec<(&usize, &Vec<BlockMatch>)> = matches.iter().collect();
    of_patterns.sort_unstable_by_key(|(pattern, _)| **pattern);
    for (round, (_, of_pattern)) in (0..).zip(of_patterns) {
        let mut times: Vec<u32> = vec![0; docs];
        for BlockMatch { block, words } in of_pattern {
            let postings = blocks.get(block).and_then(|block| postings_of(block)).ok_or_else(damaged)?;
            for word in words {
                let of_word = postings.get(*word).ok_or_else(damaged)?;
                let count = |doc: u32, more: u32| {
                    if let Some(times) = times.get_mut(doc as usize) {
                        *times = times.saturating_add(more);
                    }
                };
                for_each_posting(of_word, count).ok_or_else(damaged)?;
            }
        }
        for (doc, times) in times.into_iter().enumerate().filter(|(_, times)| *times > 0) {
            if rounds_matched[doc] == round {
                rounds_matched[doc] = round + 1;
                weights[doc] += repetitions(times);
            }
        }
    }
    let all = u16::try_from(matches.len()).unwrap_or(u16::MAX);
    let matching = (0..).zip(weights).zip(rounds_matched).filter(|(_, rounds)| *rounds == all);
    Ok(matching.map(|(doc, _)| doc).collect())
}

fn damaged() -> sqlx::Error {
    sqlx::Error::Decode("a block of a search run".into())
}

/// Returns the threads whose names contain all terms. It compares letters only; [`TextSearch`](selvedge_history::TextSearch)
/// decides whether the name is a hit.
async fn find_named(connection: &mut SqliteConnection, terms: &[SearchTerm]) -> Result<HashSet<ThreadId>> {
    let mut sql = QueryBuilder::<Sqlite>::new("SELECT id FROM threads WHERE name_searched IS NOT NULL");
    for term in terms {
        sql.push(" AND instr(name_searched, ").push_bind(term.text()).push(") > 0");
    }
    let rows = sql.build().fetch_all(connection).await?;
    rows.iter().map(|row| Ok(ThreadId::from_uuid(row.try_get(0)?))).collect()
}
