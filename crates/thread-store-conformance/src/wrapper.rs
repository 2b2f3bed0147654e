//! Wraps a store, in order to change some of its calls.

use std::fmt::Debug;
use std::io::Write;

use async_trait::async_trait;
use selvedge_history::ModelContext;
use selvedge_protocol::{
    Cursor, ItemQuery, Page, RolloutItem, SearchHit, SearchQuery, SegmentId, SessionMeta, StatsQuery, StoredThread,
    ThreadId, ThreadMetadataPatch, ThreadQuery, ThreadStats, Turn, TurnItemEntry, TurnQuery,
};
use selvedge_thread_store::{
    Appended, BatchId, ChangePage, ForkThread, LinePage, LinePosition, LineQuery, MaintenanceProgress,
    MaintenanceReport, MaintenanceRequest, MetadataOrigin, Result, RevertThread, SegmentInfo, SegmentPart,
    ThreadHistory, ThreadLookup, ThreadReader, ThreadStore, WriterState,
};

/// The store that a [`StoreWrapper`] makes.
///
/// A blanket `impl` of the store traits for every `StoreWrapper` is not possible, because these traits belong to another crate.
#[derive(Clone, Debug)]
pub struct Wrapped<W>(pub W);

/// Makes the trait `StoreWrapper`, whose default methods forward every call, and the store traits for `Wrapped`.
macro_rules! wrapper {
    ($($contract:ident { $(fn $method:ident($($name:ident: $argument:ty),*) -> $answer:ty [$thread:expr];)* })*) => {
        /// A wrapper around a store that changes some of its calls. The default of every method forwards the call.
        #[async_trait]
        pub trait StoreWrapper: Debug + Send + Sync + 'static {
            /// Returns the wrapped store.
            fn inner(&self) -> &dyn ThreadStore;

            $($(
                /// Forwards the call to the wrapped store.
                async fn $method(&self $(, $name: $argument)*) -> Result<$answer> {
                    self.inner().$method($($name),*).await
                }
            )*)*
        }

        $(
            #[async_trait]
            impl<W: StoreWrapper> $contract for Wrapped<W> {
                $(
                    async fn $method(&self $(, $name: $argument)*) -> Result<$answer> {
                        self.0.$method($($name),*).await
                    }
                )*
            }
        )*
    };
}

selvedge_thread_store::for_each_store_method!(wrapper);
