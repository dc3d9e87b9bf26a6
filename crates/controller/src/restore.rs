//! Between releases: a data plane that shows less than the log says is brought back to it.
//!
//! A splitter whose state could not be saved (a full disk) comes back with an older one: it serves the version before the last
//! promotion, or sends requests to a canary whose release has ended. What the log says is started beside it, takes over when it
//! answers its health check, and what stood in its place is drained. While a release is under way, its plan does this.

use std::time::Duration;

use model::{Actor, Digest, Kind, Track, Weight, event::CommandSeen};
use rollout::{DeadMan, VersionRef};
use tokio::time::Instant;

use crate::{
    ObservedService, ObservedVersion, RuntimeError, StartError,
    act::no_answer,
    ask, boot,
    limits::{CALL, RESTORE_PATIENCE, RETRY_REFUSED, STOP_GRACE},
    task::{Done, Halt, Task},
};

/// What its receipt calls it.
const RESTORE: &str = "restore";

/// Requests under way at what is taken out are given so long.
const DRAIN_MS: u64 = 20_000;

/// No recipe says anything about a version that is brought back without one.
const DEAD_MAN: DeadMan = DeadMan { after_ms: 60_000, stated: false, abort: false };

/// A data plane on its way back to what the log says.
#[derive(Debug)]
pub(crate) struct Restore {
    operation: String,
    /// What was wrong, in words.
    found: String,
    since: Instant,
    stated: bool,
    /// The version that the log names was told to take over: what is in the canary slot then is what served before.
    swapped: bool,
    stopping: bool,
    /// Why it does not go on.
    obstacle: Option<String>,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Next {
    /// The data plane is as the log says.
    Nothing,
    /// A version has a weight that no release gives it.
    TakeOff,
    /// The canary slot is needed.
    Clear,
    Start,
    /// Until it answers its health check.
    Wait,
    Promote,
}

/// What to do about what is seen, when `logged` is to have all the traffic.
fn next(seen: &ObservedService, logged: &Digest) -> Next {
    let canary = seen.canary.as_ref().filter(|canary| canary.digest == *logged);
    match (&seen.stable, canary) {
        (Some(stable), _) if stable.digest == *logged => {
            if seen.weight > Weight::ZERO {
                Next::TakeOff
            } else {
                Next::Nothing
            }
        }
        // Without any, the service is set up with the one that the log names.
        (None, _) => Next::Nothing,
        (Some(_), Some(canary)) if canary.ready => Next::Promote,
        (Some(_), Some(_)) => Next::Wait,
        (Some(_), None) if seen.weight > Weight::ZERO => Next::TakeOff,
        (Some(_), None) if seen.canary.is_some() => Next::Clear,
        (Some(_), None) => Next::Start,
    }
}

impl Task {
    /// Holds the data plane against the log; does one step of the way back when it is needed.
    pub(crate) async fn hold_to_the_log(&mut self) -> Result<(), Halt> {
        let over = self.active.as_ref().is_some_and(|a| a.status.outcome.is_some() && a.summed);
        if !over {
            self.restore = None;
            return Ok(());
        }
        let waits = self.retry_at.is_some_and(|at| at > Instant::now());
        if !self.claimed || !self.reachable || waits || self.long.is_some() {
            return Ok(());
        }
        let Some((mut next, logged)) = self.next_to_restore() else { return Ok(()) };
        if self.restore.is_none() {
            if next == Next::Nothing {
                return Ok(());
            }
            // What was seen may be from before the end of the last release.
            self.look_now().await;
            match self.next_to_restore().filter(|(next, _)| self.reachable && *next != Next::Nothing) {
                Some((again, _)) => next = again,
                None => return Ok(()),
            }
            self.begin_restore(&logged);
        }
        self.restore_step(next, &logged).await
    }

    fn next_to_restore(&self) -> Option<(Next, VersionRef)> {
        let logged = boot::stable_now(&self.active.as_ref()?.status);
        Some((next(self.seen.as_ref()?, &logged.digest), logged.clone()))
    }

    fn begin_restore(&mut self, logged: &VersionRef) {
        let (Some(active), Some(seen)) = (&self.active, &self.seen) else { return };
        let version = |v: &Option<ObservedVersion>| v.as_ref().map_or_else(String::new, |v| v.version.to_string());
        let found = if seen.stable.as_ref().is_some_and(|stable| stable.digest != logged.digest) {
            format!("the data plane served {} as stable, by the log it is {}", version(&seen.stable), logged.version)
        } else {
            let weight = seen.weight.percent();
            format!("the data plane sent {weight} % to {}, by the log no release is under way", version(&seen.canary))
        };
        tracing::warn!(service = %self.service, "{found}: it is brought back to what the log says");
        self.restore = Some(Restore {
            operation: format!("{}/{RESTORE}/{}", active.release, self.deps.clock.now().as_millis()),
            found,
            since: Instant::now(),
            stated: false,
            swapped: false,
            stopping: false,
            obstacle: None,
        });
    }

    async fn restore_step(&mut self, next: Next, logged: &VersionRef) -> Result<(), Halt> {
        match next {
            Next::Nothing => self.end_restore(logged),
            Next::TakeOff => self.take_off().await,
            Next::Clear => self.clear_canary(),
            Next::Start => self.start_logged(logged).await,
            Next::Wait => {
                let late = self.restore.as_ref().is_some_and(|r| r.since.elapsed() >= RESTORE_PATIENCE);
                if late {
                    let why = format!("{} is started and does not answer its health check", logged.version);
                    self.held_up(why);
                }
                Ok(())
            }
            Next::Promote => self.promote_logged(logged).await,
        }
    }

    /// Nothing is wrong any more; what served before is taken out.
    fn end_restore(&mut self, logged: &VersionRef) -> Result<(), Halt> {
        let left = self.seen.as_ref().is_some_and(|seen| seen.canary.is_some());
        if left && self.restore.as_ref().is_some_and(|r| r.swapped) {
            return self.clear_canary();
        }
        if let Some(restore) = self.restore.take() {
            let took_ms = restore.since.elapsed().as_millis();
            tracing::info!(service = %self.service, version = %logged.version, took_ms, "the data plane is as the log says again");
        }
        Ok(())
    }

    /// The traffic goes first and the disk second: that this version gets none is in the log already.
    async fn take_off(&mut self) -> Result<(), Halt> {
        let Some(operation) = self.restore.as_ref().map(|r| format!("{}/off", r.operation)) else { return Ok(()) };
        let call = self.deps.runtime.set_weight(&self.service, self.deps.epoch(), &operation, Weight::ZERO);
        if let Err(error) = tokio::time::timeout(CALL, call).await.unwrap_or_else(|_| Err(no_answer())) {
            return self.failed("take a version off the traffic", &error);
        }
        self.state_restore().await?;
        self.look_now().await;
        if self.seen.as_ref().is_some_and(|seen| seen.weight > Weight::ZERO) {
            self.retry_at = Some(Instant::now() + RETRY_REFUSED);
        }
        Ok(())
    }

    async fn start_logged(&mut self, logged: &VersionRef) -> Result<(), Halt> {
        let Some(workload) = self.workload(logged) else {
            self.held_up(self.not_configured(logged));
            return Ok(());
        };
        let call = self.deps.runtime.start_canary(&self.service, self.deps.epoch(), &workload, DEAD_MAN);
        match tokio::time::timeout(CALL, call).await.unwrap_or_else(|_| Err(no_answer())) {
            Ok(()) => {
                self.look_now().await;
                Ok(())
            }
            Err(error) => {
                if let RuntimeError::Refused(why) = &error {
                    self.held_up(format!("{} could not be started: {why}", logged.version));
                }
                self.failed("start the version that the log names", &error)
            }
        }
    }

    async fn promote_logged(&mut self, logged: &VersionRef) -> Result<(), Halt> {
        let Some(operation) = self.restore.as_ref().map(|r| r.operation.clone()) else { return Ok(()) };
        self.state_restore().await?;
        if let Some(restore) = &mut self.restore {
            restore.swapped = true;
        }
        let call = self.deps.runtime.promote(&self.service, self.deps.epoch(), &operation);
        if let Err(error) = tokio::time::timeout(CALL, call).await.unwrap_or_else(|_| Err(no_answer())) {
            return self.failed("give the version that the log names its traffic", &error);
        }
        tracing::info!(service = %self.service, version = %logged.version, "the version that the log names has all the traffic again");
        self.look_now().await;
        Ok(())
    }

    fn clear_canary(&mut self) -> Result<(), Halt> {
        let Some(restore) = self.restore.as_mut().filter(|r| !r.stopping) else { return Ok(()) };
        restore.stopping = true;
        let (deps, service, jobs, epoch) =
            (self.deps.clone(), self.service.clone(), self.jobs.clone(), self.deps.epoch());
        let limit = Duration::from_millis(DRAIN_MS).saturating_add(STOP_GRACE);
        tokio::spawn(async move {
            let call = tokio::time::timeout(limit, deps.runtime.stop(&service, epoch, Track::Canary, DRAIN_MS));
            let result = call.await.unwrap_or_else(|_| Err(no_answer()));
            // The task may have ended meanwhile.
            let _ = jobs.send(Done::Cleared(result)).await;
        });
        Ok(())
    }

    pub(crate) async fn cleared(&mut self, result: Result<(), RuntimeError>) -> Result<(), Halt> {
        let Some(restore) = &mut self.restore else { return Ok(()) };
        restore.stopping = false;
        self.look_now().await;
        match result {
            Ok(()) => Ok(()),
            Err(error) => self.failed("take a version out", &error),
        }
    }

    fn not_configured(&self, version: &VersionRef) -> String {
        let (service, label, digest) = (&self.service, &version.version, version.digest.short());
        format!(
            "{label} ({digest}) is not in the configuration: put it back as [services.{service}.versions.{label}] and start the \
             server again"
        )
    }

    /// Why it does not go on; said once.
    fn held_up(&mut self, why: String) {
        let Some(restore) = &mut self.restore else { return };
        if restore.obstacle.as_ref() != Some(&why) {
            tracing::error!(service = %self.service, "{}, and is not brought back: {why}", restore.found);
            restore.obstacle = Some(why);
        }
    }

    /// One receipt, before the version that the log names takes over.
    async fn state_restore(&mut self) -> Result<(), Halt> {
        let Some(active) = &self.active else { return Ok(()) };
        let Some(restore) = self.restore.as_mut().filter(|r| !r.stated) else { return Ok(()) };
        restore.stated = true;
        let seen = CommandSeen {
            command: RESTORE.to_owned(),
            command_id: restore.operation.clone(),
            reason: restore.found.clone(),
            refusal: None,
        };
        let (key, now) = (format!("begun/{}", restore.operation), self.deps.clock.now());
        let mut draft = ask::intent(Kind::CommandAccepted, &key, &active.release, &Actor::controller(), now, &seen)?;
        if let Some(gap) = self.gap_ms.take() {
            draft.payload.facts.insert("gap_ms".to_owned(), gap.into());
        }
        self.append(draft).await.map(drop)
    }

    /// Why nothing is released now, when the data plane serves another version than the log says.
    pub(crate) fn other_stable(&self, logged: &VersionRef) -> Option<StartError> {
        let seen = self.seen.as_ref().filter(|_| self.reachable)?;
        let runs = seen.stable.as_ref().filter(|runs| runs.digest != logged.digest)?;
        let remedy = if self.workload(logged).is_none() {
            self.not_configured(logged)
        } else if let Some(why) = self.restore.as_ref().and_then(|r| r.obstacle.as_ref()) {
            format!(
                "{why}; once that is mended it takes over by itself; else end the splitter (`deliveryos splitter --stop`), remove \
                 its state directory and start the server again"
            )
        } else {
            let version = &logged.version;
            format!("{version} is being started and takes over when it answers its health check: try again in a moment")
        };
        Some(StartError::OtherStable { runs: runs.version.to_string(), logged: logged.version.to_string(), remedy })
    }
}
