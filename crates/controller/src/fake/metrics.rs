//! A metric source that answers what it is told to.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use model::Timestamp;
use serde_json::Value;

use super::lock;
use crate::{MetricAnswer, MetricError, MetricSource};

/// What it answers next.
#[derive(Debug, Clone, PartialEq)]
pub enum Scripted {
    /// This value.
    Value(Value),
    /// This error.
    Error(MetricError),
    /// Nothing, until the time limit.
    Hang,
    /// Nothing, even beyond the time limit: a source that breaks its contract.
    HangForever,
    /// This value, after a while.
    Late(Duration, Value),
}

/// Answers `prometheus` and `web` with what it is told to.
#[derive(Debug)]
pub struct FakeMetrics {
    answer: Mutex<Scripted>,
    asked: AtomicU64,
}

impl FakeMetrics {
    /// Answers this until told otherwise.
    pub fn new(answer: Scripted) -> Self {
        Self { answer: Mutex::new(answer), asked: AtomicU64::new(0) }
    }

    /// Answers this from now on.
    pub fn answer(&self, answer: Scripted) {
        *lock(&self.answer) = answer;
    }

    /// How often it was asked.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl MetricSource for FakeMetrics {
    fn handles(&self, provider: &rollout::Provider) -> bool {
        matches!(provider, rollout::Provider::Prometheus(_) | rollout::Provider::Web(_))
    }

    async fn measure(
        &self,
        _provider: &rollout::Provider,
        _now: Timestamp,
        timeout: Duration,
    ) -> Result<MetricAnswer, MetricError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = lock(&self.answer).clone();
        let answered = |value| Ok(MetricAnswer { value, query: "fake".to_owned(), source: "fake://".to_owned() });
        match answer {
            Scripted::Value(value) => answered(value),
            Scripted::Error(error) => Err(error),
            Scripted::Hang => {
                tokio::time::sleep(timeout).await;
                Err(MetricError::Unreachable("fake://".to_owned(), "no answer in time".to_owned()))
            }
            Scripted::HangForever => std::future::pending().await,
            Scripted::Late(after, value) => {
                tokio::time::sleep(after).await;
                answered(value)
            }
        }
    }
}
