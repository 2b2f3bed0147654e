//! `selvedge store`: describes a database, creates its tables, or updates them.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::failure::{Failure, FailureKind, Result};
use crate::global_options::GlobalOptions;
use crate::output::Output;
use crate::render::counted::counted;
use crate::render::sanitize::sanitize;
use crate::store_location::{self, StoreLocation};
use crate::wiring::{DatabaseStatus, NamespaceCount, ReplicaStatus, TablesState, ThreadDatabase};

/// Arguments of `selvedge store`.
#[derive(Debug, Args)]
#[command(after_help = "\
A database is named by a URL: postgres://user@host:5432/database?schema=selvedge&namespace=default. The tables lie in the \
schema. Threads of one namespace are invisible in every other one. Without URL the command works on the store of --store or \
SELVEDGE_STORE.

Other processes can see a password in a command line. PGPASSWORD, ~/.pgpass and SELVEDGE_STORE keep it out of there. No message \
of this program contains it.

Examples:
  selvedge store init postgres://kim@db.example/work
  selvedge store roles postgres://kim@db.example/work | psql work
  export SELVEDGE_STORE='postgres://kim@db.example/work?namespace=team-a'
  selvedge store status
  selvedge list")]
pub(crate) struct StoreArgs {
    #[command(subcommand)]
    action: StoreAction,
}

/// What to do with the tables of a database.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreAction {
    /// Create the schema and the tables of a new store; do nothing if they are there
    Init(DatabaseArg),
    /// Show the server, the version of the tables, the role, the namespaces that it may see with their threads, extras and
    /// durability. Exit code 1 if this program cannot work with the tables
    Status(DatabaseArg),
    /// Update the tables of an existing store to the version of this program
    Migrate(DatabaseArg),
    /// Print the SQL that creates the roles `migrate`, `write` and `read` and says how to give namespaces to them. Connects
    /// to nothing
    Roles(DatabaseArg),
}

/// The database that an action works on.
#[derive(Debug, Args)]
pub(crate) struct DatabaseArg {
    /// Database [default: --store, else SELVEDGE_STORE]
    #[arg(value_name = "URL")]
    url: Option<PathBuf>,
}

/// Works on the tables of a database.
pub(crate) async fn run(args: &StoreArgs, global: &GlobalOptions, out: &mut Output) -> Result<()> {
    match &args.action {
        StoreAction::Init(arg) => init(&arg.database(global)?, global, out).await,
        StoreAction::Status(arg) => status(&arg.database(global)?, global, out).await,
        StoreAction::Migrate(arg) => migrate(&arg.database(global)?, global, out).await,
        StoreAction::Roles(arg) => {
            write!(out, "{}", arg.database(global)?.roles()?)?;
            Ok(out.flush()?)
        }
    }
}

impl DatabaseArg {
    fn database(&self, global: &GlobalOptions) -> Result<ThreadDatabase> {
        let location = match &self.url {
            Some(url) => store_location::parse(url.as_os_str(), global)?,
            None => store_location::locate(global)?,
        };
        match location {
            StoreLocation::Database(database) => Ok(database),
            StoreLocation::Home(path) => Err(Failure::new(
                FailureKind::Usage,
                format!("{} is a home, and a home has no tables", path.display()),
            )
            .hint("name a database as postgres://…; `selvedge new` creates a home, and `selvedge doctor` checks it")),
        }
    }
}

async fn init(database: &ThreadDatabase, global: &GlobalOptions, out: &mut Output) -> Result<()> {
    let before = database.status().await?;
    if before.tables != TablesState::Missing {
        // Tables of another version are not touched: an update is a decision about all programs that use them.
        require_current(&before)?;
        return print_change("there was already", &before, global, out);
    }
    database.migrate().await?;
    print_change("created", &database.status().await?, global, out)
}

async fn migrate(database: &ThreadDatabase, global: &GlobalOptions, out: &mut Output) -> Result<()> {
    let before = database.status().await?;
    match before.tables {
        TablesState::Older { .. } => {
            database.migrate().await?;
            print_change("updated", &database.status().await?, global, out)
        }
        _ => {
            require_current(&before)?;
            print_change("nothing to update in", &before, global, out)
        }
    }
}

async fn status(database: &ThreadDatabase, global: &GlobalOptions, out: &mut Output) -> Result<()> {
    let status = database.status().await?;
    if global.json {
        out.json(&status)?;
    } else {
        print_status(&status, out)?;
    }
    out.flush()?;
    require_current(&status)
}

fn print_status(status: &DatabaseStatus, out: &mut Output) -> Result<()> {
    let have = |has: bool| if has { "yes" } else { "no" };
    let setting = |value: &Option<String>| sanitize(value.as_deref().unwrap_or("none")).into_owned();
    writeln!(out, "store       {}", sanitize(&status.location))?;
    writeln!(out, "server      PostgreSQL {}", sanitize(&status.server))?;
    writeln!(out, "role        {}", sanitize(&status.role))?;
    writeln!(out, "tables      {}", describe(status.tables))?;
    writeln!(out, "threads     {} in this namespace", status.threads)?;
    for NamespaceCount { namespace, threads } in &status.namespaces {
        writeln!(out, "namespace   {}: {}", sanitize(namespace), counted(*threads, "thread"))?;
    }
    let (notifications, locks) = (have(status.has_notifications), have(status.has_advisory_locks));
    writeln!(out, "extras      notifications: {notifications}, advisory locks: {locks}")?;
    let durability = match status.is_synced {
        true => "written and synced: the server waits for its disk",
        false => "written only: synchronous_commit or fsync is off",
    };
    writeln!(out, "durability  {durability}")?;
    let (commit, fsync) = (setting(&status.synchronous_commit), setting(&status.fsync));
    writeln!(out, "settings    synchronous_commit: {commit}, fsync: {fsync}")?;
    if let Some(replica) = &status.replica {
        writeln!(out, "replica     {}", describe_replica(replica))?;
    }
    Ok(())
}

fn describe_replica(replica: &ReplicaStatus) -> String {
    let connected = match replica.is_connected {
        Some(true) => "can be read only; connected to its primary",
        Some(false) => "can be read only; NOT connected to its primary",
        None => "can be read only",
    };
    let caught_up = match replica.is_caught_up {
        true => "shows all that it has received",
        false => "does not yet show all that it has received",
    };
    let age = match replica.newest_age_ms {
        Some(millis) => format!("{}.{} s ago", millis / 1000, millis % 1000 / 100),
        None => "before it was started".to_owned(),
    };
    format!("{connected}; {caught_up}; the newest change in it was made {age}")
}

fn print_change(what: &str, status: &DatabaseStatus, global: &GlobalOptions, out: &mut Output) -> Result<()> {
    if global.json {
        return out.json(status);
    }
    writeln!(out, "{what} {}: {}", sanitize(&status.location), describe(status.tables))?;
    Ok(())
}

fn describe(tables: TablesState) -> String {
    match tables {
        TablesState::Missing => "none".to_owned(),
        TablesState::Older { version, needed } => format!("version {version}, older than {needed} of this program"),
        TablesState::Current { version } => format!("version {version}"),
        TablesState::Newer { version, needed } => format!("version {version}, newer than {needed} of this program"),
    }
}

/// Fails if this program cannot work with the tables.
fn require_current(status: &DatabaseStatus) -> Result<()> {
    let hint = match status.tables {
        TablesState::Current { .. } => return Ok(()),
        TablesState::Missing => "`selvedge store init` creates them",
        TablesState::Older { .. } => {
            "`selvedge store migrate` updates them; after that, older programs cannot use them"
        }
        TablesState::Newer { .. } => "use a newer program",
    };
    let message = match status.tables {
        TablesState::Missing => "the store has no tables yet".to_owned(),
        tables => format!("the tables of the store are not those of this program: {}", describe(tables)),
    };
    Err(Failure::new(FailureKind::Other, message).hint(hint))
}
