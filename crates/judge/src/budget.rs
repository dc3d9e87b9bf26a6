//! The error budget's burn rate over several windows (Google, *The Site Reliability Workbook*, chapter 5, table 5-8).

use std::collections::VecDeque;

use model::{Tick, Timestamp};
use serde::{Deserialize, Serialize};

use crate::window::TICK_MS;

/// Share of requests that must not fail, unless told otherwise.
pub const DEFAULT_SLO: f64 = 0.999;

/// Longest window: six hours of ticks, 24 bytes each.
const MAX_SECONDS: usize = 6 * 3600;

/// (name, burn rate from which it alerts, long window s, short window s): both windows must burn that fast.
pub const BURN_ALERTS: [(&str, f64, u32, u32); 2] = [("fast", 14.4, 3600, 300), ("slow", 6.0, 6 * 3600, 1800)];

/// How fast the canary burns the service's error budget. Reported, not deciding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Share of requests that must not fail.
    pub slo: f64,
    /// Fast and slow alert.
    pub alerts: Vec<BurnAlert>,
}

/// A long window, and a short one that says whether it still burns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BurnAlert {
    /// `fast` or `slow`.
    pub name: String,
    /// Burn rate from which it alerts.
    pub limit: f64,
    /// The long window.
    pub long: Burn,
    /// The short window.
    pub short: Burn,
    /// True when both burn at least at the limit.
    pub firing: bool,
}

/// One window of the budget.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Burn {
    /// Its length, s.
    pub seconds: u32,
    /// Seconds for which there are ticks: a window longer than the rollout is only partly covered.
    pub covered: u32,
    /// Ratio of failures divided by the budget (1 = the budget is used up exactly at the end of its period); `None` without requests.
    pub rate: Option<f64>,
}

/// Requests and failures by second.
#[derive(Debug, Clone, Default)]
pub(crate) struct BudgetLedger {
    seconds: VecDeque<(Timestamp, u64, u64)>,
}

impl BudgetLedger {
    pub(crate) fn add(&mut self, tick: &Tick) {
        let (n, errors) = tick.canary.as_ref().map_or((0, 0), |c| (c.n.max(c.errors), c.errors));
        if self.seconds.len() == MAX_SECONDS {
            self.seconds.pop_front();
        }
        self.seconds.push_back((tick.at, n, errors));
    }

    pub(crate) fn report(&self, slo: f64) -> Budget {
        let alerts = BURN_ALERTS
            .iter()
            .map(|(name, limit, long, short)| {
                let (long, short) = (self.burn(slo, *long), self.burn(slo, *short));
                let firing = [long, short].iter().all(|b| b.rate.is_some_and(|r| r >= *limit));
                BurnAlert { name: (*name).to_owned(), limit: *limit, long, short, firing }
            })
            .collect();
        Budget { slo, alerts }
    }

    fn burn(&self, slo: f64, seconds: u32) -> Burn {
        let Some((now, _, _)) = self.seconds.back() else { return Burn { seconds, covered: 0, rate: None } };
        let from = now.plus_millis(-i64::from(seconds) * TICK_MS);
        let (mut covered, mut n, mut errors) = (0_u32, 0_u64, 0_u64);
        for (_, requests, failed) in self.seconds.iter().rev().take_while(|(at, _, _)| *at > from) {
            covered += 1;
            n = n.saturating_add(*requests);
            errors = errors.saturating_add(*failed);
        }
        let budget = 1.0 - slo;
        let rate = (n > 0 && budget > 0.0).then(|| errors as f64 / n as f64 / budget);
        Burn { seconds, covered, rate }
    }
}
