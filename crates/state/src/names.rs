//! The names of threads, copied from the name index of the home.
//!
//! The table `names` holds the name of every thread in the name index, also of threads without a record. Each thread record has a
//! copy of its name. Names are appended to the name index, so that usually only what was appended is read: a rename costs the
//! same however many names there are.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use selvedge_history::fold_text;
use selvedge_protocol::ThreadId;
use selvedge_rollout::{FileStamp, NameIndex, RolloutError, RolloutHome};
use sqlx::{Executor, Sqlite, SqliteConnection};

use crate::blocking::blocking;
use crate::database::WaitPolicy;
use crate::error::Result;
use crate::file_columns::{read_prefix, read_stamp};
use crate::index::StateIndex;
use crate::indexed_prefix::{IndexedPrefix, line_hash};
use crate::limits::NAME_ROUNDS;
use crate::sql::{ids_json, insert_rows, signed};

/// The state of the name index when it was read: its stamp, and how far it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NamesSource {
    pub(crate) stamp: FileStamp,
    prefix: IndexedPrefix,
}

impl NamesSource {
    /// Loads the source of the names in the database. `None` if the name index was never read.
    pub(crate) async fn load<'a>(executor: impl Executor<'a, Database = Sqlite>) -> Result<Option<Self>> {
        let sql = "SELECT size, modified_ns, inode, end_byte, last_line_start, last_line_hash FROM names_source";
        let row = sqlx::query(sql).fetch_optional(executor).await?;
        row.map(|row| Ok(Self { stamp: read_stamp(&row, 0)?, prefix: read_prefix(&row, 3)? })).transpose()
    }

    async fn store(&self, connection: &mut SqliteConnection) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO names_source \
            (only, size, modified_ns, inode, end_byte, last_line_start, last_line_hash) VALUES (1, ?, ?, ?, ?, ?, ?)";
        sqlx::query(sql)
            .bind(signed(self.stamp.size))
            .bind(self.stamp.changed_ns)
            .bind(signed(self.stamp.inode))
            .bind(signed(self.prefix.end))
            .bind(signed(self.prefix.last_line_start))
            .bind(signed(self.prefix.last_line_hash))
            .execute(connection)
            .await?;
        Ok(())
    }
}

/// Returns the stamp of the name index. If it is missing or cannot be read, returns the stamp of an empty file.
pub(crate) fn stat_name_index(home: &RolloutHome) -> FileStamp {
    FileStamp::read(&home.name_index_path()).unwrap_or_default()
}

/// What was read of the name index.
struct ReadNames {
    source: NamesSource,
    /// Whether the whole file was read, and not only what was appended.
    is_whole: bool,
    /// The name of each thread that has lines in what was read. `None` if its last line removes the name.
    names: HashMap<ThreadId, Option<String>>,
}

impl ReadNames {
    /// Reads what was appended behind the known prefix, or the whole file if it does not begin with that prefix any more.
    fn read(home: &RolloutHome, known: Option<NamesSource>) -> Result<Self> {
        // Before the file is read: what is appended meanwhile is found the next time.
        let stamp = stat_name_index(home);
        let has_grown = |known: &NamesSource| known.stamp.inode == stamp.inode && known.stamp.size < stamp.size;
        if let Some(NamesSource { prefix, .. }) = known.filter(|known| known.prefix.end > 0 && has_grown(known)) {
            // From the last known line on, because that line shows whether the file was rewritten.
            let bytes = read_from(home, prefix.last_line_start)?;
            let line = usize::try_from(prefix.end - prefix.last_line_start).ok().and_then(|len| bytes.get(..len));
            if line.is_some_and(|line| line_hash(line) == prefix.last_line_hash) {
                return Ok(Self::parse(stamp, prefix.last_line_start, &bytes, false));
            }
        }
        Ok(Self::parse(stamp, 0, &read_from(home, 0)?, true))
    }

    /// Parses the bytes of the name index from offset `start` on. The prefix ends with the last complete line; a torn line is used,
    /// and read again when it is complete.
    fn parse(stamp: FileStamp, start: u64, bytes: &[u8], is_whole: bool) -> Self {
        let end = memchr::memrchr(b'\n', bytes).map_or(0, |newline| newline + 1);
        let last_line = memchr::memrchr(b'\n', &bytes[..end.saturating_sub(1)]).map_or(0, |newline| newline + 1);
        let prefix = IndexedPrefix {
            end: start + end as u64,
            last_line_start: start + last_line as u64,
            last_line_hash: line_hash(&bytes[last_line..end]),
        };
        let source = NamesSource { stamp, prefix };
        let names = NameIndex::lines(bytes).map(|(id, entry)| (id, entry.map(|entry| entry.name))).collect();
        Self { source, is_whole, names }
    }
}

/// Reads the name index from an offset on. Returns no bytes if it is missing or shorter.
fn read_from(home: &RolloutHome, start: u64) -> Result<Vec<u8>> {
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
    /// Stores what changed in the name index. Returns how many threads have another name now.
    pub(crate) async fn update_names(&self, wait: WaitPolicy) -> Result<u64> {
        for _ in 0..NAME_ROUNDS {
            let known = NamesSource::load(&self.database.readers).await?;
            let home = self.home.clone();
            let read = blocking(move || {
                let is_known = known.is_some_and(|known| known.stamp == stat_name_index(&home));
                if is_known { Ok(None) } else { ReadNames::read(&home, known).map(Some) }
            });
            let Some(read) = read.await? else { break };
            let mut transaction = self.database.begin(wait).await?;
            // The file was read without the write lock. If another process stored names meanwhile, these could be older ones:
            // they are read again.
            if NamesSource::load(&mut *transaction).await? == known {
                let renamed = store_names(&mut transaction, read).await?;
                transaction.commit().await?;
                return Ok(renamed);
            }
        }
        // The names are known already, or another process stored newer ones each time.
        Ok(0)
    }
}

/// Stores names. Returns how many threads have another name now.
async fn store_names(connection: &mut SqliteConnection, read: ReadNames) -> Result<u64> {
    let ReadNames { source, is_whole, names } = read;
    // A whole file replaces all names. Appended lines replace those of their threads; an empty name only removes one.
    if is_whole {
        sqlx::query("DELETE FROM names").execute(&mut *connection).await?;
    } else {
        let sql = "DELETE FROM names WHERE thread_id IN (SELECT unhex(value) FROM json_each(?))";
        sqlx::query(sql).bind(ids_json(names.keys())).execute(&mut *connection).await?;
    }
    let named: Vec<(&ThreadId, &String)> = names.iter().filter_map(|(id, name)| Some((id, name.as_ref()?))).collect();
    let columns = "INSERT INTO names (thread_id, name, name_folded, name_searched) ";
    insert_rows(connection, columns, "", &named, |mut row, (id, name)| {
        row.push_bind(id.as_uuid()).push_bind(*name).push_bind(name.to_lowercase()).push_bind(fold_text(name));
    })
    .await?;
    // In the same transaction as the names, so that names and source always belong together.
    source.store(connection).await?;
    let changed = (!is_whole).then(|| ids_json(names.keys()));
    apply_names(connection, changed).await
}

/// Copies names from the table `names` to the records of these threads ([`ids_json`]), or of all. Returns how many had another
/// name.
pub(crate) async fn apply_names(connection: &mut SqliteConnection, threads: Option<String>) -> Result<u64> {
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
