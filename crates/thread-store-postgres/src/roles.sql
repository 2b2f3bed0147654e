-- The roles of a store of Selvedge whose tables are in the schema @.
--
--   @_migrate   owns the tables, creates and updates them, and sees all namespaces
--   @_write     reads and writes threads, in the namespaces that are given to it
--   @_read      reads threads, in the namespaces that are given to it
--
-- A superuser runs this in the database of the store, after `selvedge store init` and again after each
-- `selvedge store migrate`. It may be run any number of times.
--
-- The roles cannot log in. A login gets one of them, and a namespace:
--
--   CREATE ROLE kim LOGIN PASSWORD '…' IN ROLE @_write;
--   INSERT INTO @.namespace_roles (namespace, role) VALUES ('team-a', 'kim');
--
-- Without a row in namespace_roles a login sees nothing. A row for a role counts for all its members, too.

BEGIN;

DO $$ BEGIN CREATE ROLE @_migrate; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
DO $$ BEGIN CREATE ROLE @_write; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
DO $$ BEGIN CREATE ROLE @_read; EXCEPTION WHEN duplicate_object THEN NULL; END $$;

GRANT USAGE, CREATE ON SCHEMA @ TO @_migrate;
GRANT USAGE ON SCHEMA @ TO @_write, @_read;

-- The tables with their partitions. Other tables of the schema are left alone.
DO $$
DECLARE
    parent text;
    found regclass;
BEGIN
    FOREACH parent IN ARRAY ARRAY['threads', 'segments', 'lines', 'segment_owners', 'projections', 'turns', 'search_blocks',
        'deleted_threads', 'namespace_roles', '_sqlx_migrations'] LOOP
        FOR found IN SELECT relid FROM pg_partition_tree(format('@.%I', parent)::regclass)
            UNION SELECT format('@.%I', parent)::regclass
        LOOP
            EXECUTE format('ALTER TABLE %s OWNER TO @_migrate', found);
            EXECUTE format('REVOKE ALL ON %s FROM PUBLIC, @_write, @_read', found);
        END LOOP;
    END LOOP;
END $$;

ALTER FUNCTION @.note_change() OWNER TO @_migrate;
ALTER FUNCTION @.note_deletion() OWNER TO @_migrate;

-- Only the whole tables: their policies do not hold for a partition that a statement names itself.
GRANT SELECT ON @.threads, @.segments, @.lines, @.segment_owners, @.projections, @.turns, @.search_blocks, @.deleted_threads,
    @.namespace_roles, @._sqlx_migrations TO @_write, @_read;
GRANT INSERT, UPDATE, DELETE ON @.threads, @.segments, @.projections, @.turns, @.search_blocks, @.deleted_threads TO @_write;
-- A deletion locks rows of segment_owners, which needs the right to update them.
GRANT INSERT, UPDATE, DELETE ON @.segment_owners TO @_write;
GRANT INSERT, DELETE ON @.lines TO @_write;

COMMIT;
