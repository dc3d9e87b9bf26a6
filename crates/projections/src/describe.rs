//! One sentence for one receipt.

use model::{
    Digest, Kind, Weight,
    event::{
        AnalysisEnded, CanaryAborted, CanaryCompleted, CanaryPaused, CanaryPromoted, CanaryResumed, CanaryStarted,
        CanaryStepped, CommandSeen, ReleaseCompleted, RollbackArmed, RollbackExecuted,
    },
};
use receipts::Payload;
use serde_json::{Map, Value};

use crate::{
    Receipt,
    row::{PERSON, turn},
    say,
};

/// What a receipt says, in words: together one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The news.
    pub headline: String,
    /// What belongs to it; may be empty.
    pub detail: String,
}

impl Description {
    /// Both, as one sentence.
    pub fn sentence(&self) -> String {
        if self.detail.is_empty() { self.headline.clone() } else { format!("{}: {}", self.headline, self.detail) }
    }
}

/// What this receipt says. Facts that are missing or not readable are left out, never guessed.
pub fn describe(receipt: &Receipt) -> Description {
    let p = &receipt.payload;
    known(p).unwrap_or_else(|| Description { headline: plain_kind(p.kind), detail: String::new() })
}

/// The reason that a receipt states, as people read it; `None` when nobody gave one.
pub fn reason(p: &Payload) -> Option<String> {
    let said = p.facts.get("reason")?.as_str()?;
    let none = match p.kind {
        // An abort may hold `abort by dana` in place of a reason that nobody gave.
        Kind::CanaryAborted => said
            .split_once(" by ")
            .is_some_and(|(what, who)| who == p.actor.as_str() && matches!(what, "abort" | "rollback")),
        Kind::CanaryPaused => said == PERSON,
        _ => false,
    };
    let found = p.facts.get("automatic").and_then(Value::as_bool) == Some(true);
    let said = if found { say::finding(said) } else { said.trim().to_owned() };
    (!none && !said.is_empty()).then_some(said)
}

fn known(p: &Payload) -> Option<Description> {
    let d = |headline: String, detail: String| Some(Description { headline, detail });
    match p.kind {
        Kind::CanaryStarted => {
            let f: CanaryStarted = p.facts().ok()?;
            d(
                format!("{} {} started", f.service, f.version),
                format!(
                    "{} to {}, against {}",
                    say::plural(u64::from(f.steps), "step", "steps"),
                    f.environment,
                    f.stable_version
                ),
            )
        }
        Kind::CanaryStepped => {
            let f: CanaryStepped = p.facts().ok()?;
            let step = match f.step {
                // The engine counts one further when the steps are over; its cause says so.
                step if step >= f.steps => "after the last step".to_owned(),
                step => format!("step {} of {} of its recipe", u64::from(step) + 1, f.steps),
            };
            // Why, when it is not simply the recipe going on.
            let cause = p.facts.get("cause").and_then(|c| c.as_str()).filter(|c| *c != "a step of the recipe");
            let step = cause.map_or(step.clone(), |c| format!("{step}, {c}"));
            match (f.from_weight, f.weight) {
                (from, to) if from == to => d(format!("Stays at {to}"), step),
                (from, Weight::ZERO) => d(
                    format!("{} → 0 %", from.percent()),
                    cause.map_or("all traffic on stable".to_owned(), |c| format!("all traffic on stable: {c}")),
                ),
                (from, to) => d(format!("{} → {to}", from.percent()), format!("canary stepped, {step}")),
            }
        }
        Kind::CanaryPaused => {
            let f: CanaryPaused = p.facts().ok()?;
            if turn(p) == Some("held") {
                let why = quoted(&reason(p).unwrap_or_default());
                return d(format!("{} holds it at {}", p.actor, f.weight), why);
            }
            let until = f.until.map(|t| format!(" until {}", t.clock()));
            let why = match f.reason.as_str() {
                "step" if until.is_some() => "by the recipe".to_owned(),
                "step" => "by the recipe, until somebody promotes it".to_owned(),
                PERSON => format!("by {}", p.actor),
                "inconclusive" => "the analysis is inconclusive, a person decides".to_owned(),
                other => other.to_owned(),
            };
            d(format!("Held at {}{}", f.weight, until.unwrap_or_default()), why)
        }
        Kind::CanaryResumed => {
            let f: CanaryResumed = p.facts().ok()?;
            match turn(p) {
                Some("promoted-full") => d(format!("{} skipped the rest of the steps", p.actor), f.reason),
                Some("retried") => d(format!("{} started it again", p.actor), f.reason),
                // A person's hold may lie over the pause of the recipe: each ends by itself.
                Some("released") => d(format!("Hold lifted after {}", say::duration(f.paused_ms)), f.reason),
                Some("pause-ended") => d(format!("Pause over after {}", say::duration(f.paused_ms)), f.reason),
                _ => d(format!("Resumed after {}", say::duration(f.paused_ms)), f.reason),
            }
        }
        Kind::CanaryPromoted => {
            let f: CanaryPromoted = p.facts().ok()?;
            let skipped = if f.full { "steps skipped by a person; " } else { "" };
            d(format!("{} is stable now", f.version), format!("{skipped}{}", f.reason))
        }
        Kind::CanaryAborted => {
            let f: CanaryAborted = p.facts().ok()?;
            let by = if f.automatic { "by the judge".to_owned() } else { format!("by {}", p.actor) };
            d(format!("Aborted at {} {by}", f.weight), reason(p).unwrap_or_default())
        }
        Kind::CanaryCompleted => {
            let f: CanaryCompleted = p.facts().ok()?;
            let clocks = [
                ("to 0 % in ", f.breach_to_zero_ms),
                ("0 % to drained in ", f.zero_to_drained_ms),
                ("recovered in ", f.rto_ms),
            ];
            let said: Vec<String> =
                clocks.iter().filter_map(|(what, ms)| ms.map(|ms| format!("{what}{}", say::duration(ms)))).collect();
            d(format!("Rollout ended {} after {}", f.outcome.as_str(), say::duration(f.took_ms)), said.join(", "))
        }
        Kind::AnalysisPassed | Kind::AnalysisFailed | Kind::AnalysisInconclusive | Kind::AnalysisError => {
            let f: AnalysisEnded = p.facts().ok()?;
            let message = say::finding(&f.message);
            // The judge cannot prove that nothing is wrong: it says how far it looked.
            if let Some(how_far) = message.strip_prefix("no regression found ") {
                return d("Analysis found no regression".to_owned(), how_far.to_owned());
            }
            if p.kind == Kind::AnalysisPassed && say::is_doubtful(&message) {
                return d("Analysis did not stop it".to_owned(), message);
            }
            let ended = match p.kind {
                Kind::AnalysisPassed => "Analysis passed",
                Kind::AnalysisFailed => "Analysis failed",
                Kind::AnalysisInconclusive => "Analysis inconclusive",
                _ => "Analysis could not be done",
            };
            d(ended.to_owned(), message.trim_start_matches("inconclusive: ").to_owned())
        }
        Kind::RollbackArmed => {
            let f: RollbackArmed = p.facts().ok()?;
            let mut parts = vec![format!("back to {}", f.previous_version)];
            if f.down_migration != "none" {
                parts.push(format!("down-migration {}", f.down_migration));
            }
            if !f.flags_off.is_empty() {
                parts.push(format!("off: {}", f.flags_off.join(", ")));
            }
            d("Rollback armed".to_owned(), parts.join(", "))
        }
        Kind::RollbackExecuted => {
            let f: RollbackExecuted = p.facts().ok()?;
            d(
                format!("Rollback, step {} of {}: {}", f.order, f.of, f.act),
                format!("{} ({})", f.result, say::duration(f.took_ms)),
            )
        }
        Kind::GatesPassed | Kind::GatesFailed => {
            let f = Stated(&p.facts);
            if p.kind == Kind::GatesPassed {
                let reports = say::plural(f.all("reports")?.len() as u64, "report", "reports");
                let findings = say::plural(f.count("findings")?, "finding", "findings");
                let waived = match f.count("waived")? {
                    0 => String::new(),
                    n => format!(", {} waived", say::count(n)),
                };
                let not_run = match f.all("not_run").map_or(0, |all| all.len() as u64) {
                    0 => String::new(),
                    n => format!(", {} not run", say::plural(n, "scanner", "scanners")),
                };
                return d(
                    format!("Gates passed{not_run}"),
                    format!("{reports}, {findings}{waived}, policy “{}”", f.text("policy")?),
                );
            }
            let first = f.all("reasons")?.first().and_then(Value::as_str).unwrap_or("no reason is recorded");
            let more = match f.count("reasons_total")?.saturating_sub(1) {
                0 => String::new(),
                n => format!(", and {}", say::plural(n, "more reason", "more reasons")),
            };
            d("Gates failed".to_owned(), format!("{first}{more}"))
        }
        Kind::BuildCompleted => {
            let f = Stated(&p.facts);
            d(
                format!("{} {} was built", f.text("service")?, f.text("tag")?),
                format!("{}, from {}", f.text("subject")?, f.text("source")?),
            )
        }
        Kind::AttestationSlsa | Kind::AttestationSignature | Kind::AttestationSbom | Kind::AttestationVuln => {
            let f = Stated(&p.facts);
            let what = match p.kind {
                Kind::AttestationSlsa => "Provenance verified",
                Kind::AttestationSignature => "Signature verified",
                Kind::AttestationSbom => "Bill of materials verified",
                _ => "Vulnerability scan verified",
            };
            let logged =
                if f.all("logged")?.is_empty() { "not in a transparency log" } else { "in a transparency log" };
            // A key's fingerprint is as long as a digest; who signed without one is said whole.
            let signer = f.text("signer")?;
            let signer =
                signer.strip_prefix("key ").map_or(signer.to_owned(), |key| format!("key {}", say::short(key)));
            let subject: Digest = f.text("subject")?.parse().ok()?;
            d(what.to_owned(), format!("of {} {}, signed by {signer}, {logged}", f.text("service")?, subject.short()))
        }
        Kind::PromotionCopied => {
            let f = Stated(&p.facts);
            let agreed = f.text("asked_by").map(|who| format!(", as {who} had asked")).unwrap_or_default();
            let evidence = say::plural(f.count("evidence").unwrap_or(0), "piece of evidence", "pieces of evidence");
            let [service, tag, to] = f.promoted()?;
            d(format!("{service} {tag} promoted to {to}"), format!("with {evidence}{agreed}"))
        }
        Kind::PromotionRefused => {
            let f = Stated(&p.facts);
            let why: Vec<&str> = f.all("refusals").into_iter().flatten().filter_map(Value::as_str).collect();
            let [service, tag, to] = f.promoted()?;
            d(format!("{service} {tag} not promoted to {to}"), why.join("; "))
        }
        Kind::CommandAccepted if p.facts.get("command").is_some_and(|c| c == "promote-image") => {
            let [service, tag, to] = Stated(&p.facts).promoted()?;
            d(
                format!("{} asked to promote {service} {tag} to {to}", p.actor),
                "it waits for a second person".to_owned(),
            )
        }
        Kind::CommandAccepted => {
            let f: CommandSeen = p.facts().ok()?;
            if f.command == "restore" {
                return d("Traffic put back to what the log says".to_owned(), f.reason);
            }
            let detail = match p.facts.get("subject").and_then(|subject| subject.as_str()) {
                // A command about somebody and not about a release.
                Some(subject) => format!("of {subject}"),
                None => quoted(&f.reason),
            };
            d(format!("{} asked to {}", p.actor, f.command.replace('-', " ")), detail)
        }
        Kind::CommandRefused => {
            let f: CommandSeen = p.facts().ok()?;
            d(format!("{} was refused to {}", p.actor, f.command), f.refusal.unwrap_or_default())
        }
        Kind::ReleaseCompleted => {
            let f: ReleaseCompleted = p.facts().ok()?;
            let energy = p.energy.as_ref().map(|e| format!(", {}", say::energy(e))).unwrap_or_default();
            d(
                format!("Release {}", f.outcome.as_str()),
                format!("one receipt over {}{energy}", say::plural(f.children, "receipt", "receipts")),
            )
        }
        _ => None,
    }
}

/// Facts that are read one by one where a sentence needs few of many: to read all of a decision takes a good part of the browser's code.
struct Stated<'a>(&'a Map<String, Value>);

impl<'a> Stated<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        self.0.get(name)?.as_str()
    }

    fn count(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.as_u64()
    }

    fn all(&self, name: &str) -> Option<&'a Vec<Value>> {
        self.0.get(name)?.as_array()
    }

    /// Of a promotion: the service, the tag, and into which environment.
    fn promoted(&self) -> Option<[&'a str; 3]> {
        Some([self.text("service")?, self.text("tag")?, self.text("environment")?])
    }
}

/// `delivery.flag.toggled` → `Flag toggled`.
fn plain_kind(kind: Kind) -> String {
    let words = kind.as_str().trim_start_matches("delivery.").replace(['.', '_'], " ");
    let mut chars = words.chars();
    chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn quoted(reason: &str) -> String {
    if reason.trim().is_empty() { String::new() } else { format!("“{}”", reason.trim()) }
}
