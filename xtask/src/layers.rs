//! `cargo xtask layers`: compares the dependencies of the crates with `layers.toml`.

mod rules;
mod table;

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use rules::{Arrow, DependencyKind, Layers, Member};

use crate::workspace::{Metadata, Package, Usage, cargo, root, short_name};

pub(crate) const HELP: &str = "\
usage: cargo xtask layers [--write-docs]

Compares cargo metadata with layers.toml and prints the crates by layer. Fails on a dependency that points up or sideways,
on a crate that layers.toml does not name, on a dev-only crate in normal or build dependencies, on a dependency that the
crate must not know, on SQLite in the facade without its feature `index`, and on a stale table in docs/architecture.md. --write-docs writes that table.";

const RULES: &str = "layers.toml";
const PAGE: &str = "docs/architecture.md";

pub(crate) fn run(args: &[String]) -> Result<()> {
    let write_docs = match args {
        [] => false,
        [flag] if flag == "--write-docs" => true,
        _ => return Err(Usage("layers takes nothing but --write-docs".into()).into()),
    };
    let layers = load()?;
    let members: Vec<Member> = Metadata::of_workspace()?.members().map(member).collect();
    print!("{}", tree(&layers, &members));
    let mut faults = rules::check(&layers, &members);
    faults.extend(linked_without_index()?);
    if write_docs {
        write_page(&layers)?;
    } else {
        faults.extend(stale_page(&layers)?);
    }
    if !faults.is_empty() {
        bail!("the dependencies break the rules of layers.toml:\n  {}", faults.join("\n  "));
    }
    Ok(())
}

/// Returns what of SQLite the facade links without its feature `index`: it must be nothing, because a program can link one SQLite
/// only, and another crate of it may need its own.
fn linked_without_index() -> Result<Vec<String>> {
    let flags = ["tree", "-p", "selvedge", "--no-default-features", "--features", "local", "--edges", "normal,build"];
    let output = cargo(&flags).args(["--prefix", "none"]).output().context("cannot run cargo tree")?;
    if !output.status.success() {
        bail!("cargo tree failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let printed = String::from_utf8_lossy(&output.stdout);
    let is_sqlite =
        |line: &&str| line.contains("sqlite") || line.starts_with("sqlx") || line.starts_with("selvedge-state ");
    let linked: BTreeSet<&str> = printed.lines().filter(is_sqlite).collect();
    Ok(linked.iter().map(|package| format!("without the feature `index`, selvedge links {package}")).collect())
}

fn load() -> Result<Layers> {
    let text = std::fs::read_to_string(root().join(RULES)).with_context(|| format!("cannot read {RULES}"))?;
    toml::from_str(&text).with_context(|| format!("{RULES} is wrong"))
}

fn member(package: &Package) -> Member {
    let arrows = package.dependencies.iter().map(|dependency| Arrow {
        to: dependency.name.clone(),
        kind: match dependency.kind.as_deref() {
            Some("dev") => DependencyKind::Dev,
            Some("build") => DependencyKind::Build,
            _ => DependencyKind::Normal,
        },
    });
    Member { name: package.name.clone(), arrows: arrows.collect() }
}

/// Prints the crates from the highest layer down, each with its dependencies.
fn tree(layers: &Layers, members: &[Member]) -> String {
    let mut text = String::new();
    for entry in layers.top_down() {
        let found = members.iter().find(|member| member.name == entry.name);
        let arrows = match found {
            Some(member) => arrows(layers, member),
            None => "(planned)".to_owned(),
        };
        let line = format!("{}  {:<22} {:<14} {arrows}", entry.layer, short_name(&entry.name), entry.word);
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn arrows(layers: &Layers, member: &Member) -> String {
    let inner = |dev: bool| -> BTreeSet<&str> {
        let arrows = member.arrows.iter().filter(|arrow| (arrow.kind == DependencyKind::Dev) == dev);
        arrows.filter(|arrow| layers.find(&arrow.to).is_some()).map(|arrow| short_name(&arrow.to)).collect()
    };
    let mut text = String::new();
    let normal = inner(false);
    if !normal.is_empty() {
        text.push_str(&format!("-> {}", join(normal.iter().copied())));
    }
    let dev = inner(true);
    let dev: Vec<&str> = dev.difference(&normal).copied().collect();
    if !dev.is_empty() {
        text.push_str(&format!("  (tests: {})", join(dev.into_iter())));
    }
    text
}

fn join<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

fn write_page(layers: &Layers) -> Result<()> {
    let page = read_page()?;
    let fresh = table::replace(&page, &table::render(layers))?;
    if fresh != page {
        std::fs::write(root().join(PAGE), fresh).with_context(|| format!("cannot write {PAGE}"))?;
        println!("wrote the table in {PAGE}");
    }
    Ok(())
}

fn stale_page(layers: &Layers) -> Result<Option<String>> {
    let page = read_page()?;
    let stale = table::replace(&page, &table::render(layers))? != page;
    Ok(stale.then(|| format!("the table in {PAGE} is stale: run `cargo xtask layers --write-docs`")))
}

fn read_page() -> Result<String> {
    std::fs::read_to_string(root().join(PAGE)).with_context(|| format!("cannot read {PAGE}"))
}
