-- Lists, names and changes without reading all threads. docs/scale.md describes it.

-- What lists sort and filter by, from the thread record. NULL until a program has filled them: `selvedge store migrate` does so for
-- rows of earlier versions, whose record_version is 1.
ALTER TABLE threads
    ADD COLUMN record_created_at bigint,
    ADD COLUMN record_updated_at bigint,
    ADD COLUMN record_recency_at bigint,
    ADD COLUMN source bytea,
    ADD COLUMN model_provider bytea,
    ADD COLUMN model bytea,
    -- The beginning of the text by which directories are compared. An entry of an index is limited to a third of a page.
    ADD COLUMN directory bytea,
    ADD COLUMN git_branch bytea,
    -- The one name of a repository for all its URLs.
    ADD COLUMN git_repository bytea,
    ADD COLUMN forked_from_id uuid,
    ADD COLUMN parent_id uuid,
    ADD COLUMN name_start bytea GENERATED ALWAYS AS (substring(name FROM 1 FOR 256)) STORED;

CREATE INDEX threads_by_creation ON threads (namespace, archived, record_created_at, thread_id);
CREATE INDEX threads_by_update ON threads (namespace, archived, record_updated_at, thread_id);
CREATE INDEX threads_by_recency ON threads (namespace, archived, record_recency_at, thread_id);
CREATE INDEX threads_by_directory ON threads (namespace, directory, archived, record_updated_at, thread_id)
    WHERE directory IS NOT NULL;
CREATE INDEX threads_by_name ON threads (namespace, name_start) WHERE name_start IS NOT NULL;
CREATE INDEX threads_by_fork ON threads (namespace, forked_from_id) WHERE forked_from_id IS NOT NULL;
CREATE INDEX threads_by_parent ON threads (namespace, parent_id) WHERE parent_id IS NOT NULL;
-- The threads whose columns may not be what their lines say. 2 is the version of the record and the columns; a program with
-- another one comes with a migration that makes this index again.
CREATE INDEX threads_in_progress ON threads (namespace, thread_id) WHERE is_unsettled OR record_version <> 2;

-- From here on it is for PostgreSQL alone. Without it, readers of changes compare the rows of all threads.

-- The transaction that changed the row last, except for renewals of claims. A reader of changes asks for the rows of transactions
-- that were not finished when it asked before, so it misses none that is committed late.
ALTER TABLE threads ADD COLUMN changed_in xid8;
CREATE INDEX threads_by_change ON threads (namespace, changed_in);

-- The threads that were deleted within the last day.
CREATE TABLE deleted_threads (
    namespace text NOT NULL,
    thread_id uuid NOT NULL,
    deleted_in xid8 NOT NULL,
    deleted_at timestamptz NOT NULL,
    PRIMARY KEY (namespace, thread_id)
);
CREATE INDEX deleted_threads_by_change ON deleted_threads (namespace, deleted_in);
CREATE INDEX deleted_threads_by_age ON deleted_threads (namespace, deleted_at);

ALTER TABLE deleted_threads ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_namespaces ON deleted_threads
    USING (namespace = ANY (ARRAY(SELECT n.namespace FROM namespace_roles n)));

CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.changed_in := pg_current_xact_id();
    RETURN NEW;
END $$;

CREATE FUNCTION note_deletion() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format(
        'INSERT INTO %I.deleted_threads (namespace, thread_id, deleted_in, deleted_at)
        VALUES ($1, $2, pg_current_xact_id(), clock_timestamp())
        ON CONFLICT (namespace, thread_id) DO UPDATE SET deleted_in = excluded.deleted_in, deleted_at = excluded.deleted_at',
        TG_TABLE_SCHEMA
    ) USING OLD.namespace, OLD.thread_id;
    -- Old ones go, a few at a time. Those that another transaction removes just now are left to it.
    EXECUTE format(
        'DELETE FROM %1$I.deleted_threads d USING (
            SELECT o.thread_id FROM %1$I.deleted_threads o
            WHERE o.namespace = $1 AND o.deleted_at < clock_timestamp() - interval ''1 day''
            ORDER BY o.deleted_at LIMIT 10 FOR UPDATE SKIP LOCKED
        ) old WHERE d.namespace = $1 AND d.thread_id = old.thread_id',
        TG_TABLE_SCHEMA
    ) USING OLD.namespace;
    RETURN NULL;
END $$;

CREATE TRIGGER note_change BEFORE INSERT OR UPDATE OF revision ON threads FOR EACH ROW EXECUTE FUNCTION note_change();
CREATE TRIGGER note_deletion AFTER DELETE ON threads FOR EACH ROW EXECUTE FUNCTION note_deletion();
