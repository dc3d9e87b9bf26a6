//! One service's task: waits for what happens, plans, and hands on. Acting is in `act`, what people ask in `ask`.

use std::{sync::Arc, time::Duration};

use model::{Command, Energy, Epoch, ReleaseId, ServiceId, Tick, Timestamp, Weight};
use receipt_log::{AppendError, Draft};
use receipts::Payload;
use rollout::{Action, Observed, ObservedVersion, Transition, VersionRef};
use serde_json::Value;
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    CommandError, Measurement, MetricAnswer, MetricError, ObservedService, RuntimeError, StartError, StartRequest,
    Workload,
    boot::{self, Active, Begun, Loaded},
    complete,
    controller::{Deps, Failure},
    evidence::{Evidence, Judging, measurements_segment},
    limits::{BATCH, BATCHES, BUSY_TRIES, BUSY_WAIT, CALL, JOBS, LOOK, LOOK_IDLE, LOOK_SOON, NAP, ROUNDS},
    record::{self, Stated},
};

/// The two ways into a service's task.
#[derive(Clone)]
pub(crate) struct Inbox {
    pub(crate) urgent: mpsc::Sender<Request>,
    pub(crate) normal: mpsc::Sender<Request>,
}

/// What is asked of a service's task.
pub(crate) enum Request {
    Command(Command, oneshot::Sender<Result<u64, CommandError>>),
    Start(Box<StartRequest>, oneshot::Sender<Result<ReleaseId, StartError>>),
}

/// What a side job brings back.
pub(crate) enum Done {
    /// The data plane was looked at.
    Seen(Result<ObservedService, RuntimeError>),
    /// A metric was asked.
    Measured { run: String, metric: String, started: Timestamp, answer: Result<MetricAnswer, MetricError> },
    /// A version was stopped, or a migration run: what came of it, and how long it took.
    Long { action: Action, result: Result<String, RuntimeError>, took: Duration, energy: Option<Energy> },
}

/// Why a task stops acting.
#[derive(Debug)]
pub(crate) enum Halt {
    Log(AppendError),
    Overtaken(String),
    Unrecordable(String),
}

pub(crate) struct Task {
    pub(crate) deps: Arc<Deps>,
    pub(crate) service: ServiceId,
    configured: Workload,
    /// Number of the newest release.
    pub(crate) number: u64,
    pub(crate) active: Option<Active>,
    resume: Option<Resume>,
    /// What the data plane showed last.
    pub(crate) seen: Option<ObservedService>,
    pub(crate) reachable: bool,
    looking: bool,
    looked: Option<Instant>,
    /// True once the data plane has accepted this controller's epoch.
    claimed: bool,
    /// How long nothing was served when the data plane restarted, until a receipt states it.
    gap_ms: Option<i64>,
    /// When a request was last sent on to the new version of the active release.
    pub(crate) last_sent: Option<Timestamp>,
    judging: Option<Judging>,
    pub(crate) measuring: Vec<(String, String)>,
    /// The long act under way.
    pub(crate) long: Option<Action>,
    pub(crate) retry_at: Option<Instant>,
    wake_at: Option<Timestamp>,
    pub(crate) outbox: Vec<Draft>,
    /// The command that is being carried out, for the receipts of its transitions.
    pub(crate) command: Option<u64>,
    batch: Vec<Tick>,
    batches: mpsc::Sender<(ReleaseId, Vec<Tick>)>,
    pub(crate) jobs: mpsc::Sender<Done>,
    jobs_rx: Option<mpsc::Receiver<Done>>,
}

/// What is to be done first after a restart.
enum Resume {
    Begun(Box<Begun>),
    Accepted(Box<boot::UnfinishedStart>),
}

impl Task {
    /// Reads what the log and the data plane know; nothing is acted on yet.
    pub(crate) async fn prepare(deps: Arc<Deps>, service: ServiceId, configured: Workload) -> Result<Self, String> {
        let words = |e: boot::BootError| match std::error::Error::source(&e) {
            Some(source) => format!("{e}: {source}"),
            None => e.to_string(),
        };
        let number = boot::newest(&deps, &service).await.map_err(words)?;
        let mut active = None;
        let mut resume = None;
        if number > 0 {
            let release = ReleaseId::of(&service, number).map_err(|e| e.to_string())?;
            match boot::load(&deps, &release).await.map_err(words)? {
                Loaded::Begun(begun) => {
                    deps.raise_epoch(Epoch(boot::epoch(&begun.active).0 + 1));
                    active = Some(begun.active.clone());
                    resume = Some(Resume::Begun(begun));
                }
                Loaded::Accepted(start) => resume = Some(Resume::Accepted(start)),
            }
        }
        let seen = tokio::time::timeout(CALL, deps.runtime.observe(&service)).await.ok().and_then(Result::ok);
        if let Some(seen) = &seen {
            deps.raise_epoch(Epoch(seen.epoch.0 + 1));
        }
        let (batches, mut batches_rx) = mpsc::channel::<(ReleaseId, Vec<Tick>)>(BATCHES);
        let samples = deps.samples.clone();
        tokio::spawn(async move {
            while let Some((release, ticks)) = batches_rx.recv().await {
                if let Err(error) = samples.append_ticks(&release, &ticks).await {
                    tracing::error!(%release, %error, lost = ticks.len(), "ticks were not kept");
                }
            }
        });
        let (jobs, jobs_rx) = mpsc::channel(JOBS);
        Ok(Self {
            deps,
            service,
            configured,
            number,
            active,
            resume,
            reachable: seen.is_some(),
            seen,
            looking: false,
            looked: None,
            claimed: false,
            gap_ms: None,
            last_sent: None,
            judging: None,
            measuring: Vec::new(),
            long: None,
            retry_at: None,
            wake_at: None,
            outbox: Vec::new(),
            command: None,
            batch: Vec::new(),
            batches,
            jobs,
            jobs_rx: Some(jobs_rx),
        })
    }

    /// Runs until it is stopped or may not act any more.
    pub(crate) async fn run(
        mut self,
        mut urgent: mpsc::Receiver<Request>,
        mut normal: mpsc::Receiver<Request>,
        stop: CancellationToken,
    ) {
        let halt = self.work(&mut urgent, &mut normal, &stop).await.err();
        self.flush_ticks();
        let Some(halt) = halt else { return };
        let failure = match halt {
            Halt::Log(error) => Failure::Log(error.to_string()),
            Halt::Unrecordable(why) => Failure::Log(why),
            Halt::Overtaken(why) => Failure::Overtaken(why),
        };
        tracing::error!(service = %self.service, %failure, "the controller of this service no longer acts");
        if matches!(failure, Failure::Log(_)) {
            self.last_resort().await;
        }
        self.deps.failure.send_replace(Some(failure));
    }

    async fn work(
        &mut self,
        urgent: &mut mpsc::Receiver<Request>,
        normal: &mut mpsc::Receiver<Request>,
        stop: &CancellationToken,
    ) -> Result<(), Halt> {
        let mut ticks = self.deps.runtime.ticks();
        let Some(mut jobs) = self.jobs_rx.take() else { return Ok(()) };
        self.claim().await?;
        self.resume().await?;
        loop {
            self.advance(urgent).await?;
            let wake = self.wake();
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(request) = urgent.recv() => self.asked(request).await?,
                Some(done) = jobs.recv() => self.done(done).await?,
                Some(request) = normal.recv() => self.asked(request).await?,
                tick = ticks.recv() => match tick {
                    Ok((service, tick)) if service == self.service => self.tick(tick),
                    Ok(_) => continue,
                    Err(broadcast::error::RecvError::Lagged(lost)) => {
                        tracing::warn!(service = %self.service, lost, "ticks were lost: the task was too slow for them");
                    }
                    // A runtime that ends takes its ticks along: go on with what can be observed.
                    Err(broadcast::error::RecvError::Closed) => tokio::time::sleep(LOOK_SOON).await,
                },
                () = tokio::time::sleep_until(wake) => {}
            }
            self.look_if_due().await;
        }
    }

    /// Plans and acts until nothing is left to do now. Goes back at once when an abort is waiting.
    async fn advance(&mut self, urgent: &mpsc::Receiver<Request>) -> Result<(), Halt> {
        if self.retry_at.is_some_and(|at| at > Instant::now()) {
            return Ok(());
        }
        self.retry_at = None;
        for round in 0..ROUNDS {
            self.sum_up().await?;
            let Some((actions, mut energy)) = self.plan() else { return Ok(()) };
            let mut moved = false;
            for action in actions {
                if !urgent.is_empty() {
                    return Ok(());
                }
                moved |= self.act(action, &mut energy).await?;
            }
            if !moved {
                return Ok(());
            }
            if round + 1 == ROUNDS {
                tracing::warn!(service = %self.service, rounds = ROUNDS, "planning does not settle: going on at the next event");
                self.retry_at = Some(Instant::now() + LOOK);
            }
        }
        Ok(())
    }

    /// What to do now, and what finding it out took.
    pub(crate) fn plan(&mut self) -> Option<(Vec<Action>, Option<Energy>)> {
        let observed = self.observed();
        let active = self.active.as_ref().filter(|a| a.status.outcome.is_none())?;
        let meter = self.deps.probe.start(energy::CpuClock::Thread).ok();
        let plan = rollout::plan(&active.recipe, &active.status, &observed, self.deps.clock.now());
        let energy = meter.and_then(|m| m.finish().ok());
        self.wake_at = plan.wake_at();
        Some((plan.actions, energy))
    }

    /// What the engine is told of the data plane.
    fn observed(&self) -> Observed {
        let now = self.deps.clock.now();
        let (weight, epoch) =
            self.active.as_ref().map_or((Weight::ZERO, Epoch(0)), |a| (a.status.applied, a.status.epoch));
        let Some(seen) = &self.seen else {
            return Observed { measuring: self.measuring.clone(), ..boot::unseen(now, weight, epoch) };
        };
        let slot = |v: &crate::ObservedVersion| ObservedVersion {
            version: v.version.clone(),
            digest: v.digest.clone(),
            ready: v.ready,
            in_flight: v.in_flight,
        };
        let builtin = self.judging.as_ref().and_then(|judging| {
            let judgement = judging.judgement()?;
            Some(rollout::Builtin {
                since: judging.since(),
                at: judgement.at?,
                verdict: judgement.verdict,
                message: judgement.message.clone(),
            })
        });
        Observed {
            at: seen.at,
            reachable: self.reachable,
            weight: seen.weight,
            epoch: seen.epoch,
            stable: seen.stable.as_ref().map(slot),
            canary: seen.canary.as_ref().map(slot),
            dead_man_at: seen.dead_man_at,
            builtin,
            measuring: self.measuring.clone(),
        }
    }

    fn wake(&self) -> Instant {
        let now = Instant::now();
        let look = self.looked.map_or(now, |at| at + self.look_every());
        let planned = self.wake_at.map(|at| {
            let ms = at.since(self.deps.clock.now());
            now + Duration::from_millis(u64::try_from(ms).unwrap_or(0))
        });
        let first = [Some(look), planned, self.retry_at].into_iter().flatten().min().unwrap_or(look);
        first.max(now + NAP)
    }

    fn look_every(&self) -> Duration {
        match &self.active {
            Some(active) if active.status.outcome.is_none() => {
                let settled =
                    self.reachable && self.seen.as_ref().is_some_and(|s| s.canary.as_ref().is_none_or(|c| c.ready));
                if settled { LOOK } else { LOOK_SOON }
            }
            _ => LOOK_IDLE,
        }
    }

    async fn look_if_due(&mut self) {
        if self.looking || self.looked.is_some_and(|at| Instant::now() < at + self.look_every()) {
            return;
        }
        self.looking = true;
        self.looked = Some(Instant::now());
        let (deps, service, jobs) = (self.deps.clone(), self.service.clone(), self.jobs.clone());
        tokio::spawn(async move {
            // The task may have ended meanwhile.
            let _ = jobs.send(Done::Seen(look(&deps, &service).await)).await;
        });
    }

    /// The next look is due at once.
    pub(crate) fn look_soon(&mut self) {
        self.looked = None;
    }

    /// Looks at once, and waits for what is there.
    pub(crate) async fn look_now(&mut self) {
        let seen = look(&self.deps, &self.service).await;
        self.looked = Some(Instant::now());
        self.see(seen).await;
    }

    async fn see(&mut self, seen: Result<ObservedService, RuntimeError>) {
        match seen {
            Ok(seen) => {
                // A look that was overtaken by a later one tells nothing new.
                if self.seen.as_ref().is_some_and(|known| known.at > seen.at) {
                    return;
                }
                if !self.claimed {
                    self.deps.raise_epoch(Epoch(seen.epoch.0.saturating_add(1)));
                }
                self.note_last_sent(seen.canary.as_ref().map(|c| &c.digest), seen.canary_last_sent);
                self.note_gap(&seen);
                self.reachable = true;
                self.seen = Some(seen);
            }
            Err(RuntimeError::UnknownService(_)) => {
                self.reachable = false;
                self.ensure().await;
            }
            Err(error) => {
                if self.reachable {
                    tracing::warn!(service = %self.service, %error, "the data plane does not answer");
                }
                self.reachable = false;
            }
        }
    }

    /// The data plane must know the service and accept our epoch. At the start a larger epoch is overtaken; later it means that
    /// somebody overtook us.
    async fn claim(&mut self) -> Result<(), Halt> {
        for _ in 0..3 {
            if self.ensure().await {
                break;
            }
        }
        self.look_now().await;
        Ok(())
    }

    /// Answers whether it was done.
    async fn ensure(&mut self) -> bool {
        let stable = match self.stable() {
            Some(stable) => stable,
            None => {
                tracing::error!(service = %self.service, "the stable version is not in the configuration, so it cannot be started");
                return false;
            }
        };
        let epoch = self.deps.epoch();
        let call = self.deps.runtime.ensure(&self.service, epoch, &stable);
        match tokio::time::timeout(CALL, call).await {
            Ok(Ok(())) => {
                self.claimed = true;
                true
            }
            Ok(Err(RuntimeError::StaleEpoch { theirs, .. })) if !self.claimed => {
                self.deps.raise_epoch(Epoch(theirs.0.saturating_add(1)));
                false
            }
            Ok(Err(error)) => {
                tracing::warn!(service = %self.service, %error, "the service could not be set up");
                false
            }
            Err(_) => false,
        }
    }

    /// How the version is run that is stable now.
    pub(crate) fn stable(&self) -> Option<Workload> {
        match &self.active {
            Some(active) => self.workload(boot::stable_now(&active.status)),
            None => Some(self.configured.clone()),
        }
    }

    /// The version that is stable where the log knows none.
    pub(crate) fn configured_ref(&self) -> VersionRef {
        crate::ask::version_ref(&self.configured)
    }

    /// How a version is run, by the configuration.
    pub(crate) fn workload(&self, version: &VersionRef) -> Option<Workload> {
        if self.configured.digest == version.digest {
            return Some(self.configured.clone());
        }
        self.deps.catalogue.workload(&self.service, &version.version, &version.digest)
    }

    /// True when a call failed because somebody else is in charge.
    pub(crate) fn overtaken(&self, error: &RuntimeError) -> Option<Halt> {
        match error {
            RuntimeError::StaleEpoch { theirs, .. } if *theirs > self.deps.epoch() => {
                Some(Halt::Overtaken(error.to_string()))
            }
            _ => None,
        }
    }

    /// After a restart: what was accepted is carried out, what was lost is noticed.
    async fn resume(&mut self) -> Result<(), Halt> {
        match self.resume.take() {
            None => Ok(()),
            Some(Resume::Accepted(start)) => {
                let start = *start;
                self.command = Some(start.index);
                let begun = self.begin(start.release, start.environment, start.recipe, start.start, start.at).await;
                self.command = None;
                begun
            }
            Some(Resume::Begun(begun)) => {
                let now = self.deps.clock.now();
                let Begun { active, unfinished, last_seen } = *begun;
                if active.status.outcome.is_none() {
                    tracing::info!(release = %active.release, step = active.status.step, weight = active.status.applied.percent(), "carrying on from the log");
                    for transition in rollout::controller_back(&active.recipe, &active.status, last_seen, now) {
                        self.record(transition, None).await?;
                    }
                }
                for command in unfinished {
                    self.carry_out_again(command).await?;
                }
                Ok(())
            }
        }
    }

    fn tick(&mut self, tick: Tick) {
        let Some(active) = self.active.as_mut().filter(|a| a.status.outcome.is_none()) else { return };
        active.exposed = active.exposed.saturating_add(boot::served(&tick, active.status.swapped));
        let release = active.release.clone();
        if !active.status.swapped && tick.canary.is_some() {
            self.last_sent = self.last_sent.max(tick.canary_last_sent);
        }
        if active.status.builtin(&active.recipe).is_some() {
            let since = active.status.applied_at;
            let judging = self.judging.get_or_insert_with(|| Judging::new(self.deps.rule.clone(), since));
            if judging.since() != since {
                judging.begin(since);
            }
            let meter = self.deps.probe.start(energy::CpuClock::Thread).ok();
            judging.push(&tick);
            if let Some(energy) = meter.and_then(|m| m.finish().ok()) {
                judging.took(energy);
            }
        }
        let mut shown = tick.clone();
        shown.stable.histogram.clear();
        if let Some(canary) = &mut shown.canary {
            canary.histogram.clear();
        }
        // Nobody may be watching.
        let _ = self.deps.live.send((release, shown));
        self.batch.push(tick);
        if self.batch.len() >= BATCH {
            self.flush_ticks();
        }
    }

    pub(crate) fn flush_ticks(&mut self) {
        let Some(active) = &self.active else { return };
        if self.batch.is_empty() {
            return;
        }
        let ticks = std::mem::take(&mut self.batch);
        if let Err(error) = self.batches.try_send((active.release.clone(), ticks)) {
            tracing::error!(release = %active.release, %error, "ticks were not kept: the sample store is too slow");
        }
    }

    /// The data plane had been gone. At the first look an old gap looks like a new one: it counts when the weight is not what was set.
    fn note_gap(&mut self, seen: &ObservedService) {
        let Some(gap) = seen.last_gap_ms else { return };
        let is_new = match &self.seen {
            Some(known) => known.last_gap_ms != Some(gap),
            None => self.active.as_ref().is_some_and(|a| a.status.outcome.is_none() && a.status.applied != seen.weight),
        };
        if is_new {
            tracing::warn!(service = %self.service, gap_ms = gap, "the data plane had been gone");
            self.gap_ms = Some(gap);
        }
    }

    fn note_last_sent(&mut self, canary: Option<&model::Digest>, at: Option<Timestamp>) {
        let Some(active) = &self.active else { return };
        if !active.status.swapped && canary == Some(&active.status.start.canary.digest) {
            self.last_sent = self.last_sent.max(at);
        }
    }

    async fn done(&mut self, done: Done) -> Result<(), Halt> {
        match done {
            Done::Seen(seen) => {
                self.looking = false;
                self.see(seen).await;
                Ok(())
            }
            Done::Measured { run, metric, started, answer } => self.measured(&run, &metric, started, answer).await,
            Done::Long { action, result, took, energy } => self.long_done(action, result, took, energy).await,
        }
    }

    async fn measured(
        &mut self,
        run: &str,
        metric: &str,
        started: Timestamp,
        answer: Result<MetricAnswer, MetricError>,
    ) -> Result<(), Halt> {
        self.measuring.retain(|(r, m)| r != run || m != metric);
        let Some(active) = &self.active else { return Ok(()) };
        let now = self.deps.clock.now();
        let error = answer.as_ref().err().map(ToString::to_string);
        let value = match &answer {
            Ok(answer) => Ok(&answer.value),
            Err(_) => Err(error.as_deref().unwrap_or_default()),
        };
        let Some(transition) =
            rollout::assess::measured(&active.recipe, &active.status, run, metric, started, value, now)
        else {
            return Ok(());
        };
        let (query, value) = match answer {
            Ok(answer) => (answer.query, Some(answer.value)),
            Err(_) => (String::new(), None),
        };
        self.keep_measurement(&transition, query, value).await;
        if let Some(active) = &mut self.active {
            active.status.apply(&transition);
        }
        Ok(())
    }

    /// Keeps a measurement; one that cannot be kept still counts now, and is missed by a controller that comes after.
    pub(crate) async fn keep_measurement(&mut self, transition: &Transition, query: String, value: Option<Value>) {
        let (Some(active), Transition::Measured { at, started, run, metric, verdict, message }) =
            (&self.active, transition)
        else {
            return;
        };
        let measurement = Measurement {
            run: run.clone(),
            metric: metric.clone(),
            started: *started,
            finished: *at,
            verdict: *verdict,
            query,
            value,
            message: message.clone(),
        };
        if let Err(error) = self.deps.samples.append_measurement(&active.release, &measurement).await {
            tracing::error!(release = %active.release, %error, "a measurement was not kept");
        }
    }

    /// Applies a transition and appends its receipt.
    pub(crate) async fn record(&mut self, transition: Transition, energy: Option<Energy>) -> Result<(), Halt> {
        self.defer(transition, energy).await?;
        self.flush().await
    }

    /// Applies a transition and keeps its receipt for [`Task::flush`]: only for what must not wait for the disk.
    pub(crate) async fn defer(&mut self, transition: Transition, energy: Option<Energy>) -> Result<(), Halt> {
        let mut energy = energy;
        let evidence = match &transition {
            Transition::AnalysisEnded { run, .. } => {
                energy = energy::sum(energy.iter().chain(self.judging.as_mut().and_then(Judging::take_energy).iter()));
                self.evidence_of(run).await
            }
            _ => None,
        };
        let gap_ms = match &transition {
            Transition::WeightApplied { .. } | Transition::WeightDrifted { .. } => self.gap_ms.take(),
            _ => None,
        };
        let Some(active) = &mut self.active else { return Ok(()) };
        let before = active.status.clone();
        active.status.apply(&transition);
        if matches!(transition, Transition::Completed { .. }) {
            active.summed = false;
        }
        let context = record::Context {
            recipe: &active.recipe,
            environment: &active.environment,
            runtime: self.deps.runtime.name(),
            before: &before,
            after: &active.status,
            exposed: active.exposed,
            command: self.command,
            last_sent: self.last_sent,
            gap_ms,
            evidence: evidence.as_ref(),
        };
        let stated = record::stated(&transition, &context).map_err(|e| Halt::Unrecordable(e.to_string()))?;
        let Some(stated) = stated else { return Ok(()) };
        let key = format!("{}/{:04}", active.release, active.seq);
        active.seq += 1;
        let time = transition.at();
        self.post(key, time, stated, energy)
    }

    /// Puts a receipt of this release into the outbox.
    pub(crate) fn post(
        &mut self,
        key: String,
        time: Timestamp,
        stated: Stated,
        energy: Option<Energy>,
    ) -> Result<(), Halt> {
        let Stated { kind, actor, cite, facts } = stated;
        let mut payload = Payload::new(kind, time, actor, &Value::Object(facts))
            .map_err(|e| Halt::Unrecordable(e.to_string()))?
            .cite(cite);
        if let Some(active) = &self.active {
            payload = payload.release(active.release.clone());
        }
        if let Some(energy) = energy {
            payload = payload.energy(energy);
        }
        self.outbox.push(Draft { key, payload });
        Ok(())
    }

    /// Appends what is in the outbox, in order.
    pub(crate) async fn flush(&mut self) -> Result<(), Halt> {
        for draft in std::mem::take(&mut self.outbox) {
            self.append(draft).await?;
        }
        Ok(())
    }

    pub(crate) async fn append(&self, draft: Draft) -> Result<u64, Halt> {
        let mut tries = 0;
        loop {
            match self.deps.log.append(draft.clone()).await {
                Ok(index) => return Ok(index),
                Err(AppendError::Busy(_)) if tries < BUSY_TRIES => {
                    tries += 1;
                    tokio::time::sleep(BUSY_WAIT).await;
                }
                // Keys are counted: somebody else recorded something under ours.
                Err(AppendError::KeyReused(key)) => {
                    return Err(Halt::Overtaken(format!("the receipt {key} was recorded by somebody else")));
                }
                Err(error) => return Err(Halt::Log(error)),
            }
        }
    }

    /// What a run's verdict was computed from: the judge's ticks, or its measurements.
    async fn evidence_of(&self, run: &str) -> Option<Evidence> {
        let active = self.active.as_ref()?;
        if active.status.builtin(&active.recipe).is_some_and(|(builtin, ..)| builtin == run) {
            return self.judge_evidence().await;
        }
        let scope =
            [&active.status.background, &active.status.step_run].into_iter().flatten().find(|r| r.run == run)?.scope;
        let mut measurements = match self.deps.samples.measurements(&active.release).await {
            Ok(measurements) => measurements,
            Err(error) => {
                tracing::error!(release = %active.release, %error, "measurements could not be read: the verdict's receipt names none");
                Vec::new()
            }
        };
        measurements.retain(|m| m.run == run);
        let segment = match measurements_segment(&measurements) {
            Some(bytes) => self.put_segment(bytes).await,
            None => None,
        };
        Some(Evidence {
            rule: record::rule(record::analysis(&active.recipe, scope)),
            measurements: measurements.len() as u64,
            segment,
            from: measurements.first().map(|m| m.started),
            to: measurements.last().map(|m| m.finished),
            ..Evidence::default()
        })
    }

    async fn judge_evidence(&self) -> Option<Evidence> {
        let judging = self.judging.as_ref()?;
        let segment = match judging.segment() {
            Some(bytes) => self.put_segment(bytes).await,
            None => None,
        };
        judging.evidence(segment)
    }

    async fn put_segment(&self, bytes: Vec<u8>) -> Option<model::Digest> {
        match self.deps.log.put_segment(bytes).await {
            Ok(digest) => Some(digest),
            Err(error) => {
                tracing::error!(service = %self.service, %error, "a segment was not kept: the receipt names none");
                None
            }
        }
    }

    /// States how the built-in judge saw a step that is about to end with a larger weight.
    pub(crate) async fn state_judgement(&mut self) -> Result<(), Halt> {
        let Some(active) = &self.active else { return Ok(()) };
        let judged =
            self.judging.as_ref().filter(|j| j.since() == active.status.applied_at).and_then(Judging::judgement);
        let Some(judgement) = judged else { return Ok(()) };
        if active.status.applied == Weight::ZERO || active.status.swapped {
            return Ok(());
        }
        let (verdict, message, at) =
            (judgement.verdict, judgement.message.clone(), judgement.at.unwrap_or_else(|| self.deps.clock.now()));
        let (step, exposed) = (active.status.step, active.exposed);
        let key = format!("{}/judged/{}", active.release, active.status.weight_changes);
        // After a crash the same step is judged on other ticks: what was stated first stays.
        if matches!(self.deps.log.find(&key).await, Ok(Some(_))) {
            return Ok(());
        }
        let Some(evidence) = self.judge_evidence().await else { return Ok(()) };
        let energy = self.judging.as_mut().and_then(Judging::take_energy);
        let stated = record::judged(step, verdict, message, exposed, &evidence)
            .map_err(|e| Halt::Unrecordable(e.to_string()))?;
        self.post(key, at, stated, energy)?;
        self.flush().await
    }

    /// A release that has ended gets its sum.
    async fn sum_up(&mut self) -> Result<(), Halt> {
        let Some(active) = self.active.as_ref().filter(|a| !a.summed) else { return Ok(()) };
        let Some(outcome) = active.status.outcome else { return Ok(()) };
        self.flush_ticks();
        let Some(active) = &self.active else { return Ok(()) };
        let receipts = self.deps.log.of_release(&active.release).await.map_err(Halt::Log)?;
        let (facts, energy) = complete::completed(outcome, &receipts);
        let key = format!("{}/sum/{}", active.release, active.sums);
        let Value::Object(facts) = serde_json::to_value(&facts).map_err(|e| Halt::Unrecordable(e.to_string()))? else {
            return Ok(());
        };
        let stated = Stated {
            kind: model::Kind::ReleaseCompleted,
            actor: model::Actor::controller(),
            cite: vec!["RFC 6962".to_owned()],
            facts,
        };
        let now = self.deps.clock.now();
        tracing::info!(release = %active.release, outcome = outcome.as_str(), "release ended");
        self.post(key, now, stated, energy)?;
        self.flush().await?;
        if let Some(active) = &mut self.active {
            active.sums += 1;
            active.summed = true;
        }
        self.judging = None;
        self.measuring.clear();
        Ok(())
    }

    /// A release begins: everything of the one before is forgotten.
    pub(crate) fn reset(&mut self, active: Active) {
        self.active = Some(active);
        self.judging = None;
        self.measuring.clear();
        self.last_sent = None;
        self.retry_at = None;
        self.wake_at = None;
        self.long = None;
        self.batch.clear();
    }
}

async fn look(deps: &Deps, service: &ServiceId) -> Result<ObservedService, RuntimeError> {
    let limit = || RuntimeError::Unreachable(format!("no answer within {} s", CALL.as_secs()));
    tokio::time::timeout(CALL, deps.runtime.observe(service)).await.unwrap_or_else(|_| Err(limit()))
}
