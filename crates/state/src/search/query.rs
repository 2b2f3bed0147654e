//! Pages of hits.
//!
//! Threads are gone through in the order of the query, those alone in which the index of words proposes an item or of which the
//! name is a hit. For the best threads that order is the newest first, and in it they are taken together until they have
//! [`WINDOW`] items: the best among these come first, before the next ones are looked at.
//!
//! What the index says is loaded in one transaction, words, places and rows as of one moment; it ends before a log is read. If
//! the page is not full then, the next transaction goes on where this one ended: with what was found, or, if words were indexed
//! meanwhile, as the next page would.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use selvedge_history::{SearchTerm, TextSearch};
use selvedge_protocol::{
    Cursor, CursorError, Page, SearchHit, SearchOrder, SearchQuery, SortDirection, ThreadCursor, ThreadId, ThreadQuery,
    ThreadSortKey, Timestamp, check_limit,
};
use selvedge_rollout::Backoff;
use sqlx::{Connection, QueryBuilder, Row, Sqlite, SqliteConnection};

use crate::StateIndex;
use crate::error::{IndexError, Result};
use crate::list::{column, push_filters, push_order};
use crate::plan::ids;
use crate::search::candidates::{Candidate, runs};
use crate::search::run::{ItemDoc, unpack_docs};
use crate::search::words::{WordPattern, patterns};
use crate::write::unsigned;

/// How many items are ranked together.
const WINDOW: usize = 2_000;

/// How many threads are looked up by their ids. More are found by going through all.
const FEW: usize = 500;

/// How many rows are gone through at once.
const ROWS: usize = 512;

/// For how long a page of a ranking is tried again while the index is busy.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// What a cursor of the best threads begins with.
const OURS: &str = "x1";

/// An item of so many words is of ordinary length.
const ORDINARY: f32 = 200.0;

/// The items of a thread that may be hits, those that are wanted first first.
#[derive(Clone, Debug)]
pub(super) struct Proposed {
    pub(super) id: ThreadId,
    pub(super) items: VecDeque<ItemDoc>,
}

/// What is asked for.
struct Asked<'a> {
    query: &'a SearchQuery,
    search: &'a TextSearch,
    patterns: &'a [WordPattern],
}

/// What may be found: threads with items, and threads with names.
struct Found {
    /// The runs of words that there were.
    runs: Vec<i64>,
    items: HashMap<ThreadId, Vec<Candidate>>,
    named: HashSet<ThreadId>,
}

impl Found {
    fn holds(&self, id: &ThreadId) -> bool {
        self.items.contains_key(id) || self.named.contains(id)
    }

    fn ids(&self) -> impl Iterator<Item = &ThreadId> {
        self.items.keys().chain(self.named.iter().filter(|id| !self.items.contains_key(id)))
    }

    fn count(&self) -> usize {
        self.ids().count()
    }
}

impl StateIndex {
    /// Whether the page that a search asks for follows another one of a ranking that only an index knows.
    #[must_use]
    pub fn is_ranked_here(query: &SearchQuery) -> bool {
        let cursor = query.threads.cursor.as_ref();
        query.order == SearchOrder::Best && cursor.is_some_and(|cursor| cursor.as_str().starts_with(OURS))
    }

    /// The page of hits that a search asks for, found by the words that the index knows and read from the logs.
    ///
    /// What the log does not say any more is no hit. In a sorted search pages and cursors are those of a search through all
    /// logs; the best threads are ranked by how often the terms stand in their items and how short these are, and cursors of
    /// one ranking are none of another ([`is_ranked_here`](Self::is_ranked_here)).
    ///
    /// Nothing when the terms say too little of any word (`->`), or nothing at all, and for a cursor of the best threads that
    /// was not made here.
    ///
    /// # Errors
    /// For a page without room, no hits per thread or a cursor of another query; when the database or a log cannot be read.
    pub async fn search_threads(&self, query: &SearchQuery) -> Result<Option<Page<SearchHit>>> {
        check_limit(query.threads.limit.min(query.hits_per_thread))?;
        let Ok(search) = TextSearch::new(&query.text) else { return Ok(None) };
        let Some(patterns) = patterns(search.terms()) else { return Ok(None) };
        let Some(start) = Start::of(query)? else { return Ok(None) };
        let mut connection = self.database.readers.acquire().await?;
        let asked = Asked { query, search: &search, patterns: &patterns };
        let page = match start {
            Start::Sorted(start) => self.sorted_page(&mut connection, &asked, start).await?,
            Start::Best(start) => self.best_page(&mut connection, &asked, start).await?,
        };
        Ok(Some(page))
    }

    /// The page of a search that follows another one of a ranking of the index ([`is_ranked_here`](Self::is_ranked_here)), as
    /// [`search_threads`](Self::search_threads) gives it. Nobody else can give it, so that it is tried again while the index is
    /// busy. It need not be brought up to date for that: what is shown is read from the logs.
    ///
    /// `None` if the ranking is gone, because the index is not filled any more or was filled anew meanwhile. The search has to
    /// start over then.
    ///
    /// # Errors
    /// As [`search_threads`](Self::search_threads); [`IndexError::Busy`] if others hold the database for 2 s.
    pub async fn continue_ranking(&self, query: &SearchQuery) -> Result<Option<Page<SearchHit>>> {
        let begun = Instant::now();
        for pause in Backoff::new(BUSY_TIMEOUT) {
            match self.page_of_one_filling(query).await {
                // To wait for a connection takes time, too.
                Err(IndexError::Busy(_)) if begun.elapsed() < BUSY_TIMEOUT && !self.database.readers.is_closed() => {
                    tokio::time::sleep(pause).await;
                }
                outcome => return outcome,
            }
        }
        self.page_of_one_filling(query).await
    }

    async fn page_of_one_filling(&self, query: &SearchQuery) -> Result<Option<Page<SearchHit>>> {
        let Some(filling) = self.filling().await? else { return Ok(None) };
        let page = self.search_threads(query).await?;
        let is_the_same = self.filling().await? == Some(filling);
        Ok(page.filter(|_| is_the_same))
    }

    /// What may be found, as the index says in this transaction.
    async fn find(&self, connection: &mut SqliteConnection, asked: &Asked<'_>) -> Result<Found> {
        let (runs, items) = self.candidates(connection, asked.patterns).await?;
        let named = named(connection, asked.search.terms()).await?;
        Ok(Found { runs, items, named })
    }

    async fn sorted_page(
        &self,
        connection: &mut SqliteConnection,
        asked: &Asked<'_>,
        start: Option<ThreadCursor>,
    ) -> Result<Page<SearchHit>> {
        let query = asked.query;
        let limit = query.threads.limit;
        let mut start = start;
        let mut page: Vec<(ThreadCursor, Vec<SearchHit>)> = Vec::new();
        // The place of a thread that is written meanwhile changes.
        let mut is_read: HashSet<ThreadId> = HashSet::new();
        let mut transaction = connection.begin().await?;
        'snapshots: loop {
            let found = self.find(&mut transaction, asked).await?;
            let mut walk = Walk::new(&query.threads, &found, start, None);
            loop {
                let wanted = limit.saturating_add(1) - page.len();
                let mut threads = walk.next(&mut transaction, wanted).await?;
                let Some(last) = threads.last().copied() else { break 'snapshots };
                threads.retain(|place| is_read.insert(place.id));
                let order: Vec<ThreadId> = threads.iter().map(|place| place.id).collect();
                let mut docs = docs(&mut transaction, &found, order.iter().copied()).await?;
                let proposed = order.iter().map(|id| {
                    let mut items = docs.remove(id).unwrap_or_default();
                    items.sort_by_key(|(doc, _)| (doc.turn, doc.item));
                    Proposed { id: *id, items: items.into_iter().map(|(doc, _)| doc).collect() }
                });
                let batch = self.load_batch(&mut transaction, query, asked.search, proposed.collect()).await?;
                drop(transaction);
                let hits = self.read_hits(connection, query, asked.search, &order, batch).await?;
                page.extend(threads.into_iter().zip(hits).filter(|(_, hits)| !hits.is_empty()));
                if page.len() > limit || walk.is_at_end() {
                    break 'snapshots;
                }
                start = Some(last);
                transaction = connection.begin().await?;
                if runs(&mut transaction).await? != found.runs {
                    continue 'snapshots;
                }
            }
        }
        let ThreadQuery { sort, direction, .. } = query.threads;
        let Page { items, next_cursor } = Page::first_of(page, limit, |(last, _)| last.encode(sort, direction));
        Ok(Page { items: items.into_iter().flat_map(|(_, hits)| hits).collect(), next_cursor })
    }

    async fn best_page(
        &self,
        connection: &mut SqliteConnection,
        asked: &Asked<'_>,
        start: Option<BestStart>,
    ) -> Result<Page<SearchHit>> {
        let query = asked.query;
        let limit = query.threads.limit;
        let newest_first = ThreadQuery { direction: SortDirection::Descending, ..query.threads.clone() };
        let mut start = start;
        let mut page: Vec<(BestStart, Vec<SearchHit>)> = Vec::new();
        let mut is_read: HashSet<ThreadId> = HashSet::new();
        let mut transaction = connection.begin().await?;
        'snapshots: loop {
            let found = self.find(&mut transaction, asked).await?;
            let mut window = match &start {
                Some(start) => Some(self.window_again(&mut transaction, &newest_first, &found, start).await?),
                None => self.window(&mut transaction, &newest_first, &found, None).await?,
            };
            while let Some(Window { first, last, is_last, mut ranked }) = window.take() {
                ranked.sort_by_key(|(place, _)| *place);
                if let Some(start) = start.as_ref().filter(|start| (start.first, start.last) == (first, last)) {
                    ranked.retain(|(place, _)| *place > start.place);
                }
                ranked.retain(|(_, proposed)| !is_read.contains(&proposed.id));
                let mut ranked = VecDeque::from(ranked);
                while !ranked.is_empty() {
                    let count = (limit.saturating_add(1) - page.len()).min(ranked.len());
                    let (places, proposed): (Vec<BestPlace>, Vec<Proposed>) = ranked.drain(..count).unzip();
                    let order: Vec<ThreadId> = proposed.iter().map(|proposed| proposed.id).collect();
                    let batch = self.load_batch(&mut transaction, query, asked.search, proposed).await?;
                    drop(transaction);
                    let hits = self.read_hits(connection, query, asked.search, &order, batch).await?;
                    let starts = places.into_iter().map(|place| BestStart { first, last, place });
                    start = starts.clone().next_back();
                    is_read.extend(order);
                    page.extend(starts.zip(hits).filter(|(_, hits)| !hits.is_empty()));
                    if page.len() > limit || (is_last && ranked.is_empty()) {
                        break 'snapshots;
                    }
                    transaction = connection.begin().await?;
                    if runs(&mut transaction).await? != found.runs {
                        continue 'snapshots;
                    }
                }
                window = self.window(&mut transaction, &newest_first, &found, Some(last)).await?;
            }
            break;
        }
        let Page { items, next_cursor } = Page::first_of(page, limit, |(last, _)| last.encode(query.threads.sort));
        Ok(Page { items: items.into_iter().flat_map(|(_, hits)| hits).collect(), next_cursor })
    }

    /// The next threads behind a place that have [`WINDOW`] items together, ranked.
    async fn window(
        &self,
        connection: &mut SqliteConnection,
        query: &ThreadQuery,
        found: &Found,
        behind: Option<ThreadCursor>,
    ) -> Result<Option<Window>> {
        let mut walk = Walk::new(query, found, behind, None);
        let mut threads: Vec<ThreadCursor> = Vec::new();
        let mut items = 0;
        while items < WINDOW {
            let Some(place) = walk.next(connection, 1).await?.pop() else { break };
            items += found.items.get(&place.id).map_or(0, Vec::len).max(1);
            threads.push(place);
        }
        let (Some(first), Some(last)) = (threads.first().copied(), threads.last().copied()) else { return Ok(None) };
        let is_last = walk.is_at_end();
        Ok(Some(Window { first, last, is_last, ranked: rank(connection, found, threads).await? }))
    }

    /// The threads of a window that was there before and are still in it.
    async fn window_again(
        &self,
        connection: &mut SqliteConnection,
        query: &ThreadQuery,
        found: &Found,
        start: &BestStart,
    ) -> Result<Window> {
        let mut walk = Walk::new(query, found, None, Some((start.first, start.last)));
        let mut threads = Vec::new();
        loop {
            let more = walk.next(connection, ROWS).await?;
            if more.is_empty() {
                break;
            }
            threads.extend(more);
        }
        let (first, last) = (start.first, start.last);
        Ok(Window { first, last, is_last: false, ranked: rank(connection, found, threads).await? })
    }
}

/// Threads that are ranked together.
struct Window {
    /// The newest.
    first: ThreadCursor,
    /// The oldest.
    last: ThreadCursor,
    /// Whether there are no threads behind it, for sure.
    is_last: bool,
    ranked: Vec<(BestPlace, Proposed)>,
}

/// The place of a thread among others: the smaller, the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct BestPlace {
    /// Whether nothing of the name was proposed.
    is_unnamed: bool,
    /// The less the items have to do with the terms, the larger.
    distance: u32,
    /// The older, the larger.
    age: std::cmp::Reverse<(Timestamp, ThreadId)>,
}

/// Where a page of the best threads begins: behind a place, among the threads of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BestStart {
    first: ThreadCursor,
    last: ThreadCursor,
    place: BestPlace,
}

impl BestStart {
    fn encode(&self, sort: ThreadSortKey) -> Cursor {
        let at = |place: ThreadCursor| place.encode(sort, SortDirection::Descending);
        let (time, id) = self.place.age.0;
        let own = at(ThreadCursor { at: time, id });
        let BestPlace { is_unnamed, distance, .. } = self.place;
        format!("{OURS}/{}/{}/{}/{distance}/{own}", at(self.first), at(self.last), u8::from(is_unnamed)).into()
    }

    fn decode(cursor: &Cursor, sort: ThreadSortKey) -> Result<Self, CursorError> {
        let malformed = || CursorError { text: cursor.to_string() };
        let parts: Vec<&str> = cursor.as_str().split('/').collect();
        let [OURS, first, last, unnamed, distance, own] = parts[..] else { return Err(malformed()) };
        let place = |text: &str| {
            let cursor = Cursor::from(text.to_owned());
            ThreadCursor::decode(&cursor, sort, SortDirection::Descending).map_err(|_| malformed())
        };
        let is_unnamed = match unnamed {
            "0" => false,
            "1" => true,
            _ => return Err(malformed()),
        };
        let distance = distance.parse().map_err(|_| malformed())?;
        let ThreadCursor { at, id } = place(own)?;
        let own = BestPlace { is_unnamed, distance, age: std::cmp::Reverse((at, id)) };
        Ok(Self { first: place(first)?, last: place(last)?, place: own })
    }
}

/// Where a page begins.
enum Start {
    Sorted(Option<ThreadCursor>),
    Best(Option<BestStart>),
}

impl Start {
    /// Nothing for a cursor of another ranking.
    fn of(query: &SearchQuery) -> Result<Option<Self>> {
        let ThreadQuery { sort, cursor, .. } = &query.threads;
        let cursor = cursor.as_ref();
        let is_ours = cursor.is_none_or(|cursor| cursor.as_str().starts_with(OURS));
        Ok(match query.order {
            SearchOrder::Best if !is_ours => None,
            SearchOrder::Sorted => Some(Self::Sorted(query.threads.start()?)),
            SearchOrder::Best => {
                let place = cursor.map(|cursor| BestStart::decode(cursor, *sort));
                Some(Self::Best(place.transpose()?))
            }
        })
    }
}

/// Goes through the threads in which something may be found, in the order of a query.
struct Walk<'a> {
    query: &'a ThreadQuery,
    found: &'a Found,
    /// The ids to look up, if there are few.
    few: Option<String>,
    behind: Option<ThreadCursor>,
    /// The first and the last that count.
    between: Option<(ThreadCursor, ThreadCursor)>,
    ready: VecDeque<ThreadCursor>,
    is_over: bool,
}

impl<'a> Walk<'a> {
    fn new(
        query: &'a ThreadQuery,
        found: &'a Found,
        behind: Option<ThreadCursor>,
        between: Option<(ThreadCursor, ThreadCursor)>,
    ) -> Self {
        let few = (found.count() <= FEW).then(|| ids(found.ids()));
        let is_over = found.count() == 0;
        Self { query, found, few, behind, between, ready: VecDeque::new(), is_over }
    }

    /// The next threads, `count` at most; none at the end.
    async fn next(&mut self, connection: &mut SqliteConnection, count: usize) -> Result<Vec<ThreadCursor>> {
        while self.ready.len() < count && !self.is_over {
            self.load(connection).await?;
        }
        let count = count.min(self.ready.len());
        Ok(self.ready.drain(..count).collect())
    }

    /// Whether all were given.
    fn is_at_end(&self) -> bool {
        self.is_over && self.ready.is_empty()
    }

    async fn load(&mut self, connection: &mut SqliteConnection) -> Result<()> {
        let at = column(self.query.sort);
        let mut sql = QueryBuilder::<Sqlite>::new(format!("SELECT id, {at} FROM threads WHERE "));
        push_filters(&mut sql, self.query);
        if let Some(few) = &self.few {
            sql.push(" AND id IN (SELECT unhex(value) FROM json_each(").push_bind(few).push("))");
        }
        if let Some((first, last)) = self.between {
            for (compare, place) in [("<=", first), (">=", last)] {
                sql.push(format_args!(" AND ({at}, id) {compare} (")).push_bind(place.at.as_millis());
                sql.push(", ").push_bind(place.id.as_uuid()).push(")");
            }
        }
        push_order(&mut sql, self.query, self.behind, ROWS);
        let rows = sql.build().fetch_all(connection).await?;
        self.is_over = rows.len() < ROWS;
        for row in rows {
            let (id, at) = (ThreadId::from_uuid(row.try_get(0)?), Timestamp::from_millis(row.try_get(1)?));
            let place = ThreadCursor { at, id };
            self.behind = Some(place);
            if self.found.holds(&id) {
                self.ready.push_back(place);
            }
        }
        Ok(())
    }
}

/// Threads of whose names the terms are part, as far as a comparison of letters tells.
async fn named(connection: &mut SqliteConnection, terms: &[SearchTerm]) -> Result<HashSet<ThreadId>> {
    let mut sql = QueryBuilder::<Sqlite>::new("SELECT id FROM threads WHERE name_searched IS NOT NULL");
    for term in terms {
        sql.push(" AND instr(name_searched, ").push_bind(term.text()).push(") > 0");
    }
    let rows = sql.build().fetch_all(connection).await?;
    rows.iter().map(|row| Ok(ThreadId::from_uuid(row.try_get(0)?))).collect()
}

/// The places of the items that may be hits in these threads, as far as they still count, with what each has to do with the
/// terms.
async fn docs(
    connection: &mut SqliteConnection,
    found: &Found,
    threads: impl Iterator<Item = ThreadId>,
) -> Result<HashMap<ThreadId, Vec<(ItemDoc, f32)>>> {
    let threads: Vec<ThreadId> = threads.filter(|id| found.items.contains_key(id)).collect();
    let mut docs: HashMap<ThreadId, Vec<(ItemDoc, f32)>> = HashMap::new();
    let sql = "SELECT thread_id, run, until, docs FROM search_threads \
        WHERE thread_id IN (SELECT unhex(value) FROM json_each(?))";
    for row in sqlx::query(sql).bind(ids(&threads)).fetch_all(connection).await? {
        let id = ThreadId::from_uuid(row.try_get(0)?);
        let run: i64 = row.try_get(1)?;
        let until = row.try_get::<Option<i64>, _>(2)?.map_or(u64::MAX, unsigned);
        let of_run = found.items.get(&id).into_iter().flatten().filter(|candidate| candidate.run == run);
        let mut of_run = of_run.peekable();
        for (number, doc) in (0..).zip(unpack_docs(row.try_get(3)?)) {
            // Both come in the order of their numbers.
            if let Some(candidate) = of_run.next_if(|candidate| candidate.number == number)
                && doc.turn < until
            {
                docs.entry(id).or_default().push((doc, candidate.weight * shortness(doc.words)));
            }
        }
    }
    Ok(docs)
}

/// What the length of an item makes of its weight: a term in a short one says more of it.
fn shortness(words: u64) -> f32 {
    let words = f32::from(u16::try_from(words).unwrap_or(u16::MAX));
    2.0 * ORDINARY / (ORDINARY + words)
}

/// Ranks threads, each by its best item and how many there are.
async fn rank(
    connection: &mut SqliteConnection,
    found: &Found,
    threads: Vec<ThreadCursor>,
) -> Result<Vec<(BestPlace, Proposed)>> {
    let mut docs = docs(connection, found, threads.iter().map(|place| place.id)).await?;
    let ranked = threads.into_iter().map(|ThreadCursor { at, id }| {
        let mut items = docs.remove(&id).unwrap_or_default();
        items.sort_by(|(one, more), (other, most)| {
            most.total_cmp(more).then((one.turn, one.item).cmp(&(other.turn, other.item)))
        });
        let best = items.first().map_or(0.0, |(_, weight)| *weight);
        let many = f32::from(u16::try_from(items.len()).unwrap_or(u16::MAX));
        // Whole steps, so that a place can be told in a cursor.
        let weight = ((best + many.ln_1p() / 4.0) * 1_000.0) as u32;
        let place = BestPlace {
            is_unnamed: !found.named.contains(&id),
            distance: u32::MAX - weight,
            age: std::cmp::Reverse((at, id)),
        };
        (place, Proposed { id, items: items.into_iter().map(|(doc, _)| doc).collect() })
    });
    Ok(ranked.collect())
}
