//! What people see: colours, widths, questions and hostile text; and what happens when a pipe closes.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::{Home, PLAIN169, T169, UNKNOWN, line, meta_line, run, small_log};

const ESCAPE: char = '\u{1b}';

/// Runs a command on a new terminal and types `input`. Returns what the terminal showed, and the exit code.
fn on_terminal(command: &mut Command, input: &str) -> (String, i32) {
    use rustix::pty;
    let master = pty::openpt(pty::OpenptFlags::RDWR | pty::OpenptFlags::NOCTTY).unwrap();
    pty::grantpt(&master).unwrap();
    pty::unlockpt(&master).unwrap();
    let name = pty::ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let size = rustix::termios::Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&master, size).unwrap();
    let terminal = || Stdio::from(OpenOptions::new().read(true).write(true).open(&name).unwrap());
    command.env("TERM", "xterm").stdin(terminal()).stdout(terminal()).stderr(terminal());
    let mut child = command.spawn().unwrap();
    // The copies of the parent process would keep the terminal open.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut master = File::from(master);
    master.write_all(input.as_bytes()).unwrap();
    let mut shown = Vec::new();
    // Reading fails when no process has the other end open.
    let mut block = [0; 4096];
    while let Ok(length @ 1..) = master.read(&mut block) {
        shown.extend_from_slice(&block[..length]);
    }
    let code = child.wait().unwrap().code().unwrap();
    let shown = String::from_utf8_lossy(&shown).replace("\r\n", "\n");
    assert!(!shown.contains("panicked"), "{shown}");
    (shown, code)
}

#[test]
fn only_terminals_get_colours() {
    let home = Home::sample("story-0.169.0");
    for verb in [&["list"][..], &["show", T169], &["search", "yaks"]] {
        assert!(!home.ok(verb).contains(ESCAPE), "{verb:?}");
        let (shown, code) = on_terminal(&mut home.command(verb), "");
        assert!(code == 0 && shown.contains(ESCAPE), "{verb:?}: {shown}");
        let (shown, _) = on_terminal(home.command(verb).env("NO_COLOR", "1"), "");
        assert!(!shown.contains(ESCAPE), "{verb:?}: {shown}");
        let (shown, _) = on_terminal(&mut home.command(&[verb, &["--color", "never"]].concat()), "");
        assert!(!shown.contains(ESCAPE), "{verb:?}: {shown}");
        let (shown, _) = on_terminal(home.command(verb).env("CLICOLOR", "0"), "");
        assert!(!shown.contains(ESCAPE), "{verb:?}: {shown}");
        assert!(home.ok(&[verb, &["--color", "always"]].concat()).contains(ESCAPE), "{verb:?}");
        assert!(run(home.command(verb).env("CLICOLOR_FORCE", "1")).out.contains(ESCAPE), "{verb:?}");
        assert!(!run(home.command(verb).env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1")).out.contains(ESCAPE));
    }
    let json = home.ok(&["list", "--json", "--color", "always"]);
    assert!(!json.contains(ESCAPE), "{json}");
}

#[test]
fn errors_are_coloured_on_a_terminal() {
    let home = Home::empty();
    let plain = home.run(&["show", UNKNOWN]);
    assert!(
        plain.err.starts_with("error: thread 01a1fd5d-0000-7000-8000-000000000000 not found\nhint: "),
        "{}",
        plain.err
    );
    let (shown, code) = on_terminal(&mut home.command(&["show", UNKNOWN]), "");
    assert!(code == 3 && shown.contains("\u{1b}[1m\u{1b}[31merror:"), "{shown:?}");
    let (shown, _) = on_terminal(home.command(&["show", UNKNOWN]).env("NO_COLOR", "1"), "");
    assert!(shown.starts_with("error: "), "{shown:?}");
}

#[test]
fn a_table_fits_the_terminal() {
    let home = Home::sample("story-0.169.0");
    let (shown, _) = on_terminal(home.command(&["list", "--all"]).env("NO_COLOR", "1"), "");
    assert!(shown.lines().count() == 7 && shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    for columns in ["40", "60", "100"] {
        let out = run(home.command(&["list", "--all"]).env("COLUMNS", columns)).out;
        let width: usize = columns.parse().unwrap();
        assert!(out.lines().all(|line| line.chars().count() <= width), "{columns}: {out}");
        assert!(out.contains("01a1fd5d-aacb"), "{out}");
    }
    let out = home.ok(&["list"]);
    assert!(out.starts_with("ID             UPDATED"), "{out}");
    assert!(
        out.contains("Thread on zebras") && out.contains("/home/dev/proj1/sub") && out.contains("mock-model"),
        "{out}"
    );
}

#[test]
fn long_work_shows_its_progress() {
    let verbs = [
        (&["index", "rebuild"][..], "\u{2591} 0 of 6 threads, 0 B of 344.15 KiB"),
        (&["compress", T169, PLAIN169], "\u{2591} 0 of 2 threads, 0 B of "),
    ];
    for (verb, progress) in verbs {
        let home = Home::sample("story-0.169.0");
        assert_eq!(home.run(verb).err, "", "{verb:?}");
        let home = Home::sample("story-0.169.0");
        let (shown, code) = on_terminal(&mut home.command(verb), "");
        assert!(code == 0 && shown.contains(progress) && !shown.contains("  threads"), "{verb:?}: {shown}");
    }
}

#[test]
fn the_next_cursor_is_printed_below_the_rows() {
    let home = Home::sample("story-0.169.0");
    for verb in [&["list", "-n", "2"][..], &["search", "yaks", "-n", "1"], &["list", "-n", "1", "--json"]] {
        let (shown, code) = on_terminal(&mut home.command(verb), "");
        let last = shown.lines().last().unwrap_or_default();
        assert!(code == 0 && last.starts_with("more with --cursor "), "{verb:?}: {shown}");
    }
}

#[test]
fn a_terminal_gets_the_context_as_text() {
    let home = Home::sample("story-0.169.0");
    let (shown, code) = on_terminal(home.command(&["context", T169]).env("NO_COLOR", "1"), "");
    assert_eq!(code, 0);
    assert!(shown.starts_with("window ") && shown.contains("\n  1 "), "{shown}");
    let (shown, _) = on_terminal(&mut home.command(&["context", T169, "--json"]), "");
    assert!(shown.starts_with("{\n  \"history\": ["), "{shown}");
}

#[test]
fn a_terminal_is_asked_before_a_thread_is_deleted() {
    let home = Home::sample("story-0.169.0");
    for answer in ["n\n", "\n", "\u{4}", "maybe\n"] {
        let (shown, code) = on_terminal(&mut home.command(&["delete", PLAIN169]), answer);
        assert!(code == 0 && shown.contains("for good? [y/N]") && shown.contains("nothing was deleted"), "{shown}");
    }
    assert_eq!(home.run(&["show", PLAIN169]).code, 0);
    let (shown, code) = on_terminal(&mut home.command(&["delete", PLAIN169]), "y\n");
    assert!(code == 0 && shown.contains("deleted"), "{shown}");
    assert_eq!(home.run(&["show", PLAIN169]).code, 3);
}

/// Runs a command whose output has no reader.
fn run_without_reader(command: &mut Command) -> (i32, String) {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_closed_pipe_ends_the_program_quietly() {
    let home = Home::sample("story-0.169.0");
    for verb in [
        &["list"][..],
        &["list", "--json"],
        &["show", PLAIN169, "--full"],
        &["show", PLAIN169, "--json"],
        &["context", PLAIN169],
        &["export", PLAIN169],
        &["search", "a"],
        &["search", "a", "--json"],
        &["--help"],
        &["help", "append"],
        &["completions", "bash"],
        &["demo"],
        &["new"],
    ] {
        let (code, err) = run_without_reader(&mut home.command(verb));
        assert_eq!((code, err.as_str()), (0, ""), "{verb:?}");
    }
}

#[test]
fn append_ends_when_its_reader_is_gone() {
    let home = Home::missing();
    let id = home.new_thread(&[]);
    let mut child = home.spawn_append(&id);
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(crate::support::message("one").as_bytes()).unwrap();
    // Standard input stays open, so that only the closed output can end the program.
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    drop(stdin);
    assert_eq!(home.texts(&id), ["one"]);
}

#[test]
fn an_output_that_cannot_be_written_is_a_failure() {
    if !std::path::Path::new("/dev/full").exists() {
        return;
    }
    let home = Home::sample("story-0.169.0");
    for verb in [&["list"][..], &["list", "--json"], &["export", T169], &["show", T169]] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let run = run(home.command(verb).stdout(full));
        assert_eq!(run.code, 1, "{verb:?}");
        assert!(run.err.starts_with("error: ") && run.err.contains("No space left"), "{}", run.err);
    }
}

#[test]
fn hostile_text_does_not_reach_the_terminal() {
    let hostile_text = "before\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}\u{8}\r\u{0}after";
    let id = "01a1fd5d-eeee-7000-8000-000000000000";
    let log = [
        line("session_meta", &json!({"id": id, "timestamp": "2026-11-21T09:00:00.000Z", "cwd": hostile_text, "originator": hostile_text, "cli_version": hostile_text, "source": hostile_text, "git": {"branch": hostile_text}, "model_provider": hostile_text})),
        line("turn_context", &json!({"model": hostile_text, "cwd": hostile_text})),
        line("event_msg", &json!({"type": "user_message", "message": hostile_text})),
        line("response_item", &json!({"type": "message", "role": hostile_text, "content": [{"type": "input_text", "text": hostile_text}]})),
        line("response_item", &json!({"type": "function_call", "name": hostile_text, "arguments": hostile_text, "call_id": "c"})),
        line("response_item", &json!({"type": hostile_text, "x": hostile_text})),
        line("event_msg", &json!({"type": "agent_message", "message": hostile_text})),
        line("event_msg", &json!({"type": "mcp_tool_call_end", "call_id": "c", "invocation": {"server": hostile_text, "tool": hostile_text, "arguments": {"a": hostile_text}}, "result": {"Ok": {"content": [{"type": "text", "text": hostile_text}]}}})),
        line("event_msg", &json!({"type": "turn_aborted", "reason": hostile_text})),
        line(hostile_text, &json!({"type": hostile_text})),
    ]
    .concat();
    let home = Home::with_file(id, log.as_bytes());
    let safe = |text: &str| {
        !text.chars().any(|letter| (letter.is_control() && letter != '\n' && letter != '\t') || letter == '\u{202e}')
    };
    for verb in [&["list"][..], &["show", id], &["show", id, "--full"], &["search", "after"], &["search", "before"]] {
        let run = run(home.command(verb).env("NO_COLOR", "1"));
        assert_eq!(run.code, 0, "{}", run.err);
        assert!(safe(&run.out) && safe(&run.err), "{verb:?}: {:?} {:?}", run.out, run.err);
        assert!(run.out.contains("after"), "{verb:?}: {}", run.out);
    }
    let (shown, code) = on_terminal(home.command(&["context", id]).env("NO_COLOR", "1"), "");
    assert!(code == 0 && safe(&shown) && shown.contains("after"), "{shown:?}");
    for verb in [&["context", id, "--json"][..], &["show", id, "--json"], &["list", "--json"]] {
        let (shown, code) = on_terminal(&mut home.command(verb), "");
        assert!(code == 0 && safe(&shown) && shown.contains("\\u001b[2J") && shown.contains("\\u009b"), "{shown:?}");
    }
    // Messages repeat what was typed.
    let run = home.run(&["show", "x\u{1b}[31m"]);
    assert!(run.code == 3 && safe(&run.err), "{:?}", run.err);
}

#[test]
fn a_short_transcript_is_printed_exactly() {
    let id = "01a1fd5d-aaaa-7000-8000-000000000000";
    let home = Home::with_file(id, small_log(id).as_bytes());
    let out = home.ok(&["show", id]);
    let (head, turns) = out.split_once("\n\n").unwrap();
    assert!(
        head.starts_with(&format!("how are the yaks\nid          {id}\nupdated     2026-11-21 09:00:01 (")),
        "{head}"
    );
    assert!(
        head.contains(
            "\ncreated     2026-11-21 09:00:00\nwhere       /home/dev/proj\nlog         legacy\nfile        "
        ),
        "{head}"
    );
    let expected = "── turn 1 · completed · 2026-11-21 09:00:01 · turn-1\nuser\n  how are the yaks\nagent\n  woolly\n";
    assert_eq!(turns, expected);
    let meta = Home::with_file(id, meta_line(id).as_bytes());
    assert!(meta.ok(&["show", id]).starts_with("(no message yet)\n"));
}

#[test]
fn a_search_without_hits_says_where_else_they_may_be() {
    let home = Home::sample("story-0.169.0");
    let said = |args: &[&str]| home.run(&[&["search"], args].concat()).err;
    let archived = "; --all searches archived threads, too\n";
    // The text is in the archived thread only.
    assert_eq!(
        said(&["gets archived"]),
        format!("no thread contains \"gets archived\"; all terms must be in the same message{archived}")
    );
    assert!(home.ok(&["search", "gets archived", "--all"]).contains("this one gets archived"));
    assert_eq!(said(&["nosuchword"]), format!("no thread contains \"nosuchword\"{archived}"));
    assert_eq!(said(&["nosuchword", "--all"]), "no thread contains \"nosuchword\"\n");
}

#[test]
fn without_a_verb_a_terminal_gets_an_overview() {
    let home = Home::sample("story-0.169.0");
    let (shown, code) = on_terminal(home.command(&[]).env("NO_COLOR", "1"), "");
    // As many as in the list, without the archived one.
    let listed = format!("{} threads with ", home.ok(&["list"]).lines().count() - 1);
    assert!(code == 0 && shown.contains(&listed) && shown.contains("selvedge serve --open"), "{listed}: {shown}");
    assert!(shown.contains("THREAD") && shown.contains("selvedge show 01a1"), "{shown}");
    assert!(
        shown.contains("  read the newest thread"),
        "a command and what it does have a space between them: {shown}"
    );
    for home in [Home::empty(), Home::missing()] {
        let (shown, code) = on_terminal(home.command(&[]).env("NO_COLOR", "1"), "");
        assert!(code == 0 && shown.contains("No threads yet") && shown.contains("selvedge demo"), "{shown}");
    }
    // A script gets the help and a failure.
    let refused = home.run(&[]);
    assert!(refused.code == 2 && refused.err.contains("Usage: selvedge"), "{refused:?}");
    assert!(!refused.err.contains("error:"), "{refused:?}");
    let home = Home::empty();
    let id = home.new_thread(&[]);
    home.ok(&["archive", &id, "--force"]);
    let (shown, code) = on_terminal(home.command(&[]).env("NO_COLOR", "1"), "");
    assert!(code == 0 && shown.contains("selvedge list --archived"), "{shown}");
}

#[test]
fn a_provider_is_not_shown_as_a_model() {
    let home = Home::empty();
    let id = home.new_thread(&["--provider", "weavers"]);
    let shown = home.ok(&["show", &id]);
    assert!(shown.contains("provider    weavers\n") && !shown.contains("model "), "{shown}");
    let id = home.new_thread(&["--provider", "weavers", "--model", "loom-2"]);
    assert!(home.ok(&["show", &id]).contains("model       loom-2, weavers\n"));
}
