//! Answers as texts that are the same in every store: without times of the store's clock, positions and ids that a store makes.

use selvedge_protocol::{
    Page, RolloutItem, RolloutLine, SearchHit, StoredThread, ThreadId, Turn, TurnQuery, TurnStatus,
};
use selvedge_thread_store::{EntryKind, LineQuery, LineStart, Result, StoreError, ThreadChange, ThreadStore};

/// What kind of error it is.
pub(super) fn error(error: &StoreError) -> String {
    match error {
        StoreError::NotFound { live, .. } => format!("NotFound, live: {live}"),
        StoreError::HasDependents { dependents, .. } => {
            let mut dependents = dependents.clone();
            dependents.sort_unstable();
            format!("HasDependents {dependents:?}")
        }
        // The kind, without what it says.
        error => format!("{error:?}").split([' ', '{', '(']).next().unwrap_or_default().to_owned(),
    }
}

pub(super) fn row(row: Result<StoredThread>) -> String {
    row.map_or_else(|failed| error(&failed), told_row)
}

pub(super) fn told_row(row: StoredThread) -> String {
    format!("{:?}", StoredThread { updated_at: row.created_at, recency_at: row.created_at, location: None, ..row })
}

/// A turn. Whether one without an end is still in progress need not be known: unknown counts as interrupted.
pub(super) fn turn(turn: Turn) -> String {
    let status = if turn.status == TurnStatus::InProgress { TurnStatus::Interrupted } else { turn.status };
    format!("{:?}", Turn { status, started_at: None, completed_at: None, duration_ms: None, ..turn })
}

pub(super) fn hits(page: Result<Page<SearchHit>>) -> String {
    match page {
        Ok(page) => {
            let told = page.items.into_iter().map(|hit| {
                let place = (&hit.turn_id, hit.turn_number, hit.position);
                format!("{} {place:?} {} {:?} {:?}", hit.thread.id, hit.kind, hit.snippet, hit.highlights)
            });
            told.collect::<Vec<_>>().join(", ")
        }
        Err(failed) => error(&failed),
    }
}

/// A line. Of a head, the ids of segments and windows are a store's own.
fn line(line: &RolloutLine) -> String {
    match line.item() {
        RolloutItem::SessionMeta(head) => {
            let base = head.history_base.as_ref().and_then(|base| base.end_ordinal_exclusive);
            format!("{:?} head of {:?} from {base:?}", line.ordinal(), head.id)
        }
        _ => format!("{:?} {} {}", line.ordinal(), line.kind(), line.payload()),
    }
}

/// All entries, on pages as the query says.
pub(super) async fn lines(store: &dyn ThreadStore, mut query: LineQuery) -> String {
    let mut told = Vec::new();
    loop {
        match store.read_lines(&query).await {
            Ok(page) => {
                for entry in &page.entries {
                    told.push(match (&entry.kind, entry.line()) {
                        (EntryKind::Line, Some(entry_line)) => format!("{} {}", entry.inherited, line(&entry_line)),
                        (kind, _) => format!("{kind:?}"),
                    });
                }
                if page.is_end {
                    return told.join("\n");
                }
                told.push("next page".to_owned());
                query.start = LineStart::At(page.next);
            }
            Err(failed) => return error(&failed),
        }
    }
}

/// How many lines an export has; that its bytes are those of the lines is a rule.
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

/// Which threads there are by the changes.
pub(super) async fn changes(store: &dyn ThreadStore) -> String {
    match store.list_changes(None, 1000).await {
        Ok(page) => {
            let mut there: Vec<_> = page
                .changes
                .iter()
                .map(|change| (change.thread_id(), matches!(change, ThreadChange::Present { .. })))
                .collect();
            there.sort_unstable();
            format!("{there:?}")
        }
        Err(failed) => error(&failed),
    }
}

/// Everything that is told of a thread.
pub(super) async fn thread(store: &dyn ThreadStore, thread_id: ThreadId) -> String {
    let mut told = vec![row(store.read_thread(thread_id).await)];
    told.push(match store.load_history(thread_id).await {
        Ok(history) => {
            let lines: Vec<_> = history.lines.iter().map(line).collect();
            let damage = history.damage.len();
            format!("{:?}, {} inherited, {damage} damaged:\n{}", history.mode, history.inherited, lines.join("\n"))
        }
        Err(failed) => error(&failed),
    });
    told.push(match store.list_turns(&TurnQuery::all(thread_id)).await {
        Ok(page) => page.items.into_iter().map(turn).collect::<Vec<_>>().join("\n"),
        Err(failed) => error(&failed),
    });
    told.push(match store.load_model_context(thread_id).await {
        Ok(context) => format!("{:?} {:?} {}", context.history, context.world_state, context.window.number),
        Err(failed) => error(&failed),
    });
    told.push(match store.writer_state(thread_id).await {
        Ok(state) => format!("visible: {}", state.end.is_some()),
        Err(failed) => error(&failed),
    });
    told.join("\n")
}
