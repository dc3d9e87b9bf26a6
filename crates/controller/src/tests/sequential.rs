//! Releases under the default rule: its evidence is stated, can be recomputed, and outlives the controller.

use judge::sequential::{AuditError, StoppedBy, audit, tables};
use model::{
    Kind,
    event::{AnalysisEnded, CanaryAborted},
};
use receipt_log::Log as _;
use serde_json::{Map, Value};

use super::*;
use crate::{SampleStore, fake::Profile};

/// The same steps under the default rule, which the recipe does not even name.
fn recipe() -> String {
    RECIPE.replace("{rule: threshold}", "{warmUpSeconds: 0}")
}

async fn start(world: &World, controller: &Controller) -> ReleaseId {
    controller.start(world.request(2, &recipe())).await.unwrap()
}

/// The facts of every verdict, with the table that each names.
pub(crate) async fn verdicts(world: &World, release: &ReleaseId) -> Vec<(Map<String, Value>, Vec<u8>)> {
    let mut out = Vec::new();
    for receipt in world.receipts(release) {
        let Some(named) = tables(&receipt.payload.facts) else { continue };
        let mut table = Vec::new();
        for digest in named {
            table.extend(world.log.segment(&digest.parse().unwrap()).await.unwrap().unwrap());
        }
        out.push((receipt.payload.facts.clone(), table));
    }
    out
}

#[tokio::test(start_paused = true)]
async fn a_healthy_release_climbs_and_every_verdict_follows_from_its_ticks() {
    let world = World::new();
    let controller = world.controller().await;
    tokio::time::sleep(Duration::from_secs(90)).await;
    let release = start(&world, &controller).await;
    assert_eq!(world.until_ended(&release).await, Outcome::Promoted);
    assert_eq!(world.weights(&release), [5, 25, 50, 100]);
    let begun = world.last(&release, Kind::AnalysisStarted).payload.facts;
    assert_eq!(begun["policy"]["rule"], "sequential");
    assert_eq!(begun["beginning"]["choice"]["mode"], "requests", "the past was quiet: {begun:?}");
    assert!(begun["beginning"]["limits"]["requests"].as_u64() >= Some(100_000), "{begun:?}");
    let histogram = world.log.segment(&begun["histogram"].as_str().unwrap().parse().unwrap()).await.unwrap().unwrap();
    assert!(histogram.starts_with(b"[["), "the histogram that the limits came from");

    let verdicts = verdicts(&world, &release).await;
    assert!(verdicts.len() >= 4, "one a step and one for the run");
    for (facts, table) in &verdicts {
        let said = facts["said"].as_str().unwrap();
        assert!(["unrefuted", "certified"].contains(&said), "{said}");
        assert!(facts["message"].as_str().unwrap().contains("no regression found") || said == "certified", "{facts:?}");
        let replayed = audit(facts, [table.as_slice()]).unwrap();
        assert_eq!(replayed.crossed_at, None);
        // One request more or less is caught.
        let text = String::from_utf8(table.clone()).unwrap();
        let changed = text.replacen("\"n\":100,", "\"n\":101,", 1);
        assert_ne!(text, changed);
        assert!(matches!(audit(facts, [changed.as_bytes()]), Err(AuditError::Differs { .. })));
        let mut other = facts.clone();
        other.insert("said".to_owned(), "regressed".into());
        assert!(matches!(audit(&other, [table.as_slice()]), Err(AuditError::Differs { .. })));
    }
    let last = &verdicts.last().unwrap().0;
    assert!(last["totals"]["canary"]["n"].as_u64() > Some(50_000), "the evidence is of the whole rollout: {last:?}");
    let ticks = world.samples.ticks(&release, Timestamp::from_millis(0), 10_000).await.unwrap();
    let judged = ticks.iter().filter(|t| t.judged.is_some()).count();
    assert!(judged > 60, "the pages see the evidence: {judged} of {}", ticks.len());
}

#[tokio::test(start_paused = true)]
async fn bad_canaries_are_stopped_and_the_receipt_says_by_what() {
    let check = async |past_s: u64, profile: Profile, within_ms: i64, by: StoppedBy, says: &str| {
        let world = World::new();
        let controller = world.controller().await;
        tokio::time::sleep(Duration::from_secs(past_s)).await;
        let release = start(&world, &controller).await;
        world.runtime.profile(profile);
        assert_eq!(world.until_ended(&release).await, Outcome::Aborted);
        let aborted: CanaryAborted = world.last(&release, Kind::CanaryAborted).payload.facts().unwrap();
        assert!(aborted.automatic && aborted.reason.contains(says), "{}", aborted.reason);
        let failed = world.last(&release, Kind::AnalysisFailed).payload;
        assert_eq!(failed.facts["stopped_by"], serde_json::to_value(by).unwrap(), "{:?}", failed.facts);
        let ended: AnalysisEnded = failed.facts().unwrap();
        assert_eq!((ended.rule.as_str(), ended.to), ("sequential", Some(aborted.breach_at)));
        let calls = world.runtime.calls();
        let at = |what: &str| calls.iter().find(|c| c.what == what).unwrap().at;
        assert!(at("weight 0").since(at("weight 5")) <= within_ms, "{}", world.story());
        for (facts, table) in verdicts(&world, &release).await {
            audit(&facts, [table.as_slice()]).unwrap();
        }
    };
    let errors = |canary_errors| Profile { canary_errors, ..Profile::default() };
    check(90, errors(20), 2_000, StoppedBy::Evidence, "5xx ratio is above 1 %").await;
    check(1, errors(20), 4_000, StoppedBy::Evidence, "5xx ratio").await;
    check(1, errors(100), 2_000, StoppedBy::HardStop, "hard stop: 10 canary requests in a row").await;
    let slow = Profile { canary_us: 20_000, ..Profile::default() };
    check(90, slow.clone(), 2_000, StoppedBy::Evidence, "canary p99 is above stable p99").await;
    check(1, slow, 20_000, StoppedBy::Evidence, "p99").await;
}

#[tokio::test(start_paused = true)]
async fn too_little_traffic_pauses_and_is_never_shown_as_success() {
    let world = World::new();
    world.runtime.profile(Profile { rate: 1, ..Profile::default() });
    let controller = world.controller().await;
    let release = start(&world, &controller).await;
    world.until("inconclusive", || world.kinds(&release).contains(&"analysis.inconclusive")).await;
    let said = world.last(&release, Kind::AnalysisInconclusive).payload.facts;
    assert_eq!(said["said"], "inconclusive");
    assert_eq!(world.weights(&release), [5]);
}

#[tokio::test(start_paused = true)]
async fn a_weight_that_is_judged_at_once_waits_for_its_first_votes() {
    // Nothing is known of stable's past: blocks. The promotion asks for a word in the very second in which 100 % came into force.
    let world = World::new();
    world.runtime.profile(Profile { rate: 100, ..Profile::default() });
    let controller = world.controller().await;
    let recipe = recipe().replace("      - setWeight: 100\n      - pause: {duration: 20s}\n", "");
    assert!(recipe.contains("setWeight: 50") && !recipe.contains("setWeight: 100"));
    let release = controller.start(world.request(2, &recipe)).await.unwrap();
    assert_eq!(world.until_ended(&release).await, Outcome::Promoted);
    assert_eq!(world.weights(&release), [5, 25, 50, 100]);
    for (facts, table) in verdicts(&world, &release).await {
        assert_eq!((&facts["mode"], &facts["said"]), (&"blocks".into(), &"unrefuted".into()), "{facts:?}");
        audit(&facts, [table.as_slice()]).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_certified_step_ends_early_only_where_the_recipe_asks() {
    let check = async |asked: bool, at_least_s: i64, at_most_s: i64| {
        let world = World::new();
        world.runtime.profile(Profile { stable_slow: 5, ..Profile::default() });
        let controller = world.controller().await;
        tokio::time::sleep(Duration::from_secs(90)).await;
        let options = format!("{{warmUpSeconds: 0, endCertifiedSteps: {asked}}}");
        let recipe =
            recipe().replace("{warmUpSeconds: 0}", &options).replacen("{duration: 20s}", "{duration: 300s}", 1);
        let release = controller.start(world.request(2, &recipe)).await.unwrap();
        assert_eq!(world.until_ended(&release).await, Outcome::Promoted);
        let calls = world.runtime.calls();
        let at = |what: &str| calls.iter().find(|c| c.what == what).unwrap().at;
        let took = at("weight 25").since(at("weight 5"));
        assert!(
            (at_least_s * 1_000..=at_most_s * 1_000).contains(&took),
            "asked {asked}: {took} ms\n{}",
            world.story()
        );
        let resumed = world.receipts(&release).into_iter().find(|r| r.payload.kind == Kind::CanaryResumed).unwrap();
        let why = if asked { "certified before its time was up" } else { "its time is up" };
        assert_eq!(resumed.payload.facts["reason"], why);
    };
    check(true, 59, 64).await;
    check(false, 300, 304).await;
}

#[tokio::test(start_paused = true)]
async fn the_evidence_outlives_the_controller() {
    let world = World::new();
    let controller = world.controller().await;
    tokio::time::sleep(Duration::from_secs(90)).await;
    let release = start(&world, &controller).await;
    world.until_weight(25).await;
    tokio::time::sleep(Duration::from_secs(11)).await;
    drop(controller);
    let kept = world.samples.ticks(&release, Timestamp::from_millis(0), 10_000).await.unwrap();
    let judged = kept.iter().rev().find_map(|t| t.judged.clone()).unwrap();
    let controller = world.controller().await;
    assert_eq!(world.until_ended(&release).await, Outcome::Promoted);
    drop(controller);
    let ticks = world.samples.ticks(&release, kept.last().unwrap().at.plus_millis(1), 10_000).await.unwrap();
    let next = ticks.iter().find_map(|t| t.judged.clone()).unwrap();
    let far = |a: f64, b: f64| (a - b).abs();
    assert!(judged.joint < 0.0 && far(next.joint, judged.joint) < 0.2, "it goes on where it was: {judged:?} {next:?}");
    for (facts, table) in verdicts(&world, &release).await {
        audit(&facts, [table.as_slice()]).unwrap();
        assert_eq!(facts["mode"], "requests");
    }
}
