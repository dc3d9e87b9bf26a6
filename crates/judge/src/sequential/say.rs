//! A verdict in one sentence.

use super::{
    buckets::Fit,
    feed::Feed,
    policy::{Measure, Mode},
    state::{Cause, LnE, Verdict},
};
use crate::threshold::percent;

/// Odds against a canary from which it is not said that nothing was found: it has not been stopped, and that is all.
pub const DOUBTFUL_ODDS: f64 = 10.0;
/// Odds beyond which a number says no more.
const MOST_ODDS: f64 = 1e6;

/// What the judge says, for people.
pub fn sentence(feed: &Feed) -> String {
    let (judge, policy) = (feed.judge(), feed.judge().policy());
    let LnE { joint, .. } = judge.ln_e();
    let canary = judge.totals().canary;
    let limit = odds(policy.abort_at());
    match judge.verdict() {
        Verdict::Regressed => match judge.cause() {
            Some(Cause::HardStop) => {
                format!("hard stop: {} canary requests in a row failed while stable answered", policy.hard_stop.max(1))
            }
            Some(Cause::SharedBreach) => format!(
                "canary 5xx ratio is above {} ({} of {} requests), and so is stable's: a breach that both share",
                percent(policy.p0),
                canary.errors,
                canary.n
            ),
            Some(Cause::Measures(of)) => {
                let parts: Vec<String> = of.iter().map(|m| worse(*m, feed)).collect();
                format!(
                    "{}: evidence {} after {} canary requests, it stops at {limit}",
                    parts.join("; "),
                    odds(joint),
                    canary.n
                )
            }
            Some(Cause::Joint(largest)) => format!(
                "all measures together: evidence {} after {} canary requests, it stops at {limit}; the most of it: {}",
                odds(joint),
                canary.n,
                worse(largest, feed)
            ),
            None => "it is worse than stable".to_owned(),
        },
        Verdict::Certified => format!(
            "certified for this step: p99 and 5xx within their margins, each with evidence above {}",
            odds(policy.certify_at())
        ),
        Verdict::Unrefuted => format!(
            "{} in {} canary requests: evidence against it {}, {limit} would stop it{}{}",
            if joint < DOUBTFUL_ODDS.ln() { "no regression found" } else { "not decided" },
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

fn worse(measure: Measure, feed: &Feed) -> String {
    let policy = feed.judge().policy();
    match measure {
        Measure::Abs => format!("canary 5xx ratio is above {}", percent(policy.p0)),
        Measure::Rel => {
            format!("canary 5xx ratio is above stable's by more than {} of requests", percent(policy.delta))
        }
        Measure::P99 => {
            let tolerance = match feed.fit() {
                Some(Fit::Coarse(tested)) => tested,
                _ => policy.tolerance,
            };
            format!("canary p99 is above stable p99 by more than {:.0} %", tolerance * 100.0)
        }
    }
}

fn excluded(feed: &Feed) -> String {
    let judged = feed.judged();
    let policy = feed.judge().policy();
    let confidence = (1.0 - policy.alpha) * 100.0;
    match judged.ratio {
        // The interval takes requests one by one: where they share their fate it promises nothing.
        [Some(low), _] if feed.judge().mode() == Mode::Blocks && low > 1.0 + policy.tolerance => {
            format!(
                "; its p99 looks at least {low:.2} times stable's, but requests here slow down together: it is not proved"
            )
        }
        _ if feed.judge().mode() == Mode::Blocks => String::new(),
        [_, Some(high)] => {
            format!("; a p99 up to {high:.2} times stable's is not ruled out ({confidence:.0} % confidence)")
        }
        _ => String::new(),
    }
}

fn silent(feed: &Feed) -> String {
    let [_, _, p99] = feed.judge().voted();
    match (p99, feed.limits(), feed.fit()) {
        (_, _, Some(fit @ Fit::Coarse(_))) => format!("; {}", fit.words(feed.limits(), feed.judge().policy())),
        (false, None, Some(fit)) => format!("; {}", fit.words(None, feed.judge().policy())),
        (true, ..) => String::new(),
        (false, None, None) => "; p99 is not compared: stable had too few requests to say what is slow".to_owned(),
        (false, Some(_), _) => "; p99 is not compared yet".to_owned(),
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
