//! What is done to both stores.

use proptest::prelude::*;
use selvedge_history::MetadataFold;
use selvedge_protocol::{
    ArchivedFilter, Cursor, HistoryMode, ItemQuery, SearchQuery, SortDirection, StatsQuery, ThreadMetadataPatch,
    ThreadQuery, ThreadSortKey, TurnBoundary, TurnId, TurnQuery,
};
use selvedge_thread_store::{
    BatchId, ForkThread, LineQuery, LineStart, MetadataOrigin, Result, RevertThread, ThreadLookup, ThreadStore,
};
use uuid::Uuid;

use super::answer;
use crate::fixtures::{head, id, started, turn, turn_id};

/// How many threads the steps are about.
const THREADS: u32 = 4;

/// One operation. Threads are meant by number; a turn is called by the number of the step that appends it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the method of its name")]
pub enum Step {
    Create {
        thread: u32,
        is_paginated: bool,
    },
    Persist {
        thread: u32,
    },
    Resume {
        thread: u32,
    },
    /// A whole turn, or one without an end, once or twice with the same batch id; and what its items say is told.
    Append {
        thread: u32,
        is_whole: bool,
        is_repeated: bool,
    },
    Flush {
        thread: u32,
    },
    Shutdown {
        thread: u32,
    },
    Discard {
        thread: u32,
    },
    Fork {
        source: u32,
        thread: u32,
        at: Cut,
    },
    Revert {
        thread: u32,
        to: Cut,
    },
    Archive {
        thread: u32,
    },
    Unarchive {
        thread: u32,
    },
    Rename {
        thread: u32,
        name: Option<u8>,
    },
    SetModel {
        thread: u32,
        model: Option<u8>,
    },
    Delete {
        thread: u32,
    },
    Detach {
        thread: u32,
    },
    List {
        is_descending: bool,
        archived: Option<bool>,
        limit: usize,
    },
    Find {
        name: u8,
    },
    Search {
        step: usize,
    },
    Lines {
        thread: u32,
        is_descending: bool,
        limit: usize,
    },
    Turns {
        thread: u32,
        is_descending: bool,
        limit: usize,
    },
    Items {
        thread: u32,
        is_descending: bool,
        limit: usize,
    },
    Export {
        thread: u32,
    },
    Changes,
    /// The host dies, and another one is opened.
    Reopen,
}

/// A place between two turns. Turns are counted from the newest, which is 0; one that is not there is meant, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as `TurnBoundary`")]
pub enum Cut {
    Latest,
    After(usize),
    Before(usize),
    BeforeNewest(u64),
}

impl Cut {
    async fn of(self, store: &dyn ThreadStore, thread: u32) -> TurnBoundary {
        match self {
            Self::Latest => TurnBoundary::Latest,
            Self::After(turn) => TurnBoundary::After(newest(store, thread, turn).await),
            Self::Before(turn) => TurnBoundary::Before(newest(store, thread, turn).await),
            Self::BeforeNewest(turns) => TurnBoundary::BeforeNewest(turns),
        }
    }
}

/// The turn of this number, counted from the newest, or one that is nowhere.
async fn newest(store: &dyn ThreadStore, thread: u32, number: usize) -> TurnId {
    let direction = SortDirection::Descending;
    let query = TurnQuery { direction, limit: number + 1, ..TurnQuery::all(id(thread)) };
    let turns = store.list_turns(&query).await.map(|page| page.items).unwrap_or_default();
    turns.get(number).map_or_else(|| turn_id("nowhere"), |turn| turn.id.clone())
}

/// Any step. Those that make histories are more frequent than those that end them.
pub(super) fn any() -> impl Strategy<Value = Step> {
    let thread = || 1..=THREADS;
    let earlier = || 0..super::MOST_STEPS;
    let cut = || {
        prop_oneof![
            Just(Cut::Latest),
            (0..5_usize).prop_map(Cut::After),
            (0..5_usize).prop_map(Cut::Before),
            (0..4_u64).prop_map(Cut::BeforeNewest),
        ]
    };
    let page = || (any_bool(), 1..5_usize);
    let changes = prop_oneof![
        6 => (thread(), any_bool()).prop_map(|(thread, is_paginated)| Step::Create { thread, is_paginated }),
        1 => thread().prop_map(|thread| Step::Persist { thread }),
        6 => thread().prop_map(|thread| Step::Resume { thread }),
        16 => (thread(), proptest::bool::weighted(0.8), proptest::bool::weighted(0.1))
            .prop_map(|(thread, is_whole, is_repeated)| Step::Append { thread, is_whole, is_repeated }),
        1 => thread().prop_map(|thread| Step::Flush { thread }),
        6 => thread().prop_map(|thread| Step::Shutdown { thread }),
        1 => thread().prop_map(|thread| Step::Discard { thread }),
        6 => (thread(), thread(), cut()).prop_map(|(source, thread, at)| Step::Fork { source, thread, at }),
        5 => (thread(), cut()).prop_map(|(thread, to)| Step::Revert { thread, to }),
        2 => thread().prop_map(|thread| Step::Archive { thread }),
        2 => thread().prop_map(|thread| Step::Unarchive { thread }),
        2 => (thread(), proptest::option::of(0..3_u8)).prop_map(|(thread, name)| Step::Rename { thread, name }),
        3 => (thread(), proptest::option::of(0..3_u8))
            .prop_map(|(thread, model)| Step::SetModel { thread, model }),
        2 => thread().prop_map(|thread| Step::Delete { thread }),
        2 => thread().prop_map(|thread| Step::Detach { thread }),
        1 => Just(Step::Reopen),
    ];
    let questions = prop_oneof![
        (page(), proptest::option::of(any_bool())).prop_map(|((is_descending, limit), archived)| Step::List {
            is_descending,
            archived,
            limit
        }),
        (0..3_u8).prop_map(|name| Step::Find { name }),
        earlier().prop_map(|step| Step::Search { step }),
        (thread(), page()).prop_map(|(thread, (is_descending, limit))| Step::Lines { thread, is_descending, limit }),
        (thread(), page()).prop_map(|(thread, (is_descending, limit))| Step::Turns { thread, is_descending, limit }),
        (thread(), page()).prop_map(|(thread, (is_descending, limit))| Step::Items { thread, is_descending, limit }),
        thread().prop_map(|thread| Step::Export { thread }),
        Just(Step::Changes),
    ];
    prop_oneof![3 => changes, 1 => questions]
}

fn any_bool() -> impl Strategy<Value = bool> {
    proptest::bool::ANY
}

/// The name of the turn that a step appends.
fn name(step: usize) -> String {
    format!("t{step}")
}

/// The id of a batch of that number.
fn batch(step: usize) -> BatchId {
    BatchId::from_uuid(Uuid::from_u128(0x01a1_fd5d_0000_7000_8000_0000_0000_0000 + step as u128))
}

const fn direction(is_descending: bool) -> SortDirection {
    if is_descending { SortDirection::Descending } else { SortDirection::Ascending }
}

const fn mode(is_paginated: bool) -> HistoryMode {
    if is_paginated { HistoryMode::Paginated } else { HistoryMode::Legacy }
}

/// Appends the turn of a step, and tells what its items say of the thread, as whoever appends does.
async fn append(
    store: &dyn ThreadStore,
    thread: u32,
    step: usize,
    is_whole: bool,
    is_repeated: bool,
) -> Result<String> {
    // Whether the thread is kept in one way or the other, both are told.
    let items = if is_whole { turn(HistoryMode::Paginated, &name(step)) } else { vec![started(&name(step))] };
    let before = store.read_thread(id(thread)).await;
    let mut appended = vec![store.append_items(id(thread), batch(step), &items).await?];
    if is_repeated {
        appended.push(store.append_items(id(thread), batch(step), &items).await?);
    }
    let history = store.load_history(id(thread)).await?;
    let mut fold = match before {
        Ok(row) => MetadataFold::resume(row),
        Err(_) => MetadataFold::resume(store.read_thread(id(thread)).await?),
    };
    let first = history.lines.len().saturating_sub(items.len());
    for line in &history.lines[first..] {
        let patch = fold.observe_line(line);
        store.update_thread_metadata(id(thread), &patch, MetadataOrigin::Derived).await?;
    }
    Ok(format!("{appended:?}"))
}

/// Takes a step, and gives the answer as a text that is the same in every store; and what is told of the thread afterwards, of a
/// step that is about one.
pub(super) async fn take(store: &dyn ThreadStore, number: usize, step: &Step) -> String {
    let (thread, answer) = match *step {
        Step::Create { thread, is_paginated } => {
            (Some(thread), said(store.create_thread(head(thread, mode(is_paginated))).await))
        }
        Step::Persist { thread } => (Some(thread), said(store.persist_thread(id(thread)).await)),
        Step::Resume { thread } => (Some(thread), said(store.resume_thread(id(thread)).await)),
        Step::Append { thread, is_whole, is_repeated } => {
            (Some(thread), said(append(store, thread, number, is_whole, is_repeated).await))
        }
        Step::Flush { thread } => (Some(thread), said(store.flush_thread(id(thread)).await)),
        Step::Shutdown { thread } => (Some(thread), said(store.shutdown_thread(id(thread)).await)),
        Step::Discard { thread } => (Some(thread), said(store.discard_thread(id(thread)).await)),
        Step::Fork { source, thread, at } => {
            let meta = head(thread, HistoryMode::Paginated);
            let request = ForkThread { source: id(source), at: at.of(store, source).await, meta };
            (Some(thread), said(store.fork_thread(request).await))
        }
        Step::Revert { thread, to } => {
            let request = RevertThread {
                thread_id: id(thread),
                to: to.of(store, thread).await,
                batch: batch(super::MOST_STEPS + number),
            };
            (Some(thread), said(store.revert_thread(request).await))
        }
        Step::Archive { thread } => (Some(thread), answer::row(store.archive_thread(id(thread)).await)),
        Step::Unarchive { thread } => (Some(thread), answer::row(store.unarchive_thread(id(thread)).await)),
        Step::Rename { thread, name } => {
            let name = name.map(|name| format!("name {name}"));
            let patch = ThreadMetadataPatch { name: Some(name), ..Default::default() };
            let row = store.update_thread_metadata(id(thread), &patch, MetadataOrigin::Explicit).await;
            (Some(thread), answer::row(row))
        }
        Step::SetModel { thread, model } => {
            let model = model.map(|model| format!("model {model}"));
            let patch = ThreadMetadataPatch { model: Some(model), ..Default::default() };
            let row = store.update_thread_metadata(id(thread), &patch, MetadataOrigin::Explicit).await;
            (Some(thread), answer::row(row))
        }
        Step::Delete { thread } => (Some(thread), said(store.delete_thread(id(thread)).await)),
        Step::Detach { thread } => (Some(thread), answer::row(store.detach_thread(id(thread)).await)),
        Step::List { is_descending, archived, limit } => {
            let archived = match archived {
                None => ArchivedFilter::All,
                Some(true) => ArchivedFilter::Archived,
                Some(false) => ArchivedFilter::Active,
            };
            let sort = ThreadSortKey::CreatedAt;
            let query =
                ThreadQuery { sort, direction: direction(is_descending), archived, limit, ..ThreadQuery::default() };
            let page = async |cursor| store.list_threads(&ThreadQuery { cursor, ..query.clone() }).await;
            (None, pages(page, answer::told_row).await)
        }
        Step::Find { name } => {
            let found = store.find_threads(&ThreadLookup::Name(format!("name {name}"))).await;
            let sums = store.thread_stats(&StatsQuery::default()).await;
            let sums = sums.map(|stats| (stats.total.threads, stats.total.turns));
            (None, format!("{} {}", said(found), said(sums)))
        }
        Step::Search { step } => {
            let threads = ThreadQuery { sort: ThreadSortKey::CreatedAt, ..ThreadQuery::default() };
            let order = selvedge_protocol::SearchOrder::Sorted;
            let text = format!("\"ask {}\"", name(step));
            let query = SearchQuery { threads, order, ..SearchQuery::new(&text) };
            (None, answer::hits(store.search_threads(&query).await))
        }
        Step::Lines { thread, is_descending, limit } => {
            let start = if is_descending { LineStart::End } else { LineStart::Beginning };
            let query = LineQuery {
                direction: direction(is_descending),
                max_lines: limit,
                ..LineQuery::from(id(thread), start)
            };
            (None, answer::lines(store, query).await)
        }
        Step::Turns { thread, is_descending, limit } => {
            let query = TurnQuery { direction: direction(is_descending), limit, ..TurnQuery::all(id(thread)) };
            let page = async |cursor| store.list_turns(&TurnQuery { cursor, ..query.clone() }).await;
            (None, pages(page, answer::turn).await)
        }
        Step::Items { thread, is_descending, limit } => {
            let query = ItemQuery { direction: direction(is_descending), limit, ..ItemQuery::all(id(thread)) };
            let page = async |cursor| store.list_items(&ItemQuery { cursor, ..query.clone() }).await;
            (None, pages(page, |entry| format!("{}: {:?}", entry.turn_id, entry.item)).await)
        }
        Step::Export { thread } => (None, answer::export(store, id(thread)).await),
        Step::Changes => (None, answer::changes(store).await),
        Step::Reopen => (None, String::new()),
    };
    match thread {
        Some(thread) => format!("{answer}; then {}", answer::thread(store, id(thread)).await),
        None => answer,
    }
}

/// An answer without anything opaque.
fn said<T: std::fmt::Debug>(outcome: Result<T>) -> String {
    match outcome {
        Ok(answer) => format!("{answer:?}"),
        Err(error) => answer::error(&error),
    }
}

/// Everything on the pages from the first on, with where they end.
async fn pages<T>(
    page: impl AsyncFn(Option<Cursor>) -> Result<selvedge_protocol::Page<T>>,
    tell: impl Fn(T) -> String,
) -> String {
    let mut told = Vec::new();
    let mut cursor = None;
    loop {
        match page(cursor).await {
            Ok(page) => {
                told.extend(page.items.into_iter().map(&tell));
                cursor = page.next_cursor;
                if cursor.is_none() {
                    return told.join(", ");
                }
                told.push("next page".to_owned());
            }
            Err(error) => return answer::error(&error),
        }
    }
}
