//! The canary engine, pure: recipe, plan, assessment.
//!
//! Reads Argo Rollouts' recipes as they are ([`Recipe`], [`lint`]), follows their semantics, and decides; it never acts and sees
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
#[cfg(test)]
mod simulation;
pub mod recipe;
pub mod timetable;

pub use assess::{AnalysisPhase, Measurement, MetricState, RunState};
pub use engine::{
    command::{Availability, CommandRefused, available_commands, controller_back, decide},
    envelope::{Act, Replay, RollbackEnvelope},
    observed::{Builtin, Observed, ObservedVersion},
    plan::{Action, Place, Plan, StopPart, Wait, plan},
    status::{Abort, FoldError, Hold, PauseCondition, PauseReason, Phase, Start, Status, VersionRef},
    transition::{AnalysisScope, DriftReason, StepEnd, Transition, WeightCause},
};
pub use lint::{Finding, LintReport, Severity, lint};
pub use local::unsupported_locally;
pub use recipe::{Provider, Recipe, Refusal};
pub use timetable::{planned_ms, planned_weights, timetable};
