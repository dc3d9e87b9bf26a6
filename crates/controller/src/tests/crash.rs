//! The controller is cut off at every receipt and started anew from the log alone.

use model::{Kind, event::CanaryStepped};

use super::*;
use crate::{SampleStore as _, fake::LogFault};

/// What people do in a scenario, by what is seen: told again after a crash, as people would.
type Script = fn(&World, &ReleaseId) -> Option<CommandKind>;

fn nothing(_: &World, _: &ReleaseId) -> Option<CommandKind> {
    None
}

fn abort_at_25(world: &World, release: &ReleaseId) -> Option<CommandKind> {
    let reached = world.weights(release).contains(&25);
    let aborted = world.kinds(release).contains(&"canary.aborted");
    (reached && !aborted).then_some(CommandKind::Abort)
}

fn promote_full_at_5(world: &World, release: &ReleaseId) -> Option<CommandKind> {
    let reached = world.weights(release).contains(&5);
    let asked = world
        .receipts(release)
        .iter()
        .any(|r| r.payload.facts.get("transition").is_some_and(|t| t["type"] == "promoted-full"));
    (reached && !asked).then_some(CommandKind::PromoteFull)
}

fn roll_back(world: &World, release: &ReleaseId) -> Option<CommandKind> {
    let promoted = world.completed(release).is_some();
    let aborted = world.kinds(release).contains(&"canary.aborted");
    (promoted && !aborted).then_some(CommandKind::Rollback)
}

struct Scenario {
    name: &'static str,
    script: Script,
    outcome: Outcome,
    canary_errors: u64,
}

/// Runs it to the end, cut off where the log says so. The start is asked for again with the same key until it is accepted.
async fn run(world: &World, scenario: &Scenario) -> ReleaseId {
    let release: ReleaseId = "checkout-1".parse().unwrap();
    let request = StartRequest { down_migration: Some("drop-column".to_owned()), ..world.request(2, RECIPE) };
    world.runtime.profile(crate::fake::Profile { canary_errors: scenario.canary_errors, ..Default::default() });
    for _life in 0..4 {
        let controller = world.controller().await;
        let failure = controller.failure();
        let mut asked: Option<Command> = None;
        let mut size = usize::MAX;
        for _ in 0..4_000 {
            let grown = std::mem::replace(&mut size, world.log.len()) != world.log.len();
            if !grown && world.log.len() > 1 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                if failure.borrow().is_none() {
                    continue;
                }
            }
            if failure.borrow().is_some() {
                break;
            }
            let started = controller.start(request.clone()).await;
            if started.is_err() {
                continue;
            }
            if let Some(kind) = (scenario.script)(world, &release) {
                let command = asked.get_or_insert_with(|| Command {
                    id: world.id(),
                    release: release.clone(),
                    kind,
                    actor: dana(),
                    reason: "told to".to_owned(),
                });
                let _ = controller.command(command.clone()).await;
            }
            let ended = world.completed(&release).is_some_and(|c| c.outcome == scenario.outcome)
                && world.receipts(&release).last().is_some_and(|r| r.payload.kind == Kind::ReleaseCompleted);
            if ended {
                return release;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        drop(controller);
        world.log.fault(None);
    }
    panic!("{}: does not end\n{}", scenario.name, world.story());
}

/// The weights that took effect at the data plane: told again counts once.
fn check_weights(world: &World, scenario: &Scenario, cut: &str) {
    let applied = world.applied();
    let mut seen: Vec<String> = Vec::new();
    for call in &applied {
        if call.starts_with("weight ") && !call.ends_with(" 0") {
            // On the way back the old version gets 100 % before the slots are swapped.
            let back = scenario.outcome == Outcome::RolledBack && call == "weight 100";
            let allowed = if back { 2 } else { 1 };
            seen.push(call.clone());
            let times = seen.iter().filter(|c| *c == call).count();
            assert!(
                times <= allowed,
                "{} cut {cut}: {call} was applied {times} times\n{}",
                scenario.name,
                world.story()
            );
        }
    }
    for once in ["start v2", "promote", "stop v2"] {
        let times = applied.iter().filter(|c| *c == once).count();
        let allowed = if once == "promote" && scenario.outcome == Outcome::RolledBack { 2 } else { 1 };
        assert!(times <= allowed, "{} cut {cut}: {once} {times} times\n{}", scenario.name, world.story());
    }
    let runs = world.migrations.runs().len();
    let unseen = world.story().contains("it is not run again");
    match scenario.outcome {
        Outcome::Promoted => assert_eq!(runs, 0, "{} cut {cut}", scenario.name),
        _ if unseen => assert!(runs <= 1, "{} cut {cut}: {runs}", scenario.name),
        _ => assert_eq!(runs, 1, "{} cut {cut}", scenario.name),
    }
}

fn check_end(world: &World, scenario: &Scenario, release: &ReleaseId, cut: &str) {
    world.check_log(release);
    assert_eq!(world.sum(release).unwrap().1.outcome, scenario.outcome, "{} cut {cut}", scenario.name);
    check_weights(world, scenario, cut);
    let steps: Vec<_> = world
        .receipts(release)
        .iter()
        .filter(|r| r.payload.kind == Kind::CanaryStepped)
        .map(|r| r.payload.facts::<CanaryStepped>().unwrap())
        .collect();
    assert!(
        steps.windows(2).all(|w| w[0].weight == w[1].from_weight),
        "{} cut {cut}: weights follow each other\n{}",
        scenario.name,
        world.story()
    );
}

async fn check(scenario: Scenario) {
    let world = World::new();
    let release = run(&world, &scenario).await;
    check_end(&world, &scenario, &release, "nowhere");
    let receipts = world.log.all().len() as u64;
    assert!(receipts > 8, "{}", world.story());
    for at in 0..receipts {
        for fault in [LogFault::Before(at), LogFault::Unacknowledged(at)] {
            let world = World::new();
            world.log.fault(Some(fault));
            let release = run(&world, &scenario).await;
            check_end(&world, &scenario, &release, &format!("{fault:?}"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn cut_at_every_receipt_of_a_healthy_release() {
    check(Scenario { name: "healthy", script: nothing, outcome: Outcome::Promoted, canary_errors: 0 }).await;
}

#[tokio::test(start_paused = true)]
async fn cut_at_every_receipt_of_an_automatic_abort() {
    check(Scenario { name: "breach", script: nothing, outcome: Outcome::Aborted, canary_errors: 20 }).await;
}

#[tokio::test(start_paused = true)]
async fn cut_at_every_receipt_of_a_persons_abort() {
    check(Scenario { name: "abort", script: abort_at_25, outcome: Outcome::Aborted, canary_errors: 0 }).await;
}

#[tokio::test(start_paused = true)]
async fn cut_at_every_receipt_of_a_promote_full() {
    check(Scenario { name: "promote-full", script: promote_full_at_5, outcome: Outcome::Promoted, canary_errors: 0 })
        .await;
}

#[tokio::test(start_paused = true)]
async fn cut_at_every_receipt_of_a_rollback() {
    check(Scenario { name: "rollback", script: roll_back, outcome: Outcome::RolledBack, canary_errors: 0 }).await;
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_moment() {
    // A kill every so many ms, at moments that fall everywhere in steps, ticks and looks.
    for every in [137, 1_013, 2_777, 7_919, 21_111] {
        let world = World::new();
        let mut release: Option<ReleaseId> = None;
        for _ in 0..3_000 {
            let controller = world.controller().await;
            if release.is_none() {
                release = Some(world.start(&controller, 2).await);
            }
            tokio::time::sleep(Duration::from_millis(every)).await;
            drop(controller);
            let ended = release.as_ref().is_some_and(|r| world.sum(r).is_some());
            if ended {
                break;
            }
        }
        let release = release.unwrap();
        assert!(world.sum(&release).is_some(), "killed every {every} ms: does not end\n{}", world.story());
        world.check_log(&release);
        assert_eq!(world.weights(&release), [5, 25, 50, 100], "killed every {every} ms\n{}", world.story());
        // The data plane was there all the time: no second of the release is missing, and none is there twice.
        let kept = world.samples.ticks(&release, model::Timestamp::from_millis(0), u32::MAX).await.unwrap();
        assert!(kept.len() > 30, "{}", kept.len());
        let odd: Vec<i64> = kept.windows(2).map(|w| w[1].at.since(w[0].at)).filter(|ms| *ms != 1_000).collect();
        assert_eq!(odd, [0; 0], "killed every {every} ms");
    }
}
