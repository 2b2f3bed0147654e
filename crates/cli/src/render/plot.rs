//! Bar charts, drawn with characters.

use super::text::{display_width, keep_end};

/// The width of a chart if the width of the output is not known.
const DEFAULT_WIDTH: usize = 80;

/// Names take at most the width divided by this.
const MAX_NAME_DIVISOR: usize = 3;

/// The longest bar has at least this many columns, even if the line gets too wide: a shorter one could not be compared.
const MIN_BAR_WIDTH: usize = 8;

/// Blocks of one eighth to eight eighths of a column.
const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// One bar.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    /// The text before the bar, sanitized and on one line.
    pub(crate) name: String,
    /// The length of the bar, relative to the others.
    pub(crate) amount: u64,
    /// The text after the bar.
    pub(crate) label: String,
}

/// Draws the bars below each other. The longest one fills `width`.
pub(crate) fn bars(bars: &[Bar], width: Option<usize>, ascii: bool) -> String {
    let width = width.unwrap_or(DEFAULT_WIDTH);
    let widest = |text: fn(&Bar) -> &str| bars.iter().map(|bar| display_width(text(bar))).max().unwrap_or(0);
    let names = widest(|bar| &bar.name).min(width / MAX_NAME_DIVISOR);
    // Names are cut and labels are not: a number that is cut would be wrong.
    let room = width.saturating_sub(names + widest(|bar| &bar.label) + 2).max(MIN_BAR_WIDTH);
    let longest = bars.iter().map(|bar| bar.amount).max().unwrap_or(0).max(1);
    let mut out = String::new();
    for bar in bars {
        let name = keep_end(&bar.name, names);
        let gap = " ".repeat(names - display_width(&name));
        let drawn = draw(bar.amount, longest, room, ascii);
        let space = if drawn.is_empty() { "" } else { " " };
        out.push_str(&format!("{name}{gap} {drawn}{space}{}\n", bar.label));
    }
    out
}

/// Draws a bar whose part of `room` is that of `amount` in `longest`. An amount above zero gets at least the smallest
/// block, so that it looks different from zero.
fn draw(amount: u64, longest: u64, room: usize, ascii: bool) -> String {
    let parts_per_column = if ascii { 1 } else { EIGHTHS.len() };
    let parts = room * parts_per_column;
    // The product needs more than 64 bits: an amount may be any u64.
    let filled = (u128::from(amount) * parts as u128).div_euclid(u128::from(longest));
    let filled = usize::try_from(filled).unwrap_or(parts).max(usize::from(amount > 0));
    if ascii {
        return "#".repeat(filled);
    }
    let mut bar = EIGHTHS[7].to_string().repeat(filled / parts_per_column);
    bar.extend((filled % parts_per_column).checked_sub(1).map(|eighth| EIGHTHS[eighth]));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(name: &str, amount: u64) -> Bar {
        Bar { name: name.to_owned(), amount, label: amount.to_string() }
    }

    #[test]
    fn the_longest_bar_fills_the_width() {
        let all = [bar("one", 100), bar("another", 50), bar("none", 0), bar("little", 1)];
        assert_eq!(bars(&all, Some(21), false), "one     █████████ 100\nanother ████▌ 50\nnone    0\nlittle  ▏ 1\n");
        assert_eq!(bars(&all, Some(21), true), "one     ######### 100\nanother #### 50\nnone    0\nlittle  # 1\n");
    }

    #[test]
    fn a_chart_is_never_wider_than_the_terminal() {
        let all = [bar("日本語の長い名前です、とても", u64::MAX), bar("x", 3)];
        for width in 45..120 {
            assert!(bars(&all, Some(width), false).lines().all(|line| display_width(line) <= width), "{width}");
        }
        assert_eq!(bars(&[], None, false), "");
    }
}
