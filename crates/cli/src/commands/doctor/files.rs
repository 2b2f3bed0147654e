//! Checks the files of a home, and prints the findings and repairs.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use selvedge_protocol::ThreadId;

use super::repair_mode::RepairMode;
use crate::app::App;
use crate::failure::Result;
use crate::progress::ProgressLine;
use crate::render::sanitize::sanitize;
use crate::wiring::{Diagnosis, DiagnosisProgress, Finding, FindingKind, RepairStep, Severity};

/// How many files whose permissions were restricted are listed one by one. A home that was copied has them by the thousand.
const MAX_LISTED: usize = 3;

/// Checks the files of some threads, or of all if `threads` is `None`.
pub(crate) async fn diagnose(app: &App<'_>, threads: Option<HashSet<ThreadId>>) -> Result<Diagnosis> {
    let line = Arc::new(ProgressLine::start());
    let shared = Arc::clone(&line);
    let progress =
        move |at: DiagnosisProgress| shared.update(|| format!("checking: {} of {} files", at.done, at.total));
    let diagnosis = app.admin()?.diagnose(threads, progress).await?;
    line.clear();
    Ok(diagnosis)
}

/// Returns how many findings are faults. The others are notices.
pub(crate) fn fault_count(diagnosis: &Diagnosis) -> usize {
    diagnosis.findings.iter().filter(|finding| finding.severity == Severity::Fault).count()
}

/// Prints the findings: faults by file, then notices by kind. Of many notices of one kind, the first one is an example.
pub(crate) fn print_findings(diagnosis: &Diagnosis, app: &mut App<'_>) -> Result<()> {
    let mut by_path: BTreeMap<&Path, Vec<&Finding>> = BTreeMap::new();
    let mut by_kind: BTreeMap<FindingKind, Vec<&Finding>> = BTreeMap::new();
    for finding in &diagnosis.findings {
        match finding.severity {
            // Permissions are a matter of the whole home. They would hide the damage if they were listed with each file.
            Severity::Fault if finding.kind != FindingKind::WritableByAll => {
                by_path.entry(&finding.path).or_default().push(finding);
            }
            _ => by_kind.entry(finding.kind).or_default().push(finding),
        }
    }
    for (path, findings) in by_path {
        writeln!(app.out, "{}", sanitize(&path.display().to_string()))?;
        findings.into_iter().try_for_each(|finding| print_finding(finding, app))?;
    }
    by_kind.values().try_for_each(|findings| print_kind(findings, app))?;
    if by_kind.values().any(|findings| findings.len() > 1) {
        writeln!(app.out, "{}", app.out.paint().dim("--json lists each of them"))?;
    }
    Ok(())
}

fn print_finding(finding: &Finding, app: &mut App<'_>) -> Result<()> {
    writeln!(app.out, "  {}{}: {}", kind(finding, app), location(finding), sanitize(&finding.detail))?;
    writeln!(app.out, "    {}", app.out.paint().dim(sanitize(finding.remedy)))?;
    Ok(())
}

/// Prints the findings of one kind as one: how many they are, and the first of them.
fn print_kind(findings: &[&Finding], app: &mut App<'_>) -> Result<()> {
    let [first, rest @ ..] = findings else { return Ok(()) };
    let (path, is_one) = (first.path.display().to_string(), rest.is_empty());
    if is_one {
        writeln!(app.out, "{}", sanitize(&path))?;
        return print_finding(first, app);
    }
    let (count, kind, at) = (findings.len(), kind(first, app), location(first));
    writeln!(app.out, "{kind}, {count} times, for example {}{at}: {}", sanitize(&path), sanitize(&first.detail))?;
    writeln!(app.out, "    {}", app.out.paint().dim(sanitize(first.remedy)))?;
    Ok(())
}

/// Returns the kind of a finding in the colour of its severity.
fn kind(finding: &Finding, app: &App<'_>) -> String {
    let paint = app.out.paint();
    match finding.severity {
        Severity::Notice => paint.dim(finding.kind),
        _ => paint.bad(finding.kind),
    }
}

/// Returns the line and the byte range of a finding, as far as they are known.
fn location(finding: &Finding) -> String {
    let line = finding.line.map(|line| format!(", line {line}")).unwrap_or_default();
    let bytes = finding.range.as_ref().map(|range| format!(", bytes {}..{}", range.start, range.end));
    format!("{line}{}", bytes.unwrap_or_default())
}

/// Prints what a repair did, or would do.
pub(crate) fn print_steps(steps: &[RepairStep], mode: RepairMode, app: &mut App<'_>) -> Result<()> {
    let paint = app.out.paint();
    let would = if mode == RepairMode::DryRun { "would " } else { "" };
    let mut narrowed = 0;
    for RepairStep { action, path, detail, kept, error, .. } in steps {
        if action.to_string() == "narrow" && error.is_none() {
            narrowed += 1;
            if narrowed > MAX_LISTED {
                continue;
            }
        }
        let path = path.display().to_string();
        writeln!(app.out, "{would}{action} {}: {}", sanitize(&path), sanitize(detail))?;
        if let Some(kept) = kept {
            writeln!(app.out, "    {}", paint.dim(sanitize(&format!("the original is kept as {}", kept.display()))))?;
        }
        if let Some(error) = error {
            writeln!(app.out, "    {} {}", paint.bad("not done:"), sanitize(error))?;
        }
    }
    if narrowed > MAX_LISTED {
        writeln!(app.out, "{would}narrow {} more files and directories", narrowed - MAX_LISTED)?;
    }
    Ok(())
}
