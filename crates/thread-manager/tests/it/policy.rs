//! Items that the persistence policy keeps out of the log do not reach the store.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use selvedge_protocol::{HistoryMode, ResponseItem, RolloutItem};
use selvedge_thread_store::StoreError;
use serde_json::json;

use crate::support::{
    MODES, TestStores, event, head, id, is_not_found, item_completed, items, kinds, message, response, start, started,
    user_message,
};

/// Items that neither mode keeps.
fn passing() -> Vec<RolloutItem> {
    vec![
        event("agent_message_delta"),
        event("exec_command_begin"),
        event("turn_diff"),
        event("warning"),
        response("additional_tools"),
        response("compaction_trigger"),
    ]
}

async fn keeps_what_the_mode_keeps(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = stores.manager();
        let thread = start(&manager, n, mode, &[]).await;
        let legacy = user_message(HistoryMode::Legacy, "t", "hello");
        let paginated = user_message(HistoryMode::Paginated, "t", "hello");
        let answer: RolloutItem = ResponseItem::assistant_text("hello").into();
        let mut batch = vec![started("t"), legacy.clone(), paginated.clone(), answer.clone(), event("of_the_future")];
        batch.extend(passing());
        let appended = thread.append_unchecked(&batch).await.unwrap();
        let said = if mode == HistoryMode::Legacy { legacy } else { paginated };
        // The message of the other mode, and what passes.
        assert_eq!((appended.lines, appended.dropped), (4, 1 + passing().len()));
        assert_eq!(items(&*stores.store(), id(n)).await, [started("t"), said, answer, event("of_the_future")]);
    }
}

async fn refuses_what_no_reader_would_show(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = stores.manager();
        let thread = start(&manager, n, mode, &[]).await;
        let misspelt: RolloutItem =
            ResponseItem::from_value(&json!({"type": "message", "role": "user", "contents": []})).unwrap().into();
        for (item, named) in [(misspelt.clone(), "`content`"), (event("user_mesage"), "`user_mesage`")] {
            let batch = [message("before"), item];
            let Err(StoreError::InvalidRequest { reason }) = thread.append(&batch).await else { panic!("{named}") };
            assert!(reason.contains(named), "{reason}");
        }
        assert_eq!(thread.append_unchecked(std::slice::from_ref(&misspelt)).await.unwrap().lines, 1);
        assert_eq!(items(&*stores.store(), id(n)).await, [misspelt], "nothing of a refused batch is recorded");
    }
}

async fn keeps_plans_in_both_modes(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = stores.manager();
        let thread = start(&manager, n, mode, &[]).await;
        let plan = RolloutItem::EventMsg(item_completed("t", "Plan", "first this, then that"));
        thread.append(std::slice::from_ref(&plan)).await.unwrap();
        assert_eq!(items(&*stores.store(), id(n)).await, [plan]);
    }
}

async fn a_lazy_thread_stays_lazy_if_no_item_is_kept(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = stores.manager();
        let thread = manager.start(head(n, mode)).await.unwrap();
        let appended = thread.append(&passing()).await.unwrap();
        assert_eq!((appended.lines, appended.last_ordinal), (0, None));
        assert!(is_not_found(&stores.store().read_thread(id(n)).await));
        assert_eq!(stores.files(), 0);
        thread.shutdown().await.unwrap();
        assert!(is_not_found(&stores.store().read_thread(id(n)).await));
    }
}

async fn an_empty_batch_does_nothing(stores: TestStores) {
    let manager = stores.manager();
    let thread = start(&manager, 1, HistoryMode::Paginated, &[]).await;
    let before = thread.append(&[message("hello")]).await.unwrap();
    let stored = thread.metadata().await;
    let after = thread.append(&passing()).await.unwrap();
    assert_eq!((after.lines, after.last_ordinal), (0, before.last_ordinal));
    assert_eq!(thread.metadata().await, stored);
    assert_eq!(kinds(&*stores.store(), id(1)).await, ["session_meta", "response_item"]);
}

crate::over_both_stores! {
    keeps_what_the_mode_keeps, refuses_what_no_reader_would_show, keeps_plans_in_both_modes,
    a_lazy_thread_stays_lazy_if_no_item_is_kept,
    an_empty_batch_does_nothing,
}
