//! Samples in memory, and migrations that only count.

use std::{sync::Mutex, time::Duration};

use async_trait::async_trait;
use model::{ReleaseId, Tick, Timestamp};

use super::lock;
use crate::{Measurement, MigrationError, Migrations, SampleError, SampleStore};

/// Keeps samples in memory.
#[derive(Debug, Default)]
pub struct MemorySamples {
    ticks: Mutex<Vec<(ReleaseId, Tick)>>,
    measurements: Mutex<Vec<(ReleaseId, Measurement)>>,
}

#[async_trait]
impl SampleStore for MemorySamples {
    async fn append_ticks(&self, release: &ReleaseId, ticks: &[Tick]) -> Result<(), SampleError> {
        lock(&self.ticks).extend(ticks.iter().map(|t| (release.clone(), t.clone())));
        Ok(())
    }

    async fn ticks(&self, release: &ReleaseId, from: Timestamp, limit: u32) -> Result<Vec<Tick>, SampleError> {
        Ok(lock(&self.ticks)
            .iter()
            .filter(|(r, t)| r == release && t.at >= from)
            .take(limit as usize)
            .map(|(_, t)| t.clone())
            .collect())
    }

    async fn append_measurement(&self, release: &ReleaseId, measurement: &Measurement) -> Result<(), SampleError> {
        lock(&self.measurements).push((release.clone(), measurement.clone()));
        Ok(())
    }

    async fn measurements(&self, release: &ReleaseId) -> Result<Vec<Measurement>, SampleError> {
        Ok(lock(&self.measurements).iter().filter(|(r, _)| r == release).map(|(_, m)| m.clone()).collect())
    }
}

/// Knows the migrations it is told, and counts their runs by operation id.
#[derive(Debug, Default)]
pub struct FakeMigrations {
    /// Names it knows.
    pub known: Vec<String>,
    runs: Mutex<Vec<(String, String)>>,
}

impl FakeMigrations {
    /// Knows these.
    pub fn new(known: &[&str]) -> Self {
        Self { known: known.iter().map(|s| (*s).to_owned()).collect(), runs: Mutex::default() }
    }

    /// (name, operation) of every run.
    pub fn runs(&self) -> Vec<(String, String)> {
        lock(&self.runs).clone()
    }
}

#[async_trait]
impl Migrations for FakeMigrations {
    fn knows(&self, name: &str) -> bool {
        self.known.iter().any(|k| k == name)
    }

    async fn run(&self, name: &str, operation: &str, _timeout: Duration) -> Result<String, MigrationError> {
        if !self.knows(name) {
            return Err(MigrationError::Unknown(name.to_owned()));
        }
        lock(&self.runs).push((name.to_owned(), operation.to_owned()));
        Ok("done".to_owned())
    }
}
