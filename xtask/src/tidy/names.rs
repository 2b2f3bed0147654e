//! Checks that a type name means one thing in the whole workspace.

use std::collections::{BTreeMap, BTreeSet};

use super::modules::Crate;

/// Names that several files may define.
///
/// `Result` is the usual name for the result alias of a crate.
const SHARED: [&str; 1] = ["Result"];

/// Returns the types and traits that several files define, private ones included.
pub(super) fn double_names(crates: &[Crate]) -> Vec<String> {
    let mut files: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (name, file) in crates.iter().flat_map(Crate::types) {
        files.entry(name).or_default().insert(file);
    }
    let doubles = files.into_iter().filter(|(name, files)| files.len() > 1 && !SHARED.contains(name));
    doubles
        .map(|(name, files)| format!("type {name} in {}", files.into_iter().collect::<Vec<_>>().join(" and ")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::files::SourceFile;

    #[test]
    fn a_name_means_one_thing() {
        let file = |path: &str, text: &str| SourceFile { path: path.into(), text: text.into() };
        let files = [
            file("crates/a/src/lib.rs", "mod one;\npub struct Drawer<T>(T);\nstruct Private;\ntype Result = ();\n"),
            file("crates/a/src/one.rs", "pub(crate) trait Private {}\n#[cfg(test)]\nmod tests { struct Drawer; }\n"),
            file(
                "crates/b/src/lib.rs",
                "#[cfg(unix)]\nenum Only {}\n#[cfg(windows)]\nenum Only {}\ntype Result = ();\n",
            ),
            file("crates/b/tests/it/main.rs", "struct Drawer;\n"),
            file("xtask/src/main.rs", "union Drawer { a: u8 }\n"),
        ];
        assert_eq!(
            double_names(&Crate::all(&files).unwrap()),
            [
                "type Drawer in crates/a/src/lib.rs and xtask/src/main.rs",
                "type Private in crates/a/src/lib.rs and crates/a/src/one.rs"
            ]
        );
    }
}
