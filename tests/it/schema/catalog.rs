//! The whole schema as sorted lines, so that two databases can be compared.

use tokio_postgres::Client;

const DUMP: &str = "
WITH ours AS (SELECT oid, nspname FROM pg_namespace WHERE nspname IN ('public', 'vz_api')),
     rel AS (SELECT c.* FROM pg_class c JOIN ours ON ours.oid = c.relnamespace)
SELECT concat_ws(' ', 'schema', nspname, obj_description(oid, 'pg_namespace')) FROM ours WHERE nspname <> 'public'
UNION ALL
SELECT concat_ws(' ', 'relation', oid::regclass, relkind, relpersistence, reloptions, pg_get_partkeydef(oid),
                 pg_get_expr(relpartbound, oid), obj_description(oid, 'pg_class'))
FROM rel WHERE relkind IN ('r', 'p', 'v', 'S')
UNION ALL
SELECT concat_ws(' ', 'column', a.attrelid::regclass, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                 a.attidentity, a.attgenerated, pg_get_expr(d.adbin, d.adrelid), col_description(a.attrelid, a.attnum))
FROM rel JOIN pg_attribute a ON a.attrelid = rel.oid LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE rel.relkind IN ('r', 'p', 'v') AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint
WHERE conrelid IN (SELECT oid FROM rel)
UNION ALL
SELECT concat_ws(' ', 'index', pg_get_indexdef(oid)) FROM rel WHERE relkind IN ('i', 'I')
UNION ALL
SELECT concat_ws(' ', 'view', oid::regclass, pg_get_viewdef(oid)) FROM rel WHERE relkind = 'v'
UNION ALL
SELECT concat_ws(' ', 'trigger', pg_get_triggerdef(oid)) FROM pg_trigger WHERE NOT tgisinternal AND tgrelid IN (SELECT oid FROM rel)
UNION ALL
SELECT concat_ws(' ', 'function', pg_get_functiondef(p.oid), obj_description(p.oid, 'pg_proc'))
FROM pg_proc p JOIN ours ON ours.oid = p.pronamespace
ORDER BY 1";

/// Everything that a migration can make, one line each.
pub async fn dump(client: &Client) -> Vec<String> {
    client.query(DUMP, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}
