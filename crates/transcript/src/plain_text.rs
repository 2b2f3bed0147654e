//! Outputs of terminals as plain text.

use std::borrow::Cow;

/// Returns a text as a reader would see it on a terminal at the end: without colours and other escape sequences, and of a line that
/// was overwritten (progress bars) only what it became last. Other control characters become visible symbols (`␀`).
#[must_use]
pub fn plain_text(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| byte < b' ' && byte != b'\n' && byte != b'\t' || byte == 0x7f) {
        return Cow::Borrowed(text);
    }
    let text = if text.contains('\u{1b}') { strip_ansi_escapes::strip_str(text) } else { text.to_owned() };
    let lines = text.split('\n').map(|line| {
        let line = line.strip_suffix('\r').unwrap_or(line);
        // What follows the last carriage return has overwritten what came before it.
        line.rsplit_once('\r').map_or(line, |(_, last)| last)
    });
    Cow::Owned(lines.map(|line| line.chars().map(visible).collect::<String>()).collect::<Vec<_>>().join("\n"))
}

/// Returns an HTML text without the characters that HTML forbids: control characters become visible symbols.
#[must_use]
pub(crate) fn without_controls(html: String) -> String {
    let is_forbidden = |character: char| character.is_control() && !matches!(character, '\t' | '\n' | '\r');
    if !html.contains(is_forbidden) {
        return html;
    }
    html.chars().map(|character| if is_forbidden(character) { visible(character) } else { character }).collect()
}

/// Returns the picture of a control character, and any other character as it is.
fn visible(character: char) -> char {
    match character {
        '\t' | '\n' => character,
        '\u{7f}' => '\u{2421}',
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(character)).unwrap_or(character),
        // These have no pictures.
        '\u{80}'..='\u{9f}' => char::REPLACEMENT_CHARACTER,
        _ => character,
    }
}

#[cfg(test)]
mod tests {
    use super::{plain_text, without_controls};

    #[test]
    fn a_terminal_is_read_at_its_end() {
        let cases = [
            ("plain\n\ttext", "plain\n\ttext"),
            ("\u{1b}[31mred\u{1b}[0m and \u{1b}[1mbold\u{1b}[m", "red and bold"),
            ("10%\r50%\r100%\nnext", "100%\nnext"),
            ("dos\r\nlines\r\n", "dos\nlines\n"),
            ("\u{1b}]0;title\u{7}prompt$", "prompt$"),
        ];
        for (given, expected) in cases {
            assert_eq!(plain_text(given), expected, "{given:?}");
        }
        assert_eq!(plain_text("a\0b\u{7f}"), "a\u{2400}b\u{2421}");
        assert_eq!(without_controls("<p>\0\u{1b}\u{85}\r\n</p>".to_owned()), "<p>\u{2400}\u{241b}\u{fffd}\r\n</p>");
    }
}
