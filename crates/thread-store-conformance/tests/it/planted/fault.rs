//! What a planted fault is.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use selvedge_protocol::{StoredThread, ThreadId};
use selvedge_thread_store::{Appended, BatchId, ThreadHistory, ThreadStore};

/// What faulty stores remember. All hosts of a place share it.
#[derive(Debug, Default)]
pub(super) struct FaultMemory {
    pub(super) count: AtomicU64,
    /// How many hosts were opened.
    pub(super) hosts: AtomicU64,
    pub(super) is_restarted: AtomicBool,
    pub(super) batches: Mutex<HashMap<BatchId, Appended>>,
    /// Threads with a mark. The meaning of the mark depends on the fault.
    pub(super) marked: Mutex<HashSet<ThreadId>>,
    /// Earlier answers of `read_thread`.
    pub(super) records: Mutex<HashMap<ThreadId, StoredThread>>,
    /// Earlier answers of `load_history`.
    pub(super) histories: Mutex<HashMap<ThreadId, ThreadHistory>>,
}

impl FaultMemory {
    pub(super) fn is_second_call(&self) -> bool {
        self.count.fetch_add(1, Ordering::Relaxed) % 2 == 1
    }
}

/// What a faulty store is made of.
#[derive(Debug)]
pub(super) struct FaultyHost {
    /// The host without the fault.
    pub(super) store: Arc<dyn ThreadStore>,
    pub(super) memory: Arc<FaultMemory>,
    /// The number of the host in its place, counted from 0.
    pub(super) host: u64,
}

/// A planted fault.
pub(super) struct Fault {
    pub(super) name: &'static str,
    /// The rules that exist to catch it.
    pub(super) caught_by: &'static [&'static str],
    /// Other rules that catch it, because they rely on what it breaks.
    pub(super) also_caught_by: &'static [&'static str],
    /// Makes the faulty store.
    pub(super) plant: fn(FaultyHost) -> Arc<dyn ThreadStore>,
}

/// Makes a store of each fault: its name, the rules that catch it, and the methods that it breaks. `FAULTS` lists all of them.
macro_rules! faults {
    ($($name:ident caught by [$($rule:literal),* $(,)?] also [$($other:literal),* $(,)?] $body:tt)*) => {
        $(
            #[derive(Debug)]
            struct $name(FaultyHost);

            impl std::ops::Deref for $name {
                type Target = FaultyHost;

                fn deref(&self) -> &FaultyHost {
                    &self.0
                }
            }

            faults!(@wrapper $name $body);
        )*

        pub(super) const FAULTS: &[Fault] = &[$(Fault {
            name: stringify!($name),
            caught_by: &[$($rule),*],
            also_caught_by: &[$($other),*],
            plant: |host| std::sync::Arc::new(Wrapped($name(host))),
        }),*];
    };
    (@wrapper $name:ident { $($body:tt)* }) => {
        #[async_trait]
        impl StoreWrapper for $name {
            fn inner(&self) -> &dyn selvedge_thread_store::ThreadStore {
                &*self.store
            }

            $($body)*
        }
    };
}
pub(super) use faults;
