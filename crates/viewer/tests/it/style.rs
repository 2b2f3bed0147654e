//! The colours of the style sheet: text is readable in both themes.

use std::collections::HashMap;

use crate::support::TestViewer;

/// The least contrast of text, by WCAG 2.2 level AA.
const CONTRAST: f64 = 4.5;

/// The least contrast of the edges of controls and of charts.
const SHAPE_CONTRAST: f64 = 3.0;

#[tokio::test]
async fn every_text_has_enough_contrast_in_both_themes() {
    let viewer = TestViewer::empty().await;
    let style = viewer.get("/assets/viewer.css").await.text();
    let (light, rest) = style.split_once("@media (prefers-color-scheme: dark)").unwrap();
    let dark = rest.split_once("}\n}").unwrap().0;
    for (theme, text) in [("light", light), ("dark", dark)] {
        let colours = variables(text);
        let contrast = |one: &str, other: &str| contrast(colours[one], colours[other]);
        let backgrounds = [
            ("page", vec!["text", "dim", "link", "bad", "good", "keyword", "string", "comment", "number", "name"]),
            ("panel", vec!["text", "dim", "link", "keyword", "string", "comment", "number", "name"]),
            ("user", vec!["text", "dim", "link", "keyword", "string", "comment", "number", "name"]),
            ("added", vec!["text"]),
            ("removed", vec!["text"]),
            ("mark", vec!["text", "dim", "link"]),
        ];
        for (background, texts) in backgrounds {
            for text in texts {
                let ratio = contrast(background, text);
                assert!(ratio >= CONTRAST, "{theme}: {text} on {background} has {ratio:.2}");
            }
        }
        for background in ["page", "panel"] {
            let ratio = contrast(background, "edge");
            assert!(ratio >= SHAPE_CONTRAST, "{theme}: edge on {background} has {ratio:.2}");
        }
    }
}

#[tokio::test]
async fn nothing_moves_for_readers_who_do_not_want_it() {
    let style = TestViewer::empty().await.get("/assets/viewer.css").await.text();
    let (before, rest) = style.split_once("@media (prefers-reduced-motion: no-preference) {").unwrap();
    let after = rest.split_once("} }").unwrap().1;
    for text in [before, after] {
        for moving in ["animation", "transition", "scroll-behavior"] {
            assert!(!text.contains(moving), "{moving} regardless of what the reader prefers");
        }
    }
    assert!(!style.contains("url(") && !style.contains("@import"), "the style loads nothing");
}

fn variables(text: &str) -> HashMap<String, [u8; 3]> {
    let mut colours = HashMap::new();
    for declaration in text.split([';', '{', '}']) {
        if let Some((name, value)) = declaration.trim().strip_prefix("--").and_then(|rest| rest.split_once(": #")) {
            let channel = |at: usize| u8::from_str_radix(&value[at..at + 2], 16).unwrap();
            colours.insert(name.to_owned(), [channel(0), channel(2), channel(4)]);
        }
    }
    assert!(colours.len() > 10, "{colours:?}");
    colours
}

/// Returns the contrast of two colours: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio
fn contrast(one: [u8; 3], other: [u8; 3]) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

fn luminance(colour: [u8; 3]) -> f64 {
    let [red, green, blue] = colour.map(|channel| {
        let channel = f64::from(channel) / 255.0;
        if channel <= 0.04045 { channel / 12.92 } else { ((channel + 0.055) / 1.055).powf(2.4) }
    });
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}
