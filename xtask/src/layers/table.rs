//! The table of layers in the architecture page, written from `layers.toml` so that the two cannot disagree.

use anyhow::{Context, Result};

use super::rules::{CrateLayer, Layers};
use crate::workspace::short_name;

const BEGIN: &str = "<!-- layers:begin -->";
const END: &str = "<!-- layers:end -->";

pub(super) fn render(layers: &Layers) -> String {
    let mut text = String::from("| layer | crate | in short | is | must not know |\n| --- | --- | --- | --- | --- |\n");
    let mut entries: Vec<&CrateLayer> = layers.crates.iter().collect();
    entries.sort_by_key(|entry| entry.layer);
    for entry in entries {
        let name = short_name(&entry.name);
        let mark = if entry.planned { " (planned)" } else { "" };
        let CrateLayer { layer, word, is, must_not_know, .. } = entry;
        text.push_str(&format!("| {layer} | `{name}`{mark} | {word} | {is} | {must_not_know} |\n"));
    }
    text
}

/// Returns the page with `table` between the two markers.
pub(super) fn replace(page: &str, table: &str) -> Result<String> {
    let (before, rest) = page.split_once(BEGIN).with_context(|| format!("the page has no {BEGIN}"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("the page has no {END}"))?;
    Ok(format!("{before}{BEGIN}\n\n{table}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_table_is_not_stale() {
        let page = format!("# Page\n\n{BEGIN}\nold\n{END}\n\nrest\n");
        let layers = Layers {
            crates: vec![CrateLayer {
                name: "selvedge-state".into(),
                layer: 3,
                planned: true,
                word: "index".into(),
                ..CrateLayer::default()
            }],
        };
        let fresh = replace(&page, &render(&layers)).unwrap();
        assert!(fresh.contains("| 3 | `state` (planned) | index |"));
        assert!(fresh.ends_with("\n\nrest\n"));
        assert_eq!(replace(&fresh, &render(&layers)).unwrap(), fresh);
    }

    #[test]
    fn a_page_without_markers_is_an_error() {
        assert!(replace("# Page\n", "table").is_err());
    }
}
