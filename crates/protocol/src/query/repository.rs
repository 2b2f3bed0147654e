//! Names of git repositories, independent of the spelling of their URLs.

use crate::RepositoryUrl;

/// Returns the normalized name of a repository: `host/owner/name`. `None` if the text names no repository.
///
/// All URLs of a repository have the same name. Scheme, user, password, query, port, a trailing `.git` and superfluous slashes
/// are removed, and the host is converted to lower case. The name of a path without a host, or with `file://`, is the
/// path.
///
/// ```
/// use selvedge_protocol::repository_name;
///
/// for url in ["git@host:a/b.git", "ssh://git@HOST:22/a/b", "https://host/a/b/"] {
///     assert_eq!(repository_name(url).as_deref(), Some("host/a/b"));
/// }
/// assert_eq!(repository_name("/srv/git/a.git").as_deref(), Some("/srv/git/a"));
/// ```
#[must_use]
pub fn repository_name(url: &str) -> Option<String> {
    //     git@Host.org:a/b.git        → host Host.org, path a/b.git
    //     https://u@host.org:8443/a/b → host host.org, path /a/b
    let url = RepositoryUrl::new(url.trim());
    let (host, path) = split(url.as_str());
    let name = plain_path(path);
    let name = match host {
        Some(host) if !host.is_empty() => {
            let host = host.to_lowercase();
            if name.is_empty() { host } else { format!("{host}/{name}") }
        }
        // A path has no host. An absolute path keeps the slash that `plain_path` removed.
        _ if path.starts_with('/') => format!("/{name}"),
        _ => name,
    };
    // A name of nothing but that slash names no repository.
    (name.len() > usize::from(name.starts_with('/'))).then_some(name)
}

/// A repository that a user asks for.
///
/// A URL or an absolute path matches exactly that repository. A bare `owner/name` or `name` matches every repository
/// whose name ends with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryFilter {
    whole: String,
    end: Option<String>,
}

impl RepositoryFilter {
    /// Creates the filter for what a user typed.
    #[must_use]
    pub fn new(text: &str) -> Self {
        // A text without a host that does not begin with a slash is bare: `name`, `owner/name` or `host/owner/name`.
        let text = RepositoryUrl::new(text.trim());
        let text = text.as_str();
        let (host, path) = split(text);
        let is_bare = host.is_none() && !path.starts_with('/');
        let end = Some(plain_path(path)).filter(|end| is_bare && !end.is_empty());
        // A bare text can also be a whole name, `host/owner/name`. Then the case of the host does not matter.
        let whole = match &end {
            Some(end) => match end.split_once('/') {
                Some((host, path)) => format!("{}/{path}", host.to_lowercase()),
                None => end.clone(),
            },
            None => repository_name(text).unwrap_or_default(),
        };
        Self { whole, end }
    }

    /// Returns the wanted name as a whole, in the form of [`repository_name`]. Empty if the text names no repository.
    #[must_use]
    pub fn whole(&self) -> &str {
        &self.whole
    }

    /// Returns the end of a name that suffices: either the whole name, or the part behind one of its slashes. `None` if
    /// only the whole name matches.
    #[must_use]
    pub fn end(&self) -> Option<&str> {
        self.end.as_deref()
    }

    /// Returns whether the repository with this URL matches.
    #[must_use]
    pub fn matches(&self, url: &str) -> bool {
        let Some(name) = repository_name(url) else { return false };
        // The end must be whole segments: `ame` does not match `owner/name`.
        let ends = |end: &str| name.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'));
        name == self.whole || self.end().is_some_and(ends)
    }
}

/// Splits a URL into host and path. The host is `None` for a path alone, and empty for `file:///path`.
///
/// | form | host | path |
/// | --- | --- | --- |
/// | `scheme://user@host:22/a/b` | `host` | `/a/b` |
/// | `user@host:a/b` (as ssh and git accept it) | `host` | `a/b` |
/// | `user@[::1]:a/b` | `[::1]` | `a/b` |
/// | `/srv/a`, `../a`, `C:\a`, `C:/a` | none | all of it |
fn split(url: &str) -> (Option<&str>, &str) {
    if let Some((scheme, rest)) = url.split_once("://")
        && is_scheme(scheme)
    {
        let at = rest.find('/').unwrap_or(rest.len());
        return (Some(host(&rest[..at])), &rest[at..]);
    }
    // In `user@host:path` a colon comes before the first slash. The colons of an IPv6 address in brackets do not count,
    // so the search begins behind the bracket, unless that bracket is part of a path.
    let from = url.find(']').filter(|end| !url[..*end].contains('/')).unwrap_or(0);
    match url[from..].find([':', '/']).map(|at| from + at) {
        Some(at) if url[at..].starts_with(':') && !is_drive(&url[..at], &url[at + 1..]) => {
            (Some(host(&url[..at])), &url[at + 1..])
        }
        _ => (None, url),
    }
}

/// Returns whether a text is a URL scheme: a letter, then letters, digits, `+`, `-` and `.`.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter))
}

/// Returns whether `before:after` is a Windows path such as `C:\a` and not `host:path`.
fn is_drive(before: &str, after: &str) -> bool {
    before.len() == 1
        && before.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && after.starts_with(['/', '\\'])
}

/// Returns the host of `user:password@host:port`.
fn host(authority: &str) -> &str {
    // A password can contain `@`, so the last one separates the host.
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host.find(']') {
        // An IPv6 address keeps its brackets; a port can follow them.
        Some(end) if host.starts_with('[') => &host[..=end],
        _ => host.split(':').next().unwrap_or(host),
    }
}

/// Returns the segments of a path with one slash between them, without a trailing `.git`.
fn plain_path(path: &str) -> String {
    // The slashes at the end go first, because `.git` can be before them: `a/b.git/`.
    let path = path.trim_end_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    path.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_urls_of_a_repository_have_one_name() {
        for url in [
            "git@host.org:a/b.git",
            "host.org:a/b",
            "git@HOST.org:/a/b/",
            "https://host.org/a/b",
            "https://user:pass@Host.Org:8443/a/b.git/",
            "ssh://git@host.org/a/b",
            "ssh://git@host.org:22/a//b.git",
            "git+ssh://host.org/a/b",
            " https://host.org/a/b\n",
            "https://user:pa/ss@host.org/a/b?access_token=t",
            "user:pass@host.org:a/b.git",
        ] {
            assert_eq!(repository_name(url).as_deref(), Some("host.org/a/b"), "{url:?}");
        }
        for (url, name) in [
            ("https://host/A/b", Some("host/A/b")),
            ("https://host", Some("host")),
            ("ssh://[::1]:22/a/b", Some("[::1]/a/b")),
            ("git@[::1]:a/b", Some("[::1]/a/b")),
            ("/srv/git/a.git", Some("/srv/git/a")),
            ("/srv/a/.git", Some("/srv/a")),
            ("file:///srv/git/a.git/", Some("/srv/git/a")),
            ("../a.git", Some("../a")),
            ("C:\\work\\a", Some("C:\\work\\a")),
            ("C:/code/a.git", Some("C:/code/a")),
            ("éa/ü.git", Some("éa/ü")),
            ("", None),
            (" / ", None),
            (".git", None),
            ("file://", None),
        ] {
            assert_eq!(repository_name(url).as_deref(), name, "{url:?}");
        }
    }

    #[test]
    fn a_url_matches_a_whole_name_and_a_bare_name_matches_its_end() {
        let url = "git@Host.org:Group.x/sub/name.git";
        for (wanted, found) in [
            ("https://host.org/Group.x/sub/name", true),
            ("host.org:Group.x/sub/name", true),
            ("https://user:token@host.org/Group.x/sub/name?token=t", true),
            ("user:token@host.org/Group.x/sub/name", true),
            ("HOST.org/Group.x/sub/name", true),
            ("name", true),
            ("name.git", true),
            ("sub/name", true),
            ("Group.x/sub/name", true),
            ("group.x/sub/name", false),
            ("ame", false),
            ("NAME", false),
            ("sub", false),
            ("https://sub/name", false),
            ("/sub/name", false),
            ("", false),
            ("/", false),
        ] {
            assert_eq!(RepositoryFilter::new(wanted).matches(url), found, "{wanted:?}");
        }
        assert!(RepositoryFilter::new("a").matches("/srv/git/a.git"));
        assert!(RepositoryFilter::new("@scope/name").matches("https://host.org/@scope/name"));
        assert!(RepositoryFilter::new("owner/C#").matches("/srv/git/owner/C#"));
        assert!(RepositoryFilter::new("file:///srv/git/a").matches("/srv/git/a.git"));
        assert!(!RepositoryFilter::new("").matches(""));
    }
}
