//! What one made-up release states.

use anyhow::Result;
use model::{
    Actor, Digest, Energy, EnergyMethod, Epoch, Kind, ReleaseId, Timestamp, Verdict, Weight,
    event::{
        AnalysisEnded, CanaryAborted, CanaryCompleted, CanaryPaused, CanaryPromoted, CanaryResumed, CanaryStarted,
        CanaryStepped, CommandSeen, Outcome, PlannedWeight, ReleaseCompleted, RollbackArmed, RollbackExecuted,
        WindowStats,
    },
};
use receipt_log::{Draft, LoggedReceipt};
use receipts::Payload;
use serde::Serialize;

/// No story is longer: the recipe's 12 minutes and a rollback.
pub(super) const LONGEST_MS: i64 = 20 * 60 * 1000;

const SERVICES: [&str; 12] = [
    "checkout",
    "search",
    "mailer",
    "ledger",
    "billing",
    "catalogue",
    "accounts",
    "delivery",
    "images",
    "reviews",
    "stock",
    "tax",
];
const PEOPLE: [&str; 4] = ["dana", "lee", "ci", "kim"];
/// When each stage begins, s, and its weight: the built-in recipe.
pub(super) const STAGES: [(i64, u8); 4] = [(1, 5), (121, 25), (301, 50), (481, 100)];

/// When a release that goes well is promoted, s.
pub(super) const PROMOTED_AT_S: i64 = 720;

/// The receipts of one release, without the one that sums them up.
pub(super) struct Story {
    pub(super) release: ReleaseId,
    pub(super) drafts: Vec<Draft>,
    pub(super) outcome: Outcome,
    pub(super) start: Timestamp,
    pub(super) ended: Timestamp,
    /// How long a second of the story took, ms.
    pub(super) second_ms: i64,
}

struct Teller {
    release: ReleaseId,
    start: Timestamp,
    /// Its second is so long, ms: 1,000, more for a story that is told slowly.
    second_ms: i64,
    drafts: Vec<Draft>,
    /// Changes with each draw: what varies between releases comes from it, the same at every run.
    chance: u64,
}

impl Story {
    /// Release number `n`, which has `receipts` in the end.
    pub(super) fn tell(n: u64, receipts: u64, start: Timestamp) -> Result<Self> {
        Self::told(n, receipts, start, 1, None)
    }

    /// The same `times` as slowly, with this outcome.
    pub(super) fn told(n: u64, receipts: u64, start: Timestamp, times: i64, outcome: Option<Outcome>) -> Result<Self> {
        let pick = |from: &[&'static str]| {
            from.get(usize::try_from(n)? % from.len()).copied().ok_or_else(|| anyhow::anyhow!("nothing to pick"))
        };
        let (service, person) = (pick(&SERVICES)?, pick(&PEOPLE)?);
        let number = n / SERVICES.len() as u64 + 1;
        let mut teller = Teller {
            release: format!("{service}-{number}").parse()?,
            start,
            second_ms: times * 1000,
            drafts: Vec::new(),
            chance: n.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
        };
        // One in twelve is stopped on its way, one in fifty after it had become stable.
        let drawn = match teller.draw(600) {
            0..50 => Outcome::Aborted,
            50..62 => Outcome::RolledBack,
            _ => Outcome::Promoted,
        };
        let outcome = outcome.unwrap_or(drawn);
        let ended = teller.tell(n, service, person, number, outcome, receipts)?;
        let ended = teller.at(ended);
        let Teller { release, drafts, second_ms, .. } = teller;
        Ok(Self { release, drafts, outcome, start, ended, second_ms })
    }
}

impl Teller {
    /// A number below `below`.
    fn draw(&mut self, below: u64) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        self.chance % below
    }

    /// A second of the story as a time.
    fn at(&self, second: i64) -> Timestamp {
        self.start.plus_millis(second * self.second_ms)
    }

    fn say(&mut self, kind: Kind, second: i64, actor: Actor, facts: &impl Serialize) -> Result<()> {
        let joules = 0.01 + self.draw(40) as f64 / 1000.0;
        let energy = Energy {
            joules,
            low: joules * 0.5,
            high: joules * 2.0,
            method: EnergyMethod::ModelCpuTime,
            scope: "cpu".to_owned(),
            coefficient: Some("sample".to_owned()),
            cpu_time_us: 4_000,
            wall_us: 21_000,
            idle_joules: None,
        };
        let payload = Payload::new(kind, self.at(second), actor, facts)?
            .release(self.release.clone())
            .cite(["Argo Rollouts 1.10, Rollout v1alpha1"])
            .energy(energy);
        self.drafts.push(Draft { key: format!("{}/{}", self.release, self.drafts.len()), payload });
        Ok(())
    }

    /// All receipts; when it ended, s.
    fn tell(
        &mut self,
        n: u64,
        service: &str,
        person: &str,
        number: u64,
        outcome: Outcome,
        receipts: u64,
    ) -> Result<i64> {
        let controller = Actor::controller;
        let version = format!("v2026.{number}");
        let digest = |seed: u64| {
            let mut bytes = [0x4f; 32];
            bytes[..8].copy_from_slice(&seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
            Digest::from_sha256(&bytes)
        };
        let before = n.wrapping_sub(SERVICES.len() as u64);
        let asked = CommandSeen {
            command: "start".to_owned(),
            command_id: format!("start-{}", self.release),
            reason: "made up".to_owned(),
            refusal: None,
        };
        self.say(Kind::CommandAccepted, 0, person.parse()?, &asked)?;
        let planned = STAGES
            .iter()
            .map(|(s, w)| Ok(PlannedWeight { at_ms: s * self.second_ms, weight: Weight::new(*w)? }))
            .collect::<Result<Vec<_>>>()?;
        let started = CanaryStarted {
            strategy: "canary".to_owned(),
            service: service.parse()?,
            environment: if n.is_multiple_of(5) { "sample-staging" } else { "sample-production" }.parse()?,
            version: version.parse()?,
            digest: digest(n),
            stable_version: format!("v2026.{}", number - 1).parse()?,
            stable_digest: digest(before),
            recipe: digest(0),
            steps: 7,
            planned,
            planned_ms: Some(PROMOTED_AT_S * self.second_ms),
            stops: Vec::new(),
            runtime: "local".to_owned(),
        };
        self.say(Kind::CanaryStarted, 0, controller(), &started)?;
        let armed = RollbackArmed {
            previous_image: digest(before),
            previous_version: format!("v2026.{}", number - 1).parse()?,
            down_migration: "none".to_owned(),
            flags_off: Vec::new(),
            acts: vec!["traffic".to_owned(), "processes".to_owned()],
            rto_s: 90,
        };
        self.say(Kind::RollbackArmed, 1, controller(), &armed)?;
        let stops_at = if outcome == Outcome::Aborted { 2 } else { STAGES.len() };
        let mut from = 0;
        for (step, (second, weight)) in (0u32..).zip(STAGES).take(stops_at) {
            let stepped = CanaryStepped {
                strategy: "canary".to_owned(),
                step: step * 2,
                steps: 7,
                from_weight: Weight::new(from)?,
                weight: Weight::new(weight)?,
                applied_at: self.at(second),
                epoch: Epoch(1),
                operation: format!("{}/{step}", self.release),
            };
            self.say(Kind::CanaryStepped, second, controller(), &stepped)?;
            from = weight;
            if let Some((until, _)) = STAGES.get(step as usize + 1) {
                let paused = CanaryPaused {
                    reason: "step".to_owned(),
                    until: Some(self.at(*until)),
                    weight: Weight::new(weight)?,
                    step: step * 2 + 1,
                };
                self.say(Kind::CanaryPaused, second, controller(), &paused)?;
                if (step as usize) + 1 < stops_at {
                    let resumed = CanaryResumed {
                        reason: "its time was up".to_owned(),
                        paused_ms: (until - second) * self.second_ms,
                        step: step * 2 + 1,
                    };
                    self.say(Kind::CanaryResumed, *until, controller(), &resumed)?;
                }
            }
        }
        let ended = match outcome {
            Outcome::Aborted => self.stopped("canary 5xx ratio 0.0941 is above 0.01", true, 150, from)?,
            Outcome::Promoted | Outcome::RolledBack => {
                let promoted = CanaryPromoted {
                    full: false,
                    version: version.parse()?,
                    digest: digest(n),
                    reason: "every step is done".to_owned(),
                };
                self.say(Kind::CanaryPromoted, PROMOTED_AT_S, controller(), &promoted)?;
                if outcome == Outcome::RolledBack {
                    self.stopped("p99 rose after all traffic was on it", false, 900, 100)?
                } else {
                    PROMOTED_AT_S + 1
                }
            }
        };
        let timed = outcome != Outcome::Promoted;
        let rto = 900 + i64::try_from(self.draw(40_000))?;
        let completed = CanaryCompleted {
            outcome,
            took_ms: ended * self.second_ms,
            breach_to_zero_ms: timed.then_some(rto / 10),
            breach_to_last_request_ms: None,
            zero_to_drained_ms: timed.then_some(rto - rto / 10),
            rto_ms: timed.then_some(rto),
            exposed: 100 + self.draw(200_000),
        };
        // Measurements fill what is left, evenly over the time until the end. The sum is appended later.
        let left = receipts.saturating_sub(self.drafts.len() as u64 + 2);
        for i in 0..left {
            let second = 2 + i64::try_from(i)? * (ended - 3).min(717) / i64::try_from(left)?;
            self.passed(second)?;
        }
        self.say(Kind::CanaryCompleted, ended, controller(), &completed)?;
        Ok(ended)
    }

    fn passed(&mut self, second: i64) -> Result<()> {
        let p99 = 80.0 + self.draw(900) as f64 / 100.0;
        let stats = |n, p99| WindowStats { n, errors: 1, p99_ms: Some(p99), mean_ms: Some(31.0), sigma_ms: Some(12.5) };
        let facts = AnalysisEnded {
            analysis: "built-in".to_owned(),
            scope: "background".to_owned(),
            verdict: Verdict::Successful,
            message: format!("p99 {p99:.1} ms against 87.0 ms, 5xx 0.0021"),
            rule: "threshold".to_owned(),
            measurements: 30,
            segment: None,
            from: Some(self.at((second - 30).max(0))),
            to: Some(self.at(second)),
            canary: Some(stats(590, p99)),
            stable: Some(stats(11_902, 87.0)),
        };
        self.say(Kind::AnalysisPassed, second, Actor::judge(), &facts)
    }

    fn stopped(&mut self, reason: &str, automatic: bool, second: i64, weight: u8) -> Result<i64> {
        let aborted = CanaryAborted {
            reason: reason.to_owned(),
            automatic,
            weight: Weight::new(weight)?,
            breach_at: self.at(second),
            command: None,
        };
        let actor = if automatic { Actor::judge() } else { "dana".parse()? };
        self.say(Kind::CanaryAborted, second, actor, &aborted)?;
        for (order, (act, result)) in
            (1u32..).zip([("traffic", "weight 0 in force"), ("processes", "the canary is gone")])
        {
            let executed =
                RollbackExecuted { act: act.to_owned(), order, of: 2, result: result.to_owned(), took_ms: 40 };
            self.say(Kind::RollbackExecuted, second + i64::from(order), Actor::controller(), &executed)?;
        }
        Ok(second + 4)
    }
}

/// The receipt that sums a release up, as the controller computes it: over the entries as they stand in the log.
pub(super) fn summed(outcome: Outcome, children: &[LoggedReceipt]) -> (ReleaseCompleted, Energy) {
    let leaves: Vec<_> = children.iter().map(|receipt| tlog::leaf_hash(&receipt.entry)).collect();
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for receipt in children {
        match ranges.last_mut() {
            Some((_, end)) if receipt.index == *end + 1 => *end = receipt.index,
            _ => ranges.push((receipt.index, receipt.index)),
        }
    }
    let energies: Vec<&Energy> = children.iter().filter_map(|receipt| receipt.payload.energy.as_ref()).collect();
    let of = |part: fn(&Energy) -> f64| energies.iter().map(|energy| part(energy)).sum::<f64>();
    let energy = Energy {
        joules: of(|e| e.joules),
        low: of(|e| e.low),
        high: of(|e| e.high),
        method: EnergyMethod::ModelCpuTime,
        scope: "cpu".to_owned(),
        coefficient: Some("sample".to_owned()),
        cpu_time_us: energies.iter().map(|e| e.cpu_time_us).sum(),
        wall_us: energies.iter().map(|e| e.wall_us).sum(),
        idle_joules: None,
    };
    let facts = ReleaseCompleted {
        outcome,
        children: children.len() as u64,
        ranges,
        root: tlog::root_of_leaves(&leaves).as_bytes().iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    (facts, energy)
}
