use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn plain(json: &str) -> Result<Box<str>, CanonicalError> {
    canonical(json, &RedactionRules::none())
}

fn redact(json: &str) -> String {
    canonical(json, &RedactionRules::default()).expect("canonical").into()
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[a-zA-Z \\\\\"/\u{0}\u{1f}é😀]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::vec(("[a-dA-D\u{0}\"\\\\é😀]{0,4}", inner), 0..8)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// Writes a value with its members reversed or not, and blanks in between.
fn shuffled(value: &Value, turn: bool, blank: &str, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut members: Vec<_> = map.iter().collect();
            members.sort_unstable_by(|a, b| a.0.cmp(b.0));
            if turn {
                members.reverse();
            }
            out.push('{');
            for (index, (key, member)) in members.into_iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                out.push_str(blank);
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push_str(blank);
                out.push(':');
                shuffled(member, !turn, blank, out);
            }
            out.push_str(blank);
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                shuffled(item, turn, blank, out);
                out.push_str(blank);
            }
            out.push_str(blank);
            out.push(']');
        }
        leaf => out.push_str(&leaf.to_string()),
    }
}

/// What canonicalising does to the meaning: NUL replaced, nothing else.
fn meaning(value: &Value) -> Value {
    let clean = |text: &str| text.replace('\0', "\u{fffd}");
    match value {
        Value::String(text) => Value::from(clean(text)),
        Value::Array(items) => items.iter().map(meaning).collect(),
        Value::Object(map) => {
            let mut members: Vec<_> = map.iter().collect();
            members.sort_unstable_by(|a, b| a.0.cmp(b.0));
            let clean = members.into_iter().map(|(key, value)| (clean(key), meaning(value)));
            Value::Object(clean.collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}

proptest! {
    #[test]
    fn order_and_blanks_do_not_matter(value in value(), turn: bool, blank in "[ \n\t\r]{0,3}") {
        let mut text = String::new();
        shuffled(&value, turn, &blank, &mut text);
        let mut straight = String::new();
        shuffled(&value, false, "", &mut straight);
        // Keys that become equal once NUL is replaced have no order to ignore.
        prop_assume!(!text.contains("\\u0000"));
        prop_assert_eq!(plain(&text), plain(&straight));
    }

    #[test]
    fn twice_is_once(value in value()) {
        let once = plain(&value.to_string()).expect("JSON");
        prop_assert_eq!(&plain(&once).expect("canonical is JSON"), &once);
        let rules = RedactionRules::default().with_max_string(9);
        let once = canonical(&value.to_string(), &rules).expect("JSON");
        prop_assert_eq!(&canonical(&once, &rules).expect("canonical is JSON"), &once);
    }

    #[test]
    fn the_meaning_stays(value in value()) {
        // Doubles may change their spelling (1.0 is 1), so compare as doubles.
        let text = plain(&value.to_string()).expect("JSON");
        let back: Value = serde_json::from_str(&text).expect("canonical is JSON");
        let again = plain(&meaning(&value).to_string()).expect("JSON");
        prop_assert_eq!(text.as_ref(), again.as_ref());
        prop_assert!(alike(&back, &meaning(&value)), "{} {}", back, value);
    }

    #[test]
    fn what_serde_json_refuses_is_refused(text in "[\\[\\]{}:,\"a\\\\u0-9.eE+\\- tfn]{0,12}") {
        let ours = plain(&text).is_ok();
        let theirs = serde_json::from_str::<Value>(&text);
        // serde_json refuses lone surrogates, which are replaced here.
        if !text.contains("\\u") && !text.contains(['e', 'E']) {
            prop_assert_eq!(ours, theirs.is_ok(), "{}", text);
        } else if theirs.is_ok() {
            prop_assert!(ours, "{}", text);
        }
    }

    #[test]
    fn no_nul_and_no_long_string_is_left(value in value()) {
        let rules = RedactionRules::none().with_max_string(7);
        let text = canonical(&value.to_string(), &rules).expect("JSON");
        prop_assert!(!text.contains('\0') && !text.replace("\\\\", "").contains("\\u0000"));
        let back: Value = serde_json::from_str(&text).expect("canonical is JSON");
        prop_assert!(longest(&back) <= 7);
    }

    #[test]
    fn canaries_are_gone_at_any_depth(
        value in value(),
        path in prop::collection::vec("[a-z]{1,6}", 0..6),
        name in prop::sample::select(vec![
            "password", "PASSWORD", "adminPassword", "db_passwd", "client-secret", "Token",
            "access_token", "session", "sessionKey", "x.api_key", "privateKey", "dockerManifest",
            "dockerEnv", "endpoints", "packages", "credentials", "pass\u{0}word",
        ]),
        nested: bool,
    ) {
        let canary = "kanarienvogel";
        let secret = if nested { json!([{"a": [canary]}]) } else { json!(canary) };
        let mut tree = json!({ name: secret, "other": value });
        for key in path {
            tree = json!([{ key: tree, "other": 1 }]);
        }
        let text = redact(&tree.to_string());
        prop_assert!(!text.contains(canary), "{}", text);
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _ = plain(&text);
    }
}

fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().expect("finite"), b.as_f64().expect("finite"));
            // serde_json's own reading is off by one last place now and then.
            (a - b).abs() <= 1e-15 * b.abs()
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| alike(a, b)))
        }
        (a, b) => a == b,
    }
}

fn longest(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(longest).max().unwrap_or(0),
        Value::Object(map) => {
            map.iter().map(|(key, value)| key.len().max(longest(value))).max().unwrap_or(0)
        }
        _ => 0,
    }
}

#[test]
fn the_form_is_fixed() {
    let text = r#" { "b" : [1.0, -0, 1e3, 0.1, 1E400000000, 9007199254740993] } "#;
    assert_eq!(plain(text).expect_err("infinite").problem, Problem::Number);
    let text = r#"{"b":[1.0,-0,-0.0,1e3,0.10,1e21,12345678901234567890123,2.5e-7],"a":"\u00e9\/\u0041\u0000\ud800x","é":{},"B":[ ]}"#;
    assert_eq!(
        plain(text).expect("canonical").as_ref(),
        "{\"B\":[],\"a\":\"é/A\u{fffd}\u{fffd}x\",\"b\":[1,0,0,1000,0.1,1e21,12345678901234567890123,2.5e-7],\"é\":{}}"
    );
    assert_eq!(plain(r#"{"a":1,"b":2,"a":3}"#).expect("canonical").as_ref(), r#"{"a":3,"b":2}"#);
}

#[test]
fn depth_is_limited_before_the_stack_is() {
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    assert!(plain(&nested(128)).is_ok());
    assert_eq!(plain(&nested(129)).expect_err("deep").problem, Problem::TooDeep);
    assert_eq!(plain(&nested(1_000_000)).expect_err("deep").problem, Problem::TooDeep);
    assert_eq!(plain(&"[".repeat(1000)).expect_err("deep").problem, Problem::TooDeep);
}

#[test]
fn a_full_and_a_basic_answer_give_one_node_one_version() {
    let basic = r#"{"id":1,"customitem":{"dockerName":"alpine"},"env":{"envName":"e"}}"#;
    let full = r#"{"env":{"envName":"e"},"customitem":{"dockerManifest":{"env":["A=b"]},
        "dockerVolumes":["/x"],"dockerVolumesFrom":[],"dockerName":"alpine"},
        "packages":[{"x":1}],"endpoints":[{"id":2}],"id":1}"#;
    assert_eq!(redact(basic), redact(full));
    assert_eq!(source_version(&redact(basic)), source_version(&redact(full)));
    assert!(redact(basic).contains("envName"), "the environment's own outline stays");
}

#[test]
fn a_flag_is_no_secret_and_variables_of_a_manifest_are() {
    let text =
        r#"{"isResetPassword":false,"password":null,"manifest":{"x":{"env":["K=v"],"y":1}}}"#;
    assert_eq!(
        redact(text),
        r#"{"isResetPassword":false,"manifest":{"x":{"y":1}},"password":null}"#
    );
    let more = RedactionRules::default().and_name("My_Field");
    assert_eq!(canonical(r#"{"myfield":1}"#, &more).expect("canonical").as_ref(), "{}");
}

#[test]
fn what_cannot_be_read_is_not_shown() {
    let rules = RedactionRules::default();
    let broken = r#"{"password":"kanarienvogel""#;
    assert!(!redacted(broken, &rules, 100).contains("kanarienvogel"));
    assert_eq!(redacted(r#"{"a":"ääää"}"#, &rules, 9), "{\"a\":\"…");
    assert!(redacted(r#"{"a":"ääää"}"#, &rules, 9).len() <= 9);
}

#[test]
fn versions_read_back_from_hex() {
    let version = source_version("{}");
    assert_eq!(SourceVersion::from_hex(&version.to_string()), Some(version));
    for text in ["", "zz", &"+1".repeat(32), &"é".repeat(32)] {
        assert_eq!(SourceVersion::from_hex(text), None);
    }
}
