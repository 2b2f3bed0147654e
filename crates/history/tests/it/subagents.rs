//! Sub-agents: who started them, and what is their own.

use selvedge_history::MetadataFold;
use selvedge_protocol::{RolloutItem, RolloutLine, StoredThread, ThreadId, Timestamp};
use serde_json::{Value, json};

use crate::story::{item, ordinal_lines};

const CHILD: &str = "01a222c3-b917-79d1-b38a-f6df302df544";
const PARENT: &str = "01a222c3-b839-7b11-b4f6-cd45bfb1be51";
const FORK: &str = "01a222c4-b839-7b11-b4f6-cd45bfb1be51";

fn id(text: &str) -> ThreadId {
    text.parse().unwrap()
}

fn head(id: &str, fields: Value) -> RolloutItem {
    let mut payload = json!({"id": id, "timestamp": "2026-11-01T00:00:00.000Z", "history_mode": "paginated"});
    payload.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    item(json!({"type": "session_meta", "payload": payload}))
}

fn folded(thread: &str, lines: &[RolloutLine]) -> StoredThread {
    let mut fold = MetadataFold::new(id(thread), Timestamp::default());
    lines.iter().for_each(|line| _ = fold.observe_line(line));
    fold.into_thread()
}

#[test]
fn an_older_head_names_the_parent_in_its_source_only() {
    let spawn = json!({"parent_thread_id": PARENT, "depth": 1, "agent_path": "/root/scout", "agent_nickname": "Ash", "agent_role": "explorer"});
    let source = json!({"subagent": {"thread_spawn": spawn}});
    let record = folded(CHILD, &ordinal_lines([head(CHILD, json!({"source": source}))]));
    assert_eq!(record.parent_thread_id, Some(id(PARENT)));
    assert_eq!(
        [record.agent_nickname.as_deref(), record.agent_role.as_deref(), record.agent_path.as_deref()],
        [Some("Ash"), Some("explorer"), Some("/root/scout")]
    );
    // The fields of the head count more.
    let own = json!({"source": source, "parent_thread_id": FORK, "agent_nickname": "Birch"});
    let record = folded(CHILD, &ordinal_lines([head(CHILD, own)]));
    assert_eq!((record.parent_thread_id, record.agent_nickname.as_deref()), (Some(id(FORK)), Some("Birch")));
    assert_eq!(record.agent_role.as_deref(), Some("explorer"));
    for source in [json!("cli"), json!({"subagent": "review"}), json!({"subagent": {"thread_spawn": []}}), json!(null)]
    {
        let record = folded(CHILD, &ordinal_lines([head(CHILD, json!({"source": source}))]));
        assert_eq!((record.parent_thread_id, record.agent_nickname), (None, None), "{source}");
    }
}
