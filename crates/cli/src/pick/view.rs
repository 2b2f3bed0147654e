//! A choice as lines of a screen. Every line is clean and no wider than the screen.

use unicode_width::UnicodeWidthChar;

use super::choice::{Choice, Seen};
use crate::render::style::Paint;
use crate::render::text::{columns, keep_end, keep_start};

/// A screen with as many columns shows the preview beside the list.
const WIDE: usize = 100;
/// A screen with as many lines shows it below.
const TALL: usize = 20;
/// Columns of an age.
const AGE: usize = 12;
/// A list with fewer columns shows no ages.
const AGED: usize = 60;

/// What to draw: the lines of a screen from its top, and where the cursor goes, by column and line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) lines: Vec<String>,
    pub(crate) cursor: (u16, u16),
}

/// What is shown of each thread besides what it says.
#[derive(Debug)]
pub(crate) struct Label {
    /// The beginning of its id.
    pub(crate) id: String,
    /// How long ago it was updated.
    pub(crate) age: String,
}

/// How a screen is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    list: (usize, usize),
    /// Columns and lines of the preview, and whether it is beside the list.
    preview: Option<(usize, usize, bool)>,
}

impl Layout {
    /// One line is for what is typed, and one for the keys.
    fn of(width: usize, height: usize) -> Self {
        let body = height.saturating_sub(2);
        if width >= WIDE {
            let list = width * 9 / 20;
            // A line between them, with a blank on either side.
            return Self { list: (list, body), preview: Some((width - list - 3, body, true)) };
        }
        if height >= TALL {
            let list = body * 2 / 5;
            return Self { list: (width, list), preview: Some((width, body - list - 1, false)) };
        }
        Self { list: (width, body), preview: None }
    }
}

/// How many rows a screen of this size has room for.
pub(crate) fn page(width: usize, height: usize) -> usize {
    Layout::of(width, height).list.1
}

/// The screen of a choice. `preview` is what the chosen thread said last, on clean lines of any length; nothing while that is not
/// known.
pub(crate) fn frame(
    choice: &mut Choice,
    labels: &[Label],
    preview: Option<&str>,
    (width, height): (usize, usize),
    paint: Paint,
) -> Frame {
    let layout = Layout::of(width, height);
    let (prompt, cursor) = prompt(choice, width, paint);
    let mut lines = vec![prompt];
    let (list_width, list_height) = layout.list;
    let mut list: Vec<(String, usize)> =
        choice.seen(list_height).iter().map(|seen| row(seen, labels, list_width, paint)).collect();
    list.resize(list_height, (String::new(), 0));
    let shown = |width, height| tail(preview.unwrap_or("…"), width, height, paint);
    match layout.preview {
        Some((width, height, true)) => {
            let mut preview = shown(width, height);
            preview.resize(height, String::new());
            let bar = paint.dim("│");
            lines.extend(
                list.into_iter()
                    .zip(preview)
                    .map(|((row, taken), preview)| format!("{row}{} {bar} {preview}", " ".repeat(list_width - taken))),
            );
        }
        Some((width, height, false)) => {
            lines.extend(list.into_iter().map(|(row, _)| row));
            lines.push(paint.dim("─".repeat(width)));
            let mut preview = shown(width, height);
            preview.resize(height, String::new());
            lines.extend(preview);
        }
        None => lines.extend(list.into_iter().map(|(row, _)| row)),
    }
    let keys = "enter choose · esc leave · ↑ ↓ ctrl-p ctrl-n page-up page-down move · ctrl-u clear";
    lines.push(paint.dim(keep_start(keys, width)));
    lines.truncate(height);
    Frame { lines, cursor: (u16::try_from(cursor).unwrap_or(u16::MAX), 0) }
}

/// What was typed, with how much of everything is found, and the column behind it.
fn prompt(choice: &Choice, width: usize, paint: Paint) -> (String, usize) {
    let count = format!("{}/{}", choice.count(), choice.total());
    // The mark, the cursor and a blank.
    let room = width.saturating_sub(count.len() + 4);
    let typed = keep_end(choice.typed(), room);
    let taken = columns(&typed);
    if width < count.len() + 4 {
        return (keep_start(&format!("> {typed}"), width), width.min(2));
    }
    (format!("{} {typed}{}{}", paint.heading(">"), " ".repeat(room - taken + 2), paint.dim(count)), 2 + taken)
}

/// A row, and how many columns it takes.
fn row(seen: &Seen<'_>, labels: &[Label], width: usize, paint: Paint) -> (String, usize) {
    let Some(label) = labels.get(seen.thread) else { return (String::new(), 0) };
    let mark = if seen.is_chosen { paint.heading(">") } else { " ".to_owned() };
    let mut taken = 2 + columns(&label.id) + 2;
    if taken > width {
        return (
            keep_start(&format!("{} {}", if seen.is_chosen { ">" } else { " " }, label.id), width),
            width.min(taken - 2),
        );
    }
    let mut out = format!("{mark} {}  ", paint.id(&label.id));
    if width >= AGED {
        let age = keep_start(&label.age, AGE);
        let blank = " ".repeat(AGE - columns(&age) + 2);
        out.push_str(&format!("{}{blank}", paint.dim(age)));
        taken += AGE + 2;
    }
    let (text, text_taken) = marked(seen, width.saturating_sub(taken), paint);
    out.push_str(&text);
    (out, taken + text_taken)
}

/// The text of a row in `width` columns at most, with what was typed standing out.
fn marked(seen: &Seen<'_>, width: usize, paint: Paint) -> (String, usize) {
    let total: usize = seen.text.iter().map(|letter| letter.width().unwrap_or(0)).sum();
    let room = if total > width { width.saturating_sub(1) } else { width };
    let (mut out, mut run, mut run_is_hit, mut taken) = (String::new(), String::new(), false, 0);
    let paint_run = |run: &str, is_hit: bool| match (is_hit, seen.is_chosen) {
        _ if run.is_empty() => String::new(),
        (true, _) => paint.hit(run),
        (false, true) => paint.heading(run),
        (false, false) => run.to_owned(),
    };
    for (at, letter) in (0_u32..).zip(seen.text) {
        let columns = letter.width().unwrap_or(0);
        if taken + columns > room {
            break;
        }
        let is_hit = seen.marks.binary_search(&at).is_ok();
        if is_hit != run_is_hit {
            out.push_str(&paint_run(&run, run_is_hit));
            run.clear();
            run_is_hit = is_hit;
        }
        run.push(*letter);
        taken += columns;
    }
    out.push_str(&paint_run(&run, run_is_hit));
    if total > width && width > 0 {
        out.push('…');
        taken += 1;
    }
    (out, taken)
}

/// The last lines of a text that have room in so many columns and lines; long lines go on in the next.
fn tail(text: &str, width: usize, height: usize, paint: Paint) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    // From the end, so that a long text costs no more than what is seen of it.
    for line in text.lines().rev() {
        if lines.len() >= height {
            break;
        }
        let is_heading = line.starts_with("── ");
        let wrapped = wrap(line, width).into_iter().rev();
        lines.extend(wrapped.map(|line| if is_heading { paint.dim(line) } else { line }));
    }
    lines.truncate(height);
    lines.reverse();
    lines
}

fn wrap(line: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut taken = 0;
    for letter in line.replace('\t', "    ").chars() {
        let columns = letter.width().unwrap_or(0);
        if columns > width {
            continue;
        }
        if taken + columns > width {
            lines.push(String::new());
            taken = 0;
        }
        taken += columns;
        if let Some(last) = lines.last_mut() {
            last.push(letter);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use selvedge_protocol::{StoredThread, ThreadId, Timestamp};

    use super::*;

    fn choice(typed: &str) -> (Choice, Vec<Label>) {
        let names = ["Zebras", "日本語 yaks", "Gnus with a name that is a good deal longer than most lists are wide"];
        let threads = names.map(|name| StoredThread {
            name: Some(name.to_owned()),
            ..StoredThread::new(ThreadId::new(Timestamp::default()), Timestamp::default())
        });
        let labels = ["01", "02", "03"].map(|id| Label { id: id.to_owned(), age: "3 h ago".to_owned() });
        (Choice::new(&threads, typed), labels.into())
    }

    fn drawn(typed: &str, preview: Option<&str>, size: (usize, usize)) -> Frame {
        let (mut choice, labels) = choice(typed);
        frame(&mut choice, &labels, preview, size, Paint::plain())
    }

    #[test]
    fn a_small_screen_shows_the_list() {
        let frame = drawn("", Some("unseen"), (30, 6));
        let lines = [
            ">                          3/3",
            "> 01  Zebras",
            "  02  日本語 yaks",
            "  03  Gnus with a name that i…",
            "",
            "enter choose · esc leave · ↑ …",
        ];
        assert_eq!(frame, Frame { lines: lines.map(str::to_owned).into(), cursor: (2, 0) });
    }

    #[test]
    fn a_wide_screen_shows_the_preview_beside_and_a_tall_one_below() {
        let frame = drawn("yak", Some("one\n\ttwo"), (100, 5));
        assert_eq!(frame.cursor, (5, 0));
        assert_eq!(frame.lines[1], format!("> 02  日本語 yaks{}│ one", " ".repeat(29)));
        assert_eq!(frame.lines[2], format!("{}│     two", " ".repeat(46)));
        let frame = drawn("yak", Some("one\ntwo"), (40, 22));
        assert_eq!(frame.lines[9], "─".repeat(40));
        assert_eq!(frame.lines[10..12], ["one", "two"]);
        assert_eq!(frame.lines.len(), 22);
    }

    #[test]
    fn no_line_is_wider_or_lower_than_the_screen() {
        let preview = "日本語 ".repeat(80) + "\nlast";
        for width in 0..130 {
            for height in [0, 1, 2, 3, 10, 25] {
                let frame = drawn("a", Some(&preview), (width, height));
                assert!(frame.lines.len() <= height);
                assert!(frame.lines.iter().all(|line| columns(line) <= width), "{width}: {frame:#?}");
            }
        }
    }

    #[test]
    fn of_a_long_preview_the_end_is_seen() {
        let preview: String = (0..100).map(|n| format!("line {n}\n")).collect();
        let frame = drawn("", Some(&preview), (120, 10));
        assert!(frame.lines[1].ends_with("│ line 92") && frame.lines[8].ends_with("│ line 99"), "{frame:#?}");
    }
}
