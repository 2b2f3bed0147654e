//! The settings of Codex that matter here, from `config.toml` in the home.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use toml::Table;

/// The variable that names the directory of Codex's databases.
const DIRECTORY_VARIABLE: &str = "CODEX_SQLITE_HOME";

/// The settings.
#[derive(Debug, Default)]
pub(super) struct CodexConfig {
    /// The directory of the databases, as it is written.
    sqlite_home: Option<String>,
    /// The names of the tool servers.
    pub(super) tool_servers: Vec<String>,
}

impl CodexConfig {
    /// Reads the configuration in a home. One that cannot be read sets nothing: Codex itself reports what is wrong with it.
    pub(super) fn read(home: &Path) -> Self {
        let text = fs::read_to_string(home.join("config.toml")).unwrap_or_default();
        let config: Table = text.parse().unwrap_or_default();
        let servers = config.get("mcp_servers").and_then(|servers| servers.as_table());
        Self {
            sqlite_home: config.get("sqlite_home").and_then(|path| path.as_str()).map(str::to_owned),
            tool_servers: servers.into_iter().flatten().map(|(name, _)| name.clone()).collect(),
        }
    }

    /// Returns the directory of the databases, as Codex finds it: the one in the configuration, relative to the home, else the one
    /// in the environment, else the home.
    pub(super) fn database_directory(&self, home: &Path) -> PathBuf {
        if let Some(path) = &self.sqlite_home {
            return match (path.strip_prefix("~/"), env::home_dir()) {
                (Some(rest), Some(user)) => user.join(rest),
                _ => home.join(path),
            };
        }
        match env::var_os(DIRECTORY_VARIABLE) {
            Some(path) if !path.is_empty() => PathBuf::from(path),
            _ => home.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_of_the_databases_is_relative_to_the_home() {
        let home = tempfile::tempdir().unwrap();
        let directory = |config: &str| {
            fs::write(home.path().join("config.toml"), config).unwrap();
            CodexConfig::read(home.path()).database_directory(home.path())
        };
        assert_eq!(directory(""), home.path());
        assert_eq!(directory("sqlite_home = "), home.path());
        assert_eq!(directory("sqlite_home = 'databases'"), home.path().join("databases"));
        assert_eq!(directory("sqlite_home = '/var/codex'"), Path::new("/var/codex"));
        assert_eq!(directory("[profiles.a]\nsqlite_home = '/var/codex'"), home.path());
    }

    #[test]
    fn tool_servers_are_found() {
        let home = tempfile::tempdir().unwrap();
        let config = "[mcp_servers.one]\ncommand = 'a'\n[mcp_servers.'t w o']\nurl = 'b'\n";
        fs::write(home.path().join("config.toml"), config).unwrap();
        let mut servers = CodexConfig::read(home.path()).tool_servers;
        servers.sort();
        assert_eq!(servers, ["one", "t w o"]);
    }
}
