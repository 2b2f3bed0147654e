//! The rules, on plain data: `layers.toml`, the manifests, and the differences between the two.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;

/// `layers.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Layers {
    #[serde(rename = "crate")]
    pub(super) crates: Vec<CrateLayer>,
}

/// The entry of one crate.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CrateLayer {
    pub(super) name: String,
    pub(super) layer: u32,
    pub(super) word: String,
    #[serde(default)]
    pub(super) is: String,
    #[serde(default)]
    pub(super) must_not_know: String,
    /// The part of `must_not_know` that a manifest can break: packages it may not have as normal or build dependencies.
    #[serde(default)]
    pub(super) must_not_use: Vec<String>,
    /// The crate is planned and does not exist yet.
    #[serde(default)]
    pub(super) planned: bool,
    /// The crate is for tests only and must not be shipped.
    #[serde(default)]
    pub(super) dev_only: bool,
}

/// A crate with the dependencies in its manifest.
pub(super) struct Member {
    pub(super) name: String,
    pub(super) arrows: Vec<Arrow>,
}

/// One dependency.
pub(super) struct Arrow {
    pub(super) to: String,
    pub(super) kind: DependencyKind,
}

/// The table of the manifest that a dependency is in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum DependencyKind {
    Normal,
    Build,
    Dev,
}

impl fmt::Display for DependencyKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            DependencyKind::Normal => "dependencies",
            DependencyKind::Build => "build-dependencies",
            DependencyKind::Dev => "dev-dependencies",
        })
    }
}

impl Layers {
    pub(super) fn find(&self, name: &str) -> Option<&CrateLayer> {
        self.crates.iter().find(|entry| entry.name == name)
    }

    /// Returns the crates, the highest layer first, and within one layer in the order of the file.
    pub(super) fn top_down(&self) -> Vec<&CrateLayer> {
        let mut entries: Vec<&CrateLayer> = self.crates.iter().collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.layer));
        entries
    }
}

/// Returns every violation as text; empty if there is none.
pub(super) fn check(layers: &Layers, members: &[Member]) -> Vec<String> {
    let mut faults = places(layers, members);
    for member in members {
        let Some(from) = layers.find(&member.name) else {
            continue;
        };
        faults.extend(member.arrows.iter().filter_map(|arrow| arrow_fault(layers, from, arrow)));
        faults.extend(member.arrows.iter().filter_map(|arrow| knowledge_fault(from, arrow)));
    }
    faults
}

/// Checks that both lists contain the same crates, each once.
fn places(layers: &Layers, members: &[Member]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for entry in &layers.crates {
        let name = &entry.name;
        let exists = members.iter().any(|member| member.name == *name);
        if !seen.insert(name) {
            faults.push(format!("layers.toml names {name} twice"));
        }
        if entry.planned && exists {
            faults.push(format!("{name} exists: take `planned` out of layers.toml"));
        }
        if !entry.planned && !exists {
            faults.push(format!("layers.toml names {name}, which is not a crate of the workspace"));
        }
    }
    let unlisted = members.iter().filter(|member| layers.find(&member.name).is_none());
    faults.extend(unlisted.map(|member| format!("layers.toml does not list {}", member.name)));
    faults
}

/// Checks that dependencies point down. A dev-dependency may also point to a dev-only crate of the same layer, or to the crate itself, which
/// chooses the features of its tests; only tests may use dev-only crates.
fn arrow_fault(layers: &Layers, from: &CrateLayer, arrow: &Arrow) -> Option<String> {
    let to = layers.find(&arrow.to)?;
    let line = format!("{} (layer {}) -> {} (layer {}) in {}", from.name, from.layer, to.name, to.layer, arrow.kind);
    if to.layer > from.layer {
        return Some(format!("{line} points up"));
    }
    if to.dev_only && arrow.kind != DependencyKind::Dev {
        return Some(format!("{line}: {} is for dev-dependencies only", to.name));
    }
    if to.layer == from.layer && !(arrow.kind == DependencyKind::Dev && (to.dev_only || to.name == from.name)) {
        return Some(format!("{line} points sideways"));
    }
    None
}

/// Checks forbidden packages. Tests and examples may use packages that the crate itself must not.
fn knowledge_fault(from: &CrateLayer, arrow: &Arrow) -> Option<String> {
    let forbidden = arrow.kind != DependencyKind::Dev && from.must_not_use.contains(&arrow.to);
    forbidden.then(|| format!("{} must not use {} (it is listed in {})", from.name, arrow.to, arrow.kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three layers, with a dev-only crate in the middle one.
    fn layers() -> Layers {
        let entry = |name: &str, layer| CrateLayer { name: name.into(), layer, ..CrateLayer::default() };
        Layers {
            crates: vec![
                entry("words", 0),
                entry("bytes", 1),
                entry("index", 1),
                CrateLayer { must_not_use: vec!["words".into(), "sql".into()], ..entry("roof", 2) },
                CrateLayer { dev_only: true, ..entry("kit", 2) },
                CrateLayer { planned: true, ..entry("later", 2) },
            ],
        }
    }

    /// Returns the violations if one crate has one dependency.
    fn faults(from: &str, to: &str, kind: DependencyKind) -> Vec<String> {
        let layers = layers();
        let names = layers.crates.iter().filter(|entry| !entry.planned).map(|entry| entry.name.clone());
        let mut members: Vec<Member> = names.map(|name| Member { name, arrows: Vec::new() }).collect();
        if let Some(member) = members.iter_mut().find(|member| member.name == from) {
            member.arrows.push(Arrow { to: to.into(), kind });
        }
        check(&layers, &members)
    }

    #[test]
    fn dependencies_on_lower_layers_are_accepted() {
        assert_eq!(faults("bytes", "words", DependencyKind::Normal), [""; 0]);
        assert_eq!(faults("roof", "bytes", DependencyKind::Build), [""; 0]);
        assert_eq!(faults("roof", "index", DependencyKind::Dev), [""; 0]);
        assert_eq!(faults("bytes", "serde", DependencyKind::Normal), [""; 0]);
    }

    #[test]
    fn a_dependency_on_a_higher_layer_is_found_in_every_table() {
        for kind in [DependencyKind::Normal, DependencyKind::Build, DependencyKind::Dev] {
            let faults = faults("words", "bytes", kind);
            assert_eq!(faults, [format!("words (layer 0) -> bytes (layer 1) in {kind} points up")]);
        }
    }

    #[test]
    fn the_tests_of_a_crate_may_use_it_with_other_features() {
        assert_eq!(faults("bytes", "bytes", DependencyKind::Dev), Vec::<String>::new());
    }

    #[test]
    fn a_dependency_on_the_same_layer_is_found_in_every_table() {
        for kind in [DependencyKind::Normal, DependencyKind::Build, DependencyKind::Dev] {
            let faults = faults("bytes", "index", kind);
            assert_eq!(faults, [format!("bytes (layer 1) -> index (layer 1) in {kind} points sideways")]);
        }
    }

    #[test]
    fn a_dev_only_crate_stays_in_tests() {
        assert_eq!(faults("roof", "kit", DependencyKind::Dev), [""; 0]);
        for kind in [DependencyKind::Normal, DependencyKind::Build] {
            let faults = faults("roof", "kit", kind);
            assert_eq!(
                faults,
                [format!("roof (layer 2) -> kit (layer 2) in {kind}: kit is for dev-dependencies only")]
            );
        }
    }

    #[test]
    fn forbidden_packages_are_found_outside_tests() {
        assert_eq!(faults("roof", "sql", DependencyKind::Dev), [""; 0]);
        assert_eq!(
            faults("roof", "sql", DependencyKind::Normal),
            ["roof must not use sql (it is listed in dependencies)"]
        );
        assert_eq!(
            faults("roof", "words", DependencyKind::Normal),
            ["roof must not use words (it is listed in dependencies)"]
        );
    }

    #[test]
    fn every_crate_is_listed_once() {
        let mut layers = layers();
        layers.crates.push(CrateLayer { name: "words".into(), ..CrateLayer::default() });
        let members: Vec<Member> = ["words", "bytes", "roof", "kit", "later", "shed"]
            .map(|name| Member { name: name.into(), arrows: Vec::new() })
            .into();
        assert_eq!(
            check(&layers, &members),
            [
                "layers.toml names index, which is not a crate of the workspace",
                "later exists: take `planned` out of layers.toml",
                "layers.toml names words twice",
                "layers.toml does not list shed",
            ]
        );
    }
}
