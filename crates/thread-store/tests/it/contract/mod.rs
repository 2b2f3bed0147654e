//! The contract of a store as checks that any store must pass.
//!
//! A check is given a store without threads, or two over the same place, as two processes would have them.
//! `contract_tests!(make)` makes a test of each, in a crate that has this file as its module `contract`. `make` gives the two
//! stores and whatever has to outlive them. No check relies on what time it is.
#![expect(clippy::unwrap_used, reason = "a check is a test, though another function carries the attribute")]

pub(crate) mod append;
pub(crate) mod batches;
pub(crate) mod branch;
pub(crate) mod changes;
pub(crate) mod detach;
pub(crate) mod find;
pub(crate) mod items;
pub(crate) mod life;
pub(crate) mod lines;
pub(crate) mod list;
pub(crate) mod maintain;
pub(crate) mod metadata;
pub(crate) mod revert;
pub(crate) mod search;
pub(crate) mod segments;
pub(crate) mod turns;

use selvedge_history::MetadataFold;
use selvedge_protocol::{
    CompletedItem, Cursor, EventMsg, HistoryMode, ItemCompletedEvent, Page, ResponseItem, RolloutItem, SessionMeta,
    TaskCompleteEvent, TaskStartedEvent, ThreadId, Timestamp, Turn, TurnId, TurnItem, TurnQuery, UserMessageEvent,
};
use selvedge_thread_store::{BatchId, PatchOrigin, StoreError, ThreadHistory, ThreadStore};
use serde_json::json;

pub(crate) const MODES: [HistoryMode; 2] = [HistoryMode::Legacy, HistoryMode::Paginated];

macro_rules! contract_tests {
    ($make:path) => {
        $crate::contract::contract_tests! { $make;
            life { check_lazy_until_first_append, check_lazy_until_persist, check_discard_leaves_no_trace,
                   check_shutdown_of_lazy_thread, check_create_refuses, check_create_taken_id,
                   check_new_threads_are_paginated, check_resume_and_go_on,
                   check_resume_refuses, check_live_methods_need_a_live_thread, check_delete, check_archive }
            append { check_lines_are_what_was_appended, check_ordinals_are_consecutive, check_legacy_has_no_ordinals,
                     check_empty_batch, check_concurrent_batches, check_unknown_items_are_kept }
            batches { check_repeated_batch, check_failed_batch, check_repeated_revert, check_writer_state,
                      check_order_of_first_polls, check_dropped_batch }
            changes { check_changes_begin_with_all, check_changes_refuse }
            find { check_find_by_name, check_find_by_prefix, check_find_no_lazy_thread, check_distinct_prefix_len,
                   check_session_meta, check_stats, check_export }
            lines { check_lines_are_the_history, check_line_positions, check_line_starts, check_lines_by_bytes,
                    check_line_positions_stay, check_lines_after_a_rewind, check_lines_after_a_legacy_rewind,
                    check_lines_refuse }
            list { check_pages_by_every_size, check_pages_while_others_write, check_ties_are_sorted_by_id, check_filters,
                   check_descendants, check_list_refuses }
            turns { check_pages_of_turns, check_turn_cursors_while_the_thread_grows, check_views, check_turns_refuse,
                    check_turn_in_progress }
            items { check_pages_of_items, check_items_of_one_turn, check_one_turn_by_number, check_item_cursors_while_the_thread_grows,
                    check_items_refuse }
            metadata { check_row_follows_what_is_told, check_observed_patch, check_explicit_patch, check_patch_clears, check_patch_of_git,
                       check_later_facts_win, check_empty_and_observed_patches, check_patch_survives_resume,
                       check_name, check_metadata_refuses, check_paginated_log_has_one_head }
            branch { check_fork_at_latest, check_fork_inherits_the_head, check_fork_after_and_before, check_fork_of_fork, check_fork_keeps_source,
                     check_fork_of_live_and_archived, check_fork_goes_on, check_fork_refuses, check_fork_is_not_labelled,
                     check_delete_with_forks }
            revert { check_revert_after_and_before, check_revert_to_latest, check_revert_before_first_turn,
                     check_revert_inside_inherited, check_revert_live_thread, check_revert_counts_steering,
                     check_revert_of_a_torn_turn, check_revert_to_between_turns, check_revert_silent_turn,
                     check_revert_keeps_labels, check_fork_of_reverted, check_revert_refuses }
            detach { check_detach_frees_the_source, check_detached_goes_on, check_detach_in_a_chain,
                     check_detach_of_reverted, check_detach_keeps_labels_and_surroundings, check_detach_keeps_compactions,
                     check_detach_what_stands_alone, check_detach_archived_and_twice }
            segments { check_segments_are_the_bytes, check_abandoned_segments, check_copies_come_back,
                       check_import_is_whole, check_import_grows, check_damaged_bytes_are_kept, check_segments_refuse }
            maintain { check_maintain }
            search { check_search_in_names_and_items, check_search_unicode, check_search_language,
                     check_search_terms_stand_in_one_item, check_search_positions, check_search_pages, check_search_best,
                     check_search_among_descendants, check_search_refuses }
        }
        $crate::contract::contract_tests! { both $make;
            life { check_one_writer, check_lazy_is_private, check_lazy_twice, check_others_read }
            lines { check_following }
            turns { check_turn_in_progress_elsewhere }
            changes { check_each_change_is_told, check_following_changes }
            metadata { check_metadata_conflicts }
            revert { check_revert_conflicts }
            detach { check_detach_refuses }
        }
    };
    ($make:path; $($module:ident { $($check:ident),* $(,)? })*) => {
        $( mod $module { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                let (store, _, _guard) = $make();
                $crate::contract::$module::$check(store).await;
            }
        )* } )*
    };
    (both $make:path; $($module:ident { $($check:ident),* $(,)? })*) => {
        mod two_stores { $( mod $module { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                let (store, other, _guard) = $make();
                $crate::contract::$module::$check(store, other).await;
            }
        )* } )* }
    };
}
pub(crate) use contract_tests;

/// The `n`-th thread id of a test. Ids are in the order of their numbers.
pub(crate) fn id(n: u32) -> ThreadId {
    format!("01a1fd5d-0000-7000-8000-{n:012x}").parse().unwrap()
}

/// The `n`-th second of a test.
pub(crate) fn second(n: i64) -> Timestamp {
    Timestamp::from_millis(1_795_252_000_000 + n * 1000)
}

/// The head of the `n`-th thread, created at the `n`-th second.
pub(crate) fn head(n: u32, mode: HistoryMode) -> SessionMeta {
    SessionMeta {
        history_mode: Some(mode),
        cwd: Some("/srv/project".into()),
        originator: Some("test".into()),
        cli_version: Some("0.1.0".into()),
        source: Some(json!("cli")),
        model_provider: Some("mock".into()),
        ..SessionMeta::new(id(n), second(n.into()))
    }
}

/// What the user says, for the model and for the client.
pub(crate) fn user(mode: HistoryMode, turn: &str, text: &str) -> Vec<RolloutItem> {
    let event = match mode {
        HistoryMode::Legacy => UserMessageEvent { message: Some(text.into()), ..Default::default() }.into(),
        HistoryMode::Paginated => completed(
            turn,
            json!({"type": "UserMessage", "id": format!("user {text}"), "content": [{"type": "text", "text": text}]}),
        ),
    };
    vec![ResponseItem::user_text(text).into(), RolloutItem::EventMsg(event)]
}

/// What the agent says, for the model and for the client.
pub(crate) fn agent(mode: HistoryMode, turn: &str, text: &str) -> Vec<RolloutItem> {
    let event = match mode {
        HistoryMode::Legacy => EventMsg::from_json(raw(json!({"type": "agent_message", "message": text}))),
        HistoryMode::Paginated => completed(
            turn,
            json!({"type": "AgentMessage", "id": format!("agent {text}"), "content": [{"type": "Text", "text": text}]}),
        ),
    };
    vec![ResponseItem::assistant_text(text).into(), RolloutItem::EventMsg(event)]
}

pub(crate) fn started(turn: &str) -> RolloutItem {
    EventMsg::from(TaskStartedEvent { turn_id: Some(turn.into()), ..Default::default() }).into()
}

pub(crate) fn complete(turn: &str) -> RolloutItem {
    EventMsg::from(TaskCompleteEvent { turn_id: Some(turn.into()), ..Default::default() }).into()
}

/// A whole turn: the user says `"ask {turn}"`, the agent `"answer {turn}"`.
pub(crate) fn turn(mode: HistoryMode, turn: &str) -> Vec<RolloutItem> {
    let mut items = vec![started(turn)];
    items.extend(user(mode, turn, &format!("ask {turn}")));
    items.extend(agent(mode, turn, &format!("answer {turn}")));
    items.push(complete(turn));
    items
}

/// An item of any kind that is done (paginated mode).
pub(crate) fn completed(turn: &str, item: serde_json::Value) -> EventMsg {
    EventMsg::from(ItemCompletedEvent {
        turn_id: Some(turn.into()),
        item: CompletedItem::from_value(&item),
        ..Default::default()
    })
}

fn raw(value: serde_json::Value) -> Box<serde_json::value::RawValue> {
    serde_json::value::to_raw_value(&value).unwrap()
}

/// Appends items to a live thread, and tells the store what they say of the thread, as whoever appends does: the store need not
/// find that out.
pub(crate) async fn append_and_tell(store: &dyn ThreadStore, thread_id: ThreadId, items: &[RolloutItem]) {
    store.append_items(thread_id, BatchId::generate(), items).await.unwrap();
    let lines = store.load_history(thread_id).await.unwrap().lines;
    let mut fold = MetadataFold::resume(store.read_thread(thread_id).await.unwrap());
    for line in &lines[lines.len() - items.len()..] {
        let patch = fold.observe_line(line);
        store.update_thread_metadata(thread_id, &patch, PatchOrigin::Observed).await.unwrap();
    }
}

/// Makes the `n`-th thread with these turns and leaves it cold.
pub(crate) async fn record(store: &dyn ThreadStore, n: u32, mode: HistoryMode, turns: &[&str]) -> ThreadId {
    store.create_thread(head(n, mode)).await.unwrap();
    store.persist_thread(id(n)).await.unwrap();
    for name in turns {
        append_and_tell(store, id(n), &turn(mode, name)).await;
    }
    store.shutdown_thread(id(n)).await.unwrap();
    id(n)
}

/// Adds turns to a cold thread and leaves it cold.
pub(crate) async fn go_on(store: &dyn ThreadStore, thread_id: ThreadId, mode: HistoryMode, turns: &[&str]) {
    store.resume_thread(thread_id).await.unwrap();
    for name in turns {
        append_and_tell(store, thread_id, &turn(mode, name)).await;
    }
    store.shutdown_thread(thread_id).await.unwrap();
}

/// A thread's turns, oldest first.
pub(crate) async fn all_turns(store: &dyn ThreadStore, thread_id: ThreadId) -> Vec<Turn> {
    let page = store.list_turns(&TurnQuery::all(thread_id)).await.unwrap();
    assert_eq!(page.next_cursor, None);
    page.items
}

/// Everything on the pages that `page` gives from a cursor on, of which each holds at most `limit` and is full if another
/// one follows.
pub(crate) async fn walk<T>(
    limit: usize,
    mut cursor: Option<Cursor>,
    page: impl AsyncFn(Option<Cursor>) -> Page<T>,
) -> Vec<T> {
    let mut found = Vec::new();
    loop {
        let page = page(cursor).await;
        assert!(page.items.len() <= limit);
        assert!(page.next_cursor.is_none() || page.items.len() == limit, "a page with a next one is full");
        found.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return found;
        }
    }
}

/// What was asked in a thread's turns, oldest first.
pub(crate) async fn asked(store: &dyn ThreadStore, thread_id: ThreadId) -> Vec<String> {
    let turns = all_turns(store, thread_id).await;
    let items = turns.into_iter().flat_map(|turn| turn.items);
    items
        .filter_map(|item| match item {
            TurnItem::UserMessage { text, .. } => Some(text.trim_start_matches("ask ").to_owned()),
            _ => None,
        })
        .collect()
}

/// What the model sees of the user, oldest first.
pub(crate) async fn heard(store: &dyn ThreadStore, thread_id: ThreadId) -> Vec<String> {
    let context = store.load_model_context(thread_id).await.unwrap();
    let said = context.history.iter().filter(|item| item.role().as_deref() == Some("user"));
    said.map(|item| item.texts().concat().trim_start_matches("ask ").to_owned()).collect()
}

pub(crate) fn turn_id(turn: &str) -> TurnId {
    turn.into()
}

/// The ordinals of a paginated history count from 0 without a gap.
pub(crate) fn assert_counted(history: &ThreadHistory) {
    let ordinals: Vec<_> = history.lines.iter().map(|line| line.ordinal()).collect();
    let counted: Vec<_> = (0..ordinals.len() as u64).map(Some).collect();
    assert_eq!(ordinals, counted);
}

pub(crate) fn texts(history: &ThreadHistory) -> Vec<&str> {
    history.lines.iter().map(|line| line.text()).collect()
}

/// Whether the error says that there is no such thread, stored or live.
pub(crate) fn is_missing<T>(outcome: Result<T, StoreError>, live: bool) -> bool {
    matches!(outcome, Err(StoreError::NotFound { live: said, .. }) if said == live)
}

pub(crate) fn is_conflict<T>(outcome: Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Conflict { .. }))
}

/// Whether the error says that there is a thread of this id already.
pub(crate) fn is_taken<T>(outcome: Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::AlreadyExists { .. }))
}

pub(crate) fn is_invalid<T>(outcome: Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::InvalidRequest { .. }))
}
