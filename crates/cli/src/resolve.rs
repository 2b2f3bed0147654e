//! Which thread, and which turn of it, is meant by what was typed.

use std::collections::BTreeSet;

use selvedge_protocol::{ItemsView, ThreadId, Turn, TurnId, TurnQuery};
use selvedge_thread_store::{ThreadLookup, ThreadStore, TurnBoundary};

use crate::exit::{Code, Failure, Result};

/// Fewer characters are no beginning of an id.
const SHORTEST: usize = 4;
/// How many ids an ambiguous beginning lists.
const LISTED: usize = 10;

/// The thread that `text` names: a full id, or the only one that has this name or whose id begins so.
///
/// A full id is taken as it is; whether there is such a thread, the verb finds out.
pub(crate) async fn thread(store: &dyn ThreadStore, text: &str) -> Result<ThreadId> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let mut found: BTreeSet<ThreadId> =
        store.find_threads(&ThreadLookup::Name(text.to_owned())).await?.into_iter().collect();
    if is_beginning(text) {
        found.extend(store.find_threads(&ThreadLookup::IdPrefix(text.to_owned())).await?);
    }
    match found.len() {
        0 => Err(no_thread(text)),
        1 => found.pop_first().ok_or_else(|| no_thread(text)),
        _ => Err(ambiguous(store, text, &found).await),
    }
}

fn is_beginning(text: &str) -> bool {
    text.len() >= SHORTEST && text.chars().all(|letter| letter.is_ascii_hexdigit() || letter == '-')
}

fn no_thread(text: &str) -> Failure {
    let hint = if text.len() < SHORTEST {
        format!("the beginning of an id has {SHORTEST} characters or more; `selvedge list --all` shows the ids")
    } else {
        "`selvedge list --all` shows the threads of this home".to_owned()
    };
    Failure::new(Code::NotFound, format!("no thread has the name {text:?} or an id that begins so")).hint(hint)
}

async fn ambiguous(store: &dyn ThreadStore, text: &str, found: &BTreeSet<ThreadId>) -> Failure {
    let mut ids: Vec<String> = found.iter().take(LISTED).map(ThreadId::to_string).collect();
    if found.len() > LISTED {
        ids.push(format!("and {} more", found.len() - LISTED));
    }
    let found_ids: Vec<ThreadId> = found.iter().copied().collect();
    let length = store.distinct_prefix_len(&found_ids).await.unwrap_or(36);
    // What tells an id from all others may be the name of another thread; only a whole id is never taken for a name.
    let typed = text.to_ascii_lowercase();
    let is_typed = typed.len() >= length && found.iter().any(|id| id.to_string().starts_with(&typed));
    let length = if is_typed { 36 } else { length };
    Failure::new(Code::Failure, format!("{text:?} means {} threads: {}", found.len(), ids.join(", ")))
        .hint(format!("type more of the id: its first {length} characters tell these apart"))
}

/// The place that `--after` or `--before` names.
pub(crate) async fn cut(
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

/// The turn that `text` names: its id, its number, or the only one whose id begins so. A full id is taken as it is: looking it
/// up costs a reading of the whole thread.
async fn turn(store: &dyn ThreadStore, thread_id: ThreadId, text: &str) -> Result<TurnId> {
    if text.len() == 36 && is_beginning(text) {
        return Ok(text.into());
    }
    let query = TurnQuery { items_view: ItemsView::None, ..TurnQuery::all(thread_id) };
    let turns = store.list_turns(&query).await?.items;
    if let Some(turn) = turns.iter().find(|turn| turn.id.as_str() == text) {
        return Ok(turn.id.clone());
    }
    if let Some(number) = number(text) {
        return by_number(&turns, number, thread_id);
    }
    let found: Vec<&TurnId> = match text.len() {
        0..SHORTEST => Vec::new(),
        _ => turns.iter().map(|turn| &turn.id).filter(|id| id.as_str().starts_with(text)).collect(),
    };
    match found[..] {
        [] => Err(no_turn(format!("thread {thread_id} has no turn {text:?}"), &turns)),
        [id] => Ok(id.clone()),
        _ => {
            let ids: Vec<&str> = found.iter().map(|id| id.as_str()).collect();
            Err(Failure::new(Code::Failure, format!("{text:?} means {} turns: {}", found.len(), ids.join(", ")))
                .hint("type more of the id, or the turn's number"))
        }
    }
}

/// Digits are a number unless they begin with a zero, as the ids that are made in this age do.
fn number(text: &str) -> Option<usize> {
    (!text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

fn by_number(turns: &[Turn], number: usize, thread_id: ThreadId) -> Result<TurnId> {
    let turn = number.checked_sub(1).and_then(|at| turns.get(at));
    turn.map(|turn| turn.id.clone()).ok_or_else(|| no_turn(format!("thread {thread_id} has no turn {number}"), turns))
}

fn no_turn(message: String, turns: &[Turn]) -> Failure {
    let hint = match turns.len() {
        0 => "it has no turns at all".to_owned(),
        1 => "it has one turn; `selvedge show ID` shows it".to_owned(),
        count => format!("its turns are 1 to {count}; `selvedge show ID` shows them"),
    };
    Failure::new(Code::NotFound, message).hint(hint)
}
