//! The released Codex program: finds or installs it, makes a home in which it runs offline, and drives it there.

pub(crate) mod app_server;
pub(crate) mod exec;
pub(crate) mod stand_in;
pub(crate) mod thread_mode;
pub(crate) mod voice;

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::workspace::cargo;

/// The model that every thread of a run uses.
pub(crate) const MODEL: &str = "mock-model";

/// The name of the provider in the configuration, as in the recordings. Threads of the built-in one open too.
pub(crate) const PROVIDER: &str = "mock";

/// The prompt that a thread gets after a restart, to see the model input.
pub(crate) const PROBE: &str = "probe after restart";

/// A Codex program.
pub(crate) struct Codex {
    program: PathBuf,
    /// The version that it prints: `0.169.0`.
    pub(crate) version: String,
}

impl Codex {
    /// Returns an installed program.
    pub(crate) fn at(program: &Path) -> Result<Self> {
        let output = Command::new(program)
            .arg("--version")
            .stderr(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {}", program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version =
            text.split_whitespace().last().with_context(|| format!("{} has no version", program.display()))?;
        Ok(Self { program: program.to_path_buf(), version: version.to_owned() })
    }

    /// Returns a released version, and installs it below `folder` if it is missing.
    pub(crate) fn from_npm(folder: &Path, version: &str) -> Result<Self> {
        let prefix = folder.join(format!("codex-{version}"));
        let program = prefix.join("node_modules").join(".bin").join("codex");
        if !program.exists() {
            install(&prefix, version)?;
        }
        let codex = Self::at(&program)?;
        if codex.version != version {
            bail!("{} calls itself {}, not {version}", program.display(), codex.version);
        }
        Ok(codex)
    }

    /// Returns the path of the program.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Returns the numbers of the version, which sort like versions.
    pub(crate) fn release(&self) -> Vec<u32> {
        self.version.split('.').filter_map(|number| number.parse().ok()).collect()
    }

    /// Returns a command that runs the program on a home. Its standard error goes to a file in the home.
    pub(crate) fn command(&self, home: &Path) -> Result<Command> {
        let log = home.join("app-server.log");
        let log = OpenOptions::new().create(true).append(true).open(&log);
        let mut command = Command::new(&self.program);
        command.env("CODEX_HOME", home).env("HOME", home).env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
        // The built-in provider requires a key, although it is configured to use the stand-in.
        command.env("OPENAI_API_KEY", "none").env_remove("OPENAI_BASE_URL").env_remove("CODEX_API_KEY");
        command.stderr(log.context("cannot write the log of the app server")?);
        Ok(command)
    }
}

fn install(prefix: &Path, version: &str) -> Result<()> {
    eprintln!("installing @openai/codex@{version}");
    let status = Command::new("npm")
        .args(["install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"])
        .arg(prefix)
        .arg(format!("@openai/codex@{version}"))
        .status()
        .context("cannot run npm; with --codex PATH it is not needed")?;
    if !status.success() {
        bail!("npm could not install @openai/codex@{version} ({status})");
    }
    Ok(())
}

/// Writes a configuration that uses the stand-in, asks no questions and sends no reports. `more` contains further lines.
pub(crate) fn configure(home: &Path, model: SocketAddr, more: &str) -> Result<()> {
    let config = format!(
        "\
model = \"{MODEL}\"
model_provider = \"{PROVIDER}\"
approval_policy = \"never\"
sandbox_mode = \"danger-full-access\"
check_for_update_on_startup = false
openai_base_url = \"http://{model}/v1\"
{more}

[model_providers.{PROVIDER}]
name = \"stand-in\"
base_url = \"http://{model}/v1\"
wire_api = \"responses\"
request_max_retries = 0
stream_max_retries = 0

[analytics]
enabled = false
"
    );
    let path = home.join("config.toml");
    std::fs::write(&path, config).with_context(|| format!("cannot write {}", path.display()))
}

/// Returns the target directory of cargo.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let output = cargo(&["metadata", "--no-deps", "--format-version", "1"])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo metadata")?;
    let metadata: Value =
        serde_json::from_slice(&output.stdout).context("cargo metadata printed something unexpected")?;
    let path = metadata["target_directory"].as_str().context("cargo metadata names no target directory")?;
    Ok(PathBuf::from(path))
}
