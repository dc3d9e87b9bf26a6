//! Processes of versions, and of the splitter itself: started, killed, found again, upgraded.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests panic like tests

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use common::*;
use splitter::Source;
use splitter::control::{Request as Ask, Response as Answer, VersionState};
use tokio::net::TcpStream;

fn running(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
}

#[tokio::test]
async fn a_process_is_started_watched_and_ended() {
    let splitter = Splitter::start().await;
    let address = splitter.apply(service(process_version("one"), None)).await;
    let mut client = Http::connect(address).await;
    assert_eq!(client.get("/").await.1, "one");
    let first = splitter.service("shop").await.stable.unwrap().pid.unwrap();
    assert_eq!(client.get("/pid").await.1, first.to_string());
    // It ends in the middle of a request: that request failed, the next meets a new process.
    assert_eq!(client.get("/exit").await.0, 502);
    let second = eventually("it is started again", async || {
        let status = splitter.service("shop").await.stable.unwrap();
        (status.state == VersionState::Ready && status.pid != Some(first)).then_some(status)
    })
    .await;
    assert_eq!((second.restarts, second.message), (1, None));
    // How it ended is remembered after it is ready again.
    let how: Vec<&str> = second.ends.iter().map(|end| end.how.as_str()).collect();
    assert_eq!(how, ["with exit status 3"]);
    assert_eq!(client.get("/").await.1, "one");
    let sum = splitter.counted("one", |sum| sum.upstream_failures == 1 && sum.n >= 4).await;
    assert_eq!((sum.errors, sum.restarts), (1, 1));

    splitter
        .ask(Ask::StopVersion { epoch: 1, service: "shop".into(), version: "one".into(), drain_ms: 1_000 })
        .await
        .unwrap();
    let gone = eventually("it is gone", async || splitter.service("shop").await.stopped.pop()).await;
    assert!(!gone.killed && !running(second.pid.unwrap()));
    let (status, body) = client.get("/").await;
    assert_eq!((status.as_u16(), body.as_str()), (503, "there is no stable version\n"));
}

#[tokio::test]
async fn a_process_that_does_not_start_says_why() {
    let splitter = Splitter::start().await;
    let mut version = process_version("one");
    let Source::Process { command, .. } = &mut version.source else { panic!() };
    command[0] = "/nowhere/program".into();
    let mut stubborn = process_version("two");
    let Source::Process { command, grace_ms, .. } = &mut stubborn.source else { panic!() };
    *command = vec!["sh".into(), "-c".into(), "trap '' TERM; while :; do sleep 1; done".into()];
    *grace_ms = 100;
    let mut spec = service(version, Some(stubborn));
    spec.service = "shop".into();
    splitter.ask(Ask::Apply { epoch: 1, spec }).await.unwrap();
    let status =
        eventually("it is said", async || splitter.service("shop").await.stable.filter(|stable| stable.restarts >= 2))
            .await;
    assert_eq!(status.state, VersionState::Restarting);
    assert!(status.message.unwrap().contains("could not be started"));
    assert!(status.ends.len() >= 2 && status.ends.iter().all(|end| end.how.contains("could not be started")));
    // A process that ignores the first signal is killed.
    let pid = eventually("it runs", async || splitter.service("shop").await.canary.and_then(|canary| canary.pid)).await;
    // Its shell must have come as far as ignoring the signal.
    eventually("it ignores the signal", async || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t"))?;
        (u64::from_str_radix(ignored.trim(), 16).ok()? >> 14 & 1 == 1).then_some(())
    })
    .await;
    splitter
        .ask(Ask::StopVersion { epoch: 1, service: "shop".into(), version: "two".into(), drain_ms: 0 })
        .await
        .unwrap();
    let gone = eventually("it is gone", async || splitter.service("shop").await.stopped.pop()).await;
    assert!(gone.killed && !running(pid));
}

#[tokio::test]
async fn a_killed_splitter_comes_back_as_it_was() {
    let mut splitter = Splitter::start().await;
    let mut spec = service(process_version("one"), Some(process_version("two")));
    spec.listen.push("[::1]:0".parse().unwrap());
    let address = splitter.apply(spec.clone()).await;
    let Answer::Weight(set) = splitter
        .ask(Ask::SetWeight { epoch: 7, operation_id: "step".into(), service: "shop".into(), weight: 35 })
        .await
        .unwrap()
    else {
        panic!()
    };
    let before = splitter.status().await;
    let pids = |status: &splitter::control::ServiceStatus| {
        (status.stable.as_ref().unwrap().pid, status.canary.as_ref().unwrap().pid)
    };
    // A sign of life is written with the first tick.
    eventually("a second has passed", async || (splitter.status().await.last_tick > 0).then_some(())).await;
    splitter.kill();
    assert!(running(pids(&before.services[0]).0.unwrap()), "processes outlive the splitter");
    assert!(TcpStream::connect(address).await.is_err());

    let again = Splitter::start_in(Arc::clone(&splitter.dir), &[]).await;
    let after = again.status().await;
    assert_ne!(after.hello.boot, before.hello.boot);
    assert_eq!(after.hello.epoch, 7);
    let gap = after.hello.gap.expect("the gap is stated");
    assert!(gap.millis() > 0 && gap.millis() < 20_000, "{gap:?}");
    let (old, new) = (&before.services[0], &after.services[0]);
    assert_eq!((new.weight, new.epoch, &new.listening), (35, 7, &old.listening));
    assert_eq!(pids(new), pids(old), "processes are found again, not started again");
    assert_eq!(new.stable.as_ref().unwrap().restarts, 0);
    let mut client = Http::connect(address).await;
    let mut canary = 0;
    for _ in 0..100 {
        canary += u32::from(client.get("/").await.1 == "two");
    }
    assert_eq!(canary, 35);
    // Operations are remembered, epochs too, and what is there is recognised.
    let Answer::Weight(repeated) = again
        .ask(Ask::SetWeight { epoch: 7, operation_id: "step".into(), service: "shop".into(), weight: 35 })
        .await
        .unwrap()
    else {
        panic!()
    };
    assert_eq!((repeated.fresh, repeated.applied_at), (false, set.applied_at));
    again.ask(Ask::KeepAlive { epoch: 6 }).await.unwrap_err();
    let Answer::Done(done) = again.ask(Ask::Apply { epoch: 7, spec }).await.unwrap() else { panic!() };
    assert!(!done.fresh);
    // A process that is not our child is watched all the same.
    let pid = pids(new).0.unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), nix::sys::signal::Signal::SIGKILL).unwrap();
    eventually("it is started again", async || {
        let stable = again.service("shop").await.stable.unwrap();
        (stable.state == VersionState::Ready && stable.pid != Some(pid) && stable.restarts == 1).then_some(())
    })
    .await;
    let (stable, canary) = pids(&again.service("shop").await);
    again.ask(Ask::Shutdown { epoch: 7, drain_ms: 100, stop_versions: true }).await.unwrap();
    eventually("everything ends", async || (!running(stable.unwrap()) && !running(canary.unwrap())).then_some(()))
        .await;
}

#[tokio::test]
async fn an_ordered_end_leaves_no_gap_and_may_leave_processes() {
    let splitter = Splitter::start().await;
    let address = splitter.apply(service(process_version("one"), None)).await;
    let pid = splitter.service("shop").await.stable.unwrap().pid.unwrap();
    splitter.ask(Ask::Shutdown { epoch: 1, drain_ms: 1_000, stop_versions: false }).await.unwrap();
    eventually("it has ended", async || {
        splitter::control::Client::connect(&splitter.socket()).await.is_err().then_some(())
    })
    .await;
    assert!(running(pid));
    let dir = Arc::clone(&splitter.dir);
    drop(splitter);
    let again = Splitter::start_in(dir, &[]).await;
    assert_eq!(again.status().await.hello.gap, None);
    assert_eq!(again.service("shop").await.stable.unwrap().pid, Some(pid));
    assert_eq!(Http::connect(address).await.get("/").await.1, "one");
}

#[tokio::test]
async fn a_second_splitter_is_refused_and_an_upgrade_drops_nothing() {
    let old = Splitter::start().await;
    let address = old.apply(service(process_version("one"), None)).await;
    let pid = old.service("shop").await.stable.unwrap().pid;
    let refused = splitter_command(old.dir.path(), &[]).output().unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("already running"), "{refused:?}");

    let stop = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(AtomicU64::new(0));
    // Some clients keep their connection as long as they are let, some open a new one for each request.
    let clients: Vec<_> = [false, false, true, true]
        .into_iter()
        .map(|new_each| {
            let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
            tokio::spawn(async move {
                let mut client = Http::connect(address).await;
                while !stop.load(Ordering::Relaxed) {
                    if new_each {
                        client = Http::connect(address).await;
                    }
                    match client.send(get("/")).await {
                        Ok(response) => {
                            let last = response.headers().get("connection").is_some_and(|value| value == "close");
                            assert_eq!((response.status().as_u16(), text(response).await.as_str()), (200, "one"));
                            sent.fetch_add(1, Ordering::Relaxed);
                            if last {
                                client = Http::connect(address).await;
                            }
                        }
                        // An idle connection that is closed is no failed request: it was never sent.
                        Err(error) if !new_each && (error.is_canceled() || error.is_closed()) => {
                            client = Http::connect(address).await
                        }
                        Err(error) => panic!("a request failed: {error:?}"),
                    }
                }
            })
        })
        .collect();
    eventually("clients are under way", async || (sent.load(Ordering::Relaxed) > 100).then_some(())).await;
    let new = Splitter::start_in(Arc::clone(&old.dir), &["--take-over"]).await;
    let before = sent.load(Ordering::Relaxed);
    eventually("the successor serves", async || (sent.load(Ordering::Relaxed) > before + 200).then_some(())).await;
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let status = new.status().await;
    assert_eq!(status.hello.gap, None);
    assert_eq!(status.services[0].stable.as_ref().unwrap().pid, pid, "the process runs on");
    new.counted("one", |sum| sum.n > 0).await;
    let mut old = old;
    eventually("the predecessor ends", async || {
        matches!(old.child.try_wait(), Ok(Some(status)) if status.success()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let check = |prepare: &dyn Fn(&std::path::Path), arguments: &[&str], says: &str| {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path());
        let output = splitter_command(&dir.path().join("state"), arguments).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(says), "{says}: {error}");
    };
    let state = |content: &'static str| {
        move |dir: &std::path::Path| {
            std::fs::create_dir(dir.join("state")).unwrap();
            std::fs::write(dir.join("state/state.json"), content).unwrap();
        }
    };
    check(&state("{"), &[], "is damaged");
    check(&state("{\"format\":9,\"epoch\":1,\"services\":[]}"), &[], "format 9");
    check(&|dir| std::fs::write(dir.join("state"), "a file").unwrap(), &[], "cannot be used");
    let busy = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    check(&|_| {}, &["--metrics", &busy.local_addr().unwrap().to_string()], "for metrics");
}

#[tokio::test]
async fn a_state_that_cannot_be_written_does_not_stop_an_abort() {
    let (stable, canary) = (Backend::start("stable").await, Backend::start("canary").await);
    let splitter = Splitter::start().await;
    let address =
        splitter.apply(service(url_version("a", stable.address), Some(url_version("b", canary.address)))).await;
    splitter.weight(100).await;
    // A directory in the place of the new file: writing fails also for root, who could write to a read-only one.
    std::fs::create_dir(splitter.dir.path().join("state.new")).unwrap();
    let set = splitter.weight(0).await;
    assert!(set.not_saved.unwrap().contains("cannot be written"));
    assert_eq!(Http::connect(address).await.get("/").await.1, "stable");
    assert!(splitter.status().await.state_error.is_some());
    std::fs::remove_dir(splitter.dir.path().join("state.new")).unwrap();
    assert_eq!(splitter.weight(1).await.not_saved, None);
    assert_eq!(splitter.status().await.state_error, None);
}

#[tokio::test]
async fn metrics_are_served_for_prometheus() {
    let backend = Backend::start("stable").await;
    let splitter = Splitter::start_in(Arc::new(tempfile::tempdir().unwrap()), &["--metrics", "127.0.0.1:0"]).await;
    let address = splitter.apply(service(url_version("a", backend.address), None)).await;
    let metrics = splitter.status().await.hello.metrics.unwrap();
    let mut client = Http::connect(address).await;
    for code in [200, 200, 404, 500] {
        client.get(&format!("/status/{code}")).await;
    }
    splitter.counted("a", |sum| sum.n == 4).await;
    let response = Http::connect(metrics).await.send(get("/metrics")).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let page = text(response).await;
    let labels = "service=\"shop\",version=\"stable\",release=\"a-release\"";
    for line in [
        format!("deliveryos_requests_total{{{labels},code_class=\"2xx\"}} 2"),
        format!("deliveryos_requests_total{{{labels},code_class=\"5xx\"}} 1"),
        format!("deliveryos_request_errors_total{{{labels}}} 1"),
        format!("deliveryos_request_duration_seconds_count{{{labels}}} 4"),
        format!("deliveryos_requests_in_flight{{{labels}}} 0"),
        "deliveryos_weight{service=\"shop\"} 0".into(),
    ] {
        assert!(page.lines().any(|l| l == line), "{line} is missing in\n{page}");
    }
    assert_eq!(Http::connect(metrics).await.get("/").await.0, 404);
}

#[tokio::test]
async fn what_was_draining_when_the_splitter_was_killed_is_ended() {
    let backend = Backend::start("stable").await;
    let mut splitter = Splitter::start().await;
    let mut stubborn = process_version("two");
    let Source::Process { command, grace_ms, .. } = &mut stubborn.source else { panic!() };
    *command = vec!["sh".into(), "-c".into(), "trap '' TERM; while :; do sleep 1; done".into()];
    *grace_ms = 600_000;
    splitter
        .ask(Ask::Apply { epoch: 1, spec: service(url_version("a", backend.address), Some(stubborn)) })
        .await
        .unwrap();
    let pid = eventually("it runs", async || splitter.service("shop").await.canary.and_then(|canary| canary.pid)).await;
    splitter
        .ask(Ask::StopVersion { epoch: 1, service: "shop".into(), version: "two".into(), drain_ms: 0 })
        .await
        .unwrap();
    eventually("it is being ended", async || {
        let draining = splitter.service("shop").await.draining;
        draining.iter().any(|version| version.state == VersionState::Stopping).then_some(())
    })
    .await;
    splitter.kill();
    let again = Splitter::start_in(Arc::clone(&splitter.dir), &[]).await;
    eventually("its process is gone", async || (!running(pid)).then_some(())).await;
    assert!(again.service("shop").await.canary.is_none());
}
