//! Homes and indexes for tests.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use selvedge_history::TurnProjection;
use selvedge_protocol::log::Entry;
use selvedge_protocol::{
    ArchivedFilter, HistoryMode, ResponseItem, SessionMeta, StoredThread, ThreadId, ThreadQuery, Turn,
};
use selvedge_rollout::{HistoryEntry, ResolvedHistory, RolloutFileName, RolloutHome, now};
use selvedge_state::StateIndex;
use serde_json::json;

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

    /// Creates a thread with a head and nothing else.
    pub(crate) fn thread(&self) -> (ThreadId, PathBuf) {
        self.thread_with(|_| {})
    }

    /// Creates a thread in legacy mode.
    pub(crate) fn legacy_thread(&self) -> (ThreadId, PathBuf) {
        self.thread_with(|meta| meta.history_mode = Some(HistoryMode::Legacy))
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

/// Creates a file that begins with this head.
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

/// Returns a line with a message of the user.
pub(crate) fn says(text: &str) -> String {
    let time = now();
    format!(
        "{{\"timestamp\":\"{time}\",\"type\":\"event_msg\",\"payload\":{{\"type\":\"user_message\",\"message\":\"{text}\"}}}}\n"
    )
}

/// Returns a line that changes nothing in the record of the thread, and that is not shown.
pub(crate) fn mumbles() -> String {
    let item = serde_json::to_string(&ResponseItem::message("developer", "mumble")).unwrap();
    format!("{{\"timestamp\":\"{}\",\"type\":\"response_item\",\"payload\":{item}}}\n", now())
}

/// Returns a line with an event.
pub(crate) fn event(payload: &serde_json::Value) -> String {
    format!("{{\"timestamp\":\"{}\",\"type\":\"event_msg\",\"payload\":{payload}}}\n", now())
}

/// Returns the lines of a turn, or lines between turns. `number` determines which. There are only few ids of turns and items, so
/// that the same ones occur again.
pub(crate) fn story(number: usize) -> String {
    let turn = format!("t{}", number / 16 % 3);
    let id = format!("i{}", number / 48 % 3);
    let ask = |text: &str| {
        let item = serde_json::to_string(&ResponseItem::user_text(text)).unwrap();
        let line = format!("{{\"timestamp\":\"{}\",\"type\":\"response_item\",\"payload\":{item}}}\n", now());
        line + &event(&json!({"type": "user_message", "message": text}))
    };
    let started = event(&json!({"type": "task_started", "turn_id": turn}));
    let complete = event(&json!({"type": "task_complete", "turn_id": turn}));
    let answer = event(&json!({"type": "agent_message", "message": format!("the answer {number} with words")}));
    match number % 16 {
        0..=3 => started + &ask(&format!("question {number}")) + &answer + &complete,
        4 => started + &ask("who goes there"),
        5 => complete,
        6 => ask(&format!("question {number}")),
        7 => answer,
        8 => event(&json!({"type": "turn_aborted", "turn_id": turn})),
        9 => event(&json!({"type": "patch_apply_end", "turn_id": turn, "call_id": id, "changes": {"a.rs": {}}})),
        10 => {
            let item = json!({"type": "AgentMessage", "id": id, "content": [{"type": "Text", "text": "said so"}]});
            event(&json!({"type": "item_completed", "turn_id": turn, "item": item}))
        }
        11 => {
            let item = json!({"type": "CommandExecution", "id": id, "command": ["cargo", "test"]});
            event(&json!({"type": "item_started", "turn_id": turn, "item": item}))
        }
        12 => {
            let item = json!({"type": "CommandExecution", "id": id, "aggregated_output": format!("output {number}")});
            event(&json!({"type": "item_completed", "turn_id": turn, "item": item}))
        }
        13 => event(&json!({"type": "agent_reasoning", "text": "thoughts"})),
        14 => event(&json!({"type": "thread_rolled_back", "num_turns": number / 16 % 3})),
        _ => {
            format!("{{\"timestamp\":\"{}\",\"type\":\"compacted\",\"payload\":{{\"message\":\"short\"}}}}\n", now())
        }
    }
}

/// Returns the turns of a thread by its log, and its newest file.
pub(crate) fn truth(home: &RolloutHome, id: ThreadId) -> (Vec<Turn>, PathBuf) {
    let resolved = ResolvedHistory::resolve(&home.files().unwrap(), id).unwrap().unwrap();
    let mut turns = TurnProjection::new();
    let mut position = 0;
    for entry in resolved.reader() {
        if let HistoryEntry::Entry { entry: Entry::Line(record), .. } = entry.unwrap() {
            turns.push(position, &record.line);
            position += 1;
        }
    }
    (turns.finish(), resolved.newest().path.clone())
}

pub(crate) fn everything() -> ThreadQuery {
    ThreadQuery { archived: ArchivedFilter::All, limit: 10_000, ..ThreadQuery::default() }
}

pub(crate) async fn rows(index: &StateIndex) -> Vec<StoredThread> {
    index.list_threads(&everything()).await.unwrap().items
}

/// Returns every row of an index that is built from scratch.
pub(crate) async fn rebuilt(home: &Home) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fresh.sqlite");
    let index = StateIndex::open(&home.home, &path).await.unwrap();
    index.update(|_| {}).await.unwrap();
    index.close().await;
    dump(&path).await
}

/// Returns every row of every table.
pub(crate) async fn dump(path: &Path) -> Vec<String> {
    use sqlx::{Connection, Row};
    let url = format!("sqlite://{}", path.display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let mut found = Vec::new();
    for table in ["threads", "segments", "bases", "turns", "names", "names_source"] {
        let columns: Vec<String> = sqlx::query_scalar(&format!("SELECT name FROM pragma_table_info('{table}')"))
            .fetch_all(&mut connection)
            .await
            .unwrap();
        // Each scan has a number of its own.
        let columns = columns.into_iter().filter(|column| column != "scan_id").collect::<Vec<_>>();
        let quoted = columns.iter().map(|column| format!("'{column}=' || quote({column})")).collect::<Vec<_>>();
        let sql = format!("SELECT concat_ws(' ', '{table}', {}) AS row FROM {table} ORDER BY 1", quoted.join(", "));
        let rows = sqlx::query(&sql).fetch_all(&mut connection).await.unwrap();
        found.extend(rows.iter().map(|row| row.get::<String, _>(0)));
    }
    connection.close().await.unwrap();
    found
}

/// Returns copies of the recorded homes.
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
