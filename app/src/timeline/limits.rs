//! The limits that are drawn: those of the rule that judges the release.

use model::Kind;
use projections::ReleaseView;
use serde_json::Value;

/// What a canary may do, as the receipt of the analysis' start states it; nothing where no rule of ours judges.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Limits {
    /// Its p99 may be above stable's by this share.
    pub p99_increase: Option<f64>,
    /// True when one p99 above it decides nothing: the evidence of all requests does.
    pub tolerated: bool,
    /// This share of its requests may fail.
    pub error_ratio: Option<f64>,
}

impl Limits {
    /// Of the analysis that was begun last.
    pub fn of(view: &ReleaseView) -> Self {
        let begun = view.receipts.iter().rev().filter(|r| r.payload.kind == Kind::AnalysisStarted);
        let Some((facts, policy)) = begun.map(|r| &r.payload.facts).find_map(|f| Some((f, f.get("policy")?))) else {
            return Self::default();
        };
        // Buckets of another source that are too coarse allow a wider comparison only.
        let tested = facts.get("counters").and_then(|c| c.get("tested_tolerance"));
        let of = |names: [&str; 2]| names.into_iter().find_map(|name| policy.get(name)?.as_f64());
        Self {
            tolerated: policy.get("tolerance").is_some(),
            p99_increase: tested.and_then(Value::as_f64).or_else(|| of(["tolerance", "p99_increase"])),
            error_ratio: of(["p0", "error_ratio"]),
        }
    }

    /// What that of p99 is called.
    pub fn word(&self) -> &'static str {
        if self.tolerated { "tolerated" } else { "limit" }
    }
}

#[cfg(all(test, feature = "ssr"))]
mod tests {
    use model::Actor;
    use projections::Receipt;
    use receipts::Payload;
    use serde_json::json;

    use super::*;

    #[test]
    fn they_are_those_of_the_rule_in_force() {
        let mut view = crate::gallery::sample_view();
        view.receipts.clear();
        assert_eq!(Limits::of(&view), Limits::default());
        let mut says = |facts: Value| {
            let payload = Payload::new(Kind::AnalysisStarted, view.row.started, Actor::controller(), &facts).unwrap();
            view.receipts.push(Receipt { index: view.receipts.len() as u64, payload });
            let Limits { p99_increase, error_ratio, .. } = Limits::of(&view);
            (p99_increase, error_ratio)
        };
        let sequential = serde_json::to_value(judge::Rule::default()).unwrap();
        assert_eq!(says(json!({ "policy": sequential })), (Some(0.1), Some(0.01)));
        let threshold = judge::Rule::Threshold(judge::Threshold { p99_increase: 0.25, ..judge::Threshold::default() });
        assert_eq!(says(json!({ "policy": threshold })), (Some(0.25), Some(0.01)));
        let coarse = json!({ "policy": sequential, "counters": { "fit": "coarse", "tested_tolerance": 0.5 } });
        assert_eq!(says(coarse), (Some(0.5), Some(0.01)));
        assert_eq!(
            says(json!({ "analysis": "of a template" })),
            (Some(0.5), Some(0.01)),
            "it states none: the last that did"
        );
    }
}
