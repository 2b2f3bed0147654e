//! Where the store is, and how it is used: settings, from a URL or one by one.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use selvedge_protocol::Durability;
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;
use url::Url;

/// The settings of a [`PostgresThreadStore`](crate::PostgresThreadStore).
///
/// They come from a URL:
///
/// ```text
/// postgres://user:password@host:5432/database?schema=selvedge&namespace=team-a&pool=16
/// ```
///
/// Besides the parameters of libpq that sqlx knows (`sslmode`, `sslrootcert`, `host` for the directory of a Unix
/// socket, `application_name` and others), a URL can have these:
///
/// | parameter | default | meaning |
/// | --- | --- | --- |
/// | `schema` | `selvedge` | the schema with the tables |
/// | `namespace` | `default` | a part of the tables; threads of one namespace are invisible in every other one |
/// | `pool` | 8 | the most connections of one process |
/// | `connect_timeout` | 10 | seconds until a connection must be there |
/// | `statement_timeout` | 60 | seconds until an attempt of a statement must have an answer |
/// | `retry` | 20 | seconds during which transient failures are tried again |
/// | `lease` | 30 | seconds for which a claim is valid without a renewal |
/// | `durability` | `written` | the durability level, `written` or `synced` |
/// | `listen` | `true` | whether notifications of the server wake waiting readers; without them readers poll |
///
/// Any other parameter is an error: a misspelt one must not leave threads in another namespace.
///
/// Text values use the percent encoding of URLs. A password is never part of a message: `Debug` and errors show where the
/// store is without it.
#[derive(Clone)]
#[non_exhaustive]
pub struct PostgresOptions {
    pub(crate) connect: PgConnectOptions,
    /// The schema with the tables: letters, digits and `_`, at most 63 characters.
    pub schema: String,
    /// The namespace: any text without NUL, at most 200 bytes.
    pub namespace: String,
    /// The most connections that the process opens, at least 2.
    pub pool_size: u32,
    /// The time until a connection must be there.
    pub connect_timeout: Duration,
    /// The time until an attempt of a statement must have an answer.
    pub statement_timeout: Duration,
    /// How long transient failures are tried again before an error is returned.
    pub retry_for: Duration,
    /// How long a claim is valid without a renewal, by the clock of the server.
    pub lease: Duration,
    /// The durability level of every change.
    pub durability: Durability,
    /// Whether notifications of the server wake waiting readers.
    pub listen: bool,
}

/// Why a URL does not name a store. It does not contain the URL, which may have a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the URL of a PostgreSQL store: {reason}")]
#[non_exhaustive]
pub struct PostgresUrlError {
    /// What is wrong.
    pub reason: String,
}

impl PostgresUrlError {
    fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

impl PostgresOptions {
    /// Returns whether a text is meant as the URL of such a store: whether it begins with `postgres://` or
    /// `postgresql://`.
    #[must_use]
    pub fn is_url(text: &str) -> bool {
        text.starts_with("postgres://") || text.starts_with("postgresql://")
    }

    /// Returns where the store is, as a text for people: host, database, schema and namespace, without user and password.
    #[must_use]
    pub fn location(&self) -> String {
        let host = match self.connect.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => self.connect.get_host().to_owned(),
        };
        let database = self.connect.get_database().unwrap_or_else(|| self.connect.get_username());
        let Self { schema, namespace, .. } = self;
        format!(
            "PostgreSQL at {host}:{}, database {database}, schema {schema}, namespace {namespace}",
            self.connect.get_port()
        )
    }

    /// Checks values that were set one by one.
    ///
    /// # Errors
    /// If the schema is not a plain name, the namespace is not possible, the pool has fewer than 2 connections, or the
    /// lease is shorter than 100 ms.
    pub fn check(&self) -> Result<(), PostgresUrlError> {
        let Self { schema, namespace, .. } = self;
        // The name of the schema is part of the text of every statement, so nothing that needs quotes is allowed.
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if schema.is_empty() || schema.len() > 63 || !schema.chars().all(is_plain) || schema.starts_with("pg_") {
            return Err(PostgresUrlError::new(format!(
                "the schema {schema:?} must have 1 to 63 lower-case letters, digits and `_`, and not begin with `pg_`"
            )));
        }
        if namespace.is_empty() || namespace.len() > 200 || namespace.contains('\0') {
            return Err(PostgresUrlError::new(format!(
                "the namespace {namespace:?} must have 1 to 200 bytes and no NUL"
            )));
        }
        if self.pool_size < 2 {
            return Err(PostgresUrlError::new("the pool needs at least 2 connections"));
        }
        if self.lease < Duration::from_millis(100) {
            return Err(PostgresUrlError::new("a lease must be at least 100 ms long"));
        }
        Ok(())
    }
}

impl FromStr for PostgresOptions {
    type Err = PostgresUrlError;

    fn from_str(text: &str) -> Result<Self, PostgresUrlError> {
        // No error shows the text, since it may have a password.
        let mut url = Url::parse(text).map_err(|error| PostgresUrlError::new(error.to_string()))?;
        if !Self::is_url(text) {
            return Err(PostgresUrlError::new("it must begin with `postgres://`"));
        }
        let mut options = Self {
            connect: PgConnectOptions::new(),
            schema: "selvedge".to_owned(),
            namespace: "default".to_owned(),
            pool_size: 8,
            connect_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(60),
            retry_for: Duration::from_secs(20),
            lease: Duration::from_secs(30),
            durability: Durability::Written,
            listen: true,
        };
        let mut others = Vec::new();
        for (key, value) in url.query_pairs() {
            match &*key {
                "schema" => options.schema = value.into_owned(),
                "namespace" => options.namespace = value.into_owned(),
                "pool" => options.pool_size = parse(&key, &value)?,
                "connect_timeout" => options.connect_timeout = seconds(&key, &value)?,
                "statement_timeout" => options.statement_timeout = seconds(&key, &value)?,
                "retry" => options.retry_for = seconds(&key, &value)?,
                "lease" => options.lease = seconds(&key, &value)?,
                "durability" => options.durability = parse(&key, &value)?,
                "listen" => options.listen = parse(&key, &value)?,
                key if is_connect_parameter(key) => others.push((key.to_owned(), value.into_owned())),
                // sqlx would ignore it, and log its value, which may be a password.
                key => return Err(PostgresUrlError::new(unknown_parameter(key))),
            }
        }
        url.set_query(None);
        if !others.is_empty() {
            url.query_pairs_mut().extend_pairs(others);
        }
        let connect = PgConnectOptions::from_url(&url).map_err(|error| PostgresUrlError::new(error.to_string()))?;
        // The crate has spans of its own. A log of statements would have their texts a thousand times.
        options.connect = connect.disable_statement_logging();
        options.check()?;
        Ok(options)
    }
}

/// The parameters of this store.
const STORE_PARAMETERS: [&str; 9] =
    ["schema", "namespace", "pool", "connect_timeout", "statement_timeout", "retry", "lease", "durability", "listen"];

/// The parameters that sqlx knows.
const CONNECT_PARAMETERS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

fn is_connect_parameter(key: &str) -> bool {
    CONNECT_PARAMETERS.contains(&key) || (key.starts_with("options[") && key.ends_with(']'))
}

/// Returns what is wrong with a parameter that nobody knows, without its value.
fn unknown_parameter(key: &str) -> String {
    // The name may be a part of a password that has an `&` or a `?` in it.
    let name = if key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') { key } else { "…" };
    let known = STORE_PARAMETERS.join(", ");
    format!("there is no parameter `{name}`; the parameters are {known}, and those of libpq such as sslmode")
}

fn parse<T: FromStr<Err: fmt::Display>>(key: &str, value: &str) -> Result<T, PostgresUrlError> {
    value.parse().map_err(|error| PostgresUrlError::new(format!("{key}={value}: {error}")))
}

/// Parses a number of seconds, which may have a fraction.
fn seconds(key: &str, value: &str) -> Result<Duration, PostgresUrlError> {
    let seconds: f64 = parse(key, value)?;
    Duration::try_from_secs_f64(seconds).map_err(|error| PostgresUrlError::new(format!("{key}={value}: {error}")))
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions").field("location", &self.location()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "postgres://anna:s3cret@db.example:6000/work?schema=s1&namespace=team%20a&pool=3&lease=0.5";

    #[test]
    fn a_url_has_all_settings() {
        let options: PostgresOptions = URL.parse().unwrap();
        assert_eq!((&*options.schema, &*options.namespace, options.pool_size), ("s1", "team a", 3));
        assert_eq!(options.lease, Duration::from_millis(500));
        assert_eq!((options.connect.get_host(), options.connect.get_port()), ("db.example", 6000));
    }

    #[test]
    fn a_misspelt_parameter_is_an_error() {
        let error = format!("{URL}&namspace=b").parse::<PostgresOptions>().unwrap_err().to_string();
        assert!(error.contains("`namspace`") && error.contains("namespace,"), "{error}");
        for known in CONNECT_PARAMETERS.iter().filter(|known| !matches!(**known, "port" | "hostaddr")) {
            let value = match *known {
                "sslmode" | "ssl-mode" => "prefer",
                _ => "1",
            };
            let parsed = format!("{URL}&{known}={value}").parse::<PostgresOptions>();
            assert!(parsed.is_ok(), "{known}: {parsed:?}");
        }
        assert!(format!("{URL}&options[search_path]=x").parse::<PostgresOptions>().is_ok());
    }

    #[test]
    fn no_text_has_the_password() {
        let options: PostgresOptions = URL.parse().unwrap();
        assert!(!format!("{options:?} {}", options.location()).contains("s3cret"));
        for end in [
            "&pasword=s3cret",
            "&s3cret",
            "&s3cret=1",
            "&pool=1",
            "&schema=a-b",
            "&namespace=",
            "&lease=x",
            "&sslmode=x",
            "&durability=x",
        ] {
            let error = format!("{URL}{end}").parse::<PostgresOptions>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        }
        let error = "mysql://anna:s3cret@x/".parse::<PostgresOptions>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
    }
}
