//! Gates: scanner reports in, findings and a decision by policy out.
//!
//! Pure: no I/O, no clock. Everything here fails closed: a report that is missing, cut off, of a shape that its tool does not write,
//! too old, or about something else is a reason to refuse, never a reason to look away.
//!
//! * [`Report::read`]: the bytes of a report, whichever of the known tools wrote it, as [`Finding`]s.
//! * [`Policy::parse`]: what may pass, in TOML; [`Policy::strict`] when none is given.
//! * [`decide`]: reports, policy, subject and time in, [`Decision`] out, with a reason for each refusal.
//! * [`compare`]: what is new and what is fixed against the reports of the release before.

mod compare;
mod cvss;
mod decide;
mod finding;
mod formats;
mod json;
mod licence;
mod policy;
mod report;
mod shape;

pub use compare::{Difference, compare};
pub use decide::{
    Decision, GateDecision, Judged, Reason, ReasonCode, ReportSummary, Request, Standing, Submitted, decide,
};
pub use finding::{Finding, Location, Package, Severity, State, tool_id};
pub use json::parse as strict_json;
pub use policy::{Policy, PolicyError, Subjects, Suppressions, Unknown, Waiver};
pub use report::{Format, MAX_FINDINGS, MAX_REPORT, Report, Unreadable};
