//! Reading from the log what the index of words proposes.

use std::collections::HashMap;
use std::sync::Arc;

use selvedge_history::{ItemLocation, TextSearch, TurnProjection, TurnRestart};
use selvedge_protocol::{SearchHit, SearchOrder, SearchQuery, StoredThread, ThreadId, TurnItem};
use selvedge_rollout::{Entry, HistoryEntry, RolloutReader};
use sqlx::{Connection, QueryBuilder, Row, Sqlite, SqliteConnection};

use crate::StateIndex;
use crate::error::Result;
use crate::list::stored_thread;
use crate::plan::ids;
use crate::search::query::Proposed;
use crate::told::{ItemBytes, TurnRow, mode};
use crate::turns::{IndexedFile, Part, TURN_COLUMNS, tell_turn, turn_row};
use crate::update::{blocking, while_moved};
use crate::write::{signed, unsigned};

/// A thread whose items are being read.
struct Reading {
    thread: StoredThread,
    /// Its files, as the index knows them; `None` if it has to be read whole.
    parts: Option<Vec<Part>>,
    proposed: Proposed,
    hits: Vec<SearchHit>,
}

/// Threads to be read, with all that the index says of them: they can be read without it.
pub(super) struct Batch {
    readings: Vec<Reading>,
    /// The turns of the first items of each.
    turns: HashMap<(ThreadId, u64), TurnRow>,
}

impl Reading {
    fn wants(&self, limit: usize) -> bool {
        self.parts.is_some() && self.hits.len() < limit && !self.proposed.items.is_empty()
    }

    /// Has the thread read whole if one of its files is not as it was indexed.
    fn check_files(&mut self) {
        self.parts.take_if(|parts| !parts.iter().all(|part| part.file.is_there()));
    }
}

impl StateIndex {
    /// Loads what the index says of these threads.
    pub(super) async fn load_batch(
        &self,
        connection: &mut SqliteConnection,
        query: &SearchQuery,
        search: &TextSearch,
        proposed: Vec<Proposed>,
    ) -> Result<Batch> {
        let mut threads = self.load_threads(connection, &proposed).await?;
        let reading = |proposed: Proposed| {
            let (thread, parts) = threads.remove(&proposed.id)?;
            let hits = search.name_hit(&thread).into_iter().collect();
            Some(Reading { thread, parts, proposed, hits })
        };
        let readings: Vec<Reading> = proposed.into_iter().filter_map(reading).collect();
        let limit = query.hits_per_thread;
        let turns = load_turns(connection, &readings, limit, limit).await?;
        Ok(Batch { readings, turns })
    }

    /// Reads the hits of each of these threads, in the order of the query and as many as it wants. There must be no open
    /// transaction: files can take any time.
    pub(super) async fn read_hits(
        &self,
        connection: &mut SqliteConnection,
        query: &SearchQuery,
        search: &TextSearch,
        order: &[ThreadId],
        batch: Batch,
    ) -> Result<Vec<Vec<SearchHit>>> {
        let limit = query.hits_per_thread;
        let Batch { mut readings, mut turns } = batch;
        let mut at_once = limit;
        loop {
            let search = search.clone();
            readings = blocking(move || {
                for reading in &mut readings {
                    reading.check_files();
                    if reading.wants(limit) {
                        read_items(reading, &turns, &search, limit, at_once)?;
                    }
                }
                Ok(readings)
            })
            .await?;
            if !readings.iter().any(|reading| reading.wants(limit)) {
                break;
            }
            // An item that is no hit is rare.
            at_once = at_once.saturating_mul(2);
            let mut transaction = connection.begin().await?;
            self.forget_changed(&mut transaction, &mut readings, limit).await?;
            turns = load_turns(&mut transaction, &readings, limit, at_once).await?;
            drop(transaction);
        }
        let mut hits: HashMap<ThreadId, Vec<SearchHit>> = HashMap::new();
        for reading in readings {
            let id = reading.thread.id;
            let found = match reading.parts {
                Some(_) => reading.hits,
                None => self.scan_thread(reading.thread, search, query.order, limit).await?,
            };
            hits.insert(id, found);
        }
        Ok(order.iter().map(|id| hits.remove(id).unwrap_or_default()).collect())
    }

    /// Has those threads read whole that were indexed again since they were loaded: their turns may stand elsewhere.
    async fn forget_changed(
        &self,
        connection: &mut SqliteConnection,
        readings: &mut [Reading],
        limit: usize,
    ) -> Result<()> {
        let mut wanting: Vec<&mut Reading> = readings.iter_mut().filter(|reading| reading.wants(limit)).collect();
        let now = self.load_threads(connection, wanting.iter().map(|reading| &reading.proposed)).await?;
        for reading in &mut wanting {
            let parts_now = now.get(&reading.proposed.id).and_then(|(_, parts)| parts.as_ref());
            reading.parts.take_if(|parts| parts_now != Some(parts));
        }
        Ok(())
    }

    /// The rows of threads, and their files as the index knows them; of those that have a file which it does not know, none.
    async fn load_threads(
        &self,
        connection: &mut SqliteConnection,
        proposed: impl IntoIterator<Item = &Proposed>,
    ) -> Result<HashMap<ThreadId, (StoredThread, Option<Vec<Part>>)>> {
        let all = ids(proposed.into_iter().map(|proposed| &proposed.id));
        let mut bases: HashMap<ThreadId, Vec<Option<Part>>> = HashMap::new();
        let sql = "SELECT path, size, modified_ns, inode, indexed_bytes, last_line_start, last_line_hash, part, end_byte, \
            bases.thread_id FROM bases LEFT JOIN segments USING (segment_id) \
            WHERE bases.thread_id IN (SELECT unhex(value) FROM json_each(?)) ORDER BY part";
        for row in sqlx::query(sql).bind(&all).fetch_all(&mut *connection).await? {
            let of_thread = bases.entry(ThreadId::from_uuid(row.try_get(9)?)).or_default();
            let is_next = row.try_get::<Option<i64>, _>(7)? == i64::try_from(of_thread.len()).ok();
            let file = IndexedFile::of(&row, 0, self)?.filter(|_| is_next);
            let end = unsigned(row.try_get(8)?);
            of_thread.push(file.map(|file| Part { file, end }));
        }
        let mut threads = HashMap::new();
        let sql = "SELECT record, name, archived, threads.path, segments.path, size, modified_ns, inode, indexed_bytes, \
            last_line_start, last_line_hash FROM threads LEFT JOIN segments ON segments.path = threads.path \
            WHERE threads.id IN (SELECT unhex(value) FROM json_each(?))";
        for row in sqlx::query(sql).bind(&all).fetch_all(connection).await? {
            let thread = stored_thread(&row, Some(self.home.root()))?;
            let newest = IndexedFile::of(&row, 4, self)?.map(|file| Part { file, end: u64::MAX });
            let earlier = bases.remove(&thread.id).unwrap_or_default();
            let parts: Option<Vec<Part>> = earlier.into_iter().chain([newest]).collect();
            threads.insert(thread.id, (thread, parts));
        }
        Ok(threads)
    }

    /// The hits of a thread, by reading it from end to end.
    async fn scan_thread(
        &self,
        thread: StoredThread,
        search: &TextSearch,
        order: SearchOrder,
        limit: usize,
    ) -> Result<Vec<SearchHit>> {
        let files = self.home_files().await?;
        let (search, remembered) = (search.clone(), Arc::clone(&self.remembered));
        blocking(move || {
            let turns = while_moved(&remembered, &files, thread.id, |_, resolved| {
                let mut turns = TurnProjection::new();
                let mut position = 0;
                for entry in resolved.reader() {
                    if let HistoryEntry::Entry { entry: Entry::Line(record), .. } = entry? {
                        turns.push(position, &record.line);
                        position += 1;
                    }
                }
                Ok(turns.finish())
            })?;
            Ok(search.hits(&thread, &turns.unwrap_or_default(), order, limit).hits)
        })
        .await
    }
}

/// The turns of the items that are read next.
async fn load_turns(
    connection: &mut SqliteConnection,
    readings: &[Reading],
    limit: usize,
    at_once: usize,
) -> Result<HashMap<(ThreadId, u64), TurnRow>> {
    let wanted = readings.iter().filter(|reading| reading.wants(limit));
    let places = wanted.flat_map(|reading| {
        let id = reading.proposed.id;
        reading.proposed.items.iter().take(at_once).map(move |doc| (id, doc.turn))
    });
    let mut places: Vec<(ThreadId, u64)> = places.collect();
    places.sort_unstable();
    places.dedup();
    let mut rows = HashMap::new();
    for places in places.chunks(100) {
        let mut sql = QueryBuilder::<Sqlite>::new(format!(
            "SELECT {TURN_COLUMNS}, thread_id FROM turns WHERE (thread_id, place) IN "
        ));
        sql.push_tuples(places, |mut tuple, (id, turn)| {
            tuple.push_bind(id.as_uuid()).push_bind(signed(*turn));
        });
        for row in sql.build().persistent(places.len() == 100).fetch_all(&mut *connection).await? {
            let turn = turn_row(&row)?;
            rows.insert((ThreadId::from_uuid(row.try_get(13)?), turn.place), turn);
        }
    }
    Ok(rows)
}

/// Reads the next items of a thread. When one is not where it should be, the thread has to be read whole.
fn read_items(
    reading: &mut Reading,
    rows: &HashMap<(ThreadId, u64), TurnRow>,
    search: &TextSearch,
    limit: usize,
    at_once: usize,
) -> Result<()> {
    for _ in 0..at_once {
        if !reading.wants(limit) {
            break;
        }
        let (Some(parts), Some(doc)) = (&reading.parts, reading.proposed.items.pop_front()) else { break };
        let row = rows.get(&(reading.proposed.id, doc.turn));
        let item = match row {
            // A file that was moved just now is found when the thread is read whole.
            Some(row) => match tell_item(parts, row, doc.item) {
                Err(error) if error.is_gone() => None,
                item => item?,
            },
            None => None,
        };
        let (Some(row), Some(item)) = (row, item) else {
            reading.parts = None;
            break;
        };
        let line = usize::try_from(doc.item).ok().and_then(|at| row.items.get(at)).map(|item| item.line);
        let place = ItemLocation {
            turn_id: &row.id,
            turn_number: row.place + 1,
            position: line.map(|line| row.lines.start + line),
            item: &item,
        };
        reading.hits.extend(search.item_hit(&reading.thread, &place));
    }
    Ok(())
}

/// Tells an item from its lines; nothing when they do not tell it.
fn tell_item(parts: &[Part], row: &TurnRow, item: u64) -> Result<Option<TurnItem>> {
    let Ok(at) = usize::try_from(item) else { return Ok(None) };
    let Some(place) = row.items.get(at) else { return Ok(None) };
    let (offset, len, paginated) = match place.from {
        ItemBytes::Own { offset, len, paginated } => (offset, len, paginated),
        ItemBytes::Turn => {
            let turn = tell_turn(parts, row, false)?;
            return Ok(turn.and_then(|turn| turn.items.into_iter().nth(at)));
        }
    };
    let Some(part) = parts.get(row.start.part) else { return Ok(None) };
    let mut position = row.lines.start + place.line;
    let restart = TurnRestart { position, mode: mode(paginated), ..row.restart() };
    let mut turns = TurnProjection::at_item(row.id.clone(), restart);
    let start = row.start.byte + offset;
    for entry in RolloutReader::open_range(&part.file.path, start..start + len)? {
        if let Entry::Line(record) = entry? {
            turns.push(position, &record.line);
            position += 1;
        }
    }
    let first = turns.finish().into_iter().next();
    Ok(first.and_then(|turn| turn.items.into_iter().next()))
}
