//! What the log knows of a service: its newest release, folded.

use model::{
    Actor, CommandKind, Environment, Epoch, Kind, ReleaseId, ServiceId, Timestamp, Weight,
    event::{CanaryStarted, CommandSeen, Outcome},
};
use receipt_log::{AppendError, LoggedReceipt};
use rollout::{Recipe, Start, Status, Transition, VersionRef};

use crate::{
    controller::Deps,
    limits::{RELEASES_BACK, TICKS_BACK},
    record,
};

/// A release as this controller carries it.
#[derive(Debug, Clone)]
pub(crate) struct Active {
    pub(crate) release: ReleaseId,
    pub(crate) environment: Environment,
    pub(crate) recipe: Recipe,
    pub(crate) status: Status,
    /// Transitions recorded so far: the next one's idempotency key.
    pub(crate) seq: u64,
    /// Requests that the new version has served.
    pub(crate) exposed: u64,
    /// End of the last tick counted.
    pub(crate) last_tick: Option<Timestamp>,
    /// Sums (`release.completed`) recorded so far.
    pub(crate) sums: u64,
    /// False from a completion until its sum is recorded.
    pub(crate) summed: bool,
}

/// A command that was accepted and not carried out.
#[derive(Debug, Clone)]
pub(crate) struct Unfinished {
    pub(crate) index: u64,
    pub(crate) kind: CommandKind,
    pub(crate) actor: Actor,
    pub(crate) reason: String,
}

/// A start that was accepted and not begun.
#[derive(Debug, Clone)]
pub(crate) struct UnfinishedStart {
    pub(crate) index: u64,
    pub(crate) at: Timestamp,
    pub(crate) release: ReleaseId,
    pub(crate) environment: Environment,
    pub(crate) start: Start,
    pub(crate) recipe: Recipe,
}

/// What the log knows of a release.
#[derive(Debug)]
pub(crate) enum Loaded {
    /// It has begun.
    Begun(Box<Begun>),
    /// It was accepted and not begun.
    Accepted(Box<UnfinishedStart>),
}

#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) active: Active,
    pub(crate) unfinished: Vec<Unfinished>,
    /// The last moment at which a controller is known to have been there.
    pub(crate) last_seen: Timestamp,
}

/// Why a release cannot be carried on from the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BootError {
    #[error(transparent)]
    Log(#[from] AppendError),
    #[error(transparent)]
    Samples(#[from] crate::SampleError),
    #[error("receipt {index} is not readable: {why}")]
    Receipt { index: u64, why: String },
    #[error("the recipe {0} of the release is not in the log")]
    NoRecipe(model::Digest),
    #[error("the recipe of the release is not usable any more: {0}")]
    Recipe(String),
    #[error("the release has no readable beginning")]
    NoBeginning,
    #[error("the release's transitions make no status")]
    Fold(#[from] rollout::FoldError),
}

/// Number of the service's newest release; 0 when there is none. Releases are numbered without gaps, so it is found by doubling
/// and halving, not by reading the log: no other release is read, so that what is damaged in one holds up none of the others.
pub(crate) async fn newest(deps: &Deps, service: &ServiceId) -> Result<u64, BootError> {
    let exists = async |n: u64| -> Result<bool, BootError> {
        let Ok(id) = ReleaseId::of(service, n) else { return Ok(false) };
        Ok(deps.log.has_release(&id).await?)
    };
    let mut high = 1;
    while exists(high).await? {
        high *= 2;
    }
    let mut low = high / 2;
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if exists(middle).await? { low = middle } else { high = middle }
    }
    Ok(low)
}

/// The release from its receipts and measurements.
pub(crate) async fn load(deps: &Deps, release: &ReleaseId) -> Result<Loaded, BootError> {
    let receipts = deps.log.of_release(release).await?;
    let mut recorded = Vec::new();
    for receipt in &receipts {
        if let Some(transition) = record::transition(receipt) {
            let transition = transition.map_err(|e| unreadable(receipt, &e))?;
            recorded.push((receipt, transition));
        }
    }
    let Some((first, Transition::Started { start, .. })) = recorded.first() else {
        return accepted(deps, release, &receipts).await;
    };
    let begun: CanaryStarted = first.payload.facts().map_err(|e| unreadable(first, &e))?;
    let recipe = recipe(deps, start).await?;

    let measurements = deps.samples.measurements(release).await?;
    let mut merged: Vec<Transition> = Vec::new();
    let mut waiting = measurements.into_iter().peekable();
    for (_, transition) in &recorded {
        while let Some(m) = waiting.next_if(|m| m.finished < transition.at()) {
            merged.push(measured(m));
        }
        merged.push(transition.clone());
    }
    merged.extend(waiting.map(measured));
    let status = Status::fold(&merged)?;

    let last_receipt = receipts.last().map_or(status.started_at, |r| r.payload.time);
    // A release that has ended counts no more.
    let ticks = match status.outcome {
        None => deps.samples.ticks(release, status.started_at, TICKS_BACK).await?,
        Some(_) => Vec::new(),
    };
    let last_seen = ticks.last().map_or(last_receipt, |t| t.at.max(last_receipt));
    let counted = receipts.iter().rev().find_map(|r| r.payload.facts.get("exposed")?.as_u64()).unwrap_or(0);
    let served: u64 = ticks.iter().map(|t| served(t, swapped_at(&recorded, t.at))).sum();

    let sums = receipts.iter().filter(|r| r.payload.kind == Kind::ReleaseCompleted).count() as u64;
    let completions = recorded.iter().filter(|(_, t)| matches!(t, Transition::Completed { .. })).count() as u64;
    let active = Active {
        release: release.clone(),
        environment: begun.environment,
        recipe,
        status,
        seq: recorded.len() as u64,
        exposed: served.max(counted),
        last_tick: ticks.last().map(|t| t.at),
        sums,
        summed: sums >= completions,
    };
    Ok(Loaded::Begun(Box::new(Begun { active, unfinished: unfinished(&receipts), last_seen })))
}

/// Which version is stable after a release, whatever the state it is in.
pub(crate) fn stable_now(status: &Status) -> &VersionRef {
    if status.swapped { &status.start.canary } else { &status.start.stable }
}

/// Requests that the new version served in a tick.
pub(crate) fn served(tick: &model::Tick, swapped: bool) -> u64 {
    if swapped { tick.stable.n } else { tick.canary.as_ref().map_or(0, |c| c.n) }
}

/// Largest epoch that a release's receipts name.
pub(crate) fn epoch(active: &Active) -> Epoch {
    active.status.epoch
}

/// How many releases ago `candidate` was stable (1 = the last before the present one), among the latest of the service.
pub(crate) async fn revisions_back(
    deps: &Deps,
    service: &ServiceId,
    newest: u64,
    candidate: &VersionRef,
) -> Result<Option<u32>, BootError> {
    let mut back = 0;
    for n in (newest.saturating_sub(RELEASES_BACK)..=newest).rev() {
        let Ok(id) = ReleaseId::of(service, n) else { continue };
        let receipts = match deps.log.of_release(&id).await {
            Ok(receipts) => receipts,
            // Over a doubt about the past every step is taken.
            Err(error) => {
                tracing::error!(release = %id, %error, "an earlier release could not be read: whether a version was stable a short while ago is not known");
                return Ok(None);
            }
        };
        let promoted = receipts
            .iter()
            .rev()
            .find_map(|r| match record::transition(r)?.ok()? {
                Transition::Completed { outcome, .. } => Some(outcome),
                _ => None,
            })
            .is_some_and(|o| o == Outcome::Promoted);
        let started = receipts
            .iter()
            .find(|r| r.payload.kind == Kind::CanaryStarted)
            .and_then(|r| r.payload.facts::<CanaryStarted>().ok());
        if let (true, Some(started)) = (promoted, started) {
            back += 1;
            if started.stable_digest == candidate.digest {
                return Ok(Some(back));
            }
        }
    }
    Ok(None)
}

async fn accepted(deps: &Deps, release: &ReleaseId, receipts: &[LoggedReceipt]) -> Result<Loaded, BootError> {
    let receipt = receipts.iter().find(|r| r.payload.kind == Kind::CommandAccepted).ok_or(BootError::NoBeginning)?;
    let field = |name: &str| receipt.payload.facts.get(name).cloned().unwrap_or_default();
    let start: Start = serde_json::from_value(field("start")).map_err(|e| unreadable(receipt, &e))?;
    let environment: Environment = serde_json::from_value(field("environment")).map_err(|e| unreadable(receipt, &e))?;
    let recipe = recipe(deps, &start).await?;
    Ok(Loaded::Accepted(Box::new(UnfinishedStart {
        index: receipt.index,
        at: receipt.payload.time,
        release: release.clone(),
        environment,
        start,
        recipe,
    })))
}

async fn recipe(deps: &Deps, start: &Start) -> Result<Recipe, BootError> {
    let bytes = deps.log.segment(&start.recipe).await?.ok_or_else(|| BootError::NoRecipe(start.recipe.clone()))?;
    parse_recipe(&bytes, start.speed).map_err(|why| BootError::Recipe(why.join("; ")))
}

/// The recipe, or its errors.
pub(crate) fn parse_recipe(bytes: &[u8], speed: f64) -> Result<Recipe, Vec<String>> {
    match Recipe::load(&[("recipe", bytes)]) {
        Ok(recipe) => Ok(recipe.speed(speed)),
        Err(report) => Err(report
            .findings
            .iter()
            .filter(|f| f.severity == rollout::Severity::Error)
            .map(|f| {
                let place = if f.line > 0 { format!("line {}, column {}: ", f.line, f.column) } else { String::new() };
                let field = if f.field.is_empty() { String::new() } else { format!("{}: ", f.field) };
                format!("{place}{field}{}", f.message)
            })
            .collect()),
    }
}

/// Commands whose receipt is followed by none that carries them out.
fn unfinished(receipts: &[LoggedReceipt]) -> Vec<Unfinished> {
    let carried: Vec<u64> = receipts.iter().filter_map(|r| r.payload.facts.get("command")?.as_u64()).collect();
    receipts
        .iter()
        .filter(|r| r.payload.kind == Kind::CommandAccepted && !carried.contains(&r.index))
        .filter_map(|r| {
            let seen: CommandSeen = r.payload.facts().ok()?;
            // `start` is no command of a release that has begun.
            let kind = seen.command.parse().ok()?;
            Some(Unfinished { index: r.index, kind, actor: r.payload.actor.clone(), reason: seen.reason })
        })
        .collect()
}

fn measured(m: crate::Measurement) -> Transition {
    Transition::Measured {
        at: m.finished,
        started: m.started,
        run: m.run,
        metric: m.metric,
        verdict: m.verdict,
        message: m.message,
    }
}

fn swapped_at(recorded: &[(&LoggedReceipt, Transition)], at: Timestamp) -> bool {
    recorded
        .iter()
        .rev()
        .find_map(|(_, t)| match t {
            Transition::SlotsPromoted { at: when, back, .. } if *when <= at => Some(!back),
            _ => None,
        })
        .unwrap_or(false)
}

fn unreadable(receipt: &LoggedReceipt, why: &impl std::fmt::Display) -> BootError {
    BootError::Receipt { index: receipt.index, why: why.to_string() }
}

/// What the data plane is taken to show before it was asked: what the log says last, out of reach.
pub(crate) fn unseen(at: Timestamp, weight: Weight, epoch: Epoch) -> rollout::Observed {
    rollout::Observed {
        at,
        reachable: false,
        weight,
        epoch,
        stable: None,
        canary: None,
        dead_man_at: None,
        builtin: None,
        measuring: Vec::new(),
    }
}
