//! Rules about batches: each takes effect once, in the order of the first polls.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use selvedge_protocol::{HistoryMode, ResponseItem, RolloutItem, TurnBoundary};
use selvedge_thread_store::{BatchId, LineQuery, LineStart, RevertThread, ThreadStore};

use crate::fixtures::{MODES, head, id, is_missing, model_prompts, record, shown_prompts, turn, turn_id};

const MODE: HistoryMode = HistoryMode::Paginated;

pub(super) async fn repeated_batch(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        store.create_thread(head(n, mode)).await.unwrap();
        let batches: Vec<_> = (0..64).map(|_| BatchId::generate()).collect();
        let mut results = Vec::new();
        for (number, batch) in batches.iter().enumerate() {
            results.push(store.append_items(id(n), *batch, &turn(mode, &number.to_string())).await.unwrap());
        }
        let before = store.load_history(id(n)).await.unwrap();
        for (number, (batch, result)) in batches.iter().zip(&results).enumerate() {
            let again = store.append_items(id(n), *batch, &turn(mode, &number.to_string())).await.unwrap();
            assert_eq!(again, *result, "a repeated batch returns the result of the first");
        }
        assert_eq!(store.load_history(id(n)).await.unwrap(), before);
        store.append_items(id(n), BatchId::generate(), &turn(mode, "new")).await.unwrap();
        assert_eq!(shown_prompts(&*store, id(n)).await.len(), 65);
        store.shutdown_thread(id(n)).await.unwrap();
    }
}

pub(super) async fn failed_batch(store: Arc<dyn ThreadStore>) {
    // The first call fails because the thread is not live yet. The second call has the same id and must take effect.
    let batch = BatchId::generate();
    assert!(is_missing(store.append_items(id(1), batch, &turn(MODE, "a")).await, true));
    store.create_thread(head(1, MODE)).await.unwrap();
    store.append_items(id(1), batch, &turn(MODE, "a")).await.unwrap();
    assert_eq!(shown_prompts(&*store, id(1)).await, ["a"]);
}

pub(super) async fn repeated_revert(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &["a", "b", "c", "d"]).await;
        let revert = |turns| RevertThread {
            thread_id: id(n),
            to: TurnBoundary::BeforeNewest(turns),
            batch: BatchId::generate(),
        };
        let cold = revert(1);
        for _ in 0..3 {
            assert_eq!(store.revert_thread(cold.clone()).await.unwrap(), 1);
            assert_eq!(shown_prompts(&*store, id(n)).await, ["a", "b", "c"]);
        }
        store.resume_thread(id(n)).await.unwrap();
        let live = revert(2);
        for _ in 0..3 {
            assert_eq!(store.revert_thread(live.clone()).await.unwrap(), 2);
            assert_eq!(shown_prompts(&*store, id(n)).await, ["a"]);
        }
        store.append_items(id(n), BatchId::generate(), &turn(mode, "e")).await.unwrap();
        store.shutdown_thread(id(n)).await.unwrap();
        assert_eq!(model_prompts(&*store, id(n)).await, ["a", "e"]);
    }
}

pub(super) async fn writer_state(store: Arc<dyn ThreadStore>) {
    assert!(is_missing(store.writer_state(id(1)).await, true));
    store.create_thread(head(1, MODE)).await.unwrap();
    let lazy = store.writer_state(id(1)).await.unwrap();
    assert_eq!((lazy.end, lazy.last_batch), (None, None));
    let batch = BatchId::generate();
    store.append_items(id(1), batch, &turn(MODE, "a")).await.unwrap();
    let state = store.writer_state(id(1)).await.unwrap();
    let end = store.read_lines(&LineQuery::from(id(1), LineStart::End)).await.unwrap().next;
    assert_eq!((state.end, state.last_batch), (Some(end), Some(batch)));
    store.shutdown_thread(id(1)).await.unwrap();
    assert!(is_missing(store.writer_state(id(1)).await, true));
    store.resume_thread(id(1)).await.unwrap();
    assert!(store.writer_state(id(1)).await.unwrap().epoch > state.epoch);
    store.shutdown_thread(id(1)).await.unwrap();
}

pub(super) async fn order_of_first_polls(store: Arc<dyn ThreadStore>) {
    // Some of the batches are large, because a store may write them in another way than small ones.
    store.create_thread(head(1, MODE)).await.unwrap();
    store.persist_thread(id(1)).await.unwrap();
    let large = "x".repeat(3 << 20);
    let batches: Vec<Vec<RolloutItem>> = (0..12)
        .map(|number| {
            let text = if number % 3 == 0 { format!("{number} {large}") } else { number.to_string() };
            vec![ResponseItem::user_text(&text).into()]
        })
        .collect();
    let mut calls: Vec<_> =
        batches.iter().map(|batch| Box::pin(store.append_items(id(1), BatchId::generate(), batch))).collect();
    // All calls are polled once, in order, before any of them is awaited. From here on their order is fixed.
    let mut ready = Vec::new();
    for call in &mut calls {
        let mut context = Context::from_waker(Waker::noop());
        ready.push(matches!(call.as_mut().poll(&mut context), Poll::Ready(outcome) if outcome.is_ok()));
    }
    // A future must not be polled after it is ready.
    for (call, is_ready) in calls.into_iter().zip(ready) {
        if !is_ready {
            call.await.unwrap();
        }
    }
    let context = store.load_model_context(id(1)).await.unwrap();
    let numbers: Vec<usize> =
        context.history.iter().map(|item| item.texts().concat().split(' ').next().unwrap().parse().unwrap()).collect();
    assert_eq!(numbers, (0..12).collect::<Vec<_>>());
    store.shutdown_thread(id(1)).await.unwrap();
}

pub(super) async fn dropped_batch(store: Arc<dyn ThreadStore>) {
    // Each call is polled once and dropped. The second call has the same id.
    store.create_thread(head(1, MODE)).await.unwrap();
    let large = "x".repeat(400 * 1024);
    for number in 0..20 {
        let batch = BatchId::generate();
        let items: [RolloutItem; 2] =
            [ResponseItem::user_text(&number.to_string()).into(), ResponseItem::user_text(&large).into()];
        {
            let mut call = Box::pin(store.append_items(id(1), batch, &items));
            let _ = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
        store.append_items(id(1), batch, &items).await.unwrap();
    }
    let history = store.load_history(id(1)).await.unwrap();
    assert_eq!(history.lines.len(), 1 + 40);
    crate::fixtures::assert_consecutive_ordinals(&history);
    // An unrelated call that fails leaves no trace either.
    store
        .revert_thread(RevertThread {
            thread_id: id(1),
            to: TurnBoundary::Before(turn_id("nothing")),
            batch: BatchId::generate(),
        })
        .await
        .unwrap_err();
    store.shutdown_thread(id(1)).await.unwrap();
}
