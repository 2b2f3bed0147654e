//! `selvedge stats`: its sums, as JSON, as a table and as a chart.

use serde_json::{Value, json};

use crate::support::{Home, line, meta_line, run, small_log};

const ONE: &str = "01a1fd5d-0000-7000-8000-000000000001";
const TWO: &str = "01a1fd5d-0000-7000-8000-000000000002";
const LATE: &str = "01a1fd5d-0000-7000-8000-000000000003";

/// Returns a home with two threads of one day, and one of the next evening with another directory and with tokens.
fn home() -> Home {
    let home = Home::empty();
    home.write(ONE, small_log(ONE).as_bytes());
    home.write(TWO, small_log(TWO).as_bytes());
    let late = meta_line(LATE)
        .replace("2026-11-21T09:00:00.000Z", "2026-11-22T23:30:00.000Z")
        .replace("/home/dev/proj", "/home/dev/other");
    let usage = json!({"input_tokens": 1000, "output_tokens": 234, "total_tokens": 1234});
    let counted = line("event_msg", &json!({"type": "token_count", "info": {"total_token_usage": usage}}))
        .replace("2026-11-21T09:00:01.000Z", "2026-11-22T23:30:01.000Z");
    home.write(LATE, (late + &counted).as_bytes());
    home
}

fn keys(stats: &Value) -> Vec<(&str, u64)> {
    let groups = stats["groups"].as_array().unwrap().iter();
    groups.map(|group| (group["key"].as_str().unwrap(), group["threads"].as_u64().unwrap())).collect()
}

#[test]
fn json_sums_are_the_same_with_and_without_an_index() {
    let home = home();
    let size = |id| std::fs::metadata(home.file(id)).unwrap().len();
    for args in [&["stats", "--index", "off"][..], &["stats"], &["stats"]] {
        let stats = home.json(args);
        assert_eq!(stats["by"], "day");
        assert_eq!(keys(&stats), [("2026-11-22", 1), ("2026-11-21", 2)]);
        assert_eq!(stats["groups"][0]["total_tokens"], 1234);
        assert_eq!(stats["groups"][1]["turns"], 2);
        assert_eq!(stats["groups"][1]["bytes"], size(ONE) + size(TWO));
        let total = &stats["total"];
        assert_eq!((&total["threads"], &total["input_tokens"]), (&3.into(), &1000.into()));
        assert_eq!(total["bytes"], size(ONE) + size(TWO) + size(LATE));
    }
    assert_eq!(keys(&home.json(&["stats", "--by", "project"])), [("/home/dev/proj", 2), ("/home/dev/other", 1)]);
    assert_eq!(keys(&home.json(&["stats", "--by", "source", "--under", "/home/dev/other"])), [("cli", 1)]);
    let limited = home.json(&["stats", "--ascending", "--limit", "1"]);
    assert_eq!(keys(&limited), [("2026-11-21", 2), ("2026-11-22", 1)], "for scripts it is complete");
    let models = home.json(&["stats", "--by", "model"]);
    assert_eq!((&models["groups"][0]["key"], &models["groups"][0]["threads"]), (&Value::Null, &3.into()));
    let none = home.json(&["stats", "--cwd", "/nowhere"]);
    assert_eq!((&none["groups"], &none["total"]["threads"]), (&json!([]), &0.into()));
}

#[test]
fn days_are_in_the_time_zone_of_the_reader() {
    let home = home();
    let mut stats = home.command(&["stats", "--json"]);
    stats.env("TZ", "Asia/Tokyo");
    let printed: Value = serde_json::from_str(&run(&mut stats).out).unwrap();
    assert_eq!(keys(&printed), [("2026-11-23", 1), ("2026-11-21", 2)]);
}

#[test]
fn a_table_counts_what_it_leaves_out() {
    let home = home();
    let table = home.ok(&["stats"]);
    let words: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["DAY", "THREADS", "TURNS", "TOKENS", "BYTES"]);
    assert_eq!(words[1][..4], ["2026-11-22", "1", "0", "1234"]);
    assert_eq!(words[2][..4], ["2026-11-21", "2", "2", "0"]);
    assert_eq!(words[3][..4], ["total", "3", "2", "1234"]);
    let short = home.run(&["stats", "--limit", "1"]);
    assert!(short.out.contains("(1 more)") && short.out.lines().last().unwrap().starts_with("total "), "{short:?}");
    assert!(short.err.contains("and 1 more with 2 threads, 2 turns"), "{short:?}");
    let none = home.run(&["stats", "--cwd", "/nowhere"]);
    assert!(none.code == 0 && none.out.is_empty() && none.err.contains("no such threads"), "{none:?}");
}

#[test]
fn bars_fit_the_terminal() {
    let home = home();
    let plot = |args: &[&str]| {
        let mut command = home.command(&[&["stats"], args].concat());
        run(command.env("COLUMNS", "40")).out
    };
    let chart = plot(&["--plot", "--by", "project"]);
    let full = "█".repeat(23);
    assert!(chart.starts_with("THREADS\n") && chart.contains(&format!(" {full}")), "{chart}");
    assert!(chart.lines().all(|line| line.chars().count() <= 40), "{chart}");
    let ascii = plot(&["--plot=tokens", "--ascii"]);
    assert_eq!(ascii, format!("TOKENS\n2026-11-22 {} 1234\n2026-11-21 0\n", "#".repeat(24)));
    assert!(ascii.is_ascii());
}

#[test]
fn options_that_make_no_sense_are_usage_errors() {
    let home = home();
    for args in [&["stats", "--by", "colour"][..], &["stats", "--plot=colour"], &["stats", "--cursor", "t1.ud.1.2"]] {
        assert_eq!(home.run(args).code, 2, "{args:?}");
    }
    assert!(!home.ok(&["stats", "--help"]).contains("--cursor"));
}
