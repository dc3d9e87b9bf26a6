//! The sequential judge: ticks in, evidence and verdict out, one tick after the other.

use serde::{Deserialize, Serialize};

use super::{
    confidence::ConfidenceSequence,
    eprocess::{EProcess, MAX_GRID, Starts, together},
    policy::{Measure, Mode, PerMeasure, Policy, PolicyError},
    split::SplitCheck,
    streams::{OneStream, TwoStreams, block_difference, block_share},
    tick::{Counts, Tick},
};

/// Evidence that differs from the limit by less than this has not crossed it: two machines must agree.
pub const SAME: f64 = 1e-6;

/// Requests of the canary that close a block of F5a.
pub const BLOCK_ABS: u64 = 10;
/// Requests of each version that close a block of F5b.
pub const BLOCK_PAIR: u64 = 50;
/// Cap of a share in F5b.
pub const BLOCK_CAP: f64 = 0.05;
/// Largest weight at which blocks of both versions compare, %.
pub const BLOCK_MAX_WEIGHT: u8 = 50;

/// What the judge says of a canary.
///
/// **Promises:** if in no second the canary was worse than stable beyond the tolerance, the chance that this rollout is *ever* `Regressed` by
/// the evidence is at most α, given independence (requests) or fairness of blocks (blocks). **Does not promise** that a regressed
/// canary is bad with probability 1 − α, nor that an unrefuted one is good. Not covered: pauses longer than a block, heavy users in
/// one cohort, a canary that overloads what stable uses too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The evidence (or the hard stop) is against it: stop at once.
    Regressed,
    /// "Worse than the margin in every second of this step" is refuted.
    Certified,
    /// Looked at, and nothing found against it. Not a proof.
    Unrefuted,
    /// Nothing can be said: no votes, damaged counts, or requests that do not arrive as planned.
    Inconclusive,
}

impl Verdict {
    /// The word stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Regressed => "regressed",
            Self::Certified => "certified",
            Self::Unrefuted => "unrefuted",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// Which rule stopped the canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoppedBy {
    /// The evidence crossed 1/α.
    Evidence,
    /// Requests in a row failed, outside α.
    HardStop,
}

/// Evidence as natural logarithms.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LnE {
    /// Of all measures together (F4).
    pub joint: f64,
    /// Of each, unweighted.
    #[serde(flatten)]
    pub each: PerMeasure,
}

/// Why it is regressed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "cause", content = "measures")]
pub enum Cause {
    /// These measures suffice alone.
    Measures(Vec<Measure>),
    /// None suffices alone; this one has the most.
    Joint(Measure),
    /// Only the fixed limit is broken, and stable breaks it too.
    SharedBreach,
    /// The hard stop.
    HardStop,
}

/// Sums since the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Ticks taken.
    pub ticks: u64,
    /// The canary's.
    pub canary: Counts,
    /// Stable's.
    pub stable: Counts,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Block {
    n_c: u64,
    y_c: u64,
    n_b: u64,
    y_b: u64,
}

impl Block {
    fn add(&mut self, n_c: u64, y_c: u64, n_b: u64, y_b: u64) {
        *self = Self { n_c: self.n_c + n_c, y_c: self.y_c + y_c, n_b: self.n_b + n_b, y_b: self.y_b + y_b };
    }

    fn shares(self) -> (f64, f64) {
        let share = |y: u64, n: u64| if n == 0 { 0.0 } else { y as f64 / n as f64 };
        (share(self.y_c, self.n_c), share(self.y_b, self.n_b))
    }
}

/// Failures in a row, whole seconds at a time: the order inside a second is not known, so a second with a success ends the row.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Row {
    failed: u64,
    stable: u64,
    stable_failed: u64,
}

impl Row {
    /// True when so many in a row failed while under half of stable's did.
    pub(crate) fn take(&mut self, limit: u64, c: Counts, b: Counts) -> bool {
        if c.n == 0 {
            return false;
        }
        if c.errors < c.n {
            *self = Self::default();
            return false;
        }
        self.failed += c.n;
        self.stable += b.n;
        self.stable_failed += b.errors;
        let spared = self.stable == 0 || self.stable_failed * 2 < self.stable;
        limit > 0 && self.failed >= limit && spared
    }
}

/// Applies a [`Policy`] to ticks. Of fixed size; allocates nothing per tick.
#[derive(Debug, Clone, PartialEq)]
pub struct Sequential {
    policy: Policy,
    mode: Mode,
    /// F2 of each alternative of `p_up`, and of `p_down`.
    against_limit: [[OneStream; MAX_GRID]; 2],
    abs: EProcess,
    rel: EProcess,
    p99: EProcess,
    abs_block: Block,
    rel_block: Block,
    p99_block: Block,
    certificate: [EProcess; 3],
    step: Option<u32>,
    step_ticks: u32,
    weight: Option<u8>,
    voted: [bool; 3],
    abs_voted_in_step: bool,
    can_certify: bool,
    split: SplitCheck,
    row: Row,
    totals: Totals,
    t: i64,
    highest: f64,
    crossed_at: Option<i64>,
    hard_stop_at: Option<i64>,
    damaged: u64,
}

impl Sequential {
    /// A judge that has seen nothing. `mode` is what was chosen beforehand.
    pub fn new(policy: Policy, mode: Mode) -> Result<Self, PolicyError> {
        policy.check()?;
        let (g, starts) = (&policy.grids, policy.starts());
        let (abs, pair) = match mode {
            Mode::Requests => (g.p_up.len(), g.up.len()),
            Mode::Blocks => (g.l.len(), g.l.len()),
        };
        let certificate = Self::no_certificate(&policy);
        let against_limit = [&g.p_up, &g.p_down].map(|grid| {
            let mut streams = [OneStream::default(); MAX_GRID];
            streams.iter_mut().zip(grid).for_each(|(stream, p)| *stream = OneStream::new(policy.p0, *p));
            streams
        });
        Ok(Self {
            mode,
            against_limit,
            abs: EProcess::new(abs, starts),
            rel: EProcess::new(pair, starts),
            p99: EProcess::new(pair, starts),
            abs_block: Block::default(),
            rel_block: Block::default(),
            p99_block: Block::default(),
            certificate,
            step: None,
            step_ticks: 0,
            weight: None,
            voted: [false; 3],
            abs_voted_in_step: false,
            can_certify: false,
            split: SplitCheck::default(),
            row: Row::default(),
            totals: Totals::default(),
            t: 0,
            highest: 0.0,
            crossed_at: None,
            hard_stop_at: None,
            damaged: 0,
            policy,
        })
    }

    fn no_certificate(policy: &Policy) -> [EProcess; 3] {
        let pair = EProcess::new(policy.grids.down.len(), Starts::ONE);
        [EProcess::new(policy.grids.p_down.len(), Starts::ONE), pair, pair]
    }

    /// Takes a tick. After the evidence has crossed nothing is taken any more: the evidence stays that of the crossing.
    pub fn push(&mut self, tick: &Tick) {
        if self.crossed_at.is_some() {
            return;
        }
        let (c, b) = (tick.canary.sane(), tick.stable.sane());
        let weight = tick.weight.filter(|w| *w <= 100);
        self.t = tick.t;
        if tick.step != self.step || weight != self.weight {
            self.begin_step();
            (self.step, self.weight) = (tick.step, weight);
        }
        self.add_up(c, b);
        if self.hard_stop_at.is_none() && self.row.take(self.policy.hard_stop, c, b) {
            self.hard_stop_at = Some(tick.t);
        }
        self.step_ticks = self.step_ticks.saturating_add(1);
        for process in [&mut self.abs, &mut self.rel, &mut self.p99].into_iter().chain(&mut self.certificate) {
            process.tick();
        }
        if tick.drop {
            return;
        }
        if let Some(weight) = weight {
            self.split.push(weight, c.n, b.n);
        }
        match self.mode {
            Mode::Requests => self.requests(c, b, tick.slow_certify),
            Mode::Blocks => self.blocks(c, b),
        }
        // F4 is a mean too: where no part is above the highest so far, neither is their sum, and nothing can have crossed.
        let most = [&self.abs, &self.rel, &self.p99].map(EProcess::at_most).into_iter().fold(0.0, f64::max);
        if most <= self.highest {
            return;
        }
        let joint = self.ln_e().joint;
        self.highest = self.highest.max(joint);
        if joint - self.policy.abort_at() >= SAME {
            self.crossed_at = Some(tick.t);
        }
    }

    /// A tick that cannot be read: it brings no evidence, and nothing good can be said any more.
    pub fn damaged(&mut self) {
        self.damaged += 1;
    }

    fn begin_step(&mut self) {
        self.certificate = Self::no_certificate(&self.policy);
        (self.step_ticks, self.abs_voted_in_step, self.can_certify) = (0, false, false);
    }

    fn add_up(&mut self, c: Counts, b: Counts) {
        let add = |sum: &mut Counts, one: Counts| {
            sum.n = sum.n.saturating_add(one.n);
            sum.errors = sum.errors.saturating_add(one.errors);
            if let Some(slow) = one.slow {
                sum.slow = Some(sum.slow.unwrap_or(0).saturating_add(slow));
            }
        };
        self.totals.ticks += 1;
        add(&mut self.totals.canary, c);
        add(&mut self.totals.stable, b);
    }

    fn requests(&mut self, c: Counts, b: Counts, slow_certify: Option<u64>) {
        let Policy { grids, delta, delta_good, .. } = &self.policy;
        let [certify_abs, certify_rel, certify_p99] = &mut self.certificate;
        // Without a step nothing is certified.
        let certify = self.step.is_some();
        if c.n > 0 {
            let [up, down] = &self.against_limit;
            self.abs.multiply(up.iter().map(|s| s.ln_e(c.errors, c.n)));
            if certify {
                certify_abs.multiply(down.iter().map(|s| s.ln_e(c.errors, c.n)));
            }
            (self.voted[0], self.abs_voted_in_step) = (true, true);
        }
        if c.n == 0 || b.n == 0 {
            return;
        }
        let slow = c.slow.zip(b.slow);
        let pairs = |grid: &[f64]| {
            let mut pairs = [None; MAX_GRID];
            pairs.iter_mut().zip(grid).for_each(|(pair, rho)| *pair = TwoStreams::new(c.n, b.n, 1.0, 0.0, *rho));
            pairs
        };
        let errors =
            |t: Option<TwoStreams>, delta: f64| t.map_or(0.0, |t| t.with_margin(c.n, delta).ln_e(c.errors, b.errors));
        let slower = |t: Option<TwoStreams>, slow_c: u64, slow_b: u64| t.map_or(0.0, |t| t.ln_e(slow_c, slow_b));
        let up = pairs(&grids.up);
        self.rel.multiply(up.iter().map(|t| errors(*t, *delta)));
        self.voted[1] = true;
        if let Some((slow_c, slow_b)) = slow {
            self.p99.multiply(up.iter().map(|t| slower(*t, slow_c, slow_b)));
            self.voted[2] = true;
        }
        if certify {
            let down = pairs(&grids.down);
            certify_rel.multiply(down.iter().map(|t| errors(*t, *delta_good)));
            if let (Some((_, slow_b)), Some(slow_c)) = (slow, slow_certify.map(|s| s.min(c.n))) {
                certify_p99.multiply(down.iter().map(|t| slower(*t, slow_c, slow_b)));
                self.can_certify = true;
            }
        }
    }

    fn blocks(&mut self, c: Counts, b: Counts) {
        let Policy { grids, p0, delta, .. } = &self.policy;
        self.abs_block.add(c.n, c.errors, 0, 0);
        if self.abs_block.n_c >= BLOCK_ABS {
            let (share, _) = std::mem::take(&mut self.abs_block).shares();
            self.abs.multiply(grids.l.iter().map(|l| block_share(share, *p0, *l)));
            (self.voted[0], self.abs_voted_in_step) = (true, true);
        }
        if self.weight.is_some_and(|w| w > BLOCK_MAX_WEIGHT) {
            return;
        }
        let closed = |block: &Block| block.n_c >= BLOCK_PAIR && block.n_b >= BLOCK_PAIR;
        self.rel_block.add(c.n, c.errors, b.n, b.errors);
        if closed(&self.rel_block) {
            let (c, b) = std::mem::take(&mut self.rel_block).shares();
            self.rel.multiply(grids.l.iter().map(|l| block_difference(c, b, BLOCK_CAP, *delta, *l)));
            self.voted[1] = true;
        }
        if let (Some(slow_c), Some(slow_b)) = (c.slow, b.slow) {
            self.p99_block.add(c.n, slow_c, b.n, slow_b);
            if closed(&self.p99_block) {
                let (c, b) = std::mem::take(&mut self.p99_block).shares();
                self.p99.multiply(grids.l.iter().map(|l| block_difference(c, b, BLOCK_CAP, 0.0, *l)));
                self.voted[2] = true;
            }
        }
    }

    /// The evidence now, or when it crossed.
    pub fn ln_e(&self) -> LnE {
        let each = PerMeasure { abs: self.abs.ln_e(), rel: self.rel.ln_e(), p99: self.p99.ln_e() };
        LnE { joint: together(&each.array(), &self.policy.weights.array()), each }
    }

    /// The verdict now.
    pub fn verdict(&self) -> Verdict {
        if self.crossed_at.is_some() || self.hard_stop_at.is_some() {
            Verdict::Regressed
        } else if self.damaged > 0 || self.split_failed() || !self.has_votes() {
            Verdict::Inconclusive
        } else if self.is_certified() {
            Verdict::Certified
        } else {
            Verdict::Unrefuted
        }
    }

    /// Whether the measures that are needed have voted: the fixed limit in this step, and below 100 % the comparison with stable.
    fn has_votes(&self) -> bool {
        self.abs_voted_in_step && (self.voted[1] || self.weight == Some(100))
    }

    /// True when nothing can be said only because too few requests have come: more of them will tell. Damage and a wrong split are not mended by waiting.
    pub fn waits_for_votes(&self) -> bool {
        self.verdict() == Verdict::Inconclusive && self.damaged == 0 && !self.split_failed()
    }

    /// Evidence for "not worse" in this step, each measure against its margin; `None` where it cannot be had: in blocks, or without step and `slow_certify`.
    pub fn certificate(&self) -> Option<PerMeasure> {
        let [abs, rel, p99] = &self.certificate;
        let can = self.mode == Mode::Requests && self.can_certify && self.step.is_some();
        can.then(|| PerMeasure { abs: abs.ln_e(), rel: rel.ln_e(), p99: p99.ln_e() })
    }

    fn is_certified(&self) -> bool {
        let at = self.policy.certify_at();
        self.step_ticks >= self.policy.certify_from
            && self.certificate().is_some_and(|c| c.array().iter().all(|e| e - at >= SAME))
    }

    fn split_failed(&self) -> bool {
        self.split.ln_e().is_some_and(|e| e - self.policy.abort_at() >= SAME)
    }

    /// Which rule stopped it, and when.
    pub fn stopped(&self) -> Option<(StoppedBy, i64)> {
        // The hard stop is looked at before the evidence of the same tick, and nothing is taken after a crossing.
        match (self.hard_stop_at, self.crossed_at) {
            (Some(at), crossed) if crossed != Some(at) => Some((StoppedBy::HardStop, at)),
            (_, Some(at)) => Some((StoppedBy::Evidence, at)),
            _ => None,
        }
    }

    /// Why it is regressed; `None` when it is not.
    pub fn cause(&self) -> Option<Cause> {
        let (by, _) = self.stopped()?;
        if by == StoppedBy::HardStop {
            return Some(Cause::HardStop);
        }
        let LnE { each, .. } = self.ln_e();
        let weighted = |m: Measure| self.policy.weights.get(m).ln() + each.get(m);
        let alone: Vec<Measure> = Measure::ALL.into_iter().filter(|m| weighted(*m) >= self.policy.abort_at()).collect();
        let stable = self.totals.stable;
        if alone == [Measure::Abs] && stable.errors as f64 > self.policy.p0 * stable.n as f64 {
            return Some(Cause::SharedBreach);
        }
        if !alone.is_empty() {
            return Some(Cause::Measures(alone));
        }
        Measure::ALL.into_iter().max_by(|a, b| weighted(*a).total_cmp(&weighted(*b))).map(Cause::Joint)
    }

    /// When the evidence crossed.
    pub fn crossed_at(&self) -> Option<i64> {
        self.crossed_at
    }

    /// When the hard stop fired.
    pub fn hard_stop_at(&self) -> Option<i64> {
        self.hard_stop_at
    }

    /// Evidence that the requests do not arrive as planned (F7); `None` without weights.
    pub fn split_ln_e(&self) -> Option<f64> {
        self.split.ln_e()
    }

    /// The highest joint evidence so far.
    pub fn highest(&self) -> f64 {
        self.highest
    }

    /// Which measures have voted, in the order of [`Measure::ALL`].
    pub fn voted(&self) -> [bool; 3] {
        self.voted
    }

    /// Sums so far.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Ticks that could not be read.
    pub fn damages(&self) -> u64 {
        self.damaged
    }

    /// The policy in force.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The mode in force.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Name of the last tick.
    pub fn t(&self) -> i64 {
        self.t
    }

    /// Confidence sequences of the two versions' probabilities of failure (F6).
    pub fn errors(&self) -> (ConfidenceSequence, ConfidenceSequence) {
        let of = |c: Counts| ConfidenceSequence::new(c.errors, c.n);
        (of(self.totals.canary), of(self.totals.stable))
    }
}
