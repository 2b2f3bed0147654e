//! What the model sees, in bounded memory.

use std::collections::VecDeque;

use selvedge_history::{ContextTail, ModelContext, replay_lines};
use selvedge_protocol::{RolloutLine, SortDirection, ThreadId};
use selvedge_thread_store::{LineQuery, LineStart, StoreError};

use crate::app::ViewerApp;
use crate::turns::MAX_TEXT;

/// The most bytes of the end of a log that are replayed: those since the last compaction. Texts that fit into a model are smaller by far; only
/// many large images, or a thread that was never compacted and that no model could continue, are more.
pub(crate) const MAX_CONTEXT_BYTES: usize = 8 << 20;

/// How much of the end of a log is replayed if the context has more.
pub(crate) const END_BYTES: usize = 1 << 20;

/// How much of a log is read at a time, in bytes.
const PAGE_BYTES: usize = 256 << 10;

/// What the model sees, or the end of it.
pub(crate) struct BoundedContext {
    pub(crate) context: ModelContext,
    /// Whether it is everything that the model sees. If not, it is the replay of the newest [`END_BYTES`] of the log.
    pub(crate) is_whole: bool,
}

impl BoundedContext {
    /// Reads what the model sees.
    ///
    /// The log is read from its end, until its lines determine the context, as they do from the last compaction on. If they are too
    /// many, the newest ones have to do.
    pub(crate) async fn read(app: &ViewerApp, id: ThreadId) -> Result<Self, StoreError> {
        match too_long(app, id).await? {
            Some(newest) => Ok(Self { context: replay_lines(&newest), is_whole: false }),
            None => Ok(Self { context: app.store().load_model_context(id).await?, is_whole: true }),
        }
    }
}

/// Returns the newest lines of a log if the lines that determine the context have more than [`MAX_CONTEXT_BYTES`]; `None` if not.
async fn too_long(app: &ViewerApp, id: ThreadId) -> Result<Option<VecDeque<RolloutLine>>, StoreError> {
    let head = app.store().read_session_meta(id).await?;
    let (mut tail, mut newest) = (ContextTail::default(), VecDeque::new());
    let mut query = LineQuery {
        direction: SortDirection::Descending,
        max_bytes: PAGE_BYTES,
        max_text: Some(MAX_TEXT),
        ..LineQuery::from(id, LineStart::End)
    };
    // How many bytes the lines so far have in the store.
    let mut bytes = 0;
    loop {
        let page = app.store().read_lines(&query).await?;
        for entry in &page.entries {
            let Some(line) = entry.line() else { continue };
            bytes += entry.stored_len();
            // A clone shares the text. The newest line counts, however long it is.
            if newest.is_empty() || bytes <= END_BYTES as u64 {
                newest.push_front(line.clone());
            }
            tail.push(line);
            if bytes > MAX_CONTEXT_BYTES as u64 {
                return Ok(Some(newest));
            }
            if tail.should_try_replay() && tail.context(head.as_ref()).is_some() {
                return Ok(None);
            }
        }
        if page.is_end || page.rewound_to.is_some() {
            return Ok(None);
        }
        query.start = LineStart::At(page.next);
    }
}
