//! `cargo xtask fuzz`: lets libFuzzer search for inputs that break an invariant.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::workspace::{Usage, has_tool, root, run_command};

pub(crate) const HELP: &str = "\
usage: cargo xtask fuzz TARGET [seconds]

Runs a target of fuzz/ with cargo-fuzz for some seconds (60 by default), beginning with recordings. Inputs that fail are written
to fuzz/artifacts. Copy them to fuzz/found, where the tests use them, and fix the fault. It needs no nightly toolchain:
it sets RUSTC_BOOTSTRAP, and uses no sanitizer because the workspace has no unsafe code.

Targets: line, readers, world_state, replay, repair, texts, zst.";

const TARGETS: [&str; 7] = ["line", "readers", "world_state", "replay", "repair", "texts", "zst"];

pub(crate) fn run(args: &[String]) -> Result<()> {
    let (target, seconds) = match args {
        [target] => (target, 60),
        [target, seconds] => {
            (target, seconds.parse::<u32>().map_err(|_| Usage(format!("{seconds:?} is not a number of seconds")))?)
        }
        _ => return Err(Usage("fuzz takes a target and a number of seconds".into()).into()),
    };
    if !TARGETS.contains(&target.as_str()) {
        return Err(Usage(format!("there is no target {target:?}; there are {}", TARGETS.join(", "))).into());
    }
    if !has_tool("fuzz") {
        bail!("cargo-fuzz is not installed; install it with `cargo install cargo-fuzz --locked`");
    }
    let root = root();
    let corpus = root.join("fuzz/corpus").join(target);
    seed(&root.join("samples"), &corpus)?;
    let mut command = crate::workspace::cargo(&["fuzz", "run", "--sanitizer", "none", target]);
    command.arg(&corpus).args(["--", "-timeout=10", "-rss_limit_mb=4096", "-max_len=16384"]);
    command.arg(format!("-max_total_time={seconds}"));
    run_command(command.env("RUSTC_BOOTSTRAP", "1"))
}

/// Fills a corpus with lines and with beginnings of recordings.
fn seed(samples: &Path, corpus: &Path) -> Result<()> {
    fs::create_dir_all(corpus).with_context(|| format!("cannot make {}", corpus.display()))?;
    let mut dirs = vec![samples.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                dirs.push(path);
            } else if name.starts_with("rollout-") {
                let bytes = fs::read(&path)?;
                fs::write(corpus.join(&name), &bytes[..bytes.len().min(8192)])?;
                let line = bytes.split(|byte| *byte == b'\n').nth(2).unwrap_or_default();
                fs::write(corpus.join(format!("{name}.line")), line)?;
            }
        }
    }
    Ok(())
}
