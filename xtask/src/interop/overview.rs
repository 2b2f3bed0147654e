//! One table of all versions: each row is a version, each column a kind of check. It is made from the tables of the versions, including those of earlier runs.

use std::fmt;

use super::markdown::aligned;

/// A kind of checks: its heading, and a function that says which rows of which tables count.
type CheckKind = (&'static str, fn(&str, &str) -> bool);

const KINDS: [CheckKind; 11] = [
    ("recordings", |table, _| table == "recordings"),
    ("legacy", |table, subject| is_written(table, subject, "legacy") && is_plain(subject)),
    ("legacy, forked", |table, subject| is_written(table, subject, "legacy") && is_forked(subject)),
    ("legacy, rewound", |table, subject| is_written(table, subject, "legacy") && is_rewound(subject)),
    ("paginated", |table, subject| is_written(table, subject, "paginated") && is_plain(subject)),
    ("paginated, forked", |table, subject| is_written(table, subject, "paginated") && is_forked(subject)),
    ("paginated, rewound", |table, subject| is_written(table, subject, "paginated") && is_rewound(subject)),
    ("source deleted", |table, _| table == "detached forks"),
    ("known to Codex", |table, _| table == "changes of known threads"),
    ("one writer", |table, _| table == "one writer"),
    ("other", |table, _| ["in a home that Codex knows", "written by Codex", "unknown lines"].contains(&table)),
];

fn is_written(table: &str, subject: &str, mode: &str) -> bool {
    table == "written by Selvedge" && subject.starts_with(mode)
}

fn is_rewound(subject: &str) -> bool {
    subject.contains("rewound")
}

fn is_forked(subject: &str) -> bool {
    subject.contains("fork") && !is_rewound(subject)
}

fn is_plain(subject: &str) -> bool {
    !is_forked(subject) && !is_rewound(subject)
}

/// The results of the checks of one kind.
#[derive(Default)]
struct CheckTotals {
    passed: usize,
    known: usize,
    failed: usize,
    refused: usize,
}

impl CheckTotals {
    fn add(&mut self, check: &str, result: &str) {
        match result {
            "–" => {}
            "pass" if check == "refused" => self.refused += 1,
            "pass" => self.passed += 1,
            result if result.starts_with("known") => self.known += 1,
            _ => self.failed += 1,
        }
    }
}

impl fmt::Display for CheckTotals {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words =
            [(self.failed, "**FAIL**"), (self.passed, "pass"), (self.known, "known"), (self.refused, "refused")];
        let said: Vec<String> =
            words.iter().filter(|(times, _)| *times > 0).map(|(times, word)| format!("{times} {word}")).collect();
        out.write_str(if said.is_empty() { "–" } else { "" })?;
        out.write_str(&said.join(", "))
    }
}

/// Returns the table, made from each version with its own tables.
pub(super) fn overview<'a>(versions: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut table = vec![vec!["Codex".to_owned()]];
    table[0].extend(KINDS.iter().map(|(head, _)| (*head).to_owned()));
    for (version, page) in versions {
        let mut row = vec![version.to_owned()];
        row.extend(KINDS.iter().map(|(_, counts)| tally(page, *counts).to_string()));
        table.push(row);
    }
    aligned(&table)
}

fn tally(page: &str, counts: fn(&str, &str) -> bool) -> CheckTotals {
    let mut tally = CheckTotals::default();
    let mut head: Option<Vec<&str>> = None;
    for line in page.lines() {
        let Some(cells) = cells(line) else {
            head = None;
            continue;
        };
        if cells.iter().all(|cell| cell.trim_matches('-').is_empty()) {
            continue;
        }
        let Some(checks) = &head else {
            head = Some(cells);
            continue;
        };
        if counts(checks[0], cells[0]) {
            checks.iter().zip(&cells).skip(1).for_each(|(check, result)| tally.add(check, result));
        }
    }
    tally
}

/// Returns the cells of a row of a table.
fn cells(line: &str) -> Option<Vec<&str>> {
    Some(line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_counted_by_kind() {
        let page = "\
| written by Selvedge | opens | refused |
| ------------------- | ----- | ------- |
| legacy              | pass  | –       |
| legacy, forked      | known (1) | –   |
| legacy, fork, rewound | **FAIL** | –  |
| paginated           | –     | pass    |

| one writer | first | second |
| ---------- | ----- | ------ |
| legacy     | pass  | pass   |
";
        let table = overview([("0.1.0", page)].into_iter());
        let row: Vec<&str> = cells(table.lines().nth(2).unwrap()).unwrap();
        assert_eq!(
            row,
            ["0.1.0", "–", "1 pass", "1 known", "1 **FAIL**", "1 refused", "–", "–", "–", "–", "2 pass", "–"]
        );
    }
}
