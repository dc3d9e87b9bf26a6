//! A data plane that comes back with an older state than the log's.

use model::{Epoch, Weight};

use super::*;
use crate::{Runtime as _, fake::Faults};

/// Knows no `v2`.
struct Forgetful(FakeCatalogue);

impl Catalogue for Forgetful {
    fn services(&self) -> Vec<(ServiceId, Workload)> {
        self.0.services()
    }
    fn workload(&self, service: &ServiceId, version: &Version, digest: &Digest) -> Option<Workload> {
        self.0.workload(service, version, digest).filter(|w| *w != workload(2))
    }
}

impl World {
    /// `v2` is promoted, and the data plane has come back with what it had saved before that.
    async fn with_a_lost_promotion(&self) -> (Controller, ReleaseId) {
        let controller = self.controller().await;
        let release = self.start(&controller, 2).await;
        assert_eq!(self.until_ended(&release).await, Outcome::Promoted);
        self.serves_v1().await;
        (controller, release)
    }

    async fn serves_v1(&self) {
        self.runtime.restart_empty(1_000);
        self.runtime.ensure(&service(), Epoch(1), &workload(1)).await.unwrap();
    }

    /// Labels in the slots.
    async fn slots(&self) -> (Option<String>, Option<String>) {
        let seen = self.runtime.observe(&service()).await.unwrap();
        (seen.stable.map(|v| v.version.to_string()), seen.canary.map(|v| v.version.to_string()))
    }

    async fn until_slots(&self, stable: &str, canary: Option<&str>) {
        let poll = async {
            while self.slots().await != (Some(stable.to_owned()), canary.map(str::to_owned)) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(60), poll).await.is_err() {
            panic!("not {stable} and {canary:?}, but {:?}\n{}", self.slots().await, self.story());
        }
    }

    /// What the controller says that it brought back.
    fn restored(&self, release: &ReleaseId) -> Vec<String> {
        let receipts = self.receipts(release);
        let accepted = receipts.iter().filter(|r| r.payload.kind == Kind::CommandAccepted);
        let seen = accepted.map(|r| (r.payload.actor.clone(), r.payload.facts::<CommandSeen>().unwrap()));
        seen.filter(|(actor, s)| s.command == "restore" && *actor == Actor::controller())
            .map(|(_, s)| s.reason)
            .collect()
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_log_promoted_is_stable_again() {
    let world = World::new();
    let (controller, release) = world.with_a_lost_promotion().await;
    let lost = world.runtime.calls().len();
    world.until_slots("v2", None).await;
    let calls: Vec<String> = world.runtime.calls().split_off(lost).into_iter().map(|c| c.what).collect();
    assert_eq!(calls, ["start v2", "promote", "stop v1"], "beside what serves, then at once");
    assert_eq!(world.restored(&release), ["the data plane served v1 as stable, by the log it is v2"]);
    assert_eq!(world.completed(&release).unwrap().outcome, Outcome::Promoted);
    world.check_log(&release);
    let next = world.start(&controller, 3).await;
    assert_eq!(world.until_ended(&next).await, Outcome::Promoted);

    // Again, and found by a server that starts.
    drop(controller);
    world.serves_v1().await;
    let controller = world.controller().await;
    world.until_slots("v3", None).await;
    world.until("a receipt", || !world.restored(&next).is_empty()).await;
    // And with the promotion's half: its version is still beside.
    world.serves_v1().await;
    world.runtime.start_canary(&service(), Epoch(1), &workload(3), DEAD_MAN).await.unwrap();
    world.until_slots("v3", None).await;
    assert_eq!(world.restored(&next).len(), 2, "{}", world.story());
    drop(controller);
}

const DEAD_MAN: ::rollout::DeadMan = ::rollout::DeadMan { after_ms: 60_000, stated: false, abort: false };

#[tokio::test(start_paused = true)]
async fn what_another_version_holds_is_cleared_first() {
    let world = World::new();
    let (controller, release) = world.with_a_lost_promotion().await;
    // In the same breath, so that the controller sees both.
    world.runtime.start_canary(&service(), Epoch(1), &workload(5), DEAD_MAN).await.unwrap();
    world.until_slots("v2", None).await;
    assert!(world.applied().contains(&"stop v5".to_owned()), "{}", world.story());
    assert_eq!(world.restored(&release).len(), 1);
    drop(controller);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_released_until_the_version_is_back() {
    let world = World::new();
    let (controller, release) = world.with_a_lost_promotion().await;
    world.runtime.faults(Faults { never_ready: true, ..Faults::default() });
    let before = world.log.all().len();
    let error = controller.start(world.request(3, RECIPE)).await.unwrap_err();
    assert!(
        matches!(&error, StartError::OtherStable { runs, logged, .. } if runs == "v1" && logged == "v2"),
        "{error}"
    );
    start_refused(Err(error), "try again in a moment");
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert_eq!(world.slots().await.0.as_deref(), Some("v1"), "what works serves on");
    assert_eq!(world.runtime.weight(&service()), Weight::ZERO);
    start_refused(
        controller.start(world.request(3, RECIPE)).await,
        "v2 is started and does not answer its health check",
    );
    start_refused(controller.start(world.request(3, RECIPE)).await, "deliveryos splitter --stop");
    assert_eq!(world.log.all().len(), before, "nothing was begun, nothing brought back");
    world.runtime.faults(Faults::default());
    world.until_slots("v2", None).await;
    assert_eq!(world.restored(&release).len(), 1);
    let next = world.start(&controller, 3).await;
    assert_eq!(world.until_ended(&next).await, Outcome::Promoted);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_not_configured_any_more_is_named() {
    let world = World::new();
    let (controller, release) = world.with_a_lost_promotion().await;
    drop(controller);
    world.serves_v1().await;
    let controller = Controller::start(Parts {
        log: world.log.clone(),
        runtime: Arc::new(world.runtime.clone()),
        metrics: vec![world.metrics.clone()],
        samples: world.samples.clone(),
        catalogue: Arc::new(Forgetful(FakeCatalogue(vec![service()], None))),
        migrations: world.migrations.clone(),
        clock: Arc::new(world.clock),
        probe: energy::Probe::system(),
    })
    .await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    start_refused(controller.start(world.request(3, RECIPE)).await, "put it back as [services.checkout.versions.v2]");
    assert_eq!(world.slots().await, (Some("v1".to_owned()), None));
    assert!(world.restored(&release).is_empty());
}

#[tokio::test(start_paused = true)]
async fn calls_that_get_lost_are_made_again() {
    let world = World::new();
    let (controller, release) = world.with_a_lost_promotion().await;
    world.runtime.faults(Faults { flaky: 6, ..Faults::default() });
    world.until_slots("v2", None).await;
    assert_eq!(world.restored(&release).len(), 1);
    let next = world.start(&controller, 3).await;
    assert_eq!(world.until_ended(&next).await, Outcome::Promoted);
}

#[tokio::test(start_paused = true)]
async fn a_canary_whose_release_has_ended_gets_nothing() {
    let world = World::new();
    let controller = world.controller().await;
    let release = world.start(&controller, 2).await;
    world.until_weight(50).await;
    world.command(&controller, &release, CommandKind::Abort).await.unwrap();
    assert_eq!(world.until_ended(&release).await, Outcome::Aborted);
    drop(controller);
    // What was saved last is from the middle of the release.
    world.serves_v1().await;
    world.runtime.start_canary(&service(), Epoch(1), &workload(2), DEAD_MAN).await.unwrap();
    while world.runtime.set_weight(&service(), Epoch(1), "old", Weight::new(50).unwrap()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let controller = world.controller().await;
    world.until_weight(0).await;
    world.until("a receipt", || !world.restored(&release).is_empty()).await;
    assert_eq!(world.restored(&release), ["the data plane sent 50 % to v2, by the log no release is under way"]);
    let next = world.start(&controller, 3).await;
    assert_eq!(world.until_ended(&next).await, Outcome::Promoted);
}
