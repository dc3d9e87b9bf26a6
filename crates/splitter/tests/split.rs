//! The split over real connections, several workers and several clients.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests panic like tests

mod common;

use common::*;
use splitter::Sticky;

async fn pair() -> (Splitter, Backend, Backend, std::net::SocketAddr) {
    let (stable, canary) = (Backend::start("stable").await, Backend::start("canary").await);
    let splitter = Splitter::start().await;
    let address =
        splitter.apply(service(url_version("a", stable.address), Some(url_version("b", canary.address)))).await;
    (splitter, stable, canary, address)
}

#[tokio::test]
async fn every_block_is_exact_for_every_weight() {
    const CLIENTS: usize = 8;
    let (splitter, _stable, _canary, address) = pair().await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Http::connect(address).await);
    }
    for weight in 0..=100u8 {
        splitter.weight(weight).await;
        let left = std::sync::Arc::new(std::sync::atomic::AtomicI64::new(100));
        let tasks: Vec<_> = clients
            .drain(..)
            .map(|mut client| {
                let left = left.clone();
                tokio::spawn(async move {
                    let mut canary = 0u32;
                    while left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) > 0 {
                        canary += u32::from(client.get("/").await.1 == "canary");
                    }
                    (client, canary)
                })
            })
            .collect();
        let mut canary = 0;
        for task in tasks {
            let (client, seen) = task.await.unwrap();
            clients.push(client);
            canary += seen;
        }
        assert_eq!(canary, u32::from(weight));
    }
    let counted = splitter.counted("b", |sum| sum.n >= 5050).await;
    assert_eq!((counted.n, counted.started, counted.errors), (5050, 5050, 0));
}

#[tokio::test]
async fn a_weight_is_in_force_for_the_next_request() {
    let (splitter, _stable, _canary, address) = pair().await;
    let mut clients = [Http::connect(address).await, Http::connect(address).await, Http::connect(address).await];
    for round in 0..40 {
        for (weight, name) in [(100, "canary"), (0, "stable")] {
            let set = splitter.weight(weight).await;
            assert_eq!(set.previous, if round == 0 && weight == 100 { 0 } else { 100 - weight });
            for client in &mut clients {
                assert_eq!(client.get("/").await.1, name);
            }
        }
    }
    let (last_sent, applied) =
        (splitter.service("shop").await.canary_last_sent.unwrap(), splitter.weight(0).await.applied_at);
    assert!(last_sent < applied);
}

#[tokio::test]
async fn sticky_requests_stay_and_take_no_position() {
    let (stable, canary) = (Backend::start("stable").await, Backend::start("canary").await);
    let splitter = Splitter::start().await;
    let mut spec = service(url_version("a", stable.address), Some(url_version("b", canary.address)));
    spec.sticky = Some(Sticky::Cookie("user".into()));
    let address = splitter.apply(spec).await;
    let mut client = Http::connect(address).await;
    let mut before = [false; 60];
    for weight in [0, 10, 40, 80, 100] {
        splitter.weight(weight).await;
        let mut plain = 0;
        for _ in 0..2 {
            for (user, was) in before.iter_mut().enumerate() {
                let mut request = get("/");
                request.headers_mut().insert("cookie", format!("theme=dark; user=u{user}").parse().unwrap());
                let is = text(client.send(request).await.unwrap()).await == "canary";
                assert!(is || !*was, "user {user} left the canary at {weight}");
                *was = is;
                if plain < 100 {
                    plain += 1;
                }
            }
        }
        let mut seen = 0;
        for _ in 0..100 {
            seen += u8::from(client.get("/").await.1 == "canary");
        }
        assert_eq!(seen, weight, "sticky requests took positions");
    }
    assert!(before.iter().all(|canary| *canary));
}

#[tokio::test]
async fn promotion_drops_nothing_and_histograms_follow_the_version() {
    let (splitter, _stable, _canary, address) = pair().await;
    splitter.weight(50).await;
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let stop = stop.clone();
            tokio::spawn(async move {
                let mut client = Http::connect(address).await;
                let mut sent = 0u64;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let (status, _) = client.get("/").await;
                    assert_eq!(status, 200);
                    sent += 1;
                }
                sent
            })
        })
        .collect();
    splitter.weight(100).await;
    let promote =
        splitter::control::Request::Promote { epoch: 1, operation_id: "promote".into(), service: "shop".into() };
    splitter.ask(promote.clone()).await.unwrap();
    let mut client = Http::connect(address).await;
    for _ in 0..100 {
        assert_eq!(client.get("/").await.1, "canary", "the promoted version answers everything");
    }
    // The same operation again swaps nothing back.
    let splitter::control::Response::Weight(again) = splitter.ask(promote).await.unwrap() else { panic!() };
    assert!(!again.fresh);
    let status = splitter.service("shop").await;
    assert_eq!(
        (status.weight, status.stable.unwrap().version, status.canary.unwrap().version),
        (0, "b".into(), "a".into())
    );
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut sent = 100;
    for client in clients {
        sent += client.await.unwrap();
    }
    let a = splitter.counted("a", |_| true).await;
    let b = splitter.counted("b", |sum| sum.n + a.n >= sent).await;
    assert_eq!((a.n + b.n, b.errors), (sent, 0));
}
