//! What is intact in a stretch of bytes that is not one line.
//!
//! A torn line may have another one spliced on; two lines may have lost the newline between them; a block of NULs may stand
//! before or after a line. Every whole envelope in such a stretch is a line that its writer wrote, so it is given.

use std::ops::Range;

use selvedge_protocol::{LineFormat, RolloutLine};
use serde_json::value::RawValue;

use crate::reader::DamageKind;

/// How every writer of the format begins an envelope.
const ENVELOPE_START: &[u8] = br#"{"timestamp":"#;

/// How many beginnings are tried in one stretch. Each try may read to the end of it, and a hostile file could hold many.
const MAX_TRIES: usize = 64;

/// A part of a stretch, with its place in it.
pub(crate) enum Piece {
    Line(RolloutLine, Range<usize>),
    Damage(DamageKind, Range<usize>),
}

/// The pieces of a stretch in order; together they are all of it, white space aside.
pub(crate) fn salvage(bytes: &[u8], kind: DamageKind) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut done = 0;
    let mut from = 0;
    for _ in 0..MAX_TRIES {
        let Some(start) = next_start(bytes, from) else { break };
        match envelope_at(bytes, start) {
            Some((line, end)) => {
                push_damage(&mut pieces, bytes, done..start, &kind);
                pieces.push(Piece::Line(line, start..end));
                (done, from) = (end, end);
            }
            None => from = start + 1,
        }
    }
    push_damage(&mut pieces, bytes, done..bytes.len(), &kind);
    pieces
}

fn next_start(bytes: &[u8], from: usize) -> Option<usize> {
    memchr::memmem::find(bytes.get(from..)?, ENVELOPE_START).map(|at| from + at)
}

/// The envelope that begins at `start`, and where it ends. Objects of other shapes are no lines: a payload inside a torn
/// line may well begin with a timestamp.
fn envelope_at(bytes: &[u8], start: usize) -> Option<(RolloutLine, usize)> {
    let mut values = serde_json::Deserializer::from_slice(&bytes[start..]).into_iter::<&RawValue>();
    let text = values.next()?.ok()?.get();
    let line = RolloutLine::parse(text).ok()?;
    let whole = line.format() == LineFormat::Envelope && line.timestamp().is_some() && line.payload() != "null";
    (whole && !line.kind().is_empty()).then_some((line, start + values.byte_offset()))
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
