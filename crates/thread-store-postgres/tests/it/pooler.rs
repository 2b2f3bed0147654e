//! PgBouncer in transaction mode between the store and its server.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge_thread_store_conformance::run;
use selvedge_thread_store_postgres::PostgresThreadStore;

use crate::place::{PostgresPlace, new_place, options_of};
use crate::roles::selected_rules;

/// The program, if it is not on the PATH.
const PROGRAM: &str = "SELVEDGE_TEST_PGBOUNCER";

/// The first version that follows prepared statements from one session to another.
const PREPARES_FROM: (u32, u32) = (1, 21);

/// The rules that are checked, by the beginnings of their names. `SELVEDGE_POOLER_RULES=.` checks all.
const RULES: &str = "lifecycle. append. batches.repeated claims.";

/// A pooler. It ends with the value.
struct PgBouncer {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

/// Returns the program, and its version as (1, 24). `None` if there is no such program.
fn find_program() -> Option<(String, (u32, u32))> {
    let chosen = std::env::var(PROGRAM).ok();
    let candidates = chosen.into_iter().chain(["pgbouncer", "/usr/sbin/pgbouncer"].map(str::to_owned));
    candidates.into_iter().find_map(|program| {
        let output = Command::new(&program).arg("--version").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let mut numbers = text.lines().next()?.split(' ').nth(1)?.split('.').map(|number| number.parse().ok());
        Some((program, (numbers.next()??, numbers.next()??)))
    })
}

impl PgBouncer {
    /// Starts a pooler before a server whose socket is in this folder.
    fn start(program: &str, server: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The pooler may run as another user.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host={} port=5432 user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
            unix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 6\nmax_client_conn = 500\n\
            max_prepared_statements = 200\nignore_startup_parameters = extra_float_digits\n",
            server.display()
        );
        fs::write(&settings, text).unwrap();
        let mut command = Command::new(program);
        // The socket of a server that root started belongs to the user of the server, and the pooler refuses to run as root.
        let owner = fs::metadata(server).unwrap();
        command.arg("-q").arg(&settings).uid(owner.uid()).gid(owner.gid());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let pooler = Self { child, port, _folder: folder };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(10), "the pooler does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        pooler
    }

    fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable&listen=false", self.port)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_behind_a_pooler_in_transaction_mode_keeps_the_rules() {
    let Some((program, version)) = find_program() else {
        eprintln!(
            "SKIPPED: tests behind PgBouncer did not run: there is no program `pgbouncer` and {PROGRAM} is not set"
        );
        return;
    };
    if version < PREPARES_FROM {
        eprintln!(
            "SKIPPED: tests behind PgBouncer did not run: {program} has version {version:?}, and prepared statements need {PREPARES_FROM:?}"
        );
        return;
    }
    let place = new_place().await;
    let Some((_, folder)) =
        place.schema.url().split_once("?host=").map(|(url, host)| (url.to_owned(), host.to_owned()))
    else {
        eprintln!("SKIPPED: tests behind PgBouncer did not run: the server was not started by the tests");
        return;
    };
    let pooler = PgBouncer::start(&program, Path::new(&folder));
    let status = PostgresThreadStore::status(&options_of(&pooler.url(), "")).await.unwrap();
    // The pooler accepts LISTEN, and the notification never comes: the probe must notice.
    assert!(!status.extras.notifications && status.extras.advisory_locks, "{:?}", status.extras);
    let (url, schema) = (pooler.url(), Arc::clone(&place.schema));
    let new_place = move || {
        let mut options = options_of(&url, "");
        schema.name().clone_into(&mut options.schema);
        std::future::ready(PostgresPlace { schema: Arc::clone(&schema), options })
    };
    let report = run(new_place, &selected_rules("SELVEDGE_POOLER_RULES", RULES)).await;
    println!("{report}");
    assert!(report.is_passed(), "{report}");
}
