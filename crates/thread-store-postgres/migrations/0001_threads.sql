-- The tables of a store. docs/scale.md describes them.
--
-- Every key begins with the namespace and the thread, and every table is hash-partitioned by both. No constraint and no sequence
-- spans threads, except that the id of a segment has one owner (segment_owners, partitioned by the segment).
--
-- Texts that come from people or from logs are bytea (UTF-8): a text of PostgreSQL cannot contain NUL.
-- Times are milliseconds since 1970, except those of claims, which are by the clock of the server.

CREATE TABLE threads (
    namespace text NOT NULL,
    thread_id uuid NOT NULL,
    -- The claim of the writer. Every claim has an owner of its own, and the epoch counts claims.
    owner uuid,
    owner_host text,
    owner_process bigint,
    claimed_at timestamptz,
    expires_at timestamptz,
    epoch bigint NOT NULL,
    -- Whether lines may have come after the record was folded: set by a claim, cleared when the writer gives the thread up.
    is_unsettled boolean NOT NULL,
    -- Grows with every change of this row except the renewal of a claim.
    revision bigint NOT NULL,
    -- The segment in which the history ends.
    segment_id uuid NOT NULL,
    created_at bigint NOT NULL,
    name bytea,
    archived boolean NOT NULL,
    -- The thread record as JSON, without the name and the archived flag.
    record bytea NOT NULL,
    record_version integer NOT NULL,
    -- The lines before this position are in the record.
    folded_segment uuid NOT NULL,
    folded_to bigint NOT NULL,
    -- The reverts that took effect, by their batch ids, as JSON.
    reverts bytea NOT NULL,
    PRIMARY KEY (namespace, thread_id)
) PARTITION BY HASH (namespace, thread_id);

CREATE TABLE segments (
    namespace text NOT NULL,
    thread_id uuid NOT NULL,
    segment_id uuid NOT NULL,
    created_at bigint NOT NULL,
    file_name bytea,
    -- The head as JSON. NULL if there is none.
    head bytea,
    -- The segment that this one continues.
    base_id uuid,
    -- Whether lines have ordinals.
    is_paginated boolean NOT NULL,
    holds_a_line boolean NOT NULL,
    -- Whether the segment is part of its thread. While it is being copied in, it is not.
    is_visible boolean NOT NULL,
    PRIMARY KEY (namespace, thread_id, segment_id)
) PARTITION BY HASH (namespace, thread_id);

CREATE INDEX segments_by_base ON segments (namespace, base_id) WHERE base_id IS NOT NULL;

-- The bytes of segments. A row usually is a line with its newline. It can be a part of a line, and a reader splits the bytes
-- again: ordinal, kind, time and damage only say where to look.
CREATE TABLE lines (
    namespace text NOT NULL,
    thread_id uuid NOT NULL,
    segment_id uuid NOT NULL,
    start_byte bigint NOT NULL,
    ordinal bigint,
    at bigint,
    -- The batch of an append, in its first row, and how many lines it has.
    batch uuid,
    batch_lines integer,
    kind text,
    damage text,
    bytes bytea NOT NULL,
    PRIMARY KEY (namespace, thread_id, segment_id, start_byte)
) PARTITION BY HASH (namespace, thread_id);

-- The thread of each segment. A segment can name any other one as its base, also one that is copied in later.
CREATE TABLE segment_owners (
    namespace text NOT NULL,
    segment_id uuid NOT NULL,
    thread_id uuid NOT NULL,
    PRIMARY KEY (namespace, segment_id)
) PARTITION BY HASH (namespace, segment_id);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['threads', 'segments', 'lines', 'segment_owners'] LOOP
        FOR number IN 0..7 LOOP
            EXECUTE format(
                'CREATE TABLE %I PARTITION OF %I FOR VALUES WITH (MODULUS 8, REMAINDER %s)',
                name || '_p' || number, name, number
            );
        END LOOP;
    END LOOP;
END $$;
