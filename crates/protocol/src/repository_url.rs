//! URLs of git repositories without the credentials that people put into them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// The user that needs no secret: hosts of repositories accept every key of a user under this name.
const SHARED_USER: &str = "git";

/// The URL of a git repository, without credentials.
///
/// People clone with URLs such as `https://user:token@host/a/b`, and programs record them. A value of this type never
/// contains user, password or query, so that no list, page, index or message can show them. The user `git` remains. A
/// line of a log keeps its bytes, the credentials included.
///
/// ```
/// use selvedge_protocol::RepositoryUrl;
///
/// for (url, shown) in [
///     ("https://user:token@host/a/b.git", "https://host/a/b.git"),
///     ("https://host/a/b?access_token=secret", "https://host/a/b"),
///     ("ssh://git@host:22/a/b", "ssh://git@host:22/a/b"),
///     ("git@host:a/b.git", "git@host:a/b.git"),
///     ("/srv/git/a@b.git", "/srv/git/a@b.git"),
/// ] {
///     assert_eq!(RepositoryUrl::new(url).as_str(), shown);
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct RepositoryUrl(String);

impl RepositoryUrl {
    /// Creates the URL of a text, without the credentials in it.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self(without_credentials(url))
    }

    /// Returns the text of the URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for RepositoryUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|url| Self::new(&url))
    }
}

impl fmt::Display for RepositoryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for RepositoryUrl {
    fn from(url: &str) -> Self {
        Self::new(url)
    }
}

impl From<String> for RepositoryUrl {
    fn from(url: String) -> Self {
        Self::new(&url)
    }
}

impl PartialEq<str> for RepositoryUrl {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for RepositoryUrl {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

/// Returns a URL without user (except `git`), password, query and fragment.
///
/// In doubt a part counts as a credential: a URL that lost too much still names its repository to a person, and a token
/// that was shown cannot be taken back.
fn without_credentials(url: &str) -> String {
    let Some(scheme_end) = url.find("://").map(|at| at + "://".len()) else {
        return without_scheme(url);
    };
    let (scheme, rest) = url.split_at(scheme_end);
    let (user, rest) = split_user(rest);
    let host_end = rest.find('/').unwrap_or(rest.len());
    // A path of this machine, `file:///a?b`, has no query.
    let rest = if host_end == 0 { rest } else { without_query(rest) };
    // A mirror has the URL of the original in its path: `https://mirror/https://user:token@host/a/b`.
    let (host, path) = rest.split_at(host_end.min(rest.len()));
    let path = if path.contains("://") { without_credentials(path) } else { path.to_owned() };
    format!("{scheme}{user}{host}{path}")
}

/// Removes the user before the host of a URL, of which the scheme is removed. Returns the user that remains, with its
/// `@`, and the rest.
fn split_user(rest: &str) -> (&str, &str) {
    let authority = &rest[..rest.find('/').unwrap_or(rest.len())];
    // A password can contain `@`, so the last one separates the host.
    let at = authority.rfind('@').or_else(|| {
        // A password can also contain a slash: `user:pass/word@host/a`. What looks like a port is none then.
        let (_, port) = authority.rsplit_once(':')?;
        let is_port = authority.starts_with('[') || port.bytes().all(|digit| digit.is_ascii_digit());
        if is_port { None } else { rest.rfind('@') }
    });
    match at {
        Some(at) if &rest[..at] == SHARED_USER => rest.split_at(at + 1),
        Some(at) => ("", &rest[at + 1..]),
        None => ("", rest),
    }
}

/// Removes the credentials from a text without `://`: `user@host:path`, `user:password@host/path`, or a path.
fn without_scheme(url: &str) -> String {
    let first = &url[..url.find(['/', '\\']).unwrap_or(url.len())];
    if first.is_empty() || first.starts_with(['.', '~']) {
        return url.to_owned();
    }
    let (at, colon) = (first.find('@'), first.find(':'));
    let user_end = match (at, colon) {
        // `user:password@host:path` or `user:password@host/path`
        (Some(at), Some(colon)) if colon < at => first.rfind('@'),
        // `user@host:path`; the path can contain `@`, too.
        (Some(_), Some(colon)) => first[..colon].rfind('@'),
        // `@scope/name` has no user: it is the name of a package.
        (Some(_), None) => first.rfind('@').filter(|at| *at > 0),
        // `user:pass/word@host:path`. In `host:path` the path can contain `@`, but no colon follows it.
        (None, Some(_)) => url.rfind('@').filter(|at| url[*at..].contains(':')),
        (None, None) => None,
    };
    let kept = match user_end {
        Some(at) if &url[..at] != SHARED_USER => &url[at + 1..],
        _ => url,
    };
    let has_query = match (user_end, colon) {
        // A drive letter begins a path: `C:\a?b`.
        (_, Some(1)) => false,
        // A name or a path can contain these characters, `owner/C#`, but hardly a parameter with a value.
        (None, None) => url[without_query(url).len()..].contains('='),
        _ => true,
    };
    if has_query { without_query(kept).to_owned() } else { kept.to_owned() }
}

/// Removes query and fragment.
fn without_query(url: &str) -> &str {
    &url[..url.find(['?', '#']).unwrap_or(url.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_form_of_a_url_keeps_a_secret() {
        for (url, shown) in [
            ("https://user:secret@host.org/a/b.git", "https://host.org/a/b.git"),
            ("https://secret@host.org:8443/a/b", "https://host.org:8443/a/b"),
            ("https://user:se@cr@et@host.org/a/b", "https://host.org/a/b"),
            ("https://user:sec/ret@host.org/a/b", "https://host.org/a/b"),
            ("https://user:sec?r#et@host.org/a", "https://host.org/a"),
            ("https://x-access-token:secret@[::1]:8443/a", "https://[::1]:8443/a"),
            ("http://host/a/b?access_token=secret", "http://host/a/b"),
            ("http://host/a/b#secret", "http://host/a/b"),
            ("http://host?private_token=secret", "http://host"),
            ("ssh://git:secret@host:22/a/b", "ssh://host:22/a/b"),
            ("git+ssh://git@host/a/b", "git+ssh://git@host/a/b"),
            ("git::https://user:secret@host/a", "git::https://host/a"),
            ("https://mirror.org/https://user:secret@host/a?token=secret", "https://mirror.org/https://host/a"),
            ("https://user:secret@mirror.org/https://secret@host/a", "https://mirror.org/https://host/a"),
            ("user:secret@host:a/b", "host:a/b"),
            ("user:sec/ret@host:a/b", "host:a/b"),
            ("user:secret@host/a/b", "host/a/b"),
            ("secret@host/a/b?token=secret", "host/a/b"),
            ("host/a/b?token=secret", "host/a/b"),
            ("host/a/b#token=secret", "host/a/b"),
            ("secret@host:a/b", "host:a/b"),
            ("git@host:a/b?token=secret", "git@host:a/b"),
        ] {
            assert_eq!(without_credentials(url), shown, "{url}");
            assert_eq!(without_credentials(shown), shown, "{url}");
        }
    }

    #[test]
    fn what_is_no_secret_remains() {
        for url in [
            "git@host.org:a/b.git",
            "git@[::1]:a/b@c",
            "host.org:a/b@c",
            "ssh://git@[::1]/a/b",
            "ssh://[::1]:22/a",
            "https://host.org/@scope/a",
            "https://host.org:8443/@scope/a",
            "file:///srv/a?b#c@d",
            "/srv/git/a@b?c#d.git",
            "../a@b",
            "~/a@b#c",
            "C:\\work\\a@b#c",
            "C:/work/a#c",
            "éa/ü.git",
            "@scope/name",
            "@scope",
            "owner/C#",
            "C#",
            "F#/what?",
            "",
        ] {
            assert_eq!(without_credentials(url), url);
        }
    }
}
