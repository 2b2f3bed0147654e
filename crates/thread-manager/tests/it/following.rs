//! Streams of what is added to a thread.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use std::time::Duration;

use selvedge_protocol::{HistoryMode, TurnBoundary};
use selvedge_thread_manager::{FollowEvent, ThreadFollower};
use selvedge_thread_store::{LineStart, StoreError};

use crate::support::{TestStores, id, message, start};

/// The next event, as a short text.
async fn next(follower: &mut ThreadFollower) -> String {
    let event = tokio::time::timeout(Duration::from_secs(20), follower.next()).await.unwrap();
    match event {
        Some(FollowEvent::Line { line, .. }) => line.item_texts(),
        Some(FollowEvent::Rewound { .. }) => "rewound".to_owned(),
        Some(FollowEvent::Rewritten) => "rewritten".to_owned(),
        Some(FollowEvent::CaughtUp) => "caught up".to_owned(),
        Some(FollowEvent::Ended { error }) if matches!(*error, StoreError::NotFound { .. }) => "deleted".to_owned(),
        other => format!("{other:?}"),
    }
}

trait LineText {
    fn item_texts(&self) -> String;
}

impl LineText for selvedge_protocol::RolloutLine {
    fn item_texts(&self) -> String {
        match self.item() {
            selvedge_protocol::RolloutItem::ResponseItem(item) => item.text(),
            item => item.kind().to_owned(),
        }
    }
}

async fn gets_lines_rewinds_and_the_end(stores: TestStores) {
    let (writer, reader) = (stores.manager(), stores.manager());
    let thread = start(&writer, 1, HistoryMode::Paginated, &[]).await;
    let mut follower = reader.follow(id(1), LineStart::Beginning);
    assert_eq!((next(&mut follower).await, next(&mut follower).await), ("session_meta".into(), "caught up".into()));
    for text in ["a", "b"] {
        thread.append(&[message(text)]).await.unwrap();
        // It may have caught up more than once.
        loop {
            match next(&mut follower).await {
                caught_up if caught_up == "caught up" => {}
                line => {
                    assert_eq!(line, text);
                    break;
                }
            }
        }
    }
    writer.rewind(id(1), TurnBoundary::BeforeNewest(1)).await.unwrap();
    thread.append(&[message("c")]).await.unwrap();
    let mut seen = Vec::new();
    while seen.last().is_none_or(|last| last != "c") {
        seen.push(next(&mut follower).await);
    }
    assert!(seen.contains(&"rewound".to_owned()), "{seen:?}");
    writer.delete(id(1)).await.unwrap();
    let mut last = next(&mut follower).await;
    while last == "caught up" {
        last = next(&mut follower).await;
    }
    assert_eq!(last, "deleted");
    assert!(follower.next().await.is_none());
}

async fn continues_where_an_earlier_one_ended(stores: TestStores) {
    let manager = stores.manager();
    let thread = start(&manager, 1, HistoryMode::Paginated, &[]).await;
    let texts: Vec<String> = (0..50).map(|n| format!("m{n}")).collect();
    for text in &texts {
        thread.append(&[message(text)]).await.unwrap();
    }
    let (mut seen, mut from) = (Vec::new(), LineStart::Beginning);
    while seen.len() < 51 {
        let mut follower = manager.follow(id(1), from.clone());
        for _ in 0..7 {
            // After the last line there is nothing more to come.
            let Some(FollowEvent::Line { line, next }) = follower.next().await else { break };
            seen.push(line.item_texts());
            from = LineStart::At(next);
        }
    }
    assert_eq!(seen[1..], texts);
}

crate::over_both_stores! { gets_lines_rewinds_and_the_end, continues_where_an_earlier_one_ended }
