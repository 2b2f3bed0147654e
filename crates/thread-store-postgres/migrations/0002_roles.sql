-- Which roles of the database may use which namespaces. docs/scale.md describes it.
--
-- The owner of the tables and superusers are not restricted. Every other role sees the rows of the namespaces that it has here,
-- itself or by a role whose rights it inherits, and no others. The condition knows the current role and nothing of the session,
-- so it also holds behind a pooler that shares sessions between transactions.

CREATE TABLE namespace_roles (
    namespace text NOT NULL,
    -- A role that is dropped and created again with the same name is another one.
    role regrole NOT NULL,
    PRIMARY KEY (role, namespace)
);

ALTER TABLE namespace_roles ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON namespace_roles USING (pg_has_role(role, 'USAGE'));

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['threads', 'segments', 'lines', 'segment_owners'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        -- The array is computed once per statement, not once per row. The policy of namespace_roles leaves the role's own rows.
        EXECUTE format(
            'CREATE POLICY own_namespaces ON %I USING (namespace = ANY (ARRAY(SELECT n.namespace FROM namespace_roles n)))',
            name
        );
        -- A partition that is named itself has no policy, so nobody but the owner sees rows of it.
        FOR number IN 0..7 LOOP
            EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name || '_p' || number);
        END LOOP;
    END LOOP;
END $$;
