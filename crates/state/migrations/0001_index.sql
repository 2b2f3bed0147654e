-- The index of a home. Everything here was read from its rollouts and can be read from them again, so a change of this
-- file needs no second migration: an index that was made with another text is thrown away and built anew.

-- One row for each rollout file that counts: what was read of it, and how the file looked just before.
CREATE TABLE segments (
    path            TEXT    NOT NULL PRIMARY KEY,  -- below the home
    thread_id       BLOB    NOT NULL,
    segment_id      BLOB    NOT NULL,
    path_hash       INTEGER NOT NULL,              -- a number made of the path: the sum of all tells whether files came or went
    size            INTEGER NOT NULL,              -- bytes
    modified_ns     INTEGER NOT NULL,              -- since 1970
    inode           INTEGER NOT NULL,
    indexed_bytes   INTEGER NOT NULL,              -- just past the last whole line that was read
    last_line_start INTEGER NOT NULL,              -- where that line begins
    last_line_hash  INTEGER NOT NULL
) STRICT;
CREATE INDEX segments_by_thread ON segments (thread_id);
CREATE INDEX segments_by_id ON segments (segment_id);
CREATE INDEX segments_by_change ON segments (modified_ns);
CREATE INDEX segments_by_path_hash ON segments (path_hash);

-- Which segments a thread's history goes through besides its newest one.
CREATE TABLE bases (
    thread_id  BLOB NOT NULL,
    segment_id BLOB NOT NULL,
    part       INTEGER,                            -- its place among the parts, from 0; none for one that is missing
    end_byte   INTEGER NOT NULL,                   -- just past the last line of its share
    PRIMARY KEY (thread_id, segment_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX bases_by_segment ON bases (segment_id);

-- One row for each thread. `record` is the whole row as JSON, without what stands in columns of its own because it changes
-- without the log: name, archived, path.
CREATE TABLE threads (
    id             BLOB    NOT NULL PRIMARY KEY,
    created_at     INTEGER NOT NULL,               -- milliseconds since 1970, as the other two
    updated_at     INTEGER NOT NULL,
    recency_at     INTEGER NOT NULL,
    archived       INTEGER NOT NULL,
    name           TEXT,
    name_folded    TEXT,                           -- in lower case
    name_searched  TEXT,                           -- as texts are compared in a search
    preview_folded TEXT,
    source         TEXT,
    model_provider TEXT,
    model          TEXT,
    cwd            TEXT,                           -- in its shortest form
    cwd_key        TEXT,                           -- the one text for all spellings of the directory
    git_branch     TEXT,
    git_repository TEXT,                           -- the one name for all its URLs
    forked_from_id BLOB,
    parent_id      BLOB,
    path           TEXT    NOT NULL,               -- of the newest segment, below the home
    record         TEXT    NOT NULL,
    is_resumable   INTEGER NOT NULL,               -- whether a tail can be folded onto it
    is_incomplete  INTEGER NOT NULL,               -- whether a base is missing or short
    tail           TEXT,                           -- where the turns can be told further, as JSON
    scan_id        INTEGER NOT NULL                -- a number of the last scan of the whole history
) STRICT;
CREATE INDEX threads_by_created ON threads (created_at, id);
CREATE INDEX threads_by_updated ON threads (updated_at, id);
CREATE INDEX threads_by_recency ON threads (recency_at, id);
CREATE INDEX threads_by_name ON threads (name_searched, id) WHERE name_searched IS NOT NULL;
CREATE INDEX threads_by_directory ON threads (cwd_key, cwd);
CREATE INDEX threads_by_fork ON threads (forked_from_id) WHERE forked_from_id IS NOT NULL;
CREATE INDEX threads_by_parent ON threads (parent_id) WHERE parent_id IS NOT NULL;

-- One row for each turn: where it stands in the parts of its thread's history, and where its items do. What it says is in
-- the log alone.
CREATE TABLE turns (
    thread_id  BLOB    NOT NULL,
    place      INTEGER NOT NULL,                   -- how many turns stand before it
    turn_id    TEXT    NOT NULL,
    first_line INTEGER NOT NULL,                   -- position in the history
    end_line   INTEGER NOT NULL,                   -- just past its last line
    start_part INTEGER NOT NULL,
    start_byte INTEGER NOT NULL,
    end_part   INTEGER NOT NULL,
    end_byte   INTEGER NOT NULL,
    next_item  INTEGER NOT NULL,                   -- number of its first item that the log gives no id
    paginated  INTEGER NOT NULL,
    is_self_contained INTEGER NOT NULL,            -- whether its lines alone tell it
    items      BLOB    NOT NULL,                   -- for each item the line, the number and the bytes, packed
    PRIMARY KEY (thread_id, place)
) STRICT, WITHOUT ROWID;

-- What happened in each thread: its turns and the tokens that they cost, by quarter of an hour and model, as JSON. An answer
-- reads those of all threads, so they stand in rows of their own.
CREATE TABLE activities (
    thread_id BLOB NOT NULL PRIMARY KEY,
    counts    TEXT NOT NULL,
    fold      TEXT NOT NULL                        -- what has to be known of the lines so far to go on with appended ones
) STRICT;

-- What the name index says, also of threads without a row. Rows of `threads` have a copy.
CREATE TABLE names (
    thread_id     BLOB NOT NULL PRIMARY KEY,
    name          TEXT NOT NULL,
    name_folded   TEXT NOT NULL,
    name_searched TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- How the name index looked when the names were taken from it, and how far it was read.
CREATE TABLE names_source (
    only            INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    size            INTEGER NOT NULL,
    modified_ns     INTEGER NOT NULL,
    inode           INTEGER NOT NULL,
    end_byte        INTEGER NOT NULL,              -- just past the last whole line
    last_line_start INTEGER NOT NULL,
    last_line_hash  INTEGER NOT NULL
) STRICT;

-- When every file of the home was last looked at; no row while that was never done to the end.
CREATE TABLE checks (
    only       INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    checked_at INTEGER NOT NULL,                   -- milliseconds since 1970
    filled_at  INTEGER NOT NULL                    -- nanoseconds since 1970: when that was done to the end for the first time
) STRICT;

-- How the directories looked when the index knew every file in them, as JSON.
CREATE TABLE directories (
    only  INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    looks TEXT    NOT NULL
) STRICT;

-- How often everything was forgotten: who filled the index with what was known before has not filled it.
CREATE TABLE clearings (
    only  INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    count INTEGER NOT NULL
) STRICT;
INSERT INTO clearings (only, count) VALUES (1, 0);

-- Full text. A run is a piece of an index of words, which is not changed once it is written: its items are numbered, those of a
-- thread one after the other, and its words stand in blocks in their order. `directory` says which numbers are those of which
-- thread, and with which word each block begins. Words are those of the folded text; in scripts without spaces between words they
-- are pairs of letters.
CREATE TABLE search_runs (
    run       INTEGER PRIMARY KEY AUTOINCREMENT,   -- newer runs have higher numbers, and none has that of another one
    size      INTEGER NOT NULL,                    -- of its blocks, in bytes
    directory BLOB    NOT NULL
) STRICT;
CREATE TABLE search_blocks (
    id       INTEGER PRIMARY KEY,                  -- the run, and behind it the place of the block
    words    BLOB    NOT NULL,
    postings BLOB    NOT NULL                      -- for each word in which items it stands, and how often
) STRICT;

-- Which items of a run are those of a thread.
CREATE TABLE search_threads (
    thread_id BLOB    NOT NULL,
    run       INTEGER NOT NULL,
    until     INTEGER,                             -- items from this packed place (turn, item) on count no more; none: all count
    docs      BLOB    NOT NULL,                    -- for each item its turn and its place in it, packed
    PRIMARY KEY (thread_id, run)
) STRICT, WITHOUT ROWID;
CREATE INDEX search_threads_by_run ON search_threads (run);
CREATE INDEX search_threads_superseded ON search_threads (run, thread_id, until) WHERE until IS NOT NULL;
