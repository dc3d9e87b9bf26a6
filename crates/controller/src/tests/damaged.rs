//! Receipts that cannot be read any more when a controller starts.

use model::{Epoch, event::CanaryAborted};

use super::*;
use crate::{
    Failure, LeftAlone,
    fake::{Faults, LogFault},
};

/// A release that has ended, and one that is at 25 % when the controller is gone.
async fn at_25(world: &World) -> (ReleaseId, ReleaseId) {
    let controller = world.controller().await;
    let first = world.start(&controller, 2).await;
    assert_eq!(world.until_ended(&first).await, Outcome::Promoted);
    let second = world.start(&controller, 3).await;
    world.until_weight(25).await;
    (first, second)
}

/// The same, and a receipt of the second cannot be read. Its index is named.
async fn left_alone(world: &World) -> (Controller, ReleaseId, String) {
    let (_, release) = at_25(world).await;
    let index = world.receipts(&release)[2].index;
    world.log.damage(index);
    // Somebody acted since, as on a restart in between.
    world.runtime.take_over(Epoch(50));
    (world.controller().await, release, format!("receipt {index} is damaged"))
}

#[tokio::test(start_paused = true)]
async fn what_is_damaged_in_another_release_holds_up_nothing() {
    let world = World::new();
    let (first, second) = at_25(&world).await;
    for receipt in world.receipts(&first) {
        world.log.damage(receipt.index);
    }
    let controller = world.controller().await;
    assert_eq!((controller.left_alone(), controller.failure().borrow().clone()), (vec![], None));
    assert_eq!(world.until_ended(&second).await, Outcome::Promoted);
    world.check_log(&second);
    // Nor the next one, though its recipe asks about earlier ones: over a doubt all steps are taken.
    let recipe = RECIPE.replace("  strategy:\n", "  rollbackWindow: {revisions: 3}\n  strategy:\n");
    let third = controller.start(world.request(1, &recipe)).await.unwrap();
    assert_eq!(world.until_ended(&third).await, Outcome::Promoted);
    assert_eq!(world.weights(&third), [5, 25, 50, 100]);
}

#[tokio::test(start_paused = true)]
async fn a_service_whose_release_cannot_be_read_is_left_alone_by_name() {
    let world = World::new();
    let (controller, release, damaged) = left_alone(&world).await;
    let said = controller.left_alone();
    let [LeftAlone { service: left, why }] = &said[..] else { panic!("{said:?}") };
    assert_eq!((left, why.matches("could not be read").count()), (&service(), 1), "{why}");
    assert!(why.contains(&damaged), "{why}");
    assert!(matches!(&*controller.failure().borrow(), Some(Failure::Recovery { .. })));
    let before = world.log.len();
    start_refused(controller.start(world.request(4, RECIPE)).await, &damaged);
    start_refused(controller.start(world.request(4, RECIPE)).await, "deliveryos log verify");
    for kind in CommandKind::ALL.into_iter().filter(|kind| *kind != CommandKind::Abort) {
        let error = world.command(&controller, &release, kind).await.unwrap_err();
        assert!(matches!(&error, CommandError::LeftAlone(_)), "{error:?}");
        assert!(error.to_string().contains(&damaged), "{error}");
    }
    let nobody: ReleaseId = "checkout-9".parse().unwrap();
    let error = world.command(&controller, &nobody, CommandKind::Abort).await.unwrap_err();
    assert_eq!(error, CommandError::UnknownRelease(nobody));
    // Of the release before, which has ended, nothing is aborted.
    let first: ReleaseId = "checkout-1".parse().unwrap();
    let error = world.command(&controller, &first, CommandKind::Abort).await.unwrap_err();
    assert!(matches!(error, CommandError::LeftAlone(_)), "{error:?}");
    assert_eq!((world.log.len(), world.runtime.weight(&service()).percent()), (before, 25), "nothing was done");
    assert!(controller.traffic(&service()).unwrap().warning.unwrap().contains(&damaged));
}

#[tokio::test(start_paused = true)]
async fn an_abort_takes_the_traffic_of_a_service_that_is_left_alone() {
    let world = World::new();
    let (controller, release, damaged) = left_alone(&world).await;
    let index = world.command(&controller, &release, CommandKind::Abort).await.unwrap();
    assert_eq!(world.runtime.weight(&service()).percent(), 0);
    let receipts = world.receipts(&release);
    let [.., accepted, aborted] = &receipts[..] else { panic!() };
    assert_eq!((accepted.index, accepted.payload.kind), (index, Kind::CommandAccepted));
    let facts: CanaryAborted = aborted.payload.facts().unwrap();
    assert_eq!((facts.automatic, facts.weight.percent(), facts.command), (false, 25, None));
    assert!(facts.reason.starts_with("told to; only the traffic was taken away") && facts.reason.contains(&damaged));
    assert_eq!(aborted.payload.actor, dana());
    // Once more there is nothing to take away.
    let error = world.command(&controller, &release, CommandKind::Abort).await.unwrap_err();
    assert!(matches!(error, CommandError::LeftAlone(_)), "{error:?}");
    drop(controller);
    // The log is put back: the abort is carried out in full.
    world.log.mend();
    let controller = world.controller().await;
    assert_eq!(world.until_ended(&release).await, Outcome::Aborted);
    assert!(controller.left_alone().is_empty());
    world.check_log(&release);
}

#[tokio::test(start_paused = true)]
async fn an_abort_without_a_log_takes_the_traffic_and_says_so() {
    let world = World::new();
    let (controller, release, _) = left_alone(&world).await;
    world.log.fault(Some(LogFault::Before(0)));
    let error = world.command(&controller, &release, CommandKind::Abort).await.unwrap_err();
    assert_eq!(world.runtime.weight(&service()).percent(), 0);
    assert!(error.to_string().contains("gets no traffic any more") && error.to_string().contains("cut off"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_abort_of_a_service_that_is_left_alone_keeps_to_the_epoch() {
    let world = World::new();
    let (controller, release, _) = left_alone(&world).await;
    world.runtime.faults(Faults { unreachable: true, ..Faults::default() });
    let error = world.command(&controller, &release, CommandKind::Abort).await.unwrap_err();
    assert!(error.to_string().contains("could not be taken off"), "{error}");
    world.runtime.faults(Faults::default());
    world.runtime.take_over(Epoch(99));
    let error = world.command(&controller, &release, CommandKind::Abort).await.unwrap_err();
    assert!(error.to_string().contains("99 is in force"), "{error}");
    assert_eq!(world.runtime.weight(&service()).percent(), 25, "another controller is in charge");
}
