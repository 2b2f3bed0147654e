//! `cargo xtask tidy`: checks house rules that the compiler does not know.

mod circles;
mod excerpts;
mod files;
mod links;
mod menu;
mod modules;
mod names;
mod source;

use anyhow::{Context, Result, bail};

use self::files::read_all;
use self::modules::Crate;
use crate::workspace::{no_arguments, root};

pub(crate) const HELP: &str = "\
usage: cargo xtask tidy [--circles]

Checks these rules. With --circles it prints every import of every circle and checks nothing else.

- every .rs file begins with a `//!` line that says what the file is for
- no todo!, unimplemented! or dbg! in crates/ and examples/
- no two files have a type of the same name, private ones included: one name, one thing
- no circle of imports between the files of a crate, except a pair that says why it belongs together
- every file of a crate's tests/it is declared in its main.rs, so that no test is forgotten
- rollout and thread-store-local change files through the `FileSystem` of the home only
- one file of the program names a concrete store, and no file uses the crates below a store
- the targets of links between markdown files exist
- code in markdown files that names its source file is equal to it
- the justfile has a recipe for every verb of `cargo xtask`, and no other";

/// Checks every rule; `verbs` are the names of the verbs of `cargo xtask`.
pub(crate) fn run(args: &[String], verbs: &[&str]) -> Result<()> {
    let shows_circles = args == ["--circles"];
    if !shows_circles {
        no_arguments("tidy", args)?;
    }
    let root = root();
    let files = read_all(&root)?;
    let crates = Crate::all(&files).map_err(anyhow::Error::msg)?;
    if shows_circles {
        for line in circles::edges(&crates) {
            println!("{line}");
        }
        return Ok(());
    }
    let mut faults = Vec::new();
    faults.extend(source::first_lines(&files));
    faults.extend(source::unfinished(&files));
    faults.extend(names::double_names(&crates));
    faults.extend(circles::circles(&crates));
    faults.extend(source::forgotten_tests(&files));
    faults.extend(source::effects(&files));
    faults.extend(source::wiring(&files));
    faults.extend(excerpts::stale(&files));
    faults.extend(links::dead(&files, |path| root.join(path).exists()));
    let justfile = std::fs::read_to_string(root.join("justfile")).context("cannot read the justfile")?;
    faults.extend(menu::gaps(&justfile, verbs));
    if !faults.is_empty() {
        bail!("not tidy:\n  {}", faults.join("\n  "));
    }
    println!("tidy: {} files", files.len());
    Ok(())
}
