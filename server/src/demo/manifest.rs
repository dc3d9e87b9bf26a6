//! A version of the demo's service: how it behaves, by its label.

use anyhow::Context as _;
use model::Version;

use crate::args::Fault;

/// Median latency, ms. Far above the scheduler's jitter of a busy laptop, so that the comparison is about the versions.
const MEDIAN_MS: f64 = 180.0;
/// Sigma of its logarithm: the 99th percentile is about 202 ms, and its estimate from 500 requests is good to 0.9 %.
const SIGMA: f64 = 0.05;
/// A slow version's median: half as much again.
const SLOW_MS: f64 = 270.0;
/// A failing version's share of 503.
const ERROR_RATE: f64 = 0.2;

/// What a version is made of: its number and what is wrong with it. Its image's configuration states it as [`Self::arguments`], and the digest
/// of the image with that is its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manifest {
    number: u64,
    fault: Fault,
}

impl Manifest {
    /// Version `number` with this fault.
    pub fn new(number: u64, fault: Fault) -> Self {
        Self { number, fault }
    }

    /// `v3`, `v4-slow`, `v5-errors`.
    pub fn label(&self) -> anyhow::Result<Version> {
        let fault = match self.fault {
            Fault::None => "",
            Fault::Latency => "-slow",
            Fault::Errors => "-errors",
        };
        format!("v{}{fault}", self.number).parse().context("a version's label")
    }

    /// The number in a label.
    pub fn number(label: &Version) -> Option<u64> {
        label.as_str().strip_prefix('v')?.split('-').next()?.parse().ok()
    }

    /// What the service is told, so that it behaves as this version.
    pub fn arguments(&self) -> anyhow::Result<Vec<String>> {
        let latency = if self.fault == Fault::Latency { SLOW_MS } else { MEDIAN_MS };
        let errors = if self.fault == Fault::Errors { ERROR_RATE } else { 0.0 };
        let pairs = [
            ("--version", self.label()?.to_string()),
            ("--latency-ms", latency.to_string()),
            ("--sigma", SIGMA.to_string()),
            ("--error-rate", errors.to_string()),
        ];
        Ok(pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_is_another() {
        let arguments = |number, fault| Manifest::new(number, fault).arguments().unwrap();
        let all = [
            arguments(1, Fault::None),
            arguments(2, Fault::None),
            arguments(2, Fault::Latency),
            arguments(2, Fault::Errors),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all.iter().skip(i + 1).all(|other| other != one));
        }
        assert_eq!(arguments(7, Fault::Errors), arguments(7, Fault::Errors), "the same after a restart");
        for fault in [Fault::None, Fault::Latency, Fault::Errors] {
            assert_eq!(Manifest::number(&Manifest::new(12, fault).label().unwrap()), Some(12));
        }
    }
}
