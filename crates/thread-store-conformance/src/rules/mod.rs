//! The rules: what a store must do, each with a check.
//!
//! Each module has the rules of one subject. The function of a check has the name of its rule, and panics if the store breaks the
//! rule.
#![expect(clippy::unwrap_used, reason = "a check fails like a test: it panics")]

mod append;
mod batches;
mod cancelled;
mod changes;
mod claims;
mod damage;
mod detach;
mod errors;
mod find;
mod fork;
mod items;
mod lifecycle;
mod lines;
mod list;
mod lost_answers;
mod maintain;
mod metadata;
mod readers;
mod reopened;
mod revert;
mod search;
mod segments;
mod sizes;
mod turns;

use crate::rule::{Rule, rule_table};

/// The list of all rules, by module. Each line has the kind of the check, the function of the check, and the statement of the
/// contract that it checks.
///
/// The kind says what the function gets: `one` host of a new place, `two` hosts of it, or the `place` itself.
///
/// This macro calls another macro with the list. Both the table of rules and the tests of a store are made in this way.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_rule {
    ($($callback:ident)::+ ! { $($given:tt)* }) => {
        $($callback)::+! { { $($given)* }
            lifecycle {
                one lazy_until_first_append = "A new thread is lazy: until its first append nothing is stored, and no reader finds it.";
                one lazy_until_persist = "`persist_thread` writes the first line of a lazy thread and makes it visible. It does nothing to any other live thread.";
                one discard_leaves_no_trace = "A lazy thread that is discarded leaves no trace. A stored thread that is discarded keeps everything that was appended.";
                one shutdown_of_a_lazy_thread = "A lazy thread that is shut down leaves no trace.";
                one create_refuses_an_invalid_head = "`create_thread` refuses a head without an id, without a time, or with a `history_base`.";
                one create_refuses_a_taken_id = "`create_thread` refuses the id of an existing thread, whether that thread is lazy, live, cold or archived.";
                one new_threads_are_paginated = "A new log is paginated, unless its head asks for legacy mode.";
                one resume_keeps_the_history = "Stored lines do not change when a thread is resumed and continued.";
                one resume_refuses_missing_and_live_threads = "`resume_thread` returns `NotFound` for a missing thread, and `Conflict` with the holder for a live thread.";
                one live_methods_need_a_live_thread = "A method for live threads returns `NotFound` with `live: true` when the thread is not live in this host.";
                one delete = "A deletion removes a thread with all its segments. A live thread cannot be deleted.";
                one archive = "An archived thread leaves the default list and keeps everything. A live thread cannot be archived or unarchived.";
                two one_writer = "A thread is live in one host at a time. Another host that resumes it gets `Conflict` with the holder.";
                two lazy_is_private = "No other process sees a lazy thread.";
                two two_creators = "When two processes create a thread with the same id, one gets the thread and the other gets `AlreadyExists`.";
                two others_read_appended_items = "When an append returns, every other process can read its items.";
            }
            append {
                one items_are_kept_as_they_are = "The store keeps appended items in order and unchanged. It applies no persistence policy.";
                one ordinals_are_consecutive = "The ordinals of a paginated log are consecutive, and each append returns the last one.";
                one legacy_has_no_ordinals = "A legacy log has no ordinals.";
                one empty_batch = "An empty batch has no effect.";
                one concurrent_batches = "Concurrent batches stay whole, the batches of each task keep their order, and none is lost.";
                one unknown_items_are_kept = "An item of an unknown kind is kept byte for byte.";
            }
            batches {
                one repeated_batch = "A batch with an id that the store remembers takes effect once. The store remembers at least 64 batches and returns the first result again.";
                one failed_batch = "A failed batch is not remembered: the same call can be made again.";
                one repeated_revert = "A revert with an id that the store remembers takes effect once, whether the thread is live or cold.";
                one writer_state = "`writer_state` returns the end of the thread, its newest batch, and an epoch. A later claim has a higher epoch.";
                one order_of_first_polls = "Batches take effect in the order in which their calls are first polled, whatever their size.";
                one dropped_batch = "An append that is dropped and then repeated with the same id takes effect once.";
            }
            changes {
                one without_a_cursor = "Without a cursor, `list_changes` returns every stored thread and its end.";
                one refusals = "`list_changes` refuses a limit of 0 and a malformed cursor. A cursor that it cannot serve is `CursorExpired`.";
                two each_change_is_reported = "Every change of a thread is reported to every process. The report contains the current state of the thread.";
                two following = "A client that follows the changes learns exactly which threads exist.";
            }
            find {
                one by_name = "A lookup by name finds every thread with exactly this name, archived or not, in the order of their ids.";
                one by_id_prefix = "A lookup by id prefix finds every thread whose id begins with it, and ignores case.";
                one lazy_threads_are_not_found = "No lookup finds a lazy thread.";
                one distinct_prefix_len = "`distinct_prefix_len` returns how many characters distinguish the given ids from each other and from all other ids, archived threads included.";
                one session_meta = "`read_session_meta` returns the head of the newest segment.";
                one stats = "`thread_stats` counts the threads that match its query, their turns and their bytes.";
                one stats_by_project = "`thread_stats` by project has one group for all spellings of a directory, under the least of them.";
                one stats_of_tokens = "`thread_stats` counts what was spent: repeated counts once, a counter that begins again goes on, and the last count alone counts.";
                one stats_after_a_rewind = "A rewind gives nothing back: `thread_stats` counts the same turns and tokens as before, in both modes.";
                one stats_of_forks = "What a fork inherited counts once in `thread_stats`, in the thread that did it: in both modes, with and without the source, and after a detach.";
                one stats_by_day = "`thread_stats` counts turns and tokens for the day on which they happened, and a thread on each of its days. Times in its query select what happened.";
                one stats_by_model = "`thread_stats` counts turns and tokens for the model that was used, also if a thread changes its model.";
                one export = "An export is the whole history byte for byte. The call returns how many bytes that is.";
            }
            lines {
                one contain_the_history = "Pages of lines together contain every byte of the history, whatever their size and direction.";
                one positions = "A position is the same however it was obtained. Reading can continue from it in either direction.";
                one starts = "A read can start at an ordinal or at a turn. A start at an undone turn is `TurnNotFound`.";
                one pages_end_by_bytes = "A page of lines has a limit of bytes, too, but always holds at least one entry.";
                one short_texts = "Where long texts may be shortened, the entries are the same: their places, kinds and sizes, and short texts.";
                one positions_stay_valid = "A position stays valid after appends, archive, detach, and deletion of the source.";
                one after_a_rewind = "After a rewind, a position in the undone part leads to the last position before it that is still in the history.";
                one after_a_legacy_rewind = "A rewind of a legacy thread appends one line and removes none.";
                one refusals = "`read_lines` refuses a limit of 0 lines, a malformed position, and a position of another thread.";
                two following = "A client that follows a thread gets every line once, whatever happens to the thread.";
                one positions_survive_every_change = "After any change of a thread, each position leads to its line, or to where the undone part begins.";
            }
            list {
                one pages_by_every_size = "Pages of every size, sort key and direction together contain what one large page contains.";
                one pages_while_others_write = "Threads that exist during the whole walk over the pages are returned exactly once, whatever else is added or deleted.";
                one ties_are_sorted_by_id = "Threads with the same time are sorted by their ids.";
                one filters = "Each filter of a query selects exactly the threads that match it.";
                one directories = "A filter by directory compares paths and not texts: it finds all spellings of its directory, of every system, and no other directory.";
                one descendants = "Descendants are found through forks and sub-agents, through archived and deleted threads, and in cycles.";
                one refusals = "`list_threads` refuses a limit of 0, a malformed cursor, and a cursor of another order.";
                one equals_a_filter_and_sort = "A list equals a plain filter and sort of all thread records, for every sort key, direction, filter and page size.";
            }
            turns {
                one pages = "Pages of turns of every size, in either direction, together contain all turns.";
                one cursors_while_the_thread_grows = "A cursor of turns continues at the same turn while the thread grows.";
                one views = "A page of turns contains as many items of each turn as its view asks for.";
                one refusals = "`list_turns` refuses a limit of 0 and a malformed cursor.";
                one in_progress = "A turn without an end is in progress while the thread is live, and interrupted when the thread is cold.";
                one of_items_of_the_model = "What only items of the model tell is shown in turns, pages of items, searches and lists.";
                two in_progress_elsewhere = "Every process reports an open turn as in progress while its writer is live.";
            }
            items {
                one pages = "Pages of items of every size, in either direction, together contain all items.";
                one of_one_turn = "A query for the items of one turn returns exactly the items of that turn, in either direction.";
                one one_turn_by_number = "A turn can be selected by its id or by its number from either end. A missing turn is `TurnNotFound`.";
                one cursors_while_the_thread_grows = "A cursor of items continues at the same item while the thread grows, even if an earlier turn gets a late item.";
                one refusals = "`list_items` refuses a limit of 0, a malformed cursor, and a turn that does not exist.";
            }
            metadata {
                one record_contains_derived_facts = "The thread record contains the facts that the writer derives from its appends.";
                one derived_patch = "A derived patch updates the thread record and adds no line to the log. A repetition changes nothing.";
                one explicit_patch = "An explicit patch sets each of its fields to exactly the given value.";
                one null_clears_a_field = "A patch clears the fields that it sets to null, and keeps the fields that it does not name.";
                one patch_of_git = "A patch changes the fields of the git information one by one.";
                one later_facts_win = "An explicit value is kept until a later fact of the log or a later patch replaces it.";
                one derived_patch_sets_no_name = "A derived patch sets no name. Only an explicit patch does.";
                one patches_without_a_line = "An empty patch, a derived patch and a patch of the name write no line to the log.";
                one patch_survives_resume = "An explicit value survives resume, shutdown and appends.";
                one name = "A name is trimmed. An empty name clears the name. No name is part of the log.";
                one refusals = "`update_thread_metadata` returns `NotFound` for a missing thread.";
                one paginated_log_has_one_head = "A patch adds no second head to a paginated log.";
                two conflicts = "While another process writes, a patch that needs a line in the log is refused with `Conflict`. It is applied in full or not at all.";
            }
            fork {
                one at_latest = "A fork begins with the history of its source. It refers to the history in paginated mode, and copies it in legacy mode.";
                one inherits_the_head = "A fork inherits the settings of its source, unless its own head sets them. It does not inherit the role of a sub-agent.";
                one after_and_before = "A fork can begin after a turn, before a turn, or before a number of the newest turns.";
                one of_a_fork = "A fork of a fork goes through both histories.";
                one source_and_fork_are_independent = "A fork does not change its source, and later appends to the source do not change the fork.";
                one of_live_and_archived = "The source of a fork may be live, cold or archived.";
                one is_continued = "A new fork is cold. It is resumed and continued like any other thread.";
                one refusals = "`fork_thread` refuses a head without an id or a time, an id that is taken, and a turn that does not exist.";
                one inherits_no_explicit_metadata = "A fork does not inherit the explicit metadata of its source.";
                one delete_of_a_source = "A thread cannot be deleted while histories of other threads go through it. `HasDependents` names all of them.";
            }
            revert {
                one after_and_before = "A revert can go back to after a turn, to before a turn, or to before a number of the newest turns. It returns how many turns it undid.";
                one to_latest = "A revert to the latest boundary changes nothing.";
                one before_the_first_turn = "A revert to before the first turn leaves a thread without turns, which can be continued.";
                one into_the_inherited_history = "A fork can be reverted into its inherited history. Its source does not change.";
                one of_a_live_thread = "A live thread stays live when its writer reverts it. Its next append follows the boundary of the revert.";
                one undoes_steering = "A revert of a turn also undoes what the user said in the middle of the turn.";
                one of_an_incomplete_turn = "A turn that lacks its last lines can be undone.";
                one to_between_turns = "A message between two turns is kept by a revert to before the second turn, and undone by a revert to after the first.";
                one of_a_turn_without_messages = "A legacy revert is refused when the turns to undo contain no user message. A paginated revert succeeds.";
                one keeps_explicit_metadata = "A revert keeps the explicit metadata of the thread.";
                one fork_of_a_reverted_thread = "A fork of a reverted thread begins with what is left of its history.";
                one refusals = "`revert_thread` refuses a thread or a turn that does not exist.";
                two conflicts = "A thread that is live in another host cannot be reverted.";
            }
            detach {
                one frees_the_source = "A detached thread has a history of its own, so that its source can be deleted.";
                one is_continued = "A detached thread is continued, forked and reverted like any other thread.";
                one keeps_dependents = "A fork of a detached thread keeps its history and its dependencies.";
                one of_a_reverted_thread = "A reverted thread is detached with its current history.";
                one keeps_metadata_and_world_state = "A detached thread keeps its explicit metadata and its world state.";
                one keeps_compactions = "A detached thread keeps its compactions.";
                one of_an_independent_thread = "Detaching a thread that depends on no other thread changes nothing.";
                one archived_and_twice = "An archived thread stays archived when it is detached. A second detach changes nothing.";
                two refusals = "A thread cannot be detached while it is live, here or in another host. Its source may be live.";
            }
            segments {
                one contain_the_written_bytes = "`read_segment` returns the bytes of a segment as they were written.";
                one abandoned_segments = "`list_segments` returns a thread's own segments, oldest first, including those that a rewind abandoned.";
                one copies_are_equal = "Segments that are copied out and imported again are equal, in whatever order and parts they arrive.";
                one records_of_copies = "The record of a copied thread contains what its log says, inherited facts included, whether its source comes first or last.";
                one imports_are_whole = "A segment becomes visible with its last part. An interrupted copy continues at the offset that the store returns.";
                one appends_to_copies = "An append to a copied segment continues its ordinals, wherever the parts of the copy cut lines.";
                one imports_extend_segments = "An import extends a visible segment, unless a writer holds the thread or the known bytes differ.";
                one imports_wait_for_the_writer = "No segment is added to a thread while a writer holds it.";
                one empty_segments = "A segment without a line begins no new history.";
                one damaged_bytes_are_kept = "A segment keeps all bytes, damaged ones included. Its intact lines are read.";
                one refusals = "`list_segments` and `read_segment` return `NotFound` for what does not exist. There are no bytes beyond the end.";
            }
            maintain {
                one changes_no_answer = "Maintenance changes no answer to a reader, skips live threads, and reports its progress.";
            }
            search {
                one in_names_and_items = "A search finds text in names, and in what users and agents say, think and run.";
                one unicode = "A search ignores case in every script, and marks the text that it found.";
                one language = "Terms, word prefixes and phrases are found where the search language says.";
                one terms_match_one_item = "All terms of a search must be in one item.";
                one positions = "A hit contains its turn and the position of the line with which its item began.";
                one pages = "Pages of hits skip no thread, repeat none, and split none over two pages.";
                one best_match_first = "The best match comes first. Equal matches are sorted by time.";
                one obeys_the_thread_query = "The thread query of a search selects the same threads as it does in a list.";
                one refusals = "`search_threads` refuses a text without a term, a limit of 0, a malformed cursor, and a cursor of another order.";
            }
            cancelled {
                one append = "An append that is dropped at any poll and then repeated is in the log once.";
                one revert = "A revert that is dropped at any poll and then repeated undoes its turns once.";
                one fork = "When a fork is dropped at any poll, a repeated call creates the fork or reports that it exists.";
                one detach = "A detach that is dropped at any poll is completed by a repeated call.";
                one update = "A metadata patch that is dropped at any poll is completed by a repeated call.";
                one archive_and_unarchive = "An archive or unarchive that is dropped at any poll is completed by a repeated call.";
                one delete = "A deletion that is dropped at any poll is completed by a repeated call, and leaves nothing behind.";
                one resume_and_shutdown = "A resume or shutdown that is dropped at any poll leaves a thread that is live or can be resumed.";
                one import = "An import that is dropped at any poll is completed by a repeated call.";
            }
            lost_answers {
                place of_create = "When the answer of a create is lost, a repeated call creates the thread or reports that it exists.";
                place of_resume = "When the answer of a resume is lost, a repeated call makes the thread live or reports that it is live.";
                place of_append = "When the answer of an append is lost, a repeated call leaves its items in the log once.";
                place of_persist = "When the answer of a persist is lost, a repeated call leaves exactly one first line.";
                place of_flush_and_sync = "When the answer of a flush or sync is lost, a repeated call succeeds.";
                place of_shutdown_and_discard = "When the answer of a shutdown or discard is lost, a repeated call leaves the thread cold.";
                place of_update = "When the answer of a metadata patch is lost, a repeated call returns the patched record.";
                place of_archive_and_unarchive = "When the answer of an archive or unarchive is lost, a repeated call returns the changed record.";
                place of_delete = "When the answer of a deletion is lost, the thread does not exist after a repeated call.";
                place of_fork = "When the answer of a fork is lost, a repeated call creates the fork or reports that it exists.";
                place of_detach = "When the answer of a detach is lost, a repeated call leaves a thread that depends on no other thread.";
                place of_revert = "When the answer of a revert is lost, a repeated call leaves its turns undone once, and returns their number.";
                place of_import = "When the answer of an import is lost, a repeated call returns how many bytes the store has.";
            }
            claims {
                two race = "When several hosts resume a thread at the same time, exactly one gets it. The others get `Conflict`.";
                two epochs = "A later claim of a thread has a higher epoch, whichever host makes it.";
                place of_a_dead_writer = "A claim ends with the process or the lease of its holder.";
                place appends_of_a_dead_writer = "Appended items survive the death of their writer. A turn that it left open is interrupted.";
                place lazy_thread_of_a_dead_writer = "When the writer of a lazy thread dies, nothing is left of the thread and its id is free.";
                place expired = "When a claim has expired, another host gets the thread immediately.";
                place fenced_append = "A host that lost its thread during a pause appends nothing and gets `Lost`.";
                place stale_epoch = "A host with an expired claim appends nothing, even if no host holds the thread any more.";
                place fenced_revert = "A host that lost its thread during a pause reverts nothing.";
                place fenced_host_resumes = "A host that lost a thread can discard it, resume it with a higher epoch, and continue.";
            }
            readers {
                two see_a_prefix = "During an append, another process sees a prefix of the log in order. It sees every acknowledged append in full.";
                two see_whole_reverts = "A reader sees a thread as it was before a revert or as it is after it.";
                two lists_are_fresh = "After a flush or shutdown, lists, searches and statistics are exact in every other process.";
                two records_are_exact = "As soon as a change returns, `read_thread` returns its result in every other process.";
            }
            reopened {
                place gives_the_same_answers = "A host that opens a place gets the same answers as the host before it.";
                place hosts_take_turns = "One host after another can continue a thread.";
                place keeps_positions_and_cursors = "Positions and cursors of one host are valid in another host.";
                place after_a_restart = "After a restart of the place, all answers are the same and threads can be continued.";
            }
            sizes {
                one items_of_a_megabyte = "An item of one megabyte is stored and read like any other item.";
                one parts_of_segments = "`read_segment` returns at most 16 MiB, however much is requested.";
                one batches_of_ten_thousand = "A batch of 10,000 items is one batch.";
            }
            errors {
                two retry_later = "`Conflict` advises to retry later. The call succeeds once the thread is free.";
                one give_up = "A call whose error advises to give up fails again, and changes nothing.";
                one start_over_without_a_cursor = "When a cursor cannot be served, the error advises to start over. A call without a cursor succeeds.";
                place start_over_at_a_valid_position = "A position after a line that was changed is `PositionGone`. The positions before that line are valid.";
            }
            damage {
                place costs_only_damaged_lines = "Damage costs a thread only the damaged lines. Lists and searches still contain the thread.";
                place is_reported = "`read_lines` reports a damaged range with its bytes.";
                place is_kept = "Reads and appends repair nothing. An export contains the damaged bytes.";
            }
        }
    };
}

for_each_rule! { rule_table! {} }
