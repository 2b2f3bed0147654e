//! Writes the projections of a thread behind its lines: where its turns are, and the keys of the words in them.
//!
//! The lines are read in a snapshot, without a lock, so nobody waits. What was found is written if nobody else wrote projections of the
//! thread meanwhile. A thread is marked as projected only if it has not changed since.

use std::sync::Arc;

use selvedge_history::item_texts;
use selvedge_history::ranking::keys::WordKeys;
use selvedge_history::turn_index::{KeptSizes, TurnIndexer, TurnRows, TurnSink};
use selvedge_protocol::log::{LineRecord, RawContent};
use selvedge_protocol::{ThreadId, TurnItem};
use selvedge_thread_store::Result;
use selvedge_thread_store::implement::LineSource;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use crate::error::AttemptError;
use crate::host::{PostgresHost, commit};
use crate::rows::to_i64;
use crate::stored_lines::StoredLines;
use crate::tables::ThreadRow;
use crate::turn_table::{PROJECTION_VERSION, ProjectedChain, StoredProjection};

/// A block of turns ends when its texts have this many bytes. With larger blocks a search reads more turns without a hit, with smaller
/// ones the index has more entries.
const BLOCK_TEXT_BYTES: usize = 64 << 10;

/// How many keys one statement inserts at most, unless one block has more.
const MAX_KEYS: usize = 100_000;

/// How many new bytes a live thread has at least before it is projected again.
pub(crate) const MIN_LIVE_BYTES: u64 = 64 << 10;

/// Turns that follow each other, and the keys of their words.
struct SearchBlock {
    first_turn: u64,
    end_turn: u64,
    keys: Vec<i32>,
}

/// Collects the keys of turns, block by block.
#[derive(Default)]
struct BlockCollector {
    blocks: Vec<SearchBlock>,
    /// The block that is being filled: its turns, its keys, and how many bytes of texts it has.
    turns: Option<(u64, u64)>,
    keys: WordKeys,
    bytes: usize,
}

impl BlockCollector {
    fn end_block(&mut self) {
        let keys = std::mem::take(&mut self.keys).into_sorted();
        self.bytes = 0;
        if let Some((first_turn, end_turn)) = self.turns.take()
            && !keys.is_empty()
        {
            self.blocks.push(SearchBlock { first_turn, end_turn, keys });
        }
    }

    fn finish(mut self) -> Vec<SearchBlock> {
        self.end_block();
        self.blocks
    }
}

impl TurnSink for BlockCollector {
    fn take_items(&mut self, turn_index: u64, _first_item: u64, items: &[TurnItem]) {
        // A block has whole turns, and the items of a turn can come in several parts.
        if self.bytes >= BLOCK_TEXT_BYTES && self.turns.is_some_and(|(_, end)| end <= turn_index) {
            self.end_block();
        }
        self.turns = Some((self.turns.map_or(turn_index, |(first, _)| first), turn_index + 1));
        for text in items.iter().flat_map(item_texts) {
            self.bytes += text.len();
            self.keys.add_text(text);
        }
    }

    fn restart_thread(&mut self) {
        *self = Self::default();
    }
}

/// What was found in the lines of a thread.
struct ThreadScan {
    /// The state and the revision that it was found in.
    state: Uuid,
    revision: i64,
    projection: StoredProjection,
    /// The name of the thread.
    name: Option<String>,
    /// The rows to write. `None` if the stored ones have everything.
    found: Option<ScannedRows>,
}

/// The rows that lines result in.
struct ScannedRows {
    turns: TurnRows,
    blocks: Vec<SearchBlock>,
    /// Whether one of the lines is a head, and not the first line of its segment.
    has_later_heads: bool,
}

impl ThreadScan {
    fn new(state: Uuid, thread: &ThreadRow, mut projection: StoredProjection, found: ScannedRows) -> Self {
        projection.turns = found.turns.first_turn + found.turns.turns.len() as u64;
        projection.resume_point = found.turns.resume_point;
        projection.has_later_heads = found.has_later_heads;
        let (revision, name) = (thread.revision, thread.name.clone());
        Self { state, revision, projection, name, found: Some(found) }
    }
}

/// Reads the lines of a thread that are not projected yet. `None` if there is nothing to do.
fn scan(lines: &StoredLines) -> Result<Option<ThreadScan>> {
    let thread = lines.thread();
    let stored = lines.ask(async |host, connection| host.projection(connection, thread.id).await)?;
    let Some(before) = stored else { return Ok(None) };
    let end = lines.chain().end();
    let state = before.state;
    let projection = StoredProjection::new(ProjectedChain::of(lines.chain()), end);
    if before.is_of(lines.chain()) {
        let new_bytes = end - before.projected_to;
        if new_bytes == 0 {
            let (revision, name) = (thread.revision, thread.name.clone());
            return Ok(Some(ThreadScan { state, revision, projection: before, name, found: None }));
        }
        // The last turn is projected again as a whole. While it grows, that is done when it has twice as many bytes.
        let from = before.resume_point.map_or(0, |point| point.byte);
        let again = before.projected_to.saturating_sub(from);
        if lines.is_live() && new_bytes < again.max(MIN_LIVE_BYTES) {
            return Ok(None);
        }
        if let Some(mut found) = scan_new(lines, &before)? {
            found.has_later_heads |= before.has_later_heads;
            return Ok(Some(ThreadScan::new(state, thread, projection, found)));
        }
    }
    Ok(Some(ThreadScan::new(state, thread, projection, scan_all(lines)?)))
}

/// Reads all lines.
fn scan_all(lines: &StoredLines) -> Result<ScannedRows> {
    // The first attempt bounds memory. Only a line that changes what was handed on already makes another one necessary.
    for kept in [Some(KeptSizes::default()), None] {
        let (mut indexer, mut blocks) = (TurnIndexer::whole(kept), BlockCollector::default());
        let last_part = lines.parts().len() - 1;
        let (mut end, mut has_later_heads) = (0, false);
        for part in 0..=last_part {
            let pushed = push_lines(lines, part, 0, &mut indexer, &mut blocks)?;
            end = pushed.end;
            has_later_heads |= pushed.has_later_heads;
        }
        let turns = indexer.finish(last_part, end, &mut blocks);
        if !turns.affects_earlier_turns && !turns.changes_handed_items {
            return Ok(ScannedRows { turns, blocks: blocks.finish(), has_later_heads });
        }
    }
    Err(lines.need_all())
}

/// Reads the lines from the resume point on. `None` if all lines have to be read.
fn scan_new(lines: &StoredLines, before: &StoredProjection) -> Result<Option<ScannedRows>> {
    let Some(point) = before.resume_point else { return Ok(None) };
    let last_part = lines.parts().len() - 1;
    let scan = |kept| -> Result<ScannedRows> {
        let (mut indexer, mut blocks) = (TurnIndexer::resume(&point, last_part, kept), BlockCollector::default());
        let PushedLines { end, has_later_heads } = push_lines(lines, last_part, point.byte, &mut indexer, &mut blocks)?;
        let turns = indexer.finish(last_part, end, &mut blocks);
        Ok(ScannedRows { turns, blocks: blocks.finish(), has_later_heads })
    };
    let mut found = scan(Some(KeptSizes::default()))?;
    if found.turns.changes_handed_items {
        found = scan(None)?;
    }
    let turns = &found.turns;
    if turns.affects_earlier_turns || turns.resume_point.is_none() {
        return Ok(None);
    }
    let (thread_id, ids) = (lines.thread().id, &turns.unresolved_turn_ids);
    if !ids.is_empty() {
        let ids: Vec<_> = ids.iter().collect();
        let earlier = lines
            .ask(async |host, connection| host.turns_with_ids(connection, thread_id, &ids, turns.first_turn).await)?;
        if !earlier.is_empty() {
            return Ok(None);
        }
    }
    Ok(Some(found))
}

/// What is known of lines that were added.
struct PushedLines {
    /// The byte after the last one that has its newline.
    end: u64,
    has_later_heads: bool,
}

/// Adds the lines of a part from a byte on.
fn push_lines(
    lines: &StoredLines,
    part: usize,
    from: u64,
    indexer: &mut TurnIndexer,
    blocks: &mut BlockCollector,
) -> Result<PushedLines> {
    let prefix_end = lines.prefix(part)?.end;
    let (mut number, mut end, mut has_later_heads) = (0, from, false);
    for entry in lines.entries(part, from, None)? {
        let entry = entry?;
        if entry.range.start >= prefix_end {
            break;
        }
        has_later_heads |= lines.is_later_head(part, &entry);
        let is_terminated = entry.is_terminated();
        match entry.content {
            RawContent::Line(line) => {
                if is_terminated {
                    end = entry.range.end;
                }
                indexer.push_line(part, &LineRecord { line, range: entry.range, number }, blocks);
            }
            RawContent::Damage { .. } => indexer.push_damage(part, number),
            RawContent::Blank => {}
        }
        number += u64::from(is_terminated);
    }
    Ok(PushedLines { end, has_later_heads })
}

impl PostgresHost {
    /// Writes the projections of a thread, as far as they are behind its lines.
    pub(crate) async fn project(self: &Arc<Self>, thread_id: ThreadId) -> Result<(), AttemptError> {
        self.begin_projection(thread_id).await?;
        // A history that cannot be read in place has no projections. Each reader loads it as a whole.
        let scanned = self.over_stored_lines(thread_id, scan).await?.flatten();
        let Some(ThreadScan { state, revision, mut projection, name, found }) = scanned else { return Ok(()) };
        if found.is_some() || projection.name != name {
            (projection.state, projection.name) = (Uuid::now_v7(), name);
            let mut tx = self.begin().await?;
            if !self.put_projection(&mut tx, thread_id, state, &projection).await? {
                return Err(AttemptError::Overtaken);
            }
            if let Some(ScannedRows { turns, blocks, .. }) = found {
                self.put_turns(&mut tx, thread_id, turns.first_turn, &turns.turns).await?;
                self.put_search_blocks(&mut tx, thread_id, turns.first_turn, &blocks).await?;
            }
            self.put_name_block(&mut tx, thread_id, projection.name.as_deref()).await?;
            commit(tx).await?;
        }
        // Nobody holds the thread, so no line comes without a change of the revision.
        let query = self.sql(
            "UPDATE @.threads SET projection_version = $5
            WHERE namespace = $1 AND thread_id = $2 AND revision = $3 AND NOT is_unsettled AND projection_version <> $5
            AND EXISTS (SELECT 1 FROM @.projections WHERE namespace = $1 AND thread_id = $2 AND state = $4)",
        );
        let query = sqlx::query(&query).bind(self.namespace()).bind(thread_id.as_uuid()).bind(revision);
        query.bind(projection.state).bind(PROJECTION_VERSION).execute(&self.pool).await?;
        Ok(())
    }

    /// Replaces the block of a thread's name: it has no turns, and its number is below those of all others.
    async fn put_name_block(
        &self,
        connection: &mut PgConnection,
        thread_id: ThreadId,
        name: Option<&str>,
    ) -> Result<(), AttemptError> {
        let query = self.sql("DELETE FROM @.search_blocks WHERE namespace = $1 AND thread_id = $2 AND first_turn < 0");
        sqlx::query(&query).bind(self.namespace()).bind(thread_id.as_uuid()).execute(&mut *connection).await?;
        let mut keys = WordKeys::default();
        name.into_iter().for_each(|name| keys.add_text(name));
        let keys = keys.into_sorted();
        if !keys.is_empty() {
            let query = self.sql(
                "INSERT INTO @.search_blocks (namespace, thread_id, first_turn, end_turn, keys) VALUES ($1, $2, -1, -1, $3)",
            );
            let query = sqlx::query(&query).bind(self.namespace()).bind(thread_id.as_uuid()).bind(keys);
            query.execute(connection).await?;
        }
        Ok(())
    }

    /// Replaces the blocks of a thread's turns from `first` on.
    async fn put_search_blocks(
        &self,
        connection: &mut PgConnection,
        thread_id: ThreadId,
        first: u64,
        blocks: &[SearchBlock],
    ) -> Result<(), AttemptError> {
        let statements = [
            "DELETE FROM @.search_blocks WHERE namespace = $1 AND thread_id = $2 AND first_turn >= $3",
            // A block that also has earlier turns keeps the keys of later ones, which only makes it a candidate more often.
            "UPDATE @.search_blocks SET end_turn = $3 WHERE namespace = $1 AND thread_id = $2 AND end_turn > $3",
        ];
        for statement in statements {
            let query = self.sql(statement);
            let query = sqlx::query(&query).bind(self.namespace()).bind(thread_id.as_uuid()).bind(to_i64(first));
            query.execute(&mut *connection).await?;
        }
        // A statement takes no arrays of different lengths in one array, so it gets all keys one after the other.
        let query = self.sql(
            "INSERT INTO @.search_blocks (namespace, thread_id, first_turn, end_turn, keys)
            SELECT $1, $2, b.first_turn, b.end_turn, ($7::integer[])[b.first_key:b.last_key]
            FROM unnest($3::bigint[], $4::bigint[], $5::integer[], $6::integer[]) AS b(first_turn, end_turn, first_key, last_key)",
        );
        let mut rest = blocks;
        while !rest.is_empty() {
            let mut keys: Vec<i32> = Vec::new();
            let (mut first_keys, mut last_keys): (Vec<i32>, Vec<i32>) = (Vec::new(), Vec::new());
            let count = |keys: &[i32]| i32::try_from(keys.len()).unwrap_or(i32::MAX);
            for block in rest {
                if !keys.is_empty() && keys.len() + block.keys.len() > MAX_KEYS {
                    break;
                }
                first_keys.push(count(&keys) + 1);
                keys.extend(&block.keys);
                last_keys.push(count(&keys));
            }
            let now;
            (now, rest) = rest.split_at(first_keys.len());
            let query = sqlx::query(&query)
                .bind(self.namespace())
                .bind(thread_id.as_uuid())
                .bind(now.iter().map(|block| to_i64(block.first_turn)).collect::<Vec<_>>())
                .bind(now.iter().map(|block| to_i64(block.end_turn)).collect::<Vec<_>>())
                .bind(first_keys)
                .bind(last_keys)
                .bind(keys);
            query.execute(&mut *connection).await?;
        }
        Ok(())
    }
}
