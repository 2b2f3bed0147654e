//! The environment of a story: a home, a project under version control, and a model. It also saves the recording.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::scrub::Scrubber;
use crate::codex::stand_in::{SUMMARISE, StandIn};
use crate::codex::{Codex, configure};
use crate::workspace::copy_folder;

/// The entries of a home that are data, in contrast to caches and logs.
const KEPT: [&str; 3] = ["sessions", "archived_sessions", "session_index.jsonl"];

/// An image of one pixel.
const PICTURE: &[u8] = &[
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00, 0x00, 0x00,
    0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x06, 0x00, 0x00, 0x00, 0x1f, 0x15, 0xc4, 0x89, 0x00, 0x00, 0x00, 0x0d, 0x49,
    0x44, 0x41, 0x54, 0x78, 0x9c, 0x63, 0x60, 0x60, 0x60, 0xf8, 0x0f, 0x00, 0x01, 0x04, 0x01, 0x00, 0x5f, 0xe5, 0xc3,
    0x4b, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
];

/// The stage of one story.
pub(super) struct Stage<'a> {
    pub(super) codex: &'a Codex,
    pub(super) model: StandIn,
    pub(super) home: PathBuf,
    pub(super) project: PathBuf,
    /// The directory that contains everything. Its name is short, so that its replacement is short.
    ground: TempDir,
}

impl<'a> Stage<'a> {
    /// `more` contains further lines of the configuration.
    pub(super) fn set_up(codex: &'a Codex, more: &str) -> Result<Self> {
        let ground = tempfile::Builder::new().prefix("").rand_bytes(4).tempdir().context("cannot make a folder")?;
        let (home, project) = (ground.path().join("codex"), ground.path().join("proj1"));
        for folder in [&home, &project] {
            std::fs::create_dir(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let model = StandIn::start()?;
        configure(&home, model.address(), &(settings(&home) + more))?;
        std::fs::write(home.join("instructions.md"), "You are a careful assistant.")?;
        std::fs::write(project.join("picture.png"), PICTURE)?;
        commit(&project)?;
        Ok(Self { codex, model, home, project, ground })
    }

    /// Returns the scrubber of this stage.
    pub(super) fn scrubber(&self) -> Scrubber {
        Scrubber::new(&self.home, self.ground.path())
    }

    /// Copies the data of the home to the directory of the recording, and of an earlier state if there is one.
    pub(super) fn keep_home(&self, scrubber: &Scrubber, folder: &Path) -> Result<()> {
        for (home, kept) in [(&self.home, "home"), (&self.earlier(), "before")] {
            let kept = folder.join(kept);
            if kept.exists() {
                std::fs::remove_dir_all(&kept).with_context(|| format!("cannot remove {}", kept.display()))?;
            }
            for name in KEPT.into_iter().filter(|name| home.join(name).exists()) {
                copy(&home.join(name), &kept.join(name), scrubber)?;
            }
        }
        Ok(())
    }

    /// The directory of an earlier state of the home.
    fn earlier(&self) -> PathBuf {
        self.ground.path().join("before")
    }

    /// Makes the current state of the home the earlier one of the recording, and adds the threads of another recording to the home.
    pub(super) fn borrow_home(&self, recording: &Path) -> Result<()> {
        for name in KEPT.into_iter().filter(|name| self.home.join(name).is_dir()) {
            copy_folder(&self.home.join(name), &self.earlier().join(name))?;
        }
        copy_folder(&recording.join("home"), &self.home)
    }

    /// Lets the program make paginated threads of all legacy ones. Returns what it reports.
    pub(super) fn migrate(&self) -> Result<Vec<Value>> {
        let mut command = self.codex.command(&self.home)?;
        let output = command.args(["migrate-rollouts", "--apply", "--json"]).output().context("cannot run Codex")?;
        let report: Value = serde_json::from_slice(&output.stdout).context("the migration printed no JSON")?;
        let outcomes = report["outcomes"].as_array().context("the migration reported no outcomes")?;
        let migrated = outcomes.iter().all(|outcome| outcome["status"] == "migrated");
        ensure!(migrated && !outcomes.is_empty(), "not everything was migrated: {report}");
        Ok(outcomes.clone())
    }

    /// Writes `expected.json`.
    pub(super) fn keep_expected(&self, scrubber: &Scrubber, expected: Value, folder: &Path) -> Result<()> {
        let text = serde_json::to_string(&scrubber.value(expected))?;
        let path = folder.join("expected.json");
        std::fs::write(&path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
    }

    /// Returns the files of all threads.
    pub(super) fn rollouts(&self) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for name in ["sessions", "archived_sessions"] {
            walk(&self.home.join(name), &mut found)?;
        }
        found.sort();
        Ok(found)
    }
}

/// Configures compaction when the stand-in reports a full context, instructions without prose, and no long lists of skills.
fn settings(home: &Path) -> String {
    format!(
        "model_auto_compact_token_limit = 200000\ncompact_prompt = \"{SUMMARISE}\"\n\
         skills.include_instructions = false\nfeatures.skills = false\n\
         model_instructions_file = \"{0}\"\nexperimental_instructions_file = \"{0}\"\n",
        home.join("instructions.md").display(),
    )
}

/// Puts the project under version control, without any data of the machine.
fn commit(project: &Path) -> Result<()> {
    for args in
        [&["init", "--quiet", "--initial-branch=main"][..], &["add", "."], &["commit", "--quiet", "-m", "first"]]
    {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=dev", "-c", "user.email=dev@example.org", "-c", "commit.gpgsign=false"]);
        let status = git.args(args).current_dir(project).status().context("cannot run git")?;
        ensure!(status.success(), "git {args:?} ended with {status}");
    }
    Ok(())
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "jsonl") {
            found.push(path);
        }
    }
    Ok(())
}

/// Copies a file or a directory and scrubs the content.
fn copy(from: &Path, to: &Path, scrubber: &Scrubber) -> Result<()> {
    if from.is_dir() {
        for entry in std::fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()), scrubber)?;
        }
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let text = std::fs::read_to_string(from).with_context(|| format!("cannot read {}", from.display()))?;
    let scrubbed = scrubber.lines(&text).with_context(|| from.display().to_string())?;
    std::fs::write(to, scrubbed).with_context(|| format!("cannot write {}", to.display()))
}
