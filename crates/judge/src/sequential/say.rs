//! A verdict in one sentence.

use super::{
    feed::Feed,
    policy::{Measure, Policy},
    state::{Cause, LnE, Verdict},
};

/// Odds beyond which a number says no more.
const MOST_ODDS: f64 = 1e6;

/// What the judge says, for people.
pub fn sentence(feed: &Feed) -> String {
    let (judge, policy) = (feed.judge(), feed.judge().policy());
    let LnE { joint, each } = judge.ln_e();
    let canary = judge.totals().canary;
    let limit = odds(policy.abort_at());
    match judge.verdict() {
        Verdict::Regressed => match judge.cause() {
            Some(Cause::HardStop) => {
                format!("hard stop: {} canary requests in a row failed while stable answered", policy.hard_stop.max(1))
            }
            Some(Cause::SharedBreach) => format!(
                "canary 5xx ratio is above {} ({} of {} requests), and so is stable's: a breach that both share",
                policy.p0, canary.errors, canary.n
            ),
            Some(Cause::Measures(of)) => {
                let parts: Vec<String> =
                    of.iter().map(|m| format!("{} (evidence {})", worse(*m, policy), odds(each.get(*m)))).collect();
                format!(
                    "{}; joint evidence {} after {} canary requests, limit {limit}",
                    parts.join("; "),
                    odds(joint),
                    canary.n
                )
            }
            Some(Cause::Joint(largest)) => format!(
                "joint evidence {} after {} canary requests, limit {limit}; largest: {} (evidence {})",
                odds(joint),
                canary.n,
                worse(largest, policy),
                odds(each.get(largest))
            ),
            None => "regressed".to_owned(),
        },
        Verdict::Certified => format!(
            "certified for this step: p99 and 5xx within their margins, each with evidence above {}",
            odds(policy.certify_at())
        ),
        Verdict::Unrefuted => format!(
            "no regression found in {} canary requests: evidence {} of {limit}{}{}",
            canary.n,
            odds(joint),
            excluded(feed),
            silent(feed)
        ),
        Verdict::Inconclusive => {
            let [abs, rel, _] = judge.voted();
            let why = if judge.damages() > 0 {
                "some counts could not be read".to_owned()
            } else if judge.split_ln_e().is_some_and(|e| e >= policy.abort_at()) {
                "requests do not arrive at the versions as the weight says".to_owned()
            } else if canary.n == 0 {
                "no request reached the canary".to_owned()
            } else if !abs || !rel {
                format!("{} requests of the canary are too few to compare with stable", canary.n)
            } else {
                "no request reached the canary since this step began".to_owned()
            };
            format!("inconclusive: {why}{}", excluded(feed))
        }
    }
}

fn worse(measure: Measure, policy: &Policy) -> String {
    match measure {
        Measure::Abs => format!("canary 5xx ratio is above {}", policy.p0),
        Measure::Rel => format!("canary 5xx ratio is above stable's by more than {}", policy.delta),
        Measure::P99 => format!("canary p99 is above stable p99 by more than {:.0} %", policy.tolerance * 100.0),
    }
}

fn excluded(feed: &Feed) -> String {
    let judged = feed.judged();
    let confidence = (1.0 - feed.judge().policy().alpha) * 100.0;
    match judged.ratio {
        [_, Some(high)] => format!("; p99 ratio at most {high:.2} with {confidence:.0} % confidence"),
        _ => String::new(),
    }
}

fn silent(feed: &Feed) -> &'static str {
    let [_, _, p99] = feed.judge().voted();
    match (p99, feed.limits()) {
        (true, _) => "",
        (false, None) => "; p99 does not vote: stable had too few requests to say what is slow",
        (false, Some(_)) => "; p99 does not vote yet",
    }
}

/// Evidence as odds: `187 to 1`.
fn odds(ln_e: f64) -> String {
    let e = ln_e.exp();
    if e >= MOST_ODDS {
        "over a million to 1".to_owned()
    } else if e >= 10.0 {
        format!("{e:.0} to 1")
    } else {
        format!("{e:.1} to 1")
    }
}
