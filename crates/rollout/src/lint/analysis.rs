//! Argo's validation of analysis templates (`utils/analysis/factory.go`), and of their use by a Rollout.

use super::{Findings, Severity};
use crate::{
    expr,
    recipe::{
        duration, load,
        templates::{Missing, Templates, placeholders},
        yaml::Node,
    },
};

/// A template, or a run: its metrics.
pub(super) fn lint(kind: &str, document: &Node, findings: &mut Findings<'_>) {
    let Some(spec) = document.get("spec") else { return };
    let metrics = spec.list("metrics");
    if metrics.is_empty() && spec.list("templates").is_empty() {
        findings.error(spec.get("metrics").unwrap_or(spec), "spec.metrics", "no metrics specified");
    }
    let mut names: Vec<&str> = Vec::new();
    for (i, metric) in metrics.iter().enumerate() {
        let path = format!("spec.metrics[{i}]");
        let name = metric.str("name");
        if names.contains(&name) {
            findings.error(metric, &format!("{path}.name"), format!("duplicate name '{name}'"));
        }
        names.push(name);
        lint_metric(metric, &path, findings);
    }
    let args: Vec<&str> = spec.list("args").iter().map(|a| a.str("name")).collect();
    for (i, arg) in spec.list("args").iter().enumerate() {
        if args.iter().take(i).any(|a| *a == arg.str("name")) {
            findings.error(arg, &format!("spec.args[{i}].name"), format!("duplicate argument '{}'", arg.str("name")));
        }
        if arg.get("value").is_some() && arg.get("valueFrom").is_some() {
            findings.error(arg, &format!("spec.args[{i}]"), "an argument has either value or valueFrom");
        }
        if kind == "AnalysisRun" && arg.get("value").is_none() && arg.get("valueFrom").is_none() {
            findings.error(arg, &format!("spec.args[{i}]"), format!("args.{} was not resolved", arg.str("name")));
        }
    }
    for (i, metric) in metrics.iter().enumerate() {
        for (name, node) in placeholders(metric) {
            if !args.contains(&name.as_str()) {
                let message = format!("failed to resolve {{{{args.{name}}}}}: the template has no such argument");
                findings.error(node, &format!("spec.metrics[{i}]"), message);
            }
        }
    }
}

fn number(metric: &Node, name: &str) -> i64 {
    metric.get(name).and_then(Node::int_or_text).unwrap_or(0)
}

fn lint_metric(metric: &Node, path: &str, findings: &mut Findings<'_>) {
    let place = |name: &str| metric.get(name).unwrap_or(metric);
    let mut wrong = |name: &str, message: String| findings.error(place(name), &format!("{path}.{name}"), message);
    let (count, failures, successes) =
        (number(metric, "count"), number(metric, "failureLimit"), number(metric, "consecutiveSuccessLimit"));
    let inconclusive = number(metric, "inconclusiveLimit");
    for name in ["count", "failureLimit", "consecutiveSuccessLimit", "inconclusiveLimit", "consecutiveErrorLimit"] {
        let text = metric.str(name);
        let is_number = text.is_empty() || text.parse::<i32>().is_ok() || text.contains("{{");
        if !is_number {
            wrong(name, format!("must be a whole number, and is {text:?}"));
        }
    }
    if count < 0 {
        wrong("count", "count must be >= 0".to_owned());
    }
    if successes < 0 {
        wrong("consecutiveSuccessLimit", "consecutiveSuccessLimit must be >= 0".to_owned());
    }
    if failures < -1 {
        wrong("failureLimit", "failureLimit must be >= 0, or -1 to be disabled".to_owned());
    }
    if successes == 0 && failures == -1 {
        wrong("failureLimit", "failureLimit and consecutiveSuccessLimit cannot both be disabled".to_owned());
    }
    if inconclusive < 0 {
        wrong("inconclusiveLimit", "inconclusiveLimit must be >= 0".to_owned());
    }
    if number(metric, "consecutiveErrorLimit") < 0 {
        wrong("consecutiveErrorLimit", "consecutiveErrorLimit must be >= 0".to_owned());
    }
    if count > 0 {
        if successes >= 0 && failures >= 0 && count < failures + successes {
            wrong(
                "count",
                format!(
                    "count ({count}) must be >= failureLimit + consecutiveSuccessLimit ({failures} + {successes}) if both >= 0"
                ),
            );
        } else if failures < 0 && count < successes {
            wrong("count", "count must be >= consecutiveSuccessLimit".to_owned());
        }
        if count < inconclusive {
            wrong("count", "count must be >= inconclusiveLimit".to_owned());
        }
    }
    if count > 1 && metric.str("interval").is_empty() {
        wrong("interval", "interval must be specified when count > 1".to_owned());
    }
    for (name, word) in [("interval", "interval"), ("initialDelay", "startDelay")] {
        let text = metric.str(name);
        if text.is_empty() || text.contains("{{") {
            continue;
        }
        match duration::go_ms(text) {
            Err(why) => wrong(name, format!("invalid {word} string: {why}")),
            Ok(ms) if ms < 0 || (ms == 0 && name == "interval") => {
                wrong(name, format!("invalid {word} string: {text:?} must be longer than 0"))
            }
            Ok(_) => {}
        }
    }
    let provider = metric.get("provider");
    let plugins = provider.and_then(|p| p.get("plugin")).map_or(0, |p| p.entries().len());
    let written = |p: &&(_, Node)| p.1.data != crate::recipe::yaml::Data::Null;
    let others = provider.map_or(0, |p| p.entries().iter().filter(written).filter(|(k, _)| k.name != "plugin").count());
    match plugins + others {
        0 => wrong("provider", "no provider specified".to_owned()),
        1 => {}
        _ => wrong("provider", "multiple providers specified".to_owned()),
    }
    // Ours, which Argo does not look into.
    if let Some(Err(misuse)) = load::builtin(metric) {
        findings.error(misuse.node, &format!("{path}.{}", misuse.field), misuse.message);
    }
    for name in ["successCondition", "failureCondition"] {
        let text = metric.str(name);
        if text.is_empty() || text.contains("{{") {
            continue;
        }
        if let Err(why) = expr::check(text) {
            // Argo can do it, this engine cannot: the recipe is refused when it is loaded.
            let severity = if why.contains("not supported here") { Severity::Warning } else { Severity::Error };
            findings.add(
                severity,
                place(name).place,
                &format!("{path}.{name}"),
                format!("the condition cannot be evaluated: {why}"),
                None,
            );
        }
    }
}

/// The use of templates by a Rollout, as far as they are in these files.
pub(super) fn lint_use(
    rollout: &Node,
    usage: &Node,
    path: &str,
    background: bool,
    templates: &Templates<'_>,
    findings: &mut Findings<'_>,
) {
    if usage.list("templates").is_empty() {
        findings.add(
            Severity::Warning,
            usage.place,
            &format!("{path}.templates"),
            "no templates: nothing is analysed",
            None,
        );
        return;
    }
    let resolved = match templates.resolve(rollout, usage) {
        Ok(resolved) => resolved,
        Err(Missing::Template(name)) => {
            let message = format!("the analysis template {name:?} is not in these files");
            findings.add(
                Severity::Note,
                usage.place,
                &format!("{path}.templates"),
                message,
                Some("lint the files together"),
            );
            return;
        }
        Err(Missing::Argument(name)) => {
            let message = if background && usage.list("args").is_empty() {
                format!("missing analysis arguments in rollout spec: {name}")
            } else {
                format!("args.{name} was not resolved")
            };
            findings.error(usage.get("args").unwrap_or(usage), &format!("{path}.args"), message);
            return;
        }
        Err(Missing::Other(why)) => {
            findings.error(usage, &format!("{path}.templates"), why);
            return;
        }
    };
    for metric in &resolved.metrics {
        let endless = number(metric, "count") == 0 && !metric.str("interval").is_empty();
        if endless && !background {
            let name = metric.str("name");
            let message = format!(
                "AnalysisTemplate has metric {name} which runs indefinitely. Invalid value for count: {}",
                metric.str("count")
            );
            findings.add(
                Severity::Error,
                usage.place,
                &format!("{path}.templates"),
                message,
                Some("give the metric a count, or use it as the background analysis"),
            );
        }
    }
}
