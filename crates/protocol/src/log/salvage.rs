//! What is intact in a stretch of bytes that is not one line.
//!
//! A torn line may have another one spliced on; two lines may have lost the newline between them; a block of NULs may stand
//! before or after a line. Every whole envelope in such a stretch is a line that its writer wrote, so it is given; except
//! one that is a value inside a torn line, a copy that some payload carries.

use std::ops::Range;

use serde_json::value::RawValue;

use super::DamageKind;
use crate::{LineFormat, RolloutLine};

/// How every writer of the format begins an envelope.
const ENVELOPE_START: &[u8] = br#"{"timestamp":"#;

/// How often a stretch may be read through for nothing. A hostile file could hold as many beginnings as it likes, each of
/// them only found to be none at the end of the stretch.
const MAX_PASSES: usize = 64;

/// A part of a stretch, with its place in it.
pub(super) enum Piece {
    Line(RolloutLine, Range<usize>),
    Damage(DamageKind, Range<usize>),
}

/// The pieces of a stretch in order; together they are all of it, white space aside.
pub(super) fn salvage(bytes: &[u8], kind: DamageKind) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut done = 0;
    let mut from = 0;
    let mut budget = bytes.len().saturating_mul(MAX_PASSES);
    while let Some(start) = next_start(bytes, from).filter(|_| budget > 0) {
        let (line, end) = match object_at(&bytes[start..]) {
            Ok((text, len)) => (envelope(text), start + len),
            Err(cost) => {
                budget = budget.saturating_sub(cost);
                from = start + 1;
                continue;
            }
        };
        from = end;
        let Some(line) = line else { continue };
        if is_inside(&bytes[done..start], &bytes[end..]) {
            budget = budget.saturating_sub(start - done);
            continue;
        }
        push_damage(&mut pieces, bytes, done..start, &kind);
        // A place just behind a line is one just behind its newline.
        let end = end + newline_len(&bytes[end..]);
        pieces.push(Piece::Line(line, start..end));
        (done, from) = (end, end);
    }
    push_damage(&mut pieces, bytes, done..bytes.len(), &kind);
    pieces
}

fn next_start(bytes: &[u8], from: usize) -> Option<usize> {
    memchr::memmem::find(bytes.get(from..)?, ENVELOPE_START).map(|at| from + at)
}

/// The text of the object that `bytes` begin with and its length, or how many bytes it took to see that there is none.
fn object_at(bytes: &[u8]) -> Result<(&str, usize), usize> {
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<&RawValue>();
    match values.next() {
        Some(Ok(value)) => Ok((value.get(), values.byte_offset())),
        // The stretch is one line, so that the column is the place.
        Some(Err(error)) if !error.is_eof() => Err(error.column().max(1)),
        _ => Err(bytes.len()),
    }
}

/// The envelope that this object is. Objects of other shapes are no lines: a payload inside a torn line may well begin
/// with a timestamp.
fn envelope(text: &str) -> Option<RolloutLine> {
    let line = RolloutLine::parse(text).ok()?;
    let whole = line.format() == LineFormat::Envelope && line.timestamp().is_some() && line.payload() != "null";
    (whole && !line.kind().is_empty()).then_some(line)
}

/// Whether an object is a value inside a torn line: the line goes on behind it, or it breaks off there and an object was
/// due. Behind a line of its own stands a newline, or whatever else came in its place.
fn is_inside(before: &[u8], after: &[u8]) -> bool {
    let first = before.iter().find(|byte| !byte.is_ascii_whitespace());
    let goes_on = matches!(after.first(), Some(b',' | b'}' | b']'));
    first == Some(&b'{') && (goes_on || after.is_empty()) && expects_value(before)
}

/// Whether a value is due after these bytes of an object.
fn expects_value(bytes: &[u8]) -> bool {
    let mut in_string = false;
    let mut escaped = false;
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

fn newline_len(bytes: &[u8]) -> usize {
    match bytes {
        [b'\n', ..] => 1,
        [b'\r', b'\n', ..] => 2,
        _ => 0,
    }
}

fn push_damage(pieces: &mut Vec<Piece>, bytes: &[u8], range: Range<usize>, kind: &DamageKind) {
    let stretch = &bytes[range.clone()];
    if stretch.iter().all(u8::is_ascii_whitespace) {
        return;
    }
    let kind = if stretch.iter().all(|byte| *byte == 0 || byte.is_ascii_whitespace()) {
        DamageKind::Nul
    } else {
        kind.clone()
    };
    pieces.push(Piece::Damage(kind, range));
}
