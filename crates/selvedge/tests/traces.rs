//! The traces of an agent: every call on the store, with the thread, the outcome and the time.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use std::io::Write;
use std::sync::{Arc, Mutex};

use selvedge::{NewThread, ResponseItem, RolloutItem, ThreadId, TurnSettings};
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn each_call_has_its_thread_its_outcome_and_its_time() {
    let lines = Lines::default();
    let format = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_ansi(false);
    let _guard = tracing::subscriber::set_default(format.with_writer(lines.clone()).finish());
    let home = tempfile::tempdir().unwrap();
    let threads = selvedge::open(home.path());
    let thread = threads.start(NewThread::in_dir("/srv")).await.unwrap();
    let turn = thread.begin_turn(TurnSettings::default()).await.unwrap();
    turn.user_message("hello").await.unwrap();
    turn.complete().await.unwrap();
    let missing: ThreadId = "01a1fd5d-0000-7000-8000-000000000000".parse().unwrap();
    assert!(threads.open(missing).await.is_err());

    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let id = thread.id();
    for expected in [
        format!("begin:store_call{{method=\"create_thread\" thread_id={id}}}"),
        format!("append_call{{thread_id={id}}}:store_call{{method=\"append_items\" thread_id={id}}}"),
        "outcome=\"ok\" count=3 micros=".to_owned(),
        format!("open{{thread_id={missing}}}:resume{{thread_id={missing}}}:store_call{{method=\"resume_thread\""),
        format!("outcome=thread {missing} not found"),
    ] {
        assert!(text.contains(&expected), "{expected} is not in:\n{text}");
    }
}

/// Statements of the index would bury everything else.
#[tokio::test]
async fn events_say_why_the_index_was_built_and_statements_are_no_events() {
    let lines = Lines::default();
    let format = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_ansi(false);
    let _guard = tracing::subscriber::set_default(format.with_writer(lines.clone()).finish());
    let home = tempfile::tempdir().unwrap();
    let threads = selvedge::open(home.path());
    let thread = threads.start(NewThread::in_dir("/srv")).await.unwrap();
    let turn = thread.begin_turn(TurnSettings::default()).await.unwrap();
    turn.user_message("hello").await.unwrap();
    turn.complete().await.unwrap();
    assert_eq!(threads.store().list_threads(&Default::default()).await.unwrap().items.len(), 1);
    // The file disappears while the thread is live, and after a pause that ends the streak of writes it is looked at again.
    std::fs::remove_file(threads.thread(thread.id()).await.unwrap().location.unwrap()).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let message: RolloutItem = ResponseItem::user_text("lost").into();
    for _ in 0..2 {
        assert!(thread.append(&[RolloutItem::clone(&message)]).await.is_err());
    }

    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let count = |text: &str, wanted: &str| text.lines().filter(|line| line.contains(wanted)).count();
    assert_eq!(count(&text, "the index was built from the logs why=\"there was none\" threads=1"), 1, "{text}");
    assert_eq!(count(&text, "the file of a writer was moved or deleted by another program"), 1, "{text}");
    assert_eq!(count(&text, "sqlx"), 0, "{text}");
}
