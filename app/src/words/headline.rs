//! What is said first of a release: where it stands, who stopped it, the worst that was found.

use model::{CommandKind, Kind, Timestamp, Verdict, event::Outcome};
use projections::{Phase, Receipt, ReleaseRow, ReleaseView, say};

use super::{Tone, state};

/// The headline of a release's page: a sentence whose middle part is set apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headline {
    /// Before the part set apart.
    pub before: String,
    /// The part set apart, in the tone's colour.
    pub key: String,
    /// After it.
    pub after: String,
    /// The tone.
    pub tone: Tone,
}

impl Headline {
    /// As one sentence.
    pub fn plain(&self) -> String {
        format!("{}{}{}", self.before, self.key, self.after)
    }
}

/// What is to be said first. A canary is never called good while it runs.
pub fn headline(view: &ReleaseView) -> Headline {
    let row = &view.row;
    let said = |before: String, key: String, after: String, tone| Headline { before, key, after, tone };
    let so_far = match (row.worst_verdict, &row.worst) {
        (Some(Verdict::Inconclusive | Verdict::Error | Verdict::Failed), Some(worst)) => format!(", {worst}"),
        (_, Some(last)) if say::is_doubtful(last) => ", not decided so far".to_owned(),
        _ => ", no regression found so far".to_owned(),
    };
    let (_, state) = state(row);
    match &row.phase {
        Phase::Progressing | Phase::Paused { until: Some(_), .. } if row.promoted => {
            said(format!("{} is ", row.version), "stable".to_owned(), format!(", {}", promoted(view)), Tone::Good)
        }
        Phase::Progressing | Phase::Paused { until: Some(_), .. } if row.skipping => {
            said(format!("{} is at ", row.version), row.weight.to_string(), format!(", {}", promoted(view)), Tone::Run)
        }
        Phase::Progressing | Phase::Paused { until: Some(_), .. } if row.weight.percent() == 0 => {
            said(format!("{} is ", row.version), "starting".to_owned(), ", no traffic on it yet".to_owned(), Tone::Run)
        }
        Phase::Progressing | Phase::Paused { until: Some(_), .. } => {
            said(format!("{} is at ", row.version), row.weight.to_string(), so_far, Tone::Run)
        }
        Phase::Paused { until: None, .. } => {
            let why = match held(row) {
                Some(by) => format!(" {by}"),
                None => ", it waits for a decision".to_owned(),
            };
            said(format!("{} is ", row.version), state, why, Tone::Wait)
        }
        Phase::Aborting if row.weight.percent() > 0 => said(
            format!("{} is at ", row.version),
            row.weight.to_string(),
            ", its traffic is being taken away".to_owned(),
            Tone::Bad,
        ),
        Phase::Aborting => said(
            format!("{} is at ", row.version),
            "0 %".to_owned(),
            ", aborted, the canary is being drained".to_owned(),
            Tone::Bad,
        ),
        Phase::Ended(Outcome::Promoted) => said(
            format!("{} is ", row.version),
            "stable".to_owned(),
            format!("{}, {}", took(row), promoted(view)),
            Tone::Good,
        ),
        Phase::Ended(Outcome::Aborted) => {
            said(format!("{} was ", row.version), state, format!("{}{}", took(row), by(row)), Tone::Bad)
        }
        Phase::Ended(Outcome::RolledBack) => {
            said(format!("{} was ", row.version), state, format!(" to {}{}", view.stable_version, by(row)), Tone::Back)
        }
    }
}

/// By whom, where that was a person.
fn by(row: &ReleaseRow) -> String {
    row.stopped_by.as_ref().map(|who| format!(", by {who}")).unwrap_or_default()
}

/// The headline while nothing arrives: what was so last, and since when that is not known any more.
pub fn headline_of_then(view: &ReleaseView, since: Timestamp) -> Headline {
    let row = &view.row;
    let at = if row.promoted { "stable".to_owned() } else { row.weight.to_string() };
    let before = format!("{} was {}", row.version, if row.promoted { "" } else { "at " });
    Headline { before, key: at, after: format!(" at {}, not known since", since.clock()), tone: Tone::Unknown }
}

/// Who holds it, and why, when a person does.
pub(super) fn held(row: &ReleaseRow) -> Option<String> {
    let why = row.held.as_deref()?;
    let by = row.held_by.as_ref().map_or_else(|| "by a person".to_owned(), |who| format!("by {who}"));
    Some(match why {
        "" | "person" => by,
        why => format!("{by}: {}", cut(why)),
    })
}

/// Who promoted it: a person, or its recipe, step by step.
fn promoted(view: &ReleaseView) -> String {
    let pressed = |r: &&Receipt| {
        let seen = || r.payload.facts::<model::event::CommandSeen>().ok();
        r.payload.kind == Kind::CommandAccepted && seen().is_some_and(|f| f.command == CommandKind::Promote.as_str())
    };
    match (view.skipped_by(), view.receipts.iter().rev().find(pressed)) {
        (Some(who), _) => format!("promoted in full by {who}"),
        (None, Some(r)) => format!("promoted by {}", r.payload.actor),
        (None, None) => "promoted by its recipe".to_owned(),
    }
}

fn took(row: &ReleaseRow) -> String {
    row.ended.map(|end| format!(" after {}", say::duration(end.since(row.started)))).unwrap_or_default()
}

/// The worst that was found, and who stopped it and why, where that was a person.
pub fn worst(row: &ReleaseRow) -> String {
    match (stopped(row), &row.worst) {
        (Some(stopped), Some(worst)) => format!("{stopped}; before: {worst}"),
        (Some(stopped), None) => stopped,
        (None, Some(worst)) => worst.clone(),
        (None, None) => "none".to_owned(),
    }
}

/// Who stopped it, and why, where that was a person: `aborted by dana: payments fail`.
fn stopped(row: &ReleaseRow) -> Option<String> {
    let what = match row.phase {
        Phase::Aborting | Phase::Ended(Outcome::Aborted) => "aborted",
        Phase::Ended(Outcome::RolledBack) => "rolled back",
        _ => return None,
    };
    let why = row.stopped_for.as_deref().map(|why| format!(": {}", cut(why))).unwrap_or_default();
    row.stopped_by.as_ref().map(|who| format!("{what} by {who}{why}"))
}

/// What a line has room for of a reason; the receipt has all of it.
fn cut(why: &str) -> String {
    const MAX: usize = 100;
    if why.chars().count() > MAX { format!("{}…", why.chars().take(MAX).collect::<String>()) } else { why.to_owned() }
}

#[cfg(all(test, feature = "ssr"))]
mod tests {
    use super::*;

    #[test]
    fn who_stopped_it_is_said_with_what_was_found_before() {
        let mut row = crate::gallery::sample_view().row;
        row.worst = None;
        assert_eq!(worst(&row), "none");
        row.worst = Some("p99 is high".to_owned());
        assert_eq!(worst(&row), "p99 is high");
        (row.stopped_by, row.stopped_for) = ("dana".parse().ok(), Some("payments fail".to_owned()));
        assert_eq!(worst(&row), "p99 is high", "not stopped yet");
        row.phase = Phase::Ended(Outcome::Aborted);
        assert_eq!(worst(&row), "aborted by dana: payments fail; before: p99 is high");
        (row.phase, row.worst, row.stopped_for) = (Phase::Ended(Outcome::RolledBack), None, Some("x".repeat(101)));
        assert_eq!(worst(&row), format!("rolled back by dana: {}…", "x".repeat(100)));
    }

    #[test]
    fn a_canary_with_much_against_it_is_not_said_to_be_without_regression() {
        let mut view = crate::gallery::sample_view();
        view.row.worst_verdict = Some(Verdict::Successful);
        for (found, said) in [
            ("no regression found in 9 canary requests", "no regression found"),
            ("not decided in 9 canary requests", "not decided"),
        ] {
            view.row.worst = Some(found.to_owned());
            assert_eq!(headline(&view).plain(), format!("v8 is at 50 %, {said} so far"));
        }
    }

    #[test]
    fn while_nothing_arrives_what_was_so_last_is_said() {
        let mut view = crate::gallery::sample_view();
        let since = view.row.started;
        let said = |view: &ReleaseView| headline_of_then(view, since).plain();
        let at = since.clock();
        assert_eq!(said(&view), format!("v8 was at 50 % at {at}, not known since"));
        view.row.promoted = true;
        assert_eq!(said(&view), format!("v8 was stable at {at}, not known since"));
    }
}
