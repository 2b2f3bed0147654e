//! Changes that Selvedge makes to threads that Codex knows: each verb, in both modes, through the program of Codex and without it, while Codex
//! has the thread loaded and while it has not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::by_selvedge::probe;
use super::compare::{after_history, only_history, same_turns, turns_of};
use super::material::{RecordedStory, home_files, turn};
use super::report::{CheckOutcome, Section};
use super::selvedge::{CONFLICT, Selvedge};
use super::setup::InteropSetup;
use super::threads::ThreadMaker;
use crate::codex::PROBE;
use crate::codex::app_server::{AppServer, refusal};
use crate::codex::thread_mode::ThreadMode;
use crate::workspace::copy_folder;

/// A name that Codex gave before the change, and the one that Selvedge gives.
const OLD_NAME: &str = "a name from before";
const NEW_NAME: &str = "a name of today";

/// Words of the first message of a thread, which must be nowhere after its deletion.
const FIRST_WORDS: &str = "words to be deleted";

const REWIND_NOT_SEEN: &str = "`--force`: Codex keeps in its database which segment of a thread is the current one, and does not search for a newer one. \
        It goes on with the turns that were undone.";

const ARCHIVE_NOT_SEEN: &str = "`--force`: Codex lists the thread as archived, and finds no file when it is to be read or unarchived. `selvedge unarchive` \
        mends that.";

const UNARCHIVE_NOT_SEEN: &str = "`--force`: Codex lists the thread as active, but its database says that it is archived. It can neither resume nor \
        unarchive it.";

const NAME_NOT_SEEN: &str = "`--force`: Codex goes on showing the name in its database.";

const DELETION_NOT_SEEN: &str = "`--force`: The rows of the thread stay in the databases of Codex.";

const BYTES_REMAIN: &str = "Codex deletes every row of the thread; only the id stays, in its log and in the path of the file that it read last. The bytes of deleted rows stay in its databases \
        until it needs the space. Selvedge names these files.";

#[derive(Clone, Copy, PartialEq, Eq)]
enum ChangeVerb {
    Rewind,
    Archive,
    Unarchive,
    Rename,
    Delete,
}

impl ChangeVerb {
    const ALL: [Self; 5] = [Self::Rewind, Self::Archive, Self::Unarchive, Self::Rename, Self::Delete];

    fn name(self) -> &'static str {
        match self {
            Self::Rewind => "rewind",
            Self::Archive => "archive",
            Self::Unarchive => "unarchive",
            Self::Rename => "rename",
            Self::Delete => "delete",
        }
    }

    fn args(self, id: &str) -> Vec<&str> {
        match self {
            Self::Rewind => vec!["rewind", id, "--turns", "2"],
            Self::Archive => vec!["archive", id],
            Self::Unarchive => vec!["unarchive", id],
            Self::Rename => vec!["rename", id, NEW_NAME],
            Self::Delete => vec!["delete", id, "--yes"],
        }
    }

    /// Returns whether Codex notices the change in the files.
    fn is_noticed(self, mode: ThreadMode) -> bool {
        mode == ThreadMode::Legacy && matches!(self, Self::Rewind | Self::Archive)
    }

    fn fault(self) -> &'static str {
        match self {
            Self::Rewind => REWIND_NOT_SEEN,
            Self::Archive => ARCHIVE_NOT_SEEN,
            Self::Unarchive => UNARCHIVE_NOT_SEEN,
            Self::Rename => NAME_NOT_SEEN,
            Self::Delete => DELETION_NOT_SEEN,
        }
    }
}

pub(super) fn check(bench: &InteropSetup, program: &Path) -> Result<Section> {
    let mut section = Section::default();
    for mode in [ThreadMode::Legacy, ThreadMode::Paginated] {
        for verb in ChangeVerb::ALL {
            let subject = format!("{}, {}", mode.name(), verb.name());
            let case = |place: &str| KnownCase::new(bench, program, place, mode, verb);
            section.record(&subject, "by Codex", case("door").and_then(|case| case.by_codex()));
            if verb != ChangeVerb::Unarchive {
                section.record(&subject, "while it is loaded", case("loaded").and_then(|case| case.while_loaded()));
            }
            section.record(&subject, "without its program", case("refused").and_then(|case| case.without_program()));
            section.record(&subject, "forced", case("forced").and_then(|case| case.forced()));
        }
    }
    section.record("paginated, with a sub-agent", "by Codex", with_sub_agent(bench, program));
    Ok(section)
}

/// Codex archives, unarchives and deletes a sub-agent together with its parent. Selvedge says so, and asks before it lets Codex delete.
fn with_sub_agent(bench: &InteropSetup, program: &Path) -> CheckOutcome {
    let story = RecordedStory("story-0.169.0-rows".to_owned());
    let threads = story.expected()?["threads"].take();
    let (Some(parent), Some(sub_agent)) = (threads["S"].as_str(), threads["S1"].as_str()) else {
        bail!("the recording has no sub-agent")
    };
    let home = bench.home("changes-sub-agent")?;
    copy_folder(&story.home(), &home)?;
    let mut server = AppServer::start(&bench.codex, &home)?;
    server.list()?;
    server.stop()?;
    let selvedge = Selvedge::new(program, &home).with_codex(&bench.codex);
    let run = |args: &[&str]| -> Result<CommandResult> { Ok(CommandResult::of(&selvedge.attempt(args)?)) };
    let in_archive = |id: &str| -> Result<bool> {
        let files = rollouts(&home)?;
        Ok(files.keys().any(|name| name.starts_with("archived_sessions/") && name.contains(id)))
    };
    for (verb, archived) in [("archive", true), ("unarchive", false)] {
        let moved = run(&[verb, parent])?;
        ensure!(moved.code == 0, "{verb} ended with {}: {}", moved.code, moved.err);
        ensure!(moved.out.contains(&format!("{verb}d its sub-agent {sub_agent}")), "{verb} says {}", moved.out);
        ensure!(in_archive(parent)? == archived && in_archive(sub_agent)? == archived, "{verb} moved only one of them");
    }
    let before = rollouts(&home)?;
    let refused = run(&["delete", parent, "--yes"])?;
    ensure!(refused.code == CONFLICT && refused.err.contains(sub_agent), "delete says {}", refused.err);
    ensure!(rollouts(&home)? == before, "a file has changed");
    let deleted = run(&["delete", parent, "--yes", "--sub-agents"])?;
    ensure!(deleted.code == 0, "delete ended with {}: {}", deleted.code, deleted.err);
    ensure!(deleted.out.contains(&format!("deleted its sub-agent {sub_agent}")), "delete says {}", deleted.out);
    let left = rollouts(&home)?;
    ensure!(left.keys().all(|name| !name.contains(parent) && !name.contains(sub_agent)), "a file remains");
    ensure!(left.len() + 2 == before.len(), "it has deleted other threads");
    Ok(None)
}

/// A thread in a home of its own, which Codex knows.
struct KnownCase<'a> {
    bench: &'a InteropSetup,
    home: PathBuf,
    selvedge: Selvedge,
    mode: ThreadMode,
    verb: ChangeVerb,
    id: String,
}

impl<'a> KnownCase<'a> {
    fn new(bench: &'a InteropSetup, program: &Path, place: &str, mode: ThreadMode, verb: ChangeVerb) -> Result<Self> {
        let home = bench.home(&format!("changes-{place}-{}-{}", mode.name(), verb.name()))?;
        let selvedge = Selvedge::new(program, &home);
        let maker = ThreadMaker { selvedge: &selvedge, mode, cwd: &bench.folder, turn };
        let id = selvedge.create(mode, &bench.folder)?;
        for text in [FIRST_WORDS, "second", "third"] {
            maker.add(&id, text)?;
        }
        let mut server = AppServer::start(&bench.codex, &home)?;
        server.list()?;
        server.resume(&id)?;
        turns_of(&mut server, &id)?;
        if matches!(verb, ChangeVerb::Rename | ChangeVerb::Delete) {
            server.call("thread/name/set", json!({"threadId": id, "name": OLD_NAME}))?;
        }
        if verb == ChangeVerb::Unarchive {
            server.call("thread/archive", json!({"threadId": id}))?;
        }
        server.stop()?;
        Ok(Self { bench, home, selvedge, mode, verb, id })
    }

    /// Codex is not running, and its program is there.
    fn by_codex(&self) -> CheckOutcome {
        let output = self.attempt(&["--codex", &self.program()?])?;
        ensure!(output.code == 0, "it ended with {}: {}", output.code, output.err);
        let by = format!("(by Codex {})", self.bench.codex.version);
        ensure!(output.out.contains(&by) != self.verb.is_noticed(self.mode), "it says {}", output.out);
        self.shown_by_selvedge()?;
        self.shown_by_codex()?;
        if self.verb == ChangeVerb::Delete {
            let remains = files_with(&self.home, FIRST_WORDS)?;
            ensure!(remains.keys().all(|name| name.contains(".sqlite")), "the words are in {remains:?}");
            ensure!(remains.keys().all(|name| output.err.contains(name)), "of {remains:?} it says {}", output.err);
            let rows = rows_of(&self.home, &self.id)?;
            ensure!(rows.is_empty(), "the databases have {rows:?}");
            return Ok((!remains.is_empty()).then_some(BYTES_REMAIN));
        }
        Ok(None)
    }

    /// A running Codex has the thread loaded, and its program is there.
    fn while_loaded(&self) -> CheckOutcome {
        let mut server = AppServer::start(&self.bench.codex, &self.home)?;
        server.resume(&self.id)?;
        probe(self.bench, &mut server, &self.id, "while it is loaded")?;
        let before = rollouts(&self.home)?;
        let output = self.attempt(&["--codex", &self.program()?])?;
        if self.verb == ChangeVerb::Rename {
            ensure!(output.code == 0, "it ended with {}: {}", output.code, output.err);
            named(&mut server, &self.id)?;
        } else {
            ensure!(output.code == CONFLICT, "it ended with {}: {} {}", output.code, output.out, output.err);
            ensure!(rollouts(&self.home)? == before, "a file has changed");
        }
        // The running Codex goes on with everything that was there.
        let context = self.selvedge.context(&self.id)?;
        only_history(&context, &probe(self.bench, &mut server, &self.id, PROBE)?, PROBE)?;
        server.stop()?;
        // When it has ended, the change is made.
        let output = self.attempt(&["--codex", &self.program()?])?;
        ensure!(output.code == 0, "afterwards it ended with {}: {}", output.code, output.err);
        Ok(None)
    }

    /// The program of Codex is not there.
    fn without_program(&self) -> CheckOutcome {
        let before = home_files(&self.home)?;
        let output = self.attempt(&["--codex", "off"])?;
        if self.verb.is_noticed(self.mode) {
            ensure!(output.code == 0, "it ended with {}: {}", output.code, output.err);
            self.shown_by_selvedge()?;
            self.shown_by_codex()?;
            return Ok(None);
        }
        ensure!(output.code == CONFLICT, "it ended with {}: {} {}", output.code, output.out, output.err);
        ensure!(output.err.contains("--force") && output.out.is_empty(), "it says {}", output.err);
        let after = home_files(&self.home)?;
        let changed = changed_files(&before, &after);
        ensure!(changed.is_empty(), "it has changed {changed:?}");
        // Codex goes on as before.
        let mut server = AppServer::start(&self.bench.codex, &self.home)?;
        if self.verb == ChangeVerb::Unarchive {
            server.call("thread/unarchive", json!({"threadId": self.id}))?;
        }
        server.resume(&self.id)?;
        let context = self.selvedge.context(&self.id)?;
        only_history(&context, &probe(self.bench, &mut server, &self.id, PROBE)?, PROBE)?;
        server.stop()?;
        Ok(None)
    }

    /// The files are changed although Codex does not notice.
    fn forced(&self) -> CheckOutcome {
        let before = self.selvedge.context(&self.id)?;
        let output = self.attempt(&["--force"])?;
        ensure!(output.code == 0, "it ended with {}: {}", output.code, output.err);
        self.shown_by_selvedge()?;
        if self.verb.is_noticed(self.mode) {
            self.shown_by_codex()?;
            return Ok(None);
        }
        ensure!(output.err.contains("Codex does not notice"), "it says {}", output.err);
        self.goes_wrong(&before)?;
        Ok(Some(self.verb.fault()))
    }

    /// Checks that Codex shows the fault that Selvedge foretold.
    fn goes_wrong(&self, before: &[Value]) -> Result<()> {
        let mut server = AppServer::start(&self.bench.codex, &self.home)?;
        let resumed = server.resume(&self.id);
        match self.verb {
            ChangeVerb::Rewind => {
                resumed?;
                after_history(before, &probe(self.bench, &mut server, &self.id, PROBE)?)?;
            }
            ChangeVerb::Archive => {
                refused(resumed.map(drop))?;
                refused(server.call("thread/unarchive", json!({"threadId": self.id})).map(drop))?;
            }
            ChangeVerb::Unarchive => {
                refused(resumed.map(drop))?;
                refused(server.call("thread/unarchive", json!({"threadId": self.id})).map(drop))?;
            }
            ChangeVerb::Rename => ensure!(name_of(&mut server, &self.id)? == OLD_NAME, "Codex shows another name"),
            ChangeVerb::Delete => {
                ensure!(!rows_of(&self.home, &self.id)?.is_empty(), "Codex has no rows of the thread")
            }
        }
        server.stop()?;
        if self.verb == ChangeVerb::Archive {
            // The files were where Codex expects them, so they mend the fault when they are back.
            let output = CommandResult::of(&self.selvedge.attempt(&["unarchive", &self.id])?);
            ensure!(output.code == 0, "unarchive ended with {}: {}", output.code, output.err);
            let mut server = AppServer::start(&self.bench.codex, &self.home)?;
            server.resume(&self.id)?;
            server.stop()?;
        }
        Ok(())
    }

    /// The program of Codex.
    fn program(&self) -> Result<String> {
        let program = self.bench.codex.program().to_str();
        Ok(program.context("the path of Codex is not UTF-8")?.to_owned())
    }

    fn attempt(&self, more: &[&str]) -> Result<CommandResult> {
        Ok(CommandResult::of(&self.selvedge.attempt(&[&self.verb.args(&self.id), more].concat())?))
    }

    /// Checks what Selvedge shows after the change.
    fn shown_by_selvedge(&self) -> Result<()> {
        let is_listed = self.selvedge.list()?.contains(&self.id);
        match self.verb {
            ChangeVerb::Archive => ensure!(!is_listed, "Selvedge lists the archived thread"),
            ChangeVerb::Delete => {
                ensure!(!is_listed, "Selvedge lists the deleted thread");
                let files = rollouts(&self.home)?;
                ensure!(files.is_empty(), "the files {:?} remain", files.keys());
                return Ok(());
            }
            _ => ensure!(is_listed, "Selvedge does not list the thread"),
        }
        let turns = self.selvedge.turns(&self.id)?.len();
        ensure!(turns == if self.verb == ChangeVerb::Rewind { 1 } else { 3 }, "Selvedge shows {turns} turns");
        if self.verb == ChangeVerb::Rename {
            let name = self.selvedge.name(&self.id)?;
            ensure!(name == NEW_NAME, "Selvedge shows the name {name:?}");
        }
        Ok(())
    }

    /// Checks that a Codex that is started after the change shows it and goes on, and that Selvedge reads that.
    fn shown_by_codex(&self) -> Result<()> {
        let mut server = AppServer::start(&self.bench.codex, &self.home)?;
        let is_listed = server.list()?.iter().any(|row| row["id"] == self.id.as_str());
        let ends_in_list = !matches!(self.verb, ChangeVerb::Archive | ChangeVerb::Delete);
        ensure!(is_listed == ends_in_list, "Codex lists the thread: {is_listed}");
        match self.verb {
            ChangeVerb::Delete => {
                refused(server.resume(&self.id).map(drop))?;
                return server.stop();
            }
            ChangeVerb::Archive => {
                let params = json!({"limit": 100, "modelProviders": [], "archived": true});
                let archived = server.pages("thread/list", &params)?;
                ensure!(archived.iter().any(|row| row["id"] == self.id.as_str()), "Codex does not list it as archived");
                server.call("thread/read", json!({"threadId": self.id, "includeTurns": false}))?;
                server.call("thread/unarchive", json!({"threadId": self.id}))?;
            }
            ChangeVerb::Rename => named(&mut server, &self.id)?,
            ChangeVerb::Rewind | ChangeVerb::Unarchive => {}
        }
        let (turns, context) = (self.selvedge.turns(&self.id)?, self.selvedge.context(&self.id)?);
        server.resume(&self.id)?;
        same_turns(&turns, &turns_of(&mut server, &self.id)?)?;
        only_history(&context, &probe(self.bench, &mut server, &self.id, PROBE)?, PROBE)?;
        server.stop()?;
        let after = self.selvedge.turns(&self.id)?;
        ensure!(after.last().is_some_and(|turn| turn.is_answered(PROBE)), "Selvedge does not show the new turn");
        ensure!(after.len() == turns.len() + 1, "Selvedge shows {} turns", after.len());
        Ok(())
    }
}

/// What a run of Selvedge printed.
struct CommandResult {
    code: i32,
    out: String,
    err: String,
}

impl CommandResult {
    fn of(output: &std::process::Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        Self { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

fn named(server: &mut AppServer, id: &str) -> Result<()> {
    let name = name_of(server, id)?;
    ensure!(name == NEW_NAME, "Codex shows the name {name:?}");
    Ok(())
}

fn name_of(server: &mut AppServer, id: &str) -> Result<String> {
    let rows = server.list()?;
    let row = rows.iter().find(|row| row["id"] == id).context("Codex does not list the thread")?;
    Ok(row["name"].as_str().unwrap_or_default().to_owned())
}

fn refused(outcome: Result<()>) -> Result<()> {
    match outcome {
        Ok(()) => bail!("Codex does not refuse it"),
        Err(error) if refusal(&error).is_some() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Returns the files that differ, except the index of Selvedge and the memory that all readers of a database share.
fn changed_files<'a>(before: &'a BTreeMap<String, Vec<u8>>, after: &'a BTreeMap<String, Vec<u8>>) -> Vec<&'a String> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let counts = |name: &&String| !name.starts_with("selvedge-") && !name.ends_with("-shm");
    names.into_iter().filter(counts).filter(|name| before.get(*name) != after.get(*name)).collect()
}

/// Returns the rollouts of a home with their content.
fn rollouts(home: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = home_files(home)?;
    files.retain(|name, _| name.contains("sessions/"));
    Ok(files)
}

/// Returns the files of a home that contain a text.
fn files_with(home: &Path, text: &str) -> Result<BTreeMap<String, usize>> {
    let holds = |bytes: &[u8]| bytes.windows(text.len()).filter(|window| *window == text.as_bytes()).count();
    // The program of Selvedge overwrites what it deletes from its own index; here, only the files of Codex matter.
    let files = home_files(home)?.into_iter().filter(|(name, _)| !name.starts_with("selvedge-"));
    Ok(files.map(|(name, bytes)| (name, holds(&bytes))).filter(|(_, times)| *times > 0).collect())
}

/// Returns the rows in the databases of Codex that contain the id of a thread. Two places have the id without anything that was said: the log of
/// the program, and the path of the file up to which it has filled its database.
fn rows_of(home: &Path, id: &str) -> Result<Vec<String>> {
    let mut rows = Vec::new();
    for name in home_files(home)?.into_keys() {
        let is_database = name.ends_with(".sqlite") && !name.starts_with("selvedge-") && !name.starts_with("logs_");
        if !is_database {
            continue;
        }
        let mut command = Command::new("sqlite3");
        command.arg("-readonly").arg(home.join(&name)).arg(".dump").stderr(Stdio::null());
        let output = command.output().context("cannot run sqlite3, which this check needs")?;
        ensure!(output.status.success(), "sqlite3 cannot read {name}");
        let text = String::from_utf8_lossy(&output.stdout);
        let rows_with_id =
            text.lines().filter(|line| line.contains(id) && !line.contains("INSERT INTO backfill_state "));
        rows.extend(rows_with_id.map(|line| format!("{name}: {line}")));
    }
    Ok(rows)
}
