//! Finding a text in names and in what users and agents said, thought and ran.
//!
//! What can be asked, [`SearchQuery`](selvedge_protocol::SearchQuery) says. Texts are compared in their *folded* form
//! ([`fold_text`]): upper and lower case are the same in every script, and so are their longer spellings (`STRASSE` finds
//! `straße`), and any run of white space is one space. What is found is told in bytes of the original text, always at whole
//! characters.

use std::fmt;
use std::ops::Range;

use selvedge_protocol::{OtherTurnItem, SearchHit, SearchOrder, StoredThread, Turn, TurnId, TurnItem};
use serde_json::Value;

/// How many characters of what stands around a hit a snippet shows on either side.
const CONTEXT: usize = 60;

/// How many bytes a snippet reaches from the first term that it is about to the last.
const SPREAD: usize = 160;

/// How many places of a text are looked at for the best snippet.
const MAX_PLACES: usize = 256;

/// A bare term with fewer characters is looked for at the beginnings of words only.
const SHORT: usize = 3;

/// What is searched for: terms that must all stand in the same name or item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextSearch {
    terms: Vec<SearchTerm>,
}

/// One of the terms, folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchTerm {
    /// Stands anywhere.
    Anywhere(String),
    /// Stands where a word begins: a letter or digit behind something else, or at the beginning of the text.
    WordStart(String),
}

/// A text that says nothing to search for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmptySearch;

impl fmt::Display for EmptySearch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no text to search for")
    }
}

impl std::error::Error for EmptySearch {}

/// A piece of a text with what was looked for in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snippet {
    /// The piece, on one line. `…` stands where the text goes on.
    pub text: String,
    /// Where in the piece the terms are, in bytes: ascending, and no two touch.
    pub highlights: Vec<(usize, usize)>,
}

/// How well a thread fits a search, for stores that have no better measure: those that are named so first, then those in
/// which the terms stand more often, counted in powers of two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SearchRank {
    /// Whether the thread's name is a hit.
    pub in_name: bool,
    /// How often terms stand in the items that are hits, as the number of binary digits of that number.
    pub level: u32,
}

/// What was found in one thread.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ThreadHits {
    /// The places, as many as were asked for.
    pub hits: Vec<SearchHit>,
    /// How well the thread fits, counted over all its places; told by [`SearchOrder::Best`] alone.
    pub rank: SearchRank,
}

impl TextSearch {
    /// The search that `text` means.
    ///
    /// # Errors
    /// When no term is in it.
    pub fn new(text: &str) -> Result<Self, EmptySearch> {
        let terms = parse(text);
        if terms.is_empty() { Err(EmptySearch) } else { Ok(Self { terms }) }
    }

    /// The terms, in the order in which they were typed. There is at least one.
    #[must_use]
    pub fn terms(&self) -> &[SearchTerm] {
        &self.terms
    }

    /// How often the terms stand in the texts of one item; nothing unless each of them does.
    #[must_use]
    pub fn count<S: AsRef<str>>(&self, texts: &[S]) -> Option<u64> {
        let mut counts = vec![0_u64; self.terms.len()];
        for text in texts {
            let folded = fold_text(text.as_ref());
            for (term, count) in self.terms.iter().zip(&mut counts) {
                *count += term.places(&folded).fold(0, |count, _| count + 1);
            }
        }
        counts.iter().all(|count| *count > 0).then(|| counts.iter().sum())
    }

    /// A piece of the texts of one item that shows the terms: of the text in which most of them stand, the part in which
    /// they are closest together. Nothing unless each of them stands in one of the texts.
    #[must_use]
    pub fn snippet<S: AsRef<str>>(&self, texts: &[S]) -> Option<Snippet> {
        let mut found = vec![false; self.terms.len()];
        let mut best: Option<(usize, &str)> = None;
        for text in texts {
            let folded = fold_text(text.as_ref());
            let mut here = 0;
            for (term, found) in self.terms.iter().zip(&mut found) {
                let stands = term.places(&folded).next().is_some();
                *found |= stands;
                here += usize::from(stands);
            }
            if here > best.map_or(0, |(most, _)| most) {
                best = Some((here, text.as_ref()));
            }
        }
        let (_, text) = best.filter(|_| found.iter().all(|found| *found))?;
        Some(snippet(text, &self.places(text)))
    }

    /// The hits of one thread, `limit` at most: its name, and every item in whose texts all terms stand.
    ///
    /// Sorted, they come as they stand in the thread, with the name first, and what lies behind the last is not looked at.
    /// Otherwise the items come first in which the terms stand more often.
    #[must_use]
    pub fn hits(&self, thread: &StoredThread, turns: &[Turn], order: SearchOrder, limit: usize) -> ThreadHits {
        match order {
            SearchOrder::Sorted => {
                let in_items = items(turns).filter_map(|item| self.item_hit(thread, &item));
                let hits = self.name_hit(thread).into_iter().chain(in_items).take(limit).collect();
                ThreadHits { hits, rank: SearchRank::default() }
            }
            SearchOrder::Best => self.best_hits(thread, turns, limit),
        }
    }

    /// The hit in a thread's name.
    #[must_use]
    pub fn name_hit(&self, thread: &StoredThread) -> Option<SearchHit> {
        let Snippet { text, highlights } = self.snippet(&[thread.name.as_deref()?])?;
        Some(SearchHit {
            thread: thread.clone(),
            turn_id: None,
            turn_number: None,
            position: None,
            kind: "name".to_owned(),
            snippet: text,
            highlights,
        })
    }

    fn best_hits(&self, thread: &StoredThread, turns: &[Turn], limit: usize) -> ThreadHits {
        let in_name = self.name_hit(thread);
        let counted = items(turns).filter_map(|item| Some((self.count(&item_texts(item.item))?, item)));
        let mut counted: Vec<_> = counted.collect();
        let total: u64 = counted.iter().map(|(count, _)| count).sum();
        let rank = SearchRank { in_name: in_name.is_some(), level: u64::BITS - total.leading_zeros() };
        // A larger number has fewer zeros before it. Of items with as many, those that stand first come first.
        counted.sort_by_key(|(count, _)| count.leading_zeros());
        let in_items = counted.iter().filter_map(|(_, item)| self.item_hit(thread, item));
        ThreadHits { hits: in_name.into_iter().chain(in_items).take(limit).collect(), rank }
    }

    /// The hit in an item.
    #[must_use]
    pub fn item_hit(&self, thread: &StoredThread, place: &ItemPlace<'_>) -> Option<SearchHit> {
        let Snippet { text, highlights } = self.snippet(&item_texts(place.item))?;
        Some(SearchHit {
            thread: thread.clone(),
            turn_id: Some(place.turn_id.clone()),
            turn_number: Some(place.turn_number),
            position: place.position,
            kind: place.item.kind().to_owned(),
            snippet: text,
            highlights,
        })
    }

    /// Where in a text the terms stand, each with the number of its term; the first ones, sorted.
    fn places(&self, text: &str) -> Vec<(Range<usize>, usize)> {
        let folded = fold_text(text);
        let per_term = (MAX_PLACES / self.terms.len()).max(1);
        let mut places: Vec<(Range<usize>, usize)> = Vec::new();
        for (number, term) in self.terms.iter().enumerate() {
            places.extend(term.places(&folded).take(per_term).map(|place| (place, number)));
        }
        places.sort_by_key(|(place, _)| (place.start, place.end));
        places.truncate(MAX_PLACES);
        unfold(text, folded.len(), &mut places);
        places
    }
}

/// An item with where it stands.
#[derive(Clone, Copy, Debug)]
pub struct ItemPlace<'a> {
    /// The turn.
    pub turn_id: &'a TurnId,
    /// Which turn of the thread that is, counted from 1.
    pub turn_number: u64,
    /// The line that the item began with, as its position in the thread's history.
    pub position: Option<u64>,
    /// The item.
    pub item: &'a TurnItem,
}

fn items(turns: &[Turn]) -> impl Iterator<Item = ItemPlace<'_>> {
    (1..).zip(turns).flat_map(|(turn_number, turn)| {
        turn.items.iter().enumerate().map(move |(at, item)| ItemPlace {
            turn_id: &turn.id,
            turn_number,
            position: turn.item_positions.get(at).copied(),
            item,
        })
    })
}

impl SearchTerm {
    /// The term, folded.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Anywhere(text) | Self::WordStart(text) => text,
        }
    }

    /// A term that stands by itself. What begins no word cannot be looked for at the beginning of one.
    fn bare(term: &str) -> Self {
        let stem = term.strip_suffix('*').filter(|stem| !stem.is_empty());
        let text = fold_text(stem.unwrap_or(term));
        let is_for_words = stem.is_some() || text.chars().nth(SHORT - 1).is_none();
        if is_for_words && text.starts_with(char::is_alphanumeric) {
            Self::WordStart(text)
        } else {
            Self::Anywhere(text)
        }
    }

    /// Where the term stands in a folded text. No two places overlap.
    fn places(&self, folded: &str) -> impl Iterator<Item = Range<usize>> {
        let term = self.text();
        let mut from = 0;
        std::iter::from_fn(move || {
            loop {
                let start = from + folded.get(from..)?.find(term)?;
                let end = start + term.len();
                if matches!(self, Self::Anywhere(_)) || begins_word(folded, start) {
                    from = end;
                    return Some(start..end);
                }
                from = start + folded[start..].chars().next().map_or(1, char::len_utf8);
            }
        })
    }
}

fn begins_word(text: &str, at: usize) -> bool {
    !text[..at].chars().next_back().is_some_and(char::is_alphanumeric)
}

/// The terms of a text.
fn parse(text: &str) -> Vec<SearchTerm> {
    let mut terms = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (phrase, behind) = phrase(quoted);
            rest = behind;
            if !phrase.trim().is_empty() {
                terms.push(SearchTerm::Anywhere(fold_text(&phrase)));
            }
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            terms.push(SearchTerm::bare(&rest[..end]));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    terms
}

/// The phrase behind an opening quote, and what comes after its end.
fn phrase(quoted: &str) -> (String, &str) {
    let mut phrase = String::new();
    let mut rest = quoted;
    while let Some(at) = rest.find('"') {
        phrase.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match rest.strip_prefix('"') {
            Some(behind) => {
                phrase.push('"');
                rest = behind;
            }
            None => return (phrase, rest),
        }
    }
    phrase.push_str(rest);
    (phrase, "")
}

/// How many bytes of one text are searched where an item may hold a lot that nobody wrote.
const MOST_OF_TEXT: usize = 4 << 10;

/// How many bytes of all such texts of an item.
const MOST_OF_ITEM: usize = 16 << 10;

/// The texts of an item that are searched.
///
/// What was said, thought, planned and run is searched whole, and so are names of tools and paths of files. Of what tools were
/// given and gave, of what files were changed to and of unknown items it is the beginning: 4 KiB of each text, 16 KiB of all
/// of them. That keeps an index of them small, and every search the same, whoever answers it.
#[must_use]
pub fn item_texts(item: &TurnItem) -> Vec<&str> {
    match item {
        TurnItem::UserMessage { text, .. } | TurnItem::AgentMessage { text, .. } | TurnItem::Plan { text, .. } => {
            vec![text]
        }
        TurnItem::Reasoning { summary, content, .. } => summary.iter().chain(content).map(String::as_str).collect(),
        TurnItem::CommandExecution { command, output, .. } => {
            std::iter::once(command.as_str()).chain(beginnings(output.iter().map(String::as_str))).collect()
        }
        TurnItem::FileChange { changes: Value::Object(changes), .. } => {
            let paths = changes.keys().map(String::as_str);
            paths.chain(beginnings(leaves(changes.values()))).collect()
        }
        TurnItem::FileChange { changes, .. } => beginnings(leaves([changes])).collect(),
        TurnItem::ToolCall { tool, arguments, result, error, .. } => {
            let told = leaves(std::iter::once(arguments).chain(result).chain(error));
            std::iter::once(tool.as_str()).chain(beginnings(told)).collect()
        }
        TurnItem::WebSearch { query, action, .. } => {
            std::iter::once(query.as_str()).chain(beginnings(leaves(action))).collect()
        }
        TurnItem::ImageGeneration { revised_prompt, .. } => revised_prompt.iter().map(String::as_str).collect(),
        TurnItem::EnteredReviewMode { review, .. } | TurnItem::ExitedReviewMode { review, .. } => vec![review],
        TurnItem::Other(OtherTurnItem { fields, .. }) => beginnings(leaves(fields.values())).collect(),
        _ => Vec::new(),
    }
}

/// Of texts that may be very long, what is searched.
fn beginnings<'a>(texts: impl IntoIterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    let mut left = MOST_OF_ITEM;
    texts.into_iter().map(move |text| {
        let mut end = text.len().min(left).min(MOST_OF_TEXT);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        left -= end;
        &text[..end]
    })
}

/// Every string in these values, and every key of their objects: the changes of files are kept by path.
fn leaves<'a>(values: impl IntoIterator<Item = &'a Value>) -> Vec<&'a str> {
    let mut found = Vec::new();
    for value in values {
        collect_leaves(value, &mut found);
    }
    found
}

fn collect_leaves<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(values) => values.iter().for_each(|value| collect_leaves(value, found)),
        Value::Object(fields) => {
            for (key, value) in fields {
                found.push(key);
                collect_leaves(value, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A text as it is compared: in one case, with one space for each run of white space.
#[must_use]
pub fn fold_text(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    let mut behind_space = false;
    for character in text.chars() {
        let is_space = character.is_whitespace();
        match character {
            _ if is_space && behind_space => {}
            _ if is_space => folded.push(' '),
            _ if character.is_ascii() => folded.push(character.to_ascii_lowercase()),
            _ => folded.extend(fold_char(character)),
        }
        behind_space = is_space;
    }
    folded
}

/// What a character is when case does not count. Lower, upper, lower: only so do `ẞ`, `ß` and `SS`, or `ς`, `σ` and `Σ`,
/// come to the same. It may be longer or shorter than the character.
fn fold_char(character: char) -> impl Iterator<Item = char> {
    character.to_lowercase().flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

/// Makes places in a folded text, sorted by where they start, into those of the characters of `text` that they stand for.
fn unfold(text: &str, folded_len: usize, places: &mut [(Range<usize>, usize)]) {
    if text.is_ascii() && text.len() == folded_len {
        return;
    }
    // Where in the folded text each character ends, with where it begins and ends in the original.
    let mut folded_end = 0;
    let mut behind_space = false;
    let ends = text.char_indices().map(|(at, character)| {
        let is_space = character.is_whitespace();
        folded_end += match is_space {
            true => usize::from(!behind_space),
            false => fold_char(character).map(char::len_utf8).sum(),
        };
        behind_space = is_space;
        (folded_end, at..at + character.len_utf8())
    });
    let ends: Vec<_> = ends.collect();
    let character = |folded: usize| {
        let at = ends.partition_point(|(end, _)| *end <= folded);
        ends.get(at).map_or(text.len()..text.len(), |(_, place)| place.clone())
    };
    for (place, _) in places {
        *place = character(place.start).start..character(place.end.saturating_sub(1)).end;
    }
}

/// The part of `text` in which most different terms stand close together, the first of several. The places are sorted.
fn focus(places: &[(Range<usize>, usize)]) -> Range<usize> {
    let mut best = (0, 0..0);
    for (at, (first, _)) in places.iter().enumerate() {
        let close = places[at..].iter().take_while(|(place, _)| place.start <= first.start + SPREAD);
        let close = close.filter(|(place, _)| place.end <= first.start + SPREAD.max(first.len()));
        let (mut seen, mut end) = (Vec::new(), first.end);
        for (place, term) in close {
            end = end.max(place.end);
            if !seen.contains(term) {
                seen.push(*term);
            }
        }
        if seen.len() > best.0 {
            best = (seen.len(), first.start..end);
        }
    }
    best.1
}

fn snippet(text: &str, places: &[(Range<usize>, usize)]) -> Snippet {
    let focus = focus(places);
    let (before, after) = (&text[..focus.start], &text[focus.end..]);
    let from = before.char_indices().rev().take(CONTEXT).last().map_or(before.len(), |(at, _)| at);
    let to = focus.end + after.char_indices().nth(CONTEXT).map_or(after.len(), |(at, _)| at);
    let mut piece = Snippet { text: String::new(), highlights: Vec::new() };
    if from > 0 {
        piece.text.push('…');
    }
    let mut done = from;
    for (place, _) in places.iter().filter(|(place, _)| place.start >= from && place.end <= to) {
        let start = place.start.max(done);
        push_plain(&mut piece.text, &text[done..start]);
        let highlight = piece.text.len();
        push_plain(&mut piece.text, &text[start..place.end.max(start)]);
        done = place.end.max(start);
        let end = piece.text.len();
        match piece.highlights.last_mut() {
            Some(last) if last.1 == highlight => last.1 = end,
            _ => piece.highlights.push((highlight, end)),
        }
    }
    push_plain(&mut piece.text, &text[done..to]);
    if to < text.len() {
        piece.text.push('…');
    }
    piece
}

/// Control characters become spaces: a snippet is one line, and a transcript must not steer a terminal.
fn push_plain(out: &mut String, text: &str) {
    out.extend(text.chars().map(|character| if character.is_control() { ' ' } else { character }));
}
