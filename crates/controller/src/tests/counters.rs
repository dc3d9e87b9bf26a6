//! The default rule fed from another source's counters.

use judge::sequential::{Tick as Line, audit};
use model::event::CanaryAborted;

use super::{sequential::verdicts, *};
use crate::{
    CounterQueries, SampleStore as _, Traffic,
    fake::{CounterFaults, Profile},
};

/// Latencies around the fake's 8 ms, fine enough for a tolerance of 10 %.
const FINE: [u64; 6] = [4_000, 6_000, 8_000, 9_000, 12_000, 25_000];
/// The default edges of Prometheus' client libraries up to 100 ms.
const COARSE: [u64; 5] = [5_000, 10_000, 25_000, 50_000, 100_000];

fn recipe() -> String {
    RECIPE.replace("{rule: threshold}", "{warmUpSeconds: 0}")
}

fn world(edges_us: &[u64]) -> World {
    let mut world = World::new();
    world.counters = Some(Arc::new(FakeCounters::of(&world.runtime, edges_us)));
    let query = "{version}".to_owned();
    let queries = CounterQueries { buckets: query.clone(), errors: query };
    let source = CounterSource { address: "fake".to_owned(), queries, every_s: 1 };
    world.catalogue = Arc::new(FakeCatalogue(vec![service()], Some(source)));
    world
}

impl World {
    fn counters(&self) -> &FakeCounters {
        self.counters.as_deref().unwrap()
    }
}

/// A controller with a past of a minute and a half, and a release begun.
async fn begun(world: &World) -> (Controller, ReleaseId) {
    let controller = world.controller().await;
    tokio::time::sleep(Duration::from_secs(95)).await;
    let release = controller.start(world.request(2, &recipe())).await.unwrap();
    (controller, release)
}

fn lines(table: &[u8]) -> Vec<Line> {
    let lines = table.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_healthy_release_climbs_and_its_verdicts_follow_from_what_was_counted() {
    let world = world(&FINE);
    let (controller, release) = begun(&world).await;
    assert_eq!(controller.traffic(&service()).unwrap(), Traffic { rate: Some(2_000.0), warning: None });
    assert_eq!(world.until_ended(&release).await, Outcome::Promoted);
    assert_eq!(world.weights(&release), [5, 25, 50, 100]);
    let begun = world.last(&release, Kind::AnalysisStarted).payload.facts;
    assert_eq!(begun["beginning"]["every_s"], 1);
    assert_eq!(begun["beginning"]["choice"]["mode"], "requests", "the past was quiet: {begun:?}");
    assert_eq!(begun["beginning"]["limits"]["canary_us"], 9_000, "on an edge of its own: {begun:?}");
    assert_eq!((&begun["counters"]["fit"], &begun["counters"]["stable"]["buckets"]), (&"fine".into(), &"v1".into()));
    assert_eq!(begun["counters"]["edges_us"], serde_json::json!(FINE));
    let verdicts = verdicts(&world, &release).await;
    assert!(verdicts.len() >= 4, "one a step and one for the run");
    for (facts, table) in &verdicts {
        audit(facts, [table.as_slice()]).unwrap();
        assert_eq!(
            (&facts["counters"]["source"], &facts["counters"]["fit"]),
            (&"fake://counters".into(), &"fine".into())
        );
        let lines = lines(table);
        assert!(lines.iter().all(|l| l.weight.is_none()), "the split is not checked: {lines:?}");
        assert!(lines.iter().filter(|l| !l.drop).all(|l| l.canary.slow == Some(0)), "p99 votes from the beginning");
        assert!(lines[0].drop, "the second of a change of weight brings no evidence");
    }
    let cited = world.last(&release, Kind::AnalysisPassed).payload.cite;
    assert!(cited.iter().any(|c| c == "fake://counters"), "{cited:?}");
    let ticks = world.samples.ticks(&release, Timestamp::from_millis(0), 10_000).await.unwrap();
    let judged = ticks.iter().filter(|t| t.judged.is_some() && !t.counted.is_empty()).count();
    assert!(judged > 60, "the pages see the evidence: {judged} of {}", ticks.len());
}

#[tokio::test(start_paused = true)]
async fn bad_canaries_are_stopped() {
    let check = async |edges: &[u64], profile: Profile, within_ms: i64, says: &str| {
        let world = world(edges);
        let (_controller, release) = begun(&world).await;
        world.runtime.profile(profile);
        assert_eq!(world.until_ended(&release).await, Outcome::Aborted);
        let aborted: CanaryAborted = world.last(&release, Kind::CanaryAborted).payload.facts().unwrap();
        assert!(aborted.automatic && aborted.reason.contains(says), "{}", aborted.reason);
        let calls = world.runtime.calls();
        let at = |what: &str| calls.iter().find(|c| c.what == what).unwrap().at;
        assert!(at("weight 0").since(at("weight 5")) <= within_ms, "{}", world.story());
        for (facts, table) in verdicts(&world, &release).await {
            audit(&facts, [table.as_slice()]).unwrap();
        }
    };
    let errors = |canary_errors| Profile { canary_errors, ..Profile::default() };
    let slow = |canary_us| Profile { canary_us, ..Profile::default() };
    check(&FINE, errors(20), 5_000, "5xx ratio is above 1 %").await;
    check(&FINE, errors(100), 5_000, "hard stop").await;
    check(&FINE, slow(12_000), 5_000, "canary p99 is above stable p99 by more than 10 %").await;
    // Stable's p99 is in the bucket up to 10 ms, and the next ends at 25 ms.
    check(&COARSE, slow(30_000), 5_000, "canary p99 is above stable p99 by more than 150 %").await;
}

#[tokio::test(start_paused = true)]
async fn buckets_that_are_too_coarse_are_said_at_the_start_and_in_the_receipts() {
    let world = world(&COARSE);
    let (controller, release) = begun(&world).await;
    let warning = controller.traffic(&service()).unwrap().warning.unwrap();
    for part in ["fake://counters", "too coarse for a tolerance of 10 %", "compared with 150 %, the finest"] {
        assert!(warning.contains(part), "{part}: {warning}");
    }
    assert_eq!(world.until_ended(&release).await, Outcome::Promoted);
    let begun = world.last(&release, Kind::AnalysisStarted).payload.facts;
    assert_eq!((&begun["counters"]["fit"], &begun["counters"]["tested_tolerance"]), (&"coarse".into(), &1.5.into()));
    for (facts, _) in verdicts(&world, &release).await {
        assert_eq!(facts["counters"]["tested_tolerance"], 1.5);
        let message = facts["message"].as_str().unwrap();
        assert!(message.contains("too coarse") || message.contains("certified"), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_clears_nothing_and_delays_no_abort() {
    for faults in [
        CounterFaults { hangs: true, ..CounterFaults::default() },
        CounterFaults { down: true, ..CounterFaults::default() },
        CounterFaults { blind: true, ..CounterFaults::default() },
    ] {
        let world = world(&FINE);
        let (controller, release) = begun(&world).await;
        world.until_weight(5).await;
        world.counters().faults(faults.clone());
        // A pause of twenty seconds, long over.
        tokio::time::sleep(Duration::from_secs(120)).await;
        assert_eq!(world.weights(&release), [5], "nothing was counted, so nothing is cleared: {faults:?}");
        let asked = world.clock_now();
        world.command(&controller, &release, CommandKind::Abort).await.unwrap();
        world.until_weight(0).await;
        assert!(world.clock_now().since(asked) <= 50, "{faults:?}: {}", world.story());
        assert_eq!(world.until_ended(&release).await, Outcome::Aborted);
    }
}

#[tokio::test(start_paused = true)]
async fn missing_scrapes_are_no_ticks_and_a_restart_is_no_regression() {
    let world = world(&FINE);
    let (_controller, release) = begun(&world).await;
    world.until_weight(25).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    world.counters().faults(CounterFaults { blind: true, ..CounterFaults::default() });
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.counters().faults(CounterFaults::default());
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.counters().restart("v2");
    assert_eq!(world.until_ended(&release).await, Outcome::Promoted);
    let (facts, table) = verdicts(&world, &release).await.pop().unwrap();
    audit(&facts, [table.as_slice()]).unwrap();
    let lines = lines(&table);
    let empty = lines.iter().find(|l| !l.drop && (l.canary.n == 0 || l.stable.n == 0 && l.step != Some(3)));
    assert_eq!(empty, None, "nothing counts as zero");
    let of_step = |step| lines.iter().filter(move |l| l.step == Some(step));
    let longest = of_step(1).filter(|l| !l.drop).map(|l| l.canary.n).max().unwrap();
    assert!((2_500..=3_500).contains(&longest), "six seconds in one tick, none of them lost: {longest}");
    // The two around the change of weight, and the restart.
    assert_eq!(of_step(1).filter(|l| l.drop).count(), 3, "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_counted_outlives_the_controller() {
    let world = world(&FINE);
    let (controller, release) = begun(&world).await;
    world.until_weight(25).await;
    tokio::time::sleep(Duration::from_secs(11)).await;
    drop(controller);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let kept = world.samples.ticks(&release, Timestamp::from_millis(0), 10_000).await.unwrap();
    let judged = kept.iter().rev().find_map(|t| t.judged.clone()).unwrap();
    let _controller = world.controller().await;
    assert_eq!(world.until_ended(&release).await, Outcome::Promoted);
    let ticks = world.samples.ticks(&release, kept.last().unwrap().at.plus_millis(1), 10_000).await.unwrap();
    let next = ticks.iter().find_map(|t| t.judged.clone()).unwrap();
    assert!(next.exposed > judged.exposed, "it goes on where it was: {judged:?} {next:?}");
    let (facts, table) = verdicts(&world, &release).await.pop().unwrap();
    audit(&facts, [table.as_slice()]).unwrap();
    let all: Vec<_> = kept.iter().chain(&ticks).flat_map(|t| &t.counted).map(|c| c.at).collect();
    let mut once = all.clone();
    once.dedup();
    assert_eq!(once, all, "no moment is counted twice");
    assert!(
        all.windows(2).all(|w| w[1].since(w[0]) == 1_000),
        "what was counted while no controller was there is judged too: {all:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn moments_that_were_not_answered_are_asked_for_again() {
    let world = world(&FINE);
    let (_controller, release) = begun(&world).await;
    world.until_weight(25).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    world.counters().faults(CounterFaults { down: true, ..CounterFaults::default() });
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.counters().faults(CounterFaults::default());
    assert_eq!(world.until_ended(&release).await, Outcome::Promoted);
    let ticks = world.samples.ticks(&release, Timestamp::from_millis(0), 10_000).await.unwrap();
    let all: Vec<_> = ticks.iter().flat_map(|t| &t.counted).map(|c| c.at).collect();
    assert!(all.len() > 60 && all.windows(2).all(|w| w[1].since(w[0]) == 1_000), "each moment, once: {all:?}");
}
