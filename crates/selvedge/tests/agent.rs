//! The example of the README: what the agent recorded is listed, shown and continued.

#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use std::process::Command;

use selvedge::{ThreadId, TurnQuery, TurnStatus};

/// The agent, as the example runs it.
fn run_agent(home: &std::path::Path, args: &[&str]) -> (ThreadId, ThreadId) {
    // Tests and examples of a crate are built together, into directories beside each other.
    let program = std::env::current_exe().unwrap();
    let program = program.parent().unwrap().parent().unwrap().join("examples/agent");
    let output =
        Command::new(program.with_extension(std::env::consts::EXE_EXTENSION)).arg(home).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    let words: Vec<&str> = printed.split_whitespace().collect();
    (words[0].parse().unwrap(), words[words.len() - 1].parse().unwrap())
}

#[tokio::test]
async fn the_agent_of_the_example_has_all_its_turns_after_its_end() {
    for args in [&[][..], &["legacy"]] {
        let home = tempfile::tempdir().unwrap();
        let (thread, fork) = run_agent(home.path(), args);
        let threads = selvedge::open(home.path());
        for (id, turns, last) in [(thread, 4, "the same question again"), (fork, 5, "another way to fix it")] {
            let shown = threads.store().list_turns(&TurnQuery::all(id)).await.unwrap().items;
            // The process was killed in the third turn.
            for (number, turn) in (1..).zip(&shown) {
                let wanted = if number == 3 { TurnStatus::Interrupted } else { TurnStatus::Completed };
                assert_eq!(turn.status, wanted, "{number}: {turn:?}");
            }
            assert_eq!(shown.len(), turns, "{args:?}");
            let kinds: Vec<&str> = shown[turns - 1].items.iter().map(|item| item.kind()).collect();
            assert_eq!(kinds, ["user_message", "tool_call", "agent_message"]);
            let live = threads.open(id).await.unwrap();
            assert_eq!(live.unanswered_calls().await.unwrap(), []);
            let input = live.model_input().await.unwrap();
            assert!(input.iter().any(|item| item.text() == last), "{input:?}");
            assert_eq!(live.metadata().await.preview.as_deref(), Some("where is the bug?"));
        }
        assert_eq!(threads.store().list_threads(&Default::default()).await.unwrap().items.len(), 2);
    }
}
