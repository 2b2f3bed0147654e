//! Rules about Rust files. They check lines and not syntax trees: this is fast, and wrong only for unusual code.

use super::files::SourceFile;

pub(super) fn first_lines(files: &[SourceFile]) -> Vec<String> {
    let bare = rust(files).filter(|file| !file.text.starts_with("//!"));
    bare.map(|file| format!("{}: the first line is no `//!` line", file.path)).collect()
}

pub(super) fn unfinished(files: &[SourceFile]) -> Vec<String> {
    let mut faults = Vec::new();
    for file in rust(files).filter(|file| krate(&file.path).is_some()) {
        for (number, line) in (1..).zip(file.text.lines()) {
            if let Some(word) = unfinished_word(line) {
                faults.push(format!("{}:{number}: {word}", file.path));
            }
        }
    }
    faults
}

fn unfinished_word(line: &str) -> Option<&'static str> {
    let code = line.split("//").next().unwrap_or_default();
    ["todo!", "unimplemented!", "dbg!"].into_iter().find(|word| has_word(code, word))
}

/// Returns whether the code contains a text that is not the end of a longer name.
fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word)
        .any(|(at, _)| !code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_'))
}

/// The crates whose file effects go through one interface, and the file with that interface.
const SEAM: ([&str; 2], &str) =
    (["crates/rollout/src/", "crates/thread-store-local/src/"], "crates/rollout/src/file_system.rs");

/// Calls that bypass the interface. Reading is not an effect.
const EFFECTS: [&str; 14] = [
    "fs::rename",
    "fs::write",
    "fs::copy",
    "fs::remove_",
    "fs::create_dir",
    "fs::hard_link",
    "fs::set_permissions",
    "symlink(",
    "OpenOptions",
    "DirBuilder",
    "SourceFile::create",
    "SourceFile::options",
    "sync_all",
    "sync_data",
];

pub(super) fn effects(files: &[SourceFile]) -> Vec<String> {
    let (crates, seam) = SEAM;
    let mut faults = Vec::new();
    for file in rust(files).filter(|file| file.path != seam && crates.iter().any(|krate| file.path.starts_with(krate)))
    {
        // Tests are at the end of a file and may do anything.
        let code = file.text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
        for (number, line) in (1..).zip(code) {
            let code = line.split("//").next().unwrap_or_default();
            if let Some(effect) = EFFECTS.iter().find(|effect| has_word(code, effect)) {
                faults.push(format!("{}:{number}: {effect} bypasses {seam}", file.path));
            }
        }
    }
    faults
}

/// The sources of the program, and the crates that it must not use.
const PROGRAM: &str = "crates/cli/src/";
const BEHIND_THE_STORE: [&str; 2] = ["selvedge_rollout", "selvedge_state"];

/// Checks that one file of the program names a concrete store and that no file uses the crates below a store.
pub(super) fn wiring(files: &[SourceFile]) -> Vec<String> {
    let (mut faults, mut naming) = (Vec::new(), Vec::new());
    for file in rust(files).filter(|file| file.path.starts_with(PROGRAM)) {
        let mut is_naming = false;
        for (number, line) in (1..).zip(file.text.lines()) {
            for word in words(line.split("//").next().unwrap_or_default()) {
                if BEHIND_THE_STORE.contains(&word) {
                    faults.push(format!(
                        "{}:{number}: {word} is below the store, and the program must not use it",
                        file.path
                    ));
                }
                is_naming |= names_a_store(word);
            }
        }
        naming.extend(is_naming.then_some(&*file.path));
    }
    if naming.len() != 1 {
        let named_in = if naming.is_empty() { "none".to_owned() } else { naming.join(", ") };
        faults.push(format!("one file of {PROGRAM} should name a concrete store: {named_in}"));
    }
    faults
}

/// Returns whether a word is the crate or the type of a concrete store.
fn names_a_store(word: &str) -> bool {
    let is_crate = word.starts_with("selvedge_thread_store_");
    is_crate || word.strip_suffix("ThreadStore").is_some_and(|kind| !kind.is_empty())
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
}

pub(super) fn forgotten_tests(files: &[SourceFile]) -> Vec<String> {
    let mut faults = Vec::new();
    for main in files.iter().filter(|file| file.path.ends_with("tests/it/main.rs")) {
        let folder = main.path.trim_end_matches("main.rs");
        let modules = files.iter().filter_map(|file| module(file.path.strip_prefix(folder)?));
        for name in modules.filter(|name| *name != "main" && !declares(&main.text, name)) {
            faults.push(format!("{folder}{name} is not declared in {}", main.path));
        }
    }
    faults
}

/// Returns the module of a file directly below `tests/it`.
fn module(inside: &str) -> Option<&str> {
    let name = inside.strip_suffix("/mod.rs").or_else(|| inside.strip_suffix(".rs"))?;
    (!name.contains('/')).then_some(name)
}

fn declares(main: &str, name: &str) -> bool {
    main.lines().any(|line| {
        let line = line.trim();
        line.strip_prefix("pub ").unwrap_or(line).strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';'))
            == Some(name)
    })
}

/// Splits a path into its crate and the rest.
fn krate(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix("crates/").or_else(|| path.strip_prefix("examples/"))?.split_once('/')
}

fn rust(files: &[SourceFile]) -> impl Iterator<Item = &SourceFile> {
    files.iter().filter(|file| file.path.ends_with(".rs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.into(), text: text.into() }
    }

    #[test]
    fn a_file_begins_with_its_purpose() {
        let files =
            [file("xtask/a.rs", "//! Why.\n"), file("xtask/b.rs", "use std::fs;\n"), file("README.md", "# Hello\n")];
        assert_eq!(first_lines(&files), ["xtask/b.rs: the first line is no `//!` line"]);
    }

    #[test]
    fn unfinished_code_is_found_outside_comments() {
        assert_eq!(unfinished_word("    todo!()"), Some("todo!"));
        assert_eq!(unfinished_word("    // todo!()"), None);
        assert_eq!(unfinished_word("    my_todo!()"), None);
    }

    #[test]
    fn file_effects_go_through_the_interface() {
        let text = "//! Why.\n// fs::rename\nstd::fs::rename(a, b);\nfs::read(a);\n#[cfg(test)]\nfs::write(a, b);\n";
        let paths = ["crates/rollout/src/a.rs", "crates/rollout/src/file_system.rs", "crates/rollout/tests/it/a.rs"];
        let files = paths.map(|path| file(path, text));
        assert_eq!(
            effects(&files),
            ["crates/rollout/src/a.rs:3: fs::rename bypasses crates/rollout/src/file_system.rs"]
        );
    }

    #[test]
    fn one_file_of_the_program_names_a_store() {
        let path = |name: &str| format!("crates/cli/src/{name}.rs");
        let one = file(&path("wiring"), "use selvedge_thread_store_local::LocalThreadStore;\n");
        let asks = "// LocalThreadStore\nuse selvedge_thread_store::ThreadStore;\nuse crate::wiring::HomeAdmin;\n";
        let others = [file(&path("app"), asks), file("crates/cli/tests/it/main.rs", "use selvedge_rollout::A;\n")];
        let files = |more: SourceFile| [[one.clone()].to_vec(), others.to_vec(), vec![more]].concat();
        assert_eq!(wiring(&files(file(&path("empty"), ""))), Vec::<String>::new());

        let should = "one file of crates/cli/src/ should name a concrete store: ";
        assert_eq!(wiring(&others), [format!("{should}none")]);
        for second in ["use selvedge_thread_store_local::IndexLocation;\n", "let store = InMemoryThreadStore::new();\n"]
        {
            let faults = wiring(&files(file(&path("commands/second"), second)));
            let listed = "crates/cli/src/wiring.rs, crates/cli/src/commands/second.rs";
            assert_eq!(faults, [format!("{should}{listed}")]);
        }
        for behind in ["selvedge_rollout", "selvedge_state"] {
            let faults = wiring(&files(file(&path("a"), &format!("//! A.\nuse {behind}::B;\n"))));
            assert_eq!(
                faults,
                [format!("crates/cli/src/a.rs:2: {behind} is below the store, and the program must not use it")]
            );
        }
    }

    #[test]
    fn every_test_file_is_declared() {
        let files = [
            file("crates/a/tests/it/main.rs", "//! Tests.\n\nmod one;\n"),
            file("crates/a/tests/it/one.rs", ""),
            file("crates/a/tests/it/two.rs", ""),
            file("crates/a/tests/it/three/mod.rs", ""),
            file("crates/a/tests/it/three/part.rs", ""),
        ];
        assert_eq!(
            forgotten_tests(&files),
            [
                "crates/a/tests/it/two is not declared in crates/a/tests/it/main.rs",
                "crates/a/tests/it/three is not declared in crates/a/tests/it/main.rs",
            ]
        );
    }
}
