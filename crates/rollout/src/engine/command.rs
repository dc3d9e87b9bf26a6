//! A person's commands: what they change, or why they are refused.
//!
//! Argo's semantics, with two deliberate differences: abort wins over promote-full, and a refusal says why.

use model::{Actor, CommandKind, Timestamp, event::Outcome};

use super::{
    envelope::Act,
    status::{PauseReason, Status},
    transition::{StepEnd, Transition},
};
use crate::recipe::Recipe;

/// Why a command is not carried out. Shown to people; also the text of a disabled button.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{command} is not possible: {reason}")]
pub struct CommandRefused {
    /// The command.
    pub command: CommandKind,
    /// Why not.
    pub reason: String,
}

/// Whether a command is possible now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Availability {
    /// The command.
    pub command: CommandKind,
    /// `Err` holds the reason why it is not possible.
    pub possible: Result<(), String>,
}

/// What a command changes now. Pure: nothing has happened until the transitions are recorded and applied.
///
/// - **promote** ends a hold and the pause, and completes the step; without a pause it skips the current step. When only the background
///   analysis is inconclusive it clears that and the analysis begins anew.
/// - **promote-full** skips steps, pauses and analysis. 100 % still waits for the rollback envelope.
/// - **pause** holds at the present weight; analysis goes on and may abort.
/// - **resume** ends a hold; without one it ends the pause. What was inconclusive is measured anew, and its step begins again.
/// - **abort** in every state until the release has ended. After promotion it is a rollback.
/// - **retry** begins an aborted release again at step 0.
/// - **rollback** returns a promoted release to the version before.
pub fn decide(
    recipe: &Recipe,
    status: &Status,
    command: CommandKind,
    actor: &Actor,
    reason: &str,
    now: Timestamp,
) -> Result<Vec<Transition>, CommandRefused> {
    possible(recipe, status, command).map_err(|reason| CommandRefused { command, reason })?;
    let (at, step) = (now, status.step);
    let who = || Some(actor.clone());
    let (actor, reason) = (actor.clone(), reason.to_owned());
    let released = status.held.is_some().then(|| Transition::Released { at, actor: actor.clone() });
    Ok(match command {
        CommandKind::Promote => {
            let inconclusive = status.is_paused_for(PauseReason::InconclusiveAnalysisRun);
            let advance = status.is_paused_for(PauseReason::CanaryPauseStep)
                || (inconclusive
                    && status.step_run.as_ref().is_some_and(|r| r.verdict == Some(model::Verdict::Inconclusive)));
            let go_on = if status.pauses.is_empty() {
                Transition::StepCompleted { at, step, end: StepEnd::Skipped, actor: who() }
            } else {
                Transition::PauseEnded { at, step, advance, actor: who() }
            };
            // Held after the last step there is nothing to skip.
            let go_on = (step < recipe.len() || !status.pauses.is_empty()).then_some(go_on);
            released.into_iter().chain(go_on).collect()
        }
        CommandKind::PromoteFull => vec![Transition::PromotedFull { at, actor, reason }],
        CommandKind::Pause => vec![Transition::Held { at, actor, reason, weight: status.applied }],
        CommandKind::Resume => match released {
            Some(released) => vec![released],
            None => {
                let advance = !status.is_paused_for(PauseReason::InconclusiveAnalysisRun);
                vec![Transition::PauseEnded { at, step, advance, actor: who() }]
            }
        },
        CommandKind::Abort | CommandKind::Rollback => {
            let weight = status.exposure();
            vec![Transition::Aborted { at, breach_at: at, reason, automatic: false, actor, weight }]
        }
        CommandKind::Retry => vec![Transition::Retried { at, actor, reason }],
    })
}

/// Every command in the order of [`CommandKind::ALL`], with whether it is possible now: what buttons show.
pub fn available_commands(recipe: &Recipe, status: &Status) -> Vec<Availability> {
    CommandKind::ALL
        .into_iter()
        .map(|command| Availability { command, possible: possible(recipe, status, command) })
        .collect()
}

/// What a controller that comes back after a crash or restart records first: nothing, or an abort when the recipe says so and the
/// release was without a controller for longer than its dead-man time. `last_seen` is the last moment at which one is known to have been there.
pub fn controller_back(recipe: &Recipe, status: &Status, last_seen: Timestamp, now: Timestamp) -> Vec<Transition> {
    let gone = now.since(last_seen);
    if !recipe.dead_man.abort || !status.is_rolling() || gone <= recipe.dead_man.after_ms {
        return Vec::new();
    }
    let (gone, limit) = (crate::recipe::shown_ms(gone), crate::recipe::shown_ms(recipe.dead_man.after_ms));
    vec![Transition::Aborted {
        at: now,
        breach_at: now,
        reason: format!("nothing controlled the release for {gone}, and its recipe allows {limit} (the dead-man time)"),
        automatic: true,
        actor: Actor::controller(),
        weight: status.exposure(),
    }]
}

fn possible(recipe: &Recipe, status: &Status, command: CommandKind) -> Result<(), String> {
    let no = |why: &str| Err(why.to_owned());
    match command {
        CommandKind::Abort if status.abort.is_some() => return no("it is aborted already"),
        CommandKind::Abort if status.ended_at.is_some() => return no("the release has ended: roll it back instead"),
        CommandKind::Abort => return Ok(()),
        CommandKind::Rollback => return may_roll_back(status),
        CommandKind::Retry => return may_retry(status),
        _ => {}
    }
    if status.abort.is_some() {
        return no("the release is aborted: retry it, or start another");
    }
    if status.swapped || status.ended_at.is_some() {
        return no("the new version is stable already");
    }
    let all_done = status.step >= recipe.len();
    match command {
        CommandKind::Promote if status.promote_full => no("the rest of the steps is skipped already"),
        CommandKind::Promote if all_done && status.held.is_none() && status.pauses.is_empty() => {
            no("all steps are done: it is being promoted")
        }
        CommandKind::PromoteFull if status.promote_full => no("the rest of the steps is skipped already"),
        CommandKind::Pause if status.held.is_some() => no("it is held already"),
        CommandKind::Resume if status.held.is_none() && status.pauses.is_empty() => no("it is not paused"),
        _ => Ok(()),
    }
}

fn may_roll_back(status: &Status) -> Result<(), String> {
    match &status.abort {
        Some(abort) if abort.after_promotion => Err("it is rolled back already".to_owned()),
        Some(_) => Err("it was aborted before it became stable: there is nothing to roll back".to_owned()),
        None if status.swapped => Ok(()),
        None => Err("the new version is not stable yet: abort it instead".to_owned()),
    }
}

fn may_retry(status: &Status) -> Result<(), String> {
    let Some(abort) = &status.abort else { return Err("it is not aborted".to_owned()) };
    if abort.after_promotion || status.swapped || status.outcome == Some(Outcome::RolledBack) {
        return Err("it was rolled back: start another release".to_owned());
    }
    if abort.zero_at.is_none() {
        return Err("the canary still has traffic: wait until it is at 0 %".to_owned());
    }
    let later = |act: &Act| matches!(act, Act::Migration | Act::Flags);
    if abort.replay.done.iter().any(|(act, _)| *act == Act::Migration) {
        return Err("its down-migration has been run: start another release".to_owned());
    }
    if abort.replay.acts.iter().any(later) && abort.replay.next().is_some() {
        return Err("its rollback envelope is being carried out: wait until it is done".to_owned());
    }
    Ok(())
}
