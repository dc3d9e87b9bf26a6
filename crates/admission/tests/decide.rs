//! Policies against facts: what is wanted, by whom, how old; exceptions, modes, tags, and what could not be found out.
#![allow(clippy::unwrap_used, clippy::panic)] // tests

mod common;

use std::collections::BTreeMap;

use admission::{
    Decision, Fact, FactSigner, Looked, PolicySet, Purpose, ReasonCode, Request, Says, answer, decide, needs,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use common::{
    ISSUER, KEY, SIGNED, SLSA, bad, creating, digest, fact, found, good, judge, looked, now, pod, policies, review,
    said,
};
use model::Timestamp;
use serde_json::{Value, json};

fn judged(set: &PolicySet, looked: &BTreeMap<String, Looked>) -> Decision {
    judge(&review(&creating(&pod(&good()))), set, looked)
}

fn with(facts: Vec<Fact>) -> BTreeMap<String, Looked> {
    [(good(), found(&digest(1), facts))].into()
}

fn requiring(lines: &str) -> PolicySet {
    policies(&format!(
        "[[policies]]\nname = \"p\"\nimages = [\"r.example/**\"]\n[[policies.require]]\nname = \"r\"\n{lines}"
    ))
}

const BY_CI: &str = "identity = \"https://ci.example/release\"\nissuer = \"https://ci.example\"\n";

#[test]
fn facts_against_a_requirement() {
    let check = |set: &PolicySet, facts: Vec<Fact>, refusal: Option<&str>| {
        let decision = judged(set, &with(facts));
        match refusal {
            None => assert!(decision.allowed, "{}", said(&decision)),
            Some(why) => {
                assert!(!decision.allowed, "expected: {why}");
                assert!(said(&decision).contains(why), "{why}: {}", said(&decision));
            }
        }
    };
    let one = digest(1);
    let signed = || fact(&one, SIGNED);
    let by_ci = requiring(BY_CI);
    check(&by_ci, vec![signed()], None);
    check(&by_ci, vec![Fact { says: Says::Signature, ..signed() }], None);
    check(&by_ci, vec![], Some("wants a signature, and none is proved"));
    check(&by_ci, vec![fact(&one, SLSA)], Some("none is proved"));
    check(&by_ci, vec![fact(&digest(9), SIGNED)], Some("none is proved"));
    let other = |identity: &str, issuer: &str| Fact {
        signer: FactSigner::Certificate { identity: identity.to_owned(), issuer: issuer.to_owned() },
        ..signed()
    };
    check(&by_ci, vec![other("https://ci.example/other", ISSUER)], Some("one is signed by https://ci.example/other"));
    check(&by_ci, vec![other("https://ci.example/release", "https://evil.example")], Some("of https://evil.example"));
    check(&by_ci, vec![other("", "")], Some("none is proved"));
    check(&by_ci, vec![other("https://evil.example", ISSUER), signed()], None);
    check(&by_ci, vec![Fact { logged: false, ..signed() }], Some("no transparency log has seen it"));
    check(&requiring(&format!("{BY_CI}logged = false")), vec![Fact { logged: false, ..signed() }], None);

    let provenance = requiring(&format!("{BY_CI}statement = \"{SLSA}\""));
    check(&provenance, vec![fact(&one, SLSA)], None);
    check(&provenance, vec![signed()], Some("wants a statement https://slsa.dev/provenance/v1"));
    check(&provenance, vec![Fact { says: Says::Signature, ..signed() }], Some("none is proved"));

    let pattern = requiring("identity_pattern = \"https://ci\\\\.example/.*\"\nissuer = \"https://ci.example\"");
    check(&pattern, vec![signed()], None);
    check(&pattern, vec![other("https://evil.example/?https://ci.example/release", ISSUER)], Some("none is proved"));

    let by_key = requiring(&format!("key = \"\"\"{KEY}\"\"\"\nlogged = false"));
    let hint = by_key.keys()[0].hint.clone();
    let keyed = |hint: &str| Fact { signer: FactSigner::Key { hint: hint.to_owned() }, logged: false, ..signed() };
    check(&by_key, vec![keyed(&hint)], None);
    check(&by_key, vec![keyed("another")], Some("one is signed by the key another"));
    check(&by_key, vec![signed()], Some("one is signed by https://ci.example/release"));
    check(&by_ci, vec![Fact { logged: true, ..keyed(&hint) }], Some("one is signed by the key"));
}

#[test]
fn how_old_it_may_be() {
    let set = requiring(&format!("{BY_CI}max_age_hours = 24"));
    let at = |hours: i64| now().plus_millis(-hours * 3_600_000);
    let check = |times: Vec<Timestamp>, dated: Option<Timestamp>, allowed: bool| {
        let facts = vec![Fact { times: times.clone(), dated, ..fact(&digest(1), SIGNED) }];
        let decision = judged(&set, &with(facts));
        assert_eq!(decision.allowed, allowed, "{times:?} {dated:?}: {}", said(&decision));
    };
    check(vec![at(1)], None, true);
    check(vec![at(24)], None, true);
    check(vec![at(25)], None, false);
    check(vec![], None, false);
    // A fresh timestamp over an old signature makes nothing young.
    check(vec![at(1), at(100)], None, false);
    check(vec![at(1)], Some(at(100)), false);
    check(vec![at(100)], Some(at(1)), true);
    // Dated ahead: a clock may be off by minutes, not by an hour.
    check(vec![], Some(at(-1)), false);
    check(vec![], Some(now().plus_millis(60_000)), true);
    // Asked again later, the same facts no longer do: age is part of no cache.
    let facts = with(vec![fact(&digest(1), SIGNED)]);
    let asked = review(&creating(&pod(&good())));
    let when =
        |now| decide(Request { review: &asked, policies: &set, looked: &facts, now, purpose: Purpose::Validate });
    assert!(when(now()).allowed && !when(at(-48)).allowed);
}

#[test]
fn what_could_not_be_found_out_refuses() {
    let set = policies(common::POLICY);
    let unknown: BTreeMap<String, Looked> =
        [(good(), Looked::Unknown("r.example cannot be reached".to_owned()))].into();
    let wrong = [(good(), found(&digest(2), vec![fact(&digest(2), SIGNED)]))].into();
    for (looked, why) in [(unknown, "cannot be reached"), (BTreeMap::new(), "not looked up"), (wrong, "another image")]
    {
        let decision = judged(&set, &looked);
        assert!(!decision.allowed && decision.reasons[0].code == ReasonCode::Unknown, "{}", said(&decision));
        assert!(said(&decision).contains(why), "{}", said(&decision));
    }
}

#[test]
fn no_policy_no_pod() {
    let elsewhere = policies(&common::POLICY.replace("r.example/shop/**", "r.example/other/**"));
    let decision = judged(&elsewhere, &looked());
    assert!(!decision.allowed && decision.reasons[0].code == ReasonCode::NoPolicy, "{}", said(&decision));
    let namespace =
        policies(&common::POLICY.replace("[[policies.require]]", "namespaces = [\"elsewhere\"]\n[[policies.require]]"));
    assert!(!judged(&namespace, &looked()).allowed);
    let here = policies(
        &common::POLICY.replace("[[policies.require]]", "namespaces = [\"x\", \"shop\"]\n[[policies.require]]"),
    );
    assert!(judged(&here, &looked()).allowed);
    // All that cover an image must be content.
    let two = policies(&format!(
        "{}\n{}",
        common::POLICY,
        common::POLICY.replace("\"shop\"", "\"second\"").replace("/release", "/other")
    ));
    let decision = judged(&two, &looked());
    assert!(!decision.allowed && said(&decision).contains("policy \"second\""), "{}", said(&decision));
}

#[test]
fn exceptions_end() {
    let exception = |images: &str, expires: &str| {
        policies(&format!(
            "{}\n[[exceptions]]\nimages = [\"{images}\"]\nowner = \"dana\"\nreason = \"the vendor does not sign\"\nexpires = \"{expires}\"",
            common::POLICY
        ))
    };
    let asked = review(&creating(&pod(&bad())));
    let live = exception("r.example/shop/*", "2026-05-07T13:00:01Z");
    let decision = judge(&asked, &live, &looked());
    assert!(decision.allowed && decision.exceptions[0].contains("dana"), "{}", said(&decision));
    assert!(needs(&asked, &live, now(), Purpose::Validate).is_empty(), "nothing is looked up for it");
    let over = exception("r.example/shop/*", "2026-05-07T13:00:00Z");
    let decision = judge(&asked, &over, &looked());
    assert!(!decision.allowed && said(&decision).contains("exception of dana expired"), "{}", said(&decision));
    let other = exception("r.example/other/*", "2027-01-01T00:00:00Z");
    assert!(!judge(&asked, &other, &looked()).allowed);
    // It excuses missing evidence, not a tag.
    let tagged = review(&creating(&pod("r.example/shop/app:v1")));
    assert!(!judge(&tagged, &live, &looked()).allowed);
    for missing in
        ["owner = \"dana\"\n", "reason = \"the vendor does not sign\"\n", "expires = \"2026-05-07T13:00:01Z\""]
    {
        let text = format!(
            "{}\n[[exceptions]]\nimages = [\"**\"]\nowner = \"dana\"\nreason = \"the vendor does not sign\"\nexpires = \"2026-05-07T13:00:01Z\"",
            common::POLICY
        );
        let files = [("a.toml".to_owned(), text.replace(missing, "").into_bytes())];
        assert!(PolicySet::read(&files).is_err(), "{missing}");
    }
}

#[test]
fn modes() {
    let asked = review(&creating(&pod(&bad())));
    let check = |set: &PolicySet, allowed: bool, warnings: usize, audit: bool| {
        let decision = judge(&asked, set, &looked());
        let answer = answer("u", &decision);
        assert_eq!(decision.allowed, allowed, "{}", said(&decision));
        assert_eq!(answer["response"]["warnings"].as_array().map_or(0, Vec::len), warnings, "{answer}");
        assert_eq!(answer["response"]["auditAnnotations"].is_object(), audit, "{answer}");
        assert_eq!(answer["response"]["status"]["code"] == 403, !allowed, "{answer}");
    };
    check(&policies(common::POLICY), false, 0, false);
    check(&policies(&format!("mode = \"warn\"\n{}", common::POLICY)), true, 1, true);
    check(&policies(&format!("mode = \"audit\"\n{}", common::POLICY)), true, 0, true);
    let own = |mode: &str| {
        common::POLICY.replace("[[policies.require]]", &format!("mode = \"{mode}\"\n[[policies.require]]"))
    };
    check(&policies(&own("warn")), true, 1, true);
    check(&policies(&format!("mode = \"audit\"\n{}", own("enforce"))), false, 0, false);
    // Bytes that are no review are refused in every mode.
    let refusal = Decision::refusal(ReasonCode::Malformed, "no review");
    assert_eq!(answer("u", &refusal)["response"]["allowed"], false);
}

#[test]
fn tags_are_refused_or_pinned() {
    let pinning = policies(&format!("tags = \"pin\"\n{}", common::POLICY));
    let mut object = pod("r.example/shop/app:v1");
    object["spec"]["initContainers"] = json!([{ "name": "i", "image": good() }]);
    let tagged = review(&creating(&object));
    for set in [&pinning, &policies(common::POLICY)] {
        let decision = judge(&tagged, set, &looked());
        assert!(!decision.allowed && decision.reasons[0].code == ReasonCode::Tag, "{}", said(&decision));
    }
    let need = needs(&tagged, &pinning, now(), Purpose::Pin);
    assert_eq!(need.len(), 1, "what has a digest is not asked for");
    assert!(need[0].resolve && !need[0].evidence);
    let pin = |looked: &BTreeMap<String, Looked>| {
        decide(Request { review: &tagged, policies: &pinning, looked, now: now(), purpose: Purpose::Pin })
    };
    let resolved = [("r.example/shop/app:v1".to_owned(), found(&digest(1), Vec::new()))].into();
    let answered = answer("u", &pin(&resolved));
    let patch = STANDARD.decode(answered["response"]["patch"].as_str().unwrap()).unwrap();
    let patch: Value = serde_json::from_slice(&patch).unwrap();
    let wanted = format!("r.example/shop/app:v1@{}", digest(1));
    assert_eq!(
        patch,
        json!([
            { "op": "test", "path": "/spec/containers/0/image", "value": "r.example/shop/app:v1" },
            { "op": "replace", "path": "/spec/containers/0/image", "value": wanted },
        ])
    );
    assert!(!pin(&BTreeMap::new()).allowed, "a tag that could not be resolved is not let through");
    // What is then judged is the digest: that of a tag that has moved has no evidence.
    let moved = review(&creating(&pod(&format!("r.example/shop/app:v1@{}", digest(2)))));
    assert!(!judge(&moved, &pinning, &looked()).allowed);
}

#[test]
fn policies_that_are_none() {
    let check = |text: &str, why: &str| {
        let error = PolicySet::read(&[("a.toml".to_owned(), text.as_bytes().to_vec())]).unwrap_err().to_string();
        assert!(error.contains(why), "{why}: {error}");
    };
    check("", "no policy");
    check("mode = \"off\"", "unknown variant");
    check(&format!("{}\nsurprise = 1", common::POLICY), "unknown field");
    check("[[policies]]\nname = \"a\"\nimages = [\"**\"]\nrequire = []", "requires nothing");
    check(&common::POLICY.replace("\"r.example/shop/**\"", ""), "names no images");
    check(&common::POLICY.replace("r.example/shop/**", "r.example/[a]"), "is no glob");
    check(&common::POLICY.replace("issuer = \"https://ci.example\"", ""), "exactly one of issuer");
    check(&common::POLICY.replace("issuer = \"https://ci.example\"", "issuer = \"\""), "exactly one of issuer");
    check(&format!("{}\nkey = \"x\"", common::POLICY), "either a key");
    check(&format!("{}\nstatement = \"slsa\"", common::POLICY), "predicate type");
    check(
        &common::POLICY.replace("identity =", "identity_pattern = \"(\"\nissuer_pattern = \"a)|(b\" #"),
        "not a pattern",
    );
    check(&format!("{0}\n{0}", common::POLICY), "two policies have this name");
    let named = |name: &str| PolicySet::read(&[(name.to_owned(), common::POLICY.into())]).is_ok();
    assert!(named("a.toml") && !named("a.txt") && !named("a.yaml"));
    let twice =
        [("a.toml".to_owned(), b"mode = \"warn\"".to_vec()), ("b.toml".to_owned(), b"mode = \"warn\"".to_vec())];
    assert!(PolicySet::read(&twice).unwrap_err().to_string().contains("said it already"));
    // Other text, other digest: what was decided under the one is not used under the other.
    let digests = [policies(common::POLICY).digest, policies(&format!("{} ", common::POLICY)).digest];
    assert_ne!(digests[0], digests[1]);
}
