//! What the runtime of one machine cannot do.

use crate::{
    Recipe, Refusal,
    recipe::{Analysis, Provider, Step},
};

/// The rules that the built-in judge has.
const RULES: [&str; 2] = ["sequential", "threshold"];

/// What of this recipe the local runtime (two processes behind the weighted splitter; metrics from the built-in rule, Prometheus and
/// HTTP) cannot do, each by name. Nothing of a recipe is ignored: what is neither done nor here has no meaning on one machine
/// (the pod template, the selector, revisions that Kubernetes keeps).
pub fn unsupported_locally(recipe: &Recipe) -> Vec<Refusal> {
    let mut refusals = recipe.needs.clone();
    let background = recipe.background.iter().map(|b| ("spec.strategy.canary.analysis".to_owned(), &b.analysis));
    let inline = recipe.steps.iter().enumerate().filter_map(|(i, step)| match step {
        Step::Analysis(analysis) => Some((format!("spec.strategy.canary.steps[{i}].analysis"), analysis)),
        _ => None,
    });
    for (path, analysis) in background.chain(inline) {
        refusals.extend(of_analysis(&path, analysis));
    }
    refusals
}

fn of_analysis(path: &str, analysis: &Analysis) -> Vec<Refusal> {
    let rule = |metric: &crate::recipe::Metric| match &metric.provider {
        Provider::Builtin(builtin) if !RULES.contains(&builtin.rule.as_str()) => Some(Refusal {
            field: format!("{path} metric {} provider.plugin.deliveryos/builtin.rule", metric.name),
            reason: format!("there is no rule {:?}: there is {}", builtin.rule, RULES.join(", ")),
        }),
        _ => None,
    };
    analysis.metrics.iter().filter_map(rule).collect()
}
