//! `export` and `show` as documents, and `serve`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{Home, PLAIN169, T169, UNKNOWN};

/// Returns the headings of turns.
fn turns_of(markdown: &str) -> Vec<&str> {
    markdown.lines().filter(|line| line.starts_with("## Turn ")).collect()
}

#[test]
fn formats_and_selections_of_an_export() {
    let home = Home::sample("story-0.169.0");
    let shown = home.json(&["show", T169]);
    let turns = shown["turns"].as_array().unwrap();
    assert!(turns.len() > 3);

    assert_eq!(home.json(&["export", T169, "--format", "json"])["turns"], shown["turns"]);
    let markdown = home.ok(&["export", T169, "--format", "markdown"]);
    assert_eq!(turns_of(&markdown).len(), turns.len());
    assert_eq!(home.ok(&["show", T169, "--format", "md"]), markdown);
    assert_eq!(turns_of(&home.ok(&["export", T169, "-f", "md", "--turns", "2-3"])), ["## Turn 2", "## Turn 3"]);
    assert_eq!(turns_of(&home.ok(&["show", T169, "--format", "markdown", "--last", "1"])).len(), 1);
    let html = home.ok(&["export", T169, "--format", "html"]);
    assert_eq!(html.matches("<section class=\"turn\"").count(), turns.len());
    assert!(html.starts_with("<!DOCTYPE html>") && !html.contains("<script"));

    let kinds = |json: &Value| -> Vec<String> {
        let turns = json["turns"].as_array().unwrap().iter();
        turns
            .flat_map(|turn| turn["items"].as_array().unwrap())
            .map(|item| item["type"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = kinds(&shown);
    assert!(
        all.iter().any(|kind| kind == "command_execution") && all.iter().any(|kind| kind == "reasoning"),
        "{all:?}"
    );
    let few = kinds(&home.json(&["export", T169, "-f", "json", "--no-tools", "--no-reasoning"]));
    let expected: Vec<String> = all
        .into_iter()
        .filter(|kind| ["user_message", "agent_message", "context_compaction"].contains(&kind.as_str()))
        .collect();
    assert_eq!(few, expected);
}

#[test]
fn the_name_of_a_file_says_its_format() {
    let home = Home::sample("story-0.169.0");
    let path = |name: &str| home.folder().join(name).display().to_string();
    for (name, begins) in [
        ("a.html", "<!DOCTYPE html>"),
        ("a.md", "# "),
        ("a.json", "{\"thread\""),
        ("a.jsonl", "{\"timestamp\""),
        ("a", "{\"timestamp\""),
    ] {
        home.ok(&["export", PLAIN169, "-o", &path(name)]);
        let text = std::fs::read_to_string(path(name)).unwrap();
        assert!(text.starts_with(begins), "{name}: {}", &text[..40]);
    }
    assert_eq!(std::fs::read_to_string(path("a.jsonl")).unwrap(), home.ok(&["export", PLAIN169]));
}

#[test]
fn wrong_selections_are_explained() {
    let home = Home::sample("story-0.169.0");
    let refused = home.run(&["export", T169, "--turns", "2"]);
    assert!(refused.code == 2 && refused.err.contains("jsonl is the whole log"), "{refused:?}");
    let refused = home.run(&["export", T169, "-f", "html", "--turns", "7-3"]);
    assert!(refused.code == 2 && refused.err.contains("3-7"), "{refused:?}");
    let missing = home.run(&["export", T169, "-f", "html", "--turns", "5000"]);
    assert!(missing.code == 3 && missing.err.contains("turns"), "{missing:?}");
    assert_eq!(home.run(&["export", UNKNOWN, "-f", "html"]).code, 3);
}

/// Asks a server, and returns the whole answer.
fn ask(url: &str, path: &str, header: &str) -> String {
    let host = url.strip_prefix("http://").unwrap().split('/').next().unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{header}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[cfg(unix)]
#[test]
fn serve_warns_if_others_can_reach_it() {
    let home = Home::sample("story-0.169.0");
    for (address, is_reachable) in [("127.0.0.1", false), ("127.0.0.2", false), ("0.0.0.0", true)] {
        let mut command = home.command(&["serve", "--address", address]);
        let mut server = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut url).unwrap();
        assert!(url.starts_with(&format!("http://{address}:")), "{url}");
        // The warning follows the URL, before the server waits for an interrupt.
        let id = rustix::process::Pid::from_child(&server);
        rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
        let output = server.wait_with_output().unwrap();
        let warned = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{warned}");
        assert_eq!(
            warned.contains("warning: others on the network can try to reach this address"),
            is_reachable,
            "{warned}"
        );
    }
}

#[cfg(unix)]
#[test]
fn serve_prints_its_url_and_ends_with_an_interrupt() {
    let home = Home::sample("story-0.169.0");
    let mut server = home.command(&["serve", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = serde_json::from_str::<Value>(&line).unwrap()["url"].as_str().unwrap().to_owned();
    if cfg!(all(target_os = "linux", target_env = "gnu")) {
        let environment = std::fs::read(format!("/proc/{}/environ", server.id())).unwrap();
        assert!(environment.split(|byte| *byte == 0).any(|entry| entry == b"MALLOC_ARENA_MAX=2"));
    }
    assert!(ask(&url, "/", "").starts_with("HTTP/1.1 403"));
    let (_, query) = url.split_once("/?").unwrap();
    let first = ask(&url, &format!("/?{query}"), "");
    let cookie = first.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap().split(';').next().unwrap();
    let page = ask(&url, &format!("/threads/{T169}"), &format!("Cookie: {cookie}\r\n"));
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("section"), "{page}");

    let id = rustix::process::Pid::from_child(&server);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    assert_eq!(server.wait().unwrap().code(), Some(0));
}
