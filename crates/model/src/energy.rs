//! Joules, never without their method.

use serde::{Deserialize, Serialize};

/// How a number of joules came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EnergyMethod {
    /// Linux powercap (RAPL) counters of the whole package, shared out by CPU time.
    RaplPackage,
    /// CPU time multiplied by published coefficients.
    ModelCpuTime,
    /// A sum of children with different methods.
    Mixed,
}

/// Energy of one operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Energy {
    /// Best estimate, J.
    pub joules: f64,
    /// Lower bound, J.
    pub low: f64,
    /// Upper bound, J.
    pub high: f64,
    /// How it was found.
    pub method: EnergyMethod,
    /// What it covers, e.g. `package share` or `cpu`.
    pub scope: String,
    /// Id and version of the coefficients, when modelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coefficient: Option<String>,
    /// CPU time of the operation, µs.
    pub cpu_time_us: u64,
    /// Wall time of the operation, µs.
    pub wall_us: u64,
    /// Idle power over the wall time, J, reported apart and not part of `joules`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_joules: Option<f64>,
}
