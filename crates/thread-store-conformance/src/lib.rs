//! The contract of [`ThreadStore`](selvedge_thread_store::ThreadStore) as rules that any store can be checked against.
//!
//! In goes a [`StorePlace`]: somewhere to keep threads, that can be opened by several hosts. Out comes a [`Report`] that says
//! of every [`Rule`] whether the store keeps it, what was seen if not, or why it says nothing about the store.
//!
//! ```
//! use selvedge_thread_store_conformance::{MemoryPlace, RunOptions, run};
//!
//! # #[tokio::main(flavor = "multi_thread")]
//! # async fn main() {
//! let options = RunOptions { only: vec!["append.".into()], ..RunOptions::default() };
//! let report = run(async || MemoryPlace::new(), &options).await;
//! assert!(report.is_passed(), "{report}");
//! # }
//! ```
//!
//! In the tests of a store, [`conformance_tests!`] makes a test of each rule:
//!
//! ```
//! # use selvedge_thread_store_conformance::MemoryPlace;
//! async fn new_place() -> MemoryPlace {
//!     MemoryPlace::new()
//! }
//!
//! selvedge_thread_store_conformance::conformance_tests!(crate::new_place);
//! # fn main() {}
//! ```
//!
//! No rule asks what time it is, and none waits longer than until a claim has expired. [`fixtures`] has what the rules are
//! told with, for a store's own tests.

pub mod fixtures;
mod lost;
mod memory;
mod model;
mod place;
mod report;
mod rule;
mod rules;
mod run;
mod wrapper;

pub(crate) use lost::LostAnswers;
pub use memory::MemoryPlace;
pub use model::{Cut, Difference, Step, compare_stores};
pub use place::{NotApplicable, StoreCall, StorePlace};
pub use report::{CheckedRule, Counts, Report, Verdict};
pub use rule::{Rule, rules};
pub use run::{RunOptions, run};
pub use wrapper::{StoreWrapper, Wrapped};

#[doc(hidden)]
pub use run::test_rule;

/// Makes a test of each rule, in modules. It is given an async function that makes a new place.
///
/// A rule that does not apply says why and passes. Each test has a runtime of its own with two threads.
#[macro_export]
macro_rules! conformance_tests {
    ($new_place:path) => {
        $crate::for_each_rule! { $crate::rule_tests! { $new_place } }
    };
}

/// Makes a test of each rule in a list.
#[doc(hidden)]
#[macro_export]
macro_rules! rule_tests {
    ({ $new_place:path } $($module:ident { $($kind:ident $check:ident = $text:literal;)* })*) => {
        $(
            mod $module {
                $(
                    #[doc = $text]
                    #[test]
                    fn $check() {
                        $crate::test_rule(concat!(stringify!($module), ".", stringify!($check)), $new_place);
                    }
                )*
            }
        )*
    };
}
