//! `cargo xtask record`: a released Codex plays stories; its files and its output become test data below `samples/`.
//!
//! It needs npm, as `interop` does, and no network after Codex is installed. The recordings are small and scrubbed: paths of the machine and
//! the prose of the program are replaced by text of the same byte length.

mod expected;
mod player;
mod scrub;
mod stage;
mod stories;

use std::path::PathBuf;

use anyhow::{Context, Result};
use stage::Stage;
use stories::Story;

use crate::codex::{Codex, target_directory};
use crate::workspace::{Usage, root};

pub(crate) const HELP: &str = "\
usage: cargo xtask record VERSION [options]

  --story NAME    only this story; may be given several times. Without it, every story that the version can play
  --into FOLDER   the directory for the recordings, instead of samples/

Stories: compactions, undo, crash, rows, tools; exec for releases before 0.98; budget from 0.141 on; shell from 0.144 on; kinds, migrated from 0.171
on. With the suffix `-legacy` a story is played in a legacy thread, although the release would make a paginated one. Needs npm for a
release that is not installed yet.";

/// The parsed command line.
struct RecordOptions {
    version: String,
    stories: Vec<String>,
    into: PathBuf,
}

/// Runs the verb.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let options = parse(args)?;
    let target = target_directory()?.join("interop");
    std::fs::create_dir_all(&target).with_context(|| format!("cannot create {}", target.display()))?;
    let codex = Codex::from_npm(&target, &options.version)?;
    for story in Story::chosen(&codex, &options.stories)? {
        let folder = options.into.join(format!("story-{}-{}", codex.version, story.label()));
        println!("record: {}", folder.display());
        record(&codex, &story, &folder).with_context(|| story.label())?;
    }
    Ok(())
}

fn record(codex: &Codex, story: &Story, folder: &std::path::Path) -> Result<()> {
    let stage = Stage::set_up(codex, story.settings())?;
    let cast = story.play(&stage)?;
    let scrubber = stage.scrubber();
    stage.keep_home(&scrubber, folder)?;
    let expected = expected::ask(&stage, &cast)?;
    stage.keep_expected(&scrubber, expected, folder)
}

fn parse(args: &[String]) -> Result<RecordOptions> {
    let mut options = RecordOptions { version: String::new(), stories: Vec::new(), into: root().join("samples") };
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let mut value = || rest.next().cloned().ok_or_else(|| Usage(format!("{arg} needs a value\n\n{HELP}")));
        match arg.as_str() {
            "--story" => options.stories.push(value()?),
            "--into" => options.into = PathBuf::from(value()?),
            version if !version.starts_with('-') && options.version.is_empty() => {
                version.clone_into(&mut options.version)
            }
            _ => return Err(Usage(format!("record does not know `{arg}`\n\n{HELP}")).into()),
        }
    }
    if options.version.is_empty() {
        return Err(Usage(format!("record which version?\n\n{HELP}")).into());
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_required_and_story_names_are_collected() {
        let strings = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
        let options = parse(&strings(&["0.1.2", "--story", "undo", "--story", "rows"])).unwrap();
        assert_eq!((options.version.as_str(), options.stories), ("0.1.2", strings(&["undo", "rows"])));
        assert!(parse(&strings(&["--story", "undo"])).err().unwrap().is::<Usage>());
        assert!(parse(&strings(&["0.1.2", "0.1.3"])).err().unwrap().is::<Usage>());
    }
}
