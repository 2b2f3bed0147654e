//! `cargo xtask spent`: what Selvedge counts as spent tokens, beside what ccusage counts, in every recording and case.
//!
//! It is not part of the tests, because it needs npm and node. The table of the result is in docs/tokens.md, which explains each
//! difference.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::codex::target_directory;
use crate::workspace::{Usage, cargo, copy_folder, root, run_command};

pub(crate) const HELP: &str = "\
usage: cargo xtask spent [--write-docs]

Counts the tokens of the homes in samples/ and crates/cli/tests/cases/ with `selvedge stats` and with ccusage, prints both, and
compares the table with docs/tokens.md. With --write-docs it writes the table instead. Needs npm and node.";

/// The program to compare with. The last version that counts by itself: later ones only say that they have moved.
const CCUSAGE: &str = "@ccusage/codex@18.0.8";

/// The directories that contain homes.
const FOLDERS: [&str; 2] = ["samples", "crates/cli/tests/cases"];

const PAGE: &str = "docs/tokens.md";
const BEGIN: &str = "<!-- spent:begin -->\n";
const END: &str = "<!-- spent:end -->";

/// Runs the verb.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let write_docs = match args {
        [] => false,
        [flag] if flag == "--write-docs" => true,
        _ => return Err(Usage("spent takes nothing but --write-docs".into()).into()),
    };
    let target = target_directory()?;
    let ccusage = install(&target.join("ccusage"))?;
    run_command(&mut cargo(&["build", "-p", "selvedge-cli"]))?;
    let selvedge = target.join("debug/selvedge");
    let mut table = String::from("| home | Selvedge | ccusage | difference |\n| --- | ---: | ---: | ---: |\n");
    for home in homes()? {
        let copy = tempfile::tempdir()?;
        copy_folder(&home.join("home"), copy.path())?;
        let other =
            count(Command::new("node").arg(&ccusage).args(["daily", "--json", "--offline", "-z", "UTC"]), copy.path());
        let other = other?["totals"]["totalTokens"].as_f64().unwrap_or(0.0);
        let stats = count(Command::new(&selvedge).args(["stats", "--all", "--json", "--index", "off"]), copy.path())?;
        let own = stats["total"]["total_tokens"].as_u64().context("no total")?;
        // Homes without any count say nothing.
        if own > 0 || other > 0.0 {
            let name = home.file_name().unwrap_or_default().to_string_lossy();
            let (other, difference) = columns(own, other);
            table.push_str(&format!("| `{name}` | {own} | {other} | {difference} |\n"));
        }
    }
    print!("{table}");
    let page = std::fs::read_to_string(root().join(PAGE)).with_context(|| format!("cannot read {PAGE}"))?;
    let fresh = replace(&page, &table)?;
    if write_docs {
        std::fs::write(root().join(PAGE), fresh).with_context(|| format!("cannot write {PAGE}"))?;
    } else {
        ensure!(
            fresh == page,
            "the table in {PAGE} is stale: run `cargo xtask spent --write-docs`, and explain what changed"
        );
    }
    Ok(())
}

/// Installs ccusage, and returns its program.
fn install(prefix: &Path) -> Result<PathBuf> {
    let program = prefix.join("node_modules/@ccusage/codex/dist/index.js");
    if !program.exists() {
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"]).arg(prefix).arg(CCUSAGE);
        println!("installing {CCUSAGE}");
        ensure!(npm.status().context("cannot run npm")?.success(), "npm could not install {CCUSAGE}");
    }
    ensure!(program.exists(), "{CCUSAGE} has no program at {}", program.display());
    Ok(program)
}

/// Returns the folders that contain a home, sorted by name within each of [`FOLDERS`].
fn homes() -> Result<Vec<PathBuf>> {
    let mut homes = Vec::new();
    for folder in FOLDERS {
        let entries = std::fs::read_dir(root().join(folder)).with_context(|| format!("cannot read {folder}"))?;
        let mut found = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
        found.retain(|path| path.join("home").is_dir());
        found.sort();
        homes.extend(found);
    }
    Ok(homes)
}

/// Runs a program on a home and returns the JSON that it prints. `null` if it prints none.
fn count(command: &mut Command, home: &Path) -> Result<Value> {
    let output = command.env("CODEX_HOME", home).env("TZ", "UTC").output().context("cannot run a counter")?;
    if !output.status.success() {
        bail!("a counter failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
}

/// Returns the text of the other count, and that of the difference. Numbers of JavaScript are exact up to 2^53.
fn columns(own: u64, other: f64) -> (String, String) {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if other >= EXACT {
        return (format!("{other:.1e}"), "not exact".to_owned());
    }
    let difference = other as i128 - i128::from(own);
    (format!("{other}"), if difference == 0 { "0".to_owned() } else { format!("{difference:+}") })
}

/// Returns the page with another table.
fn replace(page: &str, table: &str) -> Result<String> {
    let markers = page.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let Some((before, after)) = markers else { bail!("{PAGE} has no markers for the table") };
    Ok(format!("{before}{BEGIN}\n{table}\n{END}{after}"))
}
