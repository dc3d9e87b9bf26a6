//! What pages say, decided on plain values: no component, no clock.

use model::{
    CommandKind, Kind, ReleaseId, Timestamp, Weight,
    event::{AnalysisEnded, Outcome, WindowStats},
};
use projections::{Phase, Receipt, ReleaseRow, ReleaseView, describe, say};

mod address;
mod headline;

#[cfg(feature = "ssr")]
pub use address::form_key;
pub use address::{address, command_key, query};
use headline::held;
pub use headline::{Headline, headline, headline_of_then, worst};

/// How a state looks: word, shape and colour together, never colour alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Going on.
    Run,
    /// Held.
    Wait,
    /// Ended well.
    Good,
    /// Stopped or refused: we know that it is no.
    Bad,
    /// Returned.
    Back,
    /// Not known: we could not find out.
    Unknown,
    /// Calculated and not measured.
    Estimated,
}

impl Tone {
    /// Class of the style sheet, which adds the shape.
    pub fn class(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Wait => "wait",
            Self::Good => "ok",
            Self::Bad => "bad",
            Self::Back => "back",
            Self::Unknown => "unknown",
            Self::Estimated => "estimated",
        }
    }
}

/// The state of a release in a word.
pub fn state(row: &ReleaseRow) -> (Tone, String) {
    match &row.phase {
        Phase::Progressing | Phase::Paused { until: Some(_), .. } => (Tone::Run, row.weight.to_string()),
        Phase::Paused { until: None, .. } => (Tone::Wait, format!("held at {}", row.weight)),
        Phase::Aborting => (Tone::Bad, "aborting".to_owned()),
        Phase::Ended(ended) => {
            let (tone, word) = outcome(*ended);
            (tone, word.to_owned())
        }
    }
}

/// How a rollout ended, in a word.
pub fn outcome(outcome: Outcome) -> (Tone, &'static str) {
    let tone = match outcome {
        Outcome::Promoted => Tone::Good,
        Outcome::Aborted => Tone::Bad,
        Outcome::RolledBack => Tone::Back,
    };
    (tone, outcome.as_str())
}

/// A verdict's tone and word; `None` for what is no verdict.
pub fn verdict(kind: Kind) -> Option<(Tone, &'static str)> {
    Some(match kind {
        Kind::AnalysisPassed => (Tone::Good, "passed"),
        Kind::AnalysisFailed => (Tone::Bad, "failed"),
        Kind::AnalysisInconclusive => (Tone::Wait, "inconclusive"),
        Kind::AnalysisError => (Tone::Unknown, "could not be done"),
        _ => return None,
    })
}

/// The same of a receipt. A canary that was let through with much against it has not passed plainly.
pub fn verdict_of(p: &receipts::Payload) -> Option<(Tone, &'static str)> {
    let doubtful = || p.facts.get("message").and_then(|said| said.as_str()).is_some_and(say::is_doubtful);
    match verdict(p.kind)? {
        (Tone::Good, _) if doubtful() => Some((Tone::Wait, "not stopped")),
        said => Some(said),
    }
}

/// What an abort by itself was decided from: the receipt of the verdict, the counts in words, the rule by its name. Nothing for an abort by a
/// person.
pub fn counts_of_abort(view: &ReleaseView) -> Option<(u64, String, String)> {
    let (index, aborted) = view.aborted()?;
    if !aborted.automatic {
        return None;
    }
    let verdicts = view.receipts.iter().rev().filter(|r| r.index < index);
    let bad = |r: &&Receipt| verdict(r.payload.kind).is_some_and(|(tone, _)| tone != Tone::Good);
    let verdict = verdicts.filter(bad).find_map(|r| Some((r.index, ended(r)?)));
    let (at, f) = verdict?;
    let (from, to) = f.from.zip(f.to)?;
    let of = |name: &str, w: &Option<WindowStats>| {
        w.as_ref()
            .map(|w| format!(", {name} {} of {} failed", say::count(w.errors), say::count(w.n)))
            .unwrap_or_default()
    };
    let (canary, stable) = (of("canary", &f.canary), of("stable", &f.stable));
    let said = format!("Measured {} to {}{canary}{stable}", from.clock(), to.clock());
    Some((at, said, format!("rule {}, analysis {}", f.rule, f.analysis)))
}

fn ended(receipt: &Receipt) -> Option<AnalysisEnded> {
    receipt.payload.facts().ok()
}

/// Where in its recipe a release is and when it goes on: `stage 3 of 4, next in 1 m 28 s: 100 %`. Without a now, what comes next is not
/// known.
pub fn stage(view: &ReleaseView, now: Option<Timestamp>) -> String {
    let row = &view.row;
    let (at, of) = row.stage();
    let highest = view.weights.iter().map(|(_, w)| *w).max().unwrap_or_default();
    let stage = match (at, of) {
        _ if !row.in_flight() || row.phase == Phase::Aborting => format!("got as far as {highest}"),
        _ if row.promoted => "the version before is stopped next".to_owned(),
        _ if row.skipping => {
            let next = match view.envelope {
                _ if row.weight == Weight::FULL => "it becomes stable next",
                Some(_) => "all traffic next",
                None => "rollback armed first",
            };
            format!("steps skipped, {next}")
        }
        (_, 0) => format!("recipe step {} of {}", u64::from(row.step.0) + 1, row.step.1),
        (0, of) => format!("before stage 1 of {of}"),
        (at, of) => format!("stage {at} of {of}"),
    };
    let by_itself = !matches!(row.phase, Phase::Aborting | Phase::Paused { until: None, .. });
    let said = match (now, row.next_at) {
        (Some(now), _) => clock(row, now),
        (None, Some(_)) if by_itself && (row.promoted || row.skipping) => String::new(),
        (None, Some(_)) if by_itself => "next not known".to_owned(),
        (None, _) => clock(row, Timestamp::default()),
    };
    if said.is_empty() || row.phase == Phase::Aborting { stage } else { format!("{stage}, {said}") }
}

/// The clock of a release under way and the weight that it leads to: `next in 1 m 28 s: 50 %`, `waits for a decision`.
pub fn clock(row: &ReleaseRow, now: Timestamp) -> String {
    match (&row.phase, row.next_at) {
        (Phase::Ended(_), _) => String::new(),
        (Phase::Aborting, _) => "aborted, draining".to_owned(),
        (Phase::Paused { until: None, .. }, _) => "waits for a decision".to_owned(),
        (_, Some(next)) if next > now => {
            let to = row.stops.iter().filter(|stop| **stop > row.weight).min();
            let to = match to {
                Some(weight) => format!(": {weight}"),
                None if row.weight == Weight::FULL => ": stable".to_owned(),
                None => String::new(),
            };
            format!("next in {}{to}", say::clock(next.since(now).saturating_add(999)))
        }
        (_, Some(_)) => "next now".to_owned(),
        (Phase::Progressing | Phase::Paused { .. }, None) => String::new(),
    }
}

/// Why a release waits for a person.
pub fn waits_because(row: &ReleaseRow) -> String {
    let why = match &row.phase {
        Phase::Paused { reason, .. } => reason.as_str(),
        _ => return String::new(),
    };
    let at = row.weight;
    if let Some(by) = held(row) {
        return format!("held at {at} {by}");
    }
    match why {
        "step" => format!("held at {at} by its recipe until somebody promotes it"),
        "person" => format!("held at {at} by a person"),
        "inconclusive" => match &row.worst {
            Some(worst) => format!("held at {at} for a decision: {worst}"),
            None => format!("held at {at} for a decision: the analysis is inconclusive"),
        },
        other => format!("held at {at}: {other}"),
    }
}

/// What a command does, as the button says it, and the consequence as its page says it.
pub fn command(kind: CommandKind) -> (&'static str, &'static str) {
    match kind {
        CommandKind::Promote => ("Promote", "Goes on to the next step now."),
        CommandKind::PromoteFull => (
            "Promote full",
            "Skips the steps that are left. The canary takes all traffic once its rollback envelope is armed.",
        ),
        CommandKind::Pause => ("Pause", "Holds the weight until somebody resumes."),
        CommandKind::Resume => ("Resume", "Leaves the pause."),
        CommandKind::Abort => ("Abort", "All traffic goes back to the version before at once. This one is drained."),
        CommandKind::Retry => ("Retry", "Starts the aborted release again from its first step."),
        CommandKind::Rollback => ("Roll back", "Returns to the version before by the rollback envelope."),
    }
}

/// What came of a command that a plain form sent, from the words in the page's address.
pub fn answer(view: &ReleaseView, command: &str, accepted: &str, problem: &str) -> Option<(Tone, String)> {
    let kind: CommandKind = command.parse().ok()?;
    let name = self::command(kind).0;
    if let Ok(index) = accepted.parse::<u64>() {
        return Some((Tone::Good, format!("{name}: accepted, receipt {}", say::count(index))));
    }
    let (tone, why) = match problem {
        "refused" => {
            (Tone::Bad, refusal(view, kind).unwrap_or_else(|| "the state of the release does not allow it".to_owned()))
        }
        "not-logged-in" => (Tone::Bad, "nobody is logged in".to_owned()),
        "forbidden" => (Tone::Bad, "commands need the role operator".to_owned()),
        "form-expired" => (Tone::Bad, "the page belonged to another session, repeat the command here".to_owned()),
        "not-found" => (Tone::Bad, "there is no such release".to_owned()),
        "invalid" => (
            Tone::Bad,
            format!("the form was not readable; a reason has at most {} characters", model::Command::MAX_REASON),
        ),
        "unavailable" => (Tone::Unknown, "it could not be written down, so nothing was done".to_owned()),
        _ => return None,
    };
    Some((tone, format!("{name} was not done: {why}")))
}

/// Why a command is refused: as it is now, else as the log last recorded it.
fn refusal(view: &ReleaseView, kind: CommandKind) -> Option<String> {
    let now = view.commands.iter().find(|c| c.kind == kind).and_then(|c| c.refused.clone());
    now.or_else(|| {
        let refused = view.receipts.iter().rev().filter(|r| r.payload.kind == Kind::CommandRefused);
        let mut facts = refused.filter_map(|r| r.payload.facts::<model::event::CommandSeen>().ok());
        facts.find(|f| f.command == kind.as_str())?.refusal
    })
}

/// What the live region says of a receipt: verdicts and turns, never samples. On the page of a release only of that one, elsewhere with the
/// release's name.
pub fn announcement(receipt: &Receipt, page_of: Option<&ReleaseId>) -> Option<String> {
    let release = receipt.payload.release.as_ref()?;
    let said = || describe(receipt).sentence();
    match page_of {
        _ if !matters(receipt.payload.kind) => None,
        Some(page_of) => (page_of == release).then(said),
        None => Some(format!("{release}: {}", said())),
    }
}

fn matters(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::CanaryStarted
            | Kind::CanaryPaused
            | Kind::CanaryResumed
            | Kind::CanaryPromoted
            | Kind::CanaryAborted
            | Kind::CanaryCompleted
            | Kind::AnalysisPassed
            | Kind::AnalysisFailed
            | Kind::AnalysisInconclusive
            | Kind::AnalysisError
            | Kind::RollbackExecuted
            | Kind::CommandRefused
    )
}

/// A kind as filters show it: `canary.stepped`.
pub fn kind_name(kind: Kind) -> &'static str {
    kind.as_str().trim_start_matches("delivery.")
}

#[cfg(test)]
mod tests {
    use model::{
        Actor, Digest, Verdict,
        event::{CanaryStarted, PlannedWeight},
    };
    use projections::Pause;
    use receipts::Payload;

    use super::*;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_millis(1_778_162_792_000 + s * 1000)
    }

    fn view() -> ReleaseView {
        let digest = Digest::from_sha256(&[1; 32]);
        let facts = CanaryStarted {
            strategy: "canary".into(),
            service: "checkout".parse().unwrap(),
            environment: "production".parse().unwrap(),
            version: "v2".parse().unwrap(),
            digest: digest.clone(),
            stable_version: "v1".parse().unwrap(),
            stable_digest: digest.clone(),
            recipe: digest,
            steps: 6,
            planned: [5, 25, 50, 100]
                .map(|w| PlannedWeight { at_ms: i64::from(w) * 1000, weight: Weight::new(w).unwrap() })
                .to_vec(),
            planned_ms: Some(720_000),
            stops: Vec::new(),
            runtime: "local".into(),
        };
        let payload = Payload::new(Kind::CanaryStarted, at(0), "dana".parse().unwrap(), &facts)
            .unwrap()
            .release("checkout-1".parse().unwrap());
        ReleaseView::of(vec![Receipt { index: 4, payload }]).unwrap()
    }

    #[test]
    fn a_canary_with_much_against_it_has_not_passed_plainly() {
        let said = |message: &str| {
            let facts = serde_json::json!({ "message": message });
            verdict_of(&Payload::new(Kind::AnalysisPassed, at(0), "judge".parse().unwrap(), &facts).unwrap()).unwrap()
        };
        assert_eq!(
            said("no regression found in 172 canary requests: evidence against it 9 to 1"),
            (Tone::Good, "passed")
        );
        let doubtful = "Run Terminated; builtin: not decided in 172 canary requests: evidence against it 94 to 1";
        assert_eq!(said(doubtful), (Tone::Wait, "not stopped"));
    }

    #[test]
    fn headlines_and_stages() {
        let check = |change: fn(&mut ReleaseView), headline: &str, stage: &str| {
            let mut v = view();
            change(&mut v);
            assert_eq!(super::headline(&v).plain(), headline);
            assert_eq!(super::stage(&v, Some(at(100))), stage, "{headline}");
        };
        check(|_| {}, "v2 is starting, no traffic on it yet", "before stage 1 of 4");
        check(
            |v| {
                v.row.weight = Weight::new(50).unwrap();
                v.row.phase = Phase::Paused { reason: "step".into(), until: Some(at(188)) };
                v.row.pause = Some(Pause { reason: "step".into(), until: Some(at(188)) });
                v.row.next_at = Some(at(188));
            },
            "v2 is at 50 %, no regression found so far",
            "stage 3 of 4, next in 1 m 28 s: 100 %",
        );
        check(
            |v| {
                v.row.weight = Weight::new(25).unwrap();
                v.row.phase = Phase::Paused { reason: "person".into(), until: None };
            },
            "v2 is held at 25 %, it waits for a decision",
            "stage 2 of 4, waits for a decision",
        );
        check(
            |v| {
                v.row.weight = Weight::new(25).unwrap();
                v.row.phase = Phase::Paused { reason: "person".into(), until: None };
                (v.row.held, v.row.held_by) = (Some("support is asked".into()), Some("lena".parse().unwrap()));
                assert_eq!(super::waits_because(&v.row), "held at 25 % by lena: support is asked");
            },
            "v2 is held at 25 % by lena: support is asked",
            "stage 2 of 4, waits for a decision",
        );
        check(
            |v| {
                v.row.weight = Weight::new(25).unwrap();
                v.row.worst = Some("p99 131 ms against 122 ms".into());
                v.row.worst_verdict = Some(Verdict::Inconclusive);
            },
            "v2 is at 25 %, p99 131 ms against 122 ms",
            "stage 2 of 4",
        );
        check(
            |v| {
                v.weights.push((at(5), Weight::new(25).unwrap()));
                v.row.phase = Phase::Aborting;
            },
            "v2 is at 0 %, aborted, the canary is being drained",
            "got as far as 25 %",
        );
        check(
            |v| {
                v.row.phase = Phase::Ended(Outcome::Promoted);
                v.row.ended = Some(at(724));
                v.weights.push((at(5), Weight::FULL));
            },
            "v2 is stable after 12 m 04 s, promoted by its recipe",
            "got as far as 100 %",
        );
        check(|v| v.row.phase = Phase::Ended(Outcome::RolledBack), "v2 was rolled back to v1", "got as far as 0 %");
    }

    #[cfg(feature = "ssr")]
    #[test]
    fn steps_that_are_skipped_are_not_what_comes_next() {
        let mut v = view();
        v.row.weight = Weight::new(25).unwrap();
        let skipped =
            serde_json::json!({ "transition": { "type": "promoted-full" }, "reason": "", "paused_ms": 0, "step": 1 });
        let payload = Payload::new(Kind::CanaryResumed, at(3), "lee".parse().unwrap(), &skipped).unwrap();
        v.fold(&Receipt { index: 5, payload: payload.release(v.row.id.clone()) });
        let check = |v: &ReleaseView, says: &str, next: &str| {
            assert_eq!(super::headline(v).plain(), format!("v2 is {says}, promoted in full by lee"));
            assert_eq!(super::stage(v, Some(at(100))), next);
            assert_eq!(super::stage(v, None), next, "what comes next is said without a clock too");
        };
        check(&v, "at 25 %", "steps skipped, rollback armed first");
        v.envelope = Some((6, crate::gallery::sample_view().envelope.unwrap().1));
        check(&v, "at 25 %", "steps skipped, all traffic next");
        v.row.weight = Weight::FULL;
        check(&v, "at 100 %", "steps skipped, it becomes stable next");
        v.row.promoted = true;
        check(&v, "stable", "the version before is stopped next");
    }

    #[test]
    fn an_abort_by_itself_says_what_was_counted_and_one_by_a_person_nothing() {
        let counted = |n, errors| Some(WindowStats { n, errors, ..WindowStats::default() });
        let check = |automatic, from: Option<Timestamp>, said: Option<&str>| {
            let mut v = view();
            let failed = AnalysisEnded {
                analysis: "checkout-1.1.1".into(),
                scope: "built-in".into(),
                verdict: Verdict::Failed,
                message: String::new(),
                rule: "sequential".into(),
                measurements: 3,
                segment: None,
                from,
                to: Some(at(20)),
                canary: counted(1_163, 23),
                stable: counted(489, 0),
            };
            let aborted =
                serde_json::json!({ "reason": "", "automatic": automatic, "weight": 25, "breach_at": at(20) });
            let facts =
                [(5, Kind::AnalysisFailed, serde_json::to_value(&failed).unwrap()), (6, Kind::CanaryAborted, aborted)];
            for (index, kind, facts) in facts {
                let payload = Payload::new(kind, at(20), Actor::judge(), &facts).unwrap();
                v.fold(&Receipt { index, payload: payload.release("checkout-1".parse().unwrap()) });
            }
            let found = counts_of_abort(&v);
            assert_eq!(found.as_ref().map(|(_, said, _)| said.as_str()), said);
            if let Some((index, _, rule)) = found {
                assert_eq!((index, rule.as_str()), (5, "rule sequential, analysis checkout-1.1.1"));
            }
        };
        let said = "Measured 14:06:47 to 14:06:52, canary 23 of 1,163 failed, stable 0 of 489 failed";
        check(true, Some(at(15)), Some(said));
        check(true, None, None);
        check(false, Some(at(15)), None);
    }

    #[test]
    fn verdicts_are_announced_where_they_belong() {
        let (this, other): (ReleaseId, ReleaseId) = ("checkout-1".parse().unwrap(), "checkout-2".parse().unwrap());
        let receipt = |kind| {
            let payload = Payload::new(kind, at(20), Actor::judge(), &serde_json::json!({})).unwrap();
            Receipt { index: 5, payload: payload.release(this.clone()) }
        };
        let passed = receipt(Kind::AnalysisPassed);
        let said = describe(&passed).sentence();
        assert_eq!(announcement(&passed, Some(&this)), Some(said.clone()));
        assert_eq!(announcement(&passed, Some(&other)), None, "another page's");
        assert_eq!(announcement(&passed, None), Some(format!("checkout-1: {said}")));
        assert_eq!(announcement(&receipt(Kind::CommandAccepted), None), None, "no turn");
    }

    #[test]
    fn answers_say_only_words_that_the_page_knows() {
        let v = view();
        for (command, accepted, problem, said) in [
            ("pause", "18204", "", Some("Pause: accepted, receipt 18,204")),
            ("pause", "", "unavailable", Some("Pause was not done: it could not be written down, so nothing was done")),
            ("resume", "", "refused", Some("Resume was not done: it is not paused")),
            ("pause", "<script>", "<b>call 555-1234</b>", None),
            ("<b>", "1", "", None),
            ("", "", "", None),
        ] {
            assert_eq!(
                answer(&v, command, accepted, problem).map(|(_, s)| s).as_deref(),
                said,
                "{command} {accepted} {problem}"
            );
        }
    }

    #[test]
    fn every_state_has_a_shape_of_its_own() {
        let mut classes: Vec<_> =
            [Tone::Run, Tone::Wait, Tone::Good, Tone::Bad, Tone::Back, Tone::Unknown].map(Tone::class).to_vec();
        classes.sort_unstable();
        classes.dedup();
        assert_eq!(classes.len(), 6);
    }
}
