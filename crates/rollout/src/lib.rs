//! The canary engine, pure: recipe, plan, assessment.
//!
//! Reads Argo Rollouts' recipes as they are ([`Recipe`], [`lint()`]), follows their semantics, and decides; it never acts and sees
//! no clock. Where Argo's code and its documents differ, its code is followed (argoproj/argo-rollouts 1.10).
//!
//! # How it is used
//! The whole state of a release is a [`Status`], which is nothing but the fold of its [`Transition`]s. Transitions go into
//! signed receipts, so a crash loses nothing: [`Status::fold`] of what the log holds is the status again.
//!
//! ```text
//! loop {
//!     observed = runtime.observe()
//!     plan     = rollout::plan(&recipe, &status, &observed, now)
//!     for action in plan.actions {         // in order; measurements may run beside the loop
//!         Record(t)            → append the receipt, status.apply(&t)
//!         SetWeight{..}        → runtime.set_weight(operation, weight), then record action's outcome (`Transition::WeightApplied`)
//!         ..
//!     }
//!     until plan.wake_at() or an event
//! }
//! ```
//! A person's command goes through [`decide`], which gives transitions or a refusal with its reason.
//!
//! # Recipes
//! Argo Rollouts 1.10 (`argoproj.io/v1alpha1`): [`lint()`] reads Rollout, AnalysisTemplate, ClusterAnalysisTemplate, AnalysisRun, Experiment and Service strictly and
//! says where what is wrong; other kinds are passed over with a note. [`Recipe::load`] makes a recipe of the one canary Rollout in some files;
//! [`unsupported_locally`] names what one machine cannot do. Argo's own lint accepts the few words that are ours:
//!
//! | where | word | means |
//! |---|---|---|
//! | metric's `provider.plugin` | `deliveryos/builtin: {}` | the built-in judge, every second, on the data plane's own counters: `rule: sequential` (with `mode`, `alpha`, `warmUpSeconds`, `endCertifiedSteps`) or `rule: threshold` |
//! | `trafficRouting.plugins` | `deliveryos/splitter: {}` | the built-in splitter (also without it) |
//! | Rollout's annotations | `deliveryos.dev/dead-man-seconds` (60) | how long the data plane goes on without its controller |
//! | Rollout's annotations | `deliveryos.dev/on-controller-loss` (`resume`) | `resume` or `abort` when the controller is back |
//!
//! # Where it differs from Argo, deliberately
//! - Abort wins over promote-full, and works in every state.
//! - The built-in rule gates: a pause or analysis step is left, and the version promoted, only on its `Successful`; `Inconclusive` (too few requests)
//!   pauses for a person, and a breach meanwhile still aborts.
//! - A background run starts when the canary is ready, not before, and ends (Successful, or not at all) before the promotion.
//! - A person's resume of what was inconclusive measures the step anew.
//! - No 100 % without an armed rollback envelope; a rollback after promotion replays it.
//!
//! # Invariants (held by the simulation in `simulation`, over random schedules; each is broken on purpose there and found)
//! - Never promoted without `Successful`, unless a person skipped the analysis.
//! - After an abort the weight of the new version is 0, and it stays so.
//! - The weight never exceeds that of the step.
//! - No step is skipped (unless by a person) and none is applied twice.
//! - No 100 % without an armed rollback envelope.

pub mod assess;
pub mod engine;
pub mod expr;
pub mod lint;
mod local;
pub mod recipe;
#[cfg(test)]
mod simulation;
pub mod timetable;

pub use assess::{AnalysisPhase, Measurement, MetricState, RunState};
pub use engine::{
    MAX_ENDS,
    command::{Availability, CommandRefused, available_commands, controller_back, decide},
    envelope::{Act, Replay, RollbackEnvelope},
    observed::{Builtin, Observed, ObservedVersion, ProcessEnd},
    plan::{Action, Place, Plan, StopPart, Wait, plan},
    status::{Abort, FoldError, Hold, PauseCondition, PauseReason, Phase, Start, Status, VersionRef},
    transition::{AnalysisScope, DriftReason, StepEnd, Transition, WeightCause},
};
pub use lint::{Finding, LintReport, Severity, lint};
pub use local::unsupported_locally;
pub use recipe::{DeadMan, Provider, Recipe, Refusal, yaml::manifests};
pub use timetable::{planned_ms, planned_weights, stops, timetable};
