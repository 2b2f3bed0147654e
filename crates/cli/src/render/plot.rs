//! Bar charts of characters.

use super::text::{columns, keep_end};

/// How wide a chart is where nobody says.
const WIDTH: usize = 80;

/// How much of the width names take at most, as a divisor.
const NAMES: usize = 3;

/// The fewest columns of a bar that say something.
const LEAST: usize = 8;

/// Eighths of a column.
const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// One bar.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    /// What it is about, on one line and clean.
    pub(crate) name: String,
    /// How long it is, compared with others.
    pub(crate) amount: u64,
    /// What stands behind it.
    pub(crate) label: String,
}

/// The bars below each other, the longest as long as `width` columns allow.
pub(crate) fn bars(bars: &[Bar], width: Option<usize>, ascii: bool) -> String {
    let width = width.unwrap_or(WIDTH);
    let widest = |text: fn(&Bar) -> &str| bars.iter().map(|bar| columns(text(bar))).max().unwrap_or(0);
    let names = widest(|bar| &bar.name).min(width / NAMES);
    let room = width.saturating_sub(names + widest(|bar| &bar.label) + 2).max(LEAST);
    let most = bars.iter().map(|bar| bar.amount).max().unwrap_or(0).max(1);
    let mut out = String::new();
    for bar in bars {
        let name = keep_end(&bar.name, names);
        let gap = " ".repeat(names - columns(&name));
        let drawn = draw(bar.amount, most, room, ascii);
        let space = if drawn.is_empty() { "" } else { " " };
        out.push_str(&format!("{name}{gap} {drawn}{space}{}\n", bar.label));
    }
    out
}

/// A bar of the share that `amount` is of `most`. Something is never nothing.
fn draw(amount: u64, most: u64, room: usize, ascii: bool) -> String {
    let parts = if ascii { 1 } else { EIGHTHS.len() };
    let whole = (room * parts) as u128;
    let filled = (u128::from(amount) * whole).div_euclid(u128::from(most));
    let filled = usize::try_from(filled).unwrap_or(room * parts).max(usize::from(amount > 0));
    if ascii {
        return "#".repeat(filled);
    }
    let mut bar = EIGHTHS[7].to_string().repeat(filled / parts);
    bar.extend((filled % parts).checked_sub(1).map(|eighth| EIGHTHS[eighth]));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(name: &str, amount: u64) -> Bar {
        Bar { name: name.to_owned(), amount, label: amount.to_string() }
    }

    #[test]
    fn the_longest_fills_the_width() {
        let all = [bar("one", 100), bar("another", 50), bar("none", 0), bar("little", 1)];
        assert_eq!(bars(&all, Some(21), false), "one     █████████ 100\nanother ████▌ 50\nnone    0\nlittle  ▏ 1\n");
        assert_eq!(bars(&all, Some(21), true), "one     ######### 100\nanother #### 50\nnone    0\nlittle  # 1\n");
    }

    #[test]
    fn never_wider_than_the_terminal() {
        let all = [bar("日本語の長い名前です、とても", u64::MAX), bar("x", 3)];
        for width in 45..120 {
            assert!(bars(&all, Some(width), false).lines().all(|line| columns(line) <= width), "{width}");
        }
        assert_eq!(bars(&[], None, false), "");
    }
}
