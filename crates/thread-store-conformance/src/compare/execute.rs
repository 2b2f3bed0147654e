//! Takes the steps of a comparison in a store.

use selvedge_history::MetadataFold;
use selvedge_protocol::{
    ArchivedFilter, Cursor, HistoryMode, ItemQuery, Page, SearchOrder, SearchQuery, SortDirection, StatsQuery,
    ThreadMetadataPatch, ThreadQuery, ThreadSortKey, TurnBoundary, TurnId, TurnQuery,
};
use selvedge_thread_store::{
    BatchId, ForkThread, LineQuery, LineStart, MetadataOrigin, Result, RevertThread, ThreadLookup, ThreadStore,
};
use uuid::Uuid;

use super::answer;
use super::step::{MAX_STEPS, RelativeBoundary, Step};
use crate::fixtures::{head, id, started, turn, turn_id};

/// Takes the step with this number, and returns the answer as a text that is equal for all correct stores.
///
/// The answer of a change contains what the store reports of the thread afterwards.
pub(super) async fn take(store: &dyn ThreadStore, number: usize, step: &Step) -> String {
    match change(store, number, step).await {
        // A change often returns little. A wrong effect shows in what readers get afterwards.
        Some((thread, answer)) => format!("{answer}; then {}", answer::thread(store, id(thread)).await),
        None => query(store, step).await,
    }
}

/// Takes a step that changes a thread. Returns the number of the thread and the answer. `None` if the step changes none.
async fn change(store: &dyn ThreadStore, number: usize, step: &Step) -> Option<(u32, String)> {
    let changed = match *step {
        Step::Create { thread, is_paginated } => {
            (thread, debug_text(store.create_thread(head(thread, mode(is_paginated))).await))
        }
        Step::Persist { thread } => (thread, debug_text(store.persist_thread(id(thread)).await)),
        Step::Resume { thread } => (thread, debug_text(store.resume_thread(id(thread)).await)),
        Step::Append { thread, is_whole, is_repeated } => {
            (thread, debug_text(append(store, thread, number, is_whole, is_repeated).await))
        }
        Step::Flush { thread } => (thread, debug_text(store.flush_thread(id(thread)).await)),
        Step::Shutdown { thread } => (thread, debug_text(store.shutdown_thread(id(thread)).await)),
        Step::Discard { thread } => (thread, debug_text(store.discard_thread(id(thread)).await)),
        Step::Fork { source, thread, at } => {
            let meta = head(thread, HistoryMode::Paginated);
            let request = ForkThread { source: id(source), at: resolve(at, store, source).await, meta };
            (thread, debug_text(store.fork_thread(request).await))
        }
        Step::Revert { thread, to } => {
            let to = resolve(to, store, thread).await;
            let request = RevertThread { thread_id: id(thread), to, batch: revert_batch(number) };
            (thread, debug_text(store.revert_thread(request).await))
        }
        Step::Archive { thread } => (thread, answer::record(store.archive_thread(id(thread)).await)),
        Step::Unarchive { thread } => (thread, answer::record(store.unarchive_thread(id(thread)).await)),
        Step::Rename { thread, name } => {
            let name = name.map(|name| format!("name {name}"));
            let patch = ThreadMetadataPatch { name: Some(name), ..Default::default() };
            let record = store.update_thread_metadata(id(thread), &patch, MetadataOrigin::Explicit).await;
            (thread, answer::record(record))
        }
        Step::SetModel { thread, model } => {
            let model = model.map(|model| format!("model {model}"));
            let patch = ThreadMetadataPatch { model: Some(model), ..Default::default() };
            let record = store.update_thread_metadata(id(thread), &patch, MetadataOrigin::Explicit).await;
            (thread, answer::record(record))
        }
        Step::Delete { thread } => (thread, debug_text(store.delete_thread(id(thread)).await)),
        Step::Detach { thread } => (thread, answer::record(store.detach_thread(id(thread)).await)),
        // Listed one by one, so that a new step cannot be forgotten.
        Step::List { .. }
        | Step::Find { .. }
        | Step::Search { .. }
        | Step::Lines { .. }
        | Step::Turns { .. }
        | Step::Items { .. }
        | Step::Export { .. }
        | Step::Changes
        | Step::Reopen => return None,
    };
    Some(changed)
}

/// Takes a step that only reads, and returns the answer. It is empty for all other steps.
async fn query(store: &dyn ThreadStore, step: &Step) -> String {
    match *step {
        Step::List { is_descending, archived, limit } => {
            let archived = match archived {
                None => ArchivedFilter::All,
                Some(true) => ArchivedFilter::Archived,
                Some(false) => ArchivedFilter::Active,
            };
            // By creation, because the caller determines that time. The other times come from the clock of each store.
            let sort = ThreadSortKey::CreatedAt;
            let query =
                ThreadQuery { sort, direction: direction(is_descending), archived, limit, ..ThreadQuery::default() };
            let page = async |cursor| store.list_threads(&ThreadQuery { cursor, ..query.clone() }).await;
            all_pages(page, answer::stored_thread).await
        }
        Step::Find { name } => {
            let found = store.find_threads(&ThreadLookup::Name(format!("name {name}"))).await;
            let sums = store.thread_stats(&StatsQuery::default()).await;
            // Not the bytes: stores may write the same facts with different bytes.
            let sums = sums.map(|stats| (stats.total.threads, stats.total.turns));
            format!("{} {}", debug_text(found), debug_text(sums))
        }
        Step::Search { step } => {
            let threads = ThreadQuery { sort: ThreadSortKey::CreatedAt, ..ThreadQuery::default() };
            // Sorted, because each store ranks matches by a measure of its own.
            let order = SearchOrder::Sorted;
            let text = format!("\"ask {}\"", turn_name(step));
            let query = SearchQuery { threads, order, ..SearchQuery::new(&text) };
            answer::hits(store.search_threads(&query).await)
        }
        Step::Lines { thread, is_descending, limit } => {
            let start = if is_descending { LineStart::End } else { LineStart::Beginning };
            let query = LineQuery {
                direction: direction(is_descending),
                max_lines: limit,
                ..LineQuery::from(id(thread), start)
            };
            answer::lines(store, query).await
        }
        Step::Turns { thread, is_descending, limit } => {
            let query = TurnQuery { direction: direction(is_descending), limit, ..TurnQuery::all(id(thread)) };
            let page = async |cursor| store.list_turns(&TurnQuery { cursor, ..query.clone() }).await;
            all_pages(page, answer::turn).await
        }
        Step::Items { thread, is_descending, limit } => {
            let query = ItemQuery { direction: direction(is_descending), limit, ..ItemQuery::all(id(thread)) };
            let page = async |cursor| store.list_items(&ItemQuery { cursor, ..query.clone() }).await;
            all_pages(page, |entry| format!("{}: {:?}", entry.turn_id, entry.item)).await
        }
        Step::Export { thread } => answer::export(store, id(thread)).await,
        Step::Changes => answer::changes(store).await,
        _ => String::new(),
    }
}

/// Appends the turn of a step, and patches the thread record with the facts of its items, as every writer does.
async fn append(
    store: &dyn ThreadStore,
    thread: u32,
    step: usize,
    is_whole: bool,
    is_repeated: bool,
) -> Result<String> {
    // The items of a paginated log also go to legacy threads: a store keeps them in any case.
    let name = turn_name(step);
    let items = if is_whole { turn(HistoryMode::Paginated, &name) } else { vec![started(&name)] };
    let before = store.read_thread(id(thread)).await;
    let mut appended = vec![store.append_items(id(thread), append_batch(step), &items).await?];
    if is_repeated {
        appended.push(store.append_items(id(thread), append_batch(step), &items).await?);
    }
    let history = store.load_history(id(thread)).await?;
    // A lazy thread has no record before its first append.
    let mut fold = match before {
        Ok(record) => MetadataFold::resume(record),
        Err(_) => MetadataFold::resume(store.read_thread(id(thread)).await?),
    };
    let first = history.lines.len().saturating_sub(items.len());
    for line in &history.lines[first..] {
        let patch = fold.observe_line(line);
        store.update_thread_metadata(id(thread), &patch, MetadataOrigin::Derived).await?;
    }
    Ok(format!("{appended:?}"))
}

/// Returns the boundary that a relative one refers to now.
///
/// Each store resolves the boundary in its own turns. If the turns differ, the comparison has already found the difference.
async fn resolve(boundary: RelativeBoundary, store: &dyn ThreadStore, thread: u32) -> TurnBoundary {
    match boundary {
        RelativeBoundary::Latest => TurnBoundary::Latest,
        RelativeBoundary::After(turn) => TurnBoundary::After(newest(store, thread, turn).await),
        RelativeBoundary::Before(turn) => TurnBoundary::Before(newest(store, thread, turn).await),
        RelativeBoundary::BeforeNewest(turns) => TurnBoundary::BeforeNewest(turns),
    }
}

/// Returns the id of the turn with this number, counted from the newest, or an id that no turn has.
async fn newest(store: &dyn ThreadStore, thread: u32, number: usize) -> TurnId {
    let direction = SortDirection::Descending;
    let query = TurnQuery { direction, limit: number + 1, ..TurnQuery::all(id(thread)) };
    let turns = store.list_turns(&query).await.map(|page| page.items).unwrap_or_default();
    turns.get(number).map_or_else(|| turn_id("nowhere"), |turn| turn.id.clone())
}

/// Returns the name of the turn that a step appends.
fn turn_name(step: usize) -> String {
    format!("t{step}")
}

/// Returns the batch id of the append of a step.
fn append_batch(step: usize) -> BatchId {
    batch(step)
}

/// Returns the batch id of the revert of a step. It differs from the ids of all appends.
fn revert_batch(step: usize) -> BatchId {
    batch(MAX_STEPS + step)
}

/// Returns a fixed id for a number, so that both stores and each repetition use the same ids.
fn batch(number: usize) -> BatchId {
    BatchId::from_uuid(Uuid::from_u128(0x01a1_fd5d_0000_7000_8000_0000_0000_0000 + number as u128))
}

const fn direction(is_descending: bool) -> SortDirection {
    if is_descending { SortDirection::Descending } else { SortDirection::Ascending }
}

const fn mode(is_paginated: bool) -> HistoryMode {
    if is_paginated { HistoryMode::Paginated } else { HistoryMode::Legacy }
}

/// Formats an answer that contains nothing opaque.
fn debug_text<T: std::fmt::Debug>(outcome: Result<T>) -> String {
    match outcome {
        Ok(answer) => format!("{answer:?}"),
        Err(error) => answer::error(&error),
    }
}

/// Formats the entries of all pages. The text shows where each page ends.
async fn all_pages<T>(page: impl AsyncFn(Option<Cursor>) -> Result<Page<T>>, describe: impl Fn(T) -> String) -> String {
    let mut parts = Vec::new();
    let mut cursor = None;
    loop {
        match page(cursor).await {
            Ok(page) => {
                parts.extend(page.items.into_iter().map(&describe));
                cursor = page.next_cursor;
                if cursor.is_none() {
                    return parts.join(", ");
                }
                parts.push("next page".to_owned());
            }
            Err(error) => return answer::error(&error),
        }
    }
}
