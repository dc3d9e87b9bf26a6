//! Peers that lie, lag and fail.

use model::{Epoch, Kind, event::CanaryAborted};

use super::*;
use crate::{
    Failure,
    fake::{Faults, LogFault},
};

#[tokio::test(start_paused = true)]
async fn another_controller_takes_over() {
    let world = World::new();
    let old = world.controller().await;
    let failure = old.failure();
    let release = world.start(&old, 2).await;
    world.until_weight(5).await;
    let new = world.controller().await;
    world.until("the old one notices", || failure.borrow().is_some()).await;
    assert!(matches!(&*failure.borrow(), Some(Failure::Overtaken(_))), "{:?}", failure.borrow());
    let error = world.command(&old, &release, CommandKind::Abort).await.unwrap_err();
    assert!(matches!(error, CommandError::Unavailable(_)), "{error:?}");
    assert_eq!(world.until_ended(&release).await, Outcome::Promoted);
    world.check_log(&release);
    assert_eq!(world.weights(&release), [5, 25, 50, 100]);
    drop(new);
}

#[tokio::test(start_paused = true)]
async fn a_larger_epoch_stops_it() {
    let world = World::new();
    let controller = world.controller().await;
    let failure = controller.failure();
    world.start(&controller, 2).await;
    world.until_weight(5).await;
    world.runtime.take_over(Epoch(99));
    world.until("it stops", || failure.borrow().is_some()).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(world.runtime.weight(&service()).percent(), 5, "it no longer acts");
    // One that starts later overtakes.
    let next = world.controller().await;
    world.until_weight(100).await;
    assert!(crate::Runtime::observe(&world.runtime, &service()).await.unwrap().epoch > Epoch(99));
    drop(next);
}

/// How long from the command to weight 0, in virtual milliseconds.
async fn abort_takes(world: &World, controller: &Controller, release: &ReleaseId) -> i64 {
    let before = world.clock_now();
    world.command(controller, release, CommandKind::Abort).await.unwrap();
    world.until_weight(0).await;
    let zero = world.runtime.calls().into_iter().rev().find(|c| c.what == "weight 0").unwrap();
    zero.at.since(before)
}

#[tokio::test(start_paused = true)]
async fn a_metric_source_that_hangs_delays_nothing() {
    for answer in [Scripted::Hang, Scripted::HangForever] {
        let world = World::new();
        world.metrics.answer(answer);
        let controller = world.controller().await;
        let release = controller.start(world.request(2, &prometheus_recipe())).await.unwrap();
        world.until_weight(5).await;
        world.until("it is asked", || world.metrics.asked() > 0).await;
        tokio::time::sleep(Duration::from_secs(7)).await;
        assert!(abort_takes(&world, &controller, &release).await <= 5);
        assert_eq!(world.until_ended(&release).await, Outcome::Aborted);
        world.check_log(&release);
    }
}

#[tokio::test(start_paused = true)]
async fn a_metric_source_that_is_down_aborts_by_argos_rule() {
    let world = World::new();
    let error = crate::MetricError::Unreachable("http://prometheus".to_owned(), "no connection".to_owned());
    world.metrics.answer(Scripted::Error(error));
    let controller = world.controller().await;
    let release = controller.start(world.request(2, &prometheus_recipe())).await.unwrap();
    assert_eq!(world.until_ended(&release).await, Outcome::Aborted);
    let aborted: CanaryAborted = world.last(&release, Kind::CanaryAborted).payload.facts().unwrap();
    assert!(aborted.reason.contains("consecutiveErrors (5) > consecutiveErrorLimit (4)"), "{}", aborted.reason);
    assert_eq!(world.metrics.asked(), 5);
}

#[tokio::test(start_paused = true)]
async fn draining_does_not_hold_up_anything() {
    let world = World::new();
    let controller = world.controller().await;
    let release = world.start(&controller, 2).await;
    world.runtime.faults(Faults { stop_takes: Duration::from_secs(15), ..Faults::default() });
    world.until("promoted", || world.kinds(&release).contains(&"canary.promoted")).await;
    // The old version is being drained when the abort comes: it is a rollback, and the old version comes back.
    tokio::time::sleep(Duration::from_secs(15)).await;
    let index = world.command(&controller, &release, CommandKind::Abort).await.unwrap();
    assert!(index > 0);
    assert_eq!(world.until_ended(&release).await, Outcome::RolledBack);
    world.check_log(&release);
    let observed = crate::Runtime::observe(&world.runtime, &service()).await.unwrap();
    assert_eq!(observed.stable.map(|s| s.version.to_string()).as_deref(), Some("v1"));
}

#[tokio::test(start_paused = true)]
async fn a_data_plane_that_lags_and_drops_calls() {
    let world = World::new();
    let controller = world.controller().await;
    world.runtime.faults(Faults { lag: Duration::from_millis(300), flaky: 40, ..Faults::default() });
    let release = world.start(&controller, 2).await;
    assert_eq!(world.until_ended(&release).await, Outcome::Promoted);
    world.check_log(&release);
    assert_eq!(world.weights(&release), [5, 25, 50, 100]);
    assert_eq!(world.applied().iter().filter(|c| c.starts_with("weight")).count(), 4, "{:?}", world.applied());
}

#[tokio::test(start_paused = true)]
async fn a_data_plane_that_is_gone_for_a_while() {
    let world = World::new();
    let controller = world.controller().await;
    let release = world.start(&controller, 2).await;
    world.until_weight(25).await;
    world.runtime.faults(Faults { unreachable: true, ..Faults::default() });
    tokio::time::sleep(Duration::from_secs(90)).await;
    world.runtime.faults(Faults::default());
    assert_eq!(world.until_ended(&release).await, Outcome::Promoted);
    world.check_log(&release);
}

#[tokio::test(start_paused = true)]
async fn an_abort_while_the_data_plane_is_gone_is_done_when_it_is_back() {
    let world = World::new();
    let controller = world.controller().await;
    let release = world.start(&controller, 2).await;
    world.until_weight(25).await;
    world.runtime.faults(Faults { unreachable: true, ..Faults::default() });
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.command(&controller, &release, CommandKind::Abort).await.unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    let back = world.clock_now();
    world.runtime.faults(Faults::default());
    world.until_weight(0).await;
    assert!(world.clock_now().since(back) <= 1_000);
    assert_eq!(world.until_ended(&release).await, Outcome::Aborted);
    world.check_log(&release);
}

#[tokio::test(start_paused = true)]
async fn a_data_plane_that_restarts_gets_its_weight_back_and_the_gap_is_stated() {
    for empty in [false, true] {
        let world = World::new();
        let controller = world.controller().await;
        let release = world.start(&controller, 2).await;
        world.until_weight(25).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        if empty {
            world.runtime.restart_empty(740)
        } else {
            world.runtime.restart_without_weights(740)
        }
        world.until_weight(0).await;
        world.until_weight(25).await;
        assert_eq!(world.until_ended(&release).await, Outcome::Promoted, "empty: {empty}");
        world.check_log(&release);
        let drift = world.receipts(&release).into_iter().find(|r| r.payload.facts.contains_key("gap_ms"));
        assert_eq!(drift.and_then(|r| r.payload.facts["gap_ms"].as_i64()), Some(740), "{}", world.story());
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_mans_switch_is_recorded_and_the_recipe_decides() {
    let abort = RECIPE
        .replace("  name: checkout\n", "  name: checkout\n  annotations: {deliveryos.dev/on-controller-loss: abort}\n");
    for (recipe, outcome) in [(RECIPE, Outcome::Promoted), (abort.as_str(), Outcome::Aborted)] {
        let world = World::new();
        let controller = world.controller().await;
        let release = controller.start(world.request(2, recipe)).await.unwrap();
        world.until_weight(25).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        drop(controller);
        tokio::time::sleep(Duration::from_secs(61)).await;
        world.runtime.dead_man(&service());
        tokio::time::sleep(Duration::from_secs(61)).await;
        let controller = world.controller().await;
        assert_eq!(world.until_ended(&release).await, outcome, "{}", world.story());
        world.check_log(&release);
        drop(controller);
    }
}

#[tokio::test(start_paused = true)]
async fn weights_that_are_not_set_are_noticed() {
    let world = World::new();
    let controller = world.controller().await;
    world.runtime.faults(Faults { ignores_weights: true, ..Faults::default() });
    let release = world.start(&controller, 2).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let drifts = world
        .receipts(&release)
        .iter()
        .filter(|r| r.payload.facts.get("transition").is_some_and(|t| t["type"] == "weight-drifted"))
        .count();
    assert!(drifts > 3, "it is noticed: {drifts}");
    world.runtime.faults(Faults::default());
    assert_eq!(world.until_ended(&release).await, Outcome::Promoted);
    world.check_log(&release);
}

#[tokio::test(start_paused = true)]
async fn old_observations_do_not_unsettle_it() {
    let world = World::new();
    let controller = world.controller().await;
    world.runtime.faults(Faults { lag: Duration::from_millis(700), ..Faults::default() });
    let release = world.start(&controller, 2).await;
    assert_eq!(world.until_ended(&release).await, Outcome::Promoted);
    assert_eq!(world.weights(&release), [5, 25, 50, 100], "{}", world.story());
}

#[tokio::test(start_paused = true)]
async fn a_log_that_stops_stops_the_controller() {
    let world = World::new();
    let controller = world.controller().await;
    let failure = controller.failure();
    let release = world.start(&controller, 2).await;
    world.until_weight(5).await;
    let size = world.log.all().len() as u64;
    world.log.fault(Some(LogFault::Before(size)));
    let error = world.command(&controller, &release, CommandKind::Abort).await.unwrap_err();
    assert!(matches!(error, CommandError::Unavailable(_)), "{error:?}");
    world.until("it stops", || failure.borrow().is_some()).await;
    assert!(matches!(&*failure.borrow(), Some(Failure::Log(_))));
    assert_eq!(world.runtime.weight(&service()).percent(), 5, "what cannot be recorded is not done");
}

#[tokio::test(start_paused = true)]
async fn a_canary_whose_process_ends_again_and_again_is_aborted() {
    for recipe in [RECIPE.to_owned(), prometheus_recipe(), inline_recipe()] {
        let world = World::new();
        let controller = world.controller().await;
        let release = controller.start(world.request(2, &recipe)).await.unwrap();
        world.until_weight(5).await;
        for _ in 0..2 {
            world.runtime.canary_ends(&service(), "with exit status 1");
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        assert!(!world.kinds(&release).contains(&"canary.aborted"), "twice is not too often\n{}", world.story());
        // Who comes after a crash counts on.
        drop(controller);
        let controller = world.controller().await;
        world.command(&controller, &release, CommandKind::Pause).await.unwrap();
        world.runtime.canary_ends(&service(), "with exit status 124");
        assert_eq!(world.until_ended(&release).await, Outcome::Aborted);
        let aborted: CanaryAborted = world.last(&release, Kind::CanaryAborted).payload.facts().unwrap();
        assert_eq!(aborted.reason, "the canary's process ended 3 times, last with exit status 124");
        assert!(aborted.automatic);
        world.check_log(&release);
    }
}

#[tokio::test(start_paused = true)]
async fn a_canary_that_never_starts_is_aborted_with_its_exit_status() {
    let world = World::new();
    let controller = world.controller().await;
    world.runtime.faults(Faults { never_ready: true, ..Faults::default() });
    let recipe = RECIPE.replace("  strategy:\n", "  progressDeadlineAbort: true\n  strategy:\n");
    let release = controller.start(world.request(2, &recipe)).await.unwrap();
    world.until("it is started", || world.runtime.labels(&service()).1.is_some()).await;
    world.runtime.canary_ends(&service(), "with exit status 1");
    assert_eq!(world.until_ended(&release).await, Outcome::Aborted);
    let aborted: CanaryAborted = world.last(&release, Kind::CanaryAborted).payload.facts().unwrap();
    assert!(aborted.reason.starts_with("no progress for "), "{}", aborted.reason);
    assert!(aborted.reason.ends_with(": the canary's process ended with exit status 1"), "{}", aborted.reason);
}
