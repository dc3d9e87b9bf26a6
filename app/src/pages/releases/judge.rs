//! The judge on the release page: what the evidence says in a sentence, its lanes, and its recomputation.

use judge::{
    Rule,
    sequential::{Measure, Mode, Policy, tables},
};
use leptos::prelude::*;
use model::{Judged, Kind, Tick, Timestamp};
use projections::{ReleaseView, say};
use serde_json::{Map, Value};

use crate::{
    timeline::{self, Axis, Lines},
    words::Tone,
};

/// Rows of the table: more are not read.
const MAX_ROWS: usize = 120;

/// What the receipts say of the sequential judge.
#[derive(Debug, Clone, PartialEq)]
struct Basis {
    policy: Policy,
    mode: Mode,
    /// The receipt that states them.
    receipt: u64,
    /// The last verdict's receipt with its facts.
    verdict: Option<(u64, Map<String, Value>)>,
}

impl Basis {
    fn of(view: &ReleaseView) -> Option<Self> {
        let begun = view
            .receipts
            .iter()
            .rev()
            .find(|r| r.payload.kind == Kind::AnalysisStarted && r.payload.facts.contains_key("beginning"))?;
        let facts = &begun.payload.facts;
        let Rule::Sequential(policy) = serde_json::from_value(facts.get("policy")?.clone()).ok()? else { return None };
        let mode = serde_json::from_value(facts.get("beginning")?.get("choice")?.get("mode")?.clone()).ok()?;
        let verdict = view.receipts.iter().rev().find(|r| tables(&r.payload.facts).is_some());
        let verdict = verdict.map(|r| (r.index, r.payload.facts.clone()));
        Some(Self { policy, mode, receipt: begun.index, verdict })
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
    move || basis.get().map(|basis| view! { <Judge basis view ticks now/> })
}

/// The ticks until this moment.
fn seen(ticks: &[Tick], until: Timestamp) -> &[Tick] {
    ticks.get(..ticks.partition_point(|t| t.at <= until.plus_millis(1_000))).unwrap_or_default()
}

#[component]
fn Judge(
    basis: Basis,
    view: RwSignal<ReleaseView>,
    ticks: RwSignal<Vec<Tick>>,
    now: Signal<Timestamp>,
) -> impl IntoView {
    let until = move || view.with(|v| if v.row.in_flight() { now.get() } else { v.row.ended.unwrap_or_default() });
    let Policy { alpha, tolerance, delta, .. } = basis.policy;
    let lines = Lines { alpha, tolerance, delta };
    let drawing = move || {
        let until = until();
        view.with(|v| ticks.with(|t| timeline::evidence_chart(v, seen(t, until), until, lines)))
    };
    let last =
        Memo::new(move |_| ticks.with(|t| seen(t, until()).iter().rev().find_map(|t| t.judged.as_deref().cloned())));
    let policy = StoredValue::new(basis.policy.clone());
    let stopped = basis.verdict.as_ref().and_then(|(_, f)| f.get("stopped_by")?.as_str().map(str::to_owned));
    let headline = {
        let stopped = stopped.clone();
        Memo::new(move |_| policy.with_value(|p| last.with(|l| sentence(l.as_ref(), p, stopped.as_deref()))))
    };
    let exposed = move || last.with(|l| l.as_ref().map_or(0, |l| l.exposed));
    let shares = move || policy.with_value(|p| last.with(|l| l.as_ref().map(|l| share_words(l, p))));
    let rows = move || {
        let axis = view.with(|v| Axis::of(v, until()));
        let points = ticks.with(|t| timeline::evidence_points(seen(t, until()), axis.grain()));
        let every = points.len().div_ceil(MAX_ROWS).max(1);
        points
            .into_iter()
            .rev()
            .step_by(every)
            .map(|p| {
                view! {
                    <tr>
                        <td>{say::axis(p.at.since(axis.start))}</td>
                        <td class="n">{timeline::odds(p.power)}</td>
                        <td class="n">{timeline::odds(p.highest)}</td>
                        <td class="n">{timeline::ratio_words(p.ratio)}</td>
                        <td class="n">{timeline::difference_words(p.difference.map(Some))}</td>
                        <td class="n">{say::count(p.exposed)}</td>
                    </tr>
                }
            })
            .collect_view()
    };
    let open = RwSignal::new(false);
    let twin = NodeRef::<leptos::html::Details>::new();
    let unit = match basis.mode {
        Mode::Requests => "each request counts for itself",
        Mode::Blocks => {
            "blocks of requests count: any dependence within a block is allowed; the intervals assume independent requests"
        }
    };
    let basis_href = format!("/receipts/{}", basis.receipt);
    let promise = format!(
        "if in no second the canary is worse than stable beyond the tolerance, the chance that this rollout is ever stopped by the evidence is at most {} %; {unit}",
        trimmed(alpha * 100.0)
    );
    let verdict = basis.verdict.clone();
    view! {
        <section class="judge" aria-labelledby="judge">
            <h2 id="judge">"Evidence"</h2>
            <p class="judge-says">
                <span class=move || format!("key {}", headline.get().0.class())>{move || headline.get().1}</span>
                " "<span class="mute">{move || headline.get().2}</span>
            </p>
            <dl class="judge-facts">
                <div><dt>"canary requests exposed"</dt><dd>{move || say::count(exposed())}</dd></div>
                <div><dt>"p99 ratio, "{confidence(alpha)}</dt><dd>{move || last.with(|l| l.as_ref().map_or_else(|| "n/a".to_owned(), |l| timeline::ratio_words(l.ratio)))}</dd></div>
                <div><dt>"5xx more than stable, "{confidence(alpha)}</dt><dd>{move || last.with(|l| l.as_ref().map_or_else(|| "n/a".to_owned(), |l| timeline::difference_words(l.difference.map(Some))))}</dd></div>
                <div><dt>"share of each measure"</dt><dd>{move || shares().unwrap_or_else(|| "n/a".to_owned())}</dd></div>
            </dl>
            <div class="tl-scroll"><div class="tl-width"><div class="tl-part" inner_html=drawing></div></div></div>
            <p class="mute"><a href=basis_href>"The promise"</a>": "{promise}"."</p>
            {verdict.map(|(index, facts)| view! { <Recompute index facts/> })}
            <details class="twin" node_ref=twin on:toggle=move |_| open.set(twin.get_untracked().is_some_and(|d| d.open()))>
                <summary>"The evidence in rows"</summary>
                <div class="wide">
                    <table>
                        <caption class="sr">"What the judge said, newest first"</caption>
                        <thead>
                            <tr>
                                <th>"Since start"</th>
                                <th class="n">"evidence"</th>
                                <th class="n">"highest so far"</th>
                                <th class="n">"p99 ratio"</th>
                                <th class="n">"5xx more than stable"</th>
                                <th class="n">"canary requests"</th>
                            </tr>
                        </thead>
                        <tbody>{move || open.get().then(rows)}</tbody>
                    </table>
                </div>
            </details>
        </section>
    }
}

/// The last verdict, recomputed from its ticks by this browser.
#[component]
fn Recompute(index: u64, facts: Map<String, Value>) -> impl IntoView {
    let pieces = tables(&facts).unwrap_or_default();
    let facts = StoredValue::new(facts);
    let recompute = Action::new(move |pieces: &Vec<String>| {
        let pieces = pieces.clone();
        let facts = facts.get_value();
        async move { replayed(facts, pieces).await }
    });
    let said = move || match recompute.value().get() {
        None if recompute.pending().get() => (Tone::Unknown, "Fetching the ticks".to_owned()),
        None => (Tone::Unknown, String::new()),
        Some(Ok(words)) => (Tone::Good, words),
        Some(Err(words)) => (Tone::Bad, words),
    };
    let pieces = StoredValue::new(pieces);
    // Without a script it could do nothing.
    let ready = RwSignal::new(false);
    Effect::new(move |_| ready.set(true));
    view! {
        <p class="judge-again">
            {move || ready.get().then(|| view! {
                <button type="button" on:click=move |_| { recompute.dispatch(pieces.get_value()); }>"Recompute the last verdict here"</button>
            })}
            " "<a href=format!("/receipts/{index}")>{format!("receipt {}", say::count(index))}</a>
            " "<span class=move || format!("state {}", said().0.class()) role="status">{move || said().1}</span>
        </p>
    }
}

/// Fetches the table by its digests, checks these, and replays it.
async fn replayed(facts: Map<String, Value>, pieces: Vec<String>) -> Result<String, String> {
    let mut table = Vec::new();
    for digest in pieces {
        let text = crate::api::verdicts::get_verdict_ticks(digest.clone())
            .await
            .map_err(|error| format!("the ticks {} could not be fetched: {error}", say::short(&digest)))?;
        if sha256(text.as_bytes()) != digest {
            return Err(format!("the ticks do not have the digest {digest} that the receipt names"));
        }
        table.push(text);
    }
    let found = judge::sequential::audit(&facts, table.iter().map(|t| t.as_bytes())).map_err(|e| e.to_string())?;
    Ok(format!(
        "{} from {}: the ticks have the digests that the receipt names, and give its verdict and its evidence (ln E = {:.9})",
        found.verdict.as_str(),
        say::plural(found.totals.ticks, "tick", "ticks"),
        found.ln_e.joint
    ))
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    model::Digest::from_sha256(&Sha256::digest(bytes).into()).to_string()
}

/// The sentence that a person understands: tone, key words, the rest.
fn sentence(last: Option<&Judged>, policy: &Policy, stopped: Option<&str>) -> (Tone, String, String) {
    let limit = timeline::odds(-policy.alpha.log10());
    let Some(judged) = last else {
        return (Tone::Unknown, "Nothing judged yet.".to_owned(), "The canary has had no traffic.".to_owned());
    };
    let odds = timeline::odds(judged.joint / std::f64::consts::LN_10);
    let still = match judged.ratio {
        [_, Some(high)] => format!(" p99 ratio at most {high:.2} with {}.", confidence(policy.alpha)),
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
            format!("{odds} that it is worse than stable beyond the tolerance; the limit is {limit}."),
        ),
        "certified" => {
            (Tone::Good, "Certified for this step.".to_owned(), format!("\"Worse in every second\" is refuted.{still}"))
        }
        "unrefuted" => (
            Tone::Run,
            "No regression found so far.".to_owned(),
            format!("Evidence {odds} of the {limit} that would stop it.{still}"),
        ),
        _ => (
            Tone::Wait,
            "Nothing can be said yet.".to_owned(),
            format!("Too few requests of both versions, or they do not arrive as planned.{still}"),
        ),
    }
}

/// Which measure has how much of the evidence.
fn share_words(judged: &Judged, policy: &Policy) -> String {
    let ln = [judged.abs, judged.rel, judged.p99];
    let parts: Vec<String> = Measure::ALL
        .into_iter()
        .zip(ln)
        .map(|(m, ln)| {
            let share = (policy.weights.get(m).ln() + ln - judged.joint).exp() * 100.0;
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
        let policy = Policy::default();
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
            let (_, key, rest) = sentence(Some(&judged(verdict, 1.0, Some(1.32))), &policy, stopped);
            let all = format!("{key} {rest}");
            for words in says {
                assert!(all.contains(words), "{words:?} is missing in {all}");
            }
        };
        check(
            "unrefuted",
            None,
            &["No regression found so far", "2.7 to 1", "100 to 1", "at most 1.32 with 99 % confidence"],
        );
        check("regressed", Some("hard-stop"), &["hard stop", "10 canary requests in a row"]);
        check("regressed", Some("evidence"), &["Stopped by the evidence", "the limit is 100 to 1"]);
        check("inconclusive", None, &["Nothing can be said yet"]);
        check("certified", None, &["Certified for this step"]);
        assert_eq!(sentence(None, &policy, None).1, "Nothing judged yet.");
        let even = Judged { abs: 0.0, rel: 0.0, p99: 0.0, ..judged("unrefuted", 0.0, None) };
        assert_eq!(share_words(&even, &policy), "the 5xx limit 25 %, 5xx against stable 25 %, p99 against stable 50 %");
    }
}
