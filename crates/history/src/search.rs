//! Text search in the names of threads and in the items of their turns.
//!
//! [`SearchQuery`](selvedge_protocol::SearchQuery) defines the query language. Texts are compared in their *folded* form
//! ([`fold_text`]): without case in every script, longer spellings included (`STRASSE` finds `straße`), in one of the forms that
//! Unicode regards as equal, and with one space for each run of white space. Results are byte ranges of the original text, at
//! character boundaries.

mod char_facts;
mod folding;
mod item_texts;
mod snippet;
mod terms;
mod words;

use std::cmp::Reverse;
use std::fmt;

use selvedge_protocol::{SearchHit, SearchOrder, StoredThread, Turn, TurnId, TurnItem};

pub use folding::fold_text;
pub use item_texts::item_texts;
pub use snippet::Snippet;
use snippet::make_snippet;
pub use terms::SearchTerm;
use terms::{find_matches, parse};
pub use words::{FoldedWord, folded_words, is_mark};

/// A text search: terms that must all occur in the same name or item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextSearch {
    terms: Vec<SearchTerm>,
}

/// Error for a search text without terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmptySearch;

impl fmt::Display for EmptySearch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no text to search for")
    }
}

impl std::error::Error for EmptySearch {}

/// Rank of a thread in a search, for stores without a better measure. Threads whose name is a hit come first, then those with
/// more matches, counted in powers of two. The greatest rank is the best one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SearchRank {
    /// Number of the group of threads that are ranked together, for stores that rank the newest threads first. 0 if all are.
    pub window: Reverse<u32>,
    /// Whether the thread's name is a hit.
    pub in_name: bool,
    /// How relevant the thread is. [`TextSearch::hits`] takes the number of matches of terms in items that are hits, as the number of
    /// its binary digits.
    pub level: u32,
}

/// The hits in one thread.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ThreadHits {
    /// The hits, up to the requested number.
    pub hits: Vec<SearchHit>,
    /// Rank of the thread, by all its hits. Computed only for [`SearchOrder::Best`].
    pub rank: SearchRank,
}

/// An item with its location in a thread.
#[derive(Clone, Copy, Debug)]
pub struct ItemLocation<'a> {
    /// The turn.
    pub turn_id: &'a TurnId,
    /// Number of the turn in the thread, counted from 1.
    pub turn_number: u64,
    /// Position in the thread's history of the line that the item begins with.
    pub position: Option<u64>,
    /// The item.
    pub item: &'a TurnItem,
}

impl TextSearch {
    /// Parses the text of a search.
    ///
    /// # Errors
    /// [`EmptySearch`] if the text contains no term.
    pub fn new(text: &str) -> Result<Self, EmptySearch> {
        let terms = parse(text);
        if terms.is_empty() { Err(EmptySearch) } else { Ok(Self { terms }) }
    }

    /// Returns the terms in the order in which they were typed. There is at least one.
    #[must_use]
    pub fn terms(&self) -> &[SearchTerm] {
        &self.terms
    }

    /// Returns how often the terms occur in the texts of one item. `None` if a term occurs in none of them.
    #[must_use]
    pub fn count<S: AsRef<str>>(&self, texts: &[S]) -> Option<u64> {
        let mut counts = vec![0_u64; self.terms.len()];
        for text in texts {
            let folded = fold_text(text.as_ref());
            for (term, count) in self.terms.iter().zip(&mut counts) {
                *count += term.matches(&folded).fold(0, |count, _| count + 1);
            }
        }
        counts.iter().all(|count| *count > 0).then(|| counts.iter().sum())
    }

    /// Returns the part of the texts of one item that shows the terms best: of the text with the most different terms, the
    /// part where they are closest together. `None` if a term occurs in none of the texts.
    #[must_use]
    pub fn snippet<S: AsRef<str>>(&self, texts: &[S]) -> Option<Snippet> {
        let mut found = vec![false; self.terms.len()];
        let mut best: Option<(usize, &str)> = None;
        for text in texts {
            let folded = fold_text(text.as_ref());
            let mut terms_here = 0;
            for (term, found) in self.terms.iter().zip(&mut found) {
                let is_here = term.matches(&folded).next().is_some();
                *found |= is_here;
                terms_here += usize::from(is_here);
            }
            if terms_here > best.map_or(0, |(most, _)| most) {
                best = Some((terms_here, text.as_ref()));
            }
        }
        // A hit needs every term in the item, but not all in the text that is shown.
        let (_, text) = best.filter(|_| found.iter().all(|found| *found))?;
        Some(make_snippet(text, &find_matches(&self.terms, text)))
    }

    /// Returns at most `limit` hits in one thread: its name, and every item whose texts contain all terms.
    ///
    /// With [`SearchOrder::Sorted`], hits have the order of the thread, with the name first, and items after the last hit are
    /// not read. With [`SearchOrder::Best`], the name is first, then the items with the most matches.
    #[must_use]
    pub fn hits(&self, thread: &StoredThread, turns: &[Turn], order: SearchOrder, limit: usize) -> ThreadHits {
        self.hits_among(thread, (1..).zip(turns), order, limit)
    }

    /// Returns the same as [`hits`](Self::hits) from some turns of the thread, each with its number. All turns with hits must be
    /// among them, in the order of the thread.
    #[must_use]
    pub fn hits_among<'a>(
        &self,
        thread: &StoredThread,
        turns: impl IntoIterator<Item = (u64, &'a Turn)>,
        order: SearchOrder,
        limit: usize,
    ) -> ThreadHits {
        match order {
            SearchOrder::Sorted => {
                let in_items = item_locations(turns).filter_map(|location| self.item_hit(thread, &location));
                let hits = self.name_hit(thread).into_iter().chain(in_items).take(limit).collect();
                ThreadHits { hits, rank: SearchRank::default() }
            }
            SearchOrder::Best => self.best_hits(thread, turns, limit),
        }
    }

    /// Returns the hit in a thread's name.
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

    /// Returns the hit in an item.
    #[must_use]
    pub fn item_hit(&self, thread: &StoredThread, location: &ItemLocation<'_>) -> Option<SearchHit> {
        let Snippet { text, highlights } = self.snippet(&item_texts(location.item))?;
        Some(SearchHit {
            thread: thread.clone(),
            turn_id: Some(location.turn_id.clone()),
            turn_number: Some(location.turn_number),
            position: location.position,
            kind: location.item.kind().to_owned(),
            snippet: text,
            highlights,
        })
    }

    fn best_hits<'a>(
        &self,
        thread: &StoredThread,
        turns: impl IntoIterator<Item = (u64, &'a Turn)>,
        limit: usize,
    ) -> ThreadHits {
        let in_name = self.name_hit(thread);
        let counted =
            item_locations(turns).filter_map(|location| Some((self.count(&item_texts(location.item))?, location)));
        let mut counted: Vec<_> = counted.collect();
        let total: u64 = counted.iter().map(|(count, _)| count).sum();
        let level = u64::BITS - total.leading_zeros();
        let rank = SearchRank { in_name: in_name.is_some(), level, ..SearchRank::default() };
        // Fewer leading zeros mean more binary digits, so larger counts come first. The sort is stable: items whose counts
        // have as many digits keep the order of the thread.
        counted.sort_by_key(|(count, _)| count.leading_zeros());
        let in_items = counted.iter().filter_map(|(_, location)| self.item_hit(thread, location));
        ThreadHits { hits: in_name.into_iter().chain(in_items).take(limit).collect(), rank }
    }
}

fn item_locations<'a>(turns: impl IntoIterator<Item = (u64, &'a Turn)>) -> impl Iterator<Item = ItemLocation<'a>> {
    turns.into_iter().flat_map(|(turn_number, turn)| {
        turn.items.iter().enumerate().map(move |(index, item)| ItemLocation {
            turn_id: &turn.id,
            turn_number,
            position: turn.item_positions.get(index).copied(),
            item,
        })
    })
}
