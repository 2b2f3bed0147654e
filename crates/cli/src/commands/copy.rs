//! `selvedge copy`: copies threads into another store, byte for byte.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use selvedge_protocol::{SegmentId, StoredThread, ThreadId, ThreadMetadataPatch};
use selvedge_thread_store::{MetadataOrigin, SegmentInfo, SegmentPart, StoreError, ThreadLookup, ThreadStore};
use selvedge_transcript::size_text;
use serde::Serialize;

use crate::app::{App, OpenHome};
use crate::failure::{Failure, FailureKind, Result};
use crate::global_options::GlobalOptions;
use crate::home;
use crate::notes::note;
use crate::progress::{Progress, ThreadsBar};
use crate::render::counted::counted;
use crate::render::sanitize::sanitize;
use crate::resolve;
use crate::store_location::{self, StoreLocation};
use crate::wiring::{self, HomeOptions, IndexLocation};

/// How many bytes are read and written at a time. It bounds the memory of a copy.
const PART_BYTES: usize = 1 << 20;

/// Arguments of `selvedge copy`.
#[derive(Debug, Args)]
#[command(after_help = "\
Copies from the store of --store, --home or the environment into the one of --to, which may be a home or a database. A home is \
created if it does not exist; `selvedge store init` creates the tables of a database. Without an ID, all threads are \
copied, archived ones too. With one, the threads from which it is forked are copied as well, if its history begins in them.

The copy has every byte of the histories, undone turns and damage included, under the same ids. Files of a home that are compressed \
become plain ones. Names and the archive are copied, too; a name that a thread has in the other store stays. Nothing \
else of a home is copied, such as settings or the databases of Codex.

An interrupted copy is continued by the same command, and threads that have grown meanwhile are completed. Bytes that the other store \
has already are compared, so a second run checks the first one. A thread that differs there, or that a process writes there, is \
reported and left as it is; the others are copied, and the exit code is 1 or 4.

With --json: {threads, new, grown, unchanged, bytes, new_bytes, refused: [{id, reason}]}.

Examples:
  selvedge copy --to 'postgres://kim@db.example/work?namespace=kim'
  selvedge copy 01a1fd5d-aacb --to ~/shared-home
  selvedge --store postgres://kim@db.example/work copy --to ~/copy-of-work")]
pub(crate) struct CopyArgs {
    /// Threads to copy: id, unique prefix of an id, or name [default: all]
    #[arg(value_name = "ID")]
    threads: Vec<String>,
    /// Store to copy into: a directory, or a database as postgres://…
    #[arg(long, value_name = "DIR|URL")]
    to: PathBuf,
}

/// The store that is copied into.
struct CopyTarget {
    location: String,
    store: Arc<dyn ThreadStore>,
    home: Option<OpenHome>,
}

/// A thread that is copied, as the store that has it describes it.
struct ThreadToCopy {
    id: ThreadId,
    segments: Vec<SegmentInfo>,
}

/// What was copied.
#[derive(Default, Serialize)]
struct CopyReport {
    threads: usize,
    new: usize,
    grown: usize,
    unchanged: usize,
    bytes: u64,
    new_bytes: u64,
    refused: Vec<Refused>,
    #[serde(skip)]
    refused_as: Option<FailureKind>,
}

/// A thread that was not copied completely.
#[derive(Serialize)]
struct Refused {
    id: ThreadId,
    reason: String,
}

/// Copies threads, and prints how many.
pub(crate) async fn run(args: &CopyArgs, global: &GlobalOptions, app: &mut App<'_>) -> Result<()> {
    let target = CopyTarget::open(args, global, app).await?;
    let outcome = copy_all(args, app, &target).await;
    // Also after a failure: a home has an index to close.
    if let Some(OpenHome { admin, .. }) = &target.home {
        admin.close().await;
    }
    let report = outcome?;
    match app.json {
        true => app.out.json(&report)?,
        false => report.print(&target.location, app)?,
    }
    match report.refused_as {
        None => Ok(()),
        Some(kind) => {
            let message = format!("{} not copied completely", counted(report.refused.len(), "thread"));
            Err(Failure::new(kind, message).hint("the other threads are copied; the same command tries these again"))
        }
    }
}

impl CopyTarget {
    async fn open(args: &CopyArgs, global: &GlobalOptions, app: &App<'_>) -> Result<Self> {
        let target = match store_location::parse_second(args.to.as_os_str(), global)? {
            StoreLocation::Home(path) => {
                home::create(&path)?;
                // A file that --index names belongs to the home that is copied from.
                let index = match global.index_location() {
                    IndexLocation::Disabled => IndexLocation::Disabled,
                    _ => IndexLocation::InHome,
                };
                let options = HomeOptions { durability: global.durability()?.unwrap_or_default(), index };
                let (store, admin) = wiring::open(&path, options);
                Self { location: path.display().to_string(), store, home: Some(OpenHome { path, admin }) }
            }
            StoreLocation::Database(database) => {
                Self { location: database.location(), store: database.open().await?, home: None }
            }
        };
        let is_same = match (&target.home, &app.home) {
            (Some(to), Some(from)) => to.path.canonicalize().ok() == from.path.canonicalize().ok(),
            _ => target.location == app.location,
        };
        if is_same {
            return Err(Failure::new(FailureKind::Usage, "--to is the store that is copied from")
                .hint("--store or --home names the store to copy from, and --to the one to copy into"));
        }
        Ok(target)
    }
}

async fn copy_all(args: &CopyArgs, app: &App<'_>, target: &CopyTarget) -> Result<CopyReport> {
    let sources = sources(args, &*app.store).await?;
    let bar = ThreadsBar::default();
    let total = sources.iter().flat_map(|source| &source.segments).map(|segment| segment.bytes).sum();
    let mut report = CopyReport { threads: sources.len(), ..CopyReport::default() };
    for (done, source) in sources.iter().enumerate() {
        let begin = report.bytes;
        let threads = Progress { done: done as u64, total: sources.len() as u64 };
        let copied = copy_thread(source, &*app.store, &*target.store, |bytes| {
            bar.update(threads, Progress { done: begin + bytes, total });
        })
        .await;
        report.bytes += source.segments.iter().map(|segment| segment.bytes).sum::<u64>();
        match copied {
            Ok(copied) => report.count(&copied),
            Err(error) if is_about_one_thread(&error) => report.refuse(source.id, error),
            Err(error) => {
                let context = format!("copied {done} of {}, and then failed", counted(sources.len(), "thread"));
                return Err(Failure::from(error)
                    .context(context)
                    .hint("the same command continues the copy when the cause is gone"));
            }
        }
    }
    Ok(report)
}

/// Returns the threads to copy, the oldest first: a thread is then complete when those that are forked from it come.
async fn sources(args: &CopyArgs, store: &dyn ThreadStore) -> Result<Vec<ThreadToCopy>> {
    let mut wanted = BTreeSet::new();
    for text in &args.threads {
        wanted.insert(resolve::thread(store, text).await?);
    }
    let is_selection = !wanted.is_empty();
    if !is_selection {
        wanted.extend(store.find_threads(&ThreadLookup::IdPrefix(String::new())).await?);
    }
    let mut found = BTreeMap::new();
    while let Some(id) = wanted.pop_first() {
        let segments = match store.list_segments(id).await {
            // It was deleted since all threads were listed.
            Err(StoreError::NotFound { .. }) if !is_selection => continue,
            segments => segments?,
        };
        if is_selection
            && builds_on_another(&segments)
            && let Some(source) = store.read_thread(id).await?.forked_from_id
            && !found.contains_key(&source)
            && !store.find_threads(&ThreadLookup::IdPrefix(source.to_string())).await?.is_empty()
        {
            wanted.insert(source);
        }
        found.insert(id, segments);
    }
    let mut sources: Vec<ThreadToCopy> =
        found.into_iter().map(|(id, segments)| ThreadToCopy { id, segments }).collect();
    sources.sort_by_key(|source| (source.segments.iter().map(|segment| segment.created).min(), source.id));
    Ok(sources)
}

/// Returns whether the history of a thread begins in a segment of another one.
fn builds_on_another(segments: &[SegmentInfo]) -> bool {
    let own: BTreeSet<SegmentId> = segments.iter().map(|segment| segment.id).collect();
    segments.iter().filter_map(|segment| segment.base.as_ref()?.thread_id).any(|base| !own.contains(&base))
}

/// What the copy of a thread has changed.
struct CopiedThread {
    was_there: bool,
    new_bytes: u64,
}

/// Copies a thread. `progress` gets how many of its bytes are done.
async fn copy_thread(
    source: &ThreadToCopy,
    from: &dyn ThreadStore,
    to: &dyn ThreadStore,
    progress: impl Fn(u64),
) -> Result<CopiedThread, StoreError> {
    let known: BTreeMap<SegmentId, u64> = match to.list_segments(source.id).await {
        Ok(segments) => segments.into_iter().map(|segment| (segment.id, segment.bytes)).collect(),
        Err(StoreError::NotFound { .. }) => BTreeMap::new(),
        Err(error) => return Err(error),
    };
    let mut copied = CopiedThread { was_there: !known.is_empty(), new_bytes: 0 };
    let mut done = 0;
    for info in &source.segments {
        copy_segment(info, from, to, |bytes| progress(done + bytes)).await?;
        done += info.bytes;
        copied.new_bytes += info.bytes.saturating_sub(known.get(&info.id).copied().unwrap_or_default());
    }
    copy_marks(&from.read_thread(source.id).await?, copied.was_there, to).await?;
    Ok(copied)
}

/// Copies a segment part by part. Every part is handed over, also what the other store has: it compares those, and so finds a
/// history that went on there in another way.
async fn copy_segment(
    info: &SegmentInfo,
    from: &dyn ThreadStore,
    to: &dyn ThreadStore,
    progress: impl Fn(u64),
) -> Result<(), StoreError> {
    let mut at = 0;
    loop {
        let limit = usize::try_from(info.bytes - at).unwrap_or(usize::MAX).min(PART_BYTES);
        let bytes = from.read_segment(info.thread_id, info.id, at, limit).await?;
        if bytes.is_empty() && at < info.bytes {
            // A repair has shortened it since it was listed.
            return Err(StoreError::InvalidRequest { reason: format!("segment {} became shorter meanwhile", info.id) });
        }
        let end = at + bytes.len() as u64;
        let is_last = end >= info.bytes;
        to.import_segment(SegmentPart { info, at, bytes: &bytes, is_last }).await?;
        progress(end);
        if is_last {
            return Ok(());
        }
        at = end;
    }
}

/// Copies what is not part of a segment: the name, and whether the thread is archived.
async fn copy_marks(thread: &StoredThread, was_there: bool, to: &dyn ThreadStore) -> Result<(), StoreError> {
    if thread.name.is_none() && !thread.archived {
        return Ok(());
    }
    let copy = if was_there { Some(to.read_thread(thread.id).await?) } else { None };
    if thread.name.is_some() && copy.as_ref().is_none_or(|copy| copy.name.is_none()) {
        let patch = ThreadMetadataPatch { name: Some(thread.name.clone()), ..ThreadMetadataPatch::default() };
        to.update_thread_metadata(thread.id, &patch, MetadataOrigin::Explicit).await?;
    }
    if thread.archived && !copy.is_some_and(|copy| copy.archived) {
        to.archive_thread(thread.id).await?;
    }
    Ok(())
}

/// Returns whether the copy of other threads can go on after this error.
fn is_about_one_thread(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::AlreadyExists { .. }
            | StoreError::Conflict { .. }
            | StoreError::NotFound { .. }
            | StoreError::InvalidRequest { .. }
            | StoreError::Corrupt { .. }
    )
}

impl CopyReport {
    fn count(&mut self, copied: &CopiedThread) {
        self.new_bytes += copied.new_bytes;
        match copied {
            CopiedThread { was_there: false, .. } => self.new += 1,
            CopiedThread { new_bytes: 0, .. } => self.unchanged += 1,
            CopiedThread { .. } => self.grown += 1,
        }
    }

    fn refuse(&mut self, id: ThreadId, error: StoreError) {
        let reason = match error {
            StoreError::AlreadyExists { .. } => "the other store has the thread with a different history".to_owned(),
            ref error => error.to_string(),
        };
        let kind = match error {
            StoreError::Conflict { .. } => FailureKind::Conflict,
            _ => FailureKind::Other,
        };
        // A script that waits for writers must not miss what waiting does not help.
        self.refused_as = Some(match self.refused_as {
            None | Some(FailureKind::Conflict) => kind,
            Some(other) => other,
        });
        self.refused.push(Refused { id, reason });
    }

    fn print(&self, location: &str, app: &mut App<'_>) -> Result<()> {
        let Self { new, grown, unchanged, new_bytes, .. } = self;
        let mut parts = vec![format!("{} copied", counted(*new, "thread"))];
        if *grown > 0 {
            parts.push(format!("{grown} completed"));
        }
        if *unchanged > 0 {
            parts.push(format!("{unchanged} compared and the same"));
        }
        writeln!(app.out, "{}: {}, {}", sanitize(location), parts.join(", "), size_text(*new_bytes))?;
        app.out.flush()?;
        for Refused { id, reason } in &self.refused {
            note(&format!("{id}: {reason}"));
        }
        Ok(())
    }
}
