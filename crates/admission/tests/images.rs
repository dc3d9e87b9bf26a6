//! Every place where an object can name an image is seen, and what is not understood refuses.
#![allow(clippy::unwrap_used, clippy::panic)] // tests

mod common;

use common::{bad, creating, good, judge, looked, pod, pod_spec, policies, review, reviewing, said};
use serde_json::{Value, json};

fn template(api: &str, kind: &str, spec: &Value) -> Value {
    let metadata = json!({ "name": "x" });
    match kind {
        "Pod" => json!({ "apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec }),
        "PodTemplate" => json!({ "apiVersion": api, "kind": kind, "metadata": metadata, "template": { "spec": spec } }),
        "CronJob" => json!({ "apiVersion": api, "kind": kind, "metadata": metadata,
            "spec": { "schedule": "* * * * *", "jobTemplate": { "spec": { "template": { "spec": spec } } } } }),
        _ => json!({ "apiVersion": api, "kind": kind, "metadata": metadata,
            "spec": { "selector": { "matchLabels": { "image": "x" } }, "template": { "metadata": { "labels": { "image": "y" } }, "spec": spec } } }),
    }
}

const KINDS: [(&str, &str); 9] = [
    ("v1", "Pod"),
    ("v1", "PodTemplate"),
    ("v1", "ReplicationController"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "ReplicaSet"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("batch/v1", "Job"),
    ("batch/v1", "CronJob"),
];

#[test]
fn every_kind_and_every_place() {
    let set = policies(common::POLICY);
    let mut cases = 0;
    for (api, kind) in KINDS {
        let whole = |image: [&str; 4]| {
            json!({
                "initContainers": [{ "name": "init", "image": image[0], "imagePullPolicy": "Always" }],
                "containers": [{ "name": "side", "image": good() }, { "name": "app", "image": image[1],
                    "resources": { "limits": { "cpu": "1" } } }],
                "ephemeralContainers": [{ "name": "debug", "image": image[2] }],
                "volumes": [{ "name": "empty", "emptyDir": {} }, { "name": "rbd", "rbd": { "image": "disk", "monitors": ["m"] } },
                    { "name": "data", "image": { "reference": image[3], "pullPolicy": "Always" } }],
                "imagePullSecrets": [{ "name": "s" }],
                "nodeSelector": { "image": "z" },
            })
        };
        let (good, bad) = (good(), bad());
        let all_good = [good.as_str(); 4];
        let decision = judge(&review(&creating(&template(api, kind, &whole(all_good)))), &set, &looked());
        assert!(decision.allowed, "{kind}: {}", said(&decision));
        assert_eq!(decision.images.len(), 5, "{kind}");
        for place in 0..4 {
            for other in [bad.as_str(), "r.example/shop/app:v1", "elsewhere.example/x@sha256:00", ""] {
                let mut images = all_good;
                images[place] = other;
                let decision = judge(&review(&creating(&template(api, kind, &whole(images)))), &set, &looked());
                assert!(!decision.allowed, "{kind}, place {place}, {other:?}");
                assert_eq!(decision.reasons.len(), 1, "{}", said(&decision));
                cases += 1;
            }
        }
    }
    assert_eq!(cases, 9 * 4 * 4);
}

#[test]
fn what_is_not_understood_refuses() {
    let set = policies(common::POLICY);
    let check = |change: &dyn Fn(&mut Value), why: &str| {
        let mut object = pod(&good());
        change(&mut object);
        let mut asked = creating(&pod(&good()));
        asked["request"]["object"] = object;
        let decision = judge(&review(&asked), &set, &looked());
        assert!(!decision.allowed, "{why}");
        assert!(said(&decision).contains(why), "{why}: {}", said(&decision));
    };
    let spec = |field: &'static str, value: Value| move |object: &mut Value| object["spec"][field] = value.clone();
    check(&spec("containers", Value::Null), "/spec/containers is missing");
    check(&spec("containers", json!([])), "nothing to judge");
    check(&spec("containers", json!({})), "not a list");
    check(&spec("containers", json!(["x"])), "not a container");
    check(&spec("containers", json!([{ "name": "a" }])), "names no image");
    check(&spec("containers", json!([{ "name": "a", "image": 1 }])), "not a text");
    check(&spec("initContainers", json!("x")), "not a list");
    check(&spec("volumes", json!({ "a": 1 })), "not a list");
    check(&spec("volumes", json!([7])), "not a volume");
    check(&spec("volumes", json!([{ "name": "v", "image": "x" }])), "not an object");
    check(&spec("volumes", json!([{ "name": "v", "image": {} }])), "names no image");
    check(
        &spec("volumes", json!([{ "name": "v", "csi": { "volumeAttributes": { "image": "x" } } }])),
        "seems to name an image",
    );
    check(&spec("volumes", json!([{ "name": "v", "rbd": { "image": {} } }])), "seems to name an image");
    check(&spec("runtimeImage", json!("x")), "/spec/runtimeImage seems to name an image");
    check(&spec("wasmModules", json!([{ "reference": "x" }])), "/spec/wasmModules/0/reference");
    check(&spec("nodeSelector", json!({ "x": { "image": "y" } })), "/spec/nodeSelector/x/image");
    check(
        &spec("volumes", json!([{ "name": "v", "labels": { "reference": "x" } }])),
        "/spec/volumes/0/labels/reference",
    );
    check(&|object| object["spec"] = json!("x"), "/spec is missing");
    check(&|object| object["image"] = json!("x"), "/image seems to name an image");
    check(&|object| object["sidecars"] = json!({ "image": "x" }), "/sidecars/image");
    check(&|object| object["kind"] = json!("Deployment"), "calls itself");
    check(&|object| object["apiVersion"] = json!("v2"), "calls itself");
    let many: Vec<Value> = (0..300).map(|n| json!({ "name": format!("c{n}"), "image": good() })).collect();
    check(&spec("containers", json!(many)), "more than 256 images");
    // What the review itself says.
    let asked = |change: &dyn Fn(&mut Value), why: &str| {
        let mut asked = creating(&pod(&good()));
        change(&mut asked["request"]);
        let decision = judge(&review(&asked), &set, &looked());
        assert!(!decision.allowed && said(&decision).contains(why), "{why}: {}", said(&decision));
    };
    asked(&|r| r["operation"] = json!("DELETE"), "DELETE is no operation");
    asked(&|r| r["operation"] = json!("CONNECT"), "CONNECT is no operation");
    asked(&|r| r["object"] = Value::Null, "missing");
    asked(&|r| r["kind"]["kind"] = json!("Widget"), "no kind whose pods are known");
    asked(&|r| r["kind"]["version"] = json!("v2"), "no kind whose pods are known");
    asked(&|r| r["kind"]["group"] = json!("apps"), "no kind whose pods are known");
}

#[test]
fn what_an_object_says_of_itself_changes_nothing() {
    let set = policies(common::POLICY);
    let mut object = pod(&bad());
    object["metadata"] = json!({
        "name": "app", "namespace": "shop", "deletionTimestamp": "2026-01-01T00:00:00Z",
        "labels": { "policy.sigstore.dev/include": "false", "deliveryos.dev/exempt": "true" },
        "annotations": { "image-verification-outcomes": "{\"app\":\"pass\"}", "deliveryos.dev/verified": "true",
            "deliveryos.dev/decision": "allowed" },
    });
    object["status"] = json!({ "containerStatuses": [{ "image": good(), "imageID": good() }] });
    let decision = judge(&review(&creating(&object)), &set, &looked());
    assert!(!decision.allowed);
    let plain = judge(&review(&creating(&pod(&bad()))), &set, &looked());
    assert_eq!(decision.reasons, plain.reasons);
}

#[test]
fn an_update_is_judged_when_an_image_changes() {
    let set = policies(common::POLICY);
    let check = |old: &Value, new: &Value, allowed: bool| {
        let decision = judge(&review(&reviewing("UPDATE", new, old)), &set, &looked());
        assert_eq!(decision.allowed, allowed, "{old} {new}: {}", said(&decision));
    };
    let mut labelled = pod(&bad());
    labelled["metadata"]["finalizers"] = json!([]);
    check(&pod(&bad()), &labelled, true);
    check(&pod(&good()), &pod(&bad()), false);
    check(&pod(&bad()), &pod(&good()), true);
    check(&Value::Null, &pod(&bad()), false);
    check(&json!({}), &pod(&bad()), false);
    let mut debugged = pod(&good());
    debugged["spec"]["ephemeralContainers"] = json!([{ "name": "sh", "image": bad() }]);
    check(&pod(&good()), &debugged, false);
    let mut strange = pod(&bad());
    strange["spec"]["otherImage"] = json!("x");
    check(&pod(&bad()), &strange, false);
    // Creating is never "unchanged".
    let decision = judge(&review(&reviewing("CREATE", &pod(&bad()), &pod(&bad()))), &set, &looked());
    assert!(!decision.allowed);
    let deployment = |image: &str| json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {}, "spec": { "template": { "spec": pod_spec(image) } } });
    check(&deployment(&good()), &deployment(&bad()), false);
}
