//! Threads that an agent recorded with the library: the example of the facade, in each mode. Codex must open them as it opens its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::by_selvedge::check_subjects;
use super::report::Section;
use super::selvedge::Selvedge;
use super::setup::InteropSetup;
use super::threads::SelvedgeThread;
use crate::codex::PROVIDER;
use crate::codex::thread_mode::ThreadMode;
use crate::workspace::{cargo, root, run_command};

pub(super) fn check(bench: &InteropSetup, program: &Path) -> Result<Section> {
    let agent = build()?;
    let home = bench.home("recorder")?;
    let selvedge = Selvedge::new(program, &home);
    let mut agents = Vec::new();
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
        agents.push((mode, thread.to_owned(), fork.to_owned()));
    }
    if bench.codex.release().as_slice() < NEEDS_NO_PROVIDER.as_slice() {
        change_provider(&home.join("sessions"))?;
    }
    let mut subjects = Vec::new();
    for (mode, thread, fork) in &agents {
        // The rewind of a paginated thread begins a second file.
        let segments = if *mode == ThreadMode::Paginated { 2 } else { 1 };
        for (name, id, segments) in [("", thread, segments), (", the fork", fork, 1)] {
            subjects.push(SelvedgeThread {
                name: format!("{}{name}", mode.name()),
                mode: *mode,
                id: id.clone(),
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

/// The first release that resumes threads of other providers than the one that its configuration selects.
const NEEDS_NO_PROVIDER: [u32; 2] = [0, 168];

/// Replaces the provider of all threads below a directory, as if the agent had selected the one that the tests configure. The space
/// that is left is filled with blanks: the bases of later segments are byte offsets.
fn change_provider(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            change_provider(&path)?;
            continue;
        }
        let (old, new) = ("\"model_provider\":\"openai\"", format!("\"model_provider\":\"{PROVIDER}\""));
        let text = fs::read_to_string(&path)?;
        fs::write(&path, text.replace(old, &format!("{new:<width$}", width = old.len())))?;
    }
    Ok(())
}

/// Builds the agent and returns its path.
fn build() -> Result<PathBuf> {
    run_command(&mut cargo(&["build", "-p", "selvedge", "--example", "agent"]))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    Ok(target.join("debug/examples").join(format!("agent{}", std::env::consts::EXE_SUFFIX)))
}
