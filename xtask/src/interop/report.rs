//! The results: a table for the terminal, and the same in `docs/interop.md`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

use super::markdown::aligned;
use super::overview::overview;

/// The result of one check: it passed, it showed a known fault of Codex (with the text of its footnote), or it failed.
pub(super) type CheckOutcome = Result<Option<&'static str>>;

const BEGIN: &str = "<!-- results: written by `cargo xtask interop` -->";
const END: &str = "<!-- end of results -->";

/// Beginning of the heading of a version.
const HEADING: &str = "### Codex ";

/// A table of checks of one kind: each row is a subject, each column a check.
#[derive(Default)]
pub(super) struct Section {
    title: &'static str,
    rows: Vec<CheckRow>,
}

struct CheckRow {
    subject: String,
    check: &'static str,
    verdict: CheckOutcome,
}

impl Section {
    pub(super) fn titled(self, title: &'static str) -> Self {
        Self { title, ..self }
    }

    pub(super) fn record(&mut self, subject: &str, check: &'static str, verdict: CheckOutcome) {
        if let Err(error) = &verdict {
            eprintln!("interop: FAILED {subject}, {check}: {error:#}");
        }
        self.rows.push(CheckRow { subject: subject.to_owned(), check, verdict });
    }

    fn markdown(&self, notes: &mut Vec<&'static str>) -> String {
        let subjects = in_order(self.rows.iter().map(|row| row.subject.as_str()));
        let checks = in_order(self.rows.iter().map(|row| row.check));
        let mut table = vec![[&[self.title], checks.as_slice()].concat().into_iter().map(str::to_owned).collect()];
        for subject in subjects {
            let mut cells = vec![subject.to_owned()];
            cells.extend(checks.iter().map(|check| self.cell(subject, check, notes)));
            table.push(cells);
        }
        aligned(&table)
    }

    fn cell(&self, subject: &str, check: &str, notes: &mut Vec<&'static str>) -> String {
        let Some(row) = self.rows.iter().find(|row| row.subject == subject && row.check == check) else {
            return "–".to_owned();
        };
        match &row.verdict {
            Ok(None) => "pass".to_owned(),
            Ok(Some(note)) => format!("known ({})", number_of(note, notes)),
            Err(_) => "**FAIL**".to_owned(),
        }
    }
}

/// Returns the number of a footnote, which is its position in the list, and adds it if it is new.
fn number_of(note: &'static str, notes: &mut Vec<&'static str>) -> usize {
    let at = notes.iter().position(|known| *known == note).unwrap_or_else(|| {
        notes.push(note);
        notes.len() - 1
    });
    at + 1
}

fn in_order<'a>(words: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for word in words {
        if !seen.contains(&word) {
            seen.push(word);
        }
    }
    seen
}

/// All results of a run against one version.
pub(super) struct InteropReport {
    version: String,
    sections: Vec<Section>,
}

impl InteropReport {
    pub(super) fn new(version: &str, sections: Vec<Section>) -> Self {
        Self { version: version.to_owned(), sections }
    }

    pub(super) fn failures(&self) -> usize {
        self.sections.iter().flat_map(|section| &section.rows).filter(|row| row.verdict.is_err()).count()
    }

    /// Returns the tables and the footnotes, for a terminal and for a page.
    pub(super) fn table(&self) -> String {
        let mut notes = Vec::new();
        let mut parts = vec![format!("{HEADING}{}", self.version)];
        parts.extend(self.sections.iter().map(|section| section.markdown(&mut notes)));
        let notes: Vec<String> = (1..).zip(&notes).map(|(number, note)| format!("{number}. {note}")).collect();
        if !notes.is_empty() {
            parts.push(notes.join("\n"));
        }
        parts.join("\n\n")
    }

    /// Replaces the results of this version in a page; those of other versions remain.
    pub(super) fn write_into(&self, page: &Path) -> Result<()> {
        let text = std::fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
        let updated = self.updated(&text).with_context(|| format!("{} has no markers for results", page.display()))?;
        std::fs::write(page, updated).with_context(|| format!("cannot write {}", page.display()))
    }

    fn updated(&self, page: &str) -> Option<String> {
        let (before, rest) = page.split_once(BEGIN)?;
        let (results, after) = rest.split_once(END)?;
        let mut versions: BTreeMap<Vec<u64>, (String, String)> = BTreeMap::new();
        for part in results.split(HEADING).skip(1) {
            let version = part.lines().next().unwrap_or_default();
            let part = format!("{HEADING}{}", part.trim_end());
            versions.insert(sortable(version), (version.to_owned(), part));
        }
        versions.insert(sortable(&self.version), (self.version.clone(), self.table()));
        let parts = || versions.values().rev().map(|(version, part)| (version.as_str(), part.as_str()));
        let results: Vec<&str> = parts().map(|(_, part)| part).collect();
        let results = format!("{}\n\n{}", overview(parts()), results.join("\n\n"));
        Some(format!("{before}{BEGIN}\n\n{results}\n\n{END}{after}"))
    }
}

/// Returns the numbers of a version like `0.169.0`.
fn sortable(version: &str) -> Vec<u64> {
    version.split(|sign: char| !sign.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    fn report(version: &str) -> InteropReport {
        let mut section = Section::default();
        section.record("one", "opens", Ok(None));
        section.record("two", "opens", Ok(Some("a known fault")));
        section.record("two", "goes on", Err(anyhow!("no")));
        InteropReport::new(version, vec![section.titled("threads")])
    }

    #[test]
    fn subjects_go_down_and_checks_across() {
        let table = report("1.2.3").table();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[2], "| threads | opens     | goes on  |");
        assert_eq!(lines[4], "| one     | pass      | –        |");
        assert_eq!(lines[5], "| two     | known (1) | **FAIL** |");
        assert_eq!(lines[7], "1. a known fault");
        assert_eq!(report("1.2.3").failures(), 1);
    }

    #[test]
    fn other_versions_keep_their_results() {
        let page = format!("prose\n{BEGIN}\n{END}\nmore prose\n");
        let once = report("0.9.0").updated(&page).unwrap();
        let twice = report("0.10.0").updated(&once).unwrap();
        assert_eq!(report("0.10.0").updated(&twice).unwrap(), twice);
        let newest = twice.find("### Codex 0.10.0").unwrap();
        assert!(newest < twice.find("### Codex 0.9.0").unwrap(), "newest first: {twice}");
        assert!(twice.find("| 0.9.0").is_some_and(|row| row < newest), "the table of all versions is first: {twice}");
        assert!(twice.starts_with("prose\n") && twice.ends_with("\nmore prose\n"));
        assert!(report("1.0.0").updated("no markers").is_none());
    }
}
