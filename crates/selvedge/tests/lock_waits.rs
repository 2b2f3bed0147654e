//! A lock that is waited for is in the log, with its holder. In a test program of its own: locks are taken by threads of the runtime,
//! whose events only a subscriber for the whole process gets.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use selvedge::{NewThread, TurnSettings};

#[derive(Clone, Default)]
struct LogOutput(Arc<Mutex<Vec<u8>>>);

impl Write for LogOutput {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_lock_that_is_waited_for_is_reported_once_with_its_holder() {
    let output = LogOutput::default();
    let lines = output.clone();
    tracing_subscriber::fmt().with_ansi(false).with_writer(move || lines.clone()).init();
    let home = tempfile::tempdir().unwrap();
    let threads = selvedge::open(home.path());
    let thread = threads.start(NewThread::in_dir("/srv").legacy()).await.unwrap();
    let turn = thread.begin_turn(TurnSettings::default()).await.unwrap();
    turn.user_message("hello").await.unwrap();
    turn.complete().await.unwrap();
    threads.rename(thread.id(), "not waited for").await.unwrap();

    let path = home.path().join("session_index.jsonl.lock");
    let file = std::fs::File::options().create(true).append(true).open(&path).unwrap();
    file.lock().unwrap();
    let release = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        drop(file);
    });
    threads.rename(thread.id(), "waited for").await.unwrap();
    release.join().unwrap();

    let text = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
    let waits: Vec<&str> = text.lines().filter(|line| line.contains("waited for a lock")).collect();
    assert_eq!(waits.len(), 1, "{text}");
    let wanted = format!("path={}", path.display());
    assert!(waits[0].contains("INFO") && waits[0].contains(&wanted), "{text}");
    if cfg!(target_os = "linux") {
        assert!(waits[0].contains(&format!("holder={}", std::process::id())), "{text}");
    }
}
