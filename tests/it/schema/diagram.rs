//! The ER diagrams of `docs/architecture/environments-sync.md` and the live schema name the same columns, with the same
//! keys.

use std::collections::BTreeSet;

use crate::support::postgres::TestDatabase;

const DOCUMENT: &str = include_str!("../../../docs/architecture/environments-sync.md");

const LIVE: &str = "
    SELECT concat_ws(' ', format('%s.%s', c.relname, a.attname),
                     replace(format_type(a.atttypid, a.atttypmod), 'timestamp with time zone', 'timestamptz'),
                     (SELECT string_agg(DISTINCT CASE k.contype WHEN 'p' THEN 'PK' ELSE 'FK' END, ', '
                                        ORDER BY CASE k.contype WHEN 'p' THEN 'PK' ELSE 'FK' END DESC)
                      FROM pg_constraint k
                      WHERE k.conrelid = c.oid AND k.contype IN ('p', 'f') AND a.attnum = ANY (k.conkey)))
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname <> 'refinery_schema_history'";

/// `table.column type keys` of every attribute in the document's `erDiagram` blocks.
fn drawn() -> BTreeSet<String> {
    let mut columns = BTreeSet::new();
    let mut in_diagram = false;
    let mut table: Option<&str> = None;
    for line in DOCUMENT.lines().map(str::trim) {
        match (line, table) {
            ("erDiagram", _) => in_diagram = true,
            ("```", _) => in_diagram = false,
            _ if !in_diagram => {}
            ("}", _) => table = None,
            (_, None) => table = line.strip_suffix(" {"),
            (_, Some(table)) => {
                let mut words = line.splitn(3, ' ');
                let (kind, name) =
                    (words.next().unwrap_or_default(), words.next().unwrap_or_default());
                let keys = words.next().map(|keys| format!(" {keys}")).unwrap_or_default();
                columns.insert(format!("{table}.{name} {kind}{keys}"));
            }
        }
    }
    columns
}

#[tokio::test]
async fn the_diagrams_show_the_live_schema() {
    let database = TestDatabase::migrated().await;
    let client = database.client().await;
    let rows = client.query(LIVE, &[]).await.unwrap();
    let live: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    let drawn = drawn();
    let missing: Vec<_> = live.difference(&drawn).collect();
    let extra: Vec<_> = drawn.difference(&live).collect();
    assert!(missing.is_empty() && extra.is_empty(), "to draw: {missing:#?}\nto erase: {extra:#?}");
    assert!(drawn.len() > 200, "the diagrams were found");
    for mark in [" PK", " FK", " PK, FK"] {
        assert!(drawn.iter().any(|column| column.ends_with(mark)), "control: {mark} was read");
    }
}
