//! What the persistence policy keeps out of the log does not reach the store.
#![expect(clippy::unwrap_used, reason = "a check is a test, though another function carries the attribute")]

use selvedge_protocol::{HistoryMode, ResponseItem, RolloutItem};

use crate::support::{
    MODES, Place, event, head, id, is_missing, item_completed, items, kinds, message, response, start, started,
    user_said,
};

/// What neither mode keeps.
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

async fn keeps_what_the_mode_keeps(place: Place) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = place.manager();
        let thread = start(&manager, n, mode, &[]).await;
        let legacy = user_said(HistoryMode::Legacy, "t", "hello");
        let paginated = user_said(HistoryMode::Paginated, "t", "hello");
        let answer: RolloutItem = ResponseItem::assistant_text("hello").into();
        let mut batch = vec![started("t"), legacy.clone(), paginated.clone(), answer.clone(), event("of_the_future")];
        batch.extend(passing());
        let appended = thread.append(&batch).await.unwrap();
        let said = if mode == HistoryMode::Legacy { legacy } else { paginated };
        assert_eq!(appended.lines, 4);
        assert_eq!(items(&*place.store(), id(n)).await, [started("t"), said, answer, event("of_the_future")]);
    }
}

async fn keeps_plans_in_both_modes(place: Place) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = place.manager();
        let thread = start(&manager, n, mode, &[]).await;
        let plan = RolloutItem::EventMsg(item_completed("t", "Plan", "first this, then that"));
        thread.append(std::slice::from_ref(&plan)).await.unwrap();
        assert_eq!(items(&*place.store(), id(n)).await, [plan]);
    }
}

async fn lazy_stays_lazy(place: Place) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = place.manager();
        let thread = manager.start(head(n, mode)).await.unwrap();
        let appended = thread.append(&passing()).await.unwrap();
        assert_eq!((appended.lines, appended.last_ordinal), (0, None));
        assert!(is_missing(&place.store().read_thread(id(n)).await));
        assert_eq!(place.files(), 0);
        thread.shutdown().await.unwrap();
        assert!(is_missing(&place.store().read_thread(id(n)).await));
    }
}

async fn an_empty_batch_does_nothing(place: Place) {
    let manager = place.manager();
    let thread = start(&manager, 1, HistoryMode::Paginated, &[]).await;
    let before = thread.append(&[message("hello")]).await.unwrap();
    let row = thread.metadata().await;
    let after = thread.append(&passing()).await.unwrap();
    assert_eq!((after.lines, after.last_ordinal), (0, before.last_ordinal));
    assert_eq!(thread.metadata().await, row);
    assert_eq!(kinds(&*place.store(), id(1)).await, ["session_meta", "response_item"]);
}

crate::over_both_stores! {
    keeps_what_the_mode_keeps, keeps_plans_in_both_modes, lazy_stays_lazy, an_empty_batch_does_nothing
}
