//! Code by language, as classes of a style sheet.

use std::sync::LazyLock;

use maud::{Markup, PreEscaped, html};
use syntect::html::{ClassStyle, ClassedHTMLGenerator};
use syntect::parsing::{SyntaxReference, SyntaxSet};
use syntect::util::LinesWithEndings;

/// The longest code that is coloured, in bytes. Longer code is shown plainly, because colouring it takes seconds.
const MAX_BYTES: usize = 64 << 10;

/// The longest line that is coloured, in bytes: rules of languages can take time that grows with the square of a line.
const MAX_LINE_BYTES: usize = 2 << 10;

/// The classes of the style sheet begin with this.
const STYLE: ClassStyle = ClassStyle::SpacedPrefixed { prefix: "hl-" };

static SYNTAXES: LazyLock<SyntaxSet> = LazyLock::new(SyntaxSet::load_defaults_newlines);

/// Returns code as HTML, coloured if the language is known and the code is not too long. `language` is what follows the fence in
/// Markdown (`rust`, `py`), a file name or its extension.
#[must_use]
pub fn highlighted(code: &str, language: &str) -> Markup {
    let fits = code.len() <= MAX_BYTES && code.lines().all(|line| line.len() <= MAX_LINE_BYTES);
    let coloured = syntax(language).filter(|_| fits).and_then(|syntax| coloured(code, syntax));
    coloured.unwrap_or_else(|| html! { (code) })
}

fn syntax(language: &str) -> Option<&'static SyntaxReference> {
    // Markdown writers put more behind the language: `rust,ignore`, `python title="x"`.
    let token = language.split([',', ' ', '{']).next()?;
    let extension = token.rsplit(['.', '/', '\\']).next()?;
    if extension.is_empty() {
        return None;
    }
    let name = match extension.to_ascii_lowercase().as_str() {
        "shell" | "console" | "zsh" => "sh".to_owned(),
        "jsonl" | "jsonc" => "json".to_owned(),
        // The set has no TypeScript, and JavaScript colours most of it.
        "ts" | "tsx" | "typescript" | "jsx" | "mjs" => "js".to_owned(),
        other => other.to_owned(),
    };
    SYNTAXES.find_syntax_by_token(&name).filter(|syntax| syntax.name != "Plain Text")
}

/// Returns the code with classes. `None` if the rules of the language fail.
fn coloured(code: &str, syntax: &SyntaxReference) -> Option<Markup> {
    let mut generator = ClassedHTMLGenerator::new_with_class_style(syntax, &SYNTAXES, STYLE);
    for line in LinesWithEndings::from(code) {
        generator.parse_html_for_line_which_includes_newline(line).ok()?;
    }
    Some(PreEscaped(generator.finalize()))
}

#[cfg(test)]
mod tests {
    use super::highlighted;

    #[test]
    fn known_languages_are_coloured_and_everything_is_escaped() {
        let coloured = highlighted("fn main() { /* <b> */ }\n", "rust").into_string();
        assert!(coloured.contains("hl-keyword") || coloured.contains("hl-storage"), "{coloured}");
        assert!(coloured.contains("&lt;b&gt;") && !coloured.contains("<b>"), "{coloured}");
        for language in ["", "no-such-language", "rust"] {
            let long = format!("// {}\n", "<script>".repeat(1000));
            assert!(!highlighted(&long, language).into_string().contains('<'), "{language}");
        }
        assert!(highlighted("let x = 1;", "src/main.rs").into_string().contains("hl-"));
    }
}
