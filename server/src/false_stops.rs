//! How often a recipe's rule would stop a healthy canary: the rule `threshold`, and thresholds on 5xx and p99 as Argo's templates have them.

use std::fmt;

use judge::{
    Rule,
    power::{FalseStops, Sampled, SampledLimit, Span, sampled_false_stops, threshold_false_stops},
};
use rollout::{
    Provider, Recipe,
    recipe::{Analysis, Metric, Prometheus, Step},
};
use serde::Serialize;

/// From this share on, healthy canaries are stopped often.
const OFTEN: f64 = 0.05;
/// Rates that are looked at, requests a second: what is beyond them says no more.
const RATES: std::ops::RangeInclusive<f64> = 0.01..=20_000.0;

/// How often a recipe stops a healthy canary.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// Requests a second of both versions.
    pub rate: f64,
    /// What was looked at: `the rule threshold`, or names of metrics.
    pub of: Vec<String>,
    /// The share; `None` when nothing could be estimated.
    pub stops: Option<FalseStops>,
    /// Metrics that could not be estimated, with the reason.
    pub not_estimated: Vec<String>,
}

impl Estimate {
    /// The warning, when healthy canaries are stopped often.
    pub fn warning(&self) -> Option<String> {
        let stops = self.stops.filter(|stops| stops.light.max(stops.heavy) > OFTEN)?;
        let rest = if self.not_estimated.is_empty() { "" } else { ", what is not estimated left out" };
        Some(format!("{}{rest}", Words(self, stops)))
    }
}

struct Words<'a>(&'a Estimate, FalseStops);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |v: f64| v * 100.0;
        let rate = (self.0.rate * 10.0).round() / 10.0;
        write!(
            f,
            "{} would stop about {:.0} % (light tails) to {:.0} % (heavy tails) of healthy canaries at {rate} requests/s; the rule sequential at most 1 %",
            self.0.of.join(" and "),
            percent(self.1.light),
            percent(self.1.heavy),
        )
    }
}

/// For a recipe at this rate; `None` when it has nothing with a threshold.
pub fn estimate(recipe: &Recipe, rate: f64) -> Option<Estimate> {
    let rate = rate.clamp(*RATES.start(), *RATES.end());
    let spans = spans(recipe);
    if let Some(Rule::Threshold(rule)) = builtin(recipe).and_then(|b| Rule::named(&b.rule)) {
        let stops = Some(threshold_false_stops(&rule, rate, &spans));
        return Some(Estimate { rate, of: vec!["the rule threshold".to_owned()], stops, not_estimated: Vec::new() });
    }
    let (mut known, mut of, mut not_estimated) = (Vec::new(), Vec::new(), Vec::new());
    for metric in analyses(recipe).flat_map(|a| &a.metrics).filter(|m| !m.dry_run) {
        match &metric.provider {
            Provider::Builtin(_) => {}
            Provider::Prometheus(prometheus) => match sampled(metric, prometheus) {
                Ok(sampled) => {
                    known.push(sampled);
                    of.push(format!("metric {}", metric.name));
                }
                Err(why) => not_estimated.push(format!("metric {}: {why}", metric.name)),
            },
            Provider::Web(_) | Provider::Other(_) => {
                not_estimated.push(format!("metric {}: not a query to Prometheus", metric.name));
            }
        }
    }
    if known.is_empty() && not_estimated.is_empty() {
        return None;
    }
    let stops = (!known.is_empty()).then(|| sampled_false_stops(&known, rate, &spans));
    Some(Estimate { rate, of, stops, not_estimated })
}

/// The weights and how long each is held.
fn spans(recipe: &Recipe) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for row in rollout::timetable(recipe) {
        let (weight, seconds) = (row.weight.percent(), row.takes_ms.unwrap_or(0) as f64 / 1_000.0);
        match spans.last_mut() {
            Some(last) if last.weight == weight => last.seconds += seconds,
            _ if weight > 0 => spans.push(Span { weight, seconds }),
            _ => {}
        }
    }
    spans
}

/// A metric whose threshold is recognised: a share of 5xx, or of what is not 5xx, or a ratio of two 99th percentiles.
fn sampled(metric: &Metric, prometheus: &Prometheus) -> Result<Sampled, &'static str> {
    if prometheus.range.is_some() {
        return Err("a range query");
    }
    let query: String = prometheus.query.split_whitespace().collect();
    let window_s = window(&query).ok_or("its query names no window such as [1m]")?;
    let limit = threshold(metric).ok_or("its condition is not one comparison of result[0] with a number")?;
    let percentiles = query.matches("histogram_quantile(0.99,").count();
    let is_share = query.contains('/');
    let limit = if percentiles == 2 && is_share {
        match limit {
            Limit::AtMost(ratio) => SampledLimit::P99Ratio(ratio),
            Limit::AtLeast(_) => return Err("a p99 that must be high"),
        }
    } else if percentiles > 0 {
        return Err("a p99 against a fixed number: how far stable's is from it is not known");
    } else if !is_share {
        return Err("neither a share of requests nor a ratio of two p99");
    } else {
        let good = ["!~\"5", "=~\"2", "=~\"[23]", "!~\"[45]", "!~\"(5"].iter().any(|part| query.contains(part));
        let bad = !good && ["=~\"5", "=~\"(5", "error", "failure"].iter().any(|part| query.contains(part));
        match (limit, good, bad) {
            (Limit::AtMost(share), _, true) => SampledLimit::Errors(share),
            (Limit::AtLeast(share), true, _) => SampledLimit::Errors(1.0 - share),
            _ => return Err("it is not seen which share its query measures"),
        }
    };
    let seconds = |ms: i64| u32::try_from(ms.max(0) / 1_000).unwrap_or(u32::MAX);
    Ok(Sampled {
        limit,
        window_s,
        interval_s: metric.interval_ms.map_or(0, seconds),
        delay_s: seconds(metric.initial_delay_ms),
        count: metric.count,
        failure_limit: metric.failure_limit.ok_or("it may fail any number of times")?,
    })
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

/// What a measurement must keep to, from its conditions: one comparison of the result with a number, guards against "no data" aside.
fn threshold(metric: &Metric) -> Option<Limit> {
    match (metric.success_condition.as_str(), metric.failure_condition.as_str()) {
        (success, "") => compared(success),
        ("", failure) => compared(failure).map(|limit| match limit {
            Limit::AtMost(v) => Limit::AtLeast(v),
            Limit::AtLeast(v) => Limit::AtMost(v),
        }),
        // Between the two a measurement is inconclusive: only a failure stops.
        (_, failure) => compared(failure).map(|limit| match limit {
            Limit::AtMost(v) => Limit::AtLeast(v),
            Limit::AtLeast(v) => Limit::AtMost(v),
        }),
    }
}

fn compared(condition: &str) -> Option<Limit> {
    let condition: String = condition.split_whitespace().collect();
    let mut found = None;
    for part in condition.split("&&").flat_map(|part| part.split("||")) {
        let part = part.trim_matches(['(', ')']);
        let is_guard = part.starts_with("len(result") || part.contains("isNaN(") || part.contains("isInf(");
        if is_guard {
            continue;
        }
        let rest = part.strip_prefix("result[0]").or_else(|| part.strip_prefix("result"))?;
        let at_most = rest.strip_prefix("<=").or_else(|| rest.strip_prefix('<'));
        let at_least = rest.strip_prefix(">=").or_else(|| rest.strip_prefix('>'));
        let limit = match (at_most, at_least) {
            (Some(number), _) => Limit::AtMost(number.parse().ok()?),
            (_, Some(number)) => Limit::AtLeast(number.parse().ok()?),
            _ => return None,
        };
        if found.replace(limit).is_some() {
            return None;
        }
    }
    found
}

/// The first window of a query: `[5m]`.
fn window(query: &str) -> Option<u32> {
    query.split('[').skip(1).filter_map(|part| part.split(']').next()).find_map(|text| {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            _ => return None,
        };
        number.parse::<u32>().ok()?.checked_mul(seconds)
    })
}

fn analyses(recipe: &Recipe) -> impl Iterator<Item = &Analysis> {
    let steps = recipe.steps.iter().filter_map(|s| match s {
        Step::Analysis(analysis) => Some(analysis),
        _ => None,
    });
    recipe.background.iter().map(|b| &b.analysis).chain(steps)
}

/// The built-in rule that a recipe asks for.
pub(crate) fn builtin(recipe: &Recipe) -> Option<&rollout::recipe::Builtin> {
    analyses(recipe).flat_map(|a| &a.metrics).find_map(|m| match &m.provider {
        Provider::Builtin(builtin) => Some(builtin),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPE: &str = include_str!("../../examples/rollout-prometheus.yaml");

    fn of(text: &str, rate: f64) -> Option<Estimate> {
        estimate(&Recipe::load(&[("recipe", text.as_bytes())]).unwrap(), rate)
    }

    #[test]
    fn thresholds_of_argo_s_templates_are_estimated() {
        let little = of(RECIPE, 5.0).unwrap();
        assert_eq!(little.of, ["metric error-ratio", "metric p99-ratio"]);
        let warning = little.warning().unwrap();
        assert!(warning.contains("metric error-ratio and metric p99-ratio would stop about"), "{warning}");
        assert!(warning.contains("at 5 requests/s; the rule sequential at most 1 %"), "{warning}");
        let much = of(RECIPE, 5_000.0).unwrap();
        assert!(much.stops.unwrap().light < little.stops.unwrap().light, "{much:?}");
        let success = RECIPE
            .replace("=~\"5", "!~\"5")
            .replace(
                "failureCondition: len(result) > 0 && !isNaN(result[0]) && result[0] > 0.01",
                "successCondition: result[0] >= 0.99",
            )
            .replace("deliveryos_request_errors_total{", "deliveryos_requests_total{code!~\"5..\",");
        assert_eq!(of(&success, 5.0).unwrap().stops, little.stops, "the same, said the other way round");
    }

    #[test]
    fn what_is_not_recognised_is_said() {
        let check = |from: &str, to: &str, why: &str| {
            assert!(RECIPE.contains(from), "{from}");
            let estimate = of(&RECIPE.replacen(from, to, 1), 5.0).unwrap();
            assert!(estimate.not_estimated.iter().any(|n| n.contains(why)), "{estimate:?}");
        };
        check("result[0] > 0.01", "result[0] > result[1]", "not one comparison");
        check("request_errors_total", "things_total", "which share");
        check("failureLimit: 3", "failureLimit: -1\n    consecutiveSuccessLimit: 2", "any number of times");
        check("[1m]))\n          / sum", "[1m]))\n          + sum", "neither a share");
        assert_eq!(
            of(include_str!("../../examples/rollout-default.yaml"), 5.0),
            None,
            "the default rule has no threshold"
        );
        let threshold =
            include_str!("../../examples/rollout-default.yaml").replace("rule: sequential", "rule: threshold");
        assert!(of(&threshold, 200.0).unwrap().warning().unwrap().contains("the rule threshold would stop"));
    }
}
