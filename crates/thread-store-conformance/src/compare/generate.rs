//! Draws random steps.

use proptest::prelude::*;

use super::step::{MAX_STEPS, RelativeBoundary, Step, THREADS};

/// Returns the strategy that draws any step.
///
/// The weights keep sequences interesting. Equal weights would delete, discard and shut down threads so often that few threads
/// get a history. Both stores would refuse most steps for the same reason.
pub(super) fn any() -> impl Strategy<Value = Step> {
    let thread = || 1..=THREADS;
    let earlier = || 0..MAX_STEPS;
    let boundary = || {
        prop_oneof![
            Just(RelativeBoundary::Latest),
            (0..5_usize).prop_map(RelativeBoundary::After),
            (0..5_usize).prop_map(RelativeBoundary::Before),
            (0..4_u64).prop_map(RelativeBoundary::BeforeNewest),
        ]
    };
    // Small pages, so that most answers need several of them.
    let page = || (any_bool(), 1..5_usize);
    let changes = prop_oneof![
        6 => (thread(), any_bool()).prop_map(|(thread, is_paginated)| Step::Create { thread, is_paginated }),
        1 => thread().prop_map(|thread| Step::Persist { thread }),
        6 => thread().prop_map(|thread| Step::Resume { thread }),
        16 => (thread(), proptest::bool::weighted(0.8), proptest::bool::weighted(0.1))
            .prop_map(|(thread, is_whole, is_repeated)| Step::Append { thread, is_whole, is_repeated }),
        1 => thread().prop_map(|thread| Step::Flush { thread }),
        6 => thread().prop_map(|thread| Step::Shutdown { thread }),
        1 => thread().prop_map(|thread| Step::Discard { thread }),
        6 => (thread(), thread(), boundary()).prop_map(|(source, thread, at)| Step::Fork { source, thread, at }),
        5 => (thread(), boundary()).prop_map(|(thread, to)| Step::Revert { thread, to }),
        2 => thread().prop_map(|thread| Step::Archive { thread }),
        2 => thread().prop_map(|thread| Step::Unarchive { thread }),
        2 => (thread(), proptest::option::of(0..3_u8)).prop_map(|(thread, name)| Step::Rename { thread, name }),
        3 => (thread(), proptest::option::of(0..3_u8))
            .prop_map(|(thread, model)| Step::SetModel { thread, model }),
        2 => thread().prop_map(|thread| Step::Delete { thread }),
        2 => thread().prop_map(|thread| Step::Detach { thread }),
        1 => Just(Step::Reopen),
    ];
    let queries = prop_oneof![
        (page(), proptest::option::of(any_bool())).prop_map(|((is_descending, limit), archived)| Step::List {
            is_descending,
            archived,
            limit
        }),
        (0..3_u8).prop_map(|name| Step::Find { name }),
        earlier().prop_map(|step| Step::Search { step }),
        (thread(), page()).prop_map(|(thread, (is_descending, limit))| Step::Lines { thread, is_descending, limit }),
        (thread(), page()).prop_map(|(thread, (is_descending, limit))| Step::Turns { thread, is_descending, limit }),
        (thread(), page()).prop_map(|(thread, (is_descending, limit))| Step::Items { thread, is_descending, limit }),
        thread().prop_map(|thread| Step::Export { thread }),
        Just(Step::Changes),
    ];
    // A change is followed by reads of its thread anyway. Queries add pages, searches and exports.
    prop_oneof![3 => changes, 1 => queries]
}

fn any_bool() -> impl Strategy<Value = bool> {
    proptest::bool::ANY
}
