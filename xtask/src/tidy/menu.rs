//! Checks that the justfile is a menu of the verbs: each recipe calls the verb of the same name.

/// Returns the differences between the recipes of the justfile and the verbs.
pub(super) fn gaps(justfile: &str, verbs: &[&str]) -> Vec<String> {
    let recipes = recipes(justfile);
    let is_called = |verb: &str| recipes.iter().any(|recipe| recipe.name == verb && recipe.verb == Some(verb));
    let missing = verbs.iter().filter(|verb| !is_called(verb));
    let mut faults: Vec<String> =
        missing.map(|verb| format!("justfile: no recipe {verb} that calls `cargo xtask {verb}`")).collect();
    // The recipe `default` calls no verb: it lists the other recipes.
    let others = recipes.iter().filter(|recipe| recipe.name != "default" && !verbs.contains(&recipe.name));
    faults.extend(others.map(|recipe| format!("justfile: recipe {} is not a verb of `cargo xtask`", recipe.name)));
    faults
}

/// A recipe, and the verb of `cargo xtask` that it calls.
struct Recipe<'a> {
    name: &'a str,
    verb: Option<&'a str>,
}

fn recipes(justfile: &str) -> Vec<Recipe<'_>> {
    let mut recipes: Vec<Recipe<'_>> = Vec::new();
    for line in justfile.lines() {
        if line.starts_with([' ', '\t']) {
            let verb = line.trim().strip_prefix("cargo xtask ").and_then(|rest| rest.split_whitespace().next());
            if let (Some(recipe), Some(verb)) = (recipes.last_mut(), verb) {
                recipe.verb.get_or_insert(verb);
            }
        } else if let Some(name) = recipe(line) {
            recipes.push(Recipe { name, verb: None });
        }
    }
    recipes
}

/// Returns the name of the recipe that begins in a line such as `test *args:`.
fn recipe(line: &str) -> Option<&str> {
    let (head, _) = line.split_once(':').filter(|(_, rest)| !rest.starts_with('='))?;
    let name = head.split_whitespace().next()?;
    name.starts_with(char::is_alphabetic).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JUSTFILE: &str = "# The menu: all of it.\n\nshell := \"bash\"\n\ndefault:\n    @just --list\n\n# tests\n[group('a: b')]\ntest *args:\n    cargo xtask test {{ args }}\n\nci:\n    cargo xtask ci\n";

    #[test]
    fn a_full_menu_has_no_gaps() {
        assert_eq!(gaps(JUSTFILE, &["test", "ci"]), Vec::<String>::new());
    }

    #[test]
    fn a_verb_without_a_recipe_is_reported() {
        let faults = gaps(JUSTFILE, &["test", "crowd", "ci"]);
        assert_eq!(faults, ["justfile: no recipe crowd that calls `cargo xtask crowd`"]);
    }

    #[test]
    fn a_recipe_without_a_verb_is_reported() {
        assert_eq!(gaps(JUSTFILE, &["ci"]), ["justfile: recipe test is not a verb of `cargo xtask`"]);
    }

    #[test]
    fn a_recipe_calls_the_verb_of_its_name() {
        let other = JUSTFILE.replace("cargo xtask ci", "cargo xtask test");
        assert_eq!(gaps(&other, &["test", "ci"]), ["justfile: no recipe ci that calls `cargo xtask ci`"]);
    }
}
