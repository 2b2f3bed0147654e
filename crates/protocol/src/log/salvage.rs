//! Finds the intact lines in bytes that are not one line.
//!
//! Four accidents leave intact lines between two newlines where one line is expected (`L` is an intact line):
//!
//! | accident | bytes | result |
//! | --- | --- | --- |
//! | a torn line, and an append behind it | `{"timestamp":"2026-1` `L` | damage, `L` |
//! | a newline that was lost | `L` `L` | `L`, `L` |
//! | a block that a crash left unwritten | `\0\0\0` `L` | damage (NULs), `L` |
//! | a line with garbage behind it | `L` `x7` | `L`, damage |
//!
//! Every complete envelope in such bytes is a line that its writer wrote, so it is returned. There is one exception: a
//! payload can contain a copy of a line. If the line around it is torn, the copy is complete and yet not a line:
//!
//! ```text
//! {"timestamp":"…","type":"event_msg","payload":{"seen":{"timestamp":"…","type":"event_msg","payload":{}},"te
//! ^ a torn line                                        ^ a complete envelope, but a value inside of the torn line
//! ```
//!
//! [`is_inside`] recognizes this case from the bytes before and behind the envelope.

use std::ops::Range;

use serde_json::value::RawValue;

use super::entry::DamageKind;
use crate::{LineFormat, RolloutLine};

/// The bytes with which every writer of the format begins an envelope. Keys could come in any order, but only damaged
/// bytes are searched, and a search for `{` alone would try every object of every payload.
const ENVELOPE_START: &[u8] = br#"{"timestamp":"#;

/// The bytes may be scanned this many times in vain; then the rest is damage. Without a limit, the time would grow with
/// the square of the length for a hostile file: it can repeat [`ENVELOPE_START`] so that each start fails only at the
/// end.
const MAX_PASSES: usize = 64;

/// A part of the bytes, with its range in them.
pub(super) enum SalvagedPart {
    Line(RolloutLine, Range<usize>),
    Damage(DamageKind, Range<usize>),
}

/// Returns the parts of the bytes in order. Together they cover all bytes except white space. `kind` is what is wrong
/// with the bytes as a whole; damaged parts get it, except blocks of NULs.
pub(super) fn salvage(bytes: &[u8], kind: DamageKind) -> Vec<SalvagedPart> {
    // The idea: search for the beginning of an envelope, and let the JSON parser find out whether an object ends
    // somewhere behind it. Whatever is between two lines that were found is damage.
    //
    //     bytes      {"timestamp":"2026-1{"timestamp":"2026-11-21T09:08:56.680Z",…}⏎
    //     start  0   the string ends in the middle of the next envelope, so the parser fails: `from` becomes 1
    //     start 20   a complete envelope; the bytes before it are cut within a string, so they do not contain it
    //     result     Damage(0..20), Line(20..)
    let mut parts = Vec::new();
    // Invariant: `parts` cover `..done`, and `done <= from`. The bytes in `done..from` contain no line. They are damage
    // of their own only when the next line or the end is found; until then they can be the line of which an envelope is
    // a part.
    let mut done = 0;
    let mut from = 0;
    let mut budget = bytes.len().saturating_mul(MAX_PASSES);
    while let Some(start) = next_start(bytes, from).filter(|_| budget > 0) {
        let (line, end) = match object_at(&bytes[start..]) {
            Ok((text, len)) => (envelope(text), start + len),
            Err(cost) => {
                // The object at `start` is torn, but the next start may be complete: continue within it.
                budget = budget.saturating_sub(cost);
                from = start + 1;
                continue;
            }
        };
        // The search continues behind a complete object and never within it. So an envelope that a payload of an intact
        // line contains is not found.
        from = end;
        let Some(line) = line else { continue };
        if is_inside(&bytes[done..start], &bytes[end..]) {
            budget = budget.saturating_sub(start - done);
            continue;
        }
        push_damage(&mut parts, bytes, done..start, &kind);
        // The newline belongs to the line, so that an offset just behind a line is always one just behind its newline.
        let end = end + newline_len(&bytes[end..]);
        parts.push(SalvagedPart::Line(line, start..end));
        (done, from) = (end, end);
    }
    push_damage(&mut parts, bytes, done..bytes.len(), &kind);
    parts
}

/// Returns the offset of the next possible beginning of an envelope, at `from` or behind it.
fn next_start(bytes: &[u8], from: usize) -> Option<usize> {
    memchr::memmem::find(bytes.get(from..)?, ENVELOPE_START).map(|at| from + at)
}

/// Returns the object with which `bytes` begin: its text and its length.
///
/// # Errors
/// The number of bytes that had to be read to see that there is no complete object.
fn object_at(bytes: &[u8]) -> Result<(&str, usize), usize> {
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<&RawValue>();
    match values.next() {
        Some(Ok(value)) => Ok((value.get(), values.byte_offset())),
        // The bytes contain no newline before the last one, so the column is the number of bytes read.
        Some(Err(error)) if !error.is_eof() => Err(error.column().max(1)),
        _ => Err(bytes.len()),
    }
}

/// Returns the line that an object is. `None` if it is not a complete envelope.
fn envelope(text: &str) -> Option<RolloutLine> {
    // `RolloutLine::parse` accepts any object, because between two newlines any object is a line. Here the position is
    // a guess: the object can be a payload of a torn line that happens to begin with a timestamp. So it must have all
    // parts.
    let line = RolloutLine::parse(text).ok()?;
    let whole = line.format() == LineFormat::Envelope && line.timestamp().is_some() && line.payload() != "null";
    (whole && !line.kind().is_empty()).then_some(line)
}

/// Returns whether an object is a value inside of a torn line. `before` are the bytes since the last intact line, and
/// `after` the bytes behind the object.
fn is_inside(before: &[u8], after: &[u8]) -> bool {
    // Three things must hold for a value inside of a torn line:
    //
    // 1. `before` begins an object.
    // 2. At the end of `before`, that object needs a value.
    // 3. Behind the value, the object continues (`,`, `}` or `]`), or the bytes end. Behind a line of its own there is
    //    a newline, or whatever replaced the newline.
    //
    //     before   {"timestamp":"…","type":"event_msg","payload":{"seen":     needs a value
    //     object   {"timestamp":"…","type":"event_msg","payload":{}}
    //     after    ,"text":"cut o                                             continues
    //
    // If in doubt, the object counts as a line, because a reader promises to return every intact line.
    let first = before.iter().find(|byte| !byte.is_ascii_whitespace());
    let continues = matches!(after.first(), Some(b',' | b'}' | b']'));
    first == Some(&b'{') && (continues || after.is_empty()) && expects_value(before)
}

/// Returns whether the next token behind these bytes of an object can be a value.
fn expects_value(bytes: &[u8]) -> bool {
    // The last token decides: a value follows `:`, `[` and `,`. (In an object, a key follows `,`. But the next
    // token is an object here, which cannot be a key.) If the bytes are cut within a string, what follows is not a value.
    // A scan that only knows strings suffices, and a parser would refuse torn bytes.
    let mut in_string = false;
    let mut escaped = false;
    // The last significant byte outside of strings; `"` stands for a whole string.
    let mut last = 0;
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => (in_string, last) = (!in_string, b'"'),
            _ if in_string || byte.is_ascii_whitespace() => {}
            other => last = *other,
        }
    }
    !in_string && matches!(last, b':' | b'[' | b',')
}

/// Returns the length of the newline with which `bytes` begin, or 0.
fn newline_len(bytes: &[u8]) -> usize {
    match bytes {
        [b'\n', ..] => 1,
        [b'\r', b'\n', ..] => 2,
        _ => 0,
    }
}

/// Adds a damaged part, unless the range is blank.
fn push_damage(parts: &mut Vec<SalvagedPart>, bytes: &[u8], range: Range<usize>, kind: &DamageKind) {
    let damaged = &bytes[range.clone()];
    if damaged.iter().all(u8::is_ascii_whitespace) {
        return;
    }
    let kind = if damaged.iter().all(|byte| *byte == 0 || byte.is_ascii_whitespace()) {
        DamageKind::Nul
    } else {
        kind.clone()
    };
    parts.push(SalvagedPart::Damage(kind, range));
}
