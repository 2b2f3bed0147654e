//! The rules: what a store must do, each with a check.
#![expect(clippy::unwrap_used, reason = "a check fails where a test would")]

mod append;
mod batches;
mod branch;
mod cancelled;
mod changes;
mod claims;
mod damage;
mod detach;
mod errors;
mod find;
mod items;
mod life;
mod lines;
mod list;
mod lost;
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

/// Every rule, in the order of their modules: the kind of its check, the function that checks it, and the sentence of the
/// contract that it checks. `one` is given one host of a new place, `two` is given two of them, `place` the place itself.
///
/// Calls a macro with the list. The table of rules and the tests of a store are both made from it.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_rule {
    ($($callback:ident)::+ ! { $($given:tt)* }) => {
        $($callback)::+! { { $($given)* }
            life {
                one lazy_until_first_append = "A created thread is lazy: nothing is stored, and it is not found before the first append.";
                one lazy_until_persist = "`persist_thread` makes a lazy thread visible by its first line, and does nothing to any other live thread.";
                one discard_leaves_no_trace = "A lazy thread that is discarded leaves no trace; one that is stored keeps all that was appended.";
                one shutdown_of_a_lazy_thread = "A lazy thread that is shut down leaves no trace.";
                one create_refuses = "`create_thread` refuses a head without an id or a time, or with a `history_base`.";
                one create_taken_id = "`create_thread` refuses the id of a thread that is there already, be it lazy, live, cold or archived.";
                one new_threads_are_paginated = "A log is kept paginated, unless the head says legacy.";
                one resume_and_go_on = "What was stored stays as it is when a thread is resumed and gone on with.";
                one resume_refuses = "Resuming is `NotFound` for a thread that is not there, and `Conflict` naming the holder for one that is live.";
                one live_methods_need_a_live_thread = "A method on a live thread is `NotFound` (live) when the thread is not live here.";
                one delete = "A thread is deleted with all its segments, and not while it is live.";
                one archive = "An archived thread leaves the default listing and keeps everything; a live thread is not moved.";
                two one_writer = "A thread is live in one store at a time; who else wants it gets `Conflict` naming the holder.";
                two lazy_is_private = "No other process sees a lazy thread.";
                two lazy_twice = "Of two processes that create a thread of the same id one gets it, and the other `AlreadyExists`.";
                two others_read = "When an append returns, the items are readable by every other process.";
            }
            append {
                one lines_are_what_was_appended = "Items are appended in order, as they are: the store applies no policy.";
                one ordinals_are_consecutive = "The ordinals of a paginated log are consecutive, and an append says the last one.";
                one legacy_has_no_ordinals = "A legacy log has no ordinals.";
                one empty_batch = "An empty batch does nothing.";
                one concurrent_batches = "Batches that many tasks append at once are each in one piece, in their task's order, and none is lost.";
                one unknown_items_are_kept = "An item of an unknown kind is kept byte for byte.";
            }
            batches {
                one repeated_batch = "A batch takes effect once: of the last 64, each returns what it came to when it is repeated.";
                one failed_batch = "A batch that failed is not remembered: the same call can be repeated.";
                one repeated_revert = "A revert takes effect once, as a batch does, whether the thread is live or cold.";
                one writer_state = "`writer_state` says where the thread ends, the newest batch, and an epoch that a later claim exceeds.";
                one order_of_first_polls = "Batches are in the order in which their calls were polled first, whatever their size.";
                one dropped_batch = "A call that is dropped and made again with the same id takes effect once.";
            }
            changes {
                one begin_with_all = "Without a cursor, the changes are every thread that is there, and where it ends.";
                one refusals = "`list_changes` refuses a limit of 0 and a malformed cursor; one that it cannot serve has expired.";
                two each_change_is_told = "Every change of a thread is told to every process, by how the thread is now.";
                two following = "Whoever follows the changes knows in the end which threads there are.";
            }
            find {
                one by_name = "A thread is found by its whole name, archived or not, in the order of ids.";
                one by_prefix = "A thread is found by the first characters of its id, in any case.";
                one no_lazy_thread = "A lazy thread is not found.";
                one distinct_prefix_len = "`distinct_prefix_len` tells ids apart from those of all other threads, archived ones too.";
                one session_meta = "`read_session_meta` is the head of the newest segment.";
                one stats = "`thread_stats` sums over the threads of its query: how many, their turns and bytes.";
                one export = "An export is the whole history byte for byte, and says how many bytes that were.";
            }
            lines {
                one are_the_history = "Line pages of any size, in either direction, have every byte of the history.";
                one positions = "A position is the same wherever it comes from, and reading goes on there in either direction.";
                one starts = "Reading begins at an ordinal or a turn; an undone turn is `TurnNotFound`.";
                one by_bytes = "A page of lines ends by bytes, too, and has one entry in any case.";
                one positions_stay = "Positions stay valid over the archive, detach, deletion of the source, and appends.";
                one after_a_rewind = "A place that a rewind undid leads to the last one before it that was not.";
                one after_a_legacy_rewind = "A rewind of a legacy thread is a line itself, and undoes none.";
                one refusals = "`read_lines` refuses a page without room, and a position that is malformed or of another thread.";
                two following = "Whoever follows a thread gets every line once, over all that happens to it.";
                one positions_over_every_change = "Over every change of a thread, a position leads to where it stood, or to where what was undone begins.";
            }
            list {
                one pages_by_every_size = "Pages of every size, sort key and direction are together what one page gives.";
                one pages_while_others_write = "Going through pages gives every thread that is there all the time exactly once, whatever else changes.";
                one ties_are_sorted_by_id = "Threads of the same time are in the order of their ids.";
                one filters = "Each filter of a query selects the threads that it says.";
                one descendants = "Descendants are found through forks and sub-agents, archived threads, ones that are gone, and in circles.";
                one refusals = "`list_threads` refuses a limit of 0 and a cursor that is malformed or of another order.";
                one against_a_model = "A list is what a plain filter and sort of all rows gives, by every sort key, direction, filter and page size.";
            }
            turns {
                one pages = "Pages of turns of every size, in either direction, are together all turns.";
                one cursors_while_the_thread_grows = "A cursor of turns goes on where it was while the thread grows.";
                one views = "A page of turns has as much of their items as its view says.";
                one refusals = "`list_turns` refuses a limit of 0 and a malformed cursor.";
                one in_progress = "A turn without an end is in progress while the thread is live, and interrupted when it is cold.";
                two in_progress_elsewhere = "A turn is in progress for every process while its writer is live.";
            }
            items {
                one pages = "Pages of items of every size, in either direction, are together all items.";
                one of_one_turn = "The items of one turn are those of that turn, in either direction.";
                one one_turn_by_number = "One turn is given by its id or by its number from either end, and `TurnNotFound` for one that is not there.";
                one cursors_while_the_thread_grows = "A cursor of items goes on where it was while the thread grows and an early turn gets a late item.";
                one refusals = "`list_items` refuses a limit of 0, a malformed cursor, and a turn that is not there.";
            }
            metadata {
                one row_follows_what_is_told = "The row says what was told of the thread behind its appends.";
                one observed_patch = "An observed patch sets the row, is no line of the log, and is the same twice as once.";
                one explicit_patch = "An explicit patch sets the row, field by field and literally.";
                one patch_clears = "A patch clears what it says is nothing.";
                one patch_of_git = "A patch changes the fields of the git information one by one.";
                one later_facts_win = "What was set is kept until the log or another patch says otherwise later.";
                one derived_names = "A derived patch sets no name: names are explicit.";
                one empty_and_observed_patches = "An empty or observed patch writes nothing into the log.";
                one patch_survives_resume = "What was set explicitly is kept over resume, shutdown and appends.";
                one name = "A name is trimmed, an empty one is none, and none is part of the log.";
                one refusals = "`update_thread_metadata` is `NotFound` for a thread that is not there.";
                one paginated_log_has_one_head = "A patch makes no second head in a paginated log.";
                two conflicts = "A patch that is kept in the log is refused with `Conflict` while another process writes; all of it or nothing.";
            }
            branch {
                one at_latest = "A fork begins with the history of its source, refers to it in paginated mode, and copies it in legacy mode.";
                one inherits_the_head = "A fork works where its source does, unless its head says otherwise.";
                one after_and_before = "A fork leaves its source after or before a turn, or before so many of the newest.";
                one of_fork = "A fork of a fork goes through both histories.";
                one keeps_source = "The source is not changed by a fork, nor the fork by what its source does later.";
                one of_live_and_archived = "The source of a fork may be live, cold or archived.";
                one goes_on = "A new fork is cold, and is resumed and gone on with as any thread.";
                one refusals = "`fork_thread` refuses a head without an id or a time, an id that is taken, and a turn that is not there.";
                one is_not_labelled = "What was set of the source explicitly is not set of its forks.";
                one delete_with_forks = "A thread is not deleted while histories of others go through it: `HasDependents` names them all.";
            }
            revert {
                one after_and_before = "A revert goes back to after or before a turn, or before so many of the newest, and says how many it undid.";
                one to_latest = "Going back to the latest changes nothing.";
                one before_the_first_turn = "A revert before the first turn leaves a thread without turns that goes on.";
                one inside_the_inherited = "A fork is reverted into what it inherits, and its source is not changed.";
                one of_a_live_thread = "A thread that is live here stays live over a revert, and its next append goes behind the point gone back to.";
                one counts_steering = "A revert counts what the user said in the middle of a turn.";
                one of_a_torn_turn = "A turn that was broken off can be undone.";
                one to_between_turns = "A revert keeps what stands between two turns on the side where it belongs.";
                one of_a_silent_turn = "A legacy revert is refused when nobody spoke in the turns to undo.";
                one keeps_labels = "What was set of the thread explicitly stays set over a revert.";
                one fork_of_reverted = "A fork of a thread that was reverted begins with what is left of its history.";
                one refusals = "`revert_thread` is refused for a thread or a turn that is not there.";
                two conflicts = "A thread that is live elsewhere is not reverted.";
            }
            detach {
                one frees_the_source = "A detached thread has a history of its own, so that its source can be deleted.";
                one goes_on = "A detached thread goes on, is forked and reverted as any other.";
                one in_a_chain = "Who builds on a detached thread goes on building on what it did.";
                one of_reverted = "A thread that was reverted is detached as it is now.";
                one keeps_labels_and_surroundings = "A detached thread keeps what was set of it and the state of its world.";
                one keeps_compactions = "A detached thread keeps its compactions.";
                one of_what_stands_alone = "What builds on no other thread stays as it is when it is detached.";
                one archived_and_twice = "An archived thread is detached where it is; once more changes nothing.";
                two refusals = "A thread is not detached while it is live, here or elsewhere; that its source is live is nobody's concern.";
            }
            segments {
                one are_the_bytes = "`read_segment` gives the bytes of a segment as they were written.";
                one abandoned_segments = "`list_segments` gives a thread's own segments, oldest first, those too that a rewind left behind.";
                one copies_come_back = "Segments that are copied out and in are the same, in whatever order and parts they come.";
                one rows_of_copies = "A copied thread's row says what its log says, inherited facts too, whether the source comes first or last.";
                one import_is_whole = "A segment becomes visible with its last part; a copy that broke off goes on where the store says.";
                one import_grows = "A visible segment grows by an import, unless somebody writes it or it holds something else.";
                one import_and_writer = "No segment is added to a thread while another writer holds it.";
                one empty_segments = "A segment without a line begins no new history.";
                one damaged_bytes_are_kept = "Bytes are kept, whatever they hold, and what is intact among them is read.";
                one refusals = "`list_segments` and `read_segment` are `NotFound` for what is not there; beyond the end there are no bytes.";
            }
            maintain {
                one keeps_what_is_told = "Housekeeping changes nothing that a reader is told, leaves threads alone that are written, and tells how far it is.";
            }
            search {
                one in_names_and_items = "A text is found in names and in what users and agents said, thought and ran.";
                one unicode = "A search folds the case of every script, and marks what it found.";
                one language = "Terms, beginnings of words and phrases are found where the language of searches says.";
                one terms_stand_in_one_item = "All terms of a search must stand in one item.";
                one positions = "A hit says its turn and the line with which its item began.";
                one pages = "Pages of hits skip no thread, repeat none, and tear none over two pages.";
                one best = "What fits best comes first, with ties by time.";
                one among_descendants = "The query for threads counts in a search as it does in a listing.";
                one refusals = "`search_threads` refuses a text without a term, a limit of 0, and a cursor that is malformed or of another order.";
            }
            cancelled {
                one append = "An append that is dropped at any poll and made again is in the log once.";
                one revert = "A revert that is dropped at any poll and made again undoes once.";
                one fork = "A fork that is dropped at any poll is made by the same call again, or there already.";
                one detach = "A detach that is dropped at any poll is completed by the same call again.";
                one update = "A patch of metadata that is dropped at any poll is completed by the same call again.";
                one archive_and_unarchive = "A move to or from the archive that is dropped at any poll is completed by the same call again.";
                one delete = "A deletion that is dropped at any poll is completed by the same call again, and leaves nothing behind.";
                one resume_and_shutdown = "A resume or shutdown that is dropped at any poll leaves a thread that is live or can be resumed.";
                one import = "An import that is dropped at any poll is completed by the same call again.";
            }
            lost {
                place of_create = "When the answer of a create is lost, the same call makes the thread or says that it is there.";
                place of_resume = "When the answer of a resume is lost, the same call makes the thread live or says that it is.";
                place of_append = "When the answer of an append is lost, the same call brings its items into the log once.";
                place of_persist = "When the answer of a persist is lost, the same call leaves one first line.";
                place of_flush_and_sync = "When the answer of a flush or sync is lost, the same call goes well.";
                place of_shutdown_and_discard = "When the answer of a shutdown or discard is lost, the same call leaves the thread cold.";
                place of_update = "When the answer of a patch is lost, the same call gives the row that it makes.";
                place of_archive_and_unarchive = "When the answer of a move to or from the archive is lost, the same call gives the row that it makes.";
                place of_delete = "When the answer of a deletion is lost, the same call leaves no thread.";
                place of_fork = "When the answer of a fork is lost, the same call makes it or says that it is there.";
                place of_detach = "When the answer of a detach is lost, the same call leaves a thread that stands alone.";
                place of_revert = "When the answer of a revert is lost, the same call undoes once, and says how many turns.";
                place of_import = "When the answer of an import is lost, the same call says how much is there.";
            }
            claims {
                two race = "Of hosts that resume a thread at the same time exactly one gets it, and the others `Conflict`.";
                two epochs = "A later claim of a thread has a higher epoch, whichever host makes it.";
                place of_a_dead_writer = "A claim ends with the holder's process or lease.";
                place acknowledged_by_a_dead_writer = "What was appended survives the death of its writer, and a turn that it left open was interrupted.";
                place lazy_thread_of_a_dead_writer = "Of a lazy thread nothing is left when its writer dies, and its id is free.";
                place expired = "When a claim has expired, another host gets the thread at once.";
                place fenced_append = "A host whose thread was taken while it was paused appends nothing: `Lost`.";
                place old_epoch = "A host whose claim has expired appends nothing, even when nobody holds the thread any more.";
                place fenced_revert = "A host whose thread was taken while it was paused reverts nothing.";
                place fenced_host_resumes = "A host that has lost a thread gives it up, resumes it with a higher epoch and goes on.";
            }
            readers {
                two see_a_prefix = "Another process sees a prefix of what is being appended, never a line out of order, and what is acknowledged as a whole.";
                two see_whole_reverts = "Readers see a thread as it was before a revert or as it is after it.";
                two lists_are_fresh = "Lists, searches and sums are exact after a flush or shutdown elsewhere.";
                two rows_are_exact = "`read_thread` says what was changed elsewhere as soon as the change returned.";
            }
            reopened {
                place the_same = "A host that opens a place is told the same as the one before it.";
                place goes_on = "A thread is gone on with by one host after another.";
                place places_to_go_on = "Positions and cursors that were kept are good in another host.";
                place after_a_restart = "After a restart everything is as it was, and goes on.";
            }
            sizes {
                one items_of_a_megabyte = "An item of a megabyte is kept and read as any other.";
                one parts_of_segments = "`read_segment` returns at most 16 MiB, whatever is asked for.";
                one batches_of_ten_thousand = "A batch of 10,000 items is one batch.";
            }
            errors {
                two conflicts_pass = "`Conflict` says to call again later, and later it goes well.";
                one give_up = "An error that says to give up comes again, and nothing was changed.";
                one expired_changes_start_over = "A cursor that cannot be served says to begin without one, and that goes well.";
                place positions_that_are_gone_start_over = "A position behind a line that was changed is `PositionGone`; those before it are good.";
            }
            damage {
                place costs_its_lines = "Damage costs a thread the damaged lines, not its place in lists and searches.";
                place is_told = "A damaged stretch is told with its bytes by `read_lines`.";
                place is_kept = "Reads and appends repair nothing: damaged bytes are exported as they are.";
            }
        }
    };
}

for_each_rule! { rule_table! {} }
