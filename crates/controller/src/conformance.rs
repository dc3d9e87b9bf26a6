//! What every [`Runtime`] and every [`MetricSource`] must do, as suites that an adapter's tests call.
//!
//! ```ignore
//! #[tokio::test]
//! async fn keeps_the_contract() {
//!     controller::conformance::runtime(|| async { subject().await }).await;
//! }
//! ```
//! They panic at the first breach, naming it. Each part gets a fresh subject.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use model::{Epoch, ServiceId, Track, Weight};

use crate::{CounterAsk, CounterQueries, MetricError, MetricSource, ObservedService, Runtime, RuntimeError, Workload};

/// A runtime under test: the service is configured but not yet ensured, and gets traffic from nobody unless `traffic` says so.
pub struct RuntimeSubject {
    /// The runtime.
    pub runtime: Arc<dyn Runtime>,
    /// A service that it may carry.
    pub service: ServiceId,
    /// Its stable version.
    pub stable: Workload,
    /// Another version of it, which becomes ready.
    pub canary: Workload,
    /// Kept as long as the subject: processes, directories.
    pub keep: Box<dyn std::any::Any + Send>,
}

/// A metric source under test.
pub struct MetricSubject {
    /// The source.
    pub source: Arc<dyn MetricSource>,
    /// A provider that it answers with a value.
    pub answers: rollout::Provider,
    /// A provider that it would handle, whose peer accepts the connection and never answers.
    pub hangs: rollout::Provider,
    /// A provider that it would handle, where nobody listens.
    pub down: rollout::Provider,
    /// A provider that it would handle, whose peer answers nonsense.
    pub garbles: rollout::Provider,
    /// A provider whose address its configuration does not allow.
    pub forbidden: rollout::Provider,
    /// A provider of another kind.
    pub foreign: rollout::Provider,
    /// Where it asks for counters; `None` for one that cannot count.
    pub counters: Option<CounterSubject>,
    /// Kept as long as the subject.
    pub keep: Box<dyn std::any::Any + Send>,
}

/// Addresses of a source that counts, as [`MetricSubject`] has its providers.
pub struct CounterSubject {
    /// Its peer has counters at 1,790,000,000 s, for a query that names buckets.
    pub answers: String,
    /// Its peer accepts the connection and never answers.
    pub hangs: String,
    /// Nobody listens.
    pub down: String,
    /// Its peer answers nonsense.
    pub garbles: String,
    /// Not allowed.
    pub forbidden: String,
}

/// Time for a version to become ready or a tick to arrive.
const PATIENCE: Duration = Duration::from_secs(20);

const FIRST: Epoch = Epoch(7);
/// Longer than any case takes.
const DEAD_MAN: rollout::DeadMan = rollout::DeadMan { after_ms: 3_600_000, stated: true, abort: false };
const NEXT: Epoch = Epoch(8);
const STALE: Epoch = Epoch(6);
const DRAIN_MS: u64 = 500;

/// Every [`Runtime`] passes.
pub async fn runtime<F, S>(make: F)
where
    F: Fn() -> S,
    S: Future<Output = RuntimeSubject>,
{
    unknown_service(&make().await).await;
    ensure_and_start_are_idempotent(&make().await).await;
    weights_apply_once_per_operation(&make().await).await;
    a_weight_needs_a_ready_canary(&make().await).await;
    stale_epochs_change_nothing(&make().await).await;
    promote_swaps_once(&make().await).await;
    stop_takes_it_out(&make().await).await;
    ticks_come_in_order(&make().await).await;
    missed_ticks_are_told_again(&make().await).await;
}

/// Every [`MetricSource`] passes.
pub async fn metric_source<F, S>(make: F)
where
    F: Fn() -> S,
    S: Future<Output = MetricSubject>,
{
    let s = make().await;
    let now = model::Timestamp::from_millis(1_790_000_000_000);
    let limit = Duration::from_secs(5);
    for (name, provider) in [
        ("answers", &s.answers),
        ("hangs", &s.hangs),
        ("down", &s.down),
        ("garbles", &s.garbles),
        ("forbidden", &s.forbidden),
    ] {
        assert!(s.source.handles(provider), "handles the provider that {name}");
    }
    assert!(!s.source.handles(&s.foreign), "does not handle the foreign provider");

    let answer = s.source.measure(&s.answers, now, limit).await.unwrap_or_else(|e| panic!("it answers: {e}"));
    assert!(!answer.query.is_empty() && !answer.source.is_empty(), "an answer names query and source: {answer:?}");
    let short = Duration::from_millis(300);
    let begun = Instant::now();
    let hung = s.source.measure(&s.hangs, now, short).await;
    assert!(matches!(hung, Err(MetricError::Unreachable(..))), "a peer that hangs is unreachable: {hung:?}");
    assert!(begun.elapsed() < short + Duration::from_secs(2), "the time limit holds: {:?}", begun.elapsed());
    let down = s.source.measure(&s.down, now, limit).await;
    assert!(matches!(down, Err(MetricError::Unreachable(..))), "nobody there is unreachable: {down:?}");
    let garbled = s.source.measure(&s.garbles, now, limit).await;
    assert!(
        matches!(garbled, Err(MetricError::Unreadable(..) | MetricError::Answered(..))),
        "nonsense is no value: {garbled:?}"
    );
    let forbidden = s.source.measure(&s.forbidden, now, limit).await;
    assert!(matches!(forbidden, Err(MetricError::NotAllowed(_))), "only allowed addresses are asked: {forbidden:?}");
    let foreign = s.source.measure(&s.foreign, now, limit).await;
    assert!(matches!(foreign, Err(MetricError::NotSupported(_))), "another provider is refused by name: {foreign:?}");
    counters(&s, now).await;
}

async fn counters(s: &MetricSubject, now: model::Timestamp) {
    let ask = |address: &str| CounterAsk {
        address: address.to_owned(),
        queries: CounterQueries { buckets: "buckets".to_owned(), errors: "errors".to_owned() },
        start: now.plus_millis(-5_000),
        end: now,
        step: Duration::from_secs(1),
    };
    let (limit, short) = (Duration::from_secs(5), Duration::from_millis(300));
    let Some(at) = &s.counters else {
        assert!(!s.source.counts(), "it says that it does not count");
        let refused = s.source.counters(&ask(""), limit).await;
        assert!(matches!(refused, Err(MetricError::NotSupported(_))), "counting is refused by name: {refused:?}");
        return;
    };
    assert!(s.source.counts(), "it says that it counts");
    let counted = s.source.counters(&ask(&at.answers), limit).await.unwrap_or_else(|e| panic!("it counts: {e}"));
    assert!(!counted.source.is_empty() && !counted.edges_us.is_empty(), "source and edges are named: {counted:?}");
    assert!(counted.scrapes.keys().all(|at| *at <= now) && !counted.scrapes.is_empty(), "in the span: {counted:?}");
    let begun = Instant::now();
    let hung = s.source.counters(&ask(&at.hangs), short).await;
    assert!(matches!(hung, Err(MetricError::Unreachable(..))), "a peer that hangs is unreachable: {hung:?}");
    assert!(begun.elapsed() < short + Duration::from_secs(2), "the time limit holds: {:?}", begun.elapsed());
    let down = s.source.counters(&ask(&at.down), limit).await;
    assert!(matches!(down, Err(MetricError::Unreachable(..))), "nobody there is unreachable: {down:?}");
    let garbled = s.source.counters(&ask(&at.garbles), limit).await;
    assert!(
        matches!(garbled, Err(MetricError::Unreadable(..) | MetricError::Answered(..))),
        "nonsense is no count, and no zero: {garbled:?}"
    );
    let forbidden = s.source.counters(&ask(&at.forbidden), limit).await;
    assert!(matches!(forbidden, Err(MetricError::NotAllowed(_))), "only allowed addresses are asked: {forbidden:?}");
}

impl RuntimeSubject {
    async fn ensured(&self) {
        self.runtime.ensure(&self.service, FIRST, &self.stable).await.expect("ensure");
    }

    async fn with_canary(&self) {
        self.ensured().await;
        self.runtime.start_canary(&self.service, FIRST, &self.canary, DEAD_MAN).await.expect("start_canary");
        self.until("the canary is ready", |o| o.canary.as_ref().is_some_and(|c| c.ready)).await;
    }

    async fn observe(&self) -> ObservedService {
        self.runtime.observe(&self.service).await.expect("observe")
    }

    async fn set(&self, operation: &str, weight: u8) -> Result<crate::WeightApplied, RuntimeError> {
        let weight = Weight::new(weight).expect("a weight");
        self.runtime.set_weight(&self.service, FIRST, operation, weight).await
    }

    async fn until(&self, what: &str, holds: impl Fn(&ObservedService) -> bool) -> ObservedService {
        let poll = async {
            loop {
                let seen = self.observe().await;
                if holds(&seen) {
                    return seen;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, poll).await.unwrap_or_else(|_| panic!("in time: {what}"))
    }
}

async fn unknown_service(s: &RuntimeSubject) {
    let unknown: ServiceId = "nobody-knows-it".parse().expect("a service id");
    let is_unknown = |e: RuntimeError| matches!(e, RuntimeError::UnknownService(_));
    assert!(s.runtime.observe(&unknown).await.is_err_and(is_unknown), "an unknown service is named in the error");
    assert!(s.runtime.set_weight(&unknown, FIRST, "unknown-1", Weight::ZERO).await.is_err_and(is_unknown));
    assert!(s.runtime.stop(&unknown, FIRST, Track::Canary, DRAIN_MS).await.is_err_and(is_unknown));
}

async fn ensure_and_start_are_idempotent(s: &RuntimeSubject) {
    s.ensured().await;
    s.ensured().await;
    let seen = s.observe().await;
    assert_eq!(seen.stable.map(|v| v.digest).as_ref(), Some(&s.stable.digest));
    assert_eq!((seen.canary, seen.weight), (None, Weight::ZERO), "no canary yet");
    s.with_canary().await;
    s.runtime.start_canary(&s.service, FIRST, &s.canary, DEAD_MAN).await.expect("start_canary again");
    let seen = s.observe().await;
    assert_eq!(seen.canary.map(|v| v.digest).as_ref(), Some(&s.canary.digest));
    assert_eq!(seen.weight, Weight::ZERO, "a canary starts at weight 0");
    s.set("a-10", 10).await.expect("weight 10");
    s.ensured().await;
    assert_eq!(s.observe().await.weight.percent(), 10, "ensure leaves the weight alone");
}

async fn weights_apply_once_per_operation(s: &RuntimeSubject) {
    s.with_canary().await;
    let first = s.set("w-25", 25).await.expect("weight 25");
    assert!(first.fresh && first.previous == Weight::ZERO, "{first:?}");
    assert_eq!(s.observe().await.weight.percent(), 25, "in force when answered");
    let again = s.set("w-25", 25).await.expect("the same again");
    assert_eq!(again, crate::WeightApplied { fresh: false, ..first.clone() }, "the first answer again");
    let zero = s.set("w-0", 0).await.expect("weight 0");
    assert!(zero.fresh && zero.previous.percent() == 25 && zero.at >= first.at, "{zero:?}");
    let late = s.set("w-25", 25).await.expect("an old operation again");
    assert!(!late.fresh, "{late:?}");
    assert_eq!(s.observe().await.weight, Weight::ZERO, "an old operation is not applied a second time");
}

async fn a_weight_needs_a_ready_canary(s: &RuntimeSubject) {
    s.ensured().await;
    let refused = s.set("n-5", 5).await;
    assert!(matches!(refused, Err(RuntimeError::Refused(_))), "no traffic to nobody: {refused:?}");
    s.set("n-0", 0).await.expect("weight 0 is always possible");
}

async fn stale_epochs_change_nothing(s: &RuntimeSubject) {
    s.with_canary().await;
    s.set("e-10", 10).await.expect("weight 10");
    s.runtime
        .set_weight(&s.service, NEXT, "e-20", Weight::new(20).expect("a weight"))
        .await
        .expect("a larger epoch takes over");
    let (r, id) = (&s.runtime, &s.service);
    let stale =
        |e: &RuntimeError| matches!(e, RuntimeError::StaleEpoch { ours, theirs } if *ours < *theirs && *theirs == NEXT);
    for epoch in [STALE, FIRST] {
        for (what, result) in [
            ("ensure", r.ensure(id, epoch, &s.stable).await),
            ("start_canary", r.start_canary(id, epoch, &s.canary, DEAD_MAN).await),
            ("set_weight", r.set_weight(id, epoch, "e-30", Weight::FULL).await.map(drop)),
            ("promote", r.promote(id, epoch, "e-promote").await.map(drop)),
            ("stop", r.stop(id, epoch, Track::Canary, DRAIN_MS).await),
        ] {
            assert!(result.as_ref().is_err_and(stale), "{what} under epoch {epoch}: {result:?}");
        }
    }
    let seen = s.observe().await;
    assert_eq!((seen.weight.percent(), seen.epoch), (20, NEXT), "nothing changed");
    assert_eq!(seen.canary.map(|v| v.digest).as_ref(), Some(&s.canary.digest));
}

async fn promote_swaps_once(s: &RuntimeSubject) {
    s.with_canary().await;
    s.set("p-100", 100).await.expect("weight 100");
    let done = s.runtime.promote(&s.service, FIRST, "p-promote").await.expect("promote");
    assert!(done.fresh, "{done:?}");
    let again = s.runtime.promote(&s.service, FIRST, "p-promote").await.expect("the same again");
    assert!(!again.fresh, "{again:?}");
    let seen = s.observe().await;
    assert_eq!(seen.stable.map(|v| v.digest).as_ref(), Some(&s.canary.digest), "the canary is stable, once");
    assert_eq!(seen.canary.map(|v| v.digest).as_ref(), Some(&s.stable.digest), "the former stable is kept");
    assert_eq!(seen.weight, Weight::ZERO);
}

async fn stop_takes_it_out(s: &RuntimeSubject) {
    s.with_canary().await;
    s.set("s-10", 10).await.expect("weight 10");
    s.runtime.stop(&s.service, FIRST, Track::Canary, DRAIN_MS).await.expect("stop");
    let seen = s.observe().await;
    assert_eq!((seen.canary, seen.weight), (None, Weight::ZERO), "gone when answered");
    s.runtime.stop(&s.service, FIRST, Track::Canary, DRAIN_MS).await.expect("stop again");
    assert_eq!(s.observe().await.stable.map(|v| v.digest).as_ref(), Some(&s.stable.digest));
    s.with_canary().await;
}

async fn ticks_come_in_order(s: &RuntimeSubject) {
    let mut ticks = s.runtime.ticks();
    s.ensured().await;
    let mut last: Option<model::Tick> = None;
    let mut seen = 0;
    let receive = async {
        while seen < 3 {
            let (service, tick) = ticks.recv().await.expect("a tick");
            if service != s.service {
                continue;
            }
            assert!(tick.canary.is_none(), "no canary, no counts of one");
            if let Some(last) = &last {
                assert!(
                    tick.boot == last.boot && tick.seq == last.seq + 1 && tick.at > last.at,
                    "{last:?} then {tick:?}"
                );
            }
            last = Some(tick);
            seen += 1;
        }
    };
    tokio::time::timeout(PATIENCE, receive).await.expect("three ticks in time");
}

async fn missed_ticks_are_told_again(s: &RuntimeSubject) {
    let mut ticks = s.runtime.ticks();
    s.ensured().await;
    let mut told = Vec::new();
    let receive = async {
        while told.len() < 3 {
            let (service, tick) = ticks.recv().await.expect("a tick");
            if service == s.service {
                told.push(tick);
            }
        }
    };
    tokio::time::timeout(PATIENCE, receive).await.expect("three ticks in time");
    let missed = async |after| {
        let asked = tokio::time::timeout(PATIENCE, s.runtime.missed_ticks(&s.service, after));
        asked.await.expect("an answer in time").unwrap_or_else(|error| panic!("they are told: {error}"))
    };
    let again = missed(told[0].at).await;
    assert!(again.starts_with(&told[1..]), "{again:?}\nis not what was told:\n{told:?}");
    let last = again.last().map_or(told[2].at, |tick| tick.at);
    assert!(missed(last.plus_millis(3_600_000)).await.is_empty(), "there is nothing after the last");
    let nobody = s.service.to_string() + "-x";
    let nobody = nobody.parse().expect("a service id");
    assert!(s.runtime.missed_ticks(&nobody, told[0].at).await.unwrap_or_default().is_empty(), "nor of another service");
}
