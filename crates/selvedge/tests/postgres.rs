//! The facade over a database: two machines record one thread, one after the other.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use selvedge::{NewThread, PostgresThreadStore, StoreError, ThreadManager, TurnQuery, TurnSettings};
use selvedge_postgres_server::TestDatabase;

async fn record_turn(threads: &ThreadManager, thread_id: selvedge::ThreadId, text: &str) {
    let thread = threads.open(thread_id).await.unwrap();
    let turn = thread.begin_turn(TurnSettings::default()).await.unwrap();
    turn.user_message(text).await.unwrap();
    turn.agent_message("found it").await.unwrap();
    turn.complete().await.unwrap();
}

#[tokio::test]
async fn machines_share_a_thread_in_a_database() {
    let Some(database) = TestDatabase::fresh() else { return };
    let missing = selvedge::connect(&database.url()).await.unwrap_err();
    assert!(missing.to_string().contains("selvedge store init"), "{missing}");
    PostgresThreadStore::migrate(&database.url().parse().unwrap()).await.unwrap();

    let (one, other) =
        (selvedge::connect(&database.url()).await.unwrap(), selvedge::connect(&database.url()).await.unwrap());
    let thread = one.start(NewThread::in_dir("/srv/project").model("gpt-x")).await.unwrap();
    let id = thread.id();
    record_turn(&one, id, "where is the bug?").await;
    let held = other.open(id).await.unwrap_err();
    assert!(matches!(held, StoreError::Conflict { .. }), "{held:?}");
    thread.shutdown().await.unwrap();
    record_turn(&other, id, "and now?").await;
    assert_eq!(other.open(id).await.unwrap().model_input().await.unwrap().len(), 4);
    assert_eq!(one.store().list_turns(&TurnQuery::all(id)).await.unwrap().items.len(), 2);
}

#[tokio::test]
async fn a_url_that_names_no_store_is_an_error_without_its_password() {
    let error = selvedge::connect("mysql://ada:s3cret@db.example/work").await.unwrap_err();
    assert!(matches!(error, StoreError::InvalidRequest { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
}
