//! Checks the index, repairs it if that is asked for, and prints the findings.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;

use anyhow::Context;
use selvedge_protocol::ThreadId;
use serde::Serialize;

use super::repair_mode::RepairMode;
use crate::app::App;
use crate::failure::Result;
use crate::notes::note;
use crate::progress::with_elapsed_time;
use crate::render::counted::counted;
use crate::render::sanitize::sanitize;
use crate::wiring::{CheckScope, IndexCheck, IndexError, IndexFinding, IndexRepair, Severity};

/// How many findings of one kind are listed one by one. Findings of a kind differ only in their thread.
const MAX_LISTED: usize = 3;

/// Findings about the index, and what a repair did about them.
#[derive(Serialize)]
pub(crate) struct IndexReport {
    #[serde(flatten)]
    check: IndexCheck,
    #[serde(skip_serializing_if = "Option::is_none")]
    repair: Option<IndexRepair>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<Vec<IndexFinding>>,
}

impl IndexReport {
    /// Returns how many faults were found before a repair.
    pub(crate) fn faults(&self) -> usize {
        fault_count(&self.check.findings)
    }

    /// Returns how many notices were found before a repair.
    pub(crate) fn notices(&self) -> usize {
        self.check.findings.len() - self.faults()
    }

    /// Returns how many faults remain: after the repair, if there was one.
    pub(crate) fn remaining_faults(&self) -> usize {
        fault_count(self.left.as_ref().unwrap_or(&self.check.findings))
    }
}

fn fault_count(findings: &[IndexFinding]) -> usize {
    findings.iter().filter(|finding| finding.severity == Severity::Fault).count()
}

/// Checks the index against the files, and repairs it if `mode` says so. Returns `None` if there is no index, or if it
/// is busy.
pub(crate) async fn examine(
    mode: RepairMode,
    deep: bool,
    threads: Option<HashSet<ThreadId>>,
    app: &App<'_>,
) -> Result<Option<IndexReport>> {
    let admin = app.admin()?;
    let scope = CheckScope { threads, deep };
    let run_check = || with_elapsed_time("checking the index", admin.check_index(&scope));
    let check = match run_check().await {
        Ok(Some(check)) => check,
        Ok(None) => return Ok(None),
        // The rest of the report is still useful, so a busy index is only a note.
        Err(IndexError::Busy(_)) => {
            note("the index was not checked: other processes are using it; run the command again later");
            return Ok(None);
        }
        Err(error) => return Err(anyhow::Error::new(error).context("cannot check the index").into()),
    };
    if mode != RepairMode::Repair || check.findings.is_empty() {
        return Ok(Some(IndexReport { check, repair: None, left: None }));
    }
    let repair = with_elapsed_time("bringing the index up to date", admin.repair_index(&check)).await;
    let repair = repair.with_context(|| format!("cannot repair the index {}", check.path.display()))?;
    let left = run_check().await.context("cannot check the index")?.map(|check| check.findings).unwrap_or_default();
    Ok(Some(IndexReport { check, repair: Some(repair), left: Some(left) }))
}

/// Prints the findings about the index, and the repair.
pub(crate) fn print(report: Option<&IndexReport>, mode: RepairMode, app: &mut App<'_>) -> Result<()> {
    let Some(IndexReport { check, repair, left }) = report else {
        let why = if app.admin()?.index_path().is_none() { "switched off" } else { "none to check" };
        writeln!(app.out, "index: {why}; every query reads the logs")?;
        return Ok(());
    };
    if !check.findings.is_empty() {
        writeln!(app.out, "{}", sanitize(&check.path.display().to_string()))?;
        print_findings(&check.findings, app)?;
    }
    if mode == RepairMode::DryRun && !check.findings.is_empty() {
        writeln!(app.out, "would bring the index up to date")?;
    }
    if let Some(IndexRepair { set_aside, report, .. }) = repair {
        if let Some(aside) = set_aside {
            writeln!(app.out, "set aside the index; it is kept as {}", sanitize(&aside.kept.display().to_string()))?;
        }
        let read = report.read_whole + report.read_tail;
        writeln!(
            app.out,
            "brought the index up to date: {} read, {} removed",
            counted(read, "thread"),
            report.removed
        )?;
    }
    if let Some(left) = left.as_ref().filter(|left| fault_count(left) > 0) {
        writeln!(app.out, "\nremaining:")?;
        print_findings(left, app)?;
    }
    Ok(())
}

fn print_findings(findings: &[IndexFinding], app: &mut App<'_>) -> Result<()> {
    let paint = app.out.paint();
    let mut by_kind: BTreeMap<&str, Vec<&IndexFinding>> = BTreeMap::new();
    for finding in findings {
        by_kind.entry(finding.kind.as_str()).or_default().push(finding);
    }
    for (kind, findings) in by_kind {
        for IndexFinding { severity, thread_id, detail, .. } in findings.iter().take(MAX_LISTED) {
            let kind = if *severity == Severity::Notice { paint.dim(kind) } else { paint.bad(kind) };
            let thread = thread_id.map(|id| format!(", thread {id}")).unwrap_or_default();
            writeln!(app.out, "  {kind}{thread}: {}", sanitize(detail))?;
        }
        if findings.len() > MAX_LISTED {
            writeln!(app.out, "  and {} more of this kind", findings.len() - MAX_LISTED)?;
        }
        // All findings of a kind have the same severity, so one remedy is valid for all of them.
        let remedy = match findings[0].severity {
            Severity::Notice => "nothing to do: the next query reads it, and so does a repair",
            _ => "a repair reads the threads in question again; the logs hold everything",
        };
        writeln!(app.out, "    {}", paint.dim(remedy))?;
    }
    Ok(())
}
