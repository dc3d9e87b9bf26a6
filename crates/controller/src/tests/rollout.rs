//! Releases that run by themselves.

use model::{
    Kind, Verdict,
    event::{AnalysisEnded, CanaryAborted, CanaryPaused, CanaryStarted, RollbackArmed, RollbackExecuted},
};

use super::*;
use crate::{SampleStore, fake::Profile};

fn threshold() -> judge::Rule {
    judge::Rule::named("threshold").unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_healthy_release_climbs_to_the_end() {
    let world = World::new();
    let controller = world.controller().await;
    let release = world.start(&controller, 2).await;
    assert_eq!(release.as_str(), "checkout-1");
    assert_eq!(world.until_ended(&release).await, Outcome::Promoted);
    world.check_log(&release);
    assert_eq!(world.weights(&release), [5, 25, 50, 100]);
    assert_eq!(world.applied(), ["start v2", "weight 5", "weight 25", "weight 50", "weight 100", "promote", "stop v1"]);

    let kinds = world.kinds(&release);
    let place = |kind: &str| kinds.iter().position(|k| *k == kind).unwrap_or_else(|| panic!("{kind} in {kinds:?}"));
    assert_eq!((kinds[0], kinds[1]), ("command.accepted", "canary.started"), "the intent comes first");
    assert!(place("rollback.armed") < place("canary.stepped"), "{kinds:?}");
    assert!(place("canary.promoted") < place("canary.completed"), "{kinds:?}");
    assert_eq!(kinds.last(), Some(&"release.completed"));
    let passed: Vec<AnalysisEnded> = world
        .receipts(&release)
        .iter()
        .filter(|r| r.payload.kind == Kind::AnalysisPassed)
        .map(|r| r.payload.facts().unwrap())
        .collect();
    assert!(passed.len() >= 4, "one a step and one for the run: {kinds:?}");
    for analysis in &passed {
        assert_eq!((analysis.rule.as_str(), analysis.scope.as_str()), ("threshold", "built-in"));
        let (canary, stable) = (analysis.canary.as_ref().unwrap(), analysis.stable.as_ref().unwrap());
        assert_eq!(threshold().recompute(canary, stable), Some(analysis.verdict), "recomputed from the receipt");
        // And from the ticks that its segment holds.
        let digest = analysis.segment.clone().unwrap();
        let bytes = receipt_log::Log::segment(&*world.log, &digest).await.unwrap().unwrap();
        let ticks: Vec<model::Tick> =
            std::str::from_utf8(&bytes).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(ticks.len() as u64, analysis.measurements);
        assert_eq!(judge::judge(&threshold(), &ticks).verdict, analysis.verdict);
    }
    let completed = world.completed(&release).unwrap();
    assert!(completed.exposed > 20 * 2000 / 100 * 180, "{completed:?}");
    assert_eq!((completed.rto_ms, completed.breach_to_zero_ms), (None, None), "a clock that did not run is absent");
    assert!((80_000..120_000).contains(&completed.took_ms), "{completed:?}");

    let started: CanaryStarted = world.last(&release, Kind::CanaryStarted).payload.facts().unwrap();
    assert_eq!((started.version.as_str(), started.stable_version.as_str(), started.steps), ("v2", "v1", 8));
    assert_eq!(started.planned.iter().map(|p| p.weight.percent()).collect::<Vec<_>>(), [5, 25, 50, 100]);
    let armed: RollbackArmed = world.last(&release, Kind::RollbackArmed).payload.facts().unwrap();
    assert_eq!((armed.previous_version.as_str(), armed.down_migration.as_str()), ("v1", "none"));
    assert_eq!(armed.acts, ["traffic", "processes"]);
    let joules = world.receipts(&release).iter().filter(|r| r.payload.joules.is_some()).count();
    assert!(joules * 2 > kinds.len(), "most receipts carry their energy: {joules} of {}", kinds.len());
    assert!(world.last(&release, Kind::ReleaseCompleted).payload.joules.is_some_and(|j| j > 0.0));

    let ticks = world.samples.ticks(&release, Timestamp::from_millis(0), 10_000).await.unwrap();
    assert!(
        ticks.len() > 80 && ticks.iter().all(|t| t.stable.n == 0 || !t.stable.histogram.is_empty()),
        "{}",
        ticks.len()
    );
    start_refused(controller.start(world.request(2, RECIPE)).await, "already the stable version");
    // The next release starts from the new version.
    let next = world.start(&controller, 3).await;
    assert_eq!(next.as_str(), "checkout-2");
    assert_eq!(world.until_ended(&next).await, Outcome::Promoted);
    let started: CanaryStarted = world.last(&next, Kind::CanaryStarted).payload.facts().unwrap();
    assert_eq!(started.stable_version.as_str(), "v2");
}

/// A canary that misbehaves is at 0 % this soon after its first request at 5 %.
async fn check_abort(profile: Profile, within_ms: i64, says: &str) {
    let world = World::new();
    let controller = world.controller().await;
    let release = world.start(&controller, 2).await;
    let bad = Profile { ..profile };
    world.runtime.profile(bad);
    assert_eq!(world.until_ended(&release).await, Outcome::Aborted);
    world.check_log(&release);
    assert_eq!(world.runtime.weight(&service()).percent(), 0);
    let aborted: CanaryAborted = world.last(&release, Kind::CanaryAborted).payload.facts().unwrap();
    assert!(aborted.automatic && aborted.reason.contains(says), "{}", aborted.reason);
    let failed: AnalysisEnded = world.last(&release, Kind::AnalysisFailed).payload.facts().unwrap();
    assert_eq!(failed.verdict, Verdict::Failed);
    let harmed = world.last(&release, Kind::AnalysisFailed).payload.facts["first_harm_at"].clone();
    assert_eq!(harmed.is_string(), says == "5xx ratio", "the first harm stands beside the breach: {harmed}");
    assert_eq!(failed.to, Some(aborted.breach_at), "the breach is the end of the tick that rejects");
    assert_eq!(threshold().recompute(&failed.canary.unwrap(), &failed.stable.unwrap()), Some(Verdict::Failed));
    let calls = world.runtime.calls();
    let at = |what: &str| calls.iter().find(|c| c.what == what).unwrap().at;
    assert!(at("weight 0").since(at("weight 5")) <= within_ms, "{}", world.story());
    let executed: Vec<RollbackExecuted> = world
        .receipts(&release)
        .iter()
        .filter(|r| r.payload.kind == Kind::RollbackExecuted)
        .map(|r| r.payload.facts().unwrap())
        .collect();
    assert_eq!(
        executed.iter().map(|e| (e.act.as_str(), e.order, e.of)).collect::<Vec<_>>(),
        [("traffic", 1, 2), ("processes", 2, 2)]
    );
    let completed = world.completed(&release).unwrap();
    assert!(completed.breach_to_zero_ms.is_some_and(|ms| (0..=200).contains(&ms)), "{completed:?}");
    assert!(completed.rto_ms.is_some_and(|ms| ms < 90_000), "{completed:?}");
    assert!(completed.zero_to_drained_ms.is_some() && completed.breach_to_last_request_ms.is_some(), "{completed:?}");
}

#[tokio::test(start_paused = true)]
async fn only_errors_at_a_slow_rate() {
    check_abort(Profile { rate: 200, canary_errors: 100, ..Profile::default() }, 2_000, "5xx ratio").await;
}

#[tokio::test(start_paused = true)]
async fn a_tenth_of_errors_at_a_fast_rate() {
    check_abort(Profile { rate: 2_000, canary_errors: 10, ..Profile::default() }, 3_000, "5xx ratio").await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_canary() {
    check_abort(Profile { rate: 2_000, canary_us: 9_000, ..Profile::default() }, 6_500, "p99").await;
}

#[tokio::test(start_paused = true)]
async fn no_traffic_is_never_success() {
    let world = World::new();
    let controller = world.controller().await;
    world.runtime.profile(Profile { rate: 0, ..Profile::default() });
    let release = world.start(&controller, 2).await;
    tokio::time::sleep(Duration::from_secs(3_000)).await;
    assert_eq!(world.weights(&release), [5], "it waits at the first weight\n{}", world.story());
    let paused: CanaryPaused = world.last(&release, Kind::CanaryPaused).payload.facts().unwrap();
    assert_eq!((paused.reason.as_str(), paused.until), ("inconclusive", None), "a person decides");
    world.runtime.profile(Profile::default());
    world.command(&controller, &release, CommandKind::Resume).await.unwrap();
    assert_eq!(world.until_ended(&release).await, Outcome::Promoted);
    world.check_log(&release);
}

#[tokio::test(start_paused = true)]
async fn a_prometheus_decides() {
    let world = World::new();
    let controller = world.controller().await;
    let release = controller.start(world.request(2, &prometheus_recipe())).await.unwrap();
    assert_eq!(world.until_ended(&release).await, Outcome::Promoted);
    world.check_log(&release);
    let measurements = world.samples.measurements(&release).await.unwrap();
    assert!(measurements.len() >= 12, "every 5 s: {}", measurements.len());
    assert!(measurements.iter().all(|m| m.verdict == Verdict::Successful && m.query == "fake"));
    let passed: AnalysisEnded = world.last(&release, Kind::AnalysisPassed).payload.facts().unwrap();
    assert_eq!((passed.scope.as_str(), passed.rule.as_str()), ("background", "built-in: result[0] <= 0.01"));
    assert_eq!(passed.measurements, measurements.len() as u64);
    assert!(
        world.last(&release, Kind::AnalysisPassed).payload.cite.contains(&"fake://".to_owned()),
        "the peer is cited"
    );
    let bytes = receipt_log::Log::segment(&*world.log, &passed.segment.unwrap()).await.unwrap().unwrap();
    assert_eq!(std::str::from_utf8(&bytes).unwrap().lines().count(), measurements.len());

    let bad = controller.start(world.request(3, &prometheus_recipe())).await.unwrap();
    world.until_weight(25).await;
    world.metrics.answer(Scripted::Value(serde_json::json!([0.5])));
    assert_eq!(world.until_ended(&bad).await, Outcome::Aborted);
    let aborted: CanaryAborted = world.last(&bad, Kind::CanaryAborted).payload.facts().unwrap();
    assert!(aborted.reason.contains("failed (1) > failureLimit (0)"), "{}", aborted.reason);
}

#[tokio::test(start_paused = true)]
async fn an_inline_analysis_is_a_step() {
    let world = World::new();
    let controller = world.controller().await;
    let release = controller.start(world.request(2, &inline_recipe())).await.unwrap();
    assert_eq!(world.until_ended(&release).await, Outcome::Promoted);
    world.check_log(&release);
    assert_eq!(world.metrics.asked(), 3);
    let passed: AnalysisEnded = world.last(&release, Kind::AnalysisPassed).payload.facts().unwrap();
    assert_eq!((passed.scope.as_str(), passed.measurements), ("step", 3));
    let kinds = world.kinds(&release);
    let passed = kinds.iter().position(|k| *k == "analysis.passed").unwrap();
    assert_eq!(kinds[..passed].iter().filter(|k| **k == "canary.stepped").count(), 1, "{kinds:?}");
}

#[tokio::test(start_paused = true)]
async fn a_faster_speed_divides_every_duration() {
    let world = World::new();
    let controller = world.controller().await;
    let release = controller.start(StartRequest { speed: 4.0, ..world.request(2, RECIPE) }).await.unwrap();
    assert_eq!(world.until_ended(&release).await, Outcome::Promoted);
    let took = world.completed(&release).unwrap().took_ms;
    assert!((20_000..32_000).contains(&took), "a quarter of 90 s, waiting for ticks: {took}");
    assert_eq!(world.receipts(&release)[0].payload.facts["start"]["speed"], 4.0);
}

#[tokio::test(start_paused = true)]
async fn ticks_are_live_without_histograms() {
    let world = World::new();
    let controller = world.controller().await;
    let mut live = controller.live();
    let release = world.start(&controller, 2).await;
    for _ in 0..5 {
        let (of, tick) = live.recv().await.unwrap();
        assert_eq!(of, release);
        assert!(tick.stable.n > 0 && tick.stable.histogram.is_empty());
    }
    world.command(&controller, &release, CommandKind::Abort).await.unwrap();
    world.until_ended(&release).await;
    let ended = world.clock_now();
    tokio::time::sleep(Duration::from_secs(5)).await;
    while let Ok((_, tick)) = live.try_recv() {
        assert!(tick.at <= ended, "none after the end");
    }
}

#[tokio::test(start_paused = true)]
async fn several_services_at_once() {
    let services: Vec<ServiceId> = ["checkout", "cart", "search-api"].iter().map(|s| s.parse().unwrap()).collect();
    let world = World::of(services.clone());
    let controller = world.controller().await;
    let mut releases = Vec::new();
    for service in &services {
        let request = StartRequest { service: service.clone(), ..world.request(2, RECIPE) };
        releases.push(controller.start(request).await.unwrap());
    }
    assert_eq!(releases[2].as_str(), "search-api-1");
    world.command(&controller, &releases[1], CommandKind::Abort).await.unwrap();
    assert_eq!(world.until_ended(&releases[0]).await, Outcome::Promoted);
    assert_eq!(world.until_ended(&releases[1]).await, Outcome::Aborted);
    assert_eq!(world.until_ended(&releases[2]).await, Outcome::Promoted);
    for release in &releases {
        world.check_log(release);
    }
}
