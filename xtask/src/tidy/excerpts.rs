//! Checks that code in markdown files is equal to the source file that it names.

use super::files::SourceFile;

/// Checks Rust blocks that begin with a path in a comment, such as `// examples/redb-store/src/lib.rs`.
pub(super) fn stale(files: &[SourceFile]) -> Vec<String> {
    let mut faults = Vec::new();
    for page in files.iter().filter(|file| file.path.ends_with(".md")) {
        let lines: Vec<&str> = page.text.lines().collect();
        for (number, pair) in (2..).zip(lines.windows(2)) {
            let ["```rust", comment] = pair else { continue };
            let Some(path) = comment.strip_prefix("// ").filter(|path| path.ends_with(".rs")) else { continue };
            let excerpt: Vec<&str> = lines[number..].iter().take_while(|line| **line != "```").copied().collect();
            let source = files.iter().find(|file| file.path == path);
            if !source.is_some_and(|source| stands_in(&excerpt, &source.text)) {
                faults.push(format!("{}:{number}: this code is not in {path}", page.path));
            }
        }
    }
    faults
}

/// Returns whether the lines of an excerpt are consecutive lines of a text, where all of them may have more indentation.
fn stands_in(excerpt: &[&str], text: &str) -> bool {
    let lines: Vec<&str> = text.lines().collect();
    excerpt.iter().any(|line| !line.is_empty())
        && lines.windows(excerpt.len()).any(|window| {
            let indent = window[0].len() - window[0].trim_start().len();
            window.iter().zip(excerpt).all(|(line, wanted)| line.get(indent..).unwrap_or_default() == *wanted)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.into(), text: text.into() }
    }

    #[test]
    fn an_excerpt_is_part_of_its_file() {
        let source =
            file("examples/a/src/lib.rs", "impl A {\n    fn one() {\n        two();\n\n        three();\n    }\n}\n");
        let page = |path: &str, code: &str| file("docs/a.md", &format!("# A\n\n```rust\n// {path}\n{code}\n```\n"));
        let path = "examples/a/src/lib.rs";
        for code in ["fn one() {\n    two();\n\n    three();\n}", "two();", "impl A {"] {
            assert_eq!(stale(&[page(path, code), source.clone()]), [""; 0], "{code}");
        }
        for code in ["fn one() {\n    three();", "fn one() {\ntwo();", ""] {
            let fault = format!("docs/a.md:4: this code is not in {path}");
            assert_eq!(stale(&[page(path, code), source.clone()]), [fault], "{code}");
        }
        let gone = stale(&[page("examples/a/src/b.rs", "two();"), source.clone()]);
        assert_eq!(gone, ["docs/a.md:4: this code is not in examples/a/src/b.rs"]);
        assert_eq!(stale(&[file("docs/a.md", "```rust\nlet any = 1;\n```\n"), source]), [""; 0]);
    }
}
