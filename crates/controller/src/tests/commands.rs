//! What people do to a release.

use model::{
    Kind,
    event::{CanaryAborted, CanaryPaused, CanaryPromoted, RollbackExecuted},
};

use super::*;

/// An abort at this point ends with the canary off traffic at once, its intent first.
async fn check_abort_at(name: &str, prepare: impl AsyncFn(&World, &Controller) -> ReleaseId, outcome: Outcome) {
    let world = World::new();
    let controller = world.controller().await;
    let release = prepare(&world, &controller).await;
    let before = world.clock_now();
    let promoted = world.kinds(&release).contains(&"canary.promoted");
    let index = world
        .command(&controller, &release, CommandKind::Abort)
        .await
        .unwrap_or_else(|e| panic!("{name}: {e}\n{}", world.story()));
    assert_eq!(world.log.all()[index as usize].payload.kind, Kind::CommandAccepted, "{name}");
    if !promoted {
        world
            .until("weight 0", || world.applied().last().is_some_and(|c| c == "weight 0" || c.starts_with("stop")))
            .await;
        let zero = world.runtime.calls().into_iter().rev().find(|c| c.what == "weight 0");
        assert!(zero.is_some_and(|c| c.at.since(before) <= 5), "{name}: at once\n{}", world.story());
    }
    assert_eq!(world.until_ended(&release).await, outcome, "{name}");
    world.check_log(&release);
    let aborted = world.last(&release, Kind::CanaryAborted);
    let facts: CanaryAborted = aborted.payload.facts().unwrap();
    assert_eq!((facts.command, facts.automatic, facts.reason.as_str()), (Some(index), false, "told to"), "{name}");
    assert_eq!(aborted.payload.actor, dana(), "{name}");
    assert!(world.weights(&release).last() == Some(&0), "{name}: {:?}", world.weights(&release));
    let clocks = world.completed(&release).unwrap();
    assert!(clocks.breach_to_zero_ms.is_some() && clocks.rto_ms.is_some_and(|ms| ms < 90_000), "{name}: {clocks:?}");
    let observed = crate::Runtime::observe(&world.runtime, &service()).await.unwrap();
    assert_eq!(observed.stable.map(|s| s.version.to_string()).as_deref(), Some("v1"), "{name}");
    assert_eq!(observed.canary, None, "{name}");
    refused(world.command(&controller, &release, CommandKind::Abort).await, "abort is not possible");
    // The service is free for another release.
    let next = world.start(&controller, 3).await;
    assert_eq!(world.until_ended(&next).await, Outcome::Promoted, "{name}");
}

#[tokio::test(start_paused = true)]
async fn abort_in_every_phase() {
    let at = |percent: u8| {
        async move |w: &World, c: &Controller| {
            let release = w.start(c, 2).await;
            w.until_weight(percent).await;
            release
        }
    };
    check_abort_at("at 5 %", at(5), Outcome::Aborted).await;
    check_abort_at("at 50 %", at(50), Outcome::Aborted).await;
    check_abort_at("at 100 %", at(100), Outcome::Aborted).await;
    check_abort_at("at once", async |w: &World, c: &Controller| w.start(c, 2).await, Outcome::Aborted).await;
    let held = async |w: &World, c: &Controller| {
        let release = w.start(c, 2).await;
        w.until_weight(25).await;
        w.command(c, &release, CommandKind::Pause).await.unwrap();
        tokio::time::sleep(Duration::from_secs(300)).await;
        release
    };
    check_abort_at("held by a person", held, Outcome::Aborted).await;
    let full = async |w: &World, c: &Controller| {
        let release = w.start(c, 2).await;
        w.until_weight(5).await;
        w.command(c, &release, CommandKind::PromoteFull).await.unwrap();
        release
    };
    check_abort_at("after promote-full", full, Outcome::Aborted).await;
    let never_ready = async |w: &World, c: &Controller| {
        w.runtime.faults(crate::fake::Faults { never_ready: true, ..Default::default() });
        let release = w.start(c, 2).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        w.runtime.faults(Default::default());
        release
    };
    check_abort_at("never ready", never_ready, Outcome::Aborted).await;
    let promoted = async |w: &World, c: &Controller| {
        let release = w.start(c, 2).await;
        w.until("promoted", || w.kinds(&release).contains(&"canary.promoted")).await;
        release
    };
    check_abort_at("after the swap", promoted, Outcome::RolledBack).await;
}

#[tokio::test(start_paused = true)]
async fn pause_resume_and_promote() {
    let world = World::new();
    let controller = world.controller().await;
    let release = world.start(&controller, 2).await;
    world.until_weight(5).await;
    refused(world.command(&controller, &release, CommandKind::Retry).await, "it is not aborted");
    let index = world.command(&controller, &release, CommandKind::Pause).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(world.runtime.weight(&service()).percent(), 5);
    let paused = world.last(&release, Kind::CanaryPaused);
    let facts: CanaryPaused = paused.payload.facts().unwrap();
    assert_eq!(
        (facts.reason.as_str(), facts.until, paused.payload.facts["command"].as_u64()),
        ("told to", None, Some(index))
    );
    refused(world.command(&controller, &release, CommandKind::Pause).await, "held already");
    world.command(&controller, &release, CommandKind::Resume).await.unwrap();
    world.until_weight(25).await;
    let before = world.clock_now();
    world.command(&controller, &release, CommandKind::Promote).await.unwrap();
    world.until_weight(50).await;
    assert!(world.clock_now().since(before) < 1_500, "promote does not wait for the pause");
    world.command(&controller, &release, CommandKind::PromoteFull).await.unwrap();
    assert_eq!(world.until_ended(&release).await, Outcome::Promoted);
    let promoted: CanaryPromoted = world.last(&release, Kind::CanaryPromoted).payload.facts().unwrap();
    assert!(promoted.full);
    world.check_log(&release);
    let refusals = world.kinds(&release).iter().filter(|k| **k == "command.refused").count();
    assert_eq!(refusals, 2, "refusals are recorded");
}

/// Who is answered may read at once: what was answered is in the log already.
#[tokio::test(start_paused = true)]
async fn an_answer_is_followed_by_reading_ones_own_write() {
    let world = World::new();
    world.log.delay(Duration::from_millis(8));
    let controller = world.controller().await;
    let kinds = |release: &ReleaseId| world.kinds(release);
    let row = |release: &ReleaseId| {
        let receipts = world.receipts(release);
        let receipts: Vec<_> =
            receipts.into_iter().map(|r| projections::Receipt { index: r.index, payload: r.payload }).collect();
        projections::ReleaseRow::of(&receipts)
    };

    let request = world.request(2, RECIPE);
    let release = controller.start(request.clone()).await.unwrap();
    assert!(row(&release).is_some(), "{:?}", kinds(&release));
    assert_eq!(controller.start(request).await.unwrap(), release);

    world.until_weight(5).await;
    world.command(&controller, &release, CommandKind::Pause).await.unwrap();
    assert!(row(&release).unwrap().held.is_some(), "{:?}", kinds(&release));
    world.command(&controller, &release, CommandKind::Resume).await.unwrap();
    assert!(row(&release).unwrap().held.is_none(), "{:?}", kinds(&release));
    world.command(&controller, &release, CommandKind::PromoteFull).await.unwrap();
    assert!(row(&release).unwrap().skipping, "{:?}", kinds(&release));

    // A data plane that does not answer keeps nobody waiting: the intent says it.
    world.runtime.faults(crate::fake::Faults { lag: Duration::from_secs(600), ..Default::default() });
    let before = world.clock_now();
    world.command(&controller, &release, CommandKind::Abort).await.unwrap();
    assert!(world.clock_now().since(before) < 5_000, "{:?}", kinds(&release));
    assert_eq!(row(&release).unwrap().phase, projections::Phase::Aborting, "{:?}", kinds(&release));
}

#[tokio::test(start_paused = true)]
async fn retry_begins_again_at_the_first_step() {
    let world = World::new();
    let controller = world.controller().await;
    let release = world.start(&controller, 2).await;
    world.until_weight(50).await;
    world.command(&controller, &release, CommandKind::Abort).await.unwrap();
    assert_eq!(world.until_ended(&release).await, Outcome::Aborted);
    world.command(&controller, &release, CommandKind::Retry).await.unwrap();
    world.until("promoted", || world.completed(&release).is_some_and(|c| c.outcome == Outcome::Promoted)).await;
    assert_eq!(world.until_ended(&release).await, Outcome::Promoted);
    assert_eq!(world.weights(&release), [5, 25, 50, 0, 5, 25, 50, 100]);
    world.check_log(&release);
    let sums = world.kinds(&release).iter().filter(|k| **k == "release.completed").count();
    assert_eq!(sums, 2, "each end has its sum");
}

#[tokio::test(start_paused = true)]
async fn rollback_after_the_end_replays_the_envelope() {
    let world = World::new();
    let controller = world.controller().await;
    let request = StartRequest { down_migration: Some("drop-column".to_owned()), ..world.request(2, RECIPE) };
    let release = controller.start(request).await.unwrap();
    assert_eq!(world.until_ended(&release).await, Outcome::Promoted);
    let index = world.command(&controller, &release, CommandKind::Rollback).await.unwrap();
    world.until("rolled back", || world.completed(&release).is_some_and(|c| c.outcome == Outcome::RolledBack)).await;
    assert_eq!(world.until_ended(&release).await, Outcome::RolledBack);
    world.check_log(&release);
    let observed = crate::Runtime::observe(&world.runtime, &service()).await.unwrap();
    assert_eq!(observed.stable.map(|s| s.version.to_string()).as_deref(), Some("v1"));
    assert_eq!(observed.canary, None);
    let acts: Vec<String> = world
        .receipts(&release)
        .iter()
        .filter(|r| r.payload.kind == Kind::RollbackExecuted)
        .map(|r| r.payload.facts::<RollbackExecuted>().unwrap().act)
        .collect();
    assert_eq!(acts, ["traffic", "processes", "migration"], "in order, each once");
    assert_eq!(world.migrations.runs().len(), 1);
    let aborted: CanaryAborted = world.last(&release, Kind::CanaryAborted).payload.facts().unwrap();
    assert_eq!(aborted.command, Some(index));
    let clocks = world.completed(&release).unwrap();
    assert!(clocks.breach_to_zero_ms.is_some() && clocks.rto_ms.is_some(), "{clocks:?}");
    refused(world.command(&controller, &release, CommandKind::Rollback).await, "rolled back already");
    // The version that was rolled back may be tried again.
    let next = world.start(&controller, 2).await;
    assert_eq!(world.until_ended(&next).await, Outcome::Promoted);
}

#[tokio::test(start_paused = true)]
async fn the_same_key_again_changes_nothing() {
    let world = World::new();
    let controller = world.controller().await;
    let request = world.request(2, RECIPE);
    let release = controller.start(request.clone()).await.unwrap();
    assert_eq!(controller.start(request.clone()).await.unwrap(), release);
    start_refused(controller.start(world.request(3, RECIPE)).await, "is under way");
    world.until_weight(5).await;
    let pause = Command {
        id: world.id(),
        release: release.clone(),
        kind: CommandKind::Pause,
        actor: dana(),
        reason: String::new(),
    };
    let first = controller.command(pause.clone()).await.unwrap();
    assert_eq!(controller.command(pause.clone()).await.unwrap(), first);
    let resume = Command { id: world.id(), kind: CommandKind::Resume, ..pause.clone() };
    controller.command(resume).await.unwrap();
    assert_eq!(controller.command(pause.clone()).await.unwrap(), first, "even when it would do something now");
    let refused_one = Command { id: world.id(), kind: CommandKind::Retry, ..pause.clone() };
    refused(controller.command(refused_one.clone()).await, "not aborted");
    refused(controller.command(refused_one).await, "not aborted");
    // Several at once, from several clients.
    let abort = Command { id: world.id(), kind: CommandKind::Abort, ..pause };
    let answers = futures::future::join_all((0..8).map(|_| controller.command(abort.clone()))).await;
    let first = answers[0].clone().unwrap();
    assert!(answers.iter().all(|a| *a == Ok(first)), "{answers:?}");
    assert_eq!(world.until_ended(&release).await, Outcome::Aborted);
    let kinds = world.kinds(&release);
    assert_eq!(kinds.iter().filter(|k| **k == "canary.aborted").count(), 1);
    assert_eq!(kinds.iter().filter(|k| **k == "command.refused").count(), 1);
    assert_eq!(controller.start(request).await.unwrap(), release, "also after the end");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_possible_is_refused_by_name() {
    let world = World::new();
    let controller = world.controller().await;
    let request = |change: &dyn Fn(&mut StartRequest)| {
        let mut request = world.request(2, RECIPE);
        change(&mut request);
        request
    };
    start_refused(
        controller.start(request(&|r| r.service = "nobody".parse().unwrap())).await,
        "there is no service nobody",
    );
    start_refused(controller.start(request(&|r| r.canary = workload(1))).await, "already the stable version");
    start_refused(controller.start(request(&|r| r.recipe = "kind: [".to_owned())).await, "the recipe is not usable");
    start_refused(controller.start(request(&|r| r.recipe = "x".repeat(300_000))).await, "are allowed");
    start_refused(controller.start(request(&|r| r.speed = f64::NAN)).await, "speed");
    start_refused(controller.start(request(&|r| r.speed = 0.0)).await, "speed");
    start_refused(
        controller.start(request(&|r| r.down_migration = Some("rm -rf".to_owned()))).await,
        "\"rm -rf\" is not in the configuration",
    );
    start_refused(
        controller
            .start(request(&|r| {
                r.canary.source = WorkloadSource::Url { url: "http://evil".to_owned(), health_path: None }
            }))
            .await,
        "not in the configuration",
    );
    let datadog = RECIPE
        .replace("plugin: {deliveryos/builtin: {rule: threshold}}", "datadog: {query: x}")
        .replace("    interval: 1s\n", "    interval: 1s\n    successCondition: result < 1\n");
    start_refused(
        controller.start(request(&|r| r.recipe = datadog.clone())).await,
        "metric built-in: datadog is not supported",
    );
    let sequential = RECIPE.replace("{rule: threshold}", "{rule: clairvoyant}");
    start_refused(controller.start(request(&|r| r.recipe = sequential.clone())).await, "sequential");
    assert_eq!(world.log.all().len(), 0, "nothing was begun");

    let unknown: ReleaseId = "checkout-7".parse().unwrap();
    let error = world.command(&controller, &unknown, CommandKind::Abort).await.unwrap_err();
    assert!(matches!(error, CommandError::UnknownRelease(_)), "{error:?}");
    let other: ReleaseId = "other-1".parse().unwrap();
    assert!(matches!(
        world.command(&controller, &other, CommandKind::Abort).await,
        Err(CommandError::UnknownRelease(_))
    ));
    let release = world.start(&controller, 2).await;
    let long = Command {
        id: world.id(),
        release: release.clone(),
        kind: CommandKind::Abort,
        actor: dana(),
        reason: "x".repeat(501),
    };
    assert_eq!(
        controller.command(long).await,
        Err(CommandError::Unfit("a reason has at most 500 characters".to_owned()))
    );
    assert_eq!(world.until_ended(&release).await, Outcome::Promoted);
    let next = world.start(&controller, 3).await;
    refused(
        world.command(&controller, &release, CommandKind::Rollback).await,
        "checkout-1 is over: checkout-2 is the newest",
    );
    world.command(&controller, &next, CommandKind::Abort).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn two_hundred_aborts_with_a_slow_disk() {
    // Each append takes 8 ms; aborts come at moments that fall everywhere in ticks, steps and receipts.
    let world = World::new();
    world.log.delay(Duration::from_millis(8));
    world.runtime.faults(crate::fake::Faults { lag: Duration::from_millis(1), ..Default::default() });
    let controller = world.controller().await;
    let mut took = Vec::new();
    for n in 0..200_u64 {
        let version = if n % 2 == 0 { 2 } else { 3 };
        let release = world.start(&controller, version).await;
        world.until_weight(5).await;
        tokio::time::sleep(Duration::from_millis(n * 97 % 2_700)).await;
        let before = world.clock_now();
        world.command(&controller, &release, CommandKind::Abort).await.unwrap();
        world.until_ended(&release).await;
        let zero = world.runtime.calls().into_iter().rev().find(|c| c.what == "weight 0" && c.at >= before);
        took.push(zero.unwrap_or_else(|| panic!("{}", world.story())).at.since(before));
    }
    took.sort_unstable();
    assert!(took[197] <= 50 && took[100] <= 15, "p50 {} ms, p99 {} ms, most {} ms", took[100], took[197], took[199]);
}
