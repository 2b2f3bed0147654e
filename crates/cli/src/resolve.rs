//! Finds the thread, and the turn of a thread, that an argument names.

use std::collections::BTreeSet;

use clap::Args;
use selvedge_protocol::{ItemsView, ThreadId, Turn, TurnBoundary, TurnId, TurnQuery};
use selvedge_thread_store::{ThreadLookup, ThreadStore};

use crate::failure::{Failure, FailureKind, Result};

/// The fewest characters that are accepted as a prefix of an id.
const MIN_PREFIX_LEN: usize = 4;
/// The length of a full id.
const ID_LEN: usize = 36;
/// How many matching ids an error message lists.
const MAX_LISTED_IDS: usize = 10;

/// The thread that a verb works on.
#[derive(Debug, Args)]
pub(crate) struct ThreadArg {
    /// Thread: id, unique prefix of an id, or name
    #[arg(value_name = "ID")]
    thread: String,
}

impl ThreadArg {
    /// Finds the thread, as [`thread`] does.
    pub(crate) async fn resolve(&self, store: &dyn ThreadStore) -> Result<ThreadId> {
        thread(store, &self.thread).await
    }
}

/// Finds the thread that `text` names: by a full id, by a unique prefix of an id, or by its name.
///
/// A full id is returned without a lookup. The verb finds out whether the thread exists.
pub(crate) async fn thread(store: &dyn ThreadStore, text: &str) -> Result<ThreadId> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    // A name can look like a prefix. Both are looked up, so that neither silently hides the other.
    let mut found: BTreeSet<ThreadId> =
        store.find_threads(&ThreadLookup::Name(text.to_owned())).await?.into_iter().collect();
    if is_id_prefix(text) {
        found.extend(store.find_threads(&ThreadLookup::IdPrefix(text.to_owned())).await?);
    }
    match found.len() {
        0 => Err(no_thread(text)),
        1 => found.pop_first().ok_or_else(|| no_thread(text)),
        _ => Err(ambiguous(store, text, &found).await),
    }
}

fn is_id_prefix(text: &str) -> bool {
    text.len() >= MIN_PREFIX_LEN && text.chars().all(|letter| letter.is_ascii_hexdigit() || letter == '-')
}

fn no_thread(text: &str) -> Failure {
    let hint = if text.len() < MIN_PREFIX_LEN {
        format!("a prefix of an id has {MIN_PREFIX_LEN} characters or more; `selvedge list --all` shows the ids")
    } else {
        "`selvedge list --all` shows the threads of this store".to_owned()
    };
    Failure::new(FailureKind::NotFound, format!("no thread has the name {text:?} or an id with this prefix")).hint(hint)
}

async fn ambiguous(store: &dyn ThreadStore, text: &str, found: &BTreeSet<ThreadId>) -> Failure {
    let mut ids: Vec<String> = found.iter().take(MAX_LISTED_IDS).map(ThreadId::to_string).collect();
    if found.len() > MAX_LISTED_IDS {
        ids.push(format!("and {} more", found.len() - MAX_LISTED_IDS));
    }
    let found_ids: Vec<ThreadId> = found.iter().copied().collect();
    let length = store.distinct_prefix_len(&found_ids).await.unwrap_or(ID_LEN);
    // The user may have typed that many characters already, when the prefix is also the name of another thread. Only a
    // full id is never taken for a name.
    let typed = text.to_ascii_lowercase();
    let is_typed = typed.len() >= length && found.iter().any(|id| id.to_string().starts_with(&typed));
    let length = if is_typed { ID_LEN } else { length };
    Failure::new(FailureKind::Other, format!("{text:?} matches {} threads: {}", found.len(), ids.join(", ")))
        .hint(format!("type more of the id: its first {length} characters are enough"))
}

/// Returns the boundary that `--after` or `--before` names, or the end of the history if neither is given.
pub(crate) async fn turn_boundary(
    store: &dyn ThreadStore,
    thread_id: ThreadId,
    after: Option<&str>,
    before: Option<&str>,
) -> Result<TurnBoundary> {
    Ok(match (after, before) {
        (Some(text), _) => TurnBoundary::After(turn(store, thread_id, text).await?),
        (None, Some(text)) => TurnBoundary::Before(turn(store, thread_id, text).await?),
        (None, None) => TurnBoundary::Latest,
    })
}

/// Finds the turn that `text` names: by its id, by its number, or by a unique prefix of its id.
///
/// A full id is returned without a lookup, because a lookup reads the whole thread.
async fn turn(store: &dyn ThreadStore, thread_id: ThreadId, text: &str) -> Result<TurnId> {
    if text.len() == ID_LEN && is_id_prefix(text) {
        return Ok(text.into());
    }
    // Numbers and prefixes need all turns of the thread, but no items.
    let query = TurnQuery { items_view: ItemsView::None, ..TurnQuery::all(thread_id) };
    let turns = store.list_turns(&query).await?.items;
    // Exact ids come first: legacy ids such as `turn-1` are no UUIDs, and an id may look like a number.
    if let Some(turn) = turns.iter().find(|turn| turn.id.as_str() == text) {
        return Ok(turn.id.clone());
    }
    if let Some(number) = parse_number(text) {
        return turn_by_number(&turns, number, thread_id);
    }
    let found: Vec<&TurnId> = match text.len() {
        0..MIN_PREFIX_LEN => Vec::new(),
        _ => turns.iter().map(|turn| &turn.id).filter(|id| id.as_str().starts_with(text)).collect(),
    };
    match found[..] {
        [] => Err(no_turn(format!("thread {thread_id} has no turn {text:?}"), &turns)),
        [id] => Ok(id.clone()),
        _ => {
            let ids: Vec<&str> = found.iter().map(|id| id.as_str()).collect();
            Err(Failure::new(FailureKind::Other, format!("{text:?} matches {} turns: {}", found.len(), ids.join(", ")))
                .hint("type more of the id, or the number of the turn"))
        }
    }
}

/// Parses the number of a turn. Digits with a leading zero are an id: ids are time-ordered UUIDs, which begin with a
/// zero until the year 2527.
fn parse_number(text: &str) -> Option<usize> {
    (!text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

fn turn_by_number(turns: &[Turn], number: usize, thread_id: ThreadId) -> Result<TurnId> {
    let turn = number.checked_sub(1).and_then(|index| turns.get(index));
    turn.map(|turn| turn.id.clone()).ok_or_else(|| no_turn(format!("thread {thread_id} has no turn {number}"), turns))
}

fn no_turn(message: String, turns: &[Turn]) -> Failure {
    let hint = match turns.len() {
        0 => "it has no turns at all".to_owned(),
        1 => "it has one turn; `selvedge show ID` shows it".to_owned(),
        count => format!("its turns are 1 to {count}; `selvedge show ID` shows them"),
    };
    Failure::new(FailureKind::NotFound, message).hint(hint)
}
