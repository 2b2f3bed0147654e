//! Days and times on the command line, in several time zones.

use serde_json::Value;

use crate::support::{Home, RunResult, meta_line, run};

/// Central Europe: 2026-03-29 has 23 hours, and 2026-10-25 has 25. The rules are in the text, so that the tests need no
/// database of time zones.
const PARIS: &str = "CET-1CEST,M3.5.0,M10.5.0/3";
/// Clocks go forward at midnight, so that 2026-10-18 begins at 01:00.
const NO_MIDNIGHT: &str = "<-03>3<-02>,M10.3.0/0,M2.3.0/0";
/// Clocks go back at midnight, so that 2026-11-01 begins before its second hour from 00:00.
const TWO_MIDNIGHTS: &str = "CST5CDT,M3.2.0/0,M11.1.0/1";

/// Returns a home with a thread that was created at each of these times.
fn home_of(times: &[&str]) -> Home {
    let home = Home::empty();
    for (n, time) in times.iter().enumerate() {
        let id = format!("01a1fd5d-0000-7000-8000-{n:012x}");
        home.write(&id, meta_line(&id).replace("2026-11-21T09:00:00.000Z", time).as_bytes());
    }
    home
}

fn list(home: &Home, zone: &str, args: &[&str]) -> RunResult {
    let mut list = home.command(&[&["list", "--json", "--sort", "created", "--ascending"], args].concat());
    run(list.env("TZ", zone))
}

/// Returns the times of the threads that a list finds.
#[track_caller]
fn times(home: &Home, zone: &str, args: &[&str]) -> Vec<String> {
    let run = list(home, zone, args);
    let threads: Value = serde_json::from_str(&run.out).unwrap_or_else(|_| panic!("{args:?}: {}", run.err));
    threads.as_array().unwrap().iter().map(|thread| thread["created_at"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_day_is_a_day_of_the_reader_also_when_clocks_change() {
    for (zone, day, next, hours, begin, end) in [
        ("UTC", "2026-09-10", "2026-09-11", 24, "2026-09-10T00:00", "2026-09-11T00:00"),
        (PARIS, "2026-09-10", "2026-09-11", 24, "2026-09-09T22:00", "2026-09-10T22:00"),
        (PARIS, "2026-03-29", "2026-03-30", 23, "2026-03-28T23:00", "2026-03-29T22:00"),
        (PARIS, "2026-10-25", "2026-10-26", 25, "2026-10-24T22:00", "2026-10-25T23:00"),
        (NO_MIDNIGHT, "2026-10-18", "2026-10-19", 23, "2026-10-18T03:00", "2026-10-19T02:00"),
        (TWO_MIDNIGHTS, "2026-11-01", "2026-11-02", 25, "2026-11-01T04:00", "2026-11-02T05:00"),
        ("<+0545>-5:45", "2026-09-10", "2026-09-11", 24, "2026-09-09T18:15", "2026-09-10T18:15"),
        ("<+14>-14", "2026-01-01", "2026-01-02", 24, "2025-12-31T10:00", "2026-01-01T10:00"),
        ("HST10", "2025-12-31", "2026-01-01", 24, "2025-12-31T10:00", "2026-01-01T10:00"),
    ] {
        let at = |time: &str| format!("{time}:00.000Z").parse::<selvedge_protocol::Timestamp>().unwrap().as_millis();
        assert_eq!(at(end) - at(begin), hours * 3_600_000);
        let [before, first, last, after] = [at(begin) - 1, at(begin), at(end) - 1, at(end)]
            .map(|millis| selvedge_protocol::Timestamp::from_millis(millis).to_string());
        let home = home_of(&[&before, &first, &last, &after]);
        for index in [&[][..], &["--index", "off"]] {
            let found = |args: &[&str]| times(&home, zone, &[args, index].concat());
            assert_eq!(found(&["--since", day, "--until", next]), [&first[..], &last], "{zone} {day}");
            assert_eq!(found(&["--until", day]), [&before[..]], "{zone} {day}");
            assert_eq!(found(&["--since", next]), [&after[..]], "{zone} {day}");
        }
    }
}

#[test]
fn a_time_without_an_offset_is_local() {
    let home = home_of(&["2026-01-01T00:00:00.000Z"]);
    for (zone, text, time) in [
        ("UTC", "2026-09-10T20:00", "2026-09-10T20:00:00.000Z"),
        (PARIS, "2026-09-10T20:00", "2026-09-10T18:00:00.000Z"),
        (PARIS, "2026-09-10 20:00:30.25", "2026-09-10T18:00:30.250Z"),
        (PARIS, "2026-01-10T20:00", "2026-01-10T19:00:00.000Z"),
        // Skipped on this day, and there twice on that one.
        (PARIS, "2026-03-29T02:30", "2026-03-29T01:30:00.000Z"),
        (PARIS, "2026-10-25T02:30", "2026-10-25T00:30:00.000Z"),
        ("HST10", "2026-09-10T20:00", "2026-09-11T06:00:00.000Z"),
        // With an offset, the zone of the reader means nothing.
        (PARIS, "2026-09-10T20:00Z", "2026-09-10T20:00:00.000Z"),
        (PARIS, "2026-09-10T20:00:00+05:45", "2026-09-10T14:15:00.000Z"),
        (PARIS, "2026-09-10T20:00:00-10:00", "2026-09-11T06:00:00.000Z"),
    ] {
        let millis = time.parse::<selvedge_protocol::Timestamp>().unwrap().as_millis();
        let before = selvedge_protocol::Timestamp::from_millis(millis - 1).to_string();
        let home = home_of(&[&before, time]);
        assert_eq!(times(&home, zone, &["--since", text]), [time], "{zone} {text}");
        assert_eq!(times(&home, zone, &["--until", text]), [before], "{zone} {text}");
    }
    for text in [
        "2026-13-01",
        "2026-02-30",
        "2026-09-10T25:00",
        "2026-09-10T20:00+99:00",
        "yesterday",
        "",
        "9999-12-31T23:59:59Z",
    ] {
        let run = list(&home, PARIS, &["--since", text]);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{text}: {}", run.err);
        assert!(run.err.contains("a local day (2026-11-21)"), "{}", run.err);
    }
}

#[test]
fn the_help_says_what_is_local_and_json_stays_in_utc() {
    let home = home_of(&["2026-09-10T22:30:00.000Z"]);
    for verb in ["list", "search", "pick", "stats"] {
        let help: Vec<String> = home.ok(&[verb, "--help"]).split_whitespace().map(str::to_owned).collect();
        let help = help.join(" ");
        assert!(help.contains("a day (2026-11-21) or a time (2026-11-21T09:00), both local"), "{verb}: {help}");
    }
    assert_eq!(times(&home, PARIS, &["--since", "2026-09-11"]), ["2026-09-10T22:30:00.000Z"]);
}
