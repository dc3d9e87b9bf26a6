//! The judge on the release page: what the evidence says in a sentence, its lanes, and its recomputation.

use judge::sequential::{DOUBTFUL_ODDS, Measure, tables};
use maud::{Markup, html};
use model::{Judged, Kind, Timestamp};
use projections::{ReleaseView, say};
use serde_json::{Map, Value};

use super::page::Page;
use crate::{
    timeline::{self, EVIDENCE_HEIGHT, Lines, WIDTH},
    words::Tone,
};

/// What the receipts say of the sequential judge.
#[derive(Debug, Clone, PartialEq)]
struct Basis<'a> {
    terms: Terms,
    /// Blocks of requests count, not each for itself.
    blocks: bool,
    /// The receipt that states them.
    receipt: u64,
    /// The last verdict's receipt with its facts.
    verdict: Option<(u64, &'a Map<String, Value>)>,
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

impl<'a> Basis<'a> {
    fn of(view: &'a ReleaseView) -> Option<Self> {
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
        let verdict = verdict.map(|r| (r.index, &r.payload.facts));
        Some(Self { terms, blocks, receipt: begun.index, verdict })
    }
}

/// Whether there is something to say: nothing for a release that another rule judges.
pub(super) fn has(p: &Page) -> bool {
    Basis::of(p.view()).is_some()
}

/// The section, with what is in its rooms.
pub(super) fn section(hidden: bool, of: impl Fn(&str) -> Markup) -> Markup {
    html! {
        section.judge aria-labelledby="judge" data-part="judge" hidden[hidden] {
            div.room data-room="judge-head" { (of("judge-head")) }
            div.tl-scroll {
                div.tl-width {
                    div.tl-part data-room="judge-lines" { (of("judge-lines")) }
                    svg.tl-over viewBox={ "0 0 " (WIDTH) " " (EVIDENCE_HEIGHT) } aria-hidden="true" data-room="judge-over" { (of("judge-over")) }
                }
            }
            div.room data-room="judge-promise" { (of("judge-promise")) }
            div.room data-room="judge-again" { (of("judge-again")) }
            details.twin data-twin="evidence" {
                summary { "The evidence in rows" }
                div.room data-room="judge-rows" { (of("judge-rows")) }
            }
        }
    }
}

/// The drawing.
pub(super) fn lines(p: &Page) -> String {
    let Some(Basis { terms: Terms { alpha, tolerance, delta, .. }, .. }) = Basis::of(p.view()) else {
        return String::new();
    };
    timeline::evidence_chart(p.seen(), p.axis(), Lines { alpha, tolerance, delta })
}

/// What the evidence says by now, in a sentence, and its figures: where the cursor is, if it is somewhere.
pub(super) fn head(p: &Page) -> String {
    let Some(basis) = Basis::of(p.view()) else { return String::new() };
    let judged_until = |at: Timestamp| {
        let seen = p.seen().iter().rev().skip_while(move |t| t.at > at);
        seen.map(|t| (t.at, t.judged.as_deref())).find_map(|(at, judged)| Some((at, judged?)))
    };
    // A second's counts come after it.
    let end = p.until().plus_millis(1_000);
    let last = judged_until(end).map(|(_, judged)| judged);
    let at = p.cursor.map(|_| p.reading().at).filter(|at| *at < p.axis().until);
    let looked = judged_until(at.unwrap_or(end));
    let there = looked.map(|(_, judged)| judged);
    let over = !p.view().row.in_flight();
    let policy = &basis.terms;
    let stopped = basis.verdict.as_ref().and_then(|(_, f)| f.get("stopped_by")?.as_str());
    let (tone, key, rest) = sentence(last, policy, stopped, over, basis.blocks);
    // Where requests share their fate, an interval that takes them one by one promises nothing.
    let confidence = if basis.blocks { "if requests are independent".to_owned() } else { confidence(policy.alpha) };
    let or_na = |said: Option<String>| said.unwrap_or_else(|| "n/a".to_owned());
    html! {
        h2 #judge { "Evidence" }
        p.judge-says {
            // Another verdict is another sentence: it does not move, it comes, and so does the space before it.
            span class={ "key " (tone.class()) } { (key) } span.mute data-key=(key) { " " (rest) }
        }
        dl.judge-facts {
            div {
                dt { "canary requests judged" @if let Some((at, _)) = looked { " until " (at.clock()) } }
                dd { (say::count(there.map_or(0, |l| l.exposed))) }
            }
            div { dt { "p99 ratio, " (confidence) } dd { (or_na(there.map(|l| timeline::ratio_words(l.ratio)))) } }
            div {
                dt { "5xx more than stable, " (confidence) }
                dd { (or_na(there.map(|l| timeline::difference_words(l.difference.map(Some))))) }
            }
            div { dt { "what the evidence is made of" } dd { (or_na(there.map(|l| share_words(l, policy)))) } }
        }
    }
    .into_string()
}

/// What it promises, and where that is signed.
pub(super) fn promise(p: &Page) -> String {
    let Some(basis) = Basis::of(p.view()) else { return String::new() };
    let unit = if basis.blocks {
        "Requests are counted in blocks, because some share their fate; the intervals (grey) take them one by one."
    } else {
        "Each request counts for itself."
    };
    html! {
        p.mute {
            a href={ "/receipts/" (basis.receipt) } { "The promise" }
            ": a canary that is never worse than stable by more than the tolerance is stopped by mistake in at most "
            (trimmed(basis.terms.alpha * 100.0)) " % of rollouts, however often this is looked at. " (unit)
        }
    }
    .into_string()
}

/// How far the recomputation of the last verdict is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Again {
    /// Not asked for.
    #[default]
    Not,
    /// Under way.
    #[cfg_attr(not(feature = "hydrate"), allow(dead_code, reason = "done in the browser only"))]
    Fetching,
    /// What came of it, for which receipt.
    #[cfg_attr(not(feature = "hydrate"), allow(dead_code, reason = "done in the browser only"))]
    Done(u64, Result<String, String>),
}

/// The receipt of the last verdict and its facts, to be recomputed.
#[cfg_attr(not(feature = "hydrate"), allow(dead_code, reason = "done in the browser only"))]
pub(super) fn verdict(p: &Page) -> Option<(u64, Map<String, Value>)> {
    Basis::of(p.view())?.verdict.map(|(index, facts)| (index, facts.clone()))
}

/// The last verdict, recomputed from its ticks by this browser.
pub(super) fn again(p: &Page) -> String {
    let Some((index, _)) = Basis::of(p.view()).and_then(|basis| basis.verdict) else { return String::new() };
    let (class, said) = match &p.again {
        Again::Not => (String::new(), ""),
        Again::Fetching => (format!("state {}", Tone::Unknown.class()), "Fetching its counts"),
        // Of another verdict, when there has been one since or another moment is looked back at.
        Again::Done(of, _) if *of != index => (String::new(), ""),
        Again::Done(_, Ok(said)) => (format!("state {}", Tone::Good.class()), said.as_str()),
        Again::Done(_, Err(why)) => (format!("state {}", Tone::Bad.class()), why.as_str()),
    };
    html! {
        p.judge-again {
            button.woken type="button" data-again="" { "Recompute the last verdict here" }
            " " a href={ "/receipts/" (index) } { "receipt " (say::count(index)) }
            " " span class=(class) role="status" { (said) }
        }
    }
    .into_string()
}

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
            " Its p99 looks at least {low:.2} times stable's, but requests here slow down together: it is not proved."
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
            "Stopped at once.".to_owned(),
            format!("{} canary requests in a row failed while stable answered: the hard stop.", policy.hard_stop),
        ),
        "regressed" => (
            Tone::Bad,
            "Stopped by the evidence.".to_owned(),
            format!("Evidence {odds} that it is worse than stable beyond the tolerance; it stops at {limit}."),
        ),
        "certified" => (
            Tone::Good,
            "Proved within tolerance for this step.".to_owned(),
            format!("That it is worse in every second is ruled out.{still}"),
        ),
        "unrefuted" if slower.is_some() => (
            Tone::Wait,
            "It looks slower, which is not proved.".to_owned(),
            format!("Evidence against it {odds}, {limit} would stop it.{still}"),
        ),
        "unrefuted" if judged.joint >= DOUBTFUL_ODDS.ln() => (
            Tone::Wait,
            "Not decided.".to_owned(),
            format!("Evidence against it {odds}, {limit} would stop it.{still}"),
        ),
        "unrefuted" => (
            Tone::Run,
            if over { "No regression found." } else { "No regression found so far." }.to_owned(),
            format!("Evidence against it {odds}, {limit} would stop it.{still}"),
        ),
        _ => (
            Tone::Wait,
            "Too early to say.".to_owned(),
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
        let doubtful = sentence(Some(&judged("unrefuted", 94.0_f64.ln(), None)), &policy, None, false, false);
        assert_eq!((doubtful.0, doubtful.1.as_str()), (Tone::Wait, "Not decided."));
        assert!(doubtful.2.contains("94 to 1, 100 to 1 would stop it"), "{}", doubtful.2);
        check("regressed", Some("hard-stop"), &["hard stop", "10 canary requests in a row"]);
        check("regressed", Some("evidence"), &["Stopped by the evidence", "it stops at 100 to 1"]);
        check("inconclusive", None, &["Too early to say"]);
        check("certified", None, &["Proved within tolerance for this step"]);
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

    /// A release that the sequential judge looked at, over after 390 s.
    #[cfg(feature = "ssr")]
    fn judged_view(verdicts: &[i64]) -> ReleaseView {
        let mut view = crate::gallery::sample_view();
        let start = view.row.started;
        let rule = judge::Rule::Sequential(judge::sequential::Policy::default());
        let mut say = |kind, s: i64, facts: &Value| {
            let payload =
                receipts::Payload::new(kind, start.plus_millis(s * 1000), model::Actor::judge(), facts).unwrap();
            let index = view.as_of + 1;
            view.fold(&projections::Receipt { index, payload: payload.release(view.row.id.clone()) });
            index
        };
        let beginning = serde_json::json!({ "choice": { "mode": "requests" } });
        say(Kind::AnalysisStarted, 3, &serde_json::json!({ "policy": rule, "beginning": beginning }));
        for at in verdicts {
            say(Kind::AnalysisPassed, *at, &serde_json::json!({ "policy": rule, "said": {}, "tables": [] }));
        }
        (view.row.ended, view.row.phase) =
            (Some(start.plus_millis(390_000)), projections::Phase::Ended(model::event::Outcome::Promoted));
        view
    }

    #[cfg(feature = "ssr")]
    fn page_of(view: &ReleaseView, ticks: Vec<model::Tick>) -> Page {
        use super::super::{controls::Reader, page::Address};
        Page::new(view.clone(), ticks, Reader::Nobody, Address::default(), view.row.ended.unwrap())
    }

    #[cfg(feature = "ssr")]
    #[test]
    fn a_recomputed_verdict_says_so_beside_its_own_receipt() {
        let view = judged_view(&[100, 300]);
        let (first, second) = (view.as_of - 1, view.as_of);
        let mut page = page_of(&view, Vec::new());
        for (recomputed, back, shown, says) in [
            (second, None, second, true),
            (second, Some(200), first, false),
            (first, Some(200), first, true),
            (first, None, second, false),
        ] {
            page.look_back(back.map(|s| s * 1000));
            page.again = Again::Done(recomputed, Ok("the same".to_owned()));
            let said = again(&page);
            assert!(said.contains(&format!("href=\"/receipts/{shown}\"")), "{said}");
            assert_eq!(said.contains("the same"), says, "{recomputed} beside {shown}");
        }
    }

    #[cfg(feature = "ssr")]
    #[test]
    fn evidence_stands_below_the_seconds_that_it_is_of() {
        let view = judged_view(&[]);
        let start = view.row.started;
        let judged = r#"{"joint":0.5,"abs":0,"rel":0,"p99":0.5,"ratio":[null,1.3],"difference":[-0.01,0.01],"exposed":7,"verdict":"unrefuted"}"#;
        let second = |s: i64| {
            let tick = r#"{"seq":1,"boot":"a","at":"1970-01-01T00:00:00.000Z","weight":5,"epoch":1,"stable":{"n":1,"errors":0},"canary":null}"#;
            let mut tick: model::Tick = serde_json::from_str(tick).unwrap();
            tick.at = start.plus_millis(s * 1000);
            tick.judged = Some(serde_json::from_str(judged).unwrap());
            tick
        };
        let ticks: Vec<_> = (1..=390).map(second).collect();
        // It is over; where it is looked back at it was still to climb for long.
        for (from, to, back, first, last) in [
            ("", "", "", 1, 390),
            ("", "", "200", 1, 200),
            ("100", "250", "", 100, 250),
            ("100", "250", "200", 100, 200),
        ] {
            let mut page = page_of(&view, ticks.clone());
            page.begin_at(from, to, back);
            let svg = lines(&page);
            let line = svg.split("tl-canary\" d=\"M").nth(1).unwrap().split('"').next().unwrap();
            let numbers = |text: &str| text.split(' ').map(|n| n.parse::<f64>().unwrap()).collect::<Vec<_>>();
            let (begins, steps) = line.split_once('l').unwrap();
            let begins = numbers(begins)[0];
            let ended = begins + numbers(steps).iter().step_by(2).sum::<f64>();
            let x = |s: i64| page.axis().x(start.plus_millis(s * 1000));
            let ends = (begins - x(first), ended - x(last));
            let grain = x(first + 2) - x(first);
            assert!(ends.0.abs() <= grain && ends.1.abs() <= grain, "{from} {to} {back}: {ends:?}");
        }
    }
}
