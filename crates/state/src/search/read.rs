//! Reads the items that the index of words proposes, and decides which of them are hits.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use selvedge_history::{ItemLocation, TextSearch, TurnProjection};
use selvedge_protocol::log::Entry;
use selvedge_protocol::{SearchHit, SearchOrder, SearchQuery, StoredThread, ThreadId};
use selvedge_rollout::{HistoryEntry, RolloutError};
use sqlx::{Connection, QueryBuilder, Row, Sqlite, SqliteConnection};

use crate::blocking::blocking;
use crate::error::{IndexError, Result};
use crate::index::StateIndex;
use crate::indexed_file::{IndexedFile, IndexedPart};
use crate::record::read_record;
use crate::resolved::read_resolved;
use crate::search::proposal::ProposedThread;
use crate::sql::{ids_json, signed, unsigned};
use crate::turn_reader::read_item;
use crate::turn_rows::{TURN_COLUMNS, read_turn_row};
use selvedge_history::ranking::HitRanking;
use selvedge_history::turn_index::TurnRow;

/// How many turns one statement loads.
const TURNS_PER_STATEMENT: usize = 100;

/// A turn of a thread: the thread and the index of the turn.
type TurnKey = (ThreadId, u64);

/// A thread whose proposed items are being read.
struct HitScan {
    thread: StoredThread,
    /// Its files as the index knows them. `None` if the index cannot be relied on, so that the whole log has to be read.
    parts: Option<Vec<IndexedPart>>,
    /// The items that were not read yet.
    proposed: ProposedThread,
    hits: Vec<SearchHit>,
}

/// Threads to be read, with all that the index knows of them, so that reading needs no transaction.
pub(super) struct HitBatch {
    scans: Vec<HitScan>,
    /// The turns of the first items of each thread.
    turns: HashMap<TurnKey, TurnRow>,
}

impl HitScan {
    /// Returns whether further items are to be read by the index.
    fn needs_more(&self, limit: usize) -> bool {
        self.parts.is_some() && self.hits.len() < limit && !self.proposed.items.is_empty()
    }

    /// Does not use the index for this thread if one of its files does not begin with the indexed lines any more.
    fn check_files(&mut self) {
        self.parts.take_if(|parts| !parts.iter().all(|part| part.file.has_indexed_lines()));
    }
}

impl StateIndex {
    /// Loads what the index knows of these threads.
    pub(super) async fn load_batch(
        &self,
        connection: &mut SqliteConnection,
        query: &SearchQuery,
        search: &TextSearch,
        proposed: Vec<ProposedThread>,
    ) -> Result<HitBatch> {
        let mut threads = self.load_threads(connection, &proposed).await?;
        let scan = |proposed: ProposedThread| {
            let (thread, parts) = threads.remove(&proposed.id)?;
            let hits = search.name_hit(&thread).into_iter().collect();
            Some(HitScan { thread, parts, proposed, hits })
        };
        let scans: Vec<HitScan> = proposed.into_iter().filter_map(scan).collect();
        let limit = query.hits_per_thread;
        let turns = load_turns(connection, &scans, limit, limit).await?;
        Ok(HitBatch { scans, turns })
    }

    /// Reads the hits of these threads, as many of each as the query wants, and returns them in the given order. The caller must
    /// not hold a transaction, because files can take any time.
    pub(super) async fn read_hits(
        &self,
        connection: &mut SqliteConnection,
        query: &SearchQuery,
        search: &TextSearch,
        order: &[ThreadId],
        batch: HitBatch,
    ) -> Result<Vec<Vec<SearchHit>>> {
        // Nearly every proposed item is a hit, so that the items of the batch usually suffice. For threads with too few hits, turns
        // of further items are loaded in rounds, twice as many each time. A thread whose files or rows changed meanwhile is read
        // without the index.
        let limit = query.hits_per_thread;
        let HitBatch { mut scans, mut turns } = batch;
        let mut items_per_round = limit;
        loop {
            let search = search.clone();
            // Files are compared in every round, because they may change between two.
            scans = blocking(move || {
                for scan in &mut scans {
                    scan.check_files();
                    if scan.needs_more(limit) {
                        read_items(scan, &turns, &search, limit, items_per_round)?;
                    }
                }
                Ok(scans)
            })
            .await?;
            if !scans.iter().any(|scan| scan.needs_more(limit)) {
                break;
            }
            items_per_round = items_per_round.saturating_mul(2);
            let mut transaction = connection.begin().await?;
            self.give_up_changed(&mut transaction, &mut scans, limit).await?;
            turns = load_turns(&mut transaction, &scans, limit, items_per_round).await?;
            drop(transaction);
        }
        let mut hits: HashMap<ThreadId, Vec<SearchHit>> = HashMap::new();
        // Threads that the index cannot serve are read whole, one after the other: they are rare.
        for scan in scans {
            let id = scan.thread.id;
            let found = match scan.parts {
                Some(_) => scan.hits,
                None => self.scan_thread(scan.thread, search, query.order, limit).await?,
            };
            hits.insert(id, found);
        }
        Ok(order.iter().map(|id| hits.remove(id).unwrap_or_default()).collect())
    }

    /// Does not use the index for those threads that were indexed again since they were loaded: their turns may be elsewhere now.
    async fn give_up_changed(
        &self,
        connection: &mut SqliteConnection,
        scans: &mut [HitScan],
        limit: usize,
    ) -> Result<()> {
        let mut scans: Vec<&mut HitScan> = scans.iter_mut().filter(|scan| scan.needs_more(limit)).collect();
        let now = self.load_threads(connection, scans.iter().map(|scan| &scan.proposed)).await?;
        for scan in &mut scans {
            let parts_now = now.get(&scan.proposed.id).and_then(|(_, parts)| parts.as_ref());
            scan.parts.take_if(|parts| parts_now != Some(parts));
        }
        Ok(())
    }

    /// Loads the records of threads, and their files as the index knows them. Without files if it does not know all of them.
    async fn load_threads(
        &self,
        connection: &mut SqliteConnection,
        proposed: impl IntoIterator<Item = &ProposedThread>,
    ) -> Result<HashMap<ThreadId, (StoredThread, Option<Vec<IndexedPart>>)>> {
        let root = self.home.root();
        let all = ids_json(proposed.into_iter().map(|proposed| &proposed.id));
        let mut bases: HashMap<ThreadId, Vec<Option<IndexedPart>>> = HashMap::new();
        let sql = "SELECT path, size, modified_ns, inode, indexed_bytes, last_line_start, last_line_hash, part, end_byte, \
            bases.thread_id FROM bases LEFT JOIN segments USING (segment_id) \
            WHERE bases.thread_id IN (SELECT unhex(value) FROM json_each(?)) ORDER BY part";
        for row in sqlx::query(sql).bind(&all).fetch_all(&mut *connection).await? {
            let of_thread = bases.entry(ThreadId::from_uuid(row.try_get(9)?)).or_default();
            // As for a page of turns: a part that is missing, or there twice, makes the chain ambiguous.
            let is_next = row.try_get::<Option<i64>, _>(7)? == i64::try_from(of_thread.len()).ok();
            let file = IndexedFile::read(&row, 0, root)?.filter(|_| is_next);
            let end = unsigned(row.try_get(8)?);
            of_thread.push(file.map(|file| IndexedPart { file, end }));
        }
        let mut threads = HashMap::new();
        let sql = "SELECT record, name, archived, threads.path, segments.path, size, modified_ns, inode, indexed_bytes, \
            last_line_start, last_line_hash FROM threads LEFT JOIN segments ON segments.path = threads.path \
            WHERE threads.id IN (SELECT unhex(value) FROM json_each(?))";
        for row in sqlx::query(sql).bind(&all).fetch_all(connection).await? {
            let thread = read_record(&row, Some(root))?;
            let newest = IndexedFile::read(&row, 4, root)?.map(|file| IndexedPart { file, end: u64::MAX });
            let earlier = bases.remove(&thread.id).unwrap_or_default();
            let parts: Option<Vec<IndexedPart>> = earlier.into_iter().chain([newest]).collect();
            threads.insert(thread.id, (thread, parts));
        }
        Ok(threads)
    }

    /// Returns the hits of a thread by reading its whole log.
    async fn scan_thread(
        &self,
        thread: StoredThread,
        search: &TextSearch,
        order: SearchOrder,
        limit: usize,
    ) -> Result<Vec<SearchHit>> {
        let files = self.home_files().await?;
        let (search, cached_home) = (search.clone(), Arc::clone(&self.cached_home));
        blocking(move || {
            let turns = read_resolved(&cached_home, &files, thread.id, |_, resolved| {
                let mut turns = TurnProjection::new();
                let mut position = 0;
                for entry in resolved.reader() {
                    if let HistoryEntry::Entry { entry: Entry::Line(record), .. } = entry? {
                        turns.push(position, &record.line);
                        position += 1;
                    }
                }
                Ok(turns.finish())
            });
            let turns = match turns {
                // One file that cannot be read costs only the hits in it.
                Err(IndexError::Files(RolloutError::Io { path, source, .. }))
                    if source.kind() != io::ErrorKind::NotFound =>
                {
                    cached_home.report_unreadable(&path, &source);
                    return Ok(Vec::new());
                }
                turns => turns?,
            };
            let turns = turns.unwrap_or_default();
            let ranking = HitRanking::new(&search).filter(|_| order == SearchOrder::Best);
            Ok(match ranking {
                Some(mut ranking) => ranking.hits(&thread, &turns, limit).hits,
                None => search.hits(&thread, &turns, order, limit).hits,
            })
        })
        .await
    }
}

/// Loads the turns of the next `items` items of each thread.
async fn load_turns(
    connection: &mut SqliteConnection,
    scans: &[HitScan],
    limit: usize,
    items: usize,
) -> Result<HashMap<TurnKey, TurnRow>> {
    let keys = scans.iter().filter(|scan| scan.needs_more(limit)).flat_map(|scan| {
        let id = scan.proposed.id;
        scan.proposed.items.iter().take(items).map(move |doc| (id, doc.turn))
    });
    let mut keys: Vec<TurnKey> = keys.collect();
    keys.sort_unstable();
    keys.dedup();
    let mut rows = HashMap::new();
    for keys in keys.chunks(TURNS_PER_STATEMENT) {
        let mut sql = QueryBuilder::<Sqlite>::new(format!(
            "SELECT {TURN_COLUMNS}, thread_id FROM turns WHERE (thread_id, place) IN "
        ));
        sql.push_tuples(keys, |mut tuple, (id, turn)| {
            tuple.push_bind(id.as_uuid()).push_bind(signed(*turn));
        });
        for row in sql.build().persistent(keys.len() == TURNS_PER_STATEMENT).fetch_all(&mut *connection).await? {
            let turn = read_turn_row(&row)?;
            rows.insert((ThreadId::from_uuid(row.try_get(13)?), turn.turn_index), turn);
        }
    }
    Ok(rows)
}

/// Reads the next `items` items of a thread. If one of them cannot be read, the index is given up for this thread.
fn read_items(
    scan: &mut HitScan,
    rows: &HashMap<TurnKey, TurnRow>,
    search: &TextSearch,
    limit: usize,
    items: usize,
) -> Result<()> {
    for _ in 0..items {
        if !scan.needs_more(limit) {
            break;
        }
        let (Some(parts), Some(doc)) = (&scan.parts, scan.proposed.items.pop_front()) else { break };
        let row = rows.get(&(scan.proposed.id, doc.turn));
        let item = match row {
            // A file that was moved just now is found at its new path when the thread is read whole. One that cannot be read is
            // reported then.
            Some(row) => match read_item(parts, row, doc.item, None) {
                Err(IndexError::Files(RolloutError::Io { .. })) => None,
                item => item?,
            },
            None => None,
        };
        let (Some(row), Some(item)) = (row, item) else {
            scan.parts = None;
            break;
        };
        let line = usize::try_from(doc.item).ok().and_then(|index| row.items.get(index)).map(|item| item.line);
        let place = ItemLocation {
            turn_id: &row.id,
            turn_number: row.turn_index + 1,
            position: line.map(|line| row.lines.start + line),
            item: &item,
        };
        scan.hits.extend(search.item_hit(&scan.thread, &place));
    }
    Ok(())
}
