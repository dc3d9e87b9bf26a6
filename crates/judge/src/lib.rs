//! Canary verdicts as pure functions: ticks in, evidence and verdict out.
//!
//! A [`Judge`] is fed every tick of the data plane and gives a [`Judgement`] after each. Which rule it follows is a value
//! ([`Rule`]), so that a verdict's receipt can name and keep the policy in force; [`Rule::recompute`] gives the verdict
//! again from the sufficient statistics that the receipt carries, and [`judge`] from the ticks themselves.
//!
//! # The rule `sequential`, the default
//! Running evidence that may be looked at every second and stops a healthy canary at most once in a hundred rollouts: [`sequential`]. Regressed
//! is Failed; certified and unrefuted are Successful ("no regression found", or "not decided" from evidence of 10 to 1 on); inconclusive is Inconclusive. What a recipe can see with
//! it, and how often a threshold would stop a healthy canary, is in [`power`].
//!
//! # The rule `threshold`
//! Abort when
//! - the canary's p99 latency is more than 10 % above stable's p99, **or**
//! - more than 1 % of the canary's requests failed (5xx, upstream failure, time-out).
//!
//! **Votes.** p99 votes only from 500 requests *of each version* in the window; the ratio of failures only from 10 requests,
//! and it rejects only from 5 failures. A metric that does not vote never rejects and never clears.
//!
//! **Windows.** Failures are looked at over the last 5 s, the last 30 s, and all since the step began: a window rejects with
//! its own votes, so a burst shows after one or two ticks, and a late onset is not diluted by good minutes before it.
//! p99 is looked at over the whole step only: as soon as more than one request in a hundred is slow the p99 of the whole
//! step moves, so a short window would add no speed, only false alarms (at 500 requests the p99 of a healthy
//! canary strays by 8 %).
//!
//! **Verdict.** Failed when a window rejects. Otherwise Successful when the ratio of failures votes over the step, whether or not p99
//! does (a metric's missing vote is stated in the evidence). Otherwise Inconclusive.
//!
//! **p99 of a window** comes from the merged histograms of its ticks (smallest bucket edge at or below which at
//! least 99 % of the requests lie): exact at bucket edges, never an average of p99s.
//!
//! # Policies for what is missing
//! | what | policy |
//! |---|---|
//! | no ticks | Inconclusive, nothing votes |
//! | no traffic on the canary | Inconclusive, nothing votes: never success |
//! | no traffic on stable (100 %) | p99 does not vote, failures go on voting |
//! | stable's p99 is 0 | there is no ratio: rejects when the canary's p99 is above [`Threshold::zero_baseline_p99_ms`] |
//! | stable without failures | no matter: the limit of the ratio is absolute |
//! | NaN, infinite or negative statistics | as if absent: that metric does not vote |
//! | histogram misses requests | no p99 unless it holds at least `min(n, 500)` of them |
//! | a tick twice, or out of order | counted once; an older one is ignored |
//! | ticks missing, data plane restarted | each tick counts for itself, so nothing is made up; [`Span::lost`] counts the missing ones |
//!
//! # Reported, not deciding
//! Whether the canary's mean lies within one standard deviation of stable's ([`Sigma`]); the error budget's burn rates over
//! fast and slow windows ([`Budget`]).

mod budget;
pub mod power;
pub mod random;
mod rule;
pub mod sequential;
#[cfg(any(test, feature = "simulate"))]
pub mod simulate;
mod threshold;
mod window;

pub use budget::{BURN_ALERTS, Budget, Burn, BurnAlert, DEFAULT_SLO};
pub use rule::{Breach, Evidence, Judge, Judgement, Metric, Rule, Sigma, Vote, judge};
pub use sequential::{ConfidenceSequence, EProcess};
pub use threshold::Threshold;
pub use window::{Span, WindowName};
