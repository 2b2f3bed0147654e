//! What is there to choose from, what was typed, and what of it is meant. Knows no terminal.

use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};
use selvedge_protocol::StoredThread;

use crate::render::text::{keep_start, one_line};

/// How many columns of its preview a thread shows besides its name.
const PREVIEW: usize = 100;

/// A thread as a line to choose, and to look for what was typed in.
#[derive(Debug)]
struct Row {
    text: Vec<char>,
}

impl Row {
    /// Name, what it is about, directory and branch, as far as they are known.
    fn of(thread: &StoredThread) -> Self {
        let mut parts: Vec<String> = Vec::new();
        parts.extend(thread.archived.then(|| "[archived]".to_owned()));
        parts.extend(thread.name.as_deref().map(one_line));
        parts.extend(thread.preview.as_deref().map(|preview| keep_start(&one_line(preview), PREVIEW)));
        parts.extend(thread.cwd.as_deref().map(one_line));
        parts.extend(thread.git.as_ref().and_then(|git| git.branch.as_deref()).map(one_line));
        parts.retain(|part| !part.is_empty());
        Self { text: parts.join("  ").chars().collect() }
    }
}

/// What can be done by a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Up or down by so many rows.
    Move(isize),
    /// To the first row.
    First,
    /// To the last row.
    Last,
    /// A character was typed.
    Type(char),
    /// The last character goes.
    Erase,
    /// The last word goes.
    EraseWord,
    /// All that was typed goes.
    Clear,
}

/// A choice under way.
#[derive(Debug)]
pub(crate) struct Choice {
    rows: Vec<Row>,
    typed: String,
    /// The rows in which what was typed is found, the best first; as they were given, while nothing is typed.
    found: Vec<usize>,
    /// Which of the found rows is chosen.
    selected: usize,
    /// Which of the found rows is the first that is seen.
    first_seen: usize,
    pattern: Pattern,
    matcher: Matcher,
}

impl Choice {
    /// A choice among these threads, as if `typed` had been typed.
    pub(crate) fn new(threads: &[StoredThread], typed: &str) -> Self {
        let mut choice = Self {
            rows: threads.iter().map(Row::of).collect(),
            typed: String::new(),
            found: Vec::new(),
            selected: 0,
            first_seen: 0,
            pattern: Pattern::default(),
            matcher: Matcher::new(Config::DEFAULT),
        };
        typed.chars().for_each(|letter| choice.put(letter));
        choice.find();
        choice
    }

    /// What was typed.
    pub(crate) fn typed(&self) -> &str {
        &self.typed
    }

    /// How many rows there are, found or not.
    pub(crate) fn total(&self) -> usize {
        self.rows.len()
    }

    /// How many rows are found.
    pub(crate) fn count(&self) -> usize {
        self.found.len()
    }

    /// The chosen one, as its number among the threads that were given. None when nothing is found.
    pub(crate) fn chosen(&self) -> Option<usize> {
        self.found.get(self.selected).copied()
    }

    /// Does what a key says.
    pub(crate) fn take(&mut self, step: Step) {
        let last = self.found.len().saturating_sub(1);
        match step {
            Step::Move(rows) => self.selected = self.selected.saturating_add_signed(rows).min(last),
            Step::First => self.selected = 0,
            Step::Last => self.selected = last,
            Step::Type(letter) => self.put(letter),
            Step::Erase => _ = self.typed.pop(),
            Step::EraseWord => {
                let word = self.typed.trim_end().rfind(char::is_whitespace).map_or(0, |blank| blank + 1);
                self.typed.truncate(word);
            }
            Step::Clear => self.typed.clear(),
        }
        if !matches!(step, Step::Move(_) | Step::First | Step::Last) {
            self.find();
        }
    }

    fn put(&mut self, letter: char) {
        if !letter.is_control() {
            self.typed.push(letter);
        }
    }

    fn find(&mut self) {
        self.pattern = Pattern::parse(&self.typed, CaseMatching::Smart, Normalization::Smart);
        let (pattern, matcher) = (&self.pattern, &mut self.matcher);
        let scored = self.rows.iter().enumerate();
        let mut scored: Vec<(u32, usize)> =
            scored.filter_map(|(at, row)| Some((pattern.score(Utf32Str::Unicode(&row.text), matcher)?, at))).collect();
        // The sort is stable: what fits as well stays as it was given.
        scored.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
        self.found = scored.into_iter().map(|(_, at)| at).collect();
        (self.selected, self.first_seen) = (0, 0);
    }

    /// The rows that are seen where `height` of them have room, with the chosen one among them.
    pub(crate) fn seen(&mut self, height: usize) -> Vec<Seen<'_>> {
        let lowest = (self.selected + 1).saturating_sub(height);
        let first_seen = self.first_seen.min(self.selected).max(lowest);
        // Where the terminal grew, no room is left below the last row.
        self.first_seen = first_seen.min(self.found.len().saturating_sub(height));
        let (pattern, matcher) = (&self.pattern, &mut self.matcher);
        let seen = self.found.iter().enumerate().skip(self.first_seen).take(height);
        seen.map(|(at, row)| {
            let text = &self.rows[*row].text;
            let mut marks = Vec::new();
            pattern.indices(Utf32Str::Unicode(text), matcher, &mut marks);
            marks.sort_unstable();
            marks.dedup();
            Seen { thread: *row, text, marks, is_chosen: at == self.selected }
        })
        .collect()
    }
}

/// A row on the screen.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    /// Its number among the threads that were given.
    pub(crate) thread: usize,
    /// What it says.
    pub(crate) text: &'a [char],
    /// Which of the characters were typed, ascending.
    pub(crate) marks: Vec<u32>,
    /// Whether it is the chosen one.
    pub(crate) is_chosen: bool,
}

#[cfg(test)]
mod tests {
    use selvedge_protocol::{GitInfo, ThreadId, Timestamp};

    use super::*;

    fn thread(n: i64, name: &str, cwd: &str) -> StoredThread {
        let id = ThreadId::new(Timestamp::from_seconds(n));
        let git = GitInfo { branch: Some("topic".into()), ..GitInfo::default() };
        StoredThread {
            name: Some(name.to_owned()),
            preview: Some("\u{1b}[31mabout\nit".to_owned()),
            cwd: Some(cwd.to_owned()),
            git: Some(git),
            ..StoredThread::new(id, Timestamp::default())
        }
    }

    fn choice(typed: &str) -> Choice {
        let threads =
            [thread(1, "Zebras", "/srv/a"), thread(2, "Yaks of Größe", "/srv/b"), thread(3, "Gnus, zoo", "/srv/c")];
        Choice::new(&threads, typed)
    }

    fn found(typed: &str) -> Vec<usize> {
        choice(typed).found
    }

    #[test]
    fn what_is_typed_is_looked_for_in_name_preview_directory_and_branch() {
        assert_eq!(found(""), [0, 1, 2], "as given");
        assert_eq!(found("zbra"), [0]);
        assert_eq!(found("ZBRA"), [] as [usize; 0], "with capitals, case counts");
        assert_eq!(found("grösse"), [] as [usize; 0]);
        assert_eq!(found("größe"), [1]);
        assert_eq!(found("yaks grö"), [1]);
        assert_eq!(found("yaks gro"), [1], "marks on letters may be left out");
        assert_eq!(found("srv/c")[0], 2, "others have the letters too, further apart");
        assert_eq!(found("'srv/c"), [2]);
        assert_eq!(found("topic yaks"), [1], "several words, each anywhere");
        assert_eq!(found("about"), [0, 1, 2]);
        assert_eq!(found("nowhere"), [] as [usize; 0]);
    }

    #[test]
    fn keys_move_and_type() {
        let mut choice = choice("");
        let mut after = |step| {
            choice.take(step);
            (choice.typed.clone(), choice.chosen())
        };
        let at = |typed: &str, chosen| (typed.to_owned(), chosen);
        assert_eq!(after(Step::Move(-1)), at("", Some(0)));
        assert_eq!(after(Step::Move(2)), at("", Some(2)));
        assert_eq!(after(Step::Move(2)), at("", Some(2)));
        assert_eq!(after(Step::First), at("", Some(0)));
        assert_eq!(after(Step::Last), at("", Some(2)));
        assert_eq!(after(Step::Type('y')), at("y", Some(1)), "the best is chosen anew");
        assert_eq!(after(Step::Type('\u{1b}')), at("y", Some(1)));
        assert_eq!(after(Step::Type(' ')), at("y ", Some(1)));
        assert_eq!(after(Step::Type('ß')), at("y ß", Some(1)));
        assert_eq!(after(Step::EraseWord).0, "y ");
        assert_eq!(after(Step::EraseWord).0, "");
        assert_eq!(after(Step::Type('q')), at("q", None));
        assert_eq!(after(Step::Move(1)), at("q", None));
        assert_eq!(after(Step::Erase), at("", Some(0)));
        assert_eq!(after(Step::Erase), at("", Some(0)));
    }

    #[test]
    fn the_chosen_row_is_always_seen() {
        let threads: Vec<_> = (0..20).map(|n| thread(n, &format!("thread {n}"), "/")).collect();
        let mut choice = Choice::new(&threads, "");
        let steps = [Step::Move(7), Step::Move(-3), Step::Last, Step::Move(-4), Step::First, Step::Move(12)];
        for (height, step) in [5, 5, 5, 1, 9, 30].into_iter().zip(steps) {
            choice.take(step);
            let chosen = choice.chosen();
            let seen = choice.seen(height);
            assert_eq!(seen.len(), height.min(20));
            assert_eq!(seen.iter().find(|row| row.is_chosen).map(|row| row.thread), chosen);
        }
        assert!(choice.seen(0).is_empty());
    }

    #[test]
    fn what_was_typed_is_marked_and_nothing_steers_a_terminal() {
        let mut choice = choice("größe");
        let seen = choice.seen(3);
        let marked: String = seen[0].marks.iter().map(|at| seen[0].text[*at as usize]).collect();
        assert_eq!(marked, "Größe");
        assert!(!seen[0].text.iter().any(|letter| letter.is_control()));
    }
}
