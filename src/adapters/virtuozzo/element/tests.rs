use serde_json::{Value, json};
use vz_sync_actors::domain::{RowFlags, StoredRow};

use super::*;

const BASIC: &str =
    include_str!("../../../../tests/fixtures/virtuozzo/getbasicenvsinfo.derived.json");
const FULL: &str = include_str!("../../../../tests/fixtures/virtuozzo/getenvs.derived.json");
const INFO: &str = include_str!("../../../../tests/fixtures/virtuozzo/getenvinfo.recorded.json");
const LAZY: &str = include_str!("../../../../tests/fixtures/virtuozzo/getenvs_lazy.guess.json");
const OWNER: i64 = 4784;

fn first(listing: &str) -> Value {
    serde_json::from_str::<Value>(listing).expect("JSON")["infos"][0].clone()
}

fn hasher() -> RawHasher {
    RawHasher::new(b"an installation's key").tagged("getbasicenvsinfo")
}

fn seen_in(baseline: &Baseline, element: &Value) -> Seen {
    Reader::new(hasher(), Some(OWNER), baseline).read(element.to_string().as_bytes())
}

fn seen(element: &Value) -> Seen {
    seen_in(&Baseline::default(), element)
}

fn good(element: &Value) -> EnvironmentElement {
    match seen(element).element {
        Element::Environment(element) => *element,
        other => panic!("not an environment: {other:?}"),
    }
}

fn bad(element: &Value) -> (Malformed, Option<PartialReason>) {
    let seen = seen(element);
    match seen.element {
        Element::Malformed(malformed) => (malformed, seen.doubt),
        other => panic!("not malformed: {other:?}"),
    }
}

fn with(pointer: &str, value: Value) -> Value {
    let mut element = first(BASIC);
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    element
        .pointer_mut(parent)
        .expect("a parent")
        .as_object_mut()
        .expect("an object")
        .insert(key.to_owned(), value);
    element
}

#[test]
fn the_recorded_environment_is_read_into_its_columns() {
    let element = good(&first(BASIC));
    assert_eq!(element.environment.id.as_str(), "e789335e67f6ac362bcdc7f49443de36");
    let Columns::Environment(columns) = &element.environment.columns else { panic!("columns") };
    assert_eq!(columns.env_name, "local-sha-master-0954606");
    assert_eq!((columns.status, columns.owner_uid), (1, OWNER));
    assert_eq!(columns.region.as_deref(), Some("new"));
    assert_eq!(columns.display_name, None);
    assert_eq!(columns.created_on.map(time::OffsetDateTime::unix_timestamp), Some(1_629_384_697));
    let nodes = element.nodes.expect("nodes");
    assert_eq!(nodes[0].id.as_str(), "89876");
    assert_eq!(nodes[0].parent(), Some(&element.environment.id));
    let Columns::Node(node) = &nodes[0].columns else { panic!("columns") };
    assert_eq!(node.int_ip.as_deref(), Some("10.102.15.248"));
    assert_eq!((node.disk_limit_mb, node.flexible_cloudlets), (Some(100_000), Some(4)));
    assert!(!element.environment.payload.contains("\"nodes\":"));
}

#[test]
fn every_method_gives_one_item_one_version() {
    let basic = good(&first(BASIC));
    for other in [first(FULL), serde_json::from_str(INFO).expect("JSON")] {
        let other = good(&other);
        assert_eq!(other.environment.source_version, basic.environment.source_version);
        assert_eq!(other.environment.outline_version, basic.environment.outline_version);
        assert_eq!(other.nodes, basic.nodes);
    }
    let lazy = outline(first(LAZY).to_string().as_bytes(), Some(OWNER), &mut Rules::default())
        .expect("an outline");
    let lazy = lazy.0.expect("our own");
    assert_eq!(Some(lazy.version), basic.environment.outline_version);
    assert_eq!((lazy.id, lazy.status), (basic.environment.id, 1));
}

#[test]
fn the_order_of_keys_and_blanks_do_not_count() {
    let pretty = serde_json::to_string_pretty(&first(BASIC)).expect("JSON");
    let baseline = Baseline::default();
    let seen = Reader::new(hasher(), Some(OWNER), &baseline).read(pretty.as_bytes());
    let Element::Environment(pretty) = seen.element else { panic!("an environment") };
    let plain = good(&first(BASIC));
    assert_eq!(pretty.environment.source_version, plain.environment.source_version);
    assert_ne!(pretty.environment.raw_version, plain.environment.raw_version);
}

fn row(item: &Item) -> StoredRow {
    StoredRow {
        source_version: item.source_version,
        raw_version: item.raw_version,
        outline_version: item.outline_version,
        fence: vz_sync_actors::domain::Fence::default(),
        parent: item.parent().cloned(),
        env_name: None,
        status: None,
        flags: RowFlags::default(),
    }
}

#[test]
fn byte_equal_elements_are_recognised_unless_a_row_is_in_doubt() {
    let element = good(&first(BASIC));
    let id = element.environment.id.clone();
    let nodes = element.nodes.expect("nodes");
    let mut baseline = Baseline::default();
    baseline.environments.insert(id.clone(), row(&element.environment));
    // The planner copies the environment's raw version to the nodes it writes.
    let raw_version = element.environment.raw_version;
    baseline.nodes.insert(nodes[0].id.clone(), StoredRow { raw_version, ..row(&nodes[0]) });
    let same = |baseline: &Baseline| matches!(seen_in(baseline, &first(BASIC)).element, Element::Same(found) if found == id);
    assert!(same(&baseline));

    let flagged = RowFlags { needs_validation: true, ..RowFlags::default() };
    let mut doubted = baseline.clone();
    doubted.nodes.values_mut().for_each(|row| row.flags = flagged);
    assert!(!same(&doubted), "a doubtful node is written again");
    let mut doubted = baseline.clone();
    doubted.environments.values_mut().for_each(|row| row.flags = flagged);
    assert!(!same(&doubted), "a doubtful environment is written again");

    let bytes = first(BASIC).to_string();
    for other in [
        RawHasher::new(b"another key").tagged("getbasicenvsinfo"),
        RawHasher::new(b"an installation's key").tagged("getenvinfo"),
    ] {
        let seen = Reader::new(other, Some(OWNER), &baseline).read(bytes.as_bytes());
        assert!(matches!(seen.element, Element::Environment(_)), "another tag is a miss");
    }
}

#[test]
fn secrets_are_nowhere() {
    let mut element = first(FULL);
    element["nodes"][0]["password"] = json!("CANARY");
    element["nodes"][0]["customitem"]["dockerManifest"]["env"] = json!(["DB=CANARY"]);
    element["nodes"][0]["customitem"]["dockerVolumes"] = json!(["CANARY"]);
    element["nodes"][0]["adminPassword"] = json!("CANARY");
    element["nodes"][0]["addons"] = json!([{"settings": {"apiToken": "CANARY"}}]);
    element["env"]["properties"] = json!({"sessionKey": "CANARY"});
    element["secretThing"] = json!(["CANARY"]);
    element["debug"] = json!("CANARY");
    assert!(!format!("{:?}", good(&element)).contains("CANARY"));
    // Flags whose names only sound secret stay.
    assert!(good(&element).nodes.expect("nodes")[0].payload.contains("isResetPassword"));
    // The same holds for what is quarantined.
    element["nodes"][0]["status"] = json!("up");
    let broken_node = good(&element);
    assert_eq!(broken_node.malformed_nodes[0].id, Some("89876".into()));
    assert!(!format!("{broken_node:?}").contains("CANARY"));
    element["env"]["status"] = json!("up");
    assert!(!format!("{:?}", bad(&element)).contains("CANARY"));
}

#[test]
fn what_fails_its_schema_is_put_aside_under_its_name() {
    for (pointer, value, error) in [
        ("/env/status", json!("up"), "status is not a whole number"),
        ("/env/status", json!(1_u64 << 40), "status is not a 32-bit number"),
        ("/env/status", Value::Null, "status is absent"),
        ("/env/uid", json!(1.5), "env.uid is not a number"),
        ("/env/envName", json!(7), "envName is not a text"),
        ("/env/domain", json!({"name": "x"}), "domain is not a text"),
        ("/env/createdOn", json!("yesterday"), "createdOn is not a date"),
        ("/env/ishaenabled", json!("yes"), "ishaenabled is not true or false"),
        ("/envGroups", json!([1]), "envGroups is not a list of texts"),
    ] {
        let (malformed, doubt) = bad(&with(pointer, value));
        assert_eq!(malformed.error, error);
        assert_eq!(malformed.id, Some("e789335e67f6ac362bcdc7f49443de36".into()));
        assert_eq!(doubt, None, "{pointer}: it was identified");
        assert!(malformed.raw.len() <= RAW_CAP && malformed.raw.contains("local-sha-master"));
    }
}

#[test]
fn an_element_without_a_name_casts_a_doubt_on_the_listing() {
    for element in [
        with("/env/appid", json!("")),
        with("/env/appid", json!("x".repeat(300))),
        with("/env/appid", Value::Null),
        with("/env", json!([])),
        json!(7),
        json!({}),
    ] {
        assert_eq!(bad(&element).1, Some(PartialReason::UnidentifiedElement), "{element}");
    }
    let mut element = first(BASIC);
    element["nodes"][0]["id"] = Value::Null;
    let seen = seen(&element);
    assert_eq!(seen.doubt, Some(PartialReason::UnidentifiedElement));
    let Element::Environment(element) = seen.element else { panic!("an environment") };
    assert_eq!(element.malformed_nodes.len(), 1);
    assert_eq!(element.environment.raw_version, None, "it must be looked at again");
}

#[test]
fn what_cannot_be_parsed_is_identified_all_the_same() {
    let baseline = Baseline::default();
    let read = |bytes: &[u8]| {
        let seen = Reader::new(hasher(), Some(OWNER), &baseline).read(bytes);
        let Element::Malformed(malformed) = seen.element else { panic!("malformed") };
        (malformed.id, seen.doubt)
    };
    // So deep that a parser that skips by recursion would exhaust the stack.
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep = format!(r#"{{"env":{{"appid":"a1","x":{deep}}},"y":{deep}}}"#);
    assert_eq!(read(deep.as_bytes()), (Some("a1".into()), None));
    assert_eq!(read(b"{\"env\":{\"appid\":\"a1\",\"x\":\"\xff\"}}"), (Some("a1".into()), None));
    let doubt = Some(PartialReason::UnidentifiedElement);
    assert_eq!(read(b"{\"env\":{\"appid\":\"a1\",\"x\":tru}}"), (None, doubt));
}

#[test]
fn owners_are_told_apart() {
    let foreign = seen(&with("/env/uid", json!(1)));
    assert_eq!((foreign.element, foreign.doubt), (Element::Shared { owner_uid: 1 }, None));
    let collaborator = seen(&with("/right", json!("VIEW")));
    assert_eq!(collaborator.doubt, Some(PartialReason::NotOwner));
    let Element::Environment(element) = collaborator.element else { panic!("an environment") };
    assert_eq!(element.environment.raw_version, None);
    let baseline = Baseline::default();
    let unchecked =
        Reader::new(hasher(), None, &baseline).read(first(BASIC).to_string().as_bytes());
    assert_eq!(unchecked.doubt, Some(PartialReason::AccountMismatch));
}

#[test]
fn an_elements_own_failure_is_a_doubt_and_no_row() {
    let (malformed, doubt) = bad(&with("/result", json!(99)));
    assert_eq!(malformed.error, "the element's own result is 99");
    assert_eq!(doubt, Some(PartialReason::ElementFailed));
}

#[test]
fn absent_nodes_are_unknown_and_no_nodes_are_none() {
    let mut element = first(BASIC);
    element["nodes"] = json!([]);
    assert_eq!(good(&element).nodes, Some(Vec::new()));
    element["nodes"] = Value::Null;
    assert_eq!(good(&element).nodes, None);
    element.as_object_mut().expect("an object").remove("nodes");
    assert_eq!(good(&element).nodes, None);
    element["nodes"] = json!({});
    assert_eq!(seen(&element).doubt, Some(PartialReason::UnidentifiedElement));
}

#[test]
fn nul_never_reaches_a_row() {
    let element = good(&with("/env/displayName", json!("a\0b")));
    let Columns::Environment(columns) = &element.environment.columns else { panic!("columns") };
    assert_eq!(columns.display_name.as_deref(), Some("a\u{fffd}b"));
    assert!(!element.environment.payload.contains("\\u0000"));
}
