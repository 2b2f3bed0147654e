//! Forks: a reference to the source in paginated mode, a copy of it in legacy mode.

use std::io::{self, Read, Write};

use selvedge_history::markers::is_user_message;
use selvedge_protocol::{
    AgentMessageEvent, EventMsg, HistoryBase, HistoryMode, LineFormat, RolloutItem, RolloutLine, SessionMeta,
    StoredThread, Timestamp, UserMessageEvent,
};
use selvedge_rollout::{
    Entry, ResolvedHistory, ReverseReader, RolloutError, RolloutFile, RolloutFileName, RolloutReader, open_bytes,
    read_head, write_new_file,
};
use selvedge_thread_store::cut::{CutPoint, find_cut};
use selvedge_thread_store::segment::{fork_head, identity, inherit_head};
use selvedge_thread_store::{ForkThread, Result, StoreError, TurnCut};

use crate::error::store_error;
use crate::history::{Place, for_each_line};
use crate::store::Inner;

impl Inner {
    pub(crate) fn fork(&self, request: ForkThread) -> Result<StoredThread> {
        let (thread_id, at) = identity(&request.meta)?;
        let resolved = self.resolve(&self.files()?, request.source)?;
        self.refuse_existing(thread_id)?;
        let source_head = read_head(resolved.newest()).map_err(store_error)?.unwrap_or_default();
        let mode = source_head.mode();
        let mut meta = request.meta;
        inherit_head(&mut meta, &source_head);
        let path = self.home.active_path(&RolloutFileName::new(at, thread_id, None));
        match mode {
            HistoryMode::Paginated => {
                let base = self.place_of_cut(&resolved, &request.at)?.map(base_at);
                let head = fork_head(meta, request.source, mode, base);
                write_new_file(&path, |out| write_head(out, at, head)).map_err(store_error)?;
            }
            HistoryMode::Legacy => {
                let source = self.bytes_to_copy(&resolved, &request.at)?;
                let head = fork_head(meta, request.source, mode, None);
                let write = |out: &mut dyn Write| {
                    write_head(out, at, head)?;
                    source.copy(out, at)
                };
                write_new_file(&path, write).map_err(store_error)?;
            }
        }
        self.read_thread(thread_id)
    }

    /// The place of a cut in a paginated history; nothing when there is but heads before it.
    fn place_of_cut(&self, resolved: &ResolvedHistory, at: &TurnCut) -> Result<Option<Place>> {
        match at {
            TurnCut::Latest => self.last_place(resolved),
            at => place_before(resolved, self.find_cut(resolved, at)?.position),
        }
    }

    /// Looks a cut up in the turns of a history.
    pub(crate) fn find_cut(&self, resolved: &ResolvedHistory, at: &TurnCut) -> Result<CutPoint> {
        let (turns, lines) = self.turns_of(resolved)?;
        find_cut(resolved.thread_id, &turns, lines, at)
    }

    /// The end of a history, found from its end: no more is read than its last lines.
    fn last_place(&self, resolved: &ResolvedHistory) -> Result<Option<Place>> {
        let newest = resolved.newest();
        let segment_id = newest.name.segment_id();
        let builds_on_more = resolved.parts.len() > 1 || resolved.missing.is_some();
        let mut last = None;
        for record in last_lines(newest)? {
            let record = record?;
            last = last.or(Place::behind(segment_id, &record));
            if last.is_some() && (builds_on_more || record.line.kind() != "session_meta") {
                return Ok(last);
            }
        }
        Ok(None)
    }

    /// The share of a legacy log that is before a cut.
    fn bytes_to_copy(&self, resolved: &ResolvedHistory, at: &TurnCut) -> Result<LegacyBytes> {
        let end = match at {
            TurnCut::Latest => self.end_of_log(resolved)?,
            at => byte_before(resolved, self.find_cut(resolved, at)?.position)?,
        };
        Ok(LegacyBytes { file: resolved.newest().clone(), end })
    }

    /// The size of a log that may be growing under the reader: a writer of this store knows where its last batch ended.
    fn end_of_log(&self, resolved: &ResolvedHistory) -> Result<u64> {
        match self.live.find(resolved.thread_id) {
            Some(live) => live.with_recorder(resolved.thread_id, |recorder| Ok(recorder.end().1)),
            None => Ok(u64::MAX),
        }
    }
}

/// The base of a segment that begins at a place.
pub(crate) fn base_at(place: Place) -> HistoryBase {
    HistoryBase {
        thread_id: Some(place.segment_id),
        end_ordinal_exclusive: Some(place.ordinal),
        end_byte_offset: Some(place.byte),
        ..HistoryBase::default()
    }
}

/// The place before the line at `position`; nothing when there are but heads before it.
pub(crate) fn place_before(resolved: &ResolvedHistory, position: u64) -> Result<Option<Place>> {
    let mut place = None;
    let mut only_heads = true;
    let mut count = 0;
    for_each_line(resolved, |part, record| {
        if count < position {
            only_heads &= record.line.kind() == "session_meta";
            place = Place::behind(resolved.parts[part].file.name.segment_id(), &record).or(place);
        }
        count += 1;
    })?;
    Ok(place.filter(|_| !only_heads))
}

/// The byte just past the line before `position` in the newest segment.
fn byte_before(resolved: &ResolvedHistory, position: u64) -> Result<u64> {
    let (mut end, mut count) = (0, 0);
    for_each_line(resolved, |_, record| {
        if count < position {
            end = record.range.end;
        }
        count += 1;
    })?;
    Ok(end)
}

/// The lines of a file from its end.
fn last_lines(file: &RolloutFile) -> Result<Box<dyn Iterator<Item = Result<selvedge_rollout::LineRecord>>>> {
    let line = |entry: std::result::Result<Entry, _>| match entry {
        Ok(Entry::Line(record)) => Some(Ok(record)),
        Ok(Entry::Damage(_)) => None,
        Err(error) => Some(Err(store_error(error))),
    };
    if !file.name.compressed {
        return Ok(Box::new(ReverseReader::open(&file.path).map_err(store_error)?.filter_map(line)));
    }
    // A compressed file can be read forwards only.
    let mut lines: Vec<_> = RolloutReader::open(&file.path).map_err(store_error)?.filter_map(line).collect();
    lines.reverse();
    Ok(Box::new(lines.into_iter()))
}

fn write_head(out: &mut dyn Write, at: Timestamp, head: SessionMeta) -> io::Result<()> {
    let ordinal = match head.mode() {
        HistoryMode::Legacy => None,
        HistoryMode::Paginated => {
            Some(head.history_base.as_ref().and_then(|base| base.end_ordinal_exclusive).unwrap_or(0))
        }
    };
    let mut bytes = Vec::new();
    RolloutLine::encode(&mut bytes, at, ordinal, &head.into());
    out.write_all(&bytes)
}

/// The first bytes of a legacy log.
struct LegacyBytes {
    file: RolloutFile,
    end: u64,
}

impl LegacyBytes {
    /// Copies the bytes as they are, damage and all. Only lines from before the envelope are put into one, because a log
    /// that begins with an envelope is expected to go on so.
    fn copy(&self, out: &mut dyn Write, at: Timestamp) -> io::Result<()> {
        if self.is_bare().map_err(io::Error::other)? {
            return self.copy_enveloped(out, at).map_err(io::Error::other);
        }
        let (mut bytes, _) = open_bytes(&self.file.path, 0..self.end).map_err(io::Error::other)?;
        let mut last = [b'\n'];
        let mut block = vec![0; 1 << 16];
        loop {
            let len = bytes.read(&mut block)?;
            let Some(end) = block[..len].last() else { break };
            last = [*end];
            out.write_all(&block[..len])?;
        }
        // A torn last line is copied, too, and must not swallow the fork's first own one.
        if last == [b'\n'] { Ok(()) } else { out.write_all(b"\n") }
    }

    fn is_bare(&self) -> Result<bool, RolloutError> {
        for entry in RolloutReader::open(&self.file.path)? {
            if let Entry::Line(record) = entry? {
                return Ok(record.line.format() == LineFormat::Bare);
            }
        }
        Ok(false)
    }

    fn copy_enveloped(&self, out: &mut dyn Write, at: Timestamp) -> Result<(), StoreError> {
        for entry in RolloutReader::open_range(&self.file.path, 0..self.end).map_err(store_error)? {
            let Entry::Line(record) = entry.map_err(store_error)? else { continue };
            let mut bytes = Vec::new();
            if record.line.format() == LineFormat::Bare {
                let at = record.line.timestamp().unwrap_or(at);
                for item in modern_items(record.line.item()) {
                    RolloutLine::encode(&mut bytes, at, None, &item);
                }
            } else {
                bytes.extend_from_slice(record.line.text().as_bytes());
                bytes.push(b'\n');
            }
            out.write_all(&bytes).map_err(|error| StoreError::backend("cannot copy the log", error))?;
        }
        Ok(())
    }
}

/// The item of a line from before the envelope, with the event that a client shows of it: logs of that time held no events,
/// and ones that begin with an envelope are shown by nothing else.
fn modern_items(item: RolloutItem) -> Vec<RolloutItem> {
    let event: Option<EventMsg> = match &item {
        RolloutItem::ResponseItem(message) if is_user_message(message) => {
            Some(UserMessageEvent { message: Some(message.texts().concat()), ..Default::default() }.into())
        }
        RolloutItem::ResponseItem(message) if message.role().as_deref() == Some("assistant") => {
            Some(AgentMessageEvent { message: Some(message.texts().concat()), ..Default::default() }.into())
        }
        _ => None,
    };
    std::iter::once(item).chain(event.map(RolloutItem::EventMsg)).collect()
}
