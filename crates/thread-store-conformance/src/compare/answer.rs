//! Formats answers as texts that are equal for all correct stores.
//!
//! A text leaves out what each store determines by itself: times of its clock, opaque positions, cursors, and the ids that it creates.
//! Everything else is part of the text, so that any difference fails the comparison.

use selvedge_protocol::{
    Page, RolloutItem, RolloutLine, SearchHit, StoredThread, ThreadId, Turn, TurnQuery, TurnStatus,
};
use selvedge_thread_store::{EntryKind, LineQuery, LineStart, Result, StoreError, ThreadChange, ThreadStore};

/// Formats the kind of an error.
pub(super) fn error(error: &StoreError) -> String {
    match error {
        StoreError::NotFound { live, .. } => format!("NotFound, live: {live}"),
        StoreError::HasDependents { dependents, .. } => {
            let mut dependents = dependents.clone();
            dependents.sort_unstable();
            format!("HasDependents {dependents:?}")
        }
        // The name of the variant. Holders, reasons and sources differ from store to store.
        error => format!("{error:?}").split([' ', '{', '(']).next().unwrap_or_default().to_owned(),
    }
}

/// Formats a thread record, or the error.
pub(super) fn record(record: Result<StoredThread>) -> String {
    record.map_or_else(|failed| error(&failed), stored_thread)
}

/// Formats a thread record without times of the store's clock and without its location.
pub(super) fn stored_thread(record: StoredThread) -> String {
    format!(
        "{:?}",
        StoredThread { updated_at: record.created_at, recency_at: record.created_at, location: None, ..record }
    )
}

/// Formats a turn without its times.
///
/// A reader may not know whether an open turn is still in progress. Both answers are formatted as interrupted.
pub(super) fn turn(turn: Turn) -> String {
    let status = if turn.status == TurnStatus::InProgress { TurnStatus::Interrupted } else { turn.status };
    format!("{:?}", Turn { status, started_at: None, completed_at: None, duration_ms: None, ..turn })
}

/// Formats a page of hits, or the error.
pub(super) fn hits(page: Result<Page<SearchHit>>) -> String {
    match page {
        Ok(page) => {
            let hits = page.items.into_iter().map(|hit| {
                let location = (&hit.turn_id, hit.turn_number, hit.position);
                format!("{} {location:?} {} {:?} {:?}", hit.thread.id, hit.kind, hit.snippet, hit.highlights)
            });
            hits.collect::<Vec<_>>().join(", ")
        }
        Err(failed) => error(&failed),
    }
}

/// Formats a line. The text of a head leaves out the ids of segments and windows, which each store creates.
fn line(line: &RolloutLine) -> String {
    match line.item() {
        RolloutItem::SessionMeta(head) => {
            let base = head.history_base.as_ref().and_then(|base| base.end_ordinal_exclusive);
            format!("{:?} head of {:?} from {base:?}", line.ordinal(), head.id)
        }
        _ => format!("{:?} {} {}", line.ordinal(), line.kind(), line.payload()),
    }
}

/// Formats the entries of all pages of a query for lines.
pub(super) async fn lines(store: &dyn ThreadStore, mut query: LineQuery) -> String {
    let mut parts = Vec::new();
    loop {
        match store.read_lines(&query).await {
            Ok(page) => {
                for entry in &page.entries {
                    parts.push(match (&entry.kind, entry.line()) {
                        (EntryKind::Line, Some(entry_line)) => format!("{} {}", entry.inherited, line(&entry_line)),
                        (kind, _) => format!("{kind:?}"),
                    });
                }
                if page.is_end {
                    return parts.join("\n");
                }
                parts.push("next page".to_owned());
                query.start = LineStart::At(page.next);
            }
            Err(failed) => return error(&failed),
        }
    }
}

/// Formats the number of exported lines, and whether the returned length is right. A rule compares the bytes with the lines.
pub(super) async fn export(store: &dyn ThreadStore, thread_id: ThreadId) -> String {
    let mut bytes = Vec::new();
    match store.export(thread_id, &mut bytes).await {
        Ok(count) => {
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
            format!("{lines} lines, counted: {}", count == bytes.len() as u64)
        }
        Err(failed) => error(&failed),
    }
}

/// Formats which threads exist according to the changes. The order of changes is a matter of the store.
pub(super) async fn changes(store: &dyn ThreadStore) -> String {
    match store.list_changes(None, 1000).await {
        Ok(page) => {
            let mut threads: Vec<_> = page
                .changes
                .iter()
                .map(|change| (change.thread_id(), matches!(change, ThreadChange::Present { .. })))
                .collect();
            threads.sort_unstable();
            format!("{threads:?}")
        }
        Err(failed) => error(&failed),
    }
}

/// Formats everything that a store reports of a thread: record, history, turns, model context and writer state.
pub(super) async fn thread(store: &dyn ThreadStore, thread_id: ThreadId) -> String {
    let mut parts = vec![record(store.read_thread(thread_id).await)];
    parts.push(match store.load_history(thread_id).await {
        Ok(history) => {
            let lines: Vec<_> = history.lines.iter().map(line).collect();
            let damage = history.damage.len();
            format!("{:?}, {} inherited, {damage} damaged:\n{}", history.mode, history.inherited, lines.join("\n"))
        }
        Err(failed) => error(&failed),
    });
    parts.push(match store.list_turns(&TurnQuery::all(thread_id)).await {
        Ok(page) => page.items.into_iter().map(turn).collect::<Vec<_>>().join("\n"),
        Err(failed) => error(&failed),
    });
    parts.push(match store.load_model_context(thread_id).await {
        Ok(context) => format!("{:?} {:?} {}", context.history, context.world_state, context.window.number),
        Err(failed) => error(&failed),
    });
    parts.push(match store.writer_state(thread_id).await {
        Ok(state) => format!("visible: {}", state.end.is_some()),
        Err(failed) => error(&failed),
    });
    parts.join("\n")
}
