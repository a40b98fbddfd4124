use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Infos, Scanner, Step};

/// Everything that a scanner finds when the text comes in pieces of the given sizes, repeated.
fn scan(text: &[u8], sizes: &[usize], cap: usize) -> (Vec<Vec<u8>>, usize, Scanner) {
    let mut scanner = Scanner::new(cap);
    let (mut elements, mut oversize) = (Vec::new(), 0);
    let mut rest = text;
    let mut sizes = sizes.iter().cycle();
    'chunks: while !rest.is_empty() {
        let size = (*sizes.next().expect("sizes")).clamp(1, rest.len());
        let (chunk, later) = rest.split_at(size);
        rest = later;
        let mut at = 0;
        loop {
            match scanner.next(chunk, &mut at) {
                Step::Element(bytes) => elements.push(bytes.to_vec()),
                Step::Oversize => oversize += 1,
                Step::NeedMore => break,
                Step::Broken => break 'chunks,
            }
        }
    }
    (elements, oversize, scanner)
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z\"\\\\{}\\[\\],:\u{e9}\u{1F600}\n]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-z\"\\\\{}\\[\\]]{0,8}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn spaced(value: &Value, pretty: bool) -> Vec<u8> {
    if pretty { serde_json::to_vec_pretty(value) } else { serde_json::to_vec(value) }
        .expect("a value serialises")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_chunking_gives_the_elements_that_serde_json_gives(
        infos in prop::collection::vec(any_json(), 0..8),
        others in prop::collection::btree_map("[a-z\"\\\\]{0,8}", any_json(), 0..4),
        result in any::<i32>(),
        result_first in any::<bool>(),
        pretty in any::<bool>(),
        bom in any::<bool>(),
        sizes in prop::collection::vec(1_usize..64, 1..8),
    ) {
        let mut object = serde_json::Map::new();
        object.extend(others.into_iter().filter(|(key, _)| key != "infos" && key != "result"));
        // Map order is by key, so the text is put together by hand for `result` on either side.
        let mut members = object
            .iter()
            .map(|(key, value)| {
                [spaced(&json!(key), false), b":".to_vec(), spaced(value, pretty)].concat()
            })
            .collect::<Vec<_>>();
        members.push([b"\"infos\": ".to_vec(), spaced(&json!(infos), pretty)].concat());
        let place = if result_first { 0 } else { members.len() };
        members.insert(place, format!("\"result\" :{result}").into_bytes());
        let mut text = if bom { b"\xEF\xBB\xBF{".to_vec() } else { b" {".to_vec() };
        text.extend(members.join(&b","[..]));
        text.extend(b"} \n");

        let (elements, oversize, scanner) = scan(&text, &sizes, 1 << 20);
        let read = elements.iter().map(|bytes| serde_json::from_slice::<Value>(bytes));
        let read = read.collect::<Result<Vec<_>, _>>().expect("each element is whole");
        // Floats are compared after one trip through text.
        let expected = serde_json::from_slice::<Vec<Value>>(&spaced(&json!(infos), false))
            .expect("it was serialised");
        prop_assert_eq!(read, expected);
        prop_assert_eq!(oversize, 0);
        prop_assert!(scanner.closed());
        prop_assert_eq!(scanner.infos(), Infos::List);
        let result = result.to_string();
        prop_assert_eq!(scanner.result(), Some(result.as_bytes()));

        // Every proper prefix that cuts the object is not closed.
        let cut = text.len().saturating_sub(4);
        let (_, _, cut_short) = scan(&text[..cut], &sizes, 1 << 20);
        prop_assert!(!cut_short.closed());
    }

    #[test]
    fn no_bytes_whatever_make_it_panic(
        bytes in prop::collection::vec(
            prop_oneof![prop::sample::select(b"{}[]\",:\\infosresult0 ".to_vec()), any::<u8>()],
            0..200,
        ),
        sizes in prop::collection::vec(1_usize..16, 1..4),
    ) {
        let _ = scan(&[br#"{"infos":["#.as_slice(), &bytes].concat(), &sizes, 64);
        let _ = scan(&bytes, &sizes, 64);
    }
}

#[test]
fn the_result_may_follow_the_list_and_a_nested_envelope_is_kept() {
    let text = br#"{"infos":[{"a":1}],"response":{"result":4099},"error":"no","result":"17"}"#;
    for size in [1, 3, 1000] {
        let (elements, _, scanner) = scan(text, &[size], 1024);
        assert_eq!(elements, [br#"{"a":1}"#]);
        assert_eq!(scanner.result(), Some(&br#""17""#[..]));
        assert_eq!(scanner.error(), Some(&br#""no""#[..]));
        assert_eq!(scanner.response(), Some(&br#"{"result":4099}"#[..]));
        assert!(scanner.closed());
    }
}

#[test]
fn a_list_that_is_none_is_told_apart_from_an_empty_one() {
    let infos = |text: &str| scan(text.as_bytes(), &[2], 64).2.infos();
    assert_eq!(infos(r#"{"result":0}"#), Infos::Absent);
    assert_eq!(infos(r#"{"infos":[]}"#), Infos::List);
    assert_eq!(infos(r#"{"\u0069nfos":[]}"#), Infos::List);
    for other in ["null", "{}", "\"[]\"", "0"] {
        assert_eq!(infos(&format!(r#"{{"infos":{other}}}"#)), Infos::Other, "{other}");
    }
    // `infos` below the top level is somebody else's.
    assert_eq!(infos(r#"{"response":{"infos":[1]}}"#), Infos::Absent);
}

#[test]
fn what_is_no_object_or_stops_being_one_never_closes() {
    for text in [
        "",
        " ",
        "[]",
        "null",
        "<html>",
        "{",
        r#"{"infos":[1,2"#,
        r#"{"infos":[1,2]"#,
        "{}{}",
        "{}x",
        r#"{"infos":[1 2]}"#,
        r#"{"infos":[1,]}"#,
        r#"{"infos":[{]}]}"#,
        r#"{"a" 1}"#,
        r#"{"a":1,}"#,
        r#"{"infos":[1],"infos":[2]}"#,
        r#"{"a":}"#,
        "{]",
        r#"{"infos":[}"#,
        "\u{feff}<p>",
    ] {
        for size in [1, 2, 100] {
            assert!(!scan(text.as_bytes(), &[size], 64).2.closed(), "{text}");
        }
    }
    assert!(scan(b" <!doctype html>", &[1], 64).2.markup());
}

#[test]
fn an_element_past_the_cap_is_dropped_and_the_rest_is_found() {
    let text = format!(r#"{{"infos":[1,"{}",[2]],"result":0}}"#, "x".repeat(500));
    for size in [1, 7, 10_000] {
        let (elements, oversize, scanner) = scan(text.as_bytes(), &[size], 100);
        assert_eq!((elements.as_slice(), oversize), (&[b"1".to_vec(), b"[2]".to_vec()][..], 1));
        assert!(scanner.closed());
        assert!(scanner.carry.capacity() <= 128, "the buffer is let go");
    }
}

#[test]
fn a_thousand_levels_are_only_a_counter() {
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    let (elements, _, scanner) = scan(format!(r#"{{"infos":[{deep},7]}}"#).as_bytes(), &[9], 4096);
    assert_eq!(elements, [deep.into_bytes(), b"7".to_vec()]);
    assert!(scanner.closed());
}
