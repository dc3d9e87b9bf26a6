//! Argo's validation of Rollouts (`pkg/apis/rollouts/validation`), its messages included.

use super::{Findings, Severity, Sound, analysis};
use crate::recipe::{duration, load, templates::Templates, yaml::Node};

const STEP_KINDS: [&str; 8] =
    ["experiment", "pause", "setWeight", "analysis", "setCanaryScale", "setHeaderRoute", "setMirrorRoute", "plugin"];
const STEP: &str = "Step must have one of the following set: experiment, setWeight, setCanaryScale, plugin or pause";
const TRAFFIC_SERVICES: &str = "Canary service and Stable service must to be set to use Traffic Routing";
const CANARY: &str = "spec.strategy.canary";

pub(super) fn lint(document: &Node, all: &[Sound], findings: &mut Findings<'_>) {
    if let Err(wrong) = load::dead_man(document) {
        findings.error(wrong.node, &wrong.field, wrong.message);
    }
    let Some(spec) = document.get("spec") else { return };
    not_negative(spec, "replicas", findings);
    selector_and_template(spec, findings);
    for field in ["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"] {
        not_negative(spec, field, findings);
    }
    let (deadline, ready) =
        (int(spec, "progressDeadlineSeconds").unwrap_or(600), int(spec, "minReadySeconds").unwrap_or(0));
    if deadline <= ready {
        let node = spec.get("progressDeadlineSeconds").unwrap_or(spec);
        findings.error(
            node,
            "spec.progressDeadlineSeconds",
            format!("Invalid value: {deadline}: must be greater than minReadySeconds"),
        );
    }
    let strategy = spec.get("strategy");
    match (strategy.and_then(|s| present(s, "canary")), strategy.and_then(|s| present(s, "blueGreen"))) {
        (None, None) => {
            let message = "Rollout has missing field '.spec.strategy.canary or .spec.strategy.blueGreen'";
            findings.error(strategy.unwrap_or(spec), "spec.strategy", message);
        }
        (Some(_), Some(_)) => {
            findings.error(strategy.unwrap_or(spec), "spec.strategy", "Multiple Strategies can not be listed")
        }
        (None, Some(blue_green)) => lint_blue_green(blue_green, spec, findings),
        (Some(canary), None) => {
            lint_canary(canary, findings);
            analyses(document, canary, all, findings);
        }
    }
    services(document, all, findings);
}

/// A member that is written, even if it is empty: `canary: {}` and `pause: {}` mean something, `pause:` does too.
fn present<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    node.entries().iter().find(|(k, _)| k.name == name).map(|(_, n)| n)
}

fn int(node: &Node, name: &str) -> Option<i64> {
    node.get(name).and_then(Node::int)
}

fn not_negative(spec: &Node, field: &str, findings: &mut Findings<'_>) {
    if let Some(node) = spec.get(field)
        && let Some(value) = node.int().filter(|v| *v < 0)
    {
        findings.error(
            node,
            &format!("spec.{field}"),
            format!("Invalid value: {value}: must be greater than or equal to 0"),
        );
    }
}

fn selector_and_template(spec: &Node, findings: &mut Findings<'_>) {
    let template = spec.get("template");
    if let Some(reference) = spec.get("workloadRef") {
        if template.is_some_and(|t| t.get("spec").is_some() || t.get("metadata").is_some()) {
            findings.error(
                template.unwrap_or(reference),
                "spec.template",
                "template must be empty for workload reference rollout",
            );
        }
        return;
    }
    let labels = template.and_then(|t| t.at(&["metadata", "labels"]));
    match spec.get("selector") {
        None => findings.error(spec, "spec.selector", "Required value: Rollout has missing field '.spec.selector'"),
        Some(selector) => {
            let matches = selector.get("matchLabels").map_or(&[][..], Node::entries);
            if matches.is_empty() && selector.list("matchExpressions").is_empty() {
                findings.error(selector, "spec.selector", "Invalid value: empty selector is invalid for deployment");
            }
            let differs =
                |name: &str, value: &Node| labels.and_then(|l| l.get(name)).and_then(Node::text) != value.text();
            if matches.iter().any(|(key, value)| differs(&key.name, value)) {
                let message = "Invalid value: `selector` does not match template `labels`";
                findings.error(labels.unwrap_or(selector), "spec.template.metadata.labels", message);
            }
        }
    }
    pod_template(template, spec, "spec.template", findings);
}

/// What Kubernetes' own validation says of the pod template of a ReplicaSet.
fn pod_template(template: Option<&Node>, parent: &Node, path: &str, findings: &mut Findings<'_>) {
    let pod = template.and_then(|t| t.get("spec"));
    let containers = pod.map_or(&[][..], |p| p.list("containers"));
    if containers.is_empty() {
        findings.error(pod.or(template).unwrap_or(parent), &format!("{path}.spec.containers"), "Required value");
        return;
    }
    let Some(pod) = pod else { return };
    let mut names: Vec<&str> = Vec::new();
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for (i, container) in pod.list(list).iter().enumerate() {
            let field = format!("{path}.spec.{list}[{i}]");
            let name = container.str("name");
            if names.contains(&name) {
                // Kubernetes drops or refuses ephemeral containers of a template in any case; see the next finding.
                let severity = if list == "ephemeralContainers" { Severity::Warning } else { Severity::Error };
                findings.add(
                    severity,
                    container.place,
                    &format!("{field}.name"),
                    format!("Duplicate value: \"{name}\""),
                    None,
                );
            }
            names.push(name);
            if container.str("image").is_empty() {
                findings.error(container, &format!("{field}.image"), "Required value");
            }
            for (p, port) in container.list("ports").iter().enumerate() {
                if let Some(number) =
                    port.get("containerPort").filter(|n| n.int().is_none_or(|n| !(1..=65_535).contains(&n)))
                {
                    findings.error(
                        number,
                        &format!("{field}.ports[{p}].containerPort"),
                        "Invalid value: must be between 1 and 65535, inclusive",
                    );
                }
            }
        }
    }
    if let Some(ephemeral) = pod.get("ephemeralContainers") {
        let message = "ephemeral containers are not allowed in a pod template: Kubernetes refuses or drops them";
        findings.add(
            Severity::Warning,
            ephemeral.place,
            &format!("{path}.spec.ephemeralContainers"),
            message,
            Some("leave them out"),
        );
    }
    if let Some(policy) = pod.get("restartPolicy").filter(|p| p.text() != Some("Always")) {
        let message =
            format!("Unsupported value: {:?}: supported values: \"Always\"", policy.text().unwrap_or_default());
        findings.error(policy, &format!("{path}.spec.restartPolicy"), message);
    }
}

fn lint_blue_green(blue_green: &Node, spec: &Node, findings: &mut Findings<'_>) {
    let path = "spec.strategy.blueGreen";
    let (active, preview) = (blue_green.str("activeService"), blue_green.str("previewService"));
    if active == preview {
        let message = "This rollout uses the same service for the active and preview services, but two different services are required.";
        findings.error(blue_green, &format!("{path}.activeService"), message);
    }
    let history = int(spec, "revisionHistoryLimit").unwrap_or(10);
    if let Some(limit) = blue_green.get("scaleDownDelayRevisionLimit").filter(|l| l.int().is_some_and(|l| l > history))
    {
        let message = "This rollout's revision history limit can not be smaller than the rollout's scale down limit";
        findings.error(limit, &format!("{path}.scaleDownDelayRevisionLimit"), message);
    }
    anti_affinity(blue_green, path, findings);
}

fn anti_affinity(strategy: &Node, path: &str, findings: &mut Findings<'_>) {
    let Some(affinity) = present(strategy, "antiAffinity").filter(|a| !a.entries().is_empty() || a.text().is_some())
    else {
        return;
    };
    let preferred = present(affinity, "preferredDuringSchedulingIgnoredDuringExecution");
    let required = present(affinity, "requiredDuringSchedulingIgnoredDuringExecution");
    let path = format!("{path}.antiAffinity");
    if preferred.is_some() == required.is_some() {
        findings.error(affinity, &path, "AntiAffinity must have exactly one strategy listed");
    }
    if let Some(weight) =
        preferred.and_then(|p| p.get("weight")).filter(|w| w.int().is_none_or(|w| !(1..=100).contains(&w)))
    {
        findings.error(weight, &format!("{path}.weight"), "AntiAffinity weight must be between 1-100");
    }
}

fn lint_canary(canary: &Node, findings: &mut Findings<'_>) {
    let zero = |name: &str, otherwise: bool| {
        canary.get(name).map_or(otherwise, |n| n.text().is_some_and(|t| t.trim_end_matches('%').parse() == Ok(0)))
    };
    if zero("maxSurge", false) && zero("maxUnavailable", true) {
        findings.error(
            canary.get("maxSurge").unwrap_or(canary),
            &format!("{CANARY}.maxSurge"),
            "MaxSurge and MaxUnavailable both can not be zero",
        );
    }
    let (canary_service, stable_service) = (canary.str("canaryService"), canary.str("stableService"));
    if !canary_service.is_empty() && canary_service == stable_service {
        let message = "This rollout uses the same service for the stable and canary services, but two different services are required.";
        findings.error(canary.get("stableService").unwrap_or(canary), &format!("{CANARY}.stableService"), message);
    }
    let traffic = present(canary, "trafficRouting");
    ping_pong(canary, traffic, findings);
    let needs_services = traffic.is_some_and(|t| {
        let has = |name: &str| present(t, name).is_some();
        let single = canary.get("pingPong").is_none();
        let istio_subsets = t.at(&["istio", "destinationRule"]).is_some();
        (has("alb") && single)
            || (has("istio") && !istio_subsets && single)
            || ["smi", "apisix", "ambassador", "nginx", "appMesh", "traefik"].into_iter().any(has)
    });
    for (field, value) in [("stableService", stable_service), ("canaryService", canary_service)] {
        if needs_services && value.is_empty() {
            findings.error(canary, &format!("{CANARY}.{field}"), TRAFFIC_SERVICES);
        }
    }
    let (delay, dynamic) =
        (canary.get("scaleDownDelaySeconds"), canary.get("dynamicStableScale").filter(|d| d.bool() == Some(true)));
    match traffic {
        None => {
            if let Some(delay) = delay {
                findings.error(
                    delay,
                    &format!("{CANARY}.scaleDownDelaySeconds"),
                    "Canary scaleDownDelaySeconds can only be used with traffic routing",
                );
            }
            if let Some(dynamic) = dynamic {
                findings.error(
                    dynamic,
                    &format!("{CANARY}.dynamicStableScale"),
                    "Canary dynamicStableScale can only be used with traffic routing",
                );
            }
        }
        Some(traffic) => {
            if let (Some(_), Some(dynamic)) = (delay, dynamic) {
                findings.error(
                    dynamic,
                    &format!("{CANARY}.dynamicStableScale"),
                    "Canary dynamicStableScale cannot be used with scaleDownDelaySeconds",
                );
            }
            if let Some(weight) =
                traffic.get("maxTrafficWeight").filter(|_| present(traffic, "nginx").is_none() && !has_plugins(traffic))
            {
                let message = "Canary maxTrafficWeight in traffic routing only supported in Nginx and Plugins";
                findings.error(weight, &format!("{CANARY}.trafficRouting.maxTrafficWeight"), message);
            }
        }
    }
    let most = traffic.and_then(|t| int(t, "maxTrafficWeight")).unwrap_or(100);
    for (i, step) in canary.list("steps").iter().enumerate() {
        lint_step(step, &format!("{CANARY}.steps[{i}]"), traffic, most, findings);
    }
    anti_affinity(canary, CANARY, findings);
}

fn has_plugins(traffic: &Node) -> bool {
    traffic.get("plugins").is_some_and(|p| !p.entries().is_empty())
}

fn ping_pong(canary: &Node, traffic: Option<&Node>, findings: &mut Findings<'_>) {
    let Some(ping_pong) = present(canary, "pingPong") else { return };
    let path = format!("{CANARY}.pingPong");
    if let Some(traffic) =
        traffic.filter(|t| present(t, "alb").is_none() && present(t, "istio").is_none() && !has_plugins(t))
    {
        let message = "Ping-pong feature works with the ALB, Istio, and plugin-based traffic routers only";
        findings.error(traffic, &format!("{CANARY}.trafficRouting.alb"), message);
    }
    let (ping, pong) = (ping_pong.str("pingService"), ping_pong.str("pongService"));
    for (field, value) in [("pingService", ping), ("pongService", pong)] {
        if value.is_empty() {
            findings.error(
                ping_pong,
                &format!("{path}.{field}"),
                "Ping service and Pong service must to be set to use Ping-Pong feature",
            );
        }
    }
    if ping == pong {
        let message = "This rollout uses the same service for the ping and pong services, but two different services are required.";
        findings.error(ping_pong, &format!("{path}.pingService"), message);
    }
    if let Some(alb) = traffic.and_then(|t| t.get("alb")).filter(|a| a.str("rootService").is_empty()) {
        let message = "Root service field is required for the configuration with ALB and ping-pong feature enabled";
        findings.error(alb, &format!("{CANARY}.trafficRouting.alb.rootService"), message);
    }
}

fn lint_step(step: &Node, path: &str, traffic: Option<&Node>, most: i64, findings: &mut Findings<'_>) {
    let set: Vec<&str> = STEP_KINDS.into_iter().filter(|k| present(step, k).is_some()).collect();
    match set.as_slice() {
        [] => findings.error(step, path, STEP),
        [_] => {}
        several => {
            // Argo looks at four of the kinds only, and carries out one of the others; loading such a recipe names it.
            let exclusive = several.iter().filter(|k| STEP_KINDS.iter().take(4).any(|e| e == *k)).count() > 1;
            let severity = if exclusive { Severity::Error } else { Severity::Warning };
            findings.add(
                severity,
                step.place,
                path,
                format!("{STEP} (here: {})", several.join(" and ")),
                Some("make it several steps"),
            );
        }
    }
    if let Some(weight) = step.get("setWeight").filter(|w| w.int().is_none_or(|w| !(0..=most).contains(&w))) {
        findings.error(
            weight,
            &format!("{path}.setWeight"),
            format!("Invalid value: {}: SetWeight needs to be between 0 and {most}", weight.text().unwrap_or_default()),
        );
    }
    if let Some(pause) = step.at(&["pause", "duration"]) {
        let field = format!("{path}.pause.duration");
        match duration::pause_ms(pause.text().unwrap_or_default()) {
            Ok(ms) if ms >= 0 => {}
            Ok(_) => findings.error(pause, &field, "Duration needs to be greater than 0"),
            Err(why) => findings.add(
                Severity::Error,
                pause.place,
                &field,
                format!("Duration needs to be greater than 0: {why}"),
                Some("write seconds, or a duration such as 30s, 5m, 1h"),
            ),
        }
    }
    if let Some(scale) = step.get("setCanaryScale").filter(|_| traffic.is_none()) {
        findings.error(
            scale,
            &format!("{CANARY}.trafficRouting"),
            "Required value: SetCanaryScale requires TrafficRouting to be set",
        );
    }
    let has = |names: &[&str]| traffic.is_some_and(|t| names.iter().any(|n| present(t, n).is_some()) || has_plugins(t));
    if let Some(route) = step.get("setHeaderRoute") {
        let path = format!("{path}.setHeaderRoute");
        if !has(&["istio", "alb", "apisix"]) {
            findings.error(route, &path, "SetHeaderRoute requires TrafficRouting, supports Istio and ALB and Apisix");
        } else {
            let is_alb = traffic.is_some_and(|t| present(t, "alb").is_some());
            for (i, m) in route.list("match").iter().enumerate() {
                match_value(m.get("headerValue"), m, &format!("{path}.match[{i}]"), is_alb, findings);
            }
        }
        managed_route(route, &path, traffic, findings);
    }
    if let Some(route) = step.get("setMirrorRoute") {
        let path = format!("{path}.setMirrorRoute");
        if !has(&["istio"]) {
            findings.error(route, &path, "SetMirrorRoute requires TrafficRouting, supports Istio and Plugins");
        }
        for (i, m) in route.list("match").iter().enumerate() {
            for field in ["method", "path"] {
                if let Some(value) = m.get(field) {
                    match_value(Some(value), m, &format!("{path}.match[{i}]"), false, findings);
                }
            }
        }
        managed_route(route, &path, traffic, findings);
    }
    if let Some(experiment) = step.get("experiment") {
        lint_experiment_step(experiment, &format!("{path}.experiment"), traffic, findings);
    }
}

fn match_value(value: Option<&Node>, parent: &Node, path: &str, is_alb: bool, findings: &mut Findings<'_>) {
    let set = |name: &str| value.is_some_and(|v| !v.str(name).is_empty());
    let count = ["exact", "regex", "prefix"].into_iter().filter(|n| set(n)).count();
    let node = value.unwrap_or(parent);
    if is_alb && value.is_some() {
        if count != 1 || !set("exact") {
            findings.error(node, path, "SetHeaderRoute match value invalid. ALB supports 'exact' value only");
        }
    } else if count == 0 {
        findings.error(
            node,
            path,
            "StringMatch value missed, match value must have one of the following: exact, regex, prefix",
        );
    } else if count > 1 {
        findings.error(
            node,
            path,
            "StringMatch match value must have exactly one of the following: exact, regex, prefix",
        );
    }
}

fn managed_route(route: &Node, path: &str, traffic: Option<&Node>, findings: &mut Findings<'_>) {
    let Some(traffic) = traffic else { return };
    match traffic.get("managedRoutes") {
        None => {
            let message =
                "Required value: Rollout has missing field 'spec.strategy.canary.trafficRouting.managedRoutes'";
            findings.error(traffic, &format!("{CANARY}.trafficRouting.managedRoutes"), message);
        }
        Some(managed) if !managed.items().iter().any(|m| m.str("name") == route.str("name")) => {
            findings.error(
                route,
                path,
                "Steps define a route that does not exist in spec.strategy.canary.trafficRouting.managedRoutes",
            );
        }
        Some(_) => {}
    }
}

fn lint_experiment_step(experiment: &Node, path: &str, traffic: Option<&Node>, findings: &mut Findings<'_>) {
    for (i, template) in experiment.list("templates").iter().enumerate() {
        let Some(weight) = template.get("weight") else { continue };
        let field = format!("{path}.templates[{i}].weight");
        match traffic {
            None => findings.error(
                weight,
                &field,
                "Experiment template weight cannot be set unless TrafficRouting is enabled",
            ),
            Some(t) if ["alb", "smi", "istio"].iter().all(|n| present(t, n).is_none()) && !has_plugins(t) => {
                let message = "Experiment template weight is only available for TrafficRouting with SMI, ALB, Istio and Plugins at this time";
                findings.error(weight, &field, message);
            }
            Some(_) => {}
        }
    }
    go_duration(experiment, "duration", path, findings);
}

fn go_duration(node: &Node, name: &str, path: &str, findings: &mut Findings<'_>) {
    if let Some(value) = node.get(name)
        && let Err(why) = duration::go_ms(value.text().unwrap_or_default())
    {
        findings.error(value, &format!("{path}.{name}"), why);
    }
}

/// An Experiment: names, durations, pod templates.
pub(super) fn lint_experiment(document: &Node, findings: &mut Findings<'_>) {
    let Some(spec) = document.get("spec") else { return };
    go_duration(spec, "duration", "spec", findings);
    let mut names: Vec<&str> = Vec::new();
    for (i, template) in spec.list("templates").iter().enumerate() {
        let path = format!("spec.templates[{i}]");
        if names.contains(&template.str("name")) {
            findings.error(template, &format!("{path}.name"), format!("Duplicate value: \"{}\"", template.str("name")));
        }
        names.push(template.str("name"));
        pod_template(template.get("template"), template, &format!("{path}.template"), findings);
    }
}

/// The analyses of a canary, with the templates that are in these files.
fn analyses(document: &Node, canary: &Node, all: &[Sound], findings: &mut Findings<'_>) {
    let templates = Templates::new(all);
    if let Some(background) = canary.get("analysis") {
        let path = format!("{CANARY}.analysis");
        analysis::lint_use(document, background, &path, true, &templates, findings);
        let steps = i64::try_from(canary.list("steps").len()).unwrap_or(i64::MAX);
        if let Some(start) = background.get("startingStep").filter(|s| s.int().is_some_and(|s| s < 0 || s > steps)) {
            findings.error(start, &format!("{path}.startingStep"), format!("Invalid value: there are {steps} steps"));
        }
    }
    for (i, step) in canary.list("steps").iter().enumerate() {
        if let Some(inline) = step.get("analysis") {
            analysis::lint_use(document, inline, &format!("{CANARY}.steps[{i}].analysis"), false, &templates, findings);
        }
    }
}

/// The selector of a Service that the Rollout names must match its pods.
fn services(document: &Node, all: &[Sound], findings: &mut Findings<'_>) {
    let strategy = document.at(&["spec", "strategy"]);
    let labels = document.at(&["spec", "template", "metadata", "labels"]);
    let named: [&[&str]; 6] = [
        &["canary", "canaryService"],
        &["canary", "stableService"],
        &["canary", "pingPong", "pingService"],
        &["canary", "pingPong", "pongService"],
        &["blueGreen", "activeService"],
        &["blueGreen", "previewService"],
    ];
    for path in named {
        let Some(named) = strategy.and_then(|s| s.at(path)) else { continue };
        // Pods of a workloadRef are not in this document.
        let Some(service) = all.iter().find(|d| d.kind == "Service" && Some(d.name.as_str()) == named.text()) else {
            continue;
        };
        for (key, value) in service.node.at(&["spec", "selector"]).map_or(&[][..], Node::entries) {
            let is_hash = key.name == "rollouts-pod-template-hash";
            if !is_hash && labels.and_then(|l| l.get(&key.name)).and_then(Node::text) != value.text() {
                let message = format!("Service {:?} has unmatch label {:?} in rollout", service.name, key.name);
                findings.error(named, &format!("spec.strategy.{}", path.join(".")), message);
            }
        }
    }
}
