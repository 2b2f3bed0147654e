//! The names of threads, taken over from the name index of the home.
//!
//! The table `names` holds what the name index says of every thread, also of those that have no row yet. Names are appended to
//! that file, so that what was added is all that is read of it: a rename costs the same however many names there are.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use selvedge_history::fold_text;
use selvedge_protocol::ThreadId;
use selvedge_rollout::{FileStamp, NameIndex, RolloutError, RolloutHome};
use sqlx::{Executor, Row, Sqlite, SqliteConnection};

use crate::StateIndex;
use crate::database::WaitPolicy;
use crate::error::Result;
use crate::plan::ids;
use crate::row::{Mark, hash};
use crate::stamp::stamp_of_row;
use crate::update::blocking;
use crate::write::{insert, signed, unsigned};

/// How often the name index is read again because another process took names from it at the same time.
const ROUNDS: usize = 4;

/// How the name index looked when names were taken from it, and how far it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NamesSource {
    pub(crate) stamp: FileStamp,
    mark: Mark,
}

impl NamesSource {
    pub(crate) async fn known<'a>(executor: impl Executor<'a, Database = Sqlite>) -> Result<Option<Self>> {
        let sql = "SELECT size, modified_ns, inode, end_byte, last_line_start, last_line_hash FROM names_source";
        let row = sqlx::query(sql).fetch_optional(executor).await?;
        row.map(|row| {
            let number = |column: usize| -> Result<u64> { Ok(unsigned(row.try_get(column)?)) };
            let stamp = stamp_of_row(&row, 0)?;
            let mark = Mark { end: number(3)?, last_line_start: number(4)?, last_line_hash: number(5)? };
            Ok(Self { stamp, mark })
        })
        .transpose()
    }

    async fn store(&self, connection: &mut SqliteConnection) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO names_source \
            (only, size, modified_ns, inode, end_byte, last_line_start, last_line_hash) VALUES (1, ?, ?, ?, ?, ?, ?)";
        sqlx::query(sql)
            .bind(signed(self.stamp.size))
            .bind(self.stamp.changed_ns)
            .bind(signed(self.stamp.inode))
            .bind(signed(self.mark.end))
            .bind(signed(self.mark.last_line_start))
            .bind(signed(self.mark.last_line_hash))
            .execute(connection)
            .await?;
        Ok(())
    }
}

/// How the name index looks; as an empty one when it cannot be told.
pub(crate) fn stamp_of_names(home: &RolloutHome) -> FileStamp {
    FileStamp::read(&home.name_index_path()).unwrap_or_default()
}

/// What was read of the name index: all of it, or what stands behind what was known.
struct ReadNames {
    source: NamesSource,
    is_whole: bool,
    /// The name of each thread that has lines there, or that it has none.
    names: HashMap<ThreadId, Option<String>>,
}

impl ReadNames {
    fn read(home: &RolloutHome, known: Option<NamesSource>) -> Result<Self> {
        // Before it is read: what is added meanwhile is found the next time.
        let stamp = stamp_of_names(home);
        let has_grown = |known: &NamesSource| known.stamp.inode == stamp.inode && known.stamp.size < stamp.size;
        if let Some(NamesSource { mark, .. }) = known.filter(|known| known.mark.end > 0 && has_grown(known)) {
            let bytes = bytes_from(home, mark.last_line_start)?;
            let line = usize::try_from(mark.end - mark.last_line_start).ok().and_then(|len| bytes.get(..len));
            if line.is_some_and(|line| hash(line) == mark.last_line_hash) {
                return Ok(Self::of(stamp, mark.last_line_start, &bytes, false));
            }
        }
        Ok(Self::of(stamp, 0, &bytes_from(home, 0)?, true))
    }

    /// What the bytes from `start` on say.
    fn of(stamp: FileStamp, start: u64, bytes: &[u8], is_whole: bool) -> Self {
        let end = memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
        let last_line = memchr::memrchr(b'\n', &bytes[..end.saturating_sub(1)]).map_or(0, |at| at + 1);
        let mark = Mark {
            end: start + end as u64,
            last_line_start: start + last_line as u64,
            last_line_hash: hash(&bytes[last_line..end]),
        };
        let source = NamesSource { stamp, mark };
        let names = NameIndex::lines(bytes).map(|(id, entry)| (id, entry.map(|entry| entry.name))).collect();
        Self { source, is_whole, names }
    }
}

/// The bytes of the name index from a place on; none when it is missing or shorter.
fn bytes_from(home: &RolloutHome, start: u64) -> Result<Vec<u8>> {
    let path = home.name_index_path();
    let mut bytes = Vec::new();
    let read = File::open(&path).and_then(|mut file| {
        file.seek(SeekFrom::Start(start))?;
        file.read_to_end(&mut bytes)
    });
    match read {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(RolloutError::Io { action: "read", path, source }.into())
        }
        _ => Ok(bytes),
    }
}

impl StateIndex {
    /// Takes over what changed in the name index, and says how many rows have another name now.
    pub(crate) async fn sync_names(&self, patience: WaitPolicy) -> Result<u64> {
        for _ in 0..ROUNDS {
            let known = NamesSource::known(&self.database.readers).await?;
            let home = self.home.clone();
            let read = blocking(move || {
                let is_known = known.is_some_and(|known| known.stamp == stamp_of_names(&home));
                if is_known { Ok(None) } else { ReadNames::read(&home, known).map(Some) }
            });
            let Some(read) = read.await? else { break };
            let mut transaction = self.database.begin(patience).await?;
            // Of two processes the later one wins with the later names: who comes late reads again.
            if NamesSource::known(&mut *transaction).await? == known {
                let renamed = take_names(&mut transaction, read).await?;
                transaction.commit().await?;
                return Ok(renamed);
            }
        }
        // Somebody else has them, or has had newer ones each time.
        Ok(0)
    }
}

/// Takes over what changed in the name index.
async fn take_names(connection: &mut SqliteConnection, read: ReadNames) -> Result<u64> {
    let ReadNames { source, is_whole, names } = read;
    if is_whole {
        sqlx::query("DELETE FROM names").execute(&mut *connection).await?;
    } else {
        let sql = "DELETE FROM names WHERE thread_id IN (SELECT unhex(value) FROM json_each(?))";
        sqlx::query(sql).bind(ids(names.keys())).execute(&mut *connection).await?;
    }
    let named: Vec<(&ThreadId, &String)> = names.iter().filter_map(|(id, name)| Some((id, name.as_ref()?))).collect();
    let columns = "INSERT INTO names (thread_id, name, name_folded, name_searched) ";
    insert(connection, columns, "", &named, |mut row, (id, name)| {
        row.push_bind(id.as_uuid()).push_bind(*name).push_bind(name.to_lowercase()).push_bind(fold_text(name));
    })
    .await?;
    source.store(connection).await?;
    let changed = (!is_whole).then(|| ids(names.keys()));
    give_names(connection, changed).await
}

/// Gives these rows, or all, the names that the table of names has for them, and says how many had another one.
pub(crate) async fn give_names(connection: &mut SqliteConnection, threads: Option<String>) -> Result<u64> {
    let set = "UPDATE threads SET (name, name_folded, name_searched) = \
        (SELECT name, name_folded, name_searched FROM names WHERE thread_id = threads.id) \
        WHERE name IS NOT (SELECT name FROM names WHERE thread_id = threads.id)";
    let outcome = match threads {
        Some(threads) => {
            let sql = format!("{set} AND id IN (SELECT unhex(value) FROM json_each(?))");
            sqlx::query(&sql).bind(threads).execute(connection).await?
        }
        None => sqlx::query(set).execute(connection).await?,
    };
    Ok(outcome.rows_affected())
}
