//! What `selvedge doctor` says and does about the index.

use std::collections::{BTreeMap, HashSet};
use std::io::{IsTerminal, Write};
use std::pin::pin;
use std::time::Instant;

use anyhow::Context;
use selvedge_protocol::ThreadId;
use serde::Serialize;

use super::doctor::{NAMED, TICK};
use crate::app::{App, note};
use crate::args::DoctorArgs;
use crate::exit::Result;
use crate::render::text::clean;
use crate::wiring::{CheckScope, IndexCheck, IndexError, IndexFinding, IndexRepair, Severity};

/// What is to be said of an index.
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
    /// How many faults and how many notices there were.
    pub(crate) fn faults_and_notices(&self) -> (usize, usize) {
        let faults = faults(&self.check.findings);
        (faults, self.check.findings.len() - faults)
    }

    /// How many faults there still are.
    pub(crate) fn faults_left(&self) -> usize {
        faults(self.left.as_ref().unwrap_or(&self.check.findings))
    }
}

fn faults(findings: &[IndexFinding]) -> usize {
    findings.iter().filter(|finding| finding.severity == Severity::Fault).count()
}

/// Checks the index, and brings it in order if that is asked for; nothing when there is none.
pub(crate) async fn examine(
    args: &DoctorArgs,
    threads: Option<HashSet<ThreadId>>,
    app: &App<'_>,
) -> Result<Option<IndexReport>> {
    let scope = CheckScope { threads, deep: args.deep };
    let look = || watched("checking the index", app.admin.check_index(&scope));
    let check = match look().await {
        Ok(Some(check)) => check,
        Ok(None) => return Ok(None),
        Err(IndexError::Busy(_)) => {
            note("the index is not checked: other processes hold it; try again");
            return Ok(None);
        }
        Err(error) => return Err(anyhow::Error::new(error).context("cannot check the index").into()),
    };
    if !args.repair || args.dry_run || check.findings.is_empty() {
        return Ok(Some(IndexReport { check, repair: None, left: None }));
    }
    let repair = watched("bringing the index up to date", app.admin.repair_index(&check)).await;
    let repair = repair.with_context(|| format!("cannot repair the index {}", check.path.display()))?;
    let left = look().await.context("cannot check the index")?.map(|check| check.findings).unwrap_or_default();
    Ok(Some(IndexReport { check, repair: Some(repair), left: Some(left) }))
}

/// Does what may take long, and tells on a terminal how long it has been at it.
async fn watched<T>(what: &str, work: impl Future<Output = T>) -> T {
    if !std::io::stderr().is_terminal() {
        return work.await;
    }
    let (start, mut work) = (Instant::now(), pin!(work));
    loop {
        let Ok(outcome) = tokio::time::timeout(TICK, work.as_mut()).await else {
            // What cannot be told is no reason to stop.
            let _ = write!(std::io::stderr(), "\r{what}: {} s ", start.elapsed().as_secs());
            continue;
        };
        if start.elapsed() >= TICK {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
        return outcome;
    }
}

/// Says what there is to say of the index.
pub(crate) fn print(report: Option<&IndexReport>, args: &DoctorArgs, app: &mut App<'_>) -> Result<()> {
    let Some(IndexReport { check, repair, left }) = report else {
        let why = if app.admin.index_path().is_none() { "switched off" } else { "none to check" };
        writeln!(app.out, "index: {why}; the logs answer every question")?;
        return Ok(());
    };
    if !check.findings.is_empty() {
        writeln!(app.out, "{}", clean(&check.path.display().to_string()))?;
        print_findings(&check.findings, app)?;
    }
    if args.dry_run && !check.findings.is_empty() {
        writeln!(app.out, "would bring the index up to date")?;
    }
    if let Some(IndexRepair { set_aside, report }) = repair {
        if let Some(aside) = set_aside {
            writeln!(app.out, "set aside the index; it is kept as {}", clean(&aside.kept.display().to_string()))?;
        }
        let read = report.read_whole + report.read_tail;
        writeln!(app.out, "brought the index up to date: {read} threads read, {} gone", report.removed)?;
    }
    if let Some(left) = left.as_ref().filter(|left| faults(left) > 0) {
        writeln!(app.out, "\nstill there:")?;
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
        for IndexFinding { severity, thread_id, detail, .. } in findings.iter().take(NAMED) {
            let kind = if *severity == Severity::Notice { paint.dim(kind) } else { paint.bad(kind) };
            let thread = thread_id.map(|id| format!(", thread {id}")).unwrap_or_default();
            writeln!(app.out, "  {kind}{thread}: {}", clean(detail))?;
        }
        if findings.len() > NAMED {
            writeln!(app.out, "  and {} more of these", findings.len() - NAMED)?;
        }
        let remedy = match findings[0].severity {
            Severity::Notice => "nothing has to be done: questions take it in, and so does repair",
            _ => "repair reads again what is in question; the logs have it all",
        };
        writeln!(app.out, "    {}", paint.dim(remedy))?;
    }
    Ok(())
}
