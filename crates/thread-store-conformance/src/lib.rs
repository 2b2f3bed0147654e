//! The contract of [`ThreadStore`](selvedge_thread_store::ThreadStore) as rules that any store can be checked against.
//!
//! The [glossary](../../../docs/glossary.md) defines the terms.
//!
//! The author of a store provides a [`StorePlace`]: storage for threads that several hosts can open. The suite returns a
//! [`Report`]. The report says of every [`Rule`] whether the store keeps it. For a broken rule it contains what the check saw, and for
//! a rule that does not apply, the reason.
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
//! Rules are fixed scenarios. [`compare_stores`] adds random ones: it takes the same random steps in two stores and compares every
//! answer.
//!
//! No rule depends on the time of day. The longest wait of a rule is the time until a claim expires. [`fixtures`] contains the
//! threads, items and assertions of the rules, for a store's own tests.

mod compare;
pub mod fixtures;
mod lost_answers;
mod memory;
mod place;
mod report;
mod rule;
mod rules;
mod run;
mod wrapper;

pub use compare::{Difference, RelativeBoundary, Step, compare_stores};
pub(crate) use lost_answers::LostAnswers;
pub use memory::MemoryPlace;
pub use place::{NotApplicable, StoreCall, StorePlace};
pub use report::{CheckedRule, Counts, Report, Verdict};
pub use rule::{Rule, rules};
pub use run::{RunOptions, run};
pub use wrapper::{StoreWrapper, Wrapped};

#[doc(hidden)]
pub use run::test_rule;

/// Makes a test of each rule, in modules by subject. The argument is the path of an async function that makes a new place.
///
/// A rule that does not apply prints its reason and passes. Each test has a runtime of its own with two threads.
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
