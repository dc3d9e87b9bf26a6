//! Mutated reviews never panic, and never bring in what has no evidence. The bodies are the fuzz targets' own (`fuzz/`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests

#[path = "../fuzz/bodies.rs"]
mod bodies;
mod common;

use std::collections::BTreeMap;

use admission::{Looked, Review};
use common::{bad, creating, good, judge, looked, pod, policies, review};
use proptest::{
    prelude::*,
    sample::Index,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};

/// A change to one place of a document.
#[derive(Debug, Clone)]
enum Change {
    Remove,
    Type(Value),
    Rename(String),
    Duplicate,
    Nest,
    Text(String),
}

fn changes() -> impl Strategy<Value = Change> {
    let value = prop_oneof![
        Just(Value::Null),
        Just(json!(true)),
        any::<i64>().prop_map(Value::from),
        "[ -~]{0,20}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([{}])),
        Just(json!(good())),
    ];
    let word = prop::sample::select(vec![
        "image",
        "Image",
        "containers",
        "spec",
        "metadata",
        "status",
        "object",
        "oldObject",
        "kind",
        "name",
        "volumes",
        "UPDATE",
        "CREATE",
        "DELETE",
        "Pod",
        "v1",
        "",
        "annotations",
        "labels",
        "ephemeralContainers",
        "template",
    ]);
    prop_oneof![
        Just(Change::Remove),
        value.prop_map(Change::Type),
        word.clone().prop_map(|w| Change::Rename(w.to_owned())),
        Just(Change::Duplicate),
        Just(Change::Nest),
        word.prop_map(|w| Change::Text(w.to_owned())),
    ]
}

fn places(value: &Value, at: &str, out: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
                out.push(at.clone());
                places(value, &at, out);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                let at = format!("{at}/{index}");
                out.push(at.clone());
                places(value, &at, out);
            }
        }
        _ => {}
    }
}

fn change(document: &mut Value, at: Index, change: &Change) {
    let mut all = Vec::new();
    places(document, "", &mut all);
    if all.is_empty() {
        return;
    }
    let place = at.get(&all);
    let (parent, key) = place.rsplit_once('/').unwrap();
    let key = key.replace("~1", "/").replace("~0", "~");
    match change {
        Change::Type(value) => *document.pointer_mut(place).unwrap() = value.clone(),
        Change::Text(text) => *document.pointer_mut(place).unwrap() = json!(text),
        Change::Nest => {
            let inner = document.pointer_mut(place).unwrap().take();
            *document.pointer_mut(place).unwrap() = json!({ "spec": inner });
        }
        Change::Remove | Change::Rename(_) | Change::Duplicate => match document.pointer_mut(parent).unwrap() {
            Value::Object(fields) => {
                let taken = fields.get(&key).cloned().unwrap();
                if !matches!(change, Change::Duplicate) {
                    fields.remove(&key);
                }
                match change {
                    Change::Rename(to) => drop(fields.insert(to.clone(), taken)),
                    Change::Duplicate => drop(fields.insert(format!("{key}Image"), taken)),
                    _ => {}
                }
            }
            Value::Array(items) => {
                let index: usize = key.parse().unwrap();
                match change {
                    Change::Duplicate => items.push(items[index].clone()),
                    _ => drop(items.remove(index)),
                }
            }
            _ => {}
        },
    }
}

/// Every image of an object that a node would fetch, found by another way than the one under test: all texts below fields that are
/// called `image` or `reference`, wherever they are outside of metadata and status.
fn fetched(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                if matches!(key.as_str(), "metadata" | "status" | "oldObject" | "options" | "userInfo") {
                    continue;
                }
                match value {
                    Value::String(text) if matches!(key.as_str(), "image" | "reference") => out.push(text.clone()),
                    other => fetched(other, out),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| fetched(item, out)),
        _ => {}
    }
}

fn whole(image: &str) -> Value {
    let mut object = pod(image);
    object["spec"]["initContainers"] = json!([{ "name": "init", "image": image }]);
    object["spec"]["volumes"] = json!([{ "name": "data", "image": { "reference": image } }]);
    object["metadata"]["annotations"] = json!({ "a": "b" });
    object
}

/// 12,000 changed reviews of an image without evidence: none is allowed. One that became an update of what is there already is no new
/// image; to be taken for one it must say so itself.
#[test]
fn a_changed_review_of_an_unproved_image_is_never_allowed() {
    let set = policies(common::POLICY);
    let looked: BTreeMap<String, Looked> = BTreeMap::new();
    let mut allowed = 0_u32;
    let mut runner = TestRunner::new(Config { cases: 12_000, failure_persistence: None, ..Config::default() });
    let changes = prop::collection::vec((any::<Index>(), changes()), 1..5);
    let done = runner.run(&changes, |list| {
        let mut document = creating(&whole(&bad()));
        for (at, one) in &list {
            change(&mut document, *at, one);
        }
        let bytes = document.to_string();
        bodies::review(bytes.as_bytes());
        if let Ok(review) = Review::parse(bytes.as_bytes()) {
            let decision = judge(&review, &set, &looked);
            prop_assert!(!decision.allowed || review.unchanged, "{document}");
        }
        Ok(())
    });
    done.unwrap();
    // The same without a change is refused for the right reason.
    allowed += u32::from(judge(&review(&creating(&whole(&bad()))), &set, &common::looked()).allowed);
    assert_eq!(allowed, 0);
}

/// 12,000 changed reviews of an image with evidence: what is allowed still fetches nothing but that image.
#[test]
fn a_changed_review_of_a_proved_image_brings_in_nothing_else() {
    let set = policies(common::POLICY);
    let looked = looked();
    assert!(judge(&review(&creating(&whole(&good()))), &set, &looked).allowed);
    let still = std::cell::Cell::new(0_u32);
    let mut runner = TestRunner::new(Config { cases: 12_000, failure_persistence: None, ..Config::default() });
    let changes = prop::collection::vec((any::<Index>(), changes()), 1..4);
    let done = runner.run(&changes, |list| {
        let mut document = creating(&whole(&good()));
        for (at, one) in &list {
            change(&mut document, *at, one);
        }
        let bytes = document.to_string();
        if let Ok(review) = Review::parse(bytes.as_bytes())
            && judge(&review, &set, &looked).allowed
        {
            still.set(still.get() + 1);
            let mut images = Vec::new();
            fetched(&document["request"]["object"], &mut images);
            prop_assert!(!images.is_empty() && images.iter().all(|image| *image == good()), "{document}");
        }
        Ok(())
    });
    done.unwrap();
    assert!(still.get() > 500, "changes that mean nothing leave it allowed: {}", still.get());
}

/// Cut off anywhere, or with any byte changed, it is no review, or one of the same images.
#[test]
fn cut_and_flipped_bytes() {
    let set = policies(common::POLICY);
    let bytes = creating(&whole(&good())).to_string().into_bytes();
    for end in 0..bytes.len() {
        assert!(Review::parse(&bytes[..end]).is_err(), "cut at {end}");
    }
    let mut refused = 0;
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            bodies::review(&flipped);
            match Review::parse(&flipped) {
                Ok(review) if judge(&review, &set, &looked()).allowed => {
                    assert!(review.images.iter().all(|used| used.image == good()));
                }
                _ => refused += 1,
            }
        }
    }
    assert!(refused > 2_000, "{refused}");
}

#[test]
fn a_doubled_key_is_no_review() {
    let text = creating(&pod(&good())).to_string();
    let twice = text.replacen("\"image\":", "\"image\":\"r.example/evil@x\",\"image\":", 1);
    assert!(Review::parse(twice.as_bytes()).is_err());
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(Review::parse(deep.as_bytes()).is_err());
    assert!(Review::parse(&vec![b' '; 8 * 1024 * 1024]).is_err());
}

proptest! {
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        bodies::review(&bytes);
        bodies::policy(&bytes);
    }

    #[test]
    fn any_policy_like_text(lines in prop::collection::vec(prop::sample::select(vec![
        "mode = \"enforce\"", "tags = \"pin\"", "[[policies]]", "name = \"a\"", "images = [\"**\"]", "[[policies.require]]",
        "identity = \"a\"", "issuer = \"b\"", "key = \"c\"", "[[exceptions]]", "owner = \"d\"", "reason = \"e\"",
        "expires = \"2026-12-01T00:00:00Z\"", "apiVersion: policy.sigstore.dev/v1beta1", "kind: ClusterImagePolicy", "metadata: {name: a}",
        "spec:", "  images: [{glob: '**'}]", "  authorities:", "  - static: {action: pass}", "  - keyless: {identities: [{}]}", "---",
    ]), 0..16)) {
        bodies::policy(lines.join("\n").as_bytes());
    }
}
