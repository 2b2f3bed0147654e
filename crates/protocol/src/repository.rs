//! Git repositories by any of their URLs.

/// A repository under one name, whichever way its URL is spelt: `host/owner/name`.
///
/// Scheme, user, password, port, a `.git` at the end and surplus slashes are left out, and the host is in lower case;
/// `git@host:a/b.git`, `ssh://git@HOST:22/a/b` and `https://host/a/b/` are all `host/a/b`. A path without a host, or with
/// `file://`, is itself. Nothing for a text that names no repository.
#[must_use]
pub fn repository_name(url: &str) -> Option<String> {
    let (host, path) = split(url.trim());
    let name = plain_path(path);
    let name = match host {
        Some(host) if !host.is_empty() => {
            let host = host.to_lowercase();
            if name.is_empty() { host } else { format!("{host}/{name}") }
        }
        _ if path.starts_with('/') => format!("/{name}"),
        _ => name,
    };
    (name.len() > usize::from(name.starts_with('/'))).then_some(name)
}

/// Which repository is wanted: a URL means that one, and a bare `owner/name` or `name` every one whose name ends so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryFilter {
    whole: String,
    end: Option<String>,
}

impl RepositoryFilter {
    /// The filter that `text` means.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let text = text.trim();
        let (host, path) = split(text);
        let is_bare = host.is_none() && !path.starts_with('/');
        let end = Some(plain_path(path)).filter(|end| is_bare && !end.is_empty());
        // `host/owner/name` may be meant, and then the case of the host does not count.
        let whole = match &end {
            Some(end) => match end.split_once('/') {
                Some((host, path)) => format!("{}/{path}", host.to_lowercase()),
                None => end.clone(),
            },
            None => repository_name(text).unwrap_or_default(),
        };
        Self { whole, end }
    }

    /// The name that is wanted as a whole, as [`repository_name`] gives it. Empty when nothing can be meant.
    #[must_use]
    pub fn whole(&self) -> &str {
        &self.whole
    }

    /// The end of a name that is enough: the whole of it, or what stands behind one of its slashes.
    #[must_use]
    pub fn end(&self) -> Option<&str> {
        self.end.as_deref()
    }

    /// Whether the repository with this URL is wanted.
    #[must_use]
    pub fn matches(&self, url: &str) -> bool {
        let Some(name) = repository_name(url) else { return false };
        let ends = |end: &str| name.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'));
        name == self.whole || self.end().is_some_and(ends)
    }
}

/// Host and path. No host for a path alone, an empty one for `file:///path`.
fn split(url: &str) -> (Option<&str>, &str) {
    if let Some((scheme, rest)) = url.split_once("://")
        && is_scheme(scheme)
    {
        let at = rest.find('/').unwrap_or(rest.len());
        return (Some(host(&rest[..at])), &rest[at..]);
    }
    // `user@host:path`, as ssh and git take it: a colon before the first slash. An address in brackets has colons too.
    let from = url.find(']').filter(|end| !url[..*end].contains('/')).unwrap_or(0);
    match url[from..].find([':', '/']).map(|at| from + at) {
        Some(at) if url[at..].starts_with(':') && !is_drive(&url[..at], &url[at + 1..]) => {
            (Some(host(&url[..at])), &url[at + 1..])
        }
        _ => (None, url),
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter))
}

/// Whether `C:` begins a path of Windows.
fn is_drive(before: &str, after: &str) -> bool {
    before.len() == 1
        && before.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && after.starts_with(['/', '\\'])
}

/// The host of `user:password@host:port`.
fn host(authority: &str) -> &str {
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host.find(']') {
        Some(end) if host.starts_with('[') => &host[..=end],
        _ => host.split(':').next().unwrap_or(host),
    }
}

/// The path's parts with one slash between them, without `.git` at the end.
fn plain_path(path: &str) -> String {
    let path = path.trim_end_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    path.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_for_all_urls_of_a_repository() {
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
    fn a_url_is_the_whole_and_a_bare_name_the_end() {
        let url = "git@Host.org:Group.x/sub/name.git";
        for (wanted, found) in [
            ("https://host.org/Group.x/sub/name", true),
            ("host.org:Group.x/sub/name", true),
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
        assert!(RepositoryFilter::new("file:///srv/git/a").matches("/srv/git/a.git"));
        assert!(!RepositoryFilter::new("").matches(""));
    }
}
