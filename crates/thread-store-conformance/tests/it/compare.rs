//! Tests of the comparison of two stores.

use std::sync::Arc;

use async_trait::async_trait;
use selvedge_protocol::{RolloutItem, ThreadId};
use selvedge_thread_store::{Appended, BatchId, InMemoryThreadStore, Result, ThreadStore};
use selvedge_thread_store_conformance::{MemoryPlace, Step, StorePlace, StoreWrapper, Wrapped, compare_stores};

/// A store that drops the last item of each batch and reports success.
#[derive(Debug)]
struct Forgetful(InMemoryThreadStore);

#[async_trait]
impl StoreWrapper for Forgetful {
    fn inner(&self) -> &dyn ThreadStore {
        &self.0
    }

    async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
        let kept = items.len().saturating_sub(1);
        self.0.append_items(thread_id, batch, &items[..kept]).await
    }
}

#[derive(Default)]
struct ForgetfulPlace(InMemoryThreadStore);

#[async_trait]
impl StorePlace for ForgetfulPlace {
    async fn open_host(&self) -> Arc<dyn ThreadStore> {
        Arc::new(Wrapped(Forgetful(self.0.peer())))
    }
}

#[test]
fn two_reference_stores_do_not_differ() {
    compare_stores(async || MemoryPlace::new(), async || MemoryPlace::new(), 64).unwrap();
}

#[test]
fn a_difference_is_reduced_to_its_necessary_steps() {
    let difference = compare_stores(async || ForgetfulPlace::default(), async || MemoryPlace::new(), 256).unwrap_err();
    assert!(matches!(difference.steps[..], [Step::Create { .. }, Step::Append { .. }]), "{difference}");
    assert!(difference.to_string().starts_with("the stores differ after 2 steps:\n  Create"), "{difference}");
}
