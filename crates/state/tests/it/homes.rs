//! Homes and indexes to test with.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use selvedge_protocol::{ArchivedFilter, ResponseItem, SessionMeta, StoredThread, ThreadId, ThreadQuery};
use selvedge_rollout::{RolloutFileName, RolloutHome, now};
use selvedge_state::StateIndex;

pub(crate) struct Home {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) home: RolloutHome,
}

impl Home {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = RolloutHome::new(dir.path());
        Self { dir, home }
    }

    pub(crate) fn index_path(&self) -> PathBuf {
        StateIndex::path_in(&self.home)
    }

    pub(crate) async fn index(&self) -> StateIndex {
        StateIndex::open(&self.home, &self.index_path()).await.unwrap()
    }

    /// A thread with a head and nothing else.
    pub(crate) fn thread(&self) -> (ThreadId, PathBuf) {
        self.thread_with(|_| {})
    }

    pub(crate) fn thread_with(&self, change: impl FnOnce(&mut SessionMeta)) -> (ThreadId, PathBuf) {
        let id = ThreadId::new(now());
        let mut meta = SessionMeta::new(id, now());
        change(&mut meta);
        let path = self.home.active_path(&RolloutFileName::new(now(), id, None));
        write_head(&path, &meta);
        (id, path)
    }
}

/// Makes a file that begins with this head.
pub(crate) fn write_head(path: &Path, meta: &SessionMeta) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let payload = serde_json::to_string(meta).unwrap();
    fs::write(path, format!("{{\"timestamp\":\"{}\",\"type\":\"session_meta\",\"payload\":{payload}}}\n", now()))
        .unwrap();
}

/// Appends text to a file as another program would.
pub(crate) fn append(path: &Path, text: &str) {
    File::options().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// A line in which the user says something.
pub(crate) fn says(text: &str) -> String {
    let time = now();
    format!(
        "{{\"timestamp\":\"{time}\",\"type\":\"event_msg\",\"payload\":{{\"type\":\"user_message\",\"message\":\"{text}\"}}}}\n"
    )
}

/// A line that says nothing of the thread but that it grew.
pub(crate) fn mumbles() -> String {
    let item = serde_json::to_string(&ResponseItem::user_text("mumble")).unwrap();
    format!("{{\"timestamp\":\"{}\",\"type\":\"response_item\",\"payload\":{item}}}\n", now())
}

pub(crate) fn everything() -> ThreadQuery {
    ThreadQuery { archived: ArchivedFilter::All, limit: 10_000, ..ThreadQuery::default() }
}

pub(crate) async fn rows(index: &StateIndex) -> Vec<StoredThread> {
    index.list_threads(&everything()).await.unwrap().items
}

/// What an index that is built now says of the home, row for row and table for table.
pub(crate) async fn rebuilt(home: &Home) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fresh.sqlite");
    let index = StateIndex::open(&home.home, &path).await.unwrap();
    index.sync(|_| {}).await.unwrap();
    index.close().await;
    dump(&path).await
}

/// Every row of every table.
pub(crate) async fn dump(path: &Path) -> Vec<String> {
    use sqlx::{Connection, Row};
    let url = format!("sqlite://{}", path.display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let mut found = Vec::new();
    for table in ["threads", "segments", "bases", "turns", "names_source"] {
        let columns: Vec<String> = sqlx::query_scalar(&format!("SELECT name FROM pragma_table_info('{table}')"))
            .fetch_all(&mut connection)
            .await
            .unwrap();
        let quoted = columns.iter().map(|column| format!("'{column}=' || quote({column})")).collect::<Vec<_>>();
        let sql = format!("SELECT concat_ws(' ', '{table}', {}) AS row FROM {table} ORDER BY 1", quoted.join(", "));
        let rows = sqlx::query(&sql).fetch_all(&mut connection).await.unwrap();
        found.extend(rows.iter().map(|row| row.get::<String, _>(0)));
    }
    connection.close().await.unwrap();
    found
}

/// The recorded homes, each copied.
pub(crate) fn recorded() -> Vec<(String, Home)> {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples");
    let mut found: Vec<_> = fs::read_dir(samples).unwrap().map(|entry| entry.unwrap()).collect();
    found.sort_by_key(std::fs::DirEntry::file_name);
    let is_home = |entry: &fs::DirEntry| entry.path().join("home").is_dir();
    found
        .iter()
        .filter(|entry| is_home(entry))
        .map(|entry| {
            let home = Home::new();
            copy(&entry.path().join("home"), home.dir.path());
            (entry.file_name().into_string().unwrap(), home)
        })
        .collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}
