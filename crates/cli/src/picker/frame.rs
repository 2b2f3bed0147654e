//! Renders the picker as the lines of a screen. Every line is sanitized and no wider than the screen.

use unicode_width::UnicodeWidthChar;

use super::state::{PickerState, VisibleRow};
use crate::render::paint::Paint;
use crate::render::text::{PaintedText, display_width, keep_end, keep_start};

/// From this width on, the preview is beside the list.
const WIDE: usize = 100;
/// From this height on, the preview of a narrow screen is below the list.
const TALL: usize = 20;
/// Columns of an age.
const AGE_WIDTH: usize = 12;
/// A narrower list shows no ages.
const MIN_WIDTH_FOR_AGES: usize = 60;
/// Columns around the prompt: the mark `> `, and a place for the cursor with a blank after it.
const PROMPT_MARGIN: usize = 4;

/// What the screen shows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Lines from the top.
    pub(crate) lines: Vec<String>,
    /// Column and line of the cursor.
    pub(crate) cursor: (u16, u16),
}

/// What a row shows in addition to its text.
#[derive(Debug)]
pub(crate) struct RowLabel {
    /// Beginning of the thread's id.
    pub(crate) id: String,
    /// How long ago the thread was updated.
    pub(crate) age: String,
}

/// A part of the screen, in columns and lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Area {
    width: usize,
    height: usize,
}

/// Where the preview is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PreviewArea {
    Beside(Area),
    Below(Area),
    None,
}

/// How the screen is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ScreenLayout {
    list: Area,
    preview: PreviewArea,
}

impl ScreenLayout {
    fn new(width: usize, height: usize) -> Self {
        //     wide                    tall               small
        //     > typed        2/3      > typed   2/3      > typed 2/3
        //     list    │ preview       list               list
        //             │               ──────────
        //             │               preview
        //     keys                    keys               keys
        //
        // The first line is the prompt, and the last one explains the keys.
        let body = height.saturating_sub(2);
        if width >= WIDE {
            let list = width * 9 / 20;
            // Three columns between them: a bar with a blank on either side.
            let preview = Area { width: width - list - 3, height: body };
            return Self { list: Area { width: list, height: body }, preview: PreviewArea::Beside(preview) };
        }
        if height >= TALL {
            let list = body * 2 / 5;
            // One line between them.
            let preview = Area { width, height: body - list - 1 };
            return Self { list: Area { width, height: list }, preview: PreviewArea::Below(preview) };
        }
        Self { list: Area { width, height: body }, preview: PreviewArea::None }
    }
}

/// Returns how many rows of the list a screen of this size shows.
pub(crate) fn list_height(width: usize, height: usize) -> usize {
    ScreenLayout::new(width, height).list.height
}

/// Renders the screen. `preview` has sanitized lines of any length, or is `None` while it is being read.
pub(crate) fn render(
    state: &mut PickerState,
    labels: &[RowLabel],
    preview: Option<&str>,
    (width, height): (usize, usize),
    paint: Paint,
) -> Frame {
    let layout = ScreenLayout::new(width, height);
    let (prompt, cursor) = prompt(state, width, paint);
    let mut lines = vec![prompt];
    let mut list: Vec<PaintedText> = state
        .visible_rows(layout.list.height)
        .iter()
        .map(|visible| row(visible, labels, layout.list.width, paint))
        .collect();
    list.resize(layout.list.height, PaintedText::default());
    let preview_lines = |area: Area| {
        let mut lines = last_lines(preview.unwrap_or("…"), area, paint);
        lines.resize(area.height, String::new());
        lines
    };
    match layout.preview {
        PreviewArea::Beside(area) => {
            let bar = paint.dim("│");
            lines.extend(list.into_iter().zip(preview_lines(area)).map(|(row, preview)| {
                format!("{}{} {bar} {preview}", row.text, " ".repeat(layout.list.width - row.width))
            }));
        }
        PreviewArea::Below(area) => {
            lines.extend(list.into_iter().map(|row| row.text));
            lines.push(paint.dim("─".repeat(width)));
            lines.extend(preview_lines(area));
        }
        PreviewArea::None => lines.extend(list.into_iter().map(|row| row.text)),
    }
    let keys = "enter choose · esc cancel · ↑ ↓ ctrl-p ctrl-n page-up page-down move · ctrl-u clear";
    lines.push(paint.dim(keep_start(keys, width)));
    // A screen of one line has room for the prompt only.
    lines.truncate(height);
    Frame { lines, cursor: (u16::try_from(cursor).unwrap_or(u16::MAX), 0) }
}

/// Renders the typed text and the number of matches, and returns the column of the cursor. A text that is too long
/// shows its end, where the user types.
fn prompt(state: &PickerState, width: usize, paint: Paint) -> (String, usize) {
    let count = format!("{}/{}", state.match_count(), state.row_count());
    let room = width.saturating_sub(count.len() + PROMPT_MARGIN);
    let typed = keep_end(state.typed(), room);
    let taken = display_width(&typed);
    if width < count.len() + PROMPT_MARGIN {
        return (keep_start(&format!("> {typed}"), width), width.min(2));
    }
    (format!("{} {typed}{}{}", paint.heading(">"), " ".repeat(room - taken + 2), paint.dim(count)), 2 + taken)
}

/// Renders a row in at most `width` columns.
fn row(visible: &VisibleRow<'_>, labels: &[RowLabel], width: usize, paint: Paint) -> PaintedText {
    let Some(label) = labels.get(visible.thread) else { return PaintedText::default() };
    let mark = if visible.is_selected { paint.heading(">") } else { " ".to_owned() };
    let mut taken = 2 + display_width(&label.id) + 2;
    if taken > width {
        let mark = if visible.is_selected { ">" } else { " " };
        let text = keep_start(&format!("{mark} {}", label.id), width);
        return PaintedText { text, width: width.min(taken - 2) };
    }
    let mut out = format!("{mark} {}  ", paint.id(&label.id));
    if width >= MIN_WIDTH_FOR_AGES {
        let age = keep_start(&label.age, AGE_WIDTH);
        let blank = " ".repeat(AGE_WIDTH - display_width(&age) + 2);
        out.push_str(&format!("{}{blank}", paint.dim(age)));
        taken += AGE_WIDTH + 2;
    }
    let painted = highlighted_text(visible, width.saturating_sub(taken), paint);
    out.push_str(&painted.text);
    PaintedText { text: out, width: taken + painted.width }
}

/// Renders the text of a row in at most `width` columns, with its matching characters highlighted.
fn highlighted_text(visible: &VisibleRow<'_>, width: usize, paint: Paint) -> PaintedText {
    let total: usize = visible.text.iter().map(|letter| letter.width().unwrap_or(0)).sum();
    let room = if total > width { width.saturating_sub(1) } else { width };
    // Characters are collected into runs with the same colour, so that a colour is switched on and off once for each
    // run.
    let (mut out, mut run, mut run_is_hit, mut taken) = (String::new(), String::new(), false, 0);
    let paint_run = |run: &str, is_hit: bool| match (is_hit, visible.is_selected) {
        _ if run.is_empty() => String::new(),
        (true, _) => paint.hit(run),
        (false, true) => paint.heading(run),
        (false, false) => run.to_owned(),
    };
    for (index, letter) in (0_u32..).zip(visible.text) {
        let letter_width = letter.width().unwrap_or(0);
        if taken + letter_width > room {
            break;
        }
        let is_hit = visible.highlights.binary_search(&index).is_ok();
        if is_hit != run_is_hit {
            out.push_str(&paint_run(&run, run_is_hit));
            run.clear();
            run_is_hit = is_hit;
        }
        run.push(*letter);
        taken += letter_width;
    }
    out.push_str(&paint_run(&run, run_is_hit));
    if total > width && width > 0 {
        out.push('…');
        taken += 1;
    }
    PaintedText { text: out, width: taken }
}

/// Returns the last lines of a text that fit into an area. Lines that are too long are wrapped.
fn last_lines(text: &str, area: Area, paint: Paint) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    // From the end, so that a long text costs no more than what is shown of it.
    for line in text.lines().rev() {
        if lines.len() >= area.height {
            break;
        }
        let is_heading = line.starts_with("── ");
        let wrapped = wrap(line, area.width).into_iter().rev();
        lines.extend(wrapped.map(|line| if is_heading { paint.dim(line) } else { line }));
    }
    lines.truncate(area.height);
    lines.reverse();
    lines
}

fn wrap(line: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut taken = 0;
    for letter in line.replace('\t', "    ").chars() {
        let letter_width = letter.width().unwrap_or(0);
        // A wide character does not fit into a screen of one column at all.
        if letter_width > width {
            continue;
        }
        if taken + letter_width > width {
            lines.push(String::new());
            taken = 0;
        }
        taken += letter_width;
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

    fn state(typed: &str) -> (PickerState, Vec<RowLabel>) {
        let names = ["Zebras", "日本語 yaks", "Gnus with a name that is a good deal longer than most lists are wide"];
        let threads = names.map(|name| StoredThread {
            name: Some(name.to_owned()),
            ..StoredThread::new(ThreadId::new(Timestamp::default()), Timestamp::default())
        });
        let labels = ["01", "02", "03"].map(|id| RowLabel { id: id.to_owned(), age: "3 h ago".to_owned() });
        (PickerState::new(&threads, typed), labels.into())
    }

    fn rendered(typed: &str, preview: Option<&str>, size: (usize, usize)) -> Frame {
        let (mut state, labels) = state(typed);
        render(&mut state, &labels, preview, size, Paint::plain())
    }

    #[test]
    fn a_small_screen_shows_the_list() {
        let frame = rendered("", Some("unseen"), (30, 6));
        let lines = [
            ">                          3/3",
            "> 01  Zebras",
            "  02  日本語 yaks",
            "  03  Gnus with a name that i…",
            "",
            "enter choose · esc cancel · ↑…",
        ];
        assert_eq!(frame, Frame { lines: lines.map(str::to_owned).into(), cursor: (2, 0) });
    }

    #[test]
    fn a_wide_screen_shows_the_preview_beside_and_a_tall_one_below() {
        let frame = rendered("yak", Some("one\n\ttwo"), (100, 5));
        assert_eq!(frame.cursor, (5, 0));
        assert_eq!(frame.lines[1], format!("> 02  日本語 yaks{}│ one", " ".repeat(29)));
        assert_eq!(frame.lines[2], format!("{}│     two", " ".repeat(46)));
        let frame = rendered("yak", Some("one\ntwo"), (40, 22));
        assert_eq!(frame.lines[9], "─".repeat(40));
        assert_eq!(frame.lines[10..12], ["one", "two"]);
        assert_eq!(frame.lines.len(), 22);
    }

    #[test]
    fn a_frame_is_never_wider_or_higher_than_the_screen() {
        let preview = "日本語 ".repeat(80) + "\nlast";
        for width in 0..130 {
            for height in [0, 1, 2, 3, 10, 25] {
                let frame = rendered("a", Some(&preview), (width, height));
                assert!(frame.lines.len() <= height);
                assert!(frame.lines.iter().all(|line| display_width(line) <= width), "{width}: {frame:#?}");
            }
        }
    }

    #[test]
    fn a_long_preview_shows_its_end() {
        let preview: String = (0..100).map(|n| format!("line {n}\n")).collect();
        let frame = rendered("", Some(&preview), (120, 10));
        assert!(frame.lines[1].ends_with("│ line 92") && frame.lines[8].ends_with("│ line 99"), "{frame:#?}");
    }
}
