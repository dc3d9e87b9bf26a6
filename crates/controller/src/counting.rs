//! The judge fed from another source's cumulative counters: asked beside the task, so that a source that hangs holds up nothing.
//!
//! Moments are multiples of the scrape interval. Those that were not answered are asked for again, as long as stable's past reaches back; one at
//! which a version has no counters is no moment, and never counts as zero. The time between two moments is handed to the judge as one second.

use std::time::Duration;

use judge::sequential::{Beginning, Cumulative, Fit, History, Limits, MOMENTS, Policy};
use model::{Tick, Timestamp, Version, Weight};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::{
    CounterAsk, CounterSource, Counters, MetricError, Traffic, boot,
    controller::Deps,
    limits::{COUNT, COUNT_LAG, MADE, MEASURE_GRACE, MOMENTS_AT_ONCE},
    task::{Done, Task},
};

/// Names the source in the seconds that are made of it.
const BOOT: &str = "counters";

/// What was asked and what came of it.
#[derive(Debug)]
pub(crate) struct Answer {
    stable: Version,
    canary: Option<Version>,
    end: Timestamp,
    counters: Result<(Counters, Option<Counters>), MetricError>,
}

/// The counters of one service.
#[derive(Debug)]
pub(crate) struct Counting {
    source: CounterSource,
    /// Stable's past, from the moments at which it had all the traffic.
    past: History,
    of: Option<(Version, Option<Version>)>,
    alone: Option<Cumulative>,
    pair: Option<(Cumulative, Cumulative)>,
    /// The moment of the pair's last counters.
    paired: Option<Timestamp>,
    /// Moments up to this one were answered.
    until: Option<Timestamp>,
    asking: bool,
    due: Instant,
    /// Why there are no counts at present.
    trouble: Option<String>,
    address: String,
    /// Made since the data plane's last second, which carries them into the samples.
    made: Vec<Tick>,
}

impl Counting {
    pub(crate) fn new(source: CounterSource) -> Self {
        Self {
            past: History::of_counters(Policy::default().history_s, source.every_s),
            of: None,
            alone: None,
            pair: None,
            paired: None,
            until: None,
            asking: false,
            due: Instant::now(),
            trouble: Some("it has not answered yet".to_owned()),
            address: source.address.clone(),
            made: Vec::new(),
            source,
        }
    }

    pub(crate) fn every_s(&self) -> u32 {
        self.source.every_s
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        (!self.asking).then_some(self.due)
    }

    pub(crate) fn past(&self) -> &History {
        &self.past
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Seconds up to this moment were judged before a restart: the next difference is taken from there on.
    pub(crate) fn go_on_from(&mut self, judged: Timestamp) {
        self.until = Some(judged.plus_millis(-self.every_ms()));
    }

    pub(crate) fn take_made(&mut self) -> Vec<Tick> {
        std::mem::take(&mut self.made)
    }

    /// Another version is stable, or another canary there: what was counted of others compares with nothing.
    fn of(&mut self, stable: &Version, canary: Option<&Version>) {
        let now = Some((stable.clone(), canary.cloned()));
        if self.of == now {
            return;
        }
        if self.of.as_ref().is_some_and(|(before, _)| before != stable) {
            self.forget();
        }
        (self.pair, self.paired) = (None, None);
        self.of = now;
    }

    fn forget(&mut self) {
        self.past = History::of_counters(Policy::default().history_s, self.source.every_s);
        (self.alone, self.pair, self.paired, self.until) = (None, None, None, None);
    }

    fn every_ms(&self) -> i64 {
        i64::from(self.source.every_s.max(1)) * 1_000
    }

    /// The moments to ask for now: first and last.
    fn span(&self, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let every = self.every_ms();
        let last = now.plus_millis(-COUNT_LAG).as_millis().div_euclid(every) * every;
        let moments = i64::from((Policy::default().history_s / self.source.every_s.max(1)).max(MOMENTS));
        let first = self.until.map_or(i64::MIN, |until| until.as_millis() + every).max(last - moments * every);
        let end = last.min(first + (MOMENTS_AT_ONCE - 1) * every);
        (first <= end).then(|| (Timestamp::from_millis(first), Timestamp::from_millis(end)))
    }

    /// Stable's latest limits and how well the edges serve the tolerance, as far as its past says.
    fn fit(&self, policy: &Policy) -> (Option<Limits>, Fit) {
        let limits = self.past.limits(policy);
        (limits, Fit::of(limits, policy))
    }

    /// What somebody should know who starts a release now: that less can be seen than asked for.
    pub(crate) fn warning(&self) -> Option<String> {
        let policy = Policy::default();
        if let Some(trouble) = &self.trouble {
            return Some(format!("the judge is fed by {}, and there are no counts: {trouble}", self.address));
        }
        let (limits, fit) = self.fit(&policy);
        (fit != Fit::Fine).then(|| format!("the judge is fed by {}: {}", self.address, fit.words(limits, &policy)))
    }

    /// What a receipt states of the source.
    pub(crate) fn facts(&self, limits: Option<Limits>, policy: &Policy) -> Value {
        let fit = Fit::of(limits, policy);
        let edges = self.alone.as_ref().map(|alone| alone.edges().to_vec());
        let of = |version: Option<&Version>| version.map(|version| self.source.queries.of(version));
        let mut facts = Map::new();
        if let Ok(Value::Object(fit)) = serde_json::to_value(fit) {
            facts.extend(fit);
        }
        let (stable, canary) = self.of.as_ref().map_or((None, None), |(s, c)| (Some(s), c.as_ref()));
        for (name, value) in [
            ("source", json!(self.address)),
            ("every_s", json!(self.source.every_s)),
            ("stable", json!(of(stable))),
            ("canary", json!(of(canary))),
            ("edges_us", json!(edges)),
            ("said", json!(fit.words(limits, policy))),
            ("trouble", json!(self.trouble)),
        ] {
            facts.insert(name.to_owned(), value);
        }
        Value::Object(facts)
    }
}

impl Task {
    /// Asks for the moments that have not been counted yet. One question at a time; nobody waits for it.
    pub(crate) fn count_if_due(&mut self) {
        let versions = self.counted_versions();
        let now = self.deps.clock.now();
        let Some(counting) = self.counting.as_mut().filter(|c| !c.asking && c.due <= Instant::now()) else { return };
        let Some((stable, canary)) = versions else {
            counting.due = Instant::now() + COUNT;
            return;
        };
        counting.of(&stable, canary.as_ref());
        let every = counting.every_ms();
        let Some((start, end)) = counting.span(now) else {
            let ms = every - now.plus_millis(-COUNT_LAG).as_millis().rem_euclid(every);
            counting.due = Instant::now() + Duration::from_millis(u64::try_from(ms).unwrap_or(1_000));
            return;
        };
        counting.asking = true;
        let source = counting.source.clone();
        let (deps, jobs) = (self.deps.clone(), self.jobs.clone());
        tokio::spawn(async move {
            let ask = |version: &Version| CounterAsk {
                address: source.address.clone(),
                queries: source.queries.of(version),
                start,
                end,
                step: Duration::from_secs(u64::from(source.every_s.max(1))),
            };
            let of_canary = async {
                match &canary {
                    Some(canary) => counters(&deps, ask(canary)).await.map(Some),
                    None => Ok(None),
                }
            };
            let (of_stable, of_canary) = futures::join!(counters(&deps, ask(&stable)), of_canary);
            let counters = of_stable.and_then(|s| Ok((s, of_canary?)));
            // The task may have ended meanwhile.
            let _ = jobs.send(Done::Counted(Box::new(Answer { stable, canary, end, counters }))).await;
        });
    }

    /// Labels of the stable version and of the canary.
    fn counted_versions(&self) -> Option<(Version, Option<Version>)> {
        match &self.active {
            Some(active) => {
                let status = &active.status;
                let canary = (status.outcome.is_none() && !status.swapped).then(|| status.start.canary.version.clone());
                Some((boot::stable_now(status).version.clone(), canary))
            }
            None => self.stable().map(|workload| (workload.version, None)),
        }
    }

    pub(crate) fn counted(&mut self, answer: Answer) {
        let versions = self.counted_versions();
        let Some(counting) = self.counting.as_mut() else { return };
        let Answer { stable, canary, end, counters } = answer;
        counting.asking = false;
        counting.due = Instant::now();
        if versions != Some((stable.clone(), canary.clone())) {
            // Meanwhile others are there: those are asked for.
            return;
        }
        let (of_stable, of_canary) = match counters {
            Ok(counters) => counters,
            Err(error) => {
                if counting.trouble.is_none() {
                    tracing::warn!(service = %self.service, %error, "the judge's source does not answer: nothing is counted until it does");
                }
                counting.trouble = Some(error.to_string());
                counting.due = Instant::now() + Duration::from_secs(u64::from(counting.source.every_s.max(1)));
                self.tell_traffic();
                return;
            }
        };
        counting.address.clone_from(&of_stable.source);
        counting.until = Some(end);
        counting.trouble = None;
        if of_stable.scrapes.is_empty() {
            counting.trouble = Some(format!("it has no counters of {stable}"));
        } else if of_canary.as_ref().is_some_and(|c| !c.scrapes.is_empty() && c.edges_us != of_stable.edges_us) {
            let why = "the two versions' histograms have different bucket edges: counts above a limit do not compare";
            tracing::warn!(service = %self.service, why, "the judge is not fed");
            counting.trouble = Some(why.to_owned());
        }
        if counting.alone.as_ref().is_some_and(|a| a.edges() != of_stable.edges_us) && !of_stable.scrapes.is_empty() {
            // Stable has other buckets than before: its past says nothing of them.
            counting.forget();
            counting.until = Some(end);
        }
        for (at, scrape) in of_stable.scrapes {
            self.moment(at, &of_stable.edges_us, scrape, of_canary.as_ref());
        }
        self.tell_traffic();
    }

    fn moment(&mut self, at: Timestamp, edges: &[u64], stable: judge::sequential::Scrape, canary: Option<&Counters>) {
        let Some(counting) = self.counting.as_mut() else { return };
        let every = counting.every_ms();
        if counting.alone.is_none() {
            counting.alone = Cumulative::new(edges.to_vec()).ok();
        }
        // Counts between two moments were made since the scrape before the first of them.
        let status = self.active.as_ref().map(|a| &a.status).filter(|s| s.outcome.is_none());
        let quiet = status.is_none_or(|s| {
            s.exposure() == Weight::ZERO && s.applied_at < at.plus_millis(-2 * every) || at <= s.started_at
        });
        if let Some((counted, jumped)) = counting.alone.as_mut().and_then(|alone| alone.take(stable.clone()))
            && quiet
            && !jumped
        {
            counting.past.push(&counted);
        }
        let Some(canary) = canary.filter(|c| c.edges_us == edges).and_then(|c| c.scrapes.get(&at)) else { return };
        if counting.pair.is_none() {
            counting.pair = Cumulative::new(edges.to_vec()).ok().map(|c| (c.clone(), c));
        }
        let Some((of_canary, of_stable)) = counting.pair.as_mut() else { return };
        let counted = of_canary.take(canary.clone()).zip(of_stable.take(stable));
        let from = counting.paired.replace(at);
        let (Some(((canary, canary_jumped), (stable, stable_jumped))), Some(from), Some(status)) =
            (counted, from, status)
        else {
            return;
        };
        let changed = status.applied_at > from.plus_millis(-every);
        self.judge_counted(Tick {
            seq: u64::try_from(at.as_millis() / 1_000).unwrap_or(0),
            boot: BOOT.to_owned(),
            at,
            weight: status.exposure(),
            weight_changed: changed || canary_jumped || stable_jumped,
            epoch: status.epoch,
            stable,
            canary: Some(canary),
            canary_last_sent: None,
            // These requests need not all have come through the data plane.
            sticky: true,
            judged: None,
            counted: Vec::new(),
        });
    }

    fn judge_counted(&mut self, second: Tick) {
        let Some(since) = self.active.as_ref().map(|a| a.status.applied_at) else { return };
        let Some(judging) = self.judging.as_mut().filter(|j| j.is_fed_by_counters()) else { return };
        if judging.since() != since {
            judging.begin(since);
        }
        let meter = self.deps.probe.start(energy::CpuClock::Thread).ok();
        judging.push(&second);
        if let Some(energy) = meter.and_then(|m| m.finish().ok()) {
            judging.took(energy);
        }
        if let Some(counting) = self.counting.as_mut() {
            if counting.made.len() >= MADE {
                counting.made.remove(0);
            }
            counting.made.push(second);
        }
    }

    /// What the judge's evidence begins with: stable's past as it is counted there where the judge is fed.
    pub(crate) fn beginning(&self, policy: &Policy, largest: f64, at: Timestamp) -> (Beginning, History) {
        let past = self.counting.as_ref().map_or(&self.past, Counting::past);
        let every_s = self.counting.as_ref().map(Counting::every_s);
        (Beginning { every_s, ..Beginning::new(policy, past, largest, at) }, past.clone())
    }

    /// Tells whoever starts the next release what is seen of the service.
    pub(crate) fn tell_traffic(&mut self) {
        let warning = self.counting.as_ref().and_then(Counting::warning);
        self.traffic.send_replace(Traffic { rate: self.past.rate(), warning });
    }
}

async fn counters(deps: &Deps, ask: CounterAsk) -> Result<Counters, MetricError> {
    let Some(source) = deps.metrics.iter().find(|s| s.counts()) else {
        return Err(MetricError::NotSupported("for counters".to_owned()));
    };
    let address = ask.address.clone();
    let call = source.counters(&ask, COUNT);
    let late = || MetricError::Unreachable(address, "it ignored its time limit".to_owned());
    tokio::time::timeout(COUNT + MEASURE_GRACE, call).await.unwrap_or_else(|_| Err(late()))
}
