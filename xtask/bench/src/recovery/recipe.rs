//! The recipes that are measured.

/// What the background analysis asks beside the built-in rule.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sources {
    /// Nothing.
    None,
    /// A Prometheus and a web source that never answer.
    Hanging,
}

/// One step at `weight` percent, held for an hour, judged by the built-in rule or not.
pub(super) fn recipe(weight: u8, builtin: bool, sources: Sources) -> String {
    let mut metrics = String::new();
    if builtin {
        metrics += "  - name: builtin\n    interval: 1s\n    provider:\n      plugin:\n        deliveryos/builtin:\n          rule: threshold\n";
    }
    if sources == Sources::Hanging {
        // Errors of a source that is away end nothing here: what is measured is the abort beside it.
        metrics += "  - name: hanging-prometheus\n    interval: 1s\n    consecutiveErrorLimit: 1000\n    successCondition: result[0] >= 0\n    \
                    provider:\n      prometheus:\n        address: prometheus\n        query: up\n";
        metrics += "  - name: hanging-web\n    interval: 1s\n    consecutiveErrorLimit: 1000\n    successCondition: result >= 0\n    \
                    provider:\n      web:\n        url: \"{source}/report\"\n        jsonPath: \"{$.value}\"\n";
    }
    let analysis =
        if metrics.is_empty() { "" } else { "      analysis:\n        templates:\n        - templateName: measured\n" };
    let template = if metrics.is_empty() {
        String::new()
    } else {
        format!(
            "---\napiVersion: argoproj.io/v1alpha1\nkind: AnalysisTemplate\nmetadata:\n  name: measured\nspec:\n  metrics:\n{metrics}"
        )
    };
    format!(
        "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata:\n  name: measured\nspec:\n  selector:\n    matchLabels:\n      app: service\n  \
         template:\n    metadata:\n      labels:\n        app: service\n    spec:\n      containers:\n      - name: service\n        image: service\n  \
         strategy:\n    canary:\n      trafficRouting:\n        plugins:\n          deliveryos/splitter: {{}}\n      \
         abortScaleDownDelaySeconds: 1\n{analysis}      steps:\n      - setWeight: {weight}\n      - pause: {{duration: 1h}}\n{template}"
    )
}
