//! Threads that an agent recorded with the library: the example of the facade, in each mode. Codex must open them as it opens its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::by_selvedge::check_subjects;
use super::report::Section;
use super::selvedge::Selvedge;
use super::setup::InteropSetup;
use super::threads::SelvedgeThread;
use crate::codex::thread_mode::ThreadMode;
use crate::workspace::{cargo, root, run_command};

pub(super) fn check(bench: &InteropSetup, program: &Path) -> Result<Section> {
    let agent = build()?;
    let home = bench.home("recorder")?;
    let selvedge = Selvedge::new(program, &home);
    let mut subjects = Vec::new();
    for mode in [ThreadMode::Legacy, ThreadMode::Paginated] {
        let mut command = Command::new(&agent);
        command.arg(&home).current_dir(&bench.folder);
        if mode == ThreadMode::Legacy {
            command.arg("legacy");
        }
        let output = command.output().context("cannot start the agent")?;
        ensure!(output.status.success(), "the agent failed: {}", String::from_utf8_lossy(&output.stderr));
        let printed = String::from_utf8(output.stdout)?;
        let words: Vec<&str> = printed.split_whitespace().collect();
        let &[thread, .., fork] = words.as_slice() else { anyhow::bail!("the agent printed `{printed}`") };
        // The rewind of a paginated thread begins a second file.
        let segments = if mode == ThreadMode::Paginated { 2 } else { 1 };
        for (name, id, segments) in [("", thread, segments), (", the fork", fork, 1)] {
            subjects.push(SelvedgeThread {
                name: format!("{}{name}", mode.name()),
                mode,
                id: id.to_owned(),
                segments,
                has_own_message: true,
                turns: selvedge.turns(id)?,
                context: selvedge.context(id)?,
            });
        }
    }
    let mut section = Section::default();
    check_subjects(bench, &home, &selvedge, &subjects, &mut section)?;
    Ok(section)
}

/// Builds the agent and returns its path.
fn build() -> Result<PathBuf> {
    run_command(&mut cargo(&["build", "-p", "selvedge", "--example", "agent"]))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    Ok(target.join("debug/examples").join(format!("agent{}", std::env::consts::EXE_SUFFIX)))
}
