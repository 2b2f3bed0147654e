//! `cargo xtask lint`: runs clippy, and checks that `rust-version` is true for all dependencies.

use anyhow::{Result, bail};

use crate::workspace::{Metadata, Package, cargo, no_arguments, run_command};

pub(crate) const HELP: &str = "\
usage: cargo xtask lint

Runs clippy on every target with warnings denied, then checks that no dependency declares a rust-version above ours:
the number in our manifest is true only if all dependencies respect it.";

/// A Rust version as manifests write it, `1.89` or `1.89.0`.
type Version = (u64, u64, u64);

pub(crate) fn run(args: &[String]) -> Result<()> {
    no_arguments("lint", args)?;
    run_command(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    rust_version()
}

fn rust_version() -> Result<()> {
    let metadata = Metadata::of_everything()?;
    let Some(ours) = metadata.members().filter_map(declared).min() else {
        bail!("no crate of the workspace declares a rust-version");
    };
    let above = too_new(ours, metadata.packages.iter().filter(|package| !metadata.is_member(package)));
    if !above.is_empty() {
        bail!("our rust-version is {}, but these dependencies need a newer one:\n  {}", show(ours), above.join("\n  "));
    }
    println!("rust-version {} holds for {} packages", show(ours), metadata.packages.len());
    Ok(())
}

fn too_new<'a>(ours: Version, packages: impl Iterator<Item = &'a Package>) -> Vec<String> {
    let newer = packages.filter(|package| declared(package).is_some_and(|theirs| theirs > ours));
    newer
        .map(|package| {
            format!("{} {} wants {}", package.name, package.version, package.rust_version.as_deref().unwrap_or("?"))
        })
        .collect()
}

fn declared(package: &Package) -> Option<Version> {
    package.rust_version.as_deref().and_then(parse)
}

fn parse(text: &str) -> Option<Version> {
    let mut parts = text.split('.').map(|part| part.parse().ok());
    let major = parts.next()??;
    Some((major, parts.next().flatten().unwrap_or(0), parts.next().flatten().unwrap_or(0)))
}

fn show((major, minor, patch): Version) -> String {
    if patch == 0 { format!("{major}.{minor}") } else { format!("{major}.{minor}.{patch}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(parse("1.9") < parse("1.89"));
        assert_eq!(parse("1.89"), parse("1.89.0"));
        assert_eq!(parse("nonsense"), None);
        assert_eq!(show((1, 89, 0)), "1.89");
    }
}
