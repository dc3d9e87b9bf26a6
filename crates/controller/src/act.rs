//! Carrying out what the plan says. Nothing here decides.

use std::time::Duration;

use model::{Actor, Energy, Kind, Track, Weight, event::CommandSeen};
use rollout::{Action, Transition, VersionRef, engine::plan::StopPart};
use tokio::time::Instant;

use crate::{
    MetricError, RuntimeError, WeightApplied, ask,
    limits::{CALL, MEASURE, MEASURE_GRACE, MEASURING, MIGRATION, RETRY, RETRY_REFUSED, STOP_GRACE},
    task::{Done, Halt, Task},
};

/// What turning flags off says as long as there are no flags.
const NO_FLAGS: &str = "there are no flags here: nothing was turned off";

impl Task {
    /// Does one thing and records what came of it. Answers whether planning again makes sense at once.
    ///
    /// `planning` is what finding it out took; the first receipt takes it.
    pub(crate) async fn act(&mut self, action: Action, planning: &mut Option<Energy>) -> Result<bool, Halt> {
        match &action {
            Action::Record(transition) => {
                if matches!(transition, Transition::Measured { .. }) {
                    self.keep_measurement(transition, "the data plane's ticks".to_owned(), None).await;
                }
                self.record(transition.clone(), planning.take()).await?;
                Ok(true)
            }
            Action::ArmEnvelope(_) => self.conclude(action.armed(self.deps.clock.now()), planning.take()).await,
            Action::StartVersion { version } => self.start_version(version).await,
            Action::SetWeight { weight, .. } => {
                let raises = self.active.as_ref().is_some_and(|a| *weight > a.status.applied);
                if raises {
                    self.state_judgement().await?;
                }
                let outcome = self.set_weight(&action, planning).await?;
                let moved = outcome.is_some();
                if let Some((transition, energy)) = outcome {
                    self.record(transition, energy).await?;
                }
                Ok(moved)
            }
            Action::PromoteSlots { operation, becomes_stable, .. } => {
                self.promote(&action, operation, becomes_stable, planning).await
            }
            Action::StopVersion { which, version, drain_ms, .. } => {
                self.stop_version(action.clone(), *which, version, *drain_ms).await
            }
            Action::RunMigration { operation, name, .. } => self.run_migration(action.clone(), name, operation).await,
            Action::TurnFlagsOff { .. } => {
                self.conclude(action.done(self.deps.clock.now(), 0, NO_FLAGS.to_owned()), planning.take()).await
            }
            Action::TakeMeasurement { run, metric, provider } => {
                self.measure(run.clone(), metric.clone(), provider.clone());
                Ok(false)
            }
        }
    }

    /// Sets a weight; answers with what to record, `None` when it did not work (it is tried again).
    pub(crate) async fn set_weight(
        &mut self,
        action: &Action,
        planning: &mut Option<Energy>,
    ) -> Result<Option<(Transition, Option<Energy>)>, Halt> {
        let Action::SetWeight { operation, weight, .. } = action else { return Ok(None) };
        let epoch = self.deps.epoch();
        let call = self.deps.runtime.set_weight(&self.service, epoch, operation, *weight);
        let (result, energy) = self.deps.probe.measure(tokio::time::timeout(CALL, call)).await;
        match result.unwrap_or_else(|_| Err(no_answer())) {
            Ok(WeightApplied { at, previous, .. }) => {
                tracing::info!(service = %self.service, operation, weight = weight.percent(), previous = previous.percent(), "weight set");
                let energy = energy::sum(planning.take().iter().chain(energy.ok().iter()));
                Ok(action.weight_applied(at, previous, epoch).map(|t| (t, energy)))
            }
            Err(error) => self.failed("set the weight", &error).map(|()| None),
        }
    }

    async fn conclude(&mut self, transition: Option<Transition>, energy: Option<Energy>) -> Result<bool, Halt> {
        let Some(transition) = transition else { return Ok(false) };
        self.record(transition, energy).await?;
        Ok(true)
    }

    async fn start_version(&mut self, version: &VersionRef) -> Result<bool, Halt> {
        let Some(workload) = self.workload(version) else {
            tracing::error!(service = %self.service, version = %version.version, digest = %version.digest, "the version is not in the configuration, so it cannot be started");
            self.retry_at = Some(Instant::now() + RETRY_REFUSED);
            return Ok(false);
        };
        let Some(dead_man) = self.active.as_ref().map(|active| active.recipe.dead_man) else { return Ok(false) };
        let call = self.deps.runtime.start_canary(&self.service, self.deps.epoch(), &workload, dead_man);
        match tokio::time::timeout(CALL, call).await.unwrap_or_else(|_| Err(no_answer())) {
            Ok(()) => {
                self.look_now().await;
                // Until it is seen, planning again would say the same.
                let there = self.in_slot(Track::Canary).is_some_and(|d| *d == version.digest);
                if !there {
                    self.retry_at = Some(Instant::now() + RETRY);
                }
                Ok(there)
            }
            Err(error) => self.failed("start the version", &error).map(|()| false),
        }
    }

    async fn promote(
        &mut self,
        action: &Action,
        operation: &str,
        becomes_stable: &VersionRef,
        planning: &mut Option<Energy>,
    ) -> Result<bool, Halt> {
        self.look_now().await;
        if !self.reachable {
            self.retry_at = Some(Instant::now() + RETRY);
            return Ok(false);
        }
        let now = self.deps.clock.now();
        // A data plane that restarted has forgotten the operation: swapping again would swap back.
        if self.in_slot(Track::Stable).is_some_and(|d| *d == becomes_stable.digest) {
            let at = self.seen.as_ref().map_or(now, |s| s.at);
            return self.conclude(action.slots_promoted(at), planning.take()).await;
        }
        if self.in_slot(Track::Canary).is_none_or(|d| *d != becomes_stable.digest) {
            tracing::error!(service = %self.service, version = %becomes_stable.version, "not promoted: it is not what the canary slot holds");
            self.retry_at = Some(Instant::now() + RETRY_REFUSED);
            return Ok(false);
        }
        let call = self.deps.runtime.promote(&self.service, self.deps.epoch(), operation);
        let (result, energy) = self.deps.probe.measure(tokio::time::timeout(CALL, call)).await;
        match result.unwrap_or_else(|_| Err(no_answer())) {
            Ok(applied) => {
                tracing::info!(service = %self.service, operation, version = %becomes_stable.version, "promoted");
                let energy = energy::sum(planning.take().iter().chain(energy.ok().iter()));
                let moved = self.conclude(action.slots_promoted(applied.at), energy).await?;
                self.look_now().await;
                Ok(moved)
            }
            Err(error) => self.failed("promote", &error).map(|()| false),
        }
    }

    async fn stop_version(
        &mut self,
        action: Action,
        which: Track,
        version: &VersionRef,
        drain_ms: u64,
    ) -> Result<bool, Halt> {
        if self.long.is_some() {
            return Ok(false);
        }
        self.look_now().await;
        if !self.reachable {
            self.retry_at = Some(Instant::now() + RETRY);
            return Ok(false);
        }
        // Only what was meant is stopped; what is not there is gone.
        if self.in_slot(which).is_none_or(|d| *d != version.digest) {
            let done = action.done(self.deps.clock.now(), 0, format!("{} is gone", version.version));
            if done.is_none() {
                self.retry_at = Some(Instant::now() + RETRY);
            }
            return self.conclude(done, None).await;
        }
        let (deps, service, jobs, epoch) =
            (self.deps.clone(), self.service.clone(), self.jobs.clone(), self.deps.epoch());
        let limit = Duration::from_millis(drain_ms).saturating_add(STOP_GRACE);
        let words = format!("{} drained and stopped", version.version);
        self.long = Some(action.clone());
        tokio::spawn(async move {
            let begun = Instant::now();
            let call = tokio::time::timeout(limit, deps.runtime.stop(&service, epoch, which, drain_ms));
            let (result, energy) = deps.probe.measure(call).await;
            let result = result.unwrap_or_else(|_| Err(no_answer())).map(|()| words);
            // The task may have ended meanwhile.
            let _ = jobs.send(Done::Long { action, result, took: begun.elapsed(), energy: energy.ok() }).await;
        });
        Ok(false)
    }

    /// A migration is begun at most once: that it begins is durable before it does. One whose end was not seen, or that failed, is stated as
    /// such and left to a person.
    async fn run_migration(&mut self, action: Action, name: &str, operation: &str) -> Result<bool, Halt> {
        if self.long.is_some() {
            return Ok(false);
        }
        let now = self.deps.clock.now();
        let key = format!("begun/{operation}");
        if self.deps.log.find(&key).await.map_err(Halt::Log)?.is_some() {
            let unseen = format!(
                "{name} was begun before the controller restarted and its end was not seen; it is not run again: check it"
            );
            return self.conclude(action.done(now, 0, unseen), None).await;
        }
        let seen = CommandSeen {
            command: format!("run-migration {name}"),
            command_id: operation.to_owned(),
            reason: "an act of the rollback envelope".to_owned(),
            refusal: None,
        };
        let Some(release) = self.active.as_ref().map(|a| a.release.clone()) else { return Ok(false) };
        let draft = ask::intent(Kind::CommandAccepted, &key, &release, &Actor::controller(), now, &seen)?;
        self.append(draft).await?;
        let (deps, jobs, name, operation) =
            (self.deps.clone(), self.jobs.clone(), name.to_owned(), operation.to_owned());
        self.long = Some(action.clone());
        tokio::spawn(async move {
            let begun = Instant::now();
            let run =
                tokio::time::timeout(MIGRATION + MEASURE_GRACE, deps.migrations.run(&name, &operation, MIGRATION));
            let (result, energy) = deps.probe.measure(run).await;
            let said = match result {
                Ok(Ok(said)) => format!("{name}: {said}"),
                Ok(Err(error)) => format!("failed: {error}"),
                Err(_) => format!("failed: {name} was given up after {} s", MIGRATION.as_secs()),
            };
            // The task may have ended meanwhile.
            let _ =
                jobs.send(Done::Long { action, result: Ok(said), took: begun.elapsed(), energy: energy.ok() }).await;
        });
        Ok(false)
    }

    pub(crate) async fn long_done(
        &mut self,
        action: Action,
        result: Result<String, RuntimeError>,
        took: Duration,
        energy: Option<Energy>,
    ) -> Result<(), Halt> {
        if self.long.as_ref() != Some(&action) {
            return Ok(());
        }
        self.long = None;
        match result {
            Ok(said) => {
                tracing::info!(service = %self.service, took_ms = took.as_millis(), result = said, "done");
                self.look_now().await;
                let completes = matches!(&action, Action::StopVersion { part_of: StopPart::Completion(_), .. });
                if completes && self.active.as_ref().is_some_and(|a| a.status.abort.is_some()) {
                    // Rolled back meanwhile: the release is not complete with this.
                    return Ok(());
                }
                let took_ms = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
                let said = said.chars().take(model::Command::MAX_REASON).collect();
                self.conclude(action.done(self.deps.clock.now(), took_ms, said), energy).await.map(drop)
            }
            Err(error) => self.failed("stop the version", &error),
        }
    }

    fn measure(&mut self, run: String, metric: String, provider: rollout::Provider) {
        let name = (run.clone(), metric.clone());
        if self.measuring.contains(&name) || self.measuring.len() >= MEASURING {
            return;
        }
        self.measuring.push(name);
        let (deps, jobs) = (self.deps.clone(), self.jobs.clone());
        let started = self.deps.clock.now();
        // A task of its own: a source that hangs must not hold up anything.
        tokio::spawn(async move {
            let answer = match deps.metrics.iter().find(|s| s.handles(&provider)) {
                None => Err(MetricError::NotSupported(provider_name(&provider))),
                Some(source) => {
                    let call = source.measure(&provider, started, MEASURE);
                    let late = || {
                        Err(MetricError::Unreachable(
                            "the metric source".to_owned(),
                            "it ignored its time limit".to_owned(),
                        ))
                    };
                    tokio::time::timeout(MEASURE + MEASURE_GRACE, call).await.unwrap_or_else(|_| late())
                }
            };
            // The task may have ended meanwhile.
            let _ = jobs.send(Done::Measured { run, metric, started, answer }).await;
        });
    }

    /// A call to the data plane failed: it is tried again, unless somebody else is in charge.
    pub(crate) fn failed(&mut self, what: &str, error: &RuntimeError) -> Result<(), Halt> {
        if let Some(halt) = self.overtaken(error) {
            return Err(halt);
        }
        let again = match error {
            RuntimeError::Unreachable(_) => {
                self.reachable = false;
                RETRY
            }
            RuntimeError::Refused(_) => RETRY_REFUSED,
            RuntimeError::StaleEpoch { .. } | RuntimeError::UnknownService(_) => RETRY,
        };
        tracing::warn!(service = %self.service, what, %error, "did not work: it is tried again");
        self.retry_at = Some(Instant::now() + again);
        self.look_soon();
        Ok(())
    }

    /// The log takes nothing any more, so nobody will act here: an exposed canary that was to be aborted goes to 0 %, and any other
    /// is left to the data plane's dead man's switch.
    pub(crate) async fn last_resort(&mut self) {
        let Some(active) = &self.active else { return };
        let aborting = active.status.outcome.is_none() && active.status.abort.is_some() && !active.status.swapped;
        if !aborting || active.status.applied == Weight::ZERO {
            return;
        }
        let operation = format!("{}/last-resort", active.release);
        let call = self.deps.runtime.set_weight(&self.service, self.deps.epoch(), &operation, Weight::ZERO);
        match tokio::time::timeout(CALL, call).await {
            Ok(Ok(_)) => tracing::warn!(service = %self.service, "weight set to 0 although it cannot be recorded"),
            failed => tracing::error!(service = %self.service, ?failed, "the canary could not be taken off traffic"),
        }
    }

    fn in_slot(&self, which: Track) -> Option<&model::Digest> {
        let seen = self.seen.as_ref()?;
        let slot = match which {
            Track::Stable => seen.stable.as_ref(),
            Track::Canary => seen.canary.as_ref(),
        };
        slot.map(|v| &v.digest)
    }
}

pub(crate) fn no_answer() -> RuntimeError {
    RuntimeError::Unreachable("no answer in time".to_owned())
}

pub(crate) fn provider_name(provider: &rollout::Provider) -> String {
    match provider {
        rollout::Provider::Builtin(b) => format!("built-in rule {}", b.rule),
        rollout::Provider::Prometheus(_) => "prometheus".to_owned(),
        rollout::Provider::Web(_) => "web".to_owned(),
        rollout::Provider::Other(name) => name.clone(),
    }
}
