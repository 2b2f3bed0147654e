//! What an agent's log shows of its threads: every call, with the thread, its outcome and its time.
//!
//! `cargo run -p selvedge --features metrics --example traces`

use anyhow::Result;
use metrics_util::debugging::DebuggingRecorder;
use selvedge::{NewThread, ThreadId, TurnSettings};
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
