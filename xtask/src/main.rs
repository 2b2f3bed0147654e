//! Chores of the workspace: `cargo xtask <verb>`.
//!
//! A chore that must parse something is a verb here, not a shell script. Every verb has `--help`. Exit codes: 0 success, 1 a check
//! failed or a program that the verb called failed, 2 the command line was wrong.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people at a terminal")]

mod bench;
mod ci;
mod codex;
mod corrupt;
mod crash;
mod crowd;
mod deny;
mod docs;
mod fmt;
mod fuzz;
mod hostile;
mod interop;
mod layers;
mod lint;
mod pictures;
mod record;
mod spent;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use workspace::Usage;

/// A verb of the command line with its texts and its function.
struct XtaskVerb {
    name: &'static str,
    summary: &'static str,
    help: &'static str,
    run: fn(&[String]) -> Result<()>,
}

const VERBS: &[XtaskVerb] = &[
    XtaskVerb {
        name: "test",
        summary: "run the tests and doctests of the workspace or of some crates",
        help: test::HELP,
        run: test::run,
    },
    XtaskVerb {
        name: "fmt",
        summary: "format every crate, or only check the format with --check",
        help: fmt::HELP,
        run: fmt::run,
    },
    XtaskVerb {
        name: "lint",
        summary: "clippy with warnings denied, and a check of rust-version",
        help: lint::HELP,
        run: lint::run,
    },
    XtaskVerb {
        name: "layers",
        summary: "compare the dependencies of the crates with layers.toml",
        help: layers::HELP,
        run: layers::run,
    },
    XtaskVerb {
        name: "tidy",
        summary: "check house rules that no compiler knows",
        help: tidy::HELP,
        run: |args| tidy::run(args, &verb_names()),
    },
    XtaskVerb {
        name: "docs",
        summary: "build the API documentation with warnings denied",
        help: docs::HELP,
        run: docs::run,
    },
    XtaskVerb {
        name: "deny",
        summary: "check licences, bans, sources and advisories of the dependencies",
        help: deny::HELP,
        run: deny::run,
    },
    XtaskVerb {
        name: "corrupt",
        summary: "damage the recordings at random, many times, and read and repair them",
        help: corrupt::HELP,
        run: corrupt::run,
    },
    XtaskVerb {
        name: "hostile",
        summary: "use homes that are made to exhaust memory or time",
        help: hostile::HELP,
        run: hostile::run,
    },
    XtaskVerb {
        name: "fuzz",
        summary: "let libFuzzer search for inputs that break an invariant; needs cargo-fuzz",
        help: fuzz::HELP,
        run: fuzz::run,
    },
    XtaskVerb { name: "bench", summary: "run a benchmark by name, or all of them", help: bench::HELP, run: bench::run },
    XtaskVerb {
        name: "crash",
        summary: "kill writers at random and check whether anything was lost",
        help: crash::HELP,
        run: crash::run,
    },
    XtaskVerb {
        name: "crowd",
        summary: "let eight processes work on one home at the same time",
        help: crowd::HELP,
        run: crowd::run,
    },
    XtaskVerb {
        name: "interop",
        summary: "let the real Codex open what Selvedge wrote",
        help: interop::HELP,
        run: interop::run,
    },
    XtaskVerb {
        name: "record",
        summary: "let a released Codex play stories and record what it wrote",
        help: record::HELP,
        run: record::run,
    },
    XtaskVerb {
        name: "spent",
        summary: "compare the tokens that `stats` counts with those that ccusage counts",
        help: spent::HELP,
        run: spent::run,
    },
    XtaskVerb {
        name: "pictures",
        summary: "make the pictures of the README from real runs",
        help: pictures::HELP,
        run: pictures::run,
    },
    XtaskVerb {
        name: "ci",
        summary: "everything that .ci/run runs",
        help: ci::HELP,
        run: |args| ci::run(args, &verb_names()),
    },
];

/// Returns the names of all verbs; `tidy` compares them with the menu.
fn verb_names() -> Vec<&'static str> {
    VERBS.iter().map(|verb| verb.name).collect()
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}

fn dispatch(args: &[String]) -> Result<()> {
    let Some((name, rest)) = args.split_first() else {
        return Err(Usage(format!("which verb?\n\n{}", menu())).into());
    };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        return help(rest);
    }
    let verb = find(name)?;
    if wants_help(rest) {
        println!("{}\n\n{}", verb.summary, verb.help);
        return Ok(());
    }
    (verb.run)(rest)
}

fn help(args: &[String]) -> Result<()> {
    match args.first() {
        Some(name) if !name.starts_with('-') => {
            let verb = find(name)?;
            println!("{}\n\n{}", verb.summary, verb.help);
        }
        _ => println!("{}", menu()),
    }
    Ok(())
}

fn find(name: &str) -> Result<&'static XtaskVerb> {
    let found = VERBS.iter().find(|verb| verb.name == name);
    found.ok_or_else(|| Usage(format!("there is no verb `{name}`\n\n{}", menu())).into())
}

/// Arguments after `--` belong to the program that the verb calls, so `--help` there is not for the verb.
fn wants_help(args: &[String]) -> bool {
    args.iter().take_while(|arg| *arg != "--").any(|arg| arg == "--help" || arg == "-h")
}

fn menu() -> String {
    let mut text = String::from("usage: cargo xtask <verb> [arguments]\n");
    for verb in VERBS {
        text.push_str(&format!("\n  {:<8} {}", verb.name, verb.summary));
    }
    text.push_str("\n  help     this list, or `help <verb>`");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(args: &[&str]) -> Vec<String> {
        args.iter().map(|arg| (*arg).to_owned()).collect()
    }

    #[test]
    fn an_unknown_verb_is_a_usage_error_that_lists_the_verbs() {
        let error = dispatch(&strings(&["tset"])).unwrap_err();
        assert!(error.is::<Usage>());
        let text = error.to_string();
        for verb in VERBS {
            assert!(text.contains(verb.name), "{} is missing in:\n{text}", verb.name);
        }
    }

    #[test]
    fn every_verb_has_a_help_text() {
        for verb in VERBS {
            assert!(verb.help.starts_with(&format!("usage: cargo xtask {}", verb.name)));
            dispatch(&strings(&[verb.name, "--help"])).unwrap();
        }
    }

    #[test]
    fn help_after_the_separator_is_for_the_called_program() {
        assert!(wants_help(&strings(&["-p", "rollout", "-h"])));
        assert!(!wants_help(&strings(&["--", "--help"])));
    }
}
