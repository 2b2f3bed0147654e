//! Checks out another commit, builds its benchmarks, and keeps the programs.
//!
//! There is one tree, which moves from commit to commit. So cargo rebuilds only what differs between the commits, and not their
//! dependencies. The programs are copied to a directory of the commit, where the next comparison finds them.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::build::{Program, build, folders};
use crate::workspace::{Usage, root};

/// A file that exists in every commit whose benchmarks can be compared.
const PROBE: &str = "crates/state/benches/support/probe.rs";

/// The files that are benchmarks.
const BENCHMARKS: &str = ":(glob)crates/*/benches/**";

/// Name of the file that records which benchmarks were built.
const WHOSE: &str = "whose";

/// A commit with its programs, by area.
pub(super) struct Built {
    pub(super) commit: String,
    pub(super) areas: Vec<BuiltArea>,
}

/// The programs of an area.
pub(super) struct BuiltArea {
    pub(super) area: &'static str,
    pub(super) programs: Vec<Program>,
    /// The origin of their benchmarks.
    pub(super) whose: String,
}

/// Returns the programs of some areas of a commit; `what` names the commit on the command line.
pub(super) fn built_at(what: &str, areas: &[&'static str]) -> Result<Built> {
    let tree = CommitTree::of(what)?;
    // Two comparisons cannot use the tree at the same time.
    let lock = File::create(tree.dir.join("lock"))?;
    lock.lock().context("cannot lock target/bench-against")?;
    let mut built: Vec<BuiltArea> = areas.iter().filter_map(|area| tree.kept(area)).collect();
    let is_missing = |built: &[BuiltArea], area: &str| built.iter().all(|kept| kept.area != area);
    if areas.iter().any(|area| is_missing(&built, area)) {
        tree.check_out()?;
    }
    for source in tree.sources()? {
        let missing: Vec<_> = areas.iter().copied().filter(|area| is_missing(&built, area)).collect();
        if missing.is_empty() {
            break;
        }
        tree.lay(&source)?;
        for area in missing {
            match tree.build(area, &source) {
                Ok(area) => built.push(area),
                Err(error) => eprintln!("with the benchmarks of {}: {error:#}", source.name()),
            }
        }
    }
    let missing: Vec<_> = areas.iter().copied().filter(|area| is_missing(&built, area)).collect();
    ensure!(missing.is_empty(), "{} cannot be compared in: {}", tree.short(), missing.join(", "));
    built.sort_by_key(|built| areas.iter().position(|area| *area == built.area));
    Ok(Built { commit: tree.short().to_owned(), areas: built })
}

/// The origin of the benchmarks that measure a commit.
enum BenchmarkSource {
    /// This tree, so that both sides do exactly the same work.
    Ours,
    /// The commit itself, if the benchmarks of this tree do not compile there.
    Own,
    /// The first later commit that can be compared.
    Of(String),
}

impl BenchmarkSource {
    fn name(&self) -> String {
        match self {
            Self::Ours => "this tree".to_owned(),
            Self::Own => "the commit itself".to_owned(),
            Self::Of(commit) => short(commit).to_owned(),
        }
    }
}

struct CommitTree {
    commit: String,
    /// The directory of the tree and of all programs.
    dir: PathBuf,
    /// The directory of the programs of the commit.
    kept: PathBuf,
}

impl CommitTree {
    fn of(what: &str) -> Result<Self> {
        let commit =
            git(&root(), &["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{what}^{{commit}}")])
                .map_err(|_| Usage(format!("there is no commit {what}")))?;
        let dir = root().join("target/bench-against");
        let kept = dir.join(format!("{}-{:08x}", short(&commit), key(&root())?));
        fs::create_dir_all(&kept)?;
        Ok(Self { commit, dir, kept })
    }

    fn short(&self) -> &str {
        short(&self.commit)
    }

    fn checkout(&self) -> PathBuf {
        self.dir.join("tree")
    }

    fn check_out(&self) -> Result<()> {
        let checkout = self.checkout();
        if checkout.join(".git").exists() {
            git(&checkout, &["checkout", "--quiet", "--force", "--detach", &self.commit])?;
        } else {
            let path = checkout.to_string_lossy();
            // If a user removed `target`, git still has an entry for the tree.
            git(&root(), &["worktree", "prune"])?;
            git(&root(), &["worktree", "add", "--quiet", "--force", "--detach", &path, &self.commit])?;
        }
        Ok(())
    }

    /// Returns the possible origins of benchmarks, the best first.
    fn sources(&self) -> Result<Vec<BenchmarkSource>> {
        let mut sources = vec![BenchmarkSource::Ours];
        if git(&root(), &["cat-file", "-e", &format!("{}:{PROBE}", self.commit)]).is_ok() {
            sources.push(BenchmarkSource::Own);
        } else {
            let behind = format!("{}..HEAD", self.commit);
            let with = git(&root(), &["rev-list", "--reverse", "--ancestry-path", &behind, "--", PROBE])?;
            sources.extend(with.lines().next().map(|first| BenchmarkSource::Of(first.to_owned())));
        }
        Ok(sources)
    }

    /// Copies benchmarks into the tree. A file that does not change keeps its time, so that cargo does not rebuild it.
    fn lay(&self, source: &BenchmarkSource) -> Result<()> {
        let checkout = self.checkout();
        git(&checkout, &["checkout", "--quiet", "--force", &self.commit, "--", "."])?;
        git(&checkout, &["clean", "--quiet", "--force", "-d", "-x"])?;
        match source {
            BenchmarkSource::Own => Ok(()),
            BenchmarkSource::Ours => copy_benchmarks(&root(), &checkout),
            BenchmarkSource::Of(commit) => {
                git(&checkout, &["restore", &format!("--source={commit}"), "--worktree", "--", BENCHMARKS])?;
                remove_homeless(&checkout)
            }
        }
    }

    fn build(&self, area: &'static str, source: &BenchmarkSource) -> Result<BuiltArea> {
        let programs = build(&self.checkout(), Some(&self.dir.join("target")), area)?;
        for program in &programs {
            fs::copy(&program.path, self.kept.join(kept_name(area, &program.folder)))?;
        }
        fs::write(self.kept.join(kept_name(area, WHOSE)), source.name())?;
        self.kept(area).with_context(|| format!("{} was not kept", self.kept.display()))
    }

    /// Returns the programs of an area that were built before; `None` if one of them is missing.
    fn kept(&self, area: &'static str) -> Option<BuiltArea> {
        let programs = folders(area).map(|folder| {
            let path = self.kept.join(kept_name(area, folder));
            path.exists().then(|| Program { folder: folder.to_owned(), path })
        });
        let programs = programs.collect::<Option<Vec<_>>>()?;
        // This file is written last, so its existence means that all programs exist.
        let whose = fs::read_to_string(self.kept.join(kept_name(area, WHOSE))).ok()?;
        Some(BuiltArea { area, programs, whose })
    }
}

fn kept_name(area: &str, what: &str) -> String {
    format!("{area}-{what}")
}

fn short(commit: &str) -> &str {
    commit.get(..10).unwrap_or(commit)
}

/// Returns a checksum of everything besides the commit that affects the build: the benchmarks of this tree and the compiler.
fn key(root: &Path) -> Result<u32> {
    let mut hasher = DefaultHasher::new();
    for path in benchmarks(root)? {
        path.hash(&mut hasher);
        fs::read(root.join(&path))?.hash(&mut hasher);
    }
    let compiler = Command::new("rustc").arg("-vV").current_dir(root).output().context("cannot run rustc")?;
    compiler.stdout.hash(&mut hasher);
    Ok(u32::try_from(hasher.finish() >> 32)?)
}

/// Returns the files of benchmarks, relative to the root, sorted.
fn benchmarks(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> =
        crates_with_benchmarks(root)?.into_iter().map(|krate| krate.join("benches")).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}

fn crates_with_benchmarks(root: &Path) -> Result<Vec<PathBuf>> {
    let mut crates = Vec::new();
    for entry in fs::read_dir(root.join("crates"))? {
        let krate = Path::new("crates").join(entry?.file_name());
        if root.join(&krate).join("benches").is_dir() {
            crates.push(krate);
        }
    }
    Ok(crates)
}

/// Copies the benchmarks of one tree over those of another tree, for the crates that exist there.
fn copy_benchmarks(from: &Path, to: &Path) -> Result<()> {
    for file in benchmarks(from)? {
        let krate: PathBuf = file.components().take(2).collect();
        if !to.join(&krate).join("Cargo.toml").exists() {
            continue;
        }
        let (text, there) = (fs::read(from.join(&file))?, to.join(&file));
        if fs::read(&there).is_ok_and(|other| other == text) {
            continue;
        }
        if let Some(folder) = there.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&there, text).with_context(|| format!("cannot write {}", there.display()))?;
    }
    Ok(())
}

/// Removes the benchmarks of crates that do not exist in the tree: they have no manifest there.
fn remove_homeless(tree: &Path) -> Result<()> {
    for krate in crates_with_benchmarks(tree)? {
        if !tree.join(&krate).join("Cargo.toml").exists() {
            fs::remove_dir_all(tree.join(&krate))?;
        }
    }
    Ok(())
}

/// Returns the output of git without surrounding white space.
fn git(dir: &Path, args: &[&str]) -> Result<String> {
    let output = Command::new("git").arg("-C").arg(dir).args(args).output().context("cannot run git")?;
    if !output.status.success() {
        bail!("git {} failed: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), text).unwrap();
    }

    #[test]
    fn benchmarks_are_copied_to_crates_that_exist() {
        let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for path in ["crates/old/benches/append.rs", "crates/old/benches/support/mod.rs", "crates/new/benches/fork.rs"]
        {
            write(ours.path(), path, "ours");
        }
        write(theirs.path(), "crates/old/Cargo.toml", "");
        write(theirs.path(), "crates/old/benches/append.rs", "theirs");
        copy_benchmarks(ours.path(), theirs.path()).unwrap();
        let copied: Vec<_> = benchmarks(theirs.path()).unwrap();
        assert_eq!(copied, ["crates/old/benches/append.rs", "crates/old/benches/support/mod.rs"].map(PathBuf::from));
        assert_eq!(fs::read_to_string(theirs.path().join("crates/old/benches/append.rs")).unwrap(), "ours");
    }

    #[test]
    fn benchmarks_without_a_crate_are_removed() {
        let tree = tempfile::tempdir().unwrap();
        write(tree.path(), "crates/old/Cargo.toml", "");
        write(tree.path(), "crates/old/benches/append.rs", "");
        write(tree.path(), "crates/new/benches/fork.rs", "");
        remove_homeless(tree.path()).unwrap();
        assert_eq!(benchmarks(tree.path()).unwrap(), [PathBuf::from("crates/old/benches/append.rs")]);
    }

    #[test]
    fn programs_of_other_benchmarks_are_not_reused() {
        let tree = tempfile::tempdir().unwrap();
        write(tree.path(), "crates/old/benches/append.rs", "one");
        let one = key(tree.path()).unwrap();
        assert_eq!(one, key(tree.path()).unwrap());
        write(tree.path(), "crates/old/benches/append.rs", "another");
        assert_ne!(one, key(tree.path()).unwrap());
    }

    #[test]
    fn an_unknown_commit_is_a_usage_error() {
        let error = CommitTree::of("no-such-commit").err().unwrap();
        assert!(error.is::<Usage>(), "{error}");
    }
}
