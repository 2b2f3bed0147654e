//! Tables that fit the terminal.

use std::ops::Range;

use super::style::Paint;
use super::text::{columns, keep_end, keep_start};

/// What stands between two columns.
const GAP: usize = 2;

/// Which end of a cell is worth keeping when it is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// The start, as of a sentence.
    Start,
    /// The end, as of a path.
    End,
}

/// What the cells of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Text.
    Plain,
    /// Ids.
    Id,
    /// Things to be looked up.
    Dim,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// What stands above it.
    pub(crate) title: &'static str,
    /// The fewest columns of the terminal that make sense for it.
    pub(crate) least: usize,
    /// The most that it takes.
    pub(crate) most: usize,
    /// Which end of its cells is kept.
    pub(crate) keep: Keep,
    /// How it looks.
    pub(crate) look: Look,
}

/// One cell, on one line and clean.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    /// Text.
    Text(String),
    /// Text with stretches that stand out.
    Marked(Marked),
}

/// Text with stretches that stand out, in bytes: ascending, and no two of them overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marked {
    text: String,
    marks: Vec<Range<usize>>,
}

impl Marked {
    /// Adds clean text on one line.
    pub(crate) fn push(&mut self, text: &str, is_marked: bool) {
        let start = self.text.len();
        self.text.push_str(text);
        if is_marked && !text.is_empty() {
            self.marks.push(start..self.text.len());
        }
    }
}

impl Cell {
    fn columns(&self) -> usize {
        match self {
            Self::Text(text) => columns(text),
            Self::Marked(marked) => columns(&marked.text),
        }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// The table as text, in `width` columns if that is given and possible.
pub(crate) fn render(spec: &[Column], rows: &[Vec<Cell>], width: Option<usize>, paint: Paint) -> String {
    let widths = fit(spec, natural(spec, rows, true), width);
    let titles: Vec<String> = spec.iter().zip(&widths).map(|(column, width)| pad(column.title, *width)).collect();
    let mut out = format!("{}\n", paint.heading(titles.join("  ").trim_end()));
    for row in rows {
        out.push_str(&line(spec, &widths, row, paint));
        out.push('\n');
    }
    out
}

/// The rows of a table without its titles, each as a line.
pub(crate) fn lines(spec: &[Column], rows: &[Vec<Cell>], width: Option<usize>, paint: Paint) -> Vec<String> {
    let widths = fit(spec, natural(spec, rows, false), width);
    rows.iter().map(|row| line(spec, &widths, row, paint)).collect()
}

fn line(spec: &[Column], widths: &[usize], row: &[Cell], paint: Paint) -> String {
    let mut line = String::new();
    for ((column, width), cell) in spec.iter().zip(widths).zip(row) {
        let (text, taken) = draw(cell, *column, *width, paint);
        line.push_str(&text);
        line.push_str(&" ".repeat(width - taken + GAP));
    }
    line.trim_end().to_owned()
}

fn natural(spec: &[Column], rows: &[Vec<Cell>], with_titles: bool) -> Vec<usize> {
    let widest = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(Cell::columns).max().unwrap_or(0);
    let title = |column: &Column| if with_titles { columns(column.title) } else { 0 };
    spec.iter()
        .enumerate()
        .map(|(at, column)| widest(at).clamp(title(column), column.most.max(title(column))))
        .collect()
}

/// Takes columns from the widest until the table fits, and whole columns from the right when that is not enough.
fn fit(spec: &[Column], mut widths: Vec<usize>, width: Option<usize>) -> Vec<usize> {
    let Some(width) = width else { return widths };
    while widths.len() > 2
        && total(spec.iter().zip(&widths).map(|(column, natural)| column.least.min(*natural))) > width
    {
        widths.pop();
    }
    while total(widths.iter().copied()) > width {
        let widest = (0..widths.len()).filter(|at| widths[*at] > spec[*at].least).max_by_key(|at| widths[*at]);
        let Some(widest) = widest else { break };
        widths[widest] -= 1;
    }
    widths
}

fn total(widths: impl Iterator<Item = usize>) -> usize {
    widths.map(|width| width + GAP).sum::<usize>().saturating_sub(GAP)
}

fn pad(text: &str, width: usize) -> String {
    let text = keep_start(text, width);
    let taken = columns(&text);
    format!("{text}{}", " ".repeat(width.saturating_sub(taken)))
}

/// The cell in `width` columns at most, and how many it takes.
fn draw(cell: &Cell, column: Column, width: usize, paint: Paint) -> (String, usize) {
    match cell {
        Cell::Text(text) => {
            let text = match column.keep {
                Keep::Start => keep_start(text, width),
                Keep::End => keep_end(text, width),
            };
            let taken = columns(&text);
            let text = match column.look {
                Look::Plain => text,
                Look::Id => paint.id(text),
                Look::Dim => paint.dim(text),
            };
            (text, taken)
        }
        Cell::Marked(marked) => draw_marked(marked, width, paint),
    }
}

/// What stands out is what must be seen, all of it or else the first; what is left is shared, at most a third of it for what
/// stands before.
fn draw_marked(marked: &Marked, width: usize, paint: Paint) -> (String, usize) {
    let Marked { text, marks } = marked;
    let first = marks.first().cloned().unwrap_or_default();
    let all = first.start..marks.last().map_or(0, |last| last.end);
    let focus = if columns(&text[all.clone()]) <= width { all } else { first };
    let seen = keep_start(&text[focus.clone()], width);
    let room = width - columns(&seen);
    let (before, after) = (&text[..focus.start], &text[focus.end..]);
    let before = keep_end(before, (room / 3).max(room.saturating_sub(columns(after))));
    let kept_after = keep_start(after, room - columns(&before));
    let taken = columns(&before) + columns(&seen) + columns(&kept_after);
    let is_cut = seen.len() != focus.len() || seen != text[focus.clone()];
    let seen = if is_cut { paint.hit(seen) } else { painted(&seen, marks, focus.start, paint) };
    let after = if kept_after == after { painted(after, marks, focus.end, paint) } else { kept_after };
    (format!("{before}{seen}{after}"), taken)
}

/// The part of a text that begins at `start`, with what stands out in it.
fn painted(part: &str, marks: &[Range<usize>], start: usize, paint: Paint) -> String {
    let mut out = String::new();
    let mut done = 0;
    for mark in marks.iter().filter(|mark| mark.start >= start && mark.end <= start + part.len()) {
        out.push_str(&part[done..mark.start - start]);
        out.push_str(&paint.hit(&part[mark.start - start..mark.end - start]));
        done = mark.end - start;
    }
    out.push_str(&part[done..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: [Column; 3] = [
        Column { title: "ID", least: 4, most: 8, keep: Keep::Start, look: Look::Id },
        Column { title: "WHAT", least: 6, most: 40, keep: Keep::Start, look: Look::Plain },
        Column { title: "WHERE", least: 5, most: 20, keep: Keep::End, look: Look::Dim },
    ];

    fn rows() -> Vec<Vec<Cell>> {
        let row =
            |id: &str, what: &str, place: &str| [id, what, place].map(|text| Cell::from(text.to_owned())).to_vec();
        vec![row("0001", "日本語 and more of it", "/home/dev/one"), row("0002", "short", "/")]
    }

    #[test]
    fn as_wide_as_its_cells() {
        let table = render(&SPEC, &rows(), None, Paint::plain());
        assert_eq!(
            table,
            "ID    WHAT                   WHERE\n0001  日本語 and more of it  /home/dev/one\n0002  short                  /\n"
        );
    }

    #[test]
    fn never_wider_than_the_terminal() {
        for width in 12..60 {
            let table = render(&SPEC, &rows(), Some(width), Paint::plain());
            assert!(table.lines().all(|line| columns(line) <= width), "{width}:\n{table}");
        }
        let narrow = render(&SPEC, &rows(), Some(12), Paint::plain());
        assert_eq!(narrow, "ID    WHAT\n0001  日本…\n0002  short\n");
    }

    #[test]
    fn a_hit_is_always_seen() {
        let mut marked = Marked::default();
        marked.push("a long way before it ", false);
        marked.push("needle", true);
        marked.push(" and a long way after", false);
        let draw = |marked: &Marked, width| draw_marked(marked, width, Paint::plain());
        assert_eq!(draw(&marked, 20), ("…it needle and a lo…".to_owned(), 20));
        marked.push(" it another ", false);
        marked.push("needle", true);
        assert_eq!(draw(&marked, 20), ("…it needle and a lo…".to_owned(), 20));
        assert_eq!(draw(&marked, 100).0, "a long way before it needle and a long way after it another needle");
        assert_eq!(draw(&marked, 4).0, "nee…");
    }
}
