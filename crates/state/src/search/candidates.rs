//! What the index of words proposes.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use selvedge_protocol::ThreadId;
use sqlx::{Row, SqliteConnection};

use crate::StateIndex;
use crate::error::Result;
use crate::plan::ids;
use crate::search::run::{Directory, for_each_posting, matching_words, postings_of};
use crate::search::store::{block_id, run_and_block};
use crate::search::words::WordPattern;

/// How many blocks are loaded at once.
const BLOCKS: usize = 256;

/// From how often on a word that stands again in an item counts but little more.
const SATURATION: f32 = 1.2;

/// An item in which words stand that match all patterns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) run: i64,
    /// Its place among the items of its thread in the run.
    pub(crate) number: u32,
    /// How much it has to do with the patterns, but for its length.
    pub(crate) weight: f32,
}

/// For each pattern the blocks in which words match, with the places of those words.
type Matches = HashMap<usize, Vec<(usize, Vec<usize>)>>;

impl StateIndex {
    /// The items that may be hits, by thread, and the runs that say so: as long as these are there and no others, the numbers
    /// of items are right, and no thread was indexed that is not in them.
    pub(crate) async fn candidates(
        &self,
        connection: &mut SqliteConnection,
        patterns: &[WordPattern],
    ) -> Result<(Vec<i64>, HashMap<ThreadId, Vec<Candidate>>)> {
        let runs = runs(connection).await?;
        let directories = self.directories(connection, &runs).await?;
        let mut of_runs: HashMap<i64, HashMap<ThreadId, Vec<Candidate>>> = HashMap::new();
        let matches = matching_blocks(connection, &directories, patterns).await?;
        for (run, of_run) in matches.iter().filter(|(_, of_run)| of_run.len() == patterns.len()) {
            let Some((_, directory)) = directories.iter().find(|(known, _)| known == run) else { continue };
            let weights = weights(connection, *run, directory, of_run).await?;
            let mut threads = directory.threads.iter().peekable();
            for (doc, weight) in weights {
                while threads.next_if(|(_, first, count)| doc >= first + count).is_some() {}
                let Some((id, first, _)) = threads.peek() else { break };
                if doc >= *first {
                    let candidate = Candidate { run: *run, number: doc - first, weight };
                    of_runs.entry(*run).or_default().entry(*id).or_default().push(candidate);
                }
            }
        }
        remove_superseded(connection, &mut of_runs).await?;
        let mut found: HashMap<ThreadId, Vec<Candidate>> = HashMap::new();
        for (id, candidates) in of_runs.into_values().flatten() {
            found.entry(id).or_default().extend(candidates);
        }
        Ok((runs, found))
    }

    /// The directories of all runs. They never change, so that those that were read are kept.
    async fn directories(&self, connection: &mut SqliteConnection, runs: &[i64]) -> Result<Vec<(i64, Arc<Directory>)>> {
        let known = || self.directories.lock().unwrap_or_else(PoisonError::into_inner);
        let missing: Vec<i64> = {
            let mut known = known();
            known.retain(|run, _| runs.contains(run));
            runs.iter().copied().filter(|run| !known.contains_key(run)).collect()
        };
        if !missing.is_empty() {
            let sql = "SELECT run, directory FROM search_runs WHERE run IN (SELECT value FROM json_each(?))";
            for row in sqlx::query(sql).bind(numbers(&missing)).fetch_all(connection).await? {
                let directory = Directory::unpack(row.try_get(1)?);
                let directory = directory.ok_or_else(|| sqlx::Error::Decode("a directory of words".into()))?;
                known().insert(row.try_get(0)?, Arc::new(directory));
            }
        }
        let known = known();
        Ok(runs.iter().filter_map(|run| Some((*run, Arc::clone(known.get(run)?)))).collect())
    }
}

/// The runs that there are, oldest first.
pub(crate) async fn runs(connection: &mut SqliteConnection) -> Result<Vec<i64>> {
    Ok(sqlx::query_scalar("SELECT run FROM search_runs ORDER BY run").fetch_all(connection).await?)
}

/// Takes out the threads of whose items in a run none counts any more. Costs no more than what was found, however many threads of
/// the runs are superseded: if these are fewer they are all loaded, and otherwise those are looked up that were found.
async fn remove_superseded(
    connection: &mut SqliteConnection,
    of_runs: &mut HashMap<i64, HashMap<ThreadId, Vec<Candidate>>>,
) -> Result<()> {
    let most = of_runs.values().map(HashMap::len).sum::<usize>();
    let sql = "SELECT run, thread_id FROM search_threads WHERE until IS NOT NULL AND until = 0 LIMIT ?";
    let limit = i64::try_from(most).unwrap_or(i64::MAX - 1) + 1;
    let mut superseded = sqlx::query(sql).bind(limit).fetch_all(&mut *connection).await?;
    if superseded.len() > most {
        superseded.clear();
        let sql = "SELECT run, thread_id FROM search_threads WHERE until IS NOT NULL AND until = 0 \
            AND run = ? AND thread_id IN (SELECT unhex(value) FROM json_each(?))";
        for (run, threads) in &*of_runs {
            let query = sqlx::query(sql).bind(*run).bind(ids(threads.keys()));
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

/// For each run in which blocks hold words that match, which.
async fn matching_blocks(
    connection: &mut SqliteConnection,
    directories: &[(i64, Arc<Directory>)],
    patterns: &[WordPattern],
) -> Result<HashMap<i64, Matches>> {
    let mut wanted: HashMap<i64, Vec<usize>> = HashMap::new();
    for (run, directory) in directories {
        let of_run: Vec<Vec<usize>> = patterns.iter().map(|pattern| directory.blocks_for(pattern)).collect();
        // A pattern without blocks rules the run out.
        if of_run.iter().all(|blocks| !blocks.is_empty()) {
            for (pattern, blocks) in of_run.into_iter().enumerate() {
                for block in blocks {
                    wanted.entry(block_id(*run, block)).or_default().push(pattern);
                }
            }
        }
    }
    let mut ids: Vec<i64> = wanted.keys().copied().collect();
    ids.sort_unstable();
    let mut found: HashMap<i64, Matches> = HashMap::new();
    for ids in ids.chunks(BLOCKS) {
        let sql = "SELECT id, words FROM search_blocks WHERE id IN (SELECT value FROM json_each(?))";
        for row in sqlx::query(sql).bind(numbers(ids)).fetch_all(&mut *connection).await? {
            let id: i64 = row.try_get(0)?;
            let words: &[u8] = row.try_get(1)?;
            let (run, block) = run_and_block(id);
            for pattern in wanted.get(&id).into_iter().flatten() {
                let places = matching_words(words, &patterns[*pattern]);
                if !places.is_empty() {
                    found.entry(run).or_default().entry(*pattern).or_default().push((block, places));
                }
            }
        }
    }
    Ok(found)
}

/// The items of a run in which words stand that match all patterns, by number, and how much each has to do with them.
async fn weights(
    connection: &mut SqliteConnection,
    run: i64,
    directory: &Directory,
    matches: &Matches,
) -> Result<Vec<(u32, f32)>> {
    let mut ids: Vec<i64> = matches.values().flatten().map(|(block, _)| block_id(run, *block)).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut blocks: HashMap<usize, Vec<u8>> = HashMap::new();
    for ids in ids.chunks(BLOCKS) {
        let sql = "SELECT id, postings FROM search_blocks WHERE id IN (SELECT value FROM json_each(?))";
        for row in sqlx::query(sql).bind(numbers(ids)).fetch_all(&mut *connection).await? {
            blocks.insert(run_and_block(row.try_get(0)?).1, row.try_get(1)?);
        }
    }
    let docs = directory.docs as usize;
    let mut weights: Vec<f32> = vec![0.0; docs];
    let mut matched: Vec<u16> = vec![0; docs];
    for (round, of_pattern) in (0..).zip(matches.values()) {
        let mut times: Vec<u32> = vec![0; docs];
        for (block, places) in of_pattern {
            let block = blocks.get(block).and_then(|block| postings_of(block)).ok_or_else(damaged)?;
            for place in places {
                let of_word = block.get(*place).ok_or_else(damaged)?;
                let count = |doc: u32, more: u32| {
                    if let Some(times) = times.get_mut(doc as usize) {
                        *times = times.saturating_add(more);
                    }
                };
                for_each_posting(of_word, count).ok_or_else(damaged)?;
            }
        }
        for (doc, times) in times.into_iter().enumerate().filter(|(_, times)| *times > 0) {
            if matched[doc] == round {
                matched[doc] = round + 1;
                let times = f32::from(u16::try_from(times).unwrap_or(u16::MAX));
                weights[doc] += times / (times + SATURATION);
            }
        }
    }
    let all = u16::try_from(matches.len()).unwrap_or(u16::MAX);
    let found = (0..).zip(weights).zip(matched).filter(|(_, matched)| *matched == all);
    Ok(found.map(|(weight, _)| weight).collect())
}

fn damaged() -> sqlx::Error {
    sqlx::Error::Decode("a block of words".into())
}

/// Numbers as a JSON array.
pub(crate) fn numbers(numbers: &[i64]) -> String {
    let numbers: Vec<String> = numbers.iter().map(i64::to_string).collect();
    format!("[{}]", numbers.join(","))
}
