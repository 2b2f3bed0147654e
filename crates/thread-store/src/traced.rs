//! Traces and metrics of every call on a store.

use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use selvedge_history::ModelContext;
use selvedge_protocol::{
    Cursor, ItemQuery, Page, RolloutItem, SearchHit, SearchQuery, SegmentId, SessionMeta, StatsQuery, StoredThread,
    ThreadId, ThreadMetadataPatch, ThreadQuery, ThreadStats, Turn, TurnItemEntry, TurnQuery,
};
use tracing::{Instrument, Level};

use crate::{
    Appended, BatchId, ChangePage, ForkThread, LinePage, LinePosition, LineQuery, MaintenanceProgress,
    MaintenanceReport, MaintenanceRequest, MetadataOrigin, Result, RevertThread, SegmentInfo, SegmentPart,
    ThreadHistory, ThreadLookup, ThreadReader, ThreadStore, WriterState,
};

/// A store that traces the calls of another one. A thread manager wraps its store in one.
///
/// Each call is a span `store_call` at level DEBUG with the fields `method` and `thread_id`, and ends with an event that has
/// `outcome` (`ok`, or the error), `count` (lines, threads, turns or bytes, depending on the method) and `micros`. While nobody
/// listens, a call costs a check of a static.
///
/// With the feature `metrics`, it also counts through the [`metrics`](https://docs.rs/metrics) crate:
///
/// | name | kind | labels |
/// | --- | --- | --- |
/// | `selvedge_store_calls_total` | counter | `method`, `outcome`: `ok` or `error` |
/// | `selvedge_store_call_seconds` | histogram | `method` |
/// | `selvedge_store_appended_lines_total` | counter | |
#[derive(Clone, Debug)]
pub struct TracedStore {
    inner: Arc<dyn ThreadStore>,
}

impl TracedStore {
    /// Wraps a store.
    #[must_use]
    pub fn new(inner: Arc<dyn ThreadStore>) -> Self {
        Self { inner }
    }
}

/// How much an answer contains.
trait AnswerSize {
    fn size(&self) -> Option<u64> {
        None
    }
}

macro_rules! answer_sizes {
    ($($answer:ty: $size:expr;)*) => {
        $(impl AnswerSize for $answer {
            fn size(&self) -> Option<u64> {
                let size: fn(&$answer) -> usize = $size;
                Some(size(self) as u64)
            }
        })*
    };
}

answer_sizes! {
    ThreadHistory: |history| history.lines.len();
    LinePage: |page| page.entries.len();
    ChangePage: |page| page.changes.len();
    Vec<SegmentInfo>: Vec::len;
    Vec<u8>: Vec::len;
    Vec<ThreadId>: Vec::len;
    ModelContext: |context| context.history.len();
    usize: |count| *count;
    Page<StoredThread>: |page| page.items.len();
    Page<SearchHit>: |page| page.items.len();
    Page<Turn>: |page| page.items.len();
    Page<TurnItemEntry>: |page| page.items.len();
}

impl AnswerSize for Appended {
    fn size(&self) -> Option<u64> {
        Some(self.lines)
    }
}

impl AnswerSize for u64 {
    fn size(&self) -> Option<u64> {
        Some(*self)
    }
}

impl AnswerSize for () {}
impl AnswerSize for StoredThread {}
impl AnswerSize for ThreadId {}
impl AnswerSize for ThreadStats {}
impl AnswerSize for WriterState {}
impl AnswerSize for MaintenanceReport {}
impl AnswerSize for Option<SessionMeta> {}

/// Awaits a call within its span, and reports how it ended.
async fn observed<T: AnswerSize>(
    method: &'static str,
    thread_id: Option<ThreadId>,
    call: impl Future<Output = Result<T>>,
) -> Result<T> {
    if !(cfg!(feature = "metrics") || tracing::enabled!(Level::DEBUG)) {
        return call.await;
    }
    let span = tracing::debug_span!("store_call", method, thread_id = tracing::field::Empty);
    if let Some(thread_id) = thread_id {
        span.record("thread_id", tracing::field::display(thread_id));
    }
    let started = Instant::now();
    async move {
        let outcome = call.await;
        let took = started.elapsed();
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        match &outcome {
            Ok(answer) => tracing::debug!(outcome = "ok", count = answer.size(), micros),
            Err(error) => tracing::debug!(outcome = %error, micros),
        }
        #[cfg(feature = "metrics")]
        count_call(method, &outcome, took);
        outcome
    }
    .instrument(span)
    .await
}

#[cfg(feature = "metrics")]
fn count_call<T: AnswerSize>(method: &'static str, outcome: &Result<T>, took: std::time::Duration) {
    let result = if outcome.is_ok() { "ok" } else { "error" };
    metrics::counter!("selvedge_store_calls_total", "method" => method, "outcome" => result).increment(1);
    metrics::histogram!("selvedge_store_call_seconds", "method" => method).record(took.as_secs_f64());
    if let ("append_items", Some(lines)) = (method, outcome.as_ref().ok().and_then(AnswerSize::size)) {
        metrics::counter!("selvedge_store_appended_lines_total").increment(lines);
    }
}

/// Forwards every call.
macro_rules! traced {
    ($($contract:ident { $(fn $method:ident($($name:ident: $argument:ty),*) -> $answer:ty [$thread:expr];)* })*) => {
        $(
            #[async_trait]
            impl $contract for TracedStore {
                $(
                    async fn $method(&self $(, $name: $argument)*) -> Result<$answer> {
                        let thread: Option<ThreadId> = $thread;
                        observed(stringify!($method), thread, self.inner.$method($($name),*)).await
                    }
                )*
            }
        )*
    };
}

crate::for_each_store_method!(traced);
