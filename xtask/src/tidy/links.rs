//! Checks links between markdown files: the file must exist, and the heading if the link names one.

use super::files::SourceFile;

pub(super) fn dead(files: &[SourceFile], exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut faults = Vec::new();
    for page in files.iter().filter(|file| file.path.ends_with(".md")) {
        for target in links(&page.text).into_iter().filter(|target| !is_remote(target)) {
            if let Some(fault) = fault(files, page, target, &exists) {
                faults.push(format!("{}: {fault}", page.path));
            }
        }
    }
    faults
}

fn fault(files: &[SourceFile], page: &SourceFile, target: &str, exists: &impl Fn(&str) -> bool) -> Option<String> {
    let (path, heading) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() { page.path.clone() } else { resolve(&page.path, path)? };
    if !exists(&path) {
        return Some(format!("the link to {target} leads nowhere"));
    }
    let there = files.iter().find(|file| file.path == path)?;
    let missing = !heading.is_empty() && !headings(&there.text).iter().any(|slug| slug == heading);
    missing.then(|| format!("{path} has no heading for the link to {target}"))
}

fn is_remote(target: &str) -> bool {
    target.contains("://") || target.starts_with("mailto:")
}

/// Returns the targets of `[text](target)` outside code.
fn links(markdown: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for line in prose(markdown) {
        // Every second part between backticks is code.
        for text in line.split('`').step_by(2) {
            found.extend(
                text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.trim()),
            );
        }
    }
    found
}

/// Returns the lines outside fenced code blocks.
fn prose(markdown: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    markdown.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// Returns the anchors that common renderers make from the headings of a page.
fn headings(markdown: &str) -> Vec<String> {
    prose(markdown).filter(|line| line.starts_with('#')).map(|line| slug(line.trim_start_matches('#').trim())).collect()
}

fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect::<String>().to_lowercase()
}

/// Returns the path of `target` relative to the root, if it is linked from `page`; `None` if it is outside the repository.
fn resolve(page: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(page: &str) -> Vec<String> {
        let files = [
            SourceFile { path: "docs/page.md".into(), text: page.into() },
            SourceFile { path: "docs/other.md".into(), text: "# One two\n\n## `selvedge` says: no\n".into() },
        ];
        let known = ["docs/page.md", "docs/other.md", "LICENSE"];
        dead(&files, |path| known.contains(&path))
    }

    #[test]
    fn links_to_existing_targets_are_accepted() {
        let page = "[a](other.md) [b](../LICENSE) [c](https://example.org/x) [d](other.md#one-two) [e](other.md#selvedge-says-no)";
        assert_eq!(faults(page), [""; 0]);
    }

    #[test]
    fn links_to_missing_targets_are_found() {
        assert_eq!(faults("see [it](gone.md)"), ["docs/page.md: the link to gone.md leads nowhere"]);
        assert_eq!(
            faults("see [it](other.md#three)"),
            ["docs/page.md: docs/other.md has no heading for the link to other.md#three"]
        );
    }

    #[test]
    fn links_in_code_are_ignored() {
        assert_eq!(faults("`[a](gone.md)`\n```\n[b](gone.md)\n```\n"), [""; 0]);
    }
}
