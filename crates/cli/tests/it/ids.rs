//! How an argument names a thread or a turn.

use crate::support::{Home, PLAIN169, T169, UNKNOWN};

#[test]
fn a_thread_is_found_by_id_prefix_and_name() {
    let home = Home::sample("story-0.169.0");
    home.ok(&["rename", PLAIN169, "Unicode corner"]);
    for text in [PLAIN169, &PLAIN169.to_uppercase(), "01a1fd5d-ba9e", "01A1FD5D-BA9E", "Unicode corner"] {
        assert_eq!(home.json(&["show", text])["thread"]["id"], PLAIN169, "{text}");
    }
}

#[test]
fn an_ambiguous_prefix_lists_the_threads_that_match() {
    let home = Home::sample("story-0.169.0");
    for verb in [&["show", "01a1fd5d"][..], &["delete", "01a1fd5d", "--yes"], &["show", "Thread on zebras"]] {
        let run = home.run(verb);
        assert_eq!((run.code, run.out.as_str()), (1, ""), "{verb:?}");
        assert!(run.err.contains("threads: ") && run.err.contains(T169), "{}", run.err);
        assert!(run.err.contains("hint: type more of the id: its first 13 characters"), "{}", run.err);
    }
    assert_eq!(home.json(&["list", "--all"]).as_array().unwrap().len(), 6);
    // The name of a thread is a prefix of another thread's id. A prefix of that length stays ambiguous.
    home.ok(&["rename", PLAIN169, "01a1fd5d-aacb"]);
    let run = home.run(&["show", "01a1fd5d-aacb"]);
    assert!(run.code == 1 && run.err.contains("its first 36 characters"), "{}", run.err);
}

#[test]
fn an_unknown_thread_is_not_found() {
    let home = Home::sample("story-0.169.0");
    for id in [UNKNOWN, "ffffffff", "no such name", "01a"] {
        for verb in ["show", "context", "export", "append", "fork", "archive", "unarchive"] {
            let run = home.run(&[verb, id]);
            assert_eq!((run.code, run.out.as_str()), (3, ""), "{verb} {id}: {}", run.err);
            assert!(run.err.starts_with("error: ") && run.err.contains("hint: "), "{}", run.err);
        }
        assert_eq!(home.run(&["rename", id, "x"]).code, 3);
        assert_eq!(home.run(&["rewind", id, "--turns", "1"]).code, 3);
        assert_eq!(home.run(&["delete", id, "--yes"]).code, 3);
    }
    assert!(home.run(&["show", "01a"]).err.contains("4 characters or more"));
}

#[test]
fn a_turn_is_found_by_id_prefix_and_number() {
    let home = Home::sample("story-0.169.0");
    let shown = home.json(&["show", T169]);
    let second = shown["turns"][1]["id"].as_str().unwrap();
    for turn in [second, &second[..13], "2"] {
        let fork = home.json(&["fork", T169, "--after", turn]);
        let turns = home.json(&["show", fork["id"].as_str().unwrap()]);
        assert_eq!(turns["turns"].as_array().unwrap().len(), 2, "{turn}");
        assert_eq!(turns["turns"][1]["id"], second);
    }
}

#[test]
fn an_unknown_turn_is_not_found() {
    let home = Home::sample("story-0.169.0");
    let count = home.json(&["show", T169])["turns"].as_array().unwrap().len();
    for turn in ["0", "99", "no-such-turn", "ffffffff", ""] {
        for verb in ["fork", "rewind"] {
            let run = home.run(&[verb, T169, "--before", turn]);
            assert_eq!(run.code, 3, "{verb} {turn:?}: {}", run.err);
            assert!(run.err.contains(&format!("its turns are 1 to {count}")), "{}", run.err);
        }
    }
    let run = home.run(&["fork", T169, "--after", "01a1fd5d"]);
    assert_eq!(run.code, 1);
    assert!(run.err.contains("turns: "), "{}", run.err);
}
