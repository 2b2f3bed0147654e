//! Rules about damage that happens without the knowledge of the store.

use std::sync::Arc;

use selvedge_protocol::{HistoryMode, SearchQuery, ThreadQuery};
use selvedge_thread_store::{EntryKind, LineQuery, LineSelect, LineStart, ThreadStore};

use crate::fixtures::{continue_thread, id, line_texts, record, shown_prompts};
use crate::{NotApplicable, StorePlace};

const MODE: HistoryMode = HistoryMode::Paginated;

/// Records a thread of two turns and overwrites the line with this number. Returns a host, and the lines before the damage.
async fn damaged(place: &dyn StorePlace, line: usize) -> Result<(Arc<dyn ThreadStore>, Vec<String>), NotApplicable> {
    let store = place.open_host().await;
    let thread_id = record(&*store, 1, MODE, &["a", "b"]).await;
    let history = store.load_history(thread_id).await.unwrap();
    let entries = store.read_lines(&LineQuery::from(thread_id, LineStart::Beginning)).await.unwrap().entries;
    let entry = &entries[line];
    // All bytes of the line but its newline, so that exactly one line is damaged.
    place.damage(thread_id, &entry.at, &vec![b'#'; entry.bytes.len() - 1]).await?;
    Ok((store, line_texts(&history).into_iter().map(str::to_owned).collect()))
}

/// The number of the line that shows the user message of the first turn to clients. The line before gives the message to the model, so
/// it is still shown.
const DAMAGED_LINE: usize = 3;

pub(super) async fn costs_only_damaged_lines(place: Arc<dyn StorePlace>) -> Result<(), NotApplicable> {
    let (store, mut lines) = damaged(&*place, DAMAGED_LINE).await?;
    lines.remove(DAMAGED_LINE);
    let history = store.load_history(id(1)).await.unwrap();
    assert_eq!(line_texts(&history), lines);
    assert_eq!(history.damage.len(), 1, "{:?}", history.damage);
    assert_eq!(shown_prompts(&*store, id(1)).await, ["a", "b"]);
    let other = place.open_host().await;
    assert_eq!(
        other.list_threads(&ThreadQuery::default()).await.unwrap().items.len(),
        1,
        "the damaged thread is still listed"
    );
    assert!(!other.search_threads(&SearchQuery::new("ask b")).await.unwrap().items.is_empty());
    Ok(())
}

pub(super) async fn is_reported(place: Arc<dyn StorePlace>) -> Result<(), NotApplicable> {
    let (store, lines) = damaged(&*place, DAMAGED_LINE).await?;
    let query = LineQuery { select: LineSelect::DamageOnly, ..LineQuery::from(id(1), LineStart::Beginning) };
    let page = store.read_lines(&query).await.unwrap();
    assert!(page.is_end);
    let [entry] = &page.entries[..] else { panic!("{:?}", page.entries) };
    assert!(matches!(entry.kind, EntryKind::Damage { is_complete: true, .. }), "{:?}", entry.kind);
    assert_eq!(entry.bytes.len(), lines[DAMAGED_LINE].len() + 1);
    Ok(())
}

pub(super) async fn is_kept(place: Arc<dyn StorePlace>) -> Result<(), NotApplicable> {
    let (store, _) = damaged(&*place, DAMAGED_LINE).await?;
    let mut before = Vec::new();
    store.export(id(1), &mut before).await.unwrap();
    assert!(before.windows(8).any(|bytes| bytes == b"########"), "damaged bytes are exported");
    store.load_history(id(1)).await.unwrap();
    store.list_threads(&ThreadQuery::default()).await.unwrap();
    continue_thread(&*store, id(1), MODE, &["c"]).await;
    let mut after = Vec::new();
    store.export(id(1), &mut after).await.unwrap();
    assert!(after.len() > before.len() && after.starts_with(&before), "reads and appends repair nothing");
    assert_eq!(shown_prompts(&*store, id(1)).await, ["a", "b", "c"]);
    Ok(())
}
