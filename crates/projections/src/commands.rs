//! Which commands a release takes now, and why not. Says what `rollout::decide` would say, which has the last word.

use model::{
    CommandKind, Kind, Weight,
    event::{Outcome, RollbackExecuted},
};

use crate::{CommandState, Phase, Receipt, ReleaseRow};

/// Every command in the order of the buttons, with the reason when it may not be given.
pub fn commands(row: &ReleaseRow, receipts: &[Receipt]) -> Vec<CommandState> {
    CommandKind::ALL
        .into_iter()
        .map(|kind| CommandState { kind, refused: possible(kind, row, receipts).err().map(str::to_owned) })
        .collect()
}

fn possible(kind: CommandKind, row: &ReleaseRow, receipts: &[Receipt]) -> Result<(), &'static str> {
    use CommandKind as C;
    let aborted = matches!(row.phase, Phase::Aborting | Phase::Ended(Outcome::Aborted | Outcome::RolledBack));
    let ended = !row.in_flight();
    match kind {
        C::Abort if aborted => Err("it is aborted already"),
        C::Abort if ended => Err("the release has ended: roll it back instead"),
        C::Abort => Ok(()),
        C::Rollback => may_roll_back(row, aborted),
        C::Retry => may_retry(row, receipts, aborted),
        _ if aborted => Err("the release is aborted: retry it, or start another"),
        _ if row.promoted || ended => Err("the new version is stable already"),
        C::Promote | C::PromoteFull if row.skipping => Err("the rest of the steps is skipped already"),
        C::Promote | C::PromoteFull => Ok(()),
        C::Pause if row.held.is_some() => Err("it is held already"),
        C::Pause => Ok(()),
        C::Resume if row.held.is_none() && row.pause.is_none() => Err("it is not paused"),
        C::Resume => Ok(()),
    }
}

fn may_roll_back(row: &ReleaseRow, aborted: bool) -> Result<(), &'static str> {
    match row.phase {
        Phase::Ended(Outcome::RolledBack) => Err("it is rolled back already"),
        Phase::Aborting if row.promoted => Err("it is being rolled back"),
        _ if aborted => Err("it was aborted before it became stable: there is nothing to roll back"),
        _ if row.promoted => Ok(()),
        _ => Err("the new version is not stable yet: abort it instead"),
    }
}

fn may_retry(row: &ReleaseRow, receipts: &[Receipt], aborted: bool) -> Result<(), &'static str> {
    if !aborted {
        return Err("it is not aborted");
    }
    if row.promoted || row.phase == Phase::Ended(Outcome::RolledBack) {
        return Err("it was rolled back: start another release");
    }
    if row.phase == Phase::Aborting {
        return Err(if row.weight > Weight::ZERO {
            "the canary still has traffic: wait until it is at 0 %"
        } else {
            "the canary is being drained: wait until it is gone"
        });
    }
    let acts = receipts
        .iter()
        .rev()
        .take_while(|r| r.payload.kind != Kind::CanaryAborted)
        .filter(|r| r.payload.kind == Kind::RollbackExecuted);
    if acts.filter_map(|r| r.payload.facts::<RollbackExecuted>().ok()).any(|a| a.act == "migration") {
        return Err("its down-migration has been run: start another release");
    }
    Ok(())
}
