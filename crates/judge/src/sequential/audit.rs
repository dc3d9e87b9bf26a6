//! Does a receipt's verdict follow from its table of ticks?

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    policy::{Mode, Policy},
    replay::{Replay, ReplayError, Replayed},
    state::{LnE, Totals, Verdict},
};
use crate::rule::Rule;

/// Auditors on other machines agree within this.
pub const AGREE: f64 = 1e-9;

/// Why a verdict does not follow from its table.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AuditError {
    /// The facts are not those of the sequential judge.
    #[error("the receipt does not state a verdict of the sequential judge: {0}")]
    Facts(String),
    /// The table cannot be replayed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The table says something else.
    #[error("the receipt states {what} {stated}, its ticks give {found}")]
    Differs {
        /// What differs.
        what: &'static str,
        /// What the receipt states.
        stated: String,
        /// What the table gives.
        found: String,
    },
}

/// What the receipt states.
#[derive(Deserialize)]
struct Stated {
    policy: Rule,
    mode: Mode,
    said: Verdict,
    ln_e: LnE,
    crossed_at: Option<i64>,
    hard_stop_at: Option<i64>,
    totals: Totals,
}

/// Digests of the pieces of the table that a receipt of the sequential judge names; `None` for any other receipt.
pub fn tables(facts: &Map<String, Value>) -> Option<Vec<String>> {
    let sequential = facts.get("policy")?.get("rule")?.as_str()? == "sequential" && facts.contains_key("said");
    let list = facts.get("tables")?.as_array()?;
    sequential.then(|| list.iter().filter_map(|d| d.as_str().map(str::to_owned)).collect())
}

/// Recomputes a verdict from the pieces of its table and compares it with what the receipt states.
pub fn audit<'a>(
    facts: &Map<String, Value>,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Replayed, AuditError> {
    let stated: Stated =
        serde_json::from_value(Value::Object(facts.clone())).map_err(|e| AuditError::Facts(e.to_string()))?;
    let Rule::Sequential(policy) = stated.policy else {
        return Err(AuditError::Facts("its policy is another rule's".to_owned()));
    };
    let policy: Policy = policy;
    let mut replay = Replay::new(policy, stated.mode)?;
    for piece in pieces {
        for line in piece.split(|b| *b == b'\n') {
            replay.line(line)?;
        }
    }
    let found = replay.finish()?;
    let differs = |what, stated: String, found: String| Err(AuditError::Differs { what, stated, found });
    let (a, b) = (stated.ln_e, found.ln_e);
    let evidence = [
        ("joint evidence", a.joint, b.joint),
        ("evidence of abs", a.each.abs, b.each.abs),
        ("evidence of rel", a.each.rel, b.each.rel),
        ("evidence of p99", a.each.p99, b.each.p99),
    ];
    for (what, a, b) in evidence {
        if (a - b).abs() > AGREE * b.abs().max(1.0) || a.is_nan() {
            return differs(what, a.to_string(), b.to_string());
        }
    }
    if stated.totals != found.totals {
        return differs("counts", format!("{:?}", stated.totals), format!("{:?}", found.totals));
    }
    if (stated.crossed_at, stated.hard_stop_at) != (found.crossed_at, found.hard_stop_at) {
        let words = |c: Option<i64>, h: Option<i64>| format!("crossing {c:?}, hard stop {h:?}");
        let (a, b) = (words(stated.crossed_at, stated.hard_stop_at), words(found.crossed_at, found.hard_stop_at));
        return differs("the stop", a, b);
    }
    if stated.said != found.verdict {
        return differs("the verdict", stated.said.as_str().to_owned(), found.verdict.as_str().to_owned());
    }
    Ok(found)
}
