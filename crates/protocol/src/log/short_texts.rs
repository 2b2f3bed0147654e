//! Shortens the long texts of lines while they are read, so that a reader needs memory for what it shows and not for what was written.
//!
//! A text of JSON is between two quotation marks. Its beginning is passed on as it is read; then two buffers, each half as long as
//! a text may be, hold what was read last. When the second one is full, it replaces the first one, whose bytes are left out:
//!
//! ```text
//! "beginning ░░░░░░░░░░░░░░░░ │ before │ last "      ░ left out, and counted
//! ```

use std::io::{self, Read};

/// How many bytes are read at a time.
const BLOCK: usize = 1 << 16;

/// How many times [`ShortTexts`] passes on the longest text of a line, before all further texts of the line become [shortest](MIN_TEXT).
const LONG_TEXTS: usize = 8;

/// The shortest that a text becomes. Names of members, kinds and ids are texts, too, and have to stay whole. At least half of it is left
/// out at once, which is more than the note has, so that a text that was shortened is always shorter.
const MIN_TEXT: usize = 256;
const _: () = assert!(MIN_TEXT / 2 > 2 * (BEFORE_NUMBER.len() + AFTER_NUMBER.len()) + 20);

/// How an image within a text begins, and how many bytes of images stay whole. Half of an image cannot be shown.
const IMAGE: &[u8] = b"data:image/";
const IMAGE_BYTES: usize = 4 << 20;

/// What stands around the number of bytes that were left out of a text.
const BEFORE_NUMBER: &str = "\n\n[… ";
const AFTER_NUMBER: &str = " bytes are not shown here …]\n\n";

/// Returns how many bytes were left out of a text by [`ShortTexts`] or [`shorten_text`]. `None` if the text is whole.
#[must_use]
pub fn bytes_left_out(text: &str) -> Option<u64> {
    let (before, _) = text.split_once(AFTER_NUMBER)?;
    before.rsplit_once(BEFORE_NUMBER)?.1.parse().ok()
}

/// Shortens a text of more than `max` bytes to its beginning and its end, with a note of how many bytes are left out between them.
/// Returns that number. A text that [`ShortTexts`] has shortened stays as it is.
///
/// ```
/// use selvedge_protocol::log::{bytes_left_out, shorten_text};
///
/// let mut text = "0123456789".repeat(10);
/// assert_eq!(shorten_text(&mut text, 20), 80);
/// assert_eq!(text, "0123456789\n\n[… 80 bytes are not shown here …]\n\n0123456789");
/// assert_eq!(bytes_left_out(&text), Some(80));
/// ```
pub fn shorten_text(text: &mut String, max: usize) -> u64 {
    // A text can contain such a note itself, so its length counts, too.
    if let Some(bytes) = bytes_left_out(text).filter(|_| text.len() <= max.saturating_mul(2)) {
        return bytes;
    }
    if text.len() <= max {
        return 0;
    }
    let is_boundary = |at: &usize| text.is_char_boundary(*at);
    let start = (0..=max / 2).rev().find(is_boundary).unwrap_or(0);
    let end = (text.len() - max / 2..=text.len()).find(is_boundary).unwrap_or(text.len());
    let removed = end - start;
    text.replace_range(start..end, &format!("{BEFORE_NUMBER}{removed}{AFTER_NUMBER}"));
    removed as u64
}

/// Reads lines with their long texts shortened to their beginning and their end, as [`shorten_text`] does. Its memory does not depend
/// on the length of a text.
///
/// A text of up to `max` bytes, and any of up to 256 bytes, stays whole. A longer one may be shortened, and has at most twice as many bytes
/// then. The first few megabytes of images within texts stay whole. In a line with very many long texts, the later ones become shorter.
/// Damage stays damage, and an intact line behind a torn one stays intact: where the bytes outside of texts are none of JSON, the rest of the line is
/// passed on as it is.
#[derive(Debug)]
pub struct ShortTexts<R> {
    source: R,
    block: Vec<u8>,
    shortener: TextShortener,
    /// How many bytes of the output of the shortener were passed on.
    passed: usize,
}

/// Shortens the texts of lines whose bytes come in parts.
#[derive(Debug)]
pub(super) struct TextShortener {
    max: usize,
    /// The shortened bytes.
    out: Vec<u8>,
    /// Where bytes of `out` were left out.
    cuts: Vec<TextCut>,
    /// The text that is being read, if the position is within one, and the buffers of the last one.
    text: Option<TextState>,
    spare: TextState,
    /// How many bytes of the line were passed on.
    line: usize,
    /// How many bytes of images may still stay whole, in all lines together.
    images: usize,
    /// Whether the rest of the line is passed on as it is, because it is damaged.
    is_damaged: bool,
}

/// A place at which bytes of a text were left out.
#[derive(Clone, Copy, Debug)]
struct TextCut {
    /// The byte of the output behind the note that says how many.
    behind: usize,
    /// How many bytes were left out, without the length of the note.
    bytes: u64,
}

/// A line with shortened texts.
#[derive(Debug)]
pub(super) struct ShortLine {
    pub(super) bytes: Vec<u8>,
    cuts: Vec<TextCut>,
}

impl ShortLine {
    /// Returns the position in the whole line of a position in the short one, which is not within a text.
    pub(super) fn whole_position(&self, position: u64) -> u64 {
        let before = self.cuts.iter().take_while(|cut| cut.behind as u64 <= position);
        // A note can be longer than what it replaces.
        before.fold(position, |position, cut| position.wrapping_add(cut.bytes))
    }
}

/// A text while it is read.
#[derive(Debug, Default)]
struct TextState {
    /// The first bytes, which tell whether it is an image.
    first: Vec<u8>,
    is_image: bool,
    /// How many bytes of its beginning may still be passed on.
    room: usize,
    /// The most bytes in each buffer.
    half: usize,
    before: Vec<u8>,
    last: Vec<u8>,
    left_out: u64,
    /// An escape that is not complete, with its backslash.
    escape: Vec<u8>,
    /// The beginning of a character that is divided between two parts.
    character: Vec<u8>,
    /// A byte that makes the line no line, and could be left out. It is passed on in any case.
    damage: Option<u8>,
}

impl TextState {
    /// Looks for what no text of JSON has: control characters, bytes that are no UTF-8, unknown escapes.
    fn check(&mut self, mut bytes: &[u8], is_escape: bool) {
        if is_escape {
            let is_known = match bytes {
                [_, b'u', digits @ ..] => digits.iter().all(u8::is_ascii_hexdigit),
                [_, letter] => b"\"\\/bfnrt".contains(letter),
                _ => false,
            };
            self.damage = self.damage.or((!is_known).then_some(0));
            return;
        }
        // Without an early end, which would be slower.
        if bytes.iter().fold(false, |has_control, byte| has_control | (*byte < b' ')) {
            self.damage = self.damage.or(bytes.iter().copied().find(|byte| *byte < b' '));
        }
        // A character can be divided between two parts; it has at most four bytes.
        while let [first, rest @ ..] = bytes
            && !self.character.is_empty()
        {
            self.character.push(*first);
            bytes = rest;
            match std::str::from_utf8(&self.character) {
                Err(error) if error.error_len().is_none() => {}
                outcome => {
                    self.damage = self.damage.or(outcome.err().map(|_| u8::MAX));
                    self.character.clear();
                }
            }
        }
        if let Err(error) = std::str::from_utf8(bytes) {
            match error.error_len() {
                Some(_) => self.damage = self.damage.or(Some(u8::MAX)),
                None => self.character = bytes[error.valid_up_to()..].to_vec(),
            }
        }
    }
}

impl<R: Read> ShortTexts<R> {
    /// Creates a reader of the lines of `source`.
    pub fn new(source: R, max: usize) -> Self {
        Self { source, block: vec![0; BLOCK], shortener: TextShortener::new(max), passed: 0 }
    }
}

impl TextShortener {
    pub(super) fn new(max: usize) -> Self {
        let (out, cuts) = (Vec::new(), Vec::new());
        let spare = TextState::default();
        let max = max.max(MIN_TEXT);
        Self { max, out, cuts, text: None, spare, line: 0, images: IMAGE_BYTES, is_damaged: false }
    }

    /// Takes the line whose bytes were added, or the rest of it at the end of the log.
    pub(super) fn take_line(&mut self) -> ShortLine {
        // A text without an end is that of a torn line.
        self.end_text();
        self.begin_line();
        ShortLine { bytes: std::mem::take(&mut self.out), cuts: std::mem::take(&mut self.cuts) }
    }

    /// Adds bytes.
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        while let Some(first) = bytes.first() {
            if self.is_damaged {
                let end = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
                self.out.extend_from_slice(&bytes[..end]);
                if bytes[end - 1] == b'\n' {
                    self.begin_line();
                }
                bytes = &bytes[end..];
                continue;
            }
            let Some(text) = &mut self.text else {
                // Outside of texts: up to the next one, or the end of the line.
                let end = memchr::memchr2(b'"', b'\n', bytes).map_or(bytes.len(), |at| at + 1);
                if !bytes[..end].iter().all(|byte| is_outside_of_texts(*byte)) {
                    self.is_damaged = true;
                    continue;
                }
                self.out.extend_from_slice(&bytes[..end]);
                self.line += end;
                match bytes[end - 1] {
                    b'"' => self.begin_text(),
                    b'\n' => self.begin_line(),
                    _ => {}
                }
                bytes = &bytes[end..];
                continue;
            };
            if *first == b'\n' {
                // A text has no newline: the line is torn.
                self.end_text();
                self.begin_line();
                self.out.push(b'\n');
                bytes = &bytes[1..];
            } else if !text.escape.is_empty() {
                text.escape.push(*first);
                let len = if text.escape[1] == b'u' { 6 } else { 2 };
                if text.escape.len() == len {
                    let escape = std::mem::take(&mut text.escape);
                    self.add(&escape);
                }
                bytes = &bytes[1..];
            } else if *first == b'"' {
                self.end_text();
                self.out.push(b'"');
                bytes = &bytes[1..];
            } else if *first == b'\\' {
                text.escape.push(b'\\');
                bytes = &bytes[1..];
            } else {
                let end = memchr::memchr3(b'"', b'\\', b'\n', bytes).unwrap_or(bytes.len());
                self.add(&bytes[..end]);
                bytes = &bytes[end..];
            }
        }
    }

    fn begin_line(&mut self) {
        self.line = 0;
        self.is_damaged = false;
    }

    fn begin_text(&mut self) {
        let is_long = self.line > self.max.saturating_mul(LONG_TEXTS);
        let half = if is_long { MIN_TEXT } else { self.max } / 2;
        let mut text = std::mem::take(&mut self.spare);
        for buffer in [&mut text.first, &mut text.before, &mut text.last, &mut text.escape, &mut text.character] {
            buffer.clear();
        }
        self.text = Some(TextState { is_image: false, room: half, half, left_out: 0, damage: None, ..text });
    }

    /// Adds characters or one escape to the text. They are divided between two characters only, also if a character is divided
    /// between two calls.
    fn add(&mut self, mut bytes: &[u8]) {
        let is_escape = bytes.first() == Some(&b'\\');
        let is_low_surrogate = is_escape && is_low_surrogate(bytes);
        let Some(text) = &mut self.text else { return };
        while !bytes.is_empty() {
            let is_begun = |at: usize| match is_escape {
                true => at == 0 && is_low_surrogate,
                false => bytes.get(at).is_some_and(|byte| byte & 0xC0 == 0x80),
            };
            if text.first.len() < IMAGE.len() {
                let end = bytes.len().min(IMAGE.len() - text.first.len());
                text.first.extend_from_slice(&bytes[..end]);
            } else if text.room == 0 && !text.is_image && text.first == IMAGE {
                text.is_image = true;
                text.room = self.images;
            }
            let is_beginning = text.before.is_empty() && text.last.is_empty() && (text.room > 0 || is_begun(0));
            if !is_beginning && bytes.len() > 4 * text.half {
                // Of so many bytes, only the last ones can stay.
                let from = |at: usize| (at..bytes.len()).find(|at| !is_begun(*at)).unwrap_or(bytes.len());
                let (before, last) = (from(bytes.len() - 2 * text.half), from(bytes.len() - text.half));
                text.check(bytes, false);
                text.left_out += (text.before.len() + text.last.len() + before) as u64;
                text.before = bytes[before..last].to_vec();
                text.last = bytes[last..].to_vec();
                return;
            }
            if !is_beginning && text.last.len() >= text.half && !is_begun(0) {
                text.left_out += text.before.len() as u64;
                std::mem::swap(&mut text.before, &mut text.last);
                text.last.clear();
            }
            let room = if is_beginning { text.room } else { text.half.saturating_sub(text.last.len()) };
            let mut end = if is_escape { bytes.len() } else { room.min(bytes.len()) };
            while is_begun(end) {
                end += 1;
            }
            // Progress, also without room.
            let end = end.max(1);
            if is_beginning {
                self.out.extend_from_slice(&bytes[..end]);
                self.line += end;
                text.room = text.room.saturating_sub(end);
                if text.is_image {
                    self.images = self.images.saturating_sub(end);
                }
            } else {
                text.check(&bytes[..end], is_escape);
                text.last.extend_from_slice(&bytes[..end]);
            }
            bytes = &bytes[end..];
        }
    }

    fn end_text(&mut self) {
        let Some(text) = self.text.take() else { return };
        if text.left_out > 0 {
            let note = format!("{BEFORE_NUMBER}{}{AFTER_NUMBER}", text.left_out).replace('\n', "\\n");
            self.out.extend_from_slice(note.as_bytes());
            let bytes = text.left_out.wrapping_sub(note.len() as u64);
            self.cuts.push(TextCut { behind: self.out.len(), bytes });
            if let Some(damage) = text.damage {
                // Instead of one of the bytes that were left out.
                self.out.push(damage);
                self.cuts.push(TextCut { behind: self.out.len(), bytes: u64::MAX });
            }
        }
        for part in [&text.before, &text.last, &text.escape] {
            self.out.extend_from_slice(part);
            self.line += part.len();
        }
        self.spare = text;
    }
}

impl<R: Read> Read for ShortTexts<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Self { source, block, shortener, passed } = self;
        while *passed == shortener.out.len() {
            shortener.out.clear();
            shortener.cuts.clear();
            *passed = 0;
            let len = source.read(block)?;
            shortener.push(&block[..len]);
            if len == 0 {
                // A text without an end is that of a torn line.
                shortener.end_text();
                if shortener.out.is_empty() {
                    return Ok(0);
                }
            }
        }
        let len = into.len().min(shortener.out.len() - *passed);
        into[..len].copy_from_slice(&shortener.out[*passed..*passed + len]);
        *passed += len;
        Ok(len)
    }
}

/// Returns whether JSON has this byte outside of texts: in its structure, in numbers, and in `true`, `false` and `null`.
const fn is_outside_of_texts(byte: u8) -> bool {
    let is_structure = matches!(byte, b'{' | b'}' | b'[' | b']' | b',' | b':' | b'"' | b' ' | b'\t' | b'\r' | b'\n');
    let is_number = matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'E');
    is_structure || is_number || matches!(byte, b't' | b'r' | b'u' | b'e' | b'f' | b'a' | b'l' | b's' | b'n')
}

/// Returns whether an escape is the second half of a character that is divided into two. The halves stay together.
fn is_low_surrogate(escape: &[u8]) -> bool {
    matches!(escape, [_, b'u', b'd' | b'D', b'c'..=b'f' | b'C'..=b'F', ..])
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use serde_json::{Value, json};

    use super::{ShortTexts, bytes_left_out};

    /// Bytes that are read in blocks of a size, so that characters and escapes are divided between them.
    struct Blocks<'a>(&'a [u8], usize);

    impl Read for Blocks<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let len = self.0.len().min(self.1).min(into.len());
            into[..len].copy_from_slice(&self.0[..len]);
            self.0 = &self.0[len..];
            Ok(len)
        }
    }

    fn short_bytes(lines: &[u8], max: usize, block: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let mut reader = ShortTexts::new(Blocks(lines, block), max);
        reader.shortener.max = max;
        reader.read_to_end(&mut out).unwrap();
        out
    }

    fn short(lines: &str, max: usize, block: usize) -> String {
        String::from_utf8(short_bytes(lines.as_bytes(), max, block)).unwrap()
    }

    #[test]
    fn long_texts_keep_their_beginning_and_their_end() {
        let text = format!("begin é\n\"{}\\😀 end", "zé\n\t\"".repeat(1_000));
        let line = json!({"a": text, "b": [1, {"c": "short"}], "d": "x".repeat(40)}).to_string();
        for block in [1, 2, 3, 7, 64, 1 << 20] {
            for max in [40, 41, 42, 43, 99] {
                let value: Value = serde_json::from_str(&short(&line, max, block)).unwrap();
                let shown = value["a"].as_str().unwrap();
                assert!(shown.starts_with("begin é") && shown.ends_with("\\😀 end"), "{shown}");
                assert!(shown.len() < 2 * max + 60 && bytes_left_out(shown).is_some_and(|bytes| bytes > 6_000));
                assert_eq!((&value["b"], &value["d"]), (&json!([1, {"c": "short"}]), &json!("x".repeat(40))));
            }
        }
    }

    #[test]
    fn short_lines_and_damage_stay_as_they_are() {
        for text in [
            "",
            "\n",
            "{\"a\":\"b\\\\\"}\n{\"torn\n{\"c\":\"d\"}\n",
            "no \"json\\",
            "\"\\u12",
            "{\"ä\":\"\\ud83d\\ude00\"}",
        ] {
            for block in [1, 5, 1_000] {
                assert_eq!(short(text, 10, block), text);
            }
        }
        // A long text that is torn ends with its line.
        let torn = format!("{{\"a\":\"{}\n{{\"b\":1}}\n", "x".repeat(1_000));
        let out = short(&torn, 20, 100);
        assert!(out.len() < 150 && out.ends_with("\n{\"b\":1}\n"), "{out}");
    }

    #[test]
    fn a_character_of_two_escapes_is_not_divided() {
        let (high, low) = ("\\ud83d", "\\ude00");
        for before in 100..170 {
            let text = format!("{}{high}{low}{}{high}{low}{}", "x".repeat(before), "y".repeat(900), "z".repeat(before));
            for block in [1, 5, 1 << 16] {
                let out = short(&format!("{{\"a\":\"{text}\"}}"), 300, block);
                let value: Value = serde_json::from_str(&out).unwrap();
                assert!(bytes_left_out(value["a"].as_str().unwrap()).is_some());
            }
        }
    }

    #[test]
    fn damage_in_what_is_left_out_stays_damage() {
        let line = |middle: &[u8]| {
            let half = "long é ".repeat(200);
            [b"{\"a\":\"", half.as_bytes(), middle, half.as_bytes(), b"\"}"].concat()
        };
        for middle in [&b"\x00\x00"[..], b"\x1f", b"\xff", b"\xc3", b"\xe2\x82", b"\\x", b"\\u12g4"] {
            for block in [1, 2, 3, 1 << 16] {
                let bytes = line(middle);
                assert!(serde_json::from_slice::<Value>(&bytes).is_err());
                let out = short_bytes(&bytes, 300, block);
                assert!(out.len() < 1_000);
                assert!(serde_json::from_slice::<Value>(&out).is_err(), "{middle:?} in blocks of {block}");
            }
        }
        for middle in ["é", "\\\"", "\\u00e9", "\u{10ffff}"] {
            for block in [1, 2, 3, 1 << 16] {
                serde_json::from_slice::<Value>(&short_bytes(&line(middle.as_bytes()), 300, block)).unwrap();
            }
        }
    }

    #[test]
    fn an_image_stays_whole_and_many_texts_do_not() {
        let image = format!("data:image/png;base64,{}", "A".repeat(100_000));
        let line = json!({"url": image}).to_string();
        assert_eq!(short(&line, 100, 1_000), line);
        let many = json!(vec!["x".repeat(1_000); 1_000]).to_string();
        assert!(short(&many, 1_000, 1 << 16).len() < 500_000);
        serde_json::from_str::<Value>(&short(&many, 1_000, 1 << 16)).unwrap();
    }
}
