-- Projections of threads: where their turns are, and which keys of words their items have. Everything here was read from lines and can
-- be read from them again. docs/scale.md describes the tables.

-- The version of the projections if they have every line of the thread, else 0: lines may have come since. A claim sets it to 0, an
-- append does not change it.
ALTER TABLE threads ADD COLUMN projection_version integer NOT NULL DEFAULT 0;

CREATE INDEX threads_by_projection ON threads (namespace, projection_version);
CREATE INDEX threads_with_names ON threads (namespace, thread_id) WHERE name IS NOT NULL;

-- What the rows of turns and of search_blocks were read from.
CREATE TABLE projections (
    namespace text NOT NULL,
    thread_id uuid NOT NULL,
    -- Another one after each change of the projections. A process that read lines writes what it found only if nobody else did meanwhile.
    state uuid NOT NULL,
    version integer NOT NULL,
    -- The segments that the history went through, as JSON.
    chain bytea NOT NULL,
    -- The byte of the newest segment that follows the last line.
    projected_to bigint NOT NULL,
    turns bigint NOT NULL,
    -- Where the turns can be projected further, as JSON. NULL if all lines have to be read again.
    resume_point bytea,
    PRIMARY KEY (namespace, thread_id)
) PARTITION BY HASH (namespace, thread_id);

CREATE TABLE turns (
    namespace text NOT NULL,
    thread_id uuid NOT NULL,
    -- How many turns are before it.
    turn_index bigint NOT NULL,
    turn_id bytea NOT NULL,
    -- Its lines, as positions in the history. The end is exclusive, as that of its bytes.
    first_line bigint NOT NULL,
    end_line bigint NOT NULL,
    -- A part is the number of a segment of the chain.
    start_part bigint NOT NULL,
    start_byte bigint NOT NULL,
    end_part bigint NOT NULL,
    end_byte bigint NOT NULL,
    -- The number of its first item that has no id in the log.
    next_item bigint NOT NULL,
    paginated boolean NOT NULL,
    -- Whether the turn can be read from its lines alone.
    is_self_contained boolean NOT NULL,
    -- For each item its line and its bytes, packed.
    items bytea NOT NULL,
    PRIMARY KEY (namespace, thread_id, turn_index)
) PARTITION BY HASH (namespace, thread_id);

-- Blocks of consecutive turns, and the keys of the words that their items have, in ascending order.
CREATE TABLE search_blocks (
    namespace text NOT NULL,
    thread_id uuid NOT NULL,
    first_turn bigint NOT NULL,
    end_turn bigint NOT NULL,
    keys integer[] NOT NULL,
    PRIMARY KEY (namespace, thread_id, first_turn)
) PARTITION BY HASH (namespace, thread_id);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['projections', 'turns', 'search_blocks'] LOOP
        FOR number IN 0..7 LOOP
            EXECUTE format(
                'CREATE TABLE %I PARTITION OF %I FOR VALUES WITH (MODULUS 8, REMAINDER %s)',
                name || '_p' || number, name, number
            );
            EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name || '_p' || number);
        END LOOP;
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY own_namespaces ON %I USING (namespace = ANY (ARRAY(SELECT n.namespace FROM namespace_roles n)))',
            name
        );
    END LOOP;
END $$;

-- An extra: without this index, a search compares the keys of all blocks. New entries do not wait in a list, which each search would
-- have to read. Rows of up to a page stay whole, so that the server does not take reading all of them for cheap.
DO $$
BEGIN
    FOR number IN 0..7 LOOP
        EXECUTE format('ALTER TABLE %I SET (toast_tuple_target = 8160)', 'search_blocks_p' || number);
    END LOOP;
    CREATE INDEX search_blocks_by_key ON search_blocks USING gin (keys) WITH (fastupdate = off);
EXCEPTION WHEN OTHERS THEN
    RAISE NOTICE 'searches compare the keys of all blocks: %', SQLERRM;
END $$;
