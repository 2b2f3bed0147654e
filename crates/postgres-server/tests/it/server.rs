//! Servers of one test: kill, restart, settings, and that none is left behind.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use selvedge_postgres_server::{PostgresServer, execute_sql};

fn folder_of(server: &PostgresServer) -> PathBuf {
    Path::new(server.url().split_once("host=").unwrap().1).to_owned()
}

fn is_alive(pid: u32) -> bool {
    Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().is_ok_and(|output| {
        // A process that has ended stays in the table as `Z` until its parent asks.
        !output.stdout.is_empty() && !output.stdout.starts_with(b"Z")
    })
}

fn wait_until(what: &str, mut is_met: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_met() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_is_committed_survives_kills() {
    let Some(mut server) = PostgresServer::start(&[]) else { return };
    server.execute("CREATE TABLE things (thing int)");
    for round in 1..=3 {
        server.execute(&format!("INSERT INTO things VALUES ({round})"));
        // A connection with an open transaction dies with the server, in a process of its own.
        let url = server.url();
        let open = std::thread::spawn(move || {
            execute_sql(&url, &["BEGIN", "INSERT INTO things VALUES (0)", "SELECT pg_sleep(60)"])
        });
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        wait_until("the other connection sleeps", || server.execute(waiting) == "1");
        server.kill();
        assert_eq!(server.pid(), None);
        assert!(open.join().unwrap().is_err());
        assert!(execute_sql(&server.url(), &["SELECT 1"]).is_err());
        server.restart();
        assert_eq!(
            server.execute("SELECT sum(thing), count(*) FROM things"),
            format!("{}|{round}", round * (round + 1) / 2)
        );
    }
}

#[test]
fn settings_survive_a_restart() {
    let Some(mut server) = PostgresServer::start(&[("synchronous_commit", "off")]) else { return };
    for _ in 0..2 {
        assert_eq!(server.execute("SHOW synchronous_commit"), "off");
        assert_eq!(server.execute("SHOW fsync"), "on");
        server.restart();
    }
}

#[test]
fn a_server_ends_with_its_value() {
    let Some(server) = PostgresServer::start(&[]) else { return };
    let (pid, folder) = (server.pid().unwrap(), folder_of(&server));
    assert!(is_alive(pid) && folder.is_dir());
    drop(server);
    assert!(!is_alive(pid));
    assert!(!folder.exists());
}

/// Only root needs another user. Elsewhere the server belongs to the user of the test.
#[test]
fn the_server_does_not_run_as_root() {
    let Some(server) = PostgresServer::start(&[]) else { return };
    let output = Command::new("ps").args(["-o", "user=", "-p", &server.pid().unwrap().to_string()]).output().unwrap();
    let user = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(!user.is_empty() && user != "root", "{user:?}");
}

/// The test process that the next test kills.
#[test]
#[ignore = "a part of another test"]
fn start_a_server_and_wait() {
    let Some(server) = PostgresServer::start(&[]) else { return };
    std::fs::write(
        std::env::var_os("ANSWER").unwrap(),
        format!("{} {}", server.pid().unwrap(), folder_of(&server).display()),
    )
    .unwrap();
    std::thread::sleep(Duration::from_secs(600));
}

#[test]
fn a_server_ends_when_its_test_is_killed() {
    if selvedge_postgres_server::skip_reason().is_some() || std::env::var_os("SELVEDGE_TEST_POSTGRES_URL").is_some() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let answer = scratch.path().join("answer");
    let mut test = Command::new(std::env::current_exe().unwrap());
    test.args(["--exact", "server::start_a_server_and_wait", "--ignored"]).env("ANSWER", &answer);
    let mut test = test.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let read = || std::fs::read_to_string(&answer).unwrap_or_default();
    wait_until("the other test has a server", || read().contains('/'));
    let text = read();
    let (pid, folder) = text.split_once(' ').unwrap();
    let pid = pid.parse().unwrap();
    assert!(is_alive(pid));
    test.kill().unwrap();
    test.wait().unwrap();
    wait_until("the server has ended", || !is_alive(pid));
    wait_until("its files are deleted", || !Path::new(folder).exists());
}
