//! Commands: refused by name, applied once, and the dead man's switch.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests panic like tests

mod common;

use common::*;
use splitter::control::{Client, ClientError, Refusal, Request as Ask, Response as Answer};
use splitter::{ServiceSpec, Source};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

fn weight(epoch: u64, operation: &str, weight: u8) -> Ask {
    Ask::SetWeight { epoch, operation_id: operation.into(), service: "shop".into(), weight }
}

fn code(refusal: &Refusal) -> String {
    serde_json::to_value(refusal).unwrap()["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn changes_are_refused_by_name_or_applied_once() {
    let (stable, canary) = (Backend::start("stable").await, Backend::start("canary").await);
    let splitter = Splitter::start().await;
    let spec = service(url_version("a", stable.address), Some(url_version("b", canary.address)));
    splitter.apply(spec.clone()).await;

    let Answer::Weight(first) = splitter.ask(weight(5, "op-1", 30)).await.unwrap() else { panic!() };
    assert!(first.fresh && first.not_saved.is_none());
    assert_eq!((first.previous, first.weight), (0, 30));
    let Answer::Weight(other) = splitter.ask(weight(5, "op-2", 60)).await.unwrap() else { panic!() };
    assert_eq!(other.previous, 30);
    // Again, also by a later controller: the first answer, and no change.
    for epoch in [5, 6] {
        let Answer::Weight(again) = splitter.ask(weight(epoch, "op-1", 30)).await.unwrap() else { panic!() };
        assert_eq!((again.fresh, again.applied_at, again.previous, again.weight), (false, first.applied_at, 0, 30));
    }
    assert_eq!(splitter.service("shop").await.weight, 60);

    let version = url_version("c", stable.address);
    let mut changed = url_version("b", canary.address);
    changed.release = "another".into();
    let invalid = |edit: fn(&mut ServiceSpec)| {
        let mut spec = spec.clone();
        edit(&mut spec);
        Ask::Apply { epoch: 6, spec }
    };
    let busy = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let mut taken = spec.clone();
    taken.listen.push(busy.local_addr().unwrap());
    let cases: Vec<(Ask, &str)> = vec![
        (weight(4, "op-3", 0), "stale_epoch"),
        (Ask::KeepAlive { epoch: 1 }, "stale_epoch"),
        (Ask::Promote { epoch: 1, operation_id: "p".into(), service: "shop".into() }, "stale_epoch"),
        (weight(6, "op-1", 31), "operation_conflict"),
        (weight(6, "", 31), "invalid"),
        (weight(6, "op-4", 101), "invalid"),
        (Ask::SetWeight { epoch: 6, operation_id: "x".into(), service: "nix".into(), weight: 1 }, "unknown_service"),
        (Ask::Status { service: Some("nix".into()) }, "unknown_service"),
        (
            Ask::StartVersion {
                epoch: 6,
                service: "shop".into(),
                track: model::Track::Canary,
                version,
                dead_man_seconds: None,
            },
            "slot_taken",
        ),
        (
            Ask::StartVersion {
                epoch: 6,
                service: "shop".into(),
                track: model::Track::Canary,
                version: changed,
                dead_man_seconds: None,
            },
            "version_conflict",
        ),
        (Ask::StopVersion { epoch: 6, service: "shop".into(), version: "nix".into(), drain_ms: 0 }, "unknown_version"),
        (Ask::StopVersion { epoch: 6, service: "shop".into(), version: "b".into(), drain_ms: u64::MAX }, "invalid"),
        (invalid(|spec| spec.listen.clear()), "invalid"),
        (
            Ask::StartVersion {
                epoch: 6,
                service: "shop".into(),
                track: model::Track::Canary,
                version: url_version("b", canary.address),
                dead_man_seconds: Some(0),
            },
            "invalid",
        ),
        (invalid(|spec| spec.service = "x\n".into()), "invalid"),
        (invalid(|spec| spec.limits.head_bytes = 1), "invalid"),
        (invalid(|spec| spec.dead_man_seconds = Some(0)), "invalid"),
        (invalid(|spec| spec.stable.as_mut().unwrap().source = Source::Url("https://there".into())), "invalid"),
        (invalid(|spec| spec.stable.as_mut().unwrap().source = Source::Url("http://user@there".into())), "invalid"),
        (Ask::Apply { epoch: 6, spec: taken }, "listen_failed"),
    ];
    for (request, expected) in cases {
        let refusal = splitter.ask(request.clone()).await.expect_err(&format!("{request:?}"));
        assert_eq!(code(&refusal), expected, "{request:?}: {refusal}");
    }
    let status = splitter.status().await;
    assert_eq!(
        (status.hello.epoch, status.services[0].weight, status.services[0].listening.len()),
        (6, 60, 1),
        "a refusal changes nothing"
    );

    // What is there already is left alone.
    let Answer::Done(done) = splitter.ask(Ask::Apply { epoch: 6, spec }).await.unwrap() else { panic!() };
    assert!(!done.fresh);
    assert_eq!(splitter.service("shop").await.weight, 60);

    splitter
        .ask(Ask::StopVersion { epoch: 6, service: "shop".into(), version: "b".into(), drain_ms: 100 })
        .await
        .unwrap();
    assert_eq!(splitter.service("shop").await.weight, 0, "a stopped canary has no weight");
    assert_eq!(code(&splitter.ask(weight(6, "op-5", 1)).await.unwrap_err()), "no_canary");
    let gone = eventually("it is gone", async || splitter.service("shop").await.stopped.pop()).await;
    assert_eq!((gone.version.as_str(), gone.cut, gone.killed), ("b", 0, false));
    let Answer::Done(done) = splitter
        .ask(Ask::StopVersion { epoch: 6, service: "shop".into(), version: "b".into(), drain_ms: 100 })
        .await
        .unwrap()
    else {
        panic!()
    };
    assert!(!done.fresh);

    // A canary that nobody answers for is never given a weight.
    let nobody = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    splitter
        .ask(Ask::StartVersion {
            epoch: 6,
            service: "shop".into(),
            track: model::Track::Canary,
            version: url_version("d", nobody),
            dead_man_seconds: None,
        })
        .await
        .unwrap();
    assert_eq!(code(&splitter.ask(weight(6, "op-6", 1)).await.unwrap_err()), "not_ready");
    assert_eq!(
        code(
            &splitter
                .ask(Ask::Promote { epoch: 6, operation_id: "op-7".into(), service: "shop".into() })
                .await
                .unwrap_err()
        ),
        "not_ready"
    );

    splitter.ask(Ask::Remove { epoch: 6, service: "shop".into(), drain_ms: 100 }).await.unwrap();
    assert!(splitter.status().await.services.is_empty());
}

#[tokio::test]
async fn lines_that_cannot_be_read_are_refused() {
    let splitter = Splitter::start().await;
    let check = async |line: Vec<u8>, id: u64, goes_on: bool| {
        let (reader, mut writer) = tokio::net::UnixStream::connect(splitter.socket()).await.unwrap().into_split();
        // The other side may close before it has taken everything.
        let _ = writer.write_all(&line).await;
        let mut lines = BufReader::new(reader).lines();
        let answer: serde_json::Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
        assert_eq!(
            (answer["id"].as_u64().unwrap(), answer["response"]["code"].as_str().unwrap()),
            (id, "bad_request"),
            "{answer}"
        );
        if goes_on {
            writer.write_all(b"{\"id\":9,\"request\":{\"do\":\"hello\"}}\n").await.unwrap();
            let answer: serde_json::Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
            assert_eq!((answer["id"].as_u64(), answer["response"]["is"].as_str()), (Some(9), Some("hello")));
        } else {
            assert!(!matches!(lines.next_line().await, Ok(Some(_))), "the connection ends");
        }
    };
    check(b"nonsense\n".to_vec(), 0, true).await;
    check(b"{\"id\":3,\"request\":{\"do\":\"fly\"}}\n".to_vec(), 3, true).await;
    check(b"{\"id\":4,\"request\":{\"do\":\"keep_alive\",\"epoch\":1,\"more\":2}}\n".to_vec(), 4, true).await;
    check(b"{\"id\":5,\"request\":{\"do\":\"keep_alive\",\"epoch\":-1}}\n".to_vec(), 5, true).await;
    check(vec![b'['; 200_000].into_iter().chain(*b"\n").collect(), 0, true).await;
    check(vec![b' '; splitter::control::MAX_REQUEST_LINE + 100_000], 0, false).await;
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(splitter.socket()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn the_dead_mans_switch_goes_off_only_in_silence() {
    let (stable, canary) = (Backend::start("stable").await, Backend::start("canary").await);
    let splitter = Splitter::start().await;
    let mut spec = service(url_version("a", stable.address), Some(url_version("b", canary.address)));
    spec.dead_man_seconds = Some(2);
    splitter.apply(spec).await;
    let boot = splitter.status().await.hello.boot;
    splitter.weight(40).await;
    // Heard for longer than the limit: nothing happens.
    let mut ticks = splitter.client().await.subscribe(Some((boot, 0))).await.unwrap();
    for _ in 0..4 {
        ticks.next().await.unwrap();
        splitter.ask(Ask::KeepAlive { epoch: 1 }).await.unwrap();
        assert_eq!(splitter.service("shop").await.weight, 40);
    }
    // A stale controller does not count, reading does not either.
    let event = eventually("the switch goes off", async || {
        splitter.ask(Ask::KeepAlive { epoch: 0 }).await.unwrap_err();
        splitter.service("shop").await.dead_man
    })
    .await;
    assert_eq!(event.previous, 40);
    assert!(event.silent_ms >= 2_000);
    assert_eq!(splitter.service("shop").await.weight, 0);
    splitter.weight(10).await;
    assert_eq!(splitter.service("shop").await.dead_man, None, "a new decision clears it");
}

#[tokio::test]
async fn a_subscriber_resumes_without_gap() {
    let splitter = Splitter::start().await;
    let mut one = splitter.client().await.subscribe(None).await.unwrap();
    let seq = |notice| match notice {
        splitter::control::Notice::Tick(tick) => tick.seq,
        other => panic!("{other:?}"),
    };
    let first = seq(one.next().await.unwrap());
    assert_eq!(seq(one.next().await.unwrap()), first + 1);
    let boot = one.boot.clone();
    drop(one);
    let mut two = splitter.client().await.subscribe(Some((boot, first))).await.unwrap();
    for expected in first + 1..first + 4 {
        assert_eq!(seq(two.next().await.unwrap()), expected);
    }
    // Of another run it has seen nothing: everything kept comes.
    let mut three = splitter.client().await.subscribe(Some(("another".into(), 1_000))).await.unwrap();
    assert_eq!(seq(three.next().await.unwrap()), 1);
}

#[tokio::test]
async fn nobody_there_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let error = Client::connect(&dir.path().join("control.sock")).await.unwrap_err();
    assert!(matches!(error, ClientError::Connect(_)));
}
