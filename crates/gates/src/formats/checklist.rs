//! A production-readiness checklist: a report that people write, our own format.
//!
//! ```json
//! {
//!   "checklist": "deliveryos.dev/checklist/v1",
//!   "name": "production readiness",
//!   "subject": "sha256:…",
//!   "completed_at": "2026-05-07T13:40:00Z",
//!   "items": [
//!     { "id": "runbook", "title": "A runbook exists and was rehearsed", "state": "done", "by": "dana", "evidence": "https://…" },
//!     { "id": "pager", "title": "Somebody is on call", "state": "not-applicable", "by": "dana", "reason": "internal tool" },
//!     { "id": "load", "title": "Load-tested at twice the peak", "state": "open", "severity": "medium" }
//!   ]
//! }
//! ```
//! An item that is open is a finding, of severity `high` unless it says otherwise. One that does not apply needs a reason, every answer a person.

use serde_json::Value;

use super::time;
use crate::{
    Report, Severity,
    finding::{Finding, tidy},
    json::Ask,
    shape::{
        Shape::{self, Name, Object, Some as AtLeastOne, Text, Word},
        may, must,
    },
};

const ITEM: Shape = Object(&[
    must("id", Name),
    must("title", Name),
    must("state", Word(&["done", "open", "not-applicable"])),
    may("severity", Word(&["low", "medium", "high", "critical"])),
    may("by", Name),
    may("reason", Name),
    may("evidence", Text),
]);
const DOCUMENT: Shape = Object(&[
    must("checklist", Word(&["deliveryos.dev/checklist/v1"])),
    must("name", Name),
    may("subject", Name),
    must("completed_at", Name),
    must("items", AtLeastOne(&ITEM)),
]);

pub(crate) fn read(value: &Value, report: &mut Report) -> Result<(), String> {
    DOCUMENT.check(value)?;
    report.tool = "checklist".to_owned();
    report.scanned_at = Some(time(".completed_at", value.text("completed_at"))?);
    if let Some(subject) = value.some("subject") {
        report.subjects.push(subject.parse().map_err(|_| ".subject: not a digest".to_owned())?);
    }
    let name = value.text("name");
    let items = value.list("items");
    for (i, item) in items.iter().enumerate() {
        let id = item.text("id");
        if items.iter().take(i).any(|other| other.text("id") == id) {
            return Err(format!(".items[{i}].id: {:?} is there twice", tidy(id)));
        }
        match item.text("state") {
            "open" => {
                let severity = match item.text("severity") {
                    "low" => Severity::Low,
                    "medium" => Severity::Medium,
                    "critical" => Severity::Critical,
                    _ => Severity::High,
                };
                report.findings.push(Finding::new("checklist", id, severity, item.text("title")).at(name, None));
            }
            state => {
                if item.some("by").is_none() {
                    return Err(format!(".items[{i}]: {state} by whom? \"by\" is missing"));
                }
                if state == "not-applicable" && item.some("reason").is_none() {
                    return Err(format!(".items[{i}]: not applicable, why? \"reason\" is missing"));
                }
            }
        }
    }
    Ok(())
}
