//! Pages of the mirror: order, cursors, filters, and text that means harm.

use std::collections::HashSet;

use super::Side;
use vz_sync_actors::domain::{DataType, ExternalId, TeamId};
use vz_sync_actors::ports::PortError;
use vz_sync_actors::ports::reads::{
    ChangeQuery, ItemQuery, ItemRow, Reads, filter_fields, sort_fields,
};

const ENVIRONMENTS: &str = "
    INSERT INTO environments (team_id, id, env_name, domain, display_name, status, owner_uid, region, groups, created_on,
                              payload, source_version, fence, synced_at, first_seen_at)
    SELECT team, 'e' || n, 'env-' || lpad((n % 7)::text, 2, '0') || '-' || n, 'env' || n || '.example',
           CASE WHEN n = 3 THEN 'Ärger & 100% _Süd_' END, 1 + n % 3, 7, CASE WHEN n % 2 = 0 THEN 'default' END,
           CASE WHEN n % 5 = 0 THEN ARRAY['prod', 'web'] ELSE '{}' END,
           CASE WHEN n % 4 <> 0 THEN timestamptz '2026-01-01' + (n % 6) * interval '1 day 0.000001 s' END,
           jsonb_build_object('n', n), decode(repeat('ab', 32), 'hex'), 1, '2026-02-01', '2026-01-01'
    FROM generate_series(1, 40) n, unnest(ARRAY[1, 2]::int8[]) team;
    INSERT INTO nodes (team_id, id, environment_id, env_name, node_group, status, payload, source_version, fence, synced_at, first_seen_at)
    SELECT 1, n::text, 'e' || (1 + n % 3), 'env', CASE WHEN n % 3 > 0 THEN 'cp' || n % 2 END, 1, '{}',
           decode(repeat('cd', 32), 'hex'), 1, '2026-02-01', '2026-01-01'
    FROM generate_series(1, 12) n;
    UPDATE environments SET stale = true, stale_since = now() WHERE id = 'e40';
";

async fn mirror() -> Side {
    let side = Side::with_teams(&[1, 2]).await;
    side.run(ENVIRONMENTS).await;
    side
}

fn query(data_type: DataType) -> ItemQuery {
    ItemQuery {
        team: TeamId(1),
        data_type,
        filters: Vec::new(),
        text: None,
        sort: sort_fields(data_type)[0].to_owned(),
        descending: false,
        after: None,
        limit: 500,
        include_stale: false,
    }
}

fn environments() -> ItemQuery {
    query(DataType::Environments)
}

async fn ids(side: &Side, query: &ItemQuery) -> Vec<String> {
    let page = side.reads().items(query).await.unwrap();
    page.rows.iter().map(|row| row.id.to_string()).collect()
}

async fn all_pages(side: &Side, mut query: ItemQuery, limit: u32) -> Vec<String> {
    query.limit = limit;
    let mut all = Vec::new();
    loop {
        let page = side.reads().items(&query).await.unwrap();
        assert!(page.rows.len() <= limit as usize);
        all.extend(page.rows.iter().map(|row| row.id.to_string()));
        match page.next {
            Some(next) => query.after = Some(next),
            None => return all,
        }
    }
}

#[tokio::test]
async fn pages_of_any_size_and_order_give_every_row_once() {
    let side = mirror().await;
    for data_type in [DataType::Environments, DataType::Nodes] {
        for sort in sort_fields(data_type) {
            for descending in [false, true] {
                let sorted = ItemQuery { sort: (*sort).to_owned(), descending, ..query(data_type) };
                let whole = ids(&side, &sorted).await;
                let distinct: HashSet<_> = whole.iter().collect();
                assert_eq!(distinct.len(), whole.len());
                assert_eq!(whole.len(), if data_type == DataType::Nodes { 12 } else { 39 });
                for limit in [1, 7] {
                    let paged = all_pages(&side, sorted.clone(), limit).await;
                    assert_eq!(paged, whole, "{data_type} by {sort}, descending {descending}");
                }
                let reverse = ItemQuery { descending: !descending, ..sorted };
                let mut back = ids(&side, &reverse).await;
                back.reverse();
                assert_eq!(back, whole, "{data_type} by {sort}");
            }
        }
    }
}

#[tokio::test]
async fn rows_that_come_and_go_neither_repeat_nor_hide_others() {
    let side = mirror().await;
    let mut first = environments();
    first.limit = 10;
    let page = side.reads().items(&first).await.unwrap();
    let seen: Vec<String> = page.rows.iter().map(|row| row.id.to_string()).collect();
    side.sql
        .execute("DELETE FROM environments WHERE team_id = 1 AND id = $1", &[&seen[3]])
        .await
        .unwrap();
    side.run("INSERT INTO environments (team_id, id, env_name, status, owner_uid, payload, source_version, fence, synced_at, first_seen_at)
              VALUES (1, 'new', 'aaa', 1, 7, '{}', decode(repeat('ab', 32), 'hex'), 1, now(), now())").await;
    first.after = page.next;
    let rest = all_pages(&side, first, 10).await;
    assert_eq!(
        seen.len() + rest.len(),
        39,
        "the deleted row was seen, the new one sorts before the cursor"
    );
    assert!(rest.iter().all(|id| !seen.contains(id)));
}

#[tokio::test]
async fn filters_and_search_find_what_they_name() {
    let side = mirror().await;
    let filtered = |field: &str, value: &str| ItemQuery {
        filters: vec![(field.to_owned(), value.to_owned())],
        ..environments()
    };
    assert_eq!(ids(&side, &filtered("env_name", "env-03-3")).await, ["e3"]);
    assert_eq!(ids(&side, &filtered("status", "1")).await.len(), 13);
    assert_eq!(ids(&side, &filtered("region", "default")).await.len(), 19);
    assert_eq!(ids(&side, &filtered("owner_uid", "7")).await.len(), 39);
    assert_eq!(ids(&side, &filtered("group", "web")).await.len(), 7);
    let mut both = filtered("status", "1");
    both.filters.push(("group".to_owned(), "prod".to_owned()));
    both.filters.push(("group".to_owned(), "web".to_owned()));
    assert_eq!(ids(&side, &both).await.len(), 2);

    let search = |text: &str| ItemQuery { text: Some(text.to_owned()), ..environments() };
    assert_eq!(ids(&side, &search("ENV3.EXAMPLE")).await, ["e3"]);
    assert_eq!(ids(&side, &search("ärger")).await, ["e3"]);
    assert_eq!(ids(&side, &search("100% _S")).await, ["e3"], "% and _ mean themselves");
    assert_eq!(ids(&side, &search("%")).await, ["e3"]);

    let gone = ItemQuery { include_stale: true, ..environments() };
    assert_eq!(ids(&side, &gone).await.len(), 40);
}

#[tokio::test]
async fn hostile_text_is_only_ever_a_value() {
    let side = mirror().await;
    for text in ["'; DROP TABLE environments; --", "\\", "\0", "$1", "a\u{202e}b", "%s", "1 OR 1=1"]
    {
        for field in filter_fields(DataType::Environments) {
            let query = ItemQuery {
                filters: vec![((*field).to_owned(), text.to_owned())],
                ..environments()
            };
            assert_eq!(ids(&side, &query).await.len(), 0, "{field} = {text:?}");
        }
        let search = ItemQuery { text: Some(text.to_owned()), ..environments() };
        assert_eq!(ids(&side, &search).await.len(), 0, "q = {text:?}");
        let refused = [
            ItemQuery { sort: text.to_owned(), ..environments() },
            ItemQuery { filters: vec![(text.to_owned(), "1".to_owned())], ..environments() },
        ];
        for query in refused {
            let answer = side.reads().items(&query).await;
            assert!(matches!(answer, Err(PortError::Refused { .. })), "{answer:?}");
        }
        assert_eq!(side.reads().item(TeamId(1), DataType::Nodes, &text.into()).await, Ok(None));
    }
    let forged = serde_json::from_str(r#"{"key": "x'); --", "id": "\u0000"}"#).unwrap();
    let query = ItemQuery { sort: "created_on".to_owned(), after: Some(forged), ..environments() };
    assert!(matches!(side.reads().items(&query).await, Err(PortError::Refused { .. })));
    assert_eq!(ids(&side, &environments()).await.len(), 39);
}

async fn one(side: &Side, id: &str) -> ItemRow {
    side.reads().item(TeamId(1), DataType::Environments, &id.into()).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_row_beyond_doubt_was_true_when_the_table_was_verified() {
    let side = mirror().await;
    let own = one(&side, "e1").await.synced_at;
    side.run("UPDATE vz_sync_data_types SET verified_at = '2026-03-01', verified_by = 'full' WHERE team_id = 1;
              UPDATE environments SET needs_validation = true WHERE id = 'e2';
              UPDATE environments SET missing_since = now() WHERE id = 'e3';
              UPDATE environments SET synced_at = '2026-04-01' WHERE id = 'e4'").await;
    assert!(one(&side, "e1").await.synced_at > own);
    for doubtful in ["e2", "e3", "e40"] {
        assert_eq!(one(&side, doubtful).await.synced_at, own, "{doubtful}");
    }
    assert!(one(&side, "e4").await.synced_at > one(&side, "e1").await.synced_at);
    // A table that was verified before the row was written does not age it.
    side.run("UPDATE vz_sync_data_types SET verified_at = '2025-01-01' WHERE team_id = 1").await;
    assert_eq!(one(&side, "e1").await.synced_at, own);
}

#[tokio::test]
async fn a_row_is_served_with_its_columns_payload_and_version() {
    let side = mirror().await;
    let row = one(&side, "e5").await;
    let columns: serde_json::Value = serde_json::from_str(&row.columns).unwrap();
    assert_eq!(columns["env_name"], "env-05-5");
    assert_eq!(columns["groups"], serde_json::json!(["prod", "web"]));
    assert_eq!(columns["created_on"], "2026-01-06T00:00:00.000005+00:00");
    assert_eq!(columns["region"], serde_json::Value::Null);
    assert_eq!(&*row.payload, r#"{"n": 5}"#);
    assert_eq!(row.source_version, "ab".repeat(32));
}

#[tokio::test]
async fn nobody_reads_another_teams_or_a_removed_teams_rows() {
    let side = mirror().await;
    side.run("DELETE FROM environments WHERE team_id = 1 AND id = 'e1'").await;
    let reads = side.reads();
    assert_eq!(reads.item(TeamId(1), DataType::Environments, &"e1".into()).await, Ok(None));
    let theirs = ItemQuery { team: TeamId(2), ..query(DataType::Nodes) };
    assert_eq!(ids(&side, &theirs).await.len(), 0);

    vz_sync_actors::ports::teams::Teams::remove(&side.teams(), TeamId(1)).await.unwrap();
    assert_eq!(ids(&side, &environments()).await.len(), 0);
    assert_eq!(reads.scopes(TeamId(1)).await, Ok(None));
    assert_eq!(reads.teams(&[TeamId(1), TeamId(2)]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn nodes_are_grouped_by_their_environment() {
    let side = mirror().await;
    let asked: Vec<ExternalId> = ["e1", "e2", "e39"].map(ExternalId::from).to_vec();
    side.run("UPDATE nodes SET stale = true WHERE id = '3'").await;
    let nodes = side.reads().nodes_of(TeamId(1), &asked, false).await.unwrap();
    assert_eq!(nodes[&asked[0]].len(), 3);
    assert_eq!(nodes[&asked[1]].len(), 4);
    assert_eq!(nodes[&asked[2]].len(), 0);
    let nodes = side.reads().nodes_of(TeamId(1), &asked, true).await.unwrap();
    assert_eq!(nodes[&asked[0]].len(), 4);
}

#[tokio::test]
async fn changes_come_after_a_cursor_and_undo_stops_at_the_retention() {
    let side = Side::with_teams(&[1]).await;
    side.run("INSERT INTO resource_changes (team_id, id, event_no, data_type, external_id, op, patch, undo, job_id, found_at)
              SELECT 1, n, n, 'environments', 'e' || n % 2, 'changed', '[]', '[]', 9, now() - (10 - n) * interval '1 hour'
              FROM generate_series(1, 8) n;
              UPDATE team_event_counters SET last_change_no = 8").await;
    let reads = side.reads();
    let all = ChangeQuery { team: TeamId(1), after: 3, data_type: None, id: None, limit: 3 };
    let found = reads.changes(&all).await.unwrap();
    assert_eq!(found.iter().map(|change| change.id).collect::<Vec<_>>(), [4, 5, 6]);
    let of_one = ChangeQuery { id: Some("e1".into()), limit: 10, ..all };
    let found = reads.changes(&of_one).await.unwrap();
    assert_eq!(found.iter().map(|change| change.id).collect::<Vec<_>>(), [5, 7]);

    let hours_ago = async |hours: i32| -> time::OffsetDateTime {
        side.value("SELECT now() - $1::int4 * interval '1 hour'", &[&hours]).await
    };
    let e1 = ExternalId::from("e1");
    let undo =
        async |at| reads.undo_since(TeamId(1), DataType::Environments, &e1, at).await.unwrap();
    let ids = |rows: Vec<vz_sync_actors::ports::reads::ChangeRow>| {
        rows.iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(undo(hours_ago(6).await).await.unwrap()), [7, 5]);
    // Older than the retention, but nothing was cut yet.
    assert_eq!(ids(undo(hours_ago(24 * 100).await).await.unwrap()), [7, 5, 3, 1]);
    side.run("DELETE FROM resource_changes WHERE id = 1").await;
    assert_eq!(undo(hours_ago(24 * 100).await).await, None);
    assert_eq!(ids(undo(hours_ago(6).await).await.unwrap()), [7, 5]);
}
