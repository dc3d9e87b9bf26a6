//! One service's task: waits for what happens, plans, and hands on. Acting is in `act`, what people ask in `ask`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use judge::sequential::{History, Policy};
use model::{Command, Energy, Epoch, ReleaseId, ServiceId, Tick, Timestamp, Weight};
use receipt_log::{AppendError, Draft};
use rollout::{Action, Observed, ObservedVersion, Transition, VersionRef};
use serde_json::Value;
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    CommandError, Measurement, MetricAnswer, MetricError, ObservedService, RuntimeError, StartError, StartRequest,
    Traffic, Workload,
    boot::{self, Active, Begun, Loaded},
    controller::{Deps, Failure},
    counting::{self, Counting},
    evidence::Judging,
    limits::{CALL, JOBS, LOOK, LOOK_IDLE, LOOK_SOON, NAP, PATIENCE_MS, PEERS, ROUNDS, TICKS_WAITING},
    restore::Restore,
};

/// The two ways into a service's task.
#[derive(Clone)]
pub(crate) struct Inbox {
    pub(crate) urgent: mpsc::Sender<Request>,
    pub(crate) normal: mpsc::Sender<Request>,
    pub(crate) traffic: watch::Receiver<Traffic>,
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
    /// A source was asked for its counters.
    Counted(Box<counting::Answer>),
    /// A version was stopped, or a migration run: what came of it, and how long it took.
    Long { action: Action, result: Result<String, RuntimeError>, took: Duration, energy: Option<Energy> },
    /// The canary slot was cleared on the way back to what the log says.
    Cleared(Result<(), RuntimeError>),
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
    pub(crate) looking: bool,
    pub(crate) looked: Option<Instant>,
    /// True once the data plane has accepted this controller's epoch.
    pub(crate) claimed: bool,
    /// How long nothing was served when the data plane restarted, until a receipt states it.
    pub(crate) gap_ms: Option<i64>,
    /// When a request was last sent on to the new version of the active release.
    pub(crate) last_sent: Option<Timestamp>,
    pub(crate) judging: Option<Judging>,
    /// Stable's recent past, from the seconds in which it had all the traffic.
    pub(crate) past: History,
    pub(crate) past_at: Option<Timestamp>,
    /// Where the judge is fed from, when it is not the data plane.
    pub(crate) counting: Option<Counting>,
    pub(crate) traffic: watch::Sender<Traffic>,
    pub(crate) measuring: Vec<(String, String)>,
    /// Sources that answered measurements of a run: cited with its verdict.
    pub(crate) peers: BTreeMap<String, BTreeSet<String>>,
    /// The long act under way.
    pub(crate) long: Option<Action>,
    /// The data plane is being brought back to what the log says.
    pub(crate) restore: Option<Restore>,
    pub(crate) retry_at: Option<Instant>,
    wake_at: Option<Timestamp>,
    pub(crate) outbox: Vec<Draft>,
    /// The command that is being carried out, for the receipts of its transitions.
    pub(crate) command: Option<u64>,
    pub(crate) keep: mpsc::Sender<(ReleaseId, Tick)>,
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
        let (keep, mut kept) = mpsc::channel::<(ReleaseId, Tick)>(TICKS_WAITING);
        let samples = deps.samples.clone();
        tokio::spawn(async move {
            while let Some((release, tick)) = kept.recv().await {
                if let Err(error) = samples.append_ticks(&release, &[tick]).await {
                    tracing::error!(%release, %error, "a tick was not kept");
                }
            }
        });
        let (jobs, jobs_rx) = mpsc::channel(JOBS);
        let counting = deps.catalogue.counters(&service).map(Counting::new);
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
            past: History::new(Policy::default().history_s),
            past_at: None,
            counting,
            traffic: watch::channel(Traffic::default()).0,
            measuring: Vec::new(),
            peers: BTreeMap::new(),
            long: None,
            restore: None,
            retry_at: None,
            wake_at: None,
            outbox: Vec::new(),
            command: None,
            keep,
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
            self.hold_to_the_log().await?;
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
            self.count_if_due();
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
            ends: v.ends.clone(),
        };
        let builtin = self.judging.as_ref().and_then(|judging| {
            let judgement = judging.judgement()?;
            // Of counters the first two moments after a change of weight bring no evidence either.
            let patience = self.counting.as_ref().map_or(0, |c| 3_000 * i64::from(c.every_s())) + PATIENCE_MS;
            let early = judgement.at?.since(judging.since()) < patience;
            if early && judging.feed().is_some_and(|feed| feed.judge().waits_for_votes()) {
                // The second in which a weight changes brings no evidence, and a block takes some more: no word yet, instead of one that pauses.
                return None;
            }
            Some(rollout::Builtin {
                since: judging.since(),
                at: judgement.at?,
                verdict: judgement.verdict,
                message: judgement.message.clone(),
                certified: judging.is_certified(),
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
        let counted = self.counting.as_ref().and_then(Counting::due);
        let first = [Some(look), planned, counted, self.retry_at].into_iter().flatten().min().unwrap_or(look);
        first.max(now + NAP)
    }

    pub(crate) fn look_every(&self) -> Duration {
        match &self.active {
            Some(active) if active.status.outcome.is_none() => {
                let settled =
                    self.reachable && self.seen.as_ref().is_some_and(|s| s.canary.as_ref().is_none_or(|c| c.ready));
                if settled { LOOK } else { LOOK_SOON }
            }
            _ if self.restore.is_some() => LOOK_SOON,
            _ => LOOK_IDLE,
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
                begun?;
                self.look_now().await;
                Ok(())
            }
            Some(Resume::Begun(begun)) => {
                let now = self.deps.clock.now();
                let Begun { active, unfinished, last_seen } = *begun;
                if active.status.outcome.is_none() {
                    tracing::info!(release = %active.release, step = active.status.step, weight = active.status.applied.percent(), "carrying on from the log");
                    self.rebuild_judging().await?;
                    self.catch_up().await;
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

    async fn done(&mut self, done: Done) -> Result<(), Halt> {
        match done {
            Done::Seen(seen) => {
                self.looking = false;
                self.see(seen).await;
                Ok(())
            }
            Done::Counted(answer) => {
                self.counted(*answer);
                Ok(())
            }
            Done::Measured { run, metric, started, answer } => self.measured(&run, &metric, started, answer).await,
            Done::Long { action, result, took, energy } => self.long_done(action, result, took, energy).await,
            Done::Cleared(result) => self.cleared(result).await,
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
            Ok(answer) => {
                let peers = self.peers.entry(run.to_owned()).or_default();
                if peers.len() < PEERS {
                    peers.insert(answer.source);
                }
                (answer.query, Some(answer.value))
            }
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

    /// A release begins: everything of the one before is forgotten.
    pub(crate) fn reset(&mut self, active: Active) {
        self.active = Some(active);
        self.judging = None;
        self.measuring.clear();
        self.peers.clear();
        self.last_sent = None;
        self.retry_at = None;
        self.wake_at = None;
        self.long = None;
        self.restore = None;
    }
}
