//! `selvedge doctor`: checks the files of a home, and mends what can be mended.

use std::collections::{BTreeMap, HashSet};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use selvedge_protocol::ThreadId;
use selvedge_thread_store::StoreError;
use serde::Serialize;

use crate::app::{App, note};
use crate::args::DoctorArgs;
use crate::commands::doctor_index::{self, IndexReport};
use crate::exit::{Code, Failure, Result};
use crate::render::text::clean;
use crate::resolve;
use crate::wiring::{CheckedTotals, Diagnosis, DiagnosisProgress, Finding, FindingKind, RepairStep, Severity};

/// How many findings of one kind about one directory are named one by one, where each says the same.
pub(super) const NAMED: usize = 3;

/// How often the progress is told.
pub(super) const TICK: Duration = Duration::from_millis(500);

#[derive(Serialize)]
struct Report<'a> {
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
    let threads = threads(args, app).await?;
    let before = look(app, threads.clone()).await?;
    let is_wanted = args.repair || args.dry_run;
    let repairs = if is_wanted { Some(app.admin.repair(&before, args.dry_run).await?) } else { None };
    let after = match &repairs {
        Some(steps) if !args.dry_run && !steps.is_empty() => Some(look(app, threads.clone()).await?),
        _ => None,
    };
    let left = after.as_ref().unwrap_or(&before);
    // Behind the files: the index follows them.
    let index = doctor_index::examine(args, threads, app).await?;
    if app.json {
        let Diagnosis { checked, findings, omitted, .. } = &before;
        let left = args.repair.then_some(&left.findings[..]).filter(|_| !args.dry_run);
        let (checked, omitted, index) = (*checked, *omitted, index.as_ref());
        app.out.json(&Report { checked, findings, omitted, index, repairs: repairs.as_deref(), left })?;
    } else {
        print(&before, repairs.as_deref(), after.as_ref(), index.as_ref(), args, app)?;
    }
    app.out.flush()?;
    verdict(faults(left) + index.as_ref().map_or(0, IndexReport::faults_left), args)
}

/// The threads that are meant; nothing for all of them.
async fn threads(args: &DoctorArgs, app: &App<'_>) -> Result<Option<HashSet<ThreadId>>> {
    if args.threads.is_empty() {
        return Ok(None);
    }
    let mut found = HashSet::new();
    for text in &args.threads {
        let id = resolve::thread(&*app.store, text).await?;
        // Only whether there is such a thread: what is wrong with it is for the doctor to say.
        if let Err(StoreError::NotFound { .. }) = app.store.read_session_meta(id).await {
            return Err(Failure::new(Code::NotFound, format!("there is no thread {id}"))
                .hint("`selvedge list --all` shows the threads of this home"));
        }
        found.insert(id);
    }
    Ok(Some(found))
}

async fn look(app: &App<'_>, threads: Option<HashSet<ThreadId>>) -> Result<Diagnosis> {
    let told = Mutex::new(Instant::now());
    let is_watched = std::io::stderr().is_terminal();
    let progress = move |at: DiagnosisProgress| {
        let Ok(mut told) = told.try_lock() else { return };
        if is_watched && told.elapsed() >= TICK {
            *told = Instant::now();
            // What cannot be told is no reason to stop.
            let _ = write!(std::io::stderr(), "\rchecking: {} of {} files ", at.done, at.total);
        }
    };
    let start = Instant::now();
    let diagnosis = app.admin.diagnose(threads, progress).await?;
    if is_watched && start.elapsed() >= TICK {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
    Ok(diagnosis)
}

fn print(
    before: &Diagnosis,
    repairs: Option<&[RepairStep]>,
    after: Option<&Diagnosis>,
    index: Option<&IndexReport>,
    args: &DoctorArgs,
    app: &mut App<'_>,
) -> Result<()> {
    print_findings(before, app)?;
    if let Some(steps) = repairs {
        print_steps(steps, args, app)?;
    }
    if let Some(after) = after.filter(|after| faults(after) > 0) {
        writeln!(app.out, "\nstill there:")?;
        print_findings(after, app)?;
    }
    doctor_index::print(index, args, app)?;
    let CheckedTotals { files, bytes, lines } = before.checked;
    let of_index = index.map_or((0, 0), IndexReport::faults_and_notices);
    let (faults, notices) = (faults(before), before.findings.len() - faults(before));
    let (faults, notices) = (faults + of_index.0, notices + of_index.1);
    let omitted = if before.omitted > 0 { format!(", and {} more", before.omitted) } else { String::new() };
    writeln!(
        app.out,
        "checked {files} files with {lines} lines in {bytes} bytes: {faults} findings, {notices} notices{omitted}"
    )?;
    let is_repairable = before.findings.iter().any(|finding| finding.mendable) || of_index.0 > 0;
    if repairs.is_none() && is_repairable {
        note("`selvedge doctor --repair` mends what can be mended; with --dry-run it only says how");
    }
    Ok(())
}

fn print_findings(diagnosis: &Diagnosis, app: &mut App<'_>) -> Result<()> {
    let paint = app.out.paint();
    let mut by_path: BTreeMap<&Path, Vec<&Finding>> = BTreeMap::new();
    let mut wide = Vec::new();
    for finding in &diagnosis.findings {
        match finding.kind {
            FindingKind::WideMode => wide.push(finding),
            _ => by_path.entry(&finding.path).or_default().push(finding),
        }
    }
    for (path, findings) in by_path {
        writeln!(app.out, "{}", clean(&path.display().to_string()))?;
        for finding in findings {
            let kind = match finding.severity {
                Severity::Notice => paint.dim(finding.kind),
                _ => paint.bad(finding.kind),
            };
            writeln!(app.out, "  {kind}{}: {}", place(finding), clean(&finding.detail))?;
            writeln!(app.out, "    {}", paint.dim(clean(finding.remedy)))?;
        }
    }
    for finding in wide.iter().take(NAMED) {
        let kind = paint.bad(finding.kind);
        writeln!(app.out, "{}\n  {kind}: {}", clean(&finding.path.display().to_string()), clean(&finding.detail))?;
    }
    if wide.len() > NAMED {
        writeln!(app.out, "and {} more files and directories that others may read or write", wide.len() - NAMED)?;
    }
    Ok(())
}

fn place(finding: &Finding) -> String {
    let line = finding.line.map(|line| format!(", line {line}")).unwrap_or_default();
    let bytes = finding.range.as_ref().map(|range| format!(", bytes {}..{}", range.start, range.end));
    format!("{line}{}", bytes.unwrap_or_default())
}

fn print_steps(steps: &[RepairStep], args: &DoctorArgs, app: &mut App<'_>) -> Result<()> {
    let paint = app.out.paint();
    let would = if args.dry_run { "would " } else { "" };
    let mut narrowed = 0;
    for RepairStep { action, path, detail, kept, error, .. } in steps {
        if action.to_string() == "narrow" && error.is_none() {
            narrowed += 1;
            if narrowed > NAMED {
                continue;
            }
        }
        let path = path.display().to_string();
        writeln!(app.out, "{would}{action} {}: {}", clean(&path), clean(detail))?;
        if let Some(kept) = kept {
            writeln!(app.out, "    {}", paint.dim(clean(&format!("the original is kept as {}", kept.display()))))?;
        }
        if let Some(error) = error {
            writeln!(app.out, "    {} {}", paint.bad("not done:"), clean(error))?;
        }
    }
    if narrowed > NAMED {
        writeln!(app.out, "{would}narrow {} more files and directories", narrowed - NAMED)?;
    }
    Ok(())
}

fn faults(diagnosis: &Diagnosis) -> usize {
    diagnosis.findings.iter().filter(|finding| finding.severity == Severity::Fault).count()
}

/// Findings are an exit code.
fn verdict(left: usize, args: &DoctorArgs) -> Result<()> {
    match left {
        0 => Ok(()),
        count if args.repair && !args.dry_run => {
            Err(Failure::new(Code::Failure, format!("{count} findings are left")).hint("each says above what to do"))
        }
        count => Err(Failure::new(Code::Failure, format!("{count} findings"))),
    }
}
