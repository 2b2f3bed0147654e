//! Forks that keep diverged histories.
//!
//! The fork is a file with one line: a head with a base that ends where the diverged segment ends. So the history of the fork is
//! the history of that segment, and the thread stays as it is. A crash leaves no fork or the whole fork; the name comes last, and a
//! fork without it still names its source.

use std::io::{self, Read};

use selvedge_history::{fork_head, inherit_head};
use selvedge_protocol::{HistoryMode, RolloutLine, SegmentId, SessionMeta, ThreadId};

use super::references::SegmentReferences;
use crate::error::{IoContext, Result};
use crate::history::{DivergedSegment, ResolvedHistory, read_head};
use crate::home::{HomeFiles, RolloutFileName, RolloutHome};
use crate::locks::ReferenceLock;
use crate::names::NameIndex;
use crate::reader::open_bytes;

/// Finds a diverged segment again. `None` if it is not diverged any more.
pub(super) fn find_again(
    files: &HomeFiles,
    references: &SegmentReferences,
    thread_id: ThreadId,
    segment_id: SegmentId,
) -> Result<Option<DivergedSegment>> {
    let found = DivergedSegment::find(files, thread_id, |segment_id| Ok(references.end_of(segment_id)))?;
    Ok(found.into_iter().find(|segment| segment.segment_id == segment_id))
}

/// Makes a fork of the history that ends with a diverged segment of a thread. The caller holds the writer lock of the thread.
pub(super) fn fork_diverged(
    home: &RolloutHome,
    files: &HomeFiles,
    thread_id: ThreadId,
    segment: &DivergedSegment,
) -> Result<ThreadId> {
    // While this lock is held, no process deletes what the fork is about to refer to.
    let references = ReferenceLock::shared(home)?;
    let resolved = ResolvedHistory::ending_with(files, &segment.file)?;
    ensure_sealed(segment)?;
    let at = home.now();
    let fork_id = ThreadId::new(at);
    let mut meta = SessionMeta::new(fork_id, at);
    inherit_head(&mut meta, &read_head(&segment.file)?.unwrap_or_default());
    // Without these fields Codex does not open a file.
    meta.originator.get_or_insert_with(|| "selvedge".to_owned());
    meta.cli_version.get_or_insert_with(|| env!("CARGO_PKG_VERSION").to_owned());
    meta.cwd.get_or_insert_with(|| "/".to_owned());
    let head = fork_head(meta, thread_id, HistoryMode::Paginated, Some(segment.end.clone()));
    // Before the fork has its name. Otherwise a power loss could keep the reference and lose lines before its end.
    resolved.parts.iter().try_for_each(|part| home.sync_file(&part.file.path))?;
    let mut line = Vec::new();
    RolloutLine::encode(&mut line, at, segment.end.end_ordinal_exclusive, &head.into());
    let path = home.active_path(&RolloutFileName::new(at, fork_id, None));
    home.write_new_file(&path, |out| out.write_all(&line))?;
    drop(references);
    let name = match NameIndex::load(home)?.get(thread_id) {
        Some(entry) => format!("{} (diverged)", entry.name),
        None => format!("diverged from {thread_id}"),
    };
    NameIndex::set(home, fork_id, Some(&name), at)?;
    Ok(fork_id)
}

/// Checks that a newline comes before the end of the base: the next line of the segment must not continue the last one of the fork.
fn ensure_sealed(segment: &DivergedSegment) -> Result<()> {
    let path = &segment.file.path;
    let end = segment.end.end_byte_offset.unwrap_or(0);
    let mut last = Vec::new();
    let (mut bytes, _) = open_bytes(path, end.saturating_sub(1)..end)?;
    bytes.read_to_end(&mut last).context("read", path)?;
    if last == b"\n" { Ok(()) } else { Err(io::Error::other("its last line has no newline")).context("fork", path) }
}
