// SPDX-License-Identifier: Apache-2.0

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Cuts `bytes` that come in pieces of `size`.
fn lines(bytes: &[u8], size: usize) -> Vec<Vec<u8>> {
    let (mut lines, mut found) = (Lines::default(), Vec::new());
    for piece in bytes.chunks(size) {
        lines.push(piece, |line| found.push(line.to_vec())).unwrap();
    }
    found
}

/// Items, and the rest.
fn items(bytes: &[u8], size: usize) -> (Vec<Vec<u8>>, Vec<u8>) {
    let (mut items, mut found) = (Items::default(), Vec::new());
    for piece in bytes.chunks(size) {
        items.push(piece, |item| found.push(item.to_vec())).unwrap();
    }
    (found, items.finish())
}

#[test]
fn lines_wherever_the_pieces_end() {
    for size in 1..12 {
        assert_eq!(lines(b"one\n\ntwo\r\nthree\nrest", size), [&b"one"[..], b"two", b"three"], "{size}");
    }
}

#[test]
fn items_wherever_the_pieces_end() {
    let list = br#" {"kind": "PodList", "x": ["items", {"items": [{}]}], "items" : [ {"a": "]}\\\"{"},{"b":[{}]} , 7, "{",
        {} ], "metadata": {"resourceVersion": "7", "items": [{"no": 1}]} } "#;
    for size in 1..list.len() {
        let (found, rest) = items(list, size);
        assert_eq!(found, [&br#"{"a": "]}\\\"{"}"#[..], br#"{"b":[{}]}"#, b"{}"], "{size}");
        let rest: Value = serde_json::from_slice(&rest).unwrap();
        let wanted = json!({
            "kind": "PodList", "x": ["items", { "items": [{}] }], "items": [],
            "metadata": { "resourceVersion": "7", "items": [{ "no": 1 }] },
        });
        assert_eq!(rest, wanted, "{size}");
    }
}

#[test]
fn lists_without_items() {
    for list in
        [r#"{"items":null,"metadata":{}}"#, r#"{"metadata":{}}"#, r#"{"items":{"a":[{}]}}"#, "[]", "[{}]"]
    {
        let (found, rest) = items(list.as_bytes(), 3);
        assert_eq!((found.len(), String::from_utf8(rest).unwrap()), (0, list.to_owned()));
    }
}

#[test]
fn a_list_that_ends_early_is_no_json() {
    let list = br#"{"metadata":{},"items":[{"a":1},{"b":2}]}"#;
    for end in 0..list.len() {
        let (_, rest) = items(&list[..end], 5);
        assert!(serde_json::from_slice::<Value>(&rest).is_err(), "{end}");
    }
}

#[test]
fn nothing_is_held_without_end() {
    let piece = vec![b'x'; 1 << 20];
    let mut cut = Lines::default();
    let pieces = (0..100).take_while(|_| cut.push(&piece, |_| ()).is_ok()).count();
    assert_eq!(pieces, MAX_OBJECT_BYTES >> 20);

    let mut cut = Items::default();
    cut.push(br#"{"items":[{""#, |_| ()).unwrap();
    let pieces = (0..100).take_while(|_| cut.push(&piece, |_| ()).is_ok()).count();
    assert!(pieces < 16, "{pieces}");
    assert_eq!(Items::default().push(&piece, |_| ()), Err(TooLong));
    let mut cut = Items::default();
    cut.push(br#"{"items":[0"#, |_| ()).unwrap();
    assert!((0..100).all(|_| cut.push(&piece, |_| ()).is_ok()));
}

#[test]
fn long_objects_leave_no_long_buffers() {
    let mut cut = Lines::default();
    let long = vec![b'x'; 8 << 20];
    cut.push(&long, |_| ()).unwrap();
    cut.push(b"\n", |_| ()).unwrap();
    assert!(cut.rest.capacity() <= KEPT_BYTES);
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i32>().prop_map(Value::from),
        r#"[a-z"\\\[\]{},: ü]{0,8}"#.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((r#"items|[a-z"\\\[\]{}]{0,8}"#, inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_list_is_cut_as_a_parser_reads_it(
        fields in prop::collection::vec(("[a-h\"\\\\]{1,6}", json()), 0..4),
        objects in prop::collection::vec(prop::collection::vec(("[a-h]{1,3}", json()), 0..4), 0..6),
        size in 1usize..64,
        pretty in any::<bool>(),
    ) {
        let mut list: serde_json::Map<String, Value> = fields.into_iter().collect();
        let objects: Vec<Value> = objects.into_iter().map(|o| Value::Object(o.into_iter().collect())).collect();
        list.insert("items".to_owned(), Value::from(objects.clone()));
        let text = if pretty { serde_json::to_vec_pretty(&list) } else { serde_json::to_vec(&list) };
        let (found, rest) = items(&text.unwrap(), size);
        let found: Vec<Value> = found.iter().map(|item| serde_json::from_slice(item).unwrap()).collect();
        prop_assert_eq!(found, objects);
        list.insert("items".to_owned(), json!([]));
        prop_assert_eq!(serde_json::from_slice::<Value>(&rest).unwrap(), Value::Object(list));
    }

    #[test]
    fn no_answer_panics(bytes in prop::collection::vec(prop_oneof![
        Just(b'{'), Just(b'}'), Just(b'['), Just(b']'), Just(b'"'), Just(b'\\'), Just(b'\n'), any::<u8>(),
    ], 0..200), size in 1usize..20) {
        items(&bytes, size);
        let mut text = br#"{"items":[{"#.to_vec();
        text.extend(&bytes);
        items(&text, size);
        lines(&bytes, size);
    }
}
