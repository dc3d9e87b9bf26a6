//! A verdict again, from its table of ticks.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    policy::{Mode, Policy, PolicyError},
    state::{Cause, LnE, Sequential, StoppedBy, Totals, Verdict},
    tick::{Counts, MAX_COUNT, Tick},
};

/// Longest line: ten times the longest that is written.
pub const MAX_LINE: usize = 4_096;
/// Most ticks: eleven days.
pub const MAX_TICKS: u64 = 1_000_000;
/// Most unreadable lines that are named.
const MAX_PROBLEMS: usize = 16;

/// What a table of ticks says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Replayed {
    /// The verdict.
    pub verdict: Verdict,
    /// Tick in which the evidence crossed 1/α.
    pub crossed_at: Option<i64>,
    /// The evidence of the last tick, or of the crossing.
    pub ln_e: LnE,
    /// The mode.
    pub mode: Mode,
    /// α.
    pub alpha: f64,
    /// Which rule stopped it.
    pub stopped_by: Option<StoppedBy>,
    /// Tick of the hard stop.
    pub hard_stop_at: Option<i64>,
    /// Why it is regressed.
    #[serde(flatten)]
    pub cause: Option<Cause>,
    /// Evidence that the split is not the planned one.
    pub split_ln_e: Option<f64>,
    /// The highest joint evidence.
    pub highest_ln_e: f64,
    /// Sums.
    pub totals: Totals,
    /// Lines that could not be taken, with their reasons: the first ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// How many there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unreadable: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it so")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Why a table cannot be replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The policy makes no promise.
    #[error("the policy cannot hold: {0}")]
    Policy(#[from] PolicyError),
    /// Too many ticks.
    #[error("more than {MAX_TICKS} ticks: a rollout has at most eleven days")]
    TooLong,
    /// No line is a tick.
    #[error("none of the {0} lines is a tick: one JSON object a line is expected")]
    NoTick(u64),
}

/// Replays a table, line after line.
#[derive(Debug, Clone)]
pub struct Replay {
    judge: Sequential,
    lines: u64,
    ticks: u64,
    problems: Vec<String>,
}

impl Replay {
    /// With a policy and the mode that was chosen.
    pub fn new(policy: Policy, mode: Mode) -> Result<Self, ReplayError> {
        Ok(Self { judge: Sequential::new(policy, mode)?, lines: 0, ticks: 0, problems: Vec::new() })
    }

    /// Takes a line; an empty one is passed over. A line that is no tick is damage: it is counted, named, and nothing good can be said any more.
    pub fn line(&mut self, line: &[u8]) -> Result<(), ReplayError> {
        self.lines += 1;
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        if self.ticks + self.judge.damages() >= MAX_TICKS {
            return Err(ReplayError::TooLong);
        }
        match parse(line, self.ticks) {
            Ok(tick) => {
                self.ticks += 1;
                self.judge.push(&tick);
            }
            Err(why) => {
                self.judge.damaged();
                if self.problems.len() < MAX_PROBLEMS {
                    self.problems.push(format!("line {}: {why}", self.lines));
                }
            }
        }
        Ok(())
    }

    /// The judge so far.
    pub fn judge(&self) -> &Sequential {
        &self.judge
    }

    /// What it comes to.
    pub fn finish(self) -> Result<Replayed, ReplayError> {
        let judge = &self.judge;
        if self.ticks == 0 && judge.damages() > 0 {
            return Err(ReplayError::NoTick(judge.damages()));
        }
        Ok(Replayed {
            verdict: judge.verdict(),
            crossed_at: judge.crossed_at(),
            ln_e: judge.ln_e(),
            mode: judge.mode(),
            alpha: judge.policy().alpha,
            stopped_by: judge.stopped().map(|(by, _)| by),
            hard_stop_at: judge.hard_stop_at(),
            cause: judge.cause(),
            split_ln_e: judge.split_ln_e(),
            highest_ln_e: judge.highest(),
            totals: *judge.totals(),
            unreadable: judge.damages(),
            problems: self.problems,
        })
    }
}

/// Replays a whole table.
pub fn replay(policy: Policy, mode: Mode, table: &[u8]) -> Result<Replayed, ReplayError> {
    let mut replay = Replay::new(policy, mode)?;
    for line in table.split(|b| *b == b'\n') {
        replay.line(line)?;
    }
    replay.finish()
}

fn parse(line: &[u8], before: u64) -> Result<Tick, String> {
    if line.len() > MAX_LINE {
        return Err(format!("it has {} bytes, {MAX_LINE} are allowed", line.len()));
    }
    let value: Value = serde_json::from_slice(line).map_err(|_| "it is not JSON".to_owned())?;
    let object = value.as_object().ok_or("it is not a JSON object")?;
    let t = match object.get("t") {
        None | Some(Value::Null) => i64::try_from(before).unwrap_or(i64::MAX).saturating_add(1),
        Some(t) => {
            // A number beyond what a name can be is no damage to the counts.
            t.as_i64().or_else(|| t.as_f64().map(|t| t as i64)).ok_or("\"t\" is not a number")?
        }
    };
    let version = |name: &str| -> Result<Counts, String> {
        match object.get(name) {
            None | Some(Value::Null) => Ok(Counts::default()),
            Some(Value::Object(counts)) => {
                let get = |field: &str| whole(counts.get(field)).map_err(|e| format!("{name}.{field} {e}"));
                Ok(Counts { n: get("n")?.unwrap_or(0), errors: get("errors")?.unwrap_or(0), slow: get("slow")? })
            }
            Some(_) => Err(format!("{name} is not an object")),
        }
    };
    let small = |name: &str, most: u64| -> Result<Option<u64>, String> {
        let value = whole(object.get(name)).map_err(|e| format!("{name} {e}"))?;
        if value.is_some_and(|v| v > most) { Err(format!("{name} is above {most}")) } else { Ok(value) }
    };
    let drop = match object.get("drop") {
        None | Some(Value::Null) => false,
        Some(drop) => drop.as_bool().ok_or("drop is neither true nor false")?,
    };
    Ok(Tick {
        t,
        canary: version("canary")?,
        stable: version("stable")?,
        weight: small("weight", 100)?.and_then(|w| u8::try_from(w).ok()),
        step: small("step", u64::from(u32::MAX))?.and_then(|s| u32::try_from(s).ok()),
        drop,
        slow_certify: small("slow_certify", MAX_COUNT)?,
    })
}

/// A count: absent, or a whole number that can be one.
fn whole(value: Option<&Value>) -> Result<Option<u64>, String> {
    let number = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value.as_f64().ok_or("is not a number")?,
    };
    if number.fract() != 0.0 || !(0.0..=MAX_COUNT as f64).contains(&number) {
        return Err(format!("is not a whole number from 0 to {MAX_COUNT}"));
    }
    Ok(Some(number as u64))
}
