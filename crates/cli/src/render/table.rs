//! Tables that fit the terminal.

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
    /// Text around a stretch that stands out.
    Hit(String, String, String),
}

impl Cell {
    fn columns(&self) -> usize {
        match self {
            Self::Text(text) => columns(text),
            Self::Hit(before, hit, after) => columns(before) + columns(hit) + columns(after),
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
    let widths = fit(spec, natural(spec, rows), width);
    let mut out = String::new();
    let titles: Vec<String> = spec.iter().zip(&widths).map(|(column, width)| pad(column.title, *width)).collect();
    out.push_str(&paint.heading(titles.join("  ").trim_end()));
    out.push('\n');
    for row in rows {
        let mut line = String::new();
        for ((column, width), cell) in spec.iter().zip(&widths).zip(row) {
            let (text, taken) = draw(cell, *column, *width, paint);
            line.push_str(&text);
            line.push_str(&" ".repeat(width - taken + GAP));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn natural(spec: &[Column], rows: &[Vec<Cell>]) -> Vec<usize> {
    let widest = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(Cell::columns).max().unwrap_or(0);
    spec.iter()
        .enumerate()
        .map(|(at, column)| widest(at).clamp(columns(column.title), column.most.max(columns(column.title))))
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
        Cell::Hit(before, hit, after) => draw_hit(before, hit, after, width, paint),
    }
}

/// The hit is what must be seen; what is left is shared, at most a third of it for what stands before.
fn draw_hit(before: &str, hit: &str, after: &str, width: usize, paint: Paint) -> (String, usize) {
    let hit = keep_start(hit, width);
    let room = width - columns(&hit);
    let before = keep_end(before, (room / 3).max(room.saturating_sub(columns(after))));
    let after = keep_start(after, room - columns(&before));
    let taken = columns(&before) + columns(&hit) + columns(&after);
    (format!("{before}{}{after}", paint.hit(hit)), taken)
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
        let (text, taken) = draw_hit("a long way before it ", "needle", " and a long way after", 20, Paint::plain());
        assert_eq!((text.as_str(), taken), ("…it needle and a lo…", 20));
    }
}
