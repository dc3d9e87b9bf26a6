//! What people ask of a service: starts and commands. The intent is durable before anything moves.

use model::{Actor, Command, CommandKind, Environment, Kind, ReleaseId, Timestamp, event::CommandSeen};
use receipt_log::{AppendError, Draft};
use receipts::Payload;
use rollout::{Action, Recipe, Start, Status, VersionRef, recipe::Step};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::{
    CommandError, StartError, StartRequest,
    act::provider_name,
    boot::{self, Active, Unfinished, parse_recipe},
    evidence::rule_of,
    limits::{RECIPE, SPEED},
    task::{Halt, Request, Task},
};

/// Why a request was not answered with its effect.
enum No<E> {
    /// It is refused, or could not be recorded: the task goes on.
    Answer(E),
    /// The task may not act any more.
    Halt(Halt),
}

impl<E> From<Halt> for No<E> {
    fn from(halt: Halt) -> Self {
        Self::Halt(halt)
    }
}

impl Task {
    /// Answers a request when its intent is durable and readers see it.
    pub(crate) async fn asked(&mut self, request: Request) -> Result<(), Halt> {
        match request {
            Request::Command(command, reply) => {
                let mut reply = Some(reply);
                match self.commanded(command, &mut reply).await {
                    Ok(()) => Ok(()),
                    Err(No::Answer(error)) => {
                        answer(&mut reply, Err(error));
                        Ok(())
                    }
                    Err(No::Halt(halt)) => {
                        answer(&mut reply, Err(CommandError::Unavailable(words(&halt))));
                        Err(halt)
                    }
                }
            }
            Request::Start(request, reply) => {
                let mut reply = Some(reply);
                match self.started(*request, &mut reply).await {
                    Ok(()) => Ok(()),
                    Err(No::Answer(error)) => {
                        answer(&mut reply, Err(error));
                        Ok(())
                    }
                    Err(No::Halt(halt)) => {
                        answer(&mut reply, Err(StartError::Unavailable(words(&halt))));
                        Err(halt)
                    }
                }
            }
        }
    }

    async fn commanded(
        &mut self,
        command: Command,
        reply: &mut Reply<Result<u64, CommandError>>,
    ) -> Result<(), No<CommandError>> {
        let unavailable = |e: AppendError| No::Answer(CommandError::Unavailable(e.to_string()));
        let key = command_key(command.id.as_str());
        if let Some(known) = self.known(&key).await.map_err(unavailable)? {
            let seen: Option<CommandSeen> = known.payload.facts().ok();
            answer(
                reply,
                match seen.and_then(|s| s.refusal) {
                    Some(refusal) => Err(CommandError::Refused(refusal)),
                    None => Ok(known.index),
                },
            );
            return Ok(());
        }
        let now = self.deps.clock.now();
        let meter = self.deps.probe.start(energy::CpuClock::Thread).ok();
        let decided = match &self.active {
            Some(active) if active.release == command.release => {
                rollout::decide(&active.recipe, &active.status, command.kind, &command.actor, &command.reason, now)
                    .map_err(|refused| refused.to_string())
            }
            newest => {
                if !self.deps.log.has_release(&command.release).await.map_err(unavailable)? {
                    return Err(No::Answer(CommandError::UnknownRelease(command.release)));
                }
                let newest = newest.as_ref().map_or_else(String::new, |a| format!(": {} is the newest", a.release));
                Err(format!("{} is not possible: {} is over{newest}", command.kind, command.release))
            }
        };
        let planning = meter.and_then(|m| m.finish().ok());
        let mut seen = CommandSeen {
            command: command.kind.to_string(),
            command_id: command.id.as_str().to_owned(),
            reason: command.reason.clone(),
            refusal: None,
        };
        let transitions = match decided {
            Ok(transitions) => transitions,
            Err(refusal) => {
                seen.refusal = Some(refusal.clone());
                let draft = intent(Kind::CommandRefused, &key, &command.release, &command.actor, now, &seen)?;
                self.deps.log.append(draft).await.map_err(unavailable)?;
                return Err(No::Answer(CommandError::Refused(refusal)));
            }
        };
        let draft = intent(Kind::CommandAccepted, &key, &command.release, &command.actor, now, &seen)?;
        let index = match self.deps.log.append(draft).await {
            Ok(index) => index,
            Err(AppendError::Stopped(why)) => return Err(No::Halt(Halt::Log(AppendError::Stopped(why)))),
            Err(error) => return Err(unavailable(error)),
        };
        tracing::info!(release = %command.release, command = %command.kind, actor = %command.actor, index, "command accepted");
        // Whoever is answered may look at once, and finds what came of it. A stop is answered by its intent, which readers
        // fold as an abort under way: a data plane that does not answer must not keep a person waiting.
        if stops(command.kind) {
            answer(reply, Ok(index));
        }
        self.carry_out(command.kind, transitions, index, planning).await?;
        answer(reply, Ok(index));
        Ok(())
    }

    /// Carries out a decided command. For an abort the traffic goes first and the disk second: its intent is durable already.
    async fn carry_out(
        &mut self,
        kind: CommandKind,
        transitions: Vec<rollout::Transition>,
        index: u64,
        mut planning: Option<model::Energy>,
    ) -> Result<(), Halt> {
        self.retry_at = None;
        self.command = Some(index);
        for transition in transitions {
            self.defer(transition, planning.take()).await?;
        }
        self.command = None;
        if stops(kind) {
            let mut energy = None;
            let first = self.plan().and_then(|(actions, took)| {
                energy = took;
                actions.into_iter().find(|a| !matches!(a, Action::Record(_)))
            });
            if let Some(action @ Action::SetWeight { .. }) = first
                && let Some((transition, energy)) = self.set_weight(&action, &mut energy).await?
            {
                self.defer(transition, energy).await?;
            }
        }
        self.flush().await
    }

    /// After a restart: a command that was accepted and not carried out.
    pub(crate) async fn carry_out_again(&mut self, command: Unfinished) -> Result<(), Halt> {
        let Some(active) = &self.active else { return Ok(()) };
        let now = self.deps.clock.now();
        match rollout::decide(&active.recipe, &active.status, command.kind, &command.actor, &command.reason, now) {
            Ok(transitions) => {
                tracing::info!(release = %active.release, command = %command.kind, index = command.index, "carrying out a command accepted before the restart");
                self.carry_out(command.kind, transitions, command.index, None).await
            }
            Err(refused) => {
                // Its effect may have been recorded in part, or time has passed over it.
                tracing::warn!(release = %active.release, command = %command.kind, index = command.index, %refused, "a command accepted before the restart has nothing left to do");
                Ok(())
            }
        }
    }

    async fn started(
        &mut self,
        request: StartRequest,
        reply: &mut Reply<Result<ReleaseId, StartError>>,
    ) -> Result<(), No<StartError>> {
        let no = |e: StartError| No::Answer(e);
        let unavailable = |e: AppendError| No::Answer(StartError::Unavailable(e.to_string()));
        let key = command_key(request.id.as_str());
        if let Some(known) = self.known(&key).await.map_err(unavailable)? {
            let release = known
                .payload
                .release
                .ok_or_else(|| no(StartError::Unavailable("the key was used for something else".to_owned())))?;
            answer(reply, Ok(release));
            return Ok(());
        }
        if let Some(active) = self.active.as_ref().filter(|a| a.status.outcome.is_none()) {
            return Err(no(StartError::Busy(active.release.clone())));
        }
        let stable = self.stable_ref();
        if stable.digest == request.canary.digest {
            return Err(no(StartError::AlreadyStable(request.canary.version.to_string())));
        }
        if self.active.is_some() {
            self.look_now().await;
            if let Some(other) = self.other_stable(&stable) {
                return Err(no(other));
            }
        }
        let recipe = self.usable_recipe(&request).map_err(No::Answer)?;
        if self.workload(&version_ref(&request.canary)).is_none_or(|w| w != request.canary) {
            // After a restart the configuration is asked for it.
            return Err(no(StartError::Unsupported(vec![format!(
                "version {} is not in the configuration",
                request.canary.version
            )])));
        }
        let candidate = version_ref(&request.canary);
        let revisions_back = if recipe.rollback_window.is_some() {
            boot::revisions_back(&self.deps, &self.service, self.number, &candidate)
                .await
                .map_err(|e| no(StartError::Unavailable(e.to_string())))?
        } else {
            None
        };
        let text = self.deps.log.put_segment(request.recipe.into_bytes()).await.map_err(unavailable)?;
        let release =
            ReleaseId::of(&self.service, self.number + 1).map_err(|e| no(StartError::Unavailable(e.to_string())))?;
        let start = Start {
            release: release.clone(),
            service: self.service.clone(),
            canary: candidate,
            stable,
            recipe: text,
            speed: request.speed,
            down_migration: request.down_migration,
            flags_off: Vec::new(),
            revisions_back,
        };
        let now = self.deps.clock.now();
        let seen = CommandSeen {
            command: "start".to_owned(),
            command_id: request.id.as_str().to_owned(),
            reason: request.reason.chars().take(Command::MAX_REASON).collect(),
            refusal: None,
        };
        let mut draft = intent(Kind::CommandAccepted, &key, &release, &request.actor, now, &seen)?;
        for (name, value) in
            [("start", serde_json::to_value(&start)), ("environment", serde_json::to_value(&request.environment))]
        {
            let value = value.map_err(|e| Halt::Unrecordable(e.to_string()))?;
            draft.payload.facts.insert(name.to_owned(), value);
        }
        if !request.requirements.is_empty() {
            let met = serde_json::to_value(&request.requirements).map_err(|e| Halt::Unrecordable(e.to_string()))?;
            draft.payload.facts.insert("requirements".to_owned(), met);
        }
        let index = match self.deps.log.append(draft).await {
            Ok(index) => index,
            Err(AppendError::Stopped(why)) => return Err(No::Halt(Halt::Log(AppendError::Stopped(why)))),
            Err(error) => return Err(unavailable(error)),
        };
        tracing::info!(%release, version = %start.canary.version, actor = %request.actor, index, "release accepted");
        self.number += 1;
        self.command = Some(index);
        let begun = self.begin(release.clone(), request.environment, recipe, start, now).await;
        self.command = None;
        begun?;
        // Not before: whoever is told of a release may ask for it at once, and readers know it by its first receipt.
        answer(reply, Ok(release));
        self.look_now().await;
        Ok(())
    }

    /// A release begins: from its first receipt on, readers know it.
    pub(crate) async fn begin(
        &mut self,
        release: ReleaseId,
        environment: Environment,
        recipe: Recipe,
        start: Start,
        at: Timestamp,
    ) -> Result<(), Halt> {
        let (status, transition) = Status::start(start, at);
        self.reset(Active {
            release,
            environment,
            recipe,
            status,
            seq: 0,
            exposed: 0,
            last_tick: None,
            sums: 0,
            summed: true,
        });
        self.record(transition, None).await
    }

    /// The recipe, if this controller can carry out all of it.
    fn usable_recipe(&self, request: &StartRequest) -> Result<Recipe, StartError> {
        let unusable = |why: String| StartError::Recipe(vec![why]);
        if request.recipe.len() > RECIPE {
            return Err(unusable(format!("it has {} bytes, {RECIPE} are allowed", request.recipe.len())));
        }
        if !(request.speed.is_finite() && request.speed > 0.0 && request.speed <= SPEED) {
            return Err(unusable(format!("the speed {} is not above 0 and at most {SPEED}", request.speed)));
        }
        let recipe = parse_recipe(request.recipe.as_bytes(), request.speed).map_err(StartError::Recipe)?;
        if let Some(name) = &request.down_migration
            && !self.deps.migrations.knows(name)
        {
            return Err(unusable(format!("the down-migration {name:?} is not in the configuration")));
        }
        let mut unsupported: Vec<String> =
            self.deps.runtime.unsupported(&recipe).iter().map(ToString::to_string).collect();
        let steps = recipe.steps.iter().filter_map(|s| match s {
            Step::Analysis(analysis) => Some(analysis),
            _ => None,
        });
        for metric in recipe.background.iter().map(|b| &b.analysis).chain(steps).flat_map(|a| &a.metrics) {
            let known = match &metric.provider {
                rollout::Provider::Builtin(b) => match rule_of(b) {
                    Ok(_) => true,
                    Err(why) => {
                        unsupported.push(format!("metric {}: {why}", metric.name));
                        continue;
                    }
                },
                provider => self.deps.metrics.iter().any(|s| s.handles(provider)),
            };
            if !known {
                unsupported.push(format!(
                    "metric {}: {} is not supported here",
                    metric.name,
                    provider_name(&metric.provider)
                ));
            }
        }
        if unsupported.is_empty() { Ok(recipe) } else { Err(StartError::Unsupported(unsupported)) }
    }

    fn stable_ref(&self) -> VersionRef {
        match &self.active {
            Some(active) => boot::stable_now(&active.status).clone(),
            None => self.configured_ref(),
        }
    }

    /// The receipt under a key.
    async fn known(&self, key: &str) -> Result<Option<receipt_log::LoggedReceipt>, AppendError> {
        match self.deps.log.find(key).await? {
            Some(index) => Ok(self.deps.log.range(index, 1).await?.into_iter().next()),
            None => Ok(None),
        }
    }
}

type Reply<T> = Option<oneshot::Sender<T>>;

fn answer<T>(reply: &mut Reply<T>, value: T) {
    if let Some(reply) = reply.take() {
        // Whoever asked may have gone away; what was accepted is carried out all the same.
        let _ = reply.send(value);
    }
}

/// True for what takes the canary off the traffic: it goes first, and records second.
fn stops(kind: CommandKind) -> bool {
    matches!(kind, CommandKind::Abort | CommandKind::Rollback)
}

pub(crate) fn command_key(id: &str) -> String {
    format!("command/{id}")
}

pub(crate) fn version_ref(workload: &crate::Workload) -> VersionRef {
    VersionRef { version: workload.version.clone(), digest: workload.digest.clone() }
}

pub(crate) fn intent(
    kind: Kind,
    key: &str,
    release: &ReleaseId,
    actor: &Actor,
    at: Timestamp,
    seen: &CommandSeen,
) -> Result<Draft, Halt> {
    let facts = serde_json::to_value(seen).unwrap_or(Value::Null);
    let payload = Payload::new(kind, at, actor.clone(), &facts).map_err(|e| Halt::Unrecordable(e.to_string()))?;
    Ok(Draft { key: key.to_owned(), payload: payload.release(release.clone()) })
}

pub(crate) fn words(halt: &Halt) -> String {
    match halt {
        Halt::Log(error) => error.to_string(),
        Halt::Overtaken(why) | Halt::Unrecordable(why) => why.clone(),
    }
}
