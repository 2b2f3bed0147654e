//! `selvedge doctor`: checks the files of a home, and repairs what can be repaired.

mod files;
mod index;
mod repair_mode;

use std::collections::HashSet;
use std::io::Write;

use clap::Args;
use selvedge_protocol::ThreadId;
use selvedge_thread_store::StoreError;
use selvedge_transcript::size_text;
use serde::Serialize;

use self::files::fault_count;
use self::index::IndexReport;
use self::repair_mode::RepairMode;
use crate::app::App;
use crate::failure::{Failure, FailureKind, Result};
use crate::maintenance;
use crate::notes::note;
use crate::render::counted::counted;
use crate::resolve;
use crate::wiring::{CheckedTotals, Diagnosis, Finding, RepairStep, Severity};

/// Arguments of `selvedge doctor`.
#[derive(Debug, Args)]
#[command(after_help = "\
Only reads, unless --repair is given. A repair keeps the original of every file that it replaces, beside it, as \
FILE.damaged-TIME. A repaired file contains every intact line, byte for byte. Threads that another process writes are \
skipped. docs/damage.md explains each kind of finding.

A finding is a fault or a notice. A fault means that something is lost, hidden or at risk, or that another program fails \
because of it. A notice is unusual and harmless: for example, that other users may read the files, as Codex leaves them. \
Notices of one kind are one line with an example; --json has each of them.

The index is checked, too. A thread record that differs from the files is a fault. A change that the index has not read \
yet is a notice. A repair brings the index up to date, and sets the file aside if it is \
not an index.

Exit codes: 0 no fault, 1 faults (after --repair: faults that remain), 2 usage, 3 no such thread, 4 \
another program compresses or migrates the rollouts. Notices do not count.

With --json: {checked: {files, bytes, lines}, findings: [{kind, severity, path, thread_id, range: {start, end}, line, \
detail, mendable, remedy}], omitted, index}. index is {path, threads, findings: [{kind, severity, thread_id, \
detail}]}, or null without an index. With --repair or --dry-run also repairs: [{action, path, thread_id, detail, kept, \
new_thread_id, error}]. After --repair also left, the findings that remain, and in index repair: {set_aside, report} and left.

Examples:
  selvedge doctor
  selvedge doctor 01a1fd5d-aacb --json | jq '.findings[].kind'
  selvedge doctor --repair --dry-run")]
pub(crate) struct DoctorArgs {
    /// Threads to check: id, unique prefix of an id, or name [default: the whole home]
    #[arg(value_name = "ID")]
    threads: Vec<String>,
    /// Compare each thread record of the index with the whole log of the thread
    #[arg(long)]
    deep: bool,
    /// Repair what can be repaired
    #[arg(long)]
    repair: bool,
    /// Print what a repair would do, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl DoctorArgs {
    /// `--dry-run` wins over `--repair`, and alone means the same as both.
    fn repair_mode(&self) -> RepairMode {
        match (self.repair, self.dry_run) {
            (_, true) => RepairMode::DryRun,
            (true, false) => RepairMode::Repair,
            (false, false) => RepairMode::Off,
        }
    }
}

#[derive(Serialize)]
struct DoctorReport<'a> {
    checked: CheckedTotals,
    findings: &'a [Finding],
    omitted: u64,
    index: Option<&'a IndexReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repairs: Option<&'a [RepairStep]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<&'a [Finding]>,
}

/// Checks a home or some of its threads.
pub(crate) async fn run(args: &DoctorArgs, app: &mut App<'_>) -> Result<()> {
    let mode = args.repair_mode();
    let threads = named_threads(args, app).await?;
    let before = files::diagnose(app, threads.clone()).await?;
    let is_repairable = before.findings.iter().any(|finding| finding.is_repairable);
    let _maintenance = match mode {
        RepairMode::Repair if is_repairable => Some(maintenance::begin(app).await?),
        _ => None,
    };
    let repairs = match mode {
        RepairMode::Off => None,
        _ => Some(app.admin()?.repair(&before, mode == RepairMode::DryRun).await?),
    };
    // A second diagnosis finds what is left, because the report of the repair could be wrong.
    let after = match &repairs {
        Some(steps) if mode == RepairMode::Repair && !steps.is_empty() => {
            Some(files::diagnose(app, threads.clone()).await?)
        }
        _ => None,
    };
    let left = after.as_ref().unwrap_or(&before);
    // The index comes last, because it is derived from the files: a repaired file makes its thread record stale.
    let index = index::examine(mode, args.deep, threads, app).await?;
    if app.json {
        let Diagnosis { checked, findings, omitted, .. } = &before;
        // `left` is part of the JSON only after a repair. Without one it would repeat the findings.
        let left = (mode == RepairMode::Repair).then_some(&left.findings[..]);
        let (checked, omitted, index) = (*checked, *omitted, index.as_ref());
        app.out.json(&DoctorReport { checked, findings, omitted, index, repairs: repairs.as_deref(), left })?;
    } else {
        print(&before, repairs.as_deref(), after.as_ref(), index.as_ref(), mode, app)?;
    }
    app.out.flush()?;
    verdict(fault_count(left) + index.as_ref().map_or(0, IndexReport::remaining_faults), mode)
}

/// Returns the threads that the command line names, or `None` if it names none, which means all.
async fn named_threads(args: &DoctorArgs, app: &App<'_>) -> Result<Option<HashSet<ThreadId>>> {
    if args.threads.is_empty() {
        return Ok(None);
    }
    let mut found = HashSet::new();
    for text in &args.threads {
        let id = resolve::thread(&*app.store, text).await?;
        // Any other error is for the diagnosis to report: a thread that cannot be read exists.
        if let Err(StoreError::NotFound { .. }) = app.store.read_session_meta(id).await {
            return Err(Failure::new(FailureKind::NotFound, format!("there is no thread {id}"))
                .hint("`selvedge list --all` shows the threads of this home"));
        }
        found.insert(id);
    }
    Ok(Some(found))
}

fn print(
    before: &Diagnosis,
    repairs: Option<&[RepairStep]>,
    after: Option<&Diagnosis>,
    index: Option<&IndexReport>,
    mode: RepairMode,
    app: &mut App<'_>,
) -> Result<()> {
    files::print_findings(before, app)?;
    if let Some(steps) = repairs {
        files::print_steps(steps, mode, app)?;
    }
    if let Some(after) = after.filter(|after| fault_count(after) > 0) {
        writeln!(app.out, "\nremaining:")?;
        files::print_findings(after, app)?;
    }
    index::print(index, mode, app)?;
    let CheckedTotals { files, bytes, lines, .. } = before.checked;
    let faults_of_files = fault_count(before);
    let faults_of_index = index.map_or(0, IndexReport::faults);
    let faults = faults_of_files + faults_of_index;
    let notices = before.findings.len() - faults_of_files + index.map_or(0, IndexReport::notices);
    let omitted = if before.omitted > 0 { format!(", and {} more", before.omitted) } else { String::new() };
    writeln!(
        app.out,
        "checked {} with {} in {}: {}, {}{omitted}",
        counted(files, "file"),
        counted(lines, "line"),
        size_text(bytes),
        counted(faults, "fault"),
        counted(notices, "notice")
    )?;
    let is_repairable = |finding: &Finding| finding.is_repairable && finding.severity == Severity::Fault;
    let is_repairable = before.findings.iter().any(is_repairable) || faults_of_index > 0;
    if mode == RepairMode::Off && is_repairable {
        note(
            "`selvedge doctor --repair` repairs what can be repaired; with --dry-run it only reports what it would do",
        );
    }
    Ok(())
}

/// Turns faults that remain into the exit code.
fn verdict(remaining: usize, mode: RepairMode) -> Result<()> {
    match remaining {
        0 => Ok(()),
        count if mode == RepairMode::Repair => Err(Failure::new(
            FailureKind::Other,
            format!("{} {}", counted(count, "fault"), if count == 1 { "remains" } else { "remain" }),
        )
        .hint("each finding above says what to do about it")),
        count => Err(Failure::new(FailureKind::Other, counted(count, "fault"))),
    }
}
