//! What an agent's log shows of its threads: every call, with the thread, its outcome and its time.
//!
//! `cargo run -p selvedge --features metrics --example traces`

use std::time::Duration;

use anyhow::Result;
use metrics_util::debugging::DebuggingRecorder;
use selvedge::{NewThread, ResponseItem, ThreadId, ThreadQuery, TurnSettings};
use tracing_subscriber::fmt::format::FmtSpan;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let recorder = DebuggingRecorder::new();
    let counted = recorder.snapshotter();
    recorder.install()?;
    let format = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_span_events(FmtSpan::NONE);
    format.without_time().with_ansi(false).init();

    let home = tempfile::tempdir()?;
    let threads = selvedge::open(home.path());
    let thread = threads.start(NewThread::in_dir("/srv/project")).await?;
    let turn = thread.begin_turn(TurnSettings::default()).await?;
    turn.user_message("where is the bug?").await?;
    turn.complete().await?;
    // The first list builds the index.
    threads.store().list_threads(&ThreadQuery::default()).await?;
    // Another program holds a lock for a moment.
    let lock = std::fs::File::create(home.path().join("session_index.jsonl.lock"))?;
    lock.lock()?;
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        drop(lock);
    });
    threads.rename(thread.id(), "the bug").await?;
    // Another program removes the file of the live thread.
    std::fs::remove_file(threads.thread(thread.id()).await?.location.unwrap_or_default())?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(thread.append(&[ResponseItem::user_text("lost").into()]).await.is_err());
    // A thread that does not exist.
    let missing: ThreadId = "01a1fd5d-0000-7000-8000-000000000000".parse()?;
    assert!(threads.open(missing).await.is_err());

    for (key, _, _, value) in counted.snapshot().into_vec() {
        let key = key.key().to_string();
        if key.contains("total") {
            tracing::info!("{key}: {value:?}");
        }
    }
    Ok(())
}
