//! `cargo xtask pictures`: the pictures of the README, from real runs of the program on bundled recordings.

use std::path::{Path, PathBuf};
use std::process::Command;

use anstyle::RgbColor;
use anstyle_svg::{Term, WIN10_CONSOLE};
use anyhow::{Context, Result, ensure};

use crate::workspace::{Usage, cargo, copy_folder, root, run_command};

pub(crate) const HELP: &str = "\
usage: cargo xtask pictures [<folder>]

Makes the pictures in docs/images: `terminal.svg` shows what the program prints, and `viewer.png` and `viewer-dark.png` show a page
of the viewer in a headless Chromium. Both show the recordings in samples/ and nothing else.

With a folder, it puts pictures of all pages of the viewer there instead, in both themes and two widths, to be looked at. The
variable SELVEDGE_SAMPLE names the recording that they show, such as story-0.171.0-compactions.";

/// The recordings in the home whose threads are shown.
const RECORDINGS: [&str; 3] = ["story-0.171.0-tools", "story-0.171.0-kinds", "story-0.171.0-shell"];

/// What is typed in the picture, and how many lines of the answer it has.
const COMMANDS: [(&[&str], usize); 3] =
    [(&["list", "--limit", "4"], 10), (&["search", "wrens"], 10), (&["show", "01a222c1-25d5", "--last", "1"], 40)];

/// The colours of text and background.
const TEXT: RgbColor = RgbColor(0xe6, 0xed, 0xf3);
const BACKGROUND: RgbColor = RgbColor(0x0d, 0x11, 0x17);

pub(crate) fn run(args: &[String]) -> Result<()> {
    match args {
        [] => {
            let folder = root().join("docs/images");
            std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
            terminal(&folder.join("terminal.svg"))?;
            viewer("pictures_of_the_readme", "SELVEDGE_README_PICTURES", &folder)
        }
        [folder] => viewer("pictures", "SELVEDGE_SCREENSHOTS", &std::path::absolute(folder)?),
        _ => Err(Usage(HELP.to_owned()).into()),
    }
}

fn terminal(picture: &Path) -> Result<()> {
    run_command(&mut cargo(&["build", "-p", "selvedge-cli"]))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let program = target.join("debug").join(format!("selvedge{}", std::env::consts::EXE_SUFFIX));
    let home = tempfile::tempdir()?;
    for recording in RECORDINGS {
        copy_folder(&root().join("samples").join(recording).join("home"), home.path())?;
    }
    let mut shown = String::new();
    for (args, lines) in COMMANDS {
        let mut command = Command::new(&program);
        command.args(args).args(["--color", "always"]).env("SELVEDGE_HOME", home.path());
        let output = command.output().with_context(|| format!("cannot run {}", program.display()))?;
        ensure!(output.status.success(), "{args:?} fails: {}", String::from_utf8_lossy(&output.stderr));
        shown.push_str(&format!("\u{1b}[32m$\u{1b}[0m selvedge {}\n", args.join(" ")));
        let answer = String::from_utf8(output.stdout)?;
        for line in answer.lines().take(lines) {
            // A path of this machine says nothing to readers.
            shown.push_str(&line.replace(&home.path().display().to_string(), "~/.codex"));
            shown.push('\n');
        }
        shown.push('\n');
    }
    // On a dark background the bright half of the colours is easier to read.
    let mut palette = WIN10_CONSOLE;
    palette.0.copy_within(8.., 0);
    let term = Term::new().palette(palette).fg_color(TEXT.into()).bg_color(BACKGROUND.into());
    // The picture is small, so what is dim must be lighter than on a screen.
    let svg = term.render_svg(shown.trim_end()).replace(".dimmed { opacity: 0.4; }", ".dimmed { opacity: 0.65; }");
    std::fs::write(picture, svg).with_context(|| format!("cannot write {}", picture.display()))
}

/// Runs a test of the viewer that makes pictures: it has the browser.
fn viewer(test: &str, variable: &str, folder: &Path) -> Result<()> {
    let name = format!("browser_tests::{test}");
    let args = ["test", "-p", "selvedge-viewer", "--test", "it", "--", "--ignored", "--exact", &name, "--nocapture"];
    run_command(cargo(&args).env(variable, folder))
}
