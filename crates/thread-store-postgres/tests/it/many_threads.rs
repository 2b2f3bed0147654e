//! Many small threads in one namespace, written straight into the tables: the benchmark of lists has them, too.
//!
//! Their records are folded from their lines. The rows are those of version 2 of the tables, which has no columns for lists, so
//! `migrate` fills them as it does for an older store.

use anyhow::Result;
use selvedge_history::MetadataFold;
use selvedge_protocol::{
    EventMsg, GitInfo, HistoryMode, ResponseItem, RolloutItem, RolloutLine, SessionMeta, StoredThread, ThreadId,
    Timestamp, TurnContext, UserMessageEvent,
};
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

/// How many threads one statement inserts.
const AT_ONCE: usize = 1000;

/// How many directories the threads have. The first one has every tenth thread.
const DIRECTORIES: usize = 400;

/// Returns the id of a thread. The ids are spread over their whole range.
pub(crate) fn id_of(number: usize) -> ThreadId {
    ThreadId::from_uuid(Uuid::from_u128((number as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)))
}

/// Returns the directory of a thread.
pub(crate) fn directory_of(number: usize) -> String {
    let directory = if number.is_multiple_of(10) { 0 } else { number % DIRECTORIES };
    format!("/srv/team{}/project{directory}", directory % 20)
}

/// Returns the name of a thread, if it has one.
pub(crate) fn name_of(number: usize) -> Option<String> {
    number.is_multiple_of(7).then(|| format!("name {}", number / 14))
}

/// Returns the record and the lines of a thread.
fn thread(number: usize) -> (StoredThread, Vec<RolloutLine>) {
    let id = id_of(number);
    // Several threads have the same time.
    let created = Timestamp::from_millis(1_795_252_000_000 + (number as i64 / 3) * 1000);
    let source = match number % 8 {
        0 => json!({"subagent": "review"}),
        1 | 2 => json!("exec"),
        _ => json!("cli"),
    };
    let branch = if number.is_multiple_of(5) { "topic" } else { "main" };
    let git = GitInfo {
        branch: Some(branch.to_owned()),
        repository_url: Some(format!("https://host/team{}/repo{}.git", number % 20, number % 90).as_str().into()),
        ..GitInfo::default()
    };
    let head = SessionMeta {
        history_mode: Some(HistoryMode::Paginated),
        cwd: Some(directory_of(number)),
        source: Some(source),
        model_provider: Some(format!("provider{}", number % 3)),
        forked_from_id: (number % 50 == 1).then(|| id_of(number - 1)),
        parent_thread_id: (number % 50 == 2).then(|| id_of(number - 1)),
        git: Some(git),
        ..SessionMeta::new(id, created)
    };
    let text = format!("please look at part {number} of the work, {}", "and at everything around it ".repeat(8));
    let context = TurnContext { model: Some(format!("model{}", number % 4)), ..TurnContext::default() };
    let message = UserMessageEvent { message: Some(text.clone()), ..UserMessageEvent::default() };
    let items: [RolloutItem; 4] =
        [head.into(), context.into(), EventMsg::from(message).into(), ResponseItem::assistant_text(&text).into()];
    // The order of updates is another one than that of creations.
    let updated = created.as_millis() + (number as i64 * 7919) % 1_000_003;
    let mut fold = MetadataFold::new(id, created);
    let mut lines = Vec::new();
    for (ordinal, item) in items.iter().enumerate() {
        let at = if ordinal == 0 { created } else { Timestamp::from_millis(updated) };
        let line = RolloutLine::new(at, Some(ordinal as u64), item);
        fold.observe_line(&line);
        lines.push(line);
    }
    (fold.into_thread(), lines)
}

/// Inserts threads with the numbers from 0 on.
pub(crate) async fn insert(connection: &mut PgConnection, schema: &str, namespace: &str, count: usize) -> Result<()> {
    for first in (0..count).step_by(AT_ONCE) {
        let numbers = first..count.min(first + AT_ONCE);
        let (mut ids, mut names, mut archived, mut records) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut created, mut ends, mut heads) = (Vec::new(), Vec::new(), Vec::new());
        let (mut owners, mut starts, mut ordinals, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for number in numbers {
            let (record, lines) = thread(number);
            let mut end = 0;
            for (ordinal, line) in lines.iter().enumerate() {
                let text = format!("{}\n", line.text()).into_bytes();
                owners.push(record.id.as_uuid());
                starts.push(end);
                ordinals.push(ordinal as i64);
                end += text.len() as i64;
                bytes.push(text);
            }
            let RolloutItem::SessionMeta(head) = lines[0].item() else { anyhow::bail!("the first line is the head") };
            ids.push(record.id.as_uuid());
            names.push(name_of(number).map(String::into_bytes));
            archived.push(number % 20 == 3);
            created.push(record.created_at.as_millis());
            records.push(serde_json::to_vec(&record)?);
            ends.push(end);
            heads.push(serde_json::to_vec(&head)?);
        }
        let threads = format!(
            "INSERT INTO {schema}.threads (namespace, thread_id, epoch, is_unsettled, revision, segment_id, created_at, name,
                archived, record, record_version, folded_segment, folded_to, reverts)
            SELECT $1, id, 1, false, 1, id, created, name, archived, record, 1, id, folded_to, '[]'
            FROM unnest($2::uuid[], $3::bigint[], $4::bytea[], $5::boolean[], $6::bytea[], $7::bigint[])
                AS new(id, created, name, archived, record, folded_to)"
        );
        let query = sqlx::query(&threads).bind(namespace).bind(&ids).bind(&created).bind(names).bind(archived);
        query.bind(records).bind(ends).execute(&mut *connection).await?;
        let segments = format!(
            "INSERT INTO {schema}.segments (namespace, thread_id, segment_id, created_at, head, is_paginated, holds_a_line,
                is_visible)
            SELECT $1, id, id, created, head, true, true, true
            FROM unnest($2::uuid[], $3::bigint[], $4::bytea[]) AS new(id, created, head)"
        );
        let query = sqlx::query(&segments).bind(namespace).bind(&ids).bind(created).bind(heads);
        query.execute(&mut *connection).await?;
        let owned = format!(
            "INSERT INTO {schema}.segment_owners (namespace, segment_id, thread_id) SELECT $1, id, id FROM unnest($2::uuid[]) AS new(id)"
        );
        sqlx::query(&owned).bind(namespace).bind(ids).execute(&mut *connection).await?;
        let lines = format!(
            "INSERT INTO {schema}.lines (namespace, thread_id, segment_id, start_byte, ordinal, bytes)
            SELECT $1, id, id, start_byte, ordinal, bytes
            FROM unnest($2::uuid[], $3::bigint[], $4::bigint[], $5::bytea[]) AS new(id, start_byte, ordinal, bytes)"
        );
        let query = sqlx::query(&lines).bind(namespace).bind(owners).bind(starts).bind(ordinals).bind(bytes);
        query.execute(&mut *connection).await?;
    }
    Ok(())
}
