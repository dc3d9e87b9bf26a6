//! What pages say, decided on plain values: no component, no clock.

use model::{
    CommandKind, Kind, Timestamp, Verdict,
    event::{AnalysisEnded, Outcome, WindowStats},
};
use projections::{Phase, Receipt, ReleaseRow, ReleaseView, describe, say};

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
        _ => ", no regression found so far".to_owned(),
    };
    let (_, state) = state(row);
    match &row.phase {
        Phase::Progressing | Phase::Paused { until: Some(_), .. } if row.weight.percent() == 0 => {
            said(format!("{} is ", row.version), "starting".to_owned(), ", no traffic on it yet".to_owned(), Tone::Run)
        }
        Phase::Progressing | Phase::Paused { until: Some(_), .. } => {
            said(format!("{} is at ", row.version), row.weight.to_string(), so_far, Tone::Run)
        }
        Phase::Paused { until: None, .. } => {
            said(format!("{} is ", row.version), state, ", it waits for a decision".to_owned(), Tone::Wait)
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
        Phase::Ended(Outcome::Aborted) => said(format!("{} was ", row.version), state, took(row), Tone::Bad),
        Phase::Ended(Outcome::RolledBack) => {
            said(format!("{} was ", row.version), state, format!(" to {}", view.stable_version), Tone::Back)
        }
    }
}

/// Who promoted it: a person, or its recipe, step by step.
fn promoted(view: &ReleaseView) -> String {
    let pressed = |r: &&Receipt| {
        let seen = || r.payload.facts::<model::event::CommandSeen>().ok();
        r.payload.kind == Kind::CommandAccepted && seen().is_some_and(|f| f.command == CommandKind::Promote.as_str())
    };
    match (view.promoted_by(), view.receipts.iter().rev().find(pressed)) {
        (Some(who), _) => format!("promoted in full by {who}"),
        (None, Some(r)) => format!("promoted by {}", r.payload.actor),
        (None, None) => "promoted by its recipe".to_owned(),
    }
}

fn took(row: &ReleaseRow) -> String {
    row.ended.map(|end| format!(" after {}", say::duration(end.since(row.started)))).unwrap_or_default()
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

/// The rule that aborted it: what was asked of which measurements, with the receipt of the verdict. Nothing for an abort by a person.
pub fn rule_of_abort(view: &ReleaseView) -> Option<(u64, String)> {
    let (index, aborted) = view.aborted()?;
    if !aborted.automatic {
        return None;
    }
    let verdicts = view.receipts.iter().rev().filter(|r| r.index < index);
    let bad = |r: &&Receipt| verdict(r.payload.kind).is_some_and(|(tone, _)| tone != Tone::Good);
    let verdict = verdicts.filter(bad).find_map(|r| Some((r.index, ended(r)?)));
    let (at, f) = verdict?;
    let window = f.from.zip(f.to).map(|(a, b)| format!(", {} to {}", a.clock(), b.clock())).unwrap_or_default();
    let of = |name: &str, w: &Option<WindowStats>| {
        w.as_ref()
            .map(|w| format!(", {name} {} of {} failed", say::count(w.errors), say::count(w.n)))
            .unwrap_or_default()
    };
    let (canary, stable) = (of("canary", &f.canary), of("stable", &f.stable));
    Some((at, format!("by the rule {} of {}{window}{canary}{stable}", f.rule, f.analysis)))
}

fn ended(receipt: &Receipt) -> Option<AnalysisEnded> {
    receipt.payload.facts().ok()
}

/// Where in its recipe a release is and when it goes on: `stage 3 of 4, next in 1 m 28 s: 100 %`.
pub fn stage(view: &ReleaseView, now: Timestamp) -> String {
    let row = &view.row;
    let (at, of) = row.stage();
    let highest = view.weights.iter().map(|(_, w)| *w).max().unwrap_or_default();
    let stage = match (at, of) {
        _ if !row.in_flight() || row.phase == Phase::Aborting => format!("got as far as {highest}"),
        (_, 0) => format!("step {} of {}", u64::from(row.step.0) + 1, row.step.1),
        (0, of) => format!("before stage 1 of {of}"),
        (at, of) => format!("stage {at} of {of}"),
    };
    match clock(row, now) {
        said if said.is_empty() || row.phase == Phase::Aborting => stage,
        said => format!("{stage}, {said}"),
    }
}

/// The clock of a release under way and the weight that it leads to: `next in 1 m 28 s: 50 %`, `waits for a decision`.
pub fn clock(row: &ReleaseRow, now: Timestamp) -> String {
    match (&row.phase, row.next_at) {
        (Phase::Ended(_), _) => String::new(),
        (Phase::Aborting, _) => "aborted, draining".to_owned(),
        (Phase::Paused { until: None, .. }, _) => "waits for a decision".to_owned(),
        (_, Some(next)) if next > now => {
            let to = row.stops.iter().filter(|stop| **stop > row.weight).min();
            let to = to.map(|weight| format!(": {weight}")).unwrap_or_default();
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
        CommandKind::Abort => ("Abort", "All traffic goes to stable at once, then the canary is drained and stopped."),
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

/// What the live region says of a receipt: verdicts and turns, never samples.
pub fn announcement(receipt: &Receipt) -> Option<String> {
    matters(receipt.payload.kind).then(|| describe(receipt).sentence())
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
            | Kind::AnalysisFailed
            | Kind::AnalysisInconclusive
            | Kind::AnalysisError
            | Kind::RollbackExecuted
            | Kind::CommandRefused
    )
}

/// The key of the command that a page in this state sends: the same page state, session and release give the same key, so a
/// form sent twice is carried out once. Says nothing about the session's token: it is a hash.
pub fn command_key(form_token: &str, actor: &str, release: &str, as_of: u64) -> String {
    let text = format!("{form_token}\n{actor}\n{release}\n{as_of}");
    let hash = tlog::leaf_hash(text.as_bytes());
    hash.to_string().chars().take(32).collect()
}

/// A kind as filters show it: `canary.stepped`.
pub fn kind_name(kind: Kind) -> &'static str {
    kind.as_str().trim_start_matches("delivery.")
}

/// A query string out of names and values; empty values are left out.
pub fn query(path: &str, pairs: &[(&str, &str)]) -> String {
    let mut out = path.to_owned();
    for (name, value) in pairs.iter().filter(|(_, v)| !v.is_empty()) {
        out.push(if out.contains('?') { '&' } else { '?' });
        out.push_str(name);
        out.push('=');
        for b in value.bytes() {
            match b {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(b)),
                _ => out.push_str(&format!("%{b:02X}")),
            }
        }
    }
    out
}

/// This page's address with some of its query changed; `None` takes a name out.
pub fn address(path: &str, query: &str, changes: impl IntoIterator<Item = (&'static str, Option<String>)>) -> String {
    let changes: Vec<_> = changes.into_iter().collect();
    let kept = query.trim_start_matches('?').split('&').filter(|pair| !pair.is_empty());
    let kept = kept.filter(|pair| !changes.iter().any(|(name, _)| pair.split('=').next() == Some(*name)));
    let kept = kept.collect::<Vec<_>>().join("&");
    let base = if kept.is_empty() { path.to_owned() } else { format!("{path}?{kept}") };
    let set: Vec<(&str, &str)> = changes.iter().filter_map(|(name, v)| Some((*name, v.as_deref()?))).collect();
    self::query(&base, &set)
}

#[cfg(test)]
mod tests {
    use model::{
        Digest, Weight,
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
            runtime: "local".into(),
        };
        let payload = Payload::new(Kind::CanaryStarted, at(0), "dana".parse().unwrap(), &facts)
            .unwrap()
            .release("checkout-1".parse().unwrap());
        ReleaseView::of(vec![Receipt { index: 4, payload }]).unwrap()
    }

    #[test]
    fn headlines_and_stages() {
        let check = |change: fn(&mut ReleaseView), headline: &str, stage: &str| {
            let mut v = view();
            change(&mut v);
            assert_eq!(super::headline(&v).plain(), headline);
            assert_eq!(super::stage(&v, at(100)), stage, "{headline}");
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
    fn keys_of_commands() {
        let key = command_key("secret", "dana", "a-1", 7);
        assert_eq!(key, command_key("secret", "dana", "a-1", 7));
        for other in [
            command_key("other", "dana", "a-1", 7),
            command_key("secret", "lee", "a-1", 7),
            command_key("secret", "dana", "a-2", 7),
            command_key("secret", "dana", "a-1", 8),
        ] {
            assert_ne!(key, other);
        }
        for kind in CommandKind::ALL {
            assert!(format!("{kind}-{key}").parse::<model::CommandId>().is_ok());
        }
    }

    #[test]
    fn a_part_of_an_address_changes() {
        let some = |v: &str| Some(v.to_owned());
        for (query, changes, address) in [
            ("", vec![("receipt", some("7"))], "/r?receipt=7"),
            ("?receipt=7", vec![("receipt", None)], "/r"),
            ("?from=1&receipt=7&to=2", vec![("receipt", some("8"))], "/r?from=1&to=2&receipt=8"),
            ("from=1&to=2", vec![("from", None), ("to", None), ("at", some("3"))], "/r?at=3"),
            ("fromage=1", vec![("from", None)], "/r?fromage=1"),
        ] {
            assert_eq!(super::address("/r", query, changes), address);
        }
    }

    #[test]
    fn addresses() {
        assert_eq!(
            query("/receipts", &[("kind", ""), ("release", "a b&c"), ("before", "7")]),
            "/receipts?release=a%20b%26c&before=7"
        );
        assert_eq!(query("/receipts", &[]), "/receipts");
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
