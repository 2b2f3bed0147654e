//! URLs of servers: `postgres://user:password@host:port/database?host=/socket/folder`.

use std::path::{Path, PathBuf};

/// Returns the URL of a database behind the socket in this folder.
pub(crate) fn of_socket(folder: &Path, database: &str) -> String {
    // Clients take the host of the query before the one of the authority.
    format!("postgres://postgres@localhost:5432/{database}?host={}", encode(&folder.to_string_lossy()))
}

/// Returns the URL with another database.
pub(crate) fn with_database(url: &str, database: &str) -> String {
    let (before, query) =
        url.split_once('?').map_or((url, String::new()), |(before, query)| (before, format!("?{query}")));
    format!("{}/{database}{query}", authority(before).0)
}

/// Returns the URL with another host and port, and without the host of the query.
pub(crate) fn with_address(url: &str, address: &str) -> String {
    let (before, query) = url.split_once('?').unwrap_or((url, ""));
    let (authority, path) = authority(before);
    let user = authority.rsplit_once('@').map_or("postgres://", |(user, _)| user);
    let at = if user.ends_with("//") { "" } else { "@" };
    let kept: Vec<_> = query.split('&').filter(|part| !part.is_empty() && !part.starts_with("host=")).collect();
    let query = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
    format!("{user}{at}{address}{path}{query}")
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServerAddress {
    /// At this socket.
    Unix(PathBuf),
    /// At this host and port.
    Tcp(String),
}

/// Returns where the server of a URL listens.
pub(crate) fn address(url: &str) -> ServerAddress {
    let (before, query) = url.split_once('?').unwrap_or((url, ""));
    let host_and_port = authority(before).0;
    let host_and_port = host_and_port.rsplit(['@', '/']).next().unwrap_or_default();
    let has_port = host_and_port.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let host_and_port = if has_port { host_and_port.to_owned() } else { format!("{host_and_port}:5432") };
    let port = host_and_port.rsplit_once(':').map_or("5432", |(_, port)| port);
    let folder = query.split('&').find_map(|part| part.strip_prefix("host=")).map(decode);
    match folder.filter(|host| host.starts_with('/')) {
        Some(folder) => ServerAddress::Unix(Path::new(&folder).join(format!(".s.PGSQL.{port}"))),
        None => ServerAddress::Tcp(host_and_port),
    }
}

/// Splits a URL without its query before the path.
fn authority(url: &str) -> (&str, &str) {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find('/').map_or(url.len(), |at| start + at);
    url.split_at(end)
}

fn encode(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    text.bytes()
        .map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_url_are_replaced() {
        let url = of_socket(Path::new("/tmp/a b"), "one");
        assert_eq!(url, "postgres://postgres@localhost:5432/one?host=/tmp/a%20b");
        assert_eq!(with_database(&url, "two"), "postgres://postgres@localhost:5432/two?host=/tmp/a%20b");
        assert_eq!(with_address(&url, "127.0.0.1:99"), "postgres://postgres@127.0.0.1:99/one");
        assert_eq!(address(&url), ServerAddress::Unix("/tmp/a b/.s.PGSQL.5432".into()));

        let url = "postgres://kim:p@db.example/one?sslmode=require";
        assert_eq!(with_database(url, "two"), "postgres://kim:p@db.example/two?sslmode=require");
        assert_eq!(with_address(url, "127.0.0.1:99"), "postgres://kim:p@127.0.0.1:99/one?sslmode=require");
        assert_eq!(address(url), ServerAddress::Tcp("db.example:5432".to_owned()));
        assert_eq!(with_database("postgres://db.example", "two"), "postgres://db.example/two");
        assert_eq!(with_address("postgres://db.example", "127.0.0.1:99"), "postgres://127.0.0.1:99");
    }
}
