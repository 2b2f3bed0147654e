//! The agent of the README: it is killed in the middle of a tool call and goes on, and this program shows all of it.

use std::process::Command;

use crate::support::Home;

/// Runs the agent, and returns the ids of its thread and of its fork.
fn run_agent(home: &Home, args: &[&str]) -> (String, String) {
    // Tests and examples of a crate are built together, into directories beside each other.
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().unwrap().parent().unwrap().join("examples/readme_agent");
    let mut agent = Command::new(program.with_extension(std::env::consts::EXE_EXTENSION));
    let output = agent.arg(home.path()).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    let words: Vec<&str> = printed.split_whitespace().collect();
    (words[0].to_owned(), words[2].to_owned())
}

#[test]
fn all_of_the_agent_is_listed_shown_found_and_continued() {
    for args in [&[][..], &["legacy"]] {
        let home = Home::missing();
        let (thread, fork) = run_agent(&home, args);

        let listed = home.json(&["list"]);
        let ids: Vec<&str> = listed.as_array().unwrap().iter().map(|thread| thread["id"].as_str().unwrap()).collect();
        assert!(ids.len() == 2 && ids.contains(&&*thread) && ids.contains(&&*fork), "{args:?}: {listed}");

        let shown = home.ok(&["show", &thread]);
        for text in
            ["where is the bug?", "please compact", "a question too many", "the same question again", "count_items"]
        {
            assert!(shown.contains(text), "{args:?}: {text} is not in:\n{shown}");
        }
        assert!(!shown.contains("where were we?"), "{args:?}: undone, but in:\n{shown}");
        let shown = home.ok(&["show", &fork]);
        for text in ["where is the bug?", "where were we?", "another way to fix it"] {
            assert!(shown.contains(text), "{args:?}: {text} is not in:\n{shown}");
        }

        let found = home.ok(&["search", "another way"]);
        assert!(found.contains(&fork[..8]) && found.contains("another way to fix it"), "{args:?}: {found}");
        let context = home.ok(&["context", &thread]);
        for text in ["SUMMARY: a bug was found", "aborted", "the same question again"] {
            assert!(context.contains(text), "{args:?}: {text} is not in:\n{context}");
        }
        assert!(!context.contains("where is the bug?"), "{args:?}: compacted, but in:\n{context}");
    }
}
