//! Finds circles of imports between the files of a crate.
//!
//! Two files that need each other can be understood only together, so a circle is in fact one large file. A pair
//! may stay if a comment says "belongs together with `other.rs`" and why.
//!
//! A file needs another file if it imports an item of it, names one by its path, or calls a method that an `impl` block there adds
//! to a type of a third file. A re-export alone needs nothing. Imports are followed through re-exports to the file that
//! defines the item. Code for tests does not count.

use std::collections::{BTreeMap, BTreeSet};

use super::modules::{Crate, ModulePath};

/// The files that a file needs, each with a name that it uses there.
type Needs = BTreeMap<ModulePath, BTreeMap<ModulePath, String>>;

/// Returns the circles in the crates.
pub(super) fn circles(crates: &[Crate]) -> Vec<String> {
    crates.iter().flat_map(circles_of).collect()
}

/// Returns every import between the files of every circle, a line for each.
pub(super) fn edges(crates: &[Crate]) -> Vec<String> {
    let mut edges = Vec::new();
    for krate in crates {
        let needs = krate.needs();
        for circle in strong_components(&needs) {
            edges.push(format!("{}: a circle through {} files", krate.root, circle.len()));
            for (from, to) in circle.iter().flat_map(|from| needs[from].iter().map(move |to| (from, to))) {
                if circle.contains(to.0) {
                    edges.push(format!("    {} needs {} of {}", krate.file(from), to.1, krate.file(to.0)));
                }
            }
        }
    }
    edges
}

fn circles_of(krate: &Crate) -> Vec<String> {
    let needs = krate.needs();
    let mut faults = Vec::new();
    for circle in strong_components(&needs) {
        if circle.len() == 2 && krate.belong_together(&circle[0], &circle[1]) {
            continue;
        }
        let shown = shortest_circle(&needs, &circle);
        let steps = shown.iter().zip(shown.iter().cycle().skip(1));
        let steps =
            steps.map(|(from, to)| format!("{} needs {} of {}", krate.file(from), needs[from][to], krate.file(to)));
        faults.push(format!(
            "{}: a circle of imports through {} files: {}",
            krate.root,
            circle.len(),
            steps.collect::<Vec<_>>().join(", ")
        ));
    }
    faults
}

/// Returns the strongly connected components with more than one file.
fn strong_components(needs: &Needs) -> Vec<Vec<ModulePath>> {
    let reached: BTreeMap<&ModulePath, BTreeSet<&ModulePath>> =
        needs.keys().map(|from| (from, reach(needs, from))).collect();
    let mut components = Vec::new();
    let mut done: BTreeSet<&ModulePath> = BTreeSet::new();
    for (from, to) in &reached {
        if done.contains(from) || !to.contains(from) {
            continue;
        }
        let component: Vec<&ModulePath> =
            to.iter().copied().filter(|other| reached.get(other).is_some_and(|back| back.contains(from))).collect();
        done.extend(&component);
        components.push(component.into_iter().cloned().collect());
    }
    components
}

/// Returns the files that can be reached from a file by one or more steps.
fn reach<'n>(needs: &'n Needs, from: &ModulePath) -> BTreeSet<&'n ModulePath> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&ModulePath> = needs[from].keys().collect();
    while let Some(next) = open.pop() {
        if reached.insert(next) {
            open.extend(needs.get(next).into_iter().flat_map(BTreeMap::keys));
        }
    }
    reached
}

/// Returns one of the shortest circles in a component.
fn shortest_circle(needs: &Needs, component: &[ModulePath]) -> Vec<ModulePath> {
    let circles = component.iter().filter_map(|start| {
        // Breadth-first search; `from` has the file from which each file was reached.
        let mut from: BTreeMap<&ModulePath, &ModulePath> = BTreeMap::new();
        let mut level = vec![start];
        while !level.is_empty() {
            let mut next = Vec::new();
            for file in level {
                for needed in needs[file].keys().filter(|needed| component.contains(needed)) {
                    if needed == start {
                        let mut circle = vec![file.clone()];
                        let mut at = file;
                        while at != start {
                            at = from[at];
                            circle.push(at.clone());
                        }
                        circle.reverse();
                        return Some(circle);
                    }
                    if !from.contains_key(needed) {
                        from.insert(needed, file);
                        next.push(needed);
                    }
                }
            }
            level = next;
        }
        None
    });
    circles.min_by_key(Vec::len).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::files::SourceFile;

    fn check(sources: &[(&str, &str)]) -> Vec<String> {
        let file =
            |(path, text): &(&str, &str)| SourceFile { path: format!("crates/a/src/{path}"), text: (*text).into() };
        circles(&Crate::all(&sources.iter().map(file).collect::<Vec<_>>()).unwrap())
    }

    #[test]
    fn a_circle_of_imports_is_found() {
        let one = ("one.rs", "use crate::two::Two;\npub struct One(Two);\n");
        let two = ("two.rs", "pub struct Two;\nimpl Two {\n    fn one() -> super::one::One {}\n}\n");
        let lib = ("lib.rs", "mod one;\nmod two;\npub use one::One;\n");
        let fault = "crates/a/src/: a circle of imports through 2 files: one.rs needs Two of two.rs, two.rs needs One of one.rs";
        assert_eq!(check(&[lib, one, two]), [fault]);

        let apart = ("two.rs", "pub struct Two;\n#[cfg(test)]\nmod tests {\n    use crate::one::One;\n}\n");
        assert_eq!(check(&[lib, one, apart]), Vec::<String>::new());

        let pair = ("two.rs", "//! Belongs together with `one.rs`: a pair.\n\npub struct Two(crate::One);\n");
        assert_eq!(check(&[lib, one, pair]), Vec::<String>::new());
    }

    #[test]
    fn reexports_are_followed() {
        let lib = ("lib.rs", "mod one;\nmod two;\npub use one::One;\npub(crate) use two::*;\n");
        let one = ("one.rs", "use crate::{Two as Other};\npub struct One(Other);\n");
        let two = ("two.rs", "pub struct Two;\nfn two() { assert!(crate::One::new()); }\n");
        assert_eq!(check(&[lib, one, two]).len(), 1);
        let apart = ("two.rs", "pub struct Two;\n");
        assert_eq!(check(&[lib, one, apart]), Vec::<String>::new());
    }

    #[test]
    fn a_parent_and_its_child_can_make_a_circle() {
        let lib = ("lib.rs", "mod one;\n");
        let one = ("one.rs", "mod part;\npub struct One(part::Part);\n");
        let part = ("one/part.rs", "use super::One;\npub struct Part;\n");
        assert_eq!(check(&[lib, one, part]).len(), 1);
        let facade = ("one.rs", "mod part;\npub use part::Part;\npub struct One;\n");
        assert_eq!(check(&[lib, facade, part]), Vec::<String>::new());
    }

    #[test]
    fn methods_that_another_file_adds_count() {
        let lib = ("lib.rs", "mod one;\nmod two;\npub struct Index;\n");
        let one = ("one.rs", "use crate::Index;\nimpl Index {\n    fn refresh(&self) { self.update_all(); }\n}\n");
        let two = ("two.rs", "use crate::Index;\nimpl Index {\n    fn update_all(&self) { self.refresh(); }\n}\n");
        assert_eq!(check(&[lib, one, two]).len(), 1);
        let apart = ("two.rs", "use crate::Index;\nimpl Index {\n    fn update_all(&self) {}\n}\n");
        assert_eq!(check(&[lib, one, apart]), Vec::<String>::new());
    }

    #[test]
    fn a_long_circle_is_one_fault() {
        let lib = ("lib.rs", "mod a; mod b; mod c; mod d;\n");
        let a = ("a.rs", "use crate::b::B;\npub struct A;\n");
        let b = ("b.rs", "use crate::c::C;\npub struct B;\n");
        let c = ("c.rs", "use crate::a::A;\nuse crate::d::D;\npub struct C;\n");
        let d = ("d.rs", "pub struct D;\n");
        let faults = check(&[lib, a, b, c, d]);
        assert_eq!(faults.len(), 1);
        assert!(faults[0].contains("through 3 files"), "{faults:?}");
    }
}
