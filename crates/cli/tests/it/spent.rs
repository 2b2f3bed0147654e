//! `selvedge stats` says what was spent: sums of every bundled home, counted by hand.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{Home, copy, run, samples};

/// What was spent in a home, or in a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spent {
    turns: u64,
    input: u64,
    cached: u64,
    output: u64,
    reasoning: u64,
    total: u64,
}

impl Spent {
    fn of(counts: &Value) -> Self {
        let number = |name: &str| counts[name].as_u64().unwrap();
        Self {
            turns: number("turns"),
            input: number("input_tokens"),
            cached: number("cached_input_tokens"),
            output: number("output_tokens"),
            reasoning: number("reasoning_output_tokens"),
            total: number("total_tokens"),
        }
    }
}

const fn spent(turns: u64, [input, cached, output, reasoning, total]: [u64; 5]) -> Spent {
    Spent { turns, input, cached, output, reasoning, total }
}

/// Returns a home from `tests/cases`.
fn case(name: &str) -> Home {
    let home = Home::empty();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(name).join("home"), &home.path());
    home
}

/// Returns the statistics of all threads, by day in a time zone. They have to be the same without an index, with one that is
/// built for the answer, and with one that is there.
fn stats_in(home: &Home, zone: &str, args: &[&str]) -> Value {
    let mut answers = [&["--index", "off"][..], &[], &[]].map(|index| {
        let mut command = home.command(&[index, &["stats", "--all", "--json"], args].concat());
        let answer: Value = serde_json::from_str(&run(command.env("TZ", zone)).out).unwrap();
        answer
    });
    assert_eq!(answers[0], answers[1], "{args:?}");
    assert_eq!(answers[1], answers[2], "{args:?}");
    answers[0].take()
}

fn total(home: &Home) -> Spent {
    Spent::of(&stats_in(home, "UTC", &[])["total"])
}

/// Returns the groups: key, threads, turns and tokens.
fn groups(stats: &Value) -> Vec<(&str, u64, u64, u64)> {
    let groups = stats["groups"].as_array().unwrap().iter();
    let number = |group: &Value, name: &str| group[name].as_u64().unwrap();
    let group = |group| (number(group, "threads"), number(group, "turns"), number(group, "total_tokens"));
    let groups = groups.map(|found| {
        let (threads, turns, tokens) = group(found);
        (found["key"].as_str().unwrap_or("none"), threads, turns, tokens)
    });
    groups.collect()
}

/// Ranges of tokens that responses read, from the first to the last one.
type Responses = &'static [(u64, u64)];

/// The recordings: their turns, and the responses that the model gave in them. The stand-in for the model numbers its responses.
/// Each reads 1,000 tokens and its number (or 250,000 and its number, where the story fills the window), 10 of them from a cache,
/// and writes 20, 5 of them reasoning. So what was spent is the sum over the responses, however often their counts are repeated,
/// copied to a fork, inherited or undone. Responses that were never counted are missing: those of a killed program, and in old
/// versions some of compactions.
const RECORDINGS: &[(&str, u64, Responses)] = &[
    ("basic-0.20.0", 1, &[]),
    ("basic-0.36.0", 2, &[(1027, 1029)]),
    ("basic-0.58.0", 2, &[(1030, 1032)]),
    ("basic-0.118.0", 2, &[(1036, 1038)]),
    ("story-0.36.0-exec", 11, &[(1001, 1004), (250_005, 250_005), (250_008, 250_008), (1011, 1013), (1015, 1017)]),
    (
        "story-0.58.0-exec",
        10,
        &[
            (1001, 1004),
            (250_005, 250_005),
            (1006, 1007),
            (250_008, 250_008),
            (1009, 1010),
            (250_011, 250_011),
            (1012, 1013),
            (250_014, 250_014),
            (1015, 1019),
            (1021, 1022),
        ],
    ),
    ("story-0.98.0-compactions", 6, LONG),
    ("story-0.98.0-rows", 8, &[(1001, 1009)]),
    ("story-0.137.0-tools", 6, &[(1001, 1010)]),
    ("story-0.137.0-undo", 18, &[(1001, 1018)]),
    ("story-0.141.0-budget", 4, &[(1001, 1004)]),
    ("story-0.142.2-budget", 4, &[(1001, 1004)]),
    ("story-0.144.6", 18, &[(1026, 1041), (1043, 1045)]),
    ("story-0.144.6-compactions", 9, LONG),
    ("story-0.144.6-crash", 7, CRASH),
    ("story-0.144.6-rows", 9, &[(1001, 1010)]),
    ("story-0.144.6-shell", 9, &[(1001, 1005)]),
    ("story-0.144.6-tools", 6, &[(1001, 1010)]),
    ("story-0.144.6-undo", 18, &[(1001, 1018)]),
    ("story-0.150.1-undo", 18, &[(1001, 1018)]),
    ("story-0.150.1-undo-legacy", 18, &[(1001, 1018)]),
    ("story-0.155.1-budget", 4, &[(1001, 1003)]),
    ("story-0.155.1-crash", 7, CRASH),
    ("story-0.155.1-undo", 18, &[(1001, 1018)]),
    ("story-0.169.0", 18, &[(1001, 1016), (1018, 1020)]),
    ("story-0.169.0-budget", 4, &[(1001, 1003)]),
    ("story-0.169.0-compactions", 9, LONG),
    ("story-0.169.0-crash", 7, CRASH),
    ("story-0.169.0-rows", 9, &[(1001, 1010)]),
    ("story-0.169.0-tools", 6, &[(1001, 1010)]),
    ("story-0.169.0-undo", 18, &[(1001, 1018)]),
    ("story-0.171.0-budget", 4, &[(1001, 1003)]),
    ("story-0.171.0-compactions", 9, LONG),
    ("story-0.171.0-crash", 7, CRASH),
    // A sub-agent has two turns of its own, and copies of two turns of its parent. A message that the client put between turns is a
    // turn as well.
    ("story-0.171.0-kinds", 18, &[(1001, 1021)]),
    ("story-0.171.0-rows", 9, &[(1001, 1010)]),
    ("story-0.171.0-shell", 9, &[(1001, 1005)]),
    ("story-0.171.0-tools", 6, &[(1001, 1010)]),
    ("story-0.171.0-undo", 18, &[(1001, 1018)]),
];

/// Two responses fill the window, and the compactions after them were not counted (1008 and 1011 are those responses).
const LONG: Responses = &[(1001, 1007), (250_008, 250_008), (1009, 1010), (250_011, 250_011), (1012, 1014)];

/// The program was killed while it waited for responses 2 and 6.
const CRASH: Responses = &[(1001, 1001), (1003, 1005), (1007, 1007)];

/// Homes whose counts need more than a list of responses. Each has a test.
const OTHER_RECORDINGS: [&str; 1] = ["story-0.171.0-migrated"];

#[test]
fn every_recorded_response_is_counted_once() {
    for entry in fs::read_dir(samples()).unwrap().map(|entry| entry.unwrap()) {
        let name = entry.file_name().into_string().unwrap();
        let is_home = entry.path().join("home").is_dir() && !OTHER_RECORDINGS.contains(&name.as_str());
        assert!(!is_home || RECORDINGS.iter().any(|(known, ..)| *known == name), "{name} has to be counted by hand");
    }
    for (name, turns, responses) in RECORDINGS {
        let responses = || responses.iter().flat_map(|(first, last)| *first..=*last);
        let (count, input) = (responses().count() as u64, responses().sum::<u64>());
        let counted = spent(*turns, [input, 10 * count, 20 * count, 5 * count, input + 20 * count]);
        assert_eq!(total(&Home::sample(name)), counted, "{name}");
    }
}

#[test]
fn a_migrated_home_counts_what_its_files_still_say() {
    // `codex migrate-rollouts` leaves undone turns out, with their counts. Six threads come from `story-0.144.6-undo`:
    //
    // turns  input  what their lines say
    //     2   5015  total of the first thread. The turns in between, which cost 3009, are gone, but the total has them.
    //     1   3021  total of the second one, with 2013 of undone turns
    //     1   1009  fork of the first one: only its own response, the rest are copies
    //     3   3033  total of the source of the next one
    //     1   1014  fork that lost lines. The step of its total to 5060 also has responses 1011 and 1012 of its source, which
    //               are counted there, so only its last response counts. (Response 1013 was its own, and is lost.)
    //     1   1015  the thread whose last turns were undone. Their 3051 are gone.
    //     5   5015  the seventh thread, which was recorded before it was migrated: responses 1001 to 1005
    //
    // Cached, output and reasoning tokens go with the responses: 5 + 3 + 1 + 3 + 1 + 1 + 5 = 19 of them.
    let input = 5015 + 3021 + 1009 + 3033 + 1014 + 1015 + 5015;
    let counted = spent(14, [input, 190, 380, 95, input + 380]);
    assert_eq!(total(&Home::sample("story-0.171.0-migrated")), counted);
}

#[test]
fn a_copied_fork_counts_only_what_it_spent_itself() {
    let home = case("copied-fork");
    // The source has two turns: 1,000 and 1,500 tokens. The fork repeats both with the time of the fork, and has one more: its
    // counter goes from 2,500 to 3,400.
    assert_eq!(total(&home), spent(3, [2200 + 800, 500 + 400, 300 + 100, 0, 2500 + 900]));
    assert_eq!(groups(&stats_in(&home, "UTC", &[])), [("2026-09-11", 1, 1, 900), ("2026-09-10", 1, 2, 2500)]);
    // It is the same without the source.
    fs::remove_dir_all(home.path().join("sessions/2026/09/10")).unwrap();
    assert_eq!(total(&home), spent(1, [800, 400, 100, 0, 900]));
}

#[test]
fn counters_are_read_as_what_they_mean() {
    let home = case("counters");
    let max = u64::MAX;
    for (directory, counted) in [
        // The count of 1,200 is repeated twice, and an event without a count follows.
        ("/srv/a/dup", spent(1, [1000, 250, 200, 0, 1200])),
        // 5,000, and 300 after the counter began again from 0.
        ("/srv/a/restart", spent(2, [4750, 0, 550, 0, 5300])),
        // The window overflowed: the total was set from 4,050,000 to 258,400, and nothing was spent with that.
        ("/srv/a/full", spent(1, [4_000_000, 3_500_000, 50_000, 9000, 4_050_000])),
        // The same, and then 20,500: from 258,400 to 278,900.
        ("/srv/a/full2", spent(2, [4_020_000, 3_500_000, 50_500, 9000, 4_070_500])),
        // Only the last response is given: 770 and 880.
        ("/srv/a/lastonly", spent(2, [1500, 0, 150, 0, 1650])),
        // The total is input and output.
        ("/srv/a/nototal", spent(1, [100, 0, 20, 0, 120])),
        // A total of 550, and a record that repeats it.
        ("/srv/a/record", spent(1, [500, 0, 50, 0, 550])),
        // A number that is no whole number from 0 to 2^64-1 counts as 0, and the total is then input and output. The numbers are:
        // 2^53+1, 2^64-1, 1e20, -5, "12", 3.7 and 123456789012345678901234567890.
        ("/srv/a/num0", spent(1, [(1 << 53) + 1, 0, 1, 0, (1 << 53) + 1])),
        ("/srv/a/num1", spent(1, [max, 0, 1, 0, max])),
        ("/srv/a/num2", spent(1, [0, 0, 1, 0, 1])),
        ("/srv/a/num3", spent(1, [0, 0, 1, 0, 1])),
        ("/srv/a/num4", spent(1, [0, 0, 1, 0, 1])),
        ("/srv/a/num5", spent(1, [0, 0, 1, 0, 1])),
        ("/srv/a/num6", spent(1, [0, 0, 1, 0, 1])),
    ] {
        let stats = stats_in(&home, "UTC", &["--cwd", directory]);
        assert_eq!(Spent::of(&stats["total"]), counted, "{directory}");
    }
    // The sums of the home end at 2^64-1.
    assert_eq!(total(&home), spent(17, [max, 7_000_250, 101_477, 18_000, max]));
}

#[test]
fn sub_agents_count_only_what_they_spent_themselves() {
    // The parent spent 11,000. Its sub-agent repeats that and spent 2,200: its counter goes on to 13,200. Three guardians, which
    // repeat nothing, spent 3,050 each. The other eleven threads have a turn each and no counts.
    let home = case("sub-agents");
    let input = 10_000 + 2000 + 3 * 3000;
    let counted = spent(16, [input, 5000 + 1000, 1000 + 200 + 3 * 50, 100, 11_000 + 2200 + 3 * 3050]);
    assert_eq!(total(&home), counted);
    let models = stats_in(&home, "UTC", &["--by", "model"]);
    assert_eq!(groups(&models)[..2], [("gpt-5.6", 12, 12, 13_200), ("codex-auto-review", 4, 4, 9150)]);
}

#[test]
fn a_day_counts_what_happened_on_it() {
    let home = case("days");
    // w5 spent 1,100 on 5 September at 12:00 UTC, and 9,900 on the 10th at 12:00. Each of the others spent 1,100: w2 on the 10th
    // at 20:00, w1 on the 11th at 06:30, w3 on 1 November at 09:00, w4 at 09:30.
    let day = |day, threads, turns, tokens| (day, threads, turns, tokens);
    let last = day("2026-11-01", 2, 2, 2200);
    let first = day("2026-09-05", 1, 1, 1100);
    let in_utc = [last, day("2026-09-11", 1, 1, 1100), day("2026-09-10", 2, 2, 11_000), first];
    assert_eq!(groups(&stats_in(&home, "UTC", &[])), in_utc);
    // 11 September at 06:30 is the evening before in Los Angeles. The hour that is there twice on 1 November makes no difference.
    let in_los_angeles = [last, day("2026-09-10", 3, 3, 12_100), first];
    assert_eq!(groups(&stats_in(&home, "America/Los_Angeles", &[])), in_los_angeles);
    // 10 September at 20:00 is the morning after in Tokyo.
    let in_tokyo = [last, day("2026-09-11", 2, 2, 2200), day("2026-09-10", 1, 1, 9900), first];
    assert_eq!(groups(&stats_in(&home, "Asia/Tokyo", &[])), in_tokyo);

    let all = stats_in(&home, "UTC", &[]);
    assert_eq!(
        (&all["total"]["threads"], Spent::of(&all["total"])),
        (&5.into(), spent(6, [14_000, 0, 1400, 0, 15_400]))
    );
    // Times select what happened, and not threads: on 10 September, w5 and w2.
    let on_the_10th = stats_in(&home, "UTC", &["--since", "2026-09-10T00:00:00Z", "--until", "2026-09-11T00:00:00Z"]);
    assert_eq!(groups(&on_the_10th), [day("2026-09-10", 2, 2, 11_000)]);
    assert_eq!(on_the_10th["total"]["threads"], 2);
}

#[test]
fn what_was_undone_was_paid() {
    // A paginated and a legacy thread, both with 1,100 tokens in the first turn. The second count is 5,500, and the second turn was
    // undone, by a new segment and by an event. (In the paginated thread the last response is 1,100 only: a count is missing.) The
    // third thread has five turns, four of them undone, and no counts.
    let home = case("undone");
    assert_eq!(total(&home), spent(2 + 2 + 5, [10_000, 0, 1000, 0, 11_000]));
}
