//! Tables that fit the width of the output.

use std::ops::Range;

use super::paint::Paint;
use super::text::{PaintedText, display_width, keep_end, keep_start};

/// Blanks between two columns.
const GAP: usize = 2;

/// Which end of a cell stays when the cell is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Truncation {
    /// The start stays, as of a sentence.
    KeepStart,
    /// The end stays, as of a path.
    KeepEnd,
}

/// How the cells of a column are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CellStyle {
    /// As plain text.
    Plain,
    /// As ids.
    Id,
    /// As details.
    Dim,
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// Header.
    pub(crate) title: &'static str,
    /// The least width at which the column still makes sense.
    pub(crate) min_width: usize,
    /// The largest width.
    max_width: usize,
    /// How cells that are too long are cut.
    truncation: Truncation,
    /// How cells are coloured.
    style: CellStyle,
}

impl Column {
    /// Creates a column whose long cells lose their end.
    pub(crate) const fn new(title: &'static str, min_width: usize, max_width: usize, style: CellStyle) -> Self {
        Self { title, min_width, max_width, truncation: Truncation::KeepStart, style }
    }

    /// Makes long cells lose their start instead.
    pub(crate) const fn keep_end(mut self) -> Self {
        self.truncation = Truncation::KeepEnd;
        self
    }
}

/// A cell: sanitized text on one line.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    /// Text.
    Text(String),
    /// Text with highlighted parts.
    Highlighted(HighlightedText),
}

/// Text with highlighted byte ranges, which are ascending and do not overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HighlightedText {
    text: String,
    highlights: Vec<Range<usize>>,
}

impl HighlightedText {
    /// Appends sanitized text on one line.
    pub(crate) fn push(&mut self, text: &str, is_highlight: bool) {
        let start = self.text.len();
        self.text.push_str(text);
        if is_highlight && !text.is_empty() {
            self.highlights.push(start..self.text.len());
        }
    }
}

impl Cell {
    fn width(&self) -> usize {
        match self {
            Self::Text(text) => display_width(text),
            Self::Highlighted(highlighted) => display_width(&highlighted.text),
        }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// Renders a table with its header, in `width` columns if that is given and possible.
pub(crate) fn render(columns: &[Column], rows: &[Vec<Cell>], width: Option<usize>, paint: Paint) -> String {
    let widths = fit(columns, natural_widths(columns, rows, true), width);
    let titles: Vec<String> = columns.iter().zip(&widths).map(|(column, width)| pad(column.title, *width)).collect();
    let mut out = format!("{}\n", paint.heading(titles.join("  ").trim_end()));
    for row in rows {
        out.push_str(&line(columns, &widths, row, paint));
        out.push('\n');
    }
    out
}

/// Renders the rows of a table without its header, each as a line.
pub(crate) fn lines(columns: &[Column], rows: &[Vec<Cell>], width: Option<usize>, paint: Paint) -> Vec<String> {
    let widths = fit(columns, natural_widths(columns, rows, false), width);
    rows.iter().map(|row| line(columns, &widths, row, paint)).collect()
}

fn line(columns: &[Column], widths: &[usize], row: &[Cell], paint: Paint) -> String {
    // `zip` stops at the last width, so columns for which there is no room are left out.
    let mut line = String::new();
    for ((column, width), cell) in columns.iter().zip(widths).zip(row) {
        let painted = draw(cell, *column, *width, paint);
        line.push_str(&painted.text);
        line.push_str(&" ".repeat(width - painted.width + GAP));
    }
    line.trim_end().to_owned()
}

/// Returns the preferred width of each column: that of its widest cell, within the limits of the column.
fn natural_widths(columns: &[Column], rows: &[Vec<Cell>], with_titles: bool) -> Vec<usize> {
    let widest = |index: usize| rows.iter().filter_map(|row| row.get(index)).map(Cell::width).max().unwrap_or(0);
    // The preferred width is never less than that of the header, even if that is above the largest width.
    let title = |column: &Column| if with_titles { display_width(column.title) } else { 0 };
    columns
        .iter()
        .enumerate()
        .map(|(index, column)| widest(index).clamp(title(column), column.max_width.max(title(column))))
        .collect()
}

/// Narrows the columns until the table fits into `width`.
fn fit(columns: &[Column], mut widths: Vec<usize>, width: Option<usize>) -> Vec<usize> {
    let Some(width) = width else { return widths };
    // First whole columns go, from the right, until the others fit at their least widths. The first two always stay: an
    // id and what it stands for. After that the widest column gives up one character at a time. That cuts long cells
    // and leaves short ones whole.
    while widths.len() > 2
        && total(columns.iter().zip(&widths).map(|(column, natural)| column.min_width.min(*natural))) > width
    {
        widths.pop();
    }
    while total(widths.iter().copied()) > width {
        let widest = (0..widths.len())
            .filter(|index| widths[*index] > columns[*index].min_width)
            .max_by_key(|index| widths[*index]);
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
    let taken = display_width(&text);
    format!("{text}{}", " ".repeat(width.saturating_sub(taken)))
}

/// Renders a cell in at most `width` columns.
fn draw(cell: &Cell, column: Column, width: usize, paint: Paint) -> PaintedText {
    match cell {
        Cell::Text(text) => {
            let text = match column.truncation {
                Truncation::KeepStart => keep_start(text, width),
                Truncation::KeepEnd => keep_end(text, width),
            };
            let width = display_width(&text);
            let text = match column.style {
                CellStyle::Plain => text,
                CellStyle::Id => paint.id(text),
                CellStyle::Dim => paint.dim(text),
            };
            PaintedText { text, width }
        }
        Cell::Highlighted(highlighted) => draw_highlighted(highlighted, width, paint),
    }
}

/// Renders text in at most `width` columns, so that its highlights are visible.
fn draw_highlighted(highlighted: &HighlightedText, width: usize, paint: Paint) -> PaintedText {
    // The focus is the range from the first to the last highlight if that fits, else the first highlight alone. The
    // text before the focus gets at most a third of the remaining room, unless the text after it needs less than the
    // rest:
    //
    //     …it needle and a lo…
    //     └─┘ └────┘└────────┘
    //   before focus  after
    let HighlightedText { text, highlights } = highlighted;
    let first = highlights.first().cloned().unwrap_or_default();
    let all = first.start..highlights.last().map_or(0, |last| last.end);
    let focus = if display_width(&text[all.clone()]) <= width { all } else { first };
    let shown = keep_start(&text[focus.clone()], width);
    let room = width - display_width(&shown);
    let (before, after) = (&text[..focus.start], &text[focus.end..]);
    let before = keep_end(before, (room / 3).max(room.saturating_sub(display_width(after))));
    let kept_after = keep_start(after, room - display_width(&before));
    let width = display_width(&before) + display_width(&shown) + display_width(&kept_after);
    // A part that was cut has other offsets than the text, so its highlights cannot be applied. A cut focus is
    // one highlight. The text after the focus gets no highlights if it was cut.
    let is_cut = shown.len() != focus.len() || shown != text[focus.clone()];
    let shown = if is_cut { paint.hit(shown) } else { paint_highlights(&shown, highlights, focus.start, paint) };
    let after = if kept_after == after { paint_highlights(after, highlights, focus.end, paint) } else { kept_after };
    PaintedText { text: format!("{before}{shown}{after}"), width }
}

/// Colours the highlights in the part of a text that begins at the offset `start`.
fn paint_highlights(part: &str, highlights: &[Range<usize>], start: usize, paint: Paint) -> String {
    let mut out = String::new();
    let mut done = 0;
    for range in highlights.iter().filter(|range| range.start >= start && range.end <= start + part.len()) {
        out.push_str(&part[done..range.start - start]);
        out.push_str(&paint.hit(&part[range.start - start..range.end - start]));
        done = range.end - start;
    }
    out.push_str(&part[done..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: [Column; 3] = [
        Column::new("ID", 4, 8, CellStyle::Id),
        Column::new("WHAT", 6, 40, CellStyle::Plain),
        Column::new("WHERE", 5, 20, CellStyle::Dim).keep_end(),
    ];

    fn rows() -> Vec<Vec<Cell>> {
        let row =
            |id: &str, what: &str, place: &str| [id, what, place].map(|text| Cell::from(text.to_owned())).to_vec();
        vec![row("0001", "日本語 and more of it", "/home/dev/one"), row("0002", "short", "/")]
    }

    #[test]
    fn a_table_is_as_wide_as_its_cells() {
        let table = render(&SPEC, &rows(), None, Paint::plain());
        assert_eq!(
            table,
            "ID    WHAT                   WHERE\n0001  日本語 and more of it  /home/dev/one\n0002  short                  /\n"
        );
    }

    #[test]
    fn a_table_is_never_wider_than_the_terminal() {
        for width in 12..60 {
            let table = render(&SPEC, &rows(), Some(width), Paint::plain());
            assert!(table.lines().all(|line| display_width(line) <= width), "{width}:\n{table}");
        }
        let narrow = render(&SPEC, &rows(), Some(12), Paint::plain());
        assert_eq!(narrow, "ID    WHAT\n0001  日本…\n0002  short\n");
    }

    #[test]
    fn a_highlight_is_always_visible() {
        let mut text = HighlightedText::default();
        text.push("a long way before it ", false);
        text.push("needle", true);
        text.push(" and a long way after", false);
        let draw = |text: &HighlightedText, width| {
            let painted = draw_highlighted(text, width, Paint::plain());
            (painted.text, painted.width)
        };
        assert_eq!(draw(&text, 20), ("…it needle and a lo…".to_owned(), 20));
        text.push(" it another ", false);
        text.push("needle", true);
        assert_eq!(draw(&text, 20), ("…it needle and a lo…".to_owned(), 20));
        assert_eq!(draw(&text, 100).0, "a long way before it needle and a long way after it another needle");
        assert_eq!(draw(&text, 4).0, "nee…");
    }
}
