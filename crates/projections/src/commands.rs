//! Which commands a release takes now, and why not.

use model::{CommandKind, event::Outcome};

use crate::{CommandState, Phase, Receipt, ReleaseRow};

/// Every command in the order of the buttons, with the reason when it may not be given.
pub fn commands(row: &ReleaseRow, receipts: &[Receipt]) -> Vec<CommandState> {
    let _ = receipts;
    CommandKind::ALL.into_iter().map(|kind| CommandState { kind, refused: refused(kind, &row.phase) }).collect()
}

fn refused(kind: CommandKind, phase: &Phase) -> Option<String> {
    use CommandKind as C;
    let no = |s: &str| Some(s.to_owned());
    match (kind, phase) {
        (C::Promote | C::PromoteFull | C::Abort, Phase::Progressing | Phase::Paused { .. }) => None,
        (C::Pause, Phase::Progressing | Phase::Paused { until: Some(_), .. }) => None,
        (C::Pause, Phase::Paused { until: None, .. }) => no("it is paused already"),
        (C::Resume, Phase::Paused { .. }) => None,
        (C::Resume, Phase::Progressing) => no("it is not paused"),
        (C::Abort, Phase::Aborting) => no("it is being aborted"),
        (C::Retry, Phase::Ended(Outcome::Aborted)) | (C::Rollback, Phase::Ended(Outcome::Promoted)) => None,
        (C::Retry, _) => no("only an aborted release is started again"),
        (C::Rollback, Phase::Ended(_)) => no("it is not the stable version"),
        (C::Rollback, _) => no("it has not ended: abort it instead"),
        (_, Phase::Aborting) => no("it is being aborted"),
        (_, Phase::Ended(o)) => Some(format!("it has ended: {}", o.as_str())),
    }
}
