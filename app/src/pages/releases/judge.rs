//! The judge on the release page: what the evidence says in a sentence, its lanes, and its recomputation.

use judge::sequential::{Measure, tables};
use leptos::prelude::*;
use maud::html;
use model::{Judged, Kind, Tick, Timestamp};
use projections::{ReleaseView, say};
use serde_json::{Map, Value};

use crate::{
    components::{Settle, room, written},
    timeline::{self, Axis, EvidencePoint, Lines},
    words::Tone,
};

/// Why this count is below that of the requests served.
const JUDGED: &str =
    "those that had ended when it last looked; what the canary served counts the seconds after that too";

/// Rows of the table: more are not read.
const MAX_ROWS: usize = 120;

/// What the receipts say of the sequential judge.
#[derive(Debug, Clone, PartialEq)]
struct Basis {
    terms: Terms,
    /// Blocks of requests count, not each for itself.
    blocks: bool,
    /// The receipt that states them.
    receipt: u64,
    /// The last verdict's receipt with its facts.
    verdict: Option<(u64, Map<String, Value>)>,
}

/// What the page says of a policy: to read all of it takes a good part of the judge's code.
#[derive(Debug, Clone, PartialEq)]
struct Terms {
    alpha: f64,
    tolerance: f64,
    delta: f64,
    hard_stop: u64,
    /// In the order of [`Measure::ALL`].
    weights: [f64; 3],
}

impl Terms {
    /// As a receipt states them; `None` for another rule's.
    fn of(policy: &Value) -> Option<Self> {
        let number = |name: &str| policy.get(name)?.as_f64();
        let weights = policy.get("weights")?;
        let weight = |measure: Measure| weights.get(measure.as_str())?.as_f64();
        let [abs, rel, p99] = Measure::ALL;
        (policy.get("rule")?.as_str()? == "sequential").then_some(())?;
        Some(Self {
            alpha: number("alpha")?,
            tolerance: number("tolerance")?,
            delta: number("delta")?,
            hard_stop: policy.get("hard_stop")?.as_u64()?,
            weights: [weight(abs)?, weight(rel)?, weight(p99)?],
        })
    }
}

impl Basis {
    fn of(view: &ReleaseView) -> Option<Self> {
        let begun = view
            .receipts
            .iter()
            .rev()
            .find(|r| r.payload.kind == Kind::AnalysisStarted && r.payload.facts.contains_key("beginning"))?;
        let facts = &begun.payload.facts;
        let terms = Terms::of(facts.get("policy")?)?;
        let blocks = match facts.get("beginning")?.get("choice")?.get("mode")?.as_str()? {
            "requests" => false,
            "blocks" => true,
            _ => return None,
        };
        let verdict = view.receipts.iter().rev().find(|r| tables(&r.payload.facts).is_some());
        let verdict = verdict.map(|r| (r.index, r.payload.facts.clone()));
        Some(Self { terms, blocks, receipt: begun.index, verdict })
    }
}

/// The section; nothing for a release that another rule judges.
#[component]
pub fn JudgeSection(
    /// The release.
    view: RwSignal<ReleaseView>,
    /// Its ticks.
    ticks: RwSignal<Vec<Tick>>,
    /// The moment that is shown: now, or one that is looked back at.
    now: Signal<Timestamp>,
) -> impl IntoView {
    let basis = Memo::new(move |_| view.with(Basis::of));
    move || basis.get().map(|basis| judge(basis, view, ticks, now))
}

/// The ticks until this moment.
fn seen(ticks: &[Tick], until: Timestamp) -> &[Tick] {
    ticks.get(..ticks.partition_point(|t| t.at <= until.plus_millis(1_000))).unwrap_or_default()
}

fn judge(basis: Basis, view: RwSignal<ReleaseView>, ticks: RwSignal<Vec<Tick>>, now: Signal<Timestamp>) -> AnyView {
    let until = move || view.with(|v| if v.row.in_flight() { now.get() } else { v.row.ended.unwrap_or_default() });
    let Terms { alpha, tolerance, delta, .. } = basis.terms;
    let lines = Lines { alpha, tolerance, delta };
    let drawing = written(move || {
        let until = until();
        view.with(|v| ticks.with(|t| timeline::evidence_chart(v, seen(t, until), until, lines)))
    });
    let promise = promise(&basis);
    let verdict = basis.verdict.clone();
    let head = written(move || {
        let until = until();
        let over = view.with(|v| !v.row.in_flight());
        ticks.with(|t| head(&basis, seen(t, until).iter().rev().find_map(|t| t.judged.as_deref()), over))
    });
    let open = RwSignal::new(false);
    let rows = written(move || {
        if !open.get() {
            return String::new();
        }
        let (axis, until) = (view.with(|v| Axis::of(v, until())), until());
        ticks.with(|t| rows(timeline::evidence_points(seen(t, until), axis.grain()), axis))
    });
    let twin = NodeRef::<leptos::html::Details>::new();
    view! {
        <section class="judge" aria-labelledby="judge">
            {room(head)}
            <div class="tl-scroll"><div class="tl-width"><div class="tl-part" inner_html=drawing></div></div></div>
            <div class="room" inner_html=promise></div>
            {verdict.map(|(index, facts)| recomputed(index, facts))}
            <details class="twin" node_ref=twin on:toggle=move |_| open.set(twin.get_untracked().is_some_and(|d| d.open()))>
                <summary>"The evidence in rows"</summary>
                <div class="wide">{room(rows)}</div>
            </details>
        </section>
    }
    .settled()
}

/// What the evidence says by now: a sentence, and the figures behind it.
fn head(basis: &Basis, last: Option<&Judged>, over: bool) -> String {
    let policy = &basis.terms;
    let stopped = basis.verdict.as_ref().and_then(|(_, f)| f.get("stopped_by")?.as_str());
    let (tone, key, rest) = sentence(last, policy, stopped, over, basis.blocks);
    // Where requests share their fate, an interval that takes them one by one promises nothing.
    let confidence = if basis.blocks { "were requests independent".to_owned() } else { confidence(policy.alpha) };
    let or_na = |said: Option<String>| said.unwrap_or_else(|| "n/a".to_owned());
    html! {
        h2 #judge { "Evidence" }
        p.judge-says {
            span class={ "key " (tone.class()) } { (key) } " " span.mute { (rest) }
        }
        dl.judge-facts {
            div title=(JUDGED) { dt { "canary requests judged" } dd { (say::count(last.map_or(0, |l| l.exposed))) } }
            div { dt { "p99 ratio, " (confidence) } dd { (or_na(last.map(|l| timeline::ratio_words(l.ratio)))) } }
            div {
                dt { "5xx more than stable, " (confidence) }
                dd { (or_na(last.map(|l| timeline::difference_words(l.difference.map(Some))))) }
            }
            div { dt { "share of each measure" } dd { (or_na(last.map(|l| share_words(l, policy)))) } }
        }
    }
    .into_string()
}

fn promise(basis: &Basis) -> String {
    let unit = if basis.blocks {
        "blocks of requests count: any dependence within a block is allowed; the intervals assume independent requests"
    } else {
        "each request counts for itself"
    };
    html! {
        p.mute {
            a href={ "/receipts/" (basis.receipt) } { "The promise" }
            ": if in no second the canary is worse than stable beyond the tolerance, the chance that this rollout is ever stopped by the evidence is at most "
            (trimmed(basis.terms.alpha * 100.0)) " %; " (unit) "."
        }
    }
    .into_string()
}

fn rows(points: Vec<EvidencePoint>, axis: Axis) -> String {
    let every = points.len().div_ceil(MAX_ROWS).max(1);
    html! {
        table {
            caption.sr { "What the judge said, newest first" }
            thead {
                tr {
                    th { "Since start" }
                    th.n { "evidence" }
                    th.n { "highest so far" }
                    th.n { "p99 ratio" }
                    th.n { "5xx more than stable" }
                    th.n { "canary requests judged" }
                }
            }
            tbody {
                @for p in points.into_iter().rev().step_by(every) {
                    tr {
                        td { (say::axis(p.at.since(axis.start))) }
                        td.n { (timeline::odds(p.power)) }
                        td.n { (timeline::odds(p.highest)) }
                        td.n { (timeline::ratio_words(p.ratio)) }
                        td.n { (timeline::difference_words(p.difference.map(Some))) }
                        td.n { (say::count(p.exposed)) }
                    }
                }
            }
        }
    }
    .into_string()
}

/// The last verdict, recomputed from its ticks by this browser.
fn recomputed(index: u64, facts: Map<String, Value>) -> AnyView {
    let facts = StoredValue::new(facts);
    let class = RwSignal::new(String::new());
    let words = RwSignal::new(String::new());
    let begin = move |_| {
        if words.with_untracked(|w| w == FETCHING) {
            return;
        }
        class.set("state unknown".to_owned());
        words.set(FETCHING.to_owned());
        leptos::task::spawn_local(async move {
            let Some(facts) = facts.try_get_value() else { return };
            let found = match crate::parts::recompute(facts).await.ok() {
                Some(work) => work.await,
                None => Err("the code that recomputes it did not come".to_owned()),
            };
            let tone = if found.is_ok() { Tone::Good } else { Tone::Bad };
            let (Ok(said) | Err(said)) = found;
            let _ = class.try_set(format!("state {}", tone.class()));
            let _ = words.try_set(said);
        });
    };
    view! {
        <p class="judge-again">
            <button type="button" class="woken" on:click=begin>"Recompute the last verdict here"</button>
            " "<a href=format!("/receipts/{index}")>{format!("receipt {}", say::count(index))}</a>
            " "<span class=class role="status">{words}</span>
        </p>
    }
    .settled()
}

/// Said while it is under way.
const FETCHING: &str = "Fetching the ticks";

/// The sentence that a person understands: tone, key words, the rest.
fn sentence(
    last: Option<&Judged>,
    policy: &Terms,
    stopped: Option<&str>,
    over: bool,
    blocks: bool,
) -> (Tone, String, String) {
    let limit = timeline::odds(-policy.alpha.log10());
    let Some(judged) = last else {
        return (Tone::Unknown, "Nothing judged yet.".to_owned(), "The canary has had no traffic.".to_owned());
    };
    let odds = timeline::odds(judged.joint / std::f64::consts::LN_10);
    let slower = judged.ratio[0].filter(|low| blocks && *low > 1.0 + policy.tolerance);
    let still = match (judged.ratio, slower) {
        (_, Some(low)) => format!(
            " Request by request its p99 looks at least {low:.2} times stable's, but requests here slow down together: blocks have not proved it."
        ),
        _ if blocks => String::new(),
        ([_, Some(high)], None) => {
            format!(" A p99 up to {high:.2} times stable's is not ruled out ({}).", confidence(policy.alpha))
        }
        _ => " How much slower it could be is not known yet.".to_owned(),
    };
    match judged.verdict.as_str() {
        "regressed" if stopped == Some("hard-stop") => (
            Tone::Bad,
            "Stopped by the hard stop.".to_owned(),
            format!("{} canary requests in a row failed while stable answered.", policy.hard_stop),
        ),
        "regressed" => (
            Tone::Bad,
            "Stopped by the evidence.".to_owned(),
            format!("Evidence {odds} that it is worse than stable beyond the tolerance; it stops at {limit}."),
        ),
        "certified" => {
            (Tone::Good, "Certified for this step.".to_owned(), format!("\"Worse in every second\" is refuted.{still}"))
        }
        "unrefuted" if slower.is_some() => (
            Tone::Wait,
            "It looks slower, which is not proved.".to_owned(),
            format!("Evidence {odds}, {limit} would stop it.{still}"),
        ),
        "unrefuted" => (
            Tone::Run,
            if over { "No regression found." } else { "No regression found so far." }.to_owned(),
            format!("Evidence {odds}, {limit} would stop it.{still}"),
        ),
        _ => (
            Tone::Wait,
            "Nothing can be said yet.".to_owned(),
            format!("Too few requests of both versions, or they do not arrive as planned.{still}"),
        ),
    }
}

/// Which measure has how much of the evidence.
fn share_words(judged: &Judged, policy: &Terms) -> String {
    let ln = [judged.abs, judged.rel, judged.p99];
    let parts: Vec<String> = Measure::ALL
        .into_iter()
        .zip(policy.weights.iter().zip(ln))
        .map(|(m, (weight, ln))| {
            let share = (weight.ln() + ln - judged.joint).exp() * 100.0;
            format!("{} {share:.0} %", m.phrase())
        })
        .collect();
    parts.join(", ")
}

fn confidence(alpha: f64) -> String {
    format!("{} % confidence", trimmed((1.0 - alpha) * 100.0))
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_say_what_is_known() {
        let rule = judge::Rule::Sequential(judge::sequential::Policy::default());
        let policy = Terms::of(&serde_json::to_value(&rule).unwrap()).unwrap();
        let judged = |verdict: &str, joint: f64, high: Option<f64>| Judged {
            joint,
            abs: 0.0,
            rel: 0.0,
            p99: joint,
            ratio: [None, high],
            difference: [-0.01, 0.01],
            certificate: None,
            exposed: 7,
            verdict: verdict.to_owned(),
        };
        let check = |verdict: &str, stopped: Option<&str>, says: &[&str]| {
            let (_, key, rest) = sentence(Some(&judged(verdict, 1.0, Some(1.32))), &policy, stopped, false, false);
            let all = format!("{key} {rest}");
            for words in says {
                assert!(all.contains(words), "{words:?} is missing in {all}");
            }
        };
        check(
            "unrefuted",
            None,
            &[
                "No regression found so far",
                "2.7 to 1",
                "100 to 1",
                "up to 1.32 times stable's is not ruled out (99 % confidence)",
            ],
        );
        check("regressed", Some("hard-stop"), &["hard stop", "10 canary requests in a row"]);
        check("regressed", Some("evidence"), &["Stopped by the evidence", "it stops at 100 to 1"]);
        check("inconclusive", None, &["Nothing can be said yet"]);
        check("certified", None, &["Certified for this step"]);
        assert_eq!(sentence(None, &policy, None, false, false).1, "Nothing judged yet.");
        let wide = Judged { ratio: [Some(1.2), Some(1.8)], ..judged("unrefuted", 0.4, None) };
        let (tone, key, rest) = sentence(Some(&wide), &policy, None, false, true);
        assert_eq!((tone, key.as_str()), (Tone::Wait, "It looks slower, which is not proved."));
        assert!(rest.contains("at least 1.20 times") && !rest.contains("confidence"), "{rest}");
        let level = Judged { ratio: [Some(1.05), Some(1.8)], ..judged("unrefuted", 0.4, None) };
        let (_, key, rest) = sentence(Some(&level), &policy, None, true, true);
        assert!(key.starts_with("No regression") && !rest.contains("confidence"), "blocks claim no interval: {rest}");
        let even = Judged { abs: 0.0, rel: 0.0, p99: 0.0, ..judged("unrefuted", 0.0, None) };
        assert_eq!(share_words(&even, &policy), "the 5xx limit 25 %, 5xx against stable 25 %, p99 against stable 50 %");
    }
}
