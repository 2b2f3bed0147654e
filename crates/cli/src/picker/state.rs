//! The state of the picker: the threads, the typed text, and the selection. It does not know about the terminal.

use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};
use selvedge_protocol::StoredThread;

use crate::render::text::{keep_start, single_line};

/// How many columns of its preview a row contains.
const MAX_PREVIEW_WIDTH: usize = 100;

/// The text of a thread's row, which is shown and searched.
#[derive(Debug)]
struct RowText(Vec<char>);

impl RowText {
    /// Joins name, preview, directory and branch, as far as they are known.
    fn new(thread: &StoredThread) -> Self {
        let mut parts: Vec<String> = Vec::new();
        parts.extend(thread.archived.then(|| "[archived]".to_owned()));
        parts.extend(thread.name.as_deref().map(single_line));
        parts.extend(thread.preview.as_deref().map(|preview| keep_start(&single_line(preview), MAX_PREVIEW_WIDTH)));
        parts.extend(thread.cwd.as_deref().map(single_line));
        parts.extend(thread.git.as_ref().and_then(|git| git.branch.as_deref()).map(single_line));
        parts.retain(|part| !part.is_empty());
        Self(parts.join("  ").chars().collect())
    }
}

/// A change of the typed text or of the selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PickerAction {
    /// Move the selection down by this many rows; up if negative.
    Move(isize),
    /// Select the first row.
    First,
    /// Select the last row.
    Last,
    /// Type a character.
    Type(char),
    /// Erase the last character.
    Erase,
    /// Erase the last word.
    EraseWord,
    /// Erase everything that was typed.
    Clear,
}

/// The threads, the typed text, and the selection.
#[derive(Debug)]
pub(crate) struct PickerState {
    rows: Vec<RowText>,
    typed: String,
    /// Indexes of the rows that match the typed text, best match first. In their original order while nothing is typed.
    matches: Vec<usize>,
    /// Index into `matches` of the selected row.
    selected: usize,
    /// Index into `matches` of the first row on the screen.
    first_visible: usize,
    pattern: Pattern,
    matcher: Matcher,
}

impl PickerState {
    /// Creates the state for these threads, as if `typed` had been typed.
    pub(crate) fn new(threads: &[StoredThread], typed: &str) -> Self {
        let mut state = Self {
            rows: threads.iter().map(RowText::new).collect(),
            typed: String::new(),
            matches: Vec::new(),
            selected: 0,
            first_visible: 0,
            pattern: Pattern::default(),
            matcher: Matcher::new(Config::DEFAULT),
        };
        typed.chars().for_each(|letter| state.push(letter));
        state.find_matches();
        state
    }

    /// Returns the typed text.
    pub(crate) fn typed(&self) -> &str {
        &self.typed
    }

    /// Returns the number of all rows.
    pub(crate) fn row_count(&self) -> usize {
        self.rows.len()
    }

    /// Returns the number of rows that match.
    pub(crate) fn match_count(&self) -> usize {
        self.matches.len()
    }

    /// Returns the index of the selected thread, or `None` if no row matches.
    pub(crate) fn selected(&self) -> Option<usize> {
        self.matches.get(self.selected).copied()
    }

    /// Applies an action. A change of the text selects the best match.
    pub(crate) fn apply(&mut self, action: PickerAction) {
        let last = self.matches.len().saturating_sub(1);
        match action {
            PickerAction::Move(rows) => self.selected = self.selected.saturating_add_signed(rows).min(last),
            PickerAction::First => self.selected = 0,
            PickerAction::Last => self.selected = last,
            PickerAction::Type(letter) => self.push(letter),
            PickerAction::Erase => _ = self.typed.pop(),
            PickerAction::EraseWord => {
                let word = self.typed.trim_end().rfind(char::is_whitespace).map_or(0, |blank| blank + 1);
                self.typed.truncate(word);
            }
            PickerAction::Clear => self.typed.clear(),
        }
        if !matches!(action, PickerAction::Move(_) | PickerAction::First | PickerAction::Last) {
            self.find_matches();
        }
    }

    // Control characters can come from a paste, or from `--query`. They would go to the terminal with the prompt.
    fn push(&mut self, letter: char) {
        if !letter.is_control() {
            self.typed.push(letter);
        }
    }

    // Every change of the text scores all rows again. Filtering only the previous matches would be wrong after an erased
    // character, and after a `!` too, with which a longer text matches more rows.
    fn find_matches(&mut self) {
        self.pattern = Pattern::parse(&self.typed, CaseMatching::Smart, Normalization::Smart);
        let (pattern, matcher) = (&self.pattern, &mut self.matcher);
        let rows = self.rows.iter().enumerate();
        let mut scored: Vec<(u32, usize)> =
            rows.filter_map(|(index, row)| Some((pattern.score(Utf32Str::Unicode(&row.0), matcher)?, index))).collect();
        // The sort is stable: rows with the same score keep their order.
        scored.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
        self.matches = scored.into_iter().map(|(_, index)| index).collect();
        (self.selected, self.first_visible) = (0, 0);
    }

    /// Returns the rows that fit into `height` lines. The selected row is always among them.
    pub(crate) fn visible_rows(&mut self, height: usize) -> Vec<VisibleRow<'_>> {
        // The list scrolls only as far as the selection demands: up if it is above the screen, down if it is below.
        let lowest = (self.selected + 1).saturating_sub(height);
        let first_visible = self.first_visible.min(self.selected).max(lowest);
        // If the terminal grew, more rows from above fill the room below the last row.
        self.first_visible = first_visible.min(self.matches.len().saturating_sub(height));
        let (pattern, matcher) = (&self.pattern, &mut self.matcher);
        let visible = self.matches.iter().enumerate().skip(self.first_visible).take(height);
        visible
            .map(|(position, index)| {
                let text = &self.rows[*index].0;
                let mut highlights = Vec::new();
                pattern.indices(Utf32Str::Unicode(text), matcher, &mut highlights);
                // Several words of the pattern may match the same characters.
                highlights.sort_unstable();
                highlights.dedup();
                VisibleRow { thread: *index, text, highlights, is_selected: position == self.selected }
            })
            .collect()
    }
}

/// A row on the screen.
#[derive(Debug)]
pub(crate) struct VisibleRow<'a> {
    /// Index of the thread.
    pub(crate) thread: usize,
    /// Text of the row.
    pub(crate) text: &'a [char],
    /// Indexes of the characters that match, ascending.
    pub(crate) highlights: Vec<u32>,
    /// Whether the row is the selected one.
    pub(crate) is_selected: bool,
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

    fn state(typed: &str) -> PickerState {
        let threads =
            [thread(1, "Zebras", "/srv/a"), thread(2, "Yaks of Größe", "/srv/b"), thread(3, "Gnus, zoo", "/srv/c")];
        PickerState::new(&threads, typed)
    }

    fn matches(typed: &str) -> Vec<usize> {
        state(typed).matches
    }

    #[test]
    fn the_typed_text_is_searched_in_name_preview_directory_and_branch() {
        assert_eq!(matches(""), [0, 1, 2], "in the original order");
        assert_eq!(matches("zbra"), [0]);
        assert_eq!(matches("ZBRA"), [] as [usize; 0], "a capital letter makes the search case-sensitive");
        assert_eq!(matches("grösse"), [] as [usize; 0]);
        assert_eq!(matches("größe"), [1]);
        assert_eq!(matches("yaks grö"), [1]);
        assert_eq!(matches("yaks gro"), [1], "accents may be left out");
        assert_eq!(matches("srv/c")[0], 2, "the other rows have the letters too, but further apart");
        assert_eq!(matches("'srv/c"), [2]);
        assert_eq!(matches("topic yaks"), [1], "words may come in any order");
        assert_eq!(matches("about"), [0, 1, 2]);
        assert_eq!(matches("nowhere"), [] as [usize; 0]);
    }

    #[test]
    fn actions_move_the_selection_and_change_the_text() {
        let mut state = state("");
        let mut after = |action| {
            state.apply(action);
            (state.typed.clone(), state.selected())
        };
        let expected = |typed: &str, selected| (typed.to_owned(), selected);
        assert_eq!(after(PickerAction::Move(-1)), expected("", Some(0)));
        assert_eq!(after(PickerAction::Move(2)), expected("", Some(2)));
        assert_eq!(after(PickerAction::Move(2)), expected("", Some(2)));
        assert_eq!(after(PickerAction::First), expected("", Some(0)));
        assert_eq!(after(PickerAction::Last), expected("", Some(2)));
        assert_eq!(after(PickerAction::Type('y')), expected("y", Some(1)), "a new text selects the best match");
        assert_eq!(after(PickerAction::Type('\u{1b}')), expected("y", Some(1)));
        assert_eq!(after(PickerAction::Type(' ')), expected("y ", Some(1)));
        assert_eq!(after(PickerAction::Type('ß')), expected("y ß", Some(1)));
        assert_eq!(after(PickerAction::EraseWord).0, "y ");
        assert_eq!(after(PickerAction::EraseWord).0, "");
        assert_eq!(after(PickerAction::Type('q')), expected("q", None));
        assert_eq!(after(PickerAction::Move(1)), expected("q", None));
        assert_eq!(after(PickerAction::Erase), expected("", Some(0)));
        assert_eq!(after(PickerAction::Erase), expected("", Some(0)));
    }

    #[test]
    fn the_selected_row_is_always_visible() {
        let threads: Vec<_> = (0..20).map(|n| thread(n, &format!("thread {n}"), "/")).collect();
        let mut state = PickerState::new(&threads, "");
        let actions = [
            PickerAction::Move(7),
            PickerAction::Move(-3),
            PickerAction::Last,
            PickerAction::Move(-4),
            PickerAction::First,
            PickerAction::Move(12),
        ];
        for (height, action) in [5, 5, 5, 1, 9, 30].into_iter().zip(actions) {
            state.apply(action);
            let selected = state.selected();
            let visible = state.visible_rows(height);
            assert_eq!(visible.len(), height.min(20));
            assert_eq!(visible.iter().find(|row| row.is_selected).map(|row| row.thread), selected);
        }
        assert!(state.visible_rows(0).is_empty());
    }

    #[test]
    fn matches_are_highlighted_and_rows_are_sanitized() {
        let mut state = state("größe");
        let visible = state.visible_rows(3);
        let highlighted: String = visible[0].highlights.iter().map(|index| visible[0].text[*index as usize]).collect();
        assert_eq!(highlighted, "Größe");
        assert!(!visible[0].text.iter().any(|letter| letter.is_control()));
    }
}
