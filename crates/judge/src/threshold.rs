//! The built-in rule `threshold`: two limits, each with its number of votes.

use model::{Verdict, event::WindowStats};
use serde::{Deserialize, Serialize};

use crate::{
    budget::DEFAULT_SLO,
    rule::{Evidence, Metric, Vote},
    window::{WindowName, sane},
};

/// Numbers that differ by less than this share are equal: a limit met exactly is kept.
const EQUAL: f64 = 1e-9;

/// Policy of the rule `threshold`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Threshold {
    /// The canary's p99 may be above stable's by this share.
    pub p99_increase: f64,
    /// This share of the canary's requests may fail.
    pub error_ratio: f64,
    /// p99 votes from so many requests of each version.
    pub p99_requests: u64,
    /// The ratio of failures votes from so many requests.
    pub error_requests: u64,
    /// It rejects from so many failures.
    pub error_count: u64,
    /// Limit of the canary's p99 where stable's p99 is 0, ms.
    pub zero_baseline_p99_ms: f64,
    /// Failures are looked at over the last so many seconds, besides the whole step; ascending.
    pub error_windows_s: Vec<u32>,
    /// Share of requests that must not fail, for the error budget.
    pub slo: f64,
}

impl Default for Threshold {
    fn default() -> Self {
        Self {
            p99_increase: 0.10,
            error_ratio: 0.01,
            p99_requests: 500,
            error_requests: 10,
            error_count: 5,
            zero_baseline_p99_ms: 1.0,
            error_windows_s: vec![5, 30],
            slo: DEFAULT_SLO,
        }
    }
}

/// Longest trailing window, s: bounds the ticks that are kept with their histograms.
pub(crate) const MAX_WINDOW_S: u32 = 60;

/// Most trailing windows.
pub(crate) const MAX_WINDOWS: usize = 4;

impl Threshold {
    /// The trailing windows in force: positive, at most a minute, at most four.
    pub(crate) fn windows(&self) -> impl Iterator<Item = u32> + '_ {
        self.error_windows_s.iter().copied().filter(|s| (1..=MAX_WINDOW_S).contains(s)).take(MAX_WINDOWS)
    }

    /// Looks at one window: failures always, p99 where `latency` says so.
    pub(crate) fn look(
        &self,
        window: WindowName,
        canary: &WindowStats,
        stable: &WindowStats,
        latency: bool,
    ) -> Vec<Evidence> {
        let mut evidence = vec![self.errors(window, canary)];
        if latency {
            evidence.push(self.p99(window, canary, stable));
        }
        evidence
    }

    /// The verdict that a window's evidence gives.
    pub(crate) fn verdict(evidence: &[Evidence]) -> Verdict {
        if evidence.iter().any(|e| matches!(e.vote, Vote::Reject)) {
            Verdict::Failed
        } else if evidence.iter().any(|e| e.metric == Metric::ErrorRatio && matches!(e.vote, Vote::Keep)) {
            Verdict::Successful
        } else {
            Verdict::Inconclusive
        }
    }

    fn errors(&self, window: WindowName, canary: &WindowStats) -> Evidence {
        let n = canary.n.max(canary.errors);
        let value = (n > 0).then(|| canary.errors as f64 / n as f64);
        let phrase = window.phrase();
        let (vote, sentence) = match value {
            None => (Vote::Absent, format!("no request reached the canary {phrase}")),
            Some(_) if n < self.error_requests => (
                Vote::Absent,
                format!("{n} of {} requests {phrase}: too few to judge the canary's 5xx ratio", self.error_requests),
            ),
            Some(ratio) if canary.errors >= self.error_count && exceeds(ratio, self.error_ratio) => (
                Vote::Reject,
                format!(
                    "canary 5xx ratio {} is above {} ({} of {n} requests {phrase})",
                    percent(ratio),
                    percent(self.error_ratio),
                    canary.errors
                ),
            ),
            Some(ratio) if exceeds(ratio, self.error_ratio) => (
                Vote::Keep,
                format!(
                    "canary 5xx ratio {} is above {}, but {} of {n} requests {phrase} are fewer than {} failures",
                    percent(ratio),
                    percent(self.error_ratio),
                    canary.errors,
                    self.error_count
                ),
            ),
            Some(ratio) => (
                Vote::Keep,
                format!(
                    "canary 5xx ratio {} is within {} ({} of {n} requests {phrase})",
                    percent(ratio),
                    percent(self.error_ratio),
                    canary.errors
                ),
            ),
        };
        Evidence {
            metric: Metric::ErrorRatio,
            window,
            value,
            baseline: None,
            limit: Some(self.error_ratio),
            vote,
            sentence,
        }
    }

    fn p99(&self, window: WindowName, canary: &WindowStats, stable: &WindowStats) -> Evidence {
        let phrase = window.phrase();
        let (c, s) = (sane(canary.p99_ms), sane(stable.p99_ms));
        let limit = s.map(|s| if s == 0.0 { self.zero_baseline_p99_ms } else { s * (1.0 + self.p99_increase) });
        let few = |n| n < self.p99_requests;
        let (vote, sentence) = match (c, s, limit) {
            _ if few(canary.n) || few(stable.n) => (
                Vote::Absent,
                format!(
                    "p99 is not compared: {} canary and {} stable requests {phrase}, {} of each are needed",
                    canary.n, stable.n, self.p99_requests
                ),
            ),
            (Some(c), Some(s), Some(limit)) => {
                let against = if s == 0.0 {
                    format!("{limit} ms, the limit where stable p99 is 0")
                } else {
                    format!("{limit:.3} ms, stable p99 {s:.3} ms + {:.0} %", self.p99_increase * 100.0)
                };
                let (vote, word) = if exceeds(c, limit) { (Vote::Reject, "above") } else { (Vote::Keep, "within") };
                (
                    vote,
                    format!(
                        "canary p99 {c:.3} ms is {word} {against} ({} and {} requests {phrase})",
                        canary.n, stable.n
                    ),
                )
            }
            _ => (Vote::Absent, format!("p99 is not compared: there is no usable latency of both versions {phrase}")),
        };
        Evidence { metric: Metric::P99, window, value: c, baseline: s, limit, vote, sentence }
    }
}

/// A share in percent with the digits that tell it from a limit: `1 %`, `1.003 %`, `21.31 %`.
pub(crate) fn percent(share: f64) -> String {
    let said = format!("{:.3}", share * 100.0);
    format!("{} %", said.trim_end_matches('0').trim_end_matches('.'))
}

fn exceeds(value: f64, limit: f64) -> bool {
    value > limit + limit.abs() * EQUAL
}
