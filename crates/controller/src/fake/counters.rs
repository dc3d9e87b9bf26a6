//! A source that counts what a [`FakeRuntime`] serves, in few buckets, as a Prometheus that scrapes both versions every second.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use judge::sequential::Scrape;
use model::{Timestamp, VersionTick};

use super::{FakeRuntime, lock};
use crate::{CounterAsk, Counters, MetricAnswer, MetricError, MetricSource, Runtime as _};

/// How it misbehaves.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CounterFaults {
    /// It never answers, whatever its time limit.
    pub hangs: bool,
    /// It says that it cannot be reached.
    pub down: bool,
    /// It scrapes nobody.
    pub blind: bool,
}

/// Counts by version.
pub struct FakeCounters {
    edges_us: Vec<u64>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    faults: CounterFaults,
    now: BTreeMap<String, Scrape>,
    scraped: BTreeMap<(String, Timestamp), Scrape>,
}

impl FakeCounters {
    /// Counts what this runtime serves from now on.
    pub fn of(runtime: &FakeRuntime, edges_us: &[u64]) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let (weak, edges, mut ticks) = (Arc::downgrade(&state), edges_us.to_vec(), runtime.ticks());
        let runtime = runtime.clone();
        tokio::spawn(async move {
            while let Ok((service, tick)) = ticks.recv().await {
                let Some(state) = weak.upgrade() else { break };
                let mut state = lock(&state);
                let (stable, canary) = runtime.labels(&service);
                let versions = [(stable, Some(&tick.stable)), (canary, tick.canary.as_ref())];
                for (label, counted) in versions.into_iter().filter_map(|(l, c)| l.zip(c)) {
                    let sum = state.now.entry(label.clone()).or_insert_with(|| empty(&edges));
                    add(sum, counted, &edges);
                    let scrape = sum.clone();
                    if !state.faults.blind {
                        // Scraped at the whole second that follows.
                        let at = Timestamp::from_millis((tick.at.as_millis() + 999) / 1_000 * 1_000);
                        state.scraped.insert((label, at), scrape);
                    }
                }
            }
        });
        Self { edges_us: edges_us.to_vec(), state }
    }

    /// Changes how it misbehaves.
    pub fn faults(&self, faults: CounterFaults) {
        lock(&self.state).faults = faults;
    }

    /// As if the processes of a version had restarted: its counters begin again.
    pub fn restart(&self, label: &str) {
        lock(&self.state).now.insert(label.to_owned(), empty(&self.edges_us));
    }
}

fn empty(edges: &[u64]) -> Scrape {
    Scrape { n: 0, errors: 0, at_most: vec![0; edges.len()] }
}

fn add(sum: &mut Scrape, counted: &VersionTick, edges: &[u64]) {
    sum.n += counted.n;
    sum.errors += counted.errors;
    for (edge, at_most) in edges.iter().zip(&mut sum.at_most) {
        *at_most += counted.histogram.iter().filter(|b| b.0 <= *edge).map(|b| b.1).sum::<u64>();
    }
}

#[async_trait]
impl MetricSource for FakeCounters {
    fn handles(&self, _provider: &rollout::Provider) -> bool {
        false
    }

    async fn measure(
        &self,
        _provider: &rollout::Provider,
        _now: Timestamp,
        _timeout: Duration,
    ) -> Result<MetricAnswer, MetricError> {
        Err(MetricError::NotSupported("by this fake".to_owned()))
    }

    fn counts(&self) -> bool {
        true
    }

    async fn counters(&self, ask: &CounterAsk, _timeout: Duration) -> Result<Counters, MetricError> {
        let faults = lock(&self.state).faults.clone();
        if faults.hangs {
            std::future::pending::<()>().await;
        }
        if faults.down {
            return Err(MetricError::Unreachable("fake://counters".to_owned(), "nobody listens".to_owned()));
        }
        let state = lock(&self.state);
        let of_version = state.scraped.iter().filter(|((label, _), _)| *label == ask.queries.buckets);
        let scrapes = of_version.filter(|((_, at), _)| *at >= ask.start && *at <= ask.end);
        let scrapes = scrapes.map(|((_, at), scrape)| (*at, scrape.clone())).collect();
        Ok(Counters { edges_us: self.edges_us.clone(), scrapes, source: "fake://counters".to_owned() })
    }
}
