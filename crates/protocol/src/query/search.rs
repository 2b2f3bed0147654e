//! Queries for a text in threads.

use serde::{Deserialize, Serialize};

use super::thread_query::ThreadQuery;
use crate::{StoredThread, TurnId};

/// The order of the threads in which a text was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SearchOrder {
    /// The best matches first, for the threads and for the hits of one thread. Each store ranks in its own way. Of
    /// threads with the same rank, the newest by the sort key of the thread query is first.
    #[default]
    Best,
    /// The threads in the order of the thread query, and the hits of a thread in their order in the thread.
    Sorted,
}

/// Request to search for a text in threads.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchQuery {
    /// The text to find: terms, separated by white space. A name or an item is a hit if it contains all of them. Upper
    /// and lower case are equal, and so are the forms of a text that Unicode regards as the same.
    ///
    /// - A term of three or more characters matches anywhere. A shorter one matches only at the beginning of a word. A
    ///   word is a sequence of letters and digits. A short term that begins with another character matches anywhere.
    /// - `term*` matches only at the beginning of a word.
    /// - In a script without spaces between words (Chinese, Japanese, Thai and others), terms of any length match anywhere, also
    ///   with a star. Short Korean terms match anywhere, too. A word also begins where such a script ends or begins.
    /// - `"a phrase"` matches as it is written. White space in it matches any white space. A quote inside of a phrase
    ///   is doubled (`"a ""quoted"" word"`). A phrase without a closing quote ends at the end of the text.
    pub text: String,
    /// The threads to search in, their sort order, and the maximal number of threads on a page.
    pub threads: ThreadQuery,
    /// Whether the best matches come first, or the threads are sorted by the thread query.
    pub order: SearchOrder,
    /// The maximal number of hits that are returned for one thread.
    pub hits_per_thread: usize,
}

impl SearchQuery {
    /// Creates a search for `text` in all active threads, best matches first, with up to 3 hits for each thread.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), threads: ThreadQuery::default(), order: SearchOrder::default(), hits_per_thread: 3 }
    }
}

/// One name or item in which a text was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SearchHit {
    /// The thread.
    pub thread: StoredThread,
    /// The turn of the item. `None` for a hit in the name of the thread.
    pub turn_id: Option<TurnId>,
    /// The number of that turn in the thread, counted from 1. `None` for a hit in the name of the thread.
    pub turn_number: Option<u64>,
    /// The line with which the item begins, as a position in the whole history of the thread: intact lines are counted
    /// from 0, inherited ones first.
    ///
    /// In a paginated thread without damage this is the ordinal of the line. Legacy lines have no ordinals.
    pub position: Option<u64>,
    /// The kind of the turn item that contains the text, or `name`.
    pub kind: String,
    /// The found text with its context, on one line.
    pub snippet: String,
    /// The ranges of the found terms in `snippet`, as byte offsets (start, end). They are ascending, and no two of them
    /// touch.
    pub highlights: Vec<(usize, usize)>,
}
