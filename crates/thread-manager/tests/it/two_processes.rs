//! A turn that runs in another process is in progress, until that process ends.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use selvedge_protocol::{HistoryMode, ItemQuery, Turn, TurnQuery, TurnStatus};
use selvedge_thread_manager::{NewThread, ThreadManager, TurnSettings};
use selvedge_thread_store::ThreadReader;
use selvedge_thread_store_local::{IndexLocation, LocalThreadStore};

use crate::support::{MODES, id};

/// The variables that make this program the other process.
const HOME: &str = "SELVEDGE_TEST_WRITER_HOME";
const IS_LEGACY: &str = "SELVEDGE_TEST_WRITER_IS_LEGACY";
const IS_READY: &str = "the turn is running";

/// The other process: begins a turn and keeps it open.
#[tokio::test]
#[ignore = "it is the other process of the test below, which starts it"]
async fn writer() {
    let Ok(home) = std::env::var(HOME) else { return };
    let manager = ThreadManager::new(std::sync::Arc::new(LocalThreadStore::open(home)));
    let thread = NewThread::in_dir("/srv").id(id(1));
    let thread = if std::env::var(IS_LEGACY).is_ok() { thread.legacy() } else { thread };
    let turn = manager.start(thread).await.unwrap().begin_turn(TurnSettings::default()).await.unwrap();
    turn.user_message("one").await.unwrap();
    println!("{IS_READY}");
    let _ = std::io::stdin().read(&mut [0]);
}

fn start_writer(home: &Path, mode: HistoryMode) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "two_processes::writer", "--ignored", "--nocapture"]).env(HOME, home);
    if mode == HistoryMode::Legacy {
        command.env(IS_LEGACY, "1");
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The test harness prints the name of the test before, on the same line.
    assert!(lines.any(|line| line.unwrap().contains(IS_READY)));
    child
}

async fn turns(store: &LocalThreadStore) -> Vec<Turn> {
    store.list_turns(&TurnQuery::all(id(1))).await.unwrap().items
}

#[tokio::test]
async fn a_turn_of_another_process_is_in_progress_until_that_process_ends() {
    for (mode, index) in
        MODES.into_iter().flat_map(|mode| [(mode, IndexLocation::InHome), (mode, IndexLocation::Disabled)])
    {
        let home = tempfile::tempdir().unwrap();
        let mut writer = start_writer(home.path(), mode);
        let store = LocalThreadStore::open_with(home.path(), index.clone());
        for _ in 0..2 {
            assert_eq!(turns(&store).await[0].status, TurnStatus::InProgress, "{mode:?} {index:?}");
        }
        assert_eq!(store.list_items(&ItemQuery::all(id(1))).await.unwrap().items.len(), 1);
        assert_eq!(store.load_model_context(id(1)).await.unwrap().history.len(), 1);
        // Reading took no lock: the writer is still the writer.
        assert!(writer.try_wait().unwrap().is_none());

        writer.kill().unwrap();
        writer.wait().unwrap();
        assert_eq!(turns(&store).await[0].status, TurnStatus::Interrupted, "{mode:?} {index:?}");
    }
}
