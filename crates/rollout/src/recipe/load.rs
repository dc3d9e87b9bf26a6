//! From linted documents to a recipe that can be carried out.

use model::Weight;

use super::{
    Analysis, Background, Builtin, DeadMan, Metric, Prometheus, Provider, Range, Recipe, Refusal, Step, Web, WebBody,
    duration,
    templates::{Missing, Templates, matches},
    yaml::Node,
};
use crate::{
    expr,
    lint::{self, Finding, LintReport, Severity},
};

/// The plugin that stands for the built-in rule in an analysis template.
const BUILTIN: &str = "deliveryos/builtin";

/// The plugin that stands for the built-in splitter under `trafficRouting`.
const SPLITTER: &str = "deliveryos/splitter";

/// Most steps: a recipe is read by people.
const MAX_STEPS: usize = 200;

const DEAD_MAN_SECONDS: &str = "deliveryos.dev/dead-man-seconds";
const ON_CONTROLLER_LOSS: &str = "deliveryos.dev/on-controller-loss";

pub(super) fn load(files: &[(&str, &[u8])]) -> Result<Recipe, LintReport> {
    let lint::Files { mut report, sound } = lint::read(files);
    if !report.is_clean() {
        return Err(report);
    }
    let mut rollouts = sound.iter().filter(|d| d.kind == "Rollout");
    let (document, file) = match (rollouts.next(), rollouts.next()) {
        (Some(one), None) => (&one.node, one.file.clone()),
        (None, _) => return Err(failed(report, None, "kind", "there is no Rollout in these files".to_owned())),
        (Some(_), Some(second)) => {
            let message = "there is more than one Rollout in these files: a release follows one".to_owned();
            return Err(failed(report, Some((&second.file, &second.node)), "kind", message));
        }
    };
    let mut loader = Loader { document, templates: Templates::new(&sound), needs: Vec::new() };
    match loader.recipe() {
        Ok(recipe) => Ok(recipe),
        Err(wrong) => {
            report.findings.push(finding(Some((&file, wrong.node)), &wrong.field, wrong.message));
            Err(report)
        }
    }
}

fn failed(mut report: LintReport, at: Option<(&str, &Node)>, field: &str, message: String) -> LintReport {
    report.findings.push(finding(at, field, message));
    report
}

fn finding(at: Option<(&str, &Node)>, field: &str, message: String) -> Finding {
    Finding {
        severity: Severity::Error,
        file: at.map(|(file, _)| file.to_owned()).unwrap_or_default(),
        line: at.map_or(0, |(_, n)| n.place.line),
        column: at.map_or(0, |(_, n)| n.place.column),
        field: field.to_owned(),
        message,
        hint: None,
    }
}

/// What cannot be loaded.
pub(crate) struct Wrong<'a> {
    /// Where it stands.
    pub(crate) node: &'a Node,
    /// Its path.
    pub(crate) field: String,
    /// What is wrong.
    pub(crate) message: String,
}

struct Loader<'a> {
    document: &'a Node,
    templates: Templates<'a>,
    needs: Vec<Refusal>,
}

impl<'a> Loader<'a> {
    fn recipe(&mut self) -> Result<Recipe, Wrong<'a>> {
        let document = self.document;
        let wrong = |node: &'a Node, field: &str, message: &str| Wrong {
            node,
            field: field.to_owned(),
            message: message.to_owned(),
        };
        let Some(spec) = document.get("spec") else { return Err(wrong(document, "spec", "Required value")) };
        if let Some(blue_green) = spec.at(&["strategy", "blueGreen"]) {
            return Err(wrong(
                blue_green,
                "spec.strategy.blueGreen",
                "blue-green is not carried out here: use the canary strategy",
            ));
        }
        let empty = spec.get("strategy").unwrap_or(spec);
        // `canary: {}` has no members and is a recipe all the same; `canary:` alone is null, for Argo the same.
        let canary = spec.at(&["strategy", "canary"]).unwrap_or(empty);
        self.spec_needs(spec);
        self.canary_needs(canary);
        let seconds =
            |node: &Node, name: &str| node.get(name).and_then(Node::int).map(|s| s.clamp(0, 366 * 86_400) * 1_000);
        let mut steps = Vec::new();
        for (i, step) in canary.list("steps").iter().enumerate() {
            if i >= MAX_STEPS {
                return Err(wrong(step, "spec.strategy.canary.steps", &format!("more than {MAX_STEPS} steps")));
            }
            let step = self.step(step, &format!("spec.strategy.canary.steps[{i}]"))?;
            steps.push(step);
        }
        let background = match canary.get("analysis").filter(|a| !a.list("templates").is_empty()) {
            None => None,
            Some(usage) => {
                let starting_step =
                    usage.get("startingStep").and_then(Node::int).and_then(|s| u32::try_from(s).ok()).unwrap_or(0);
                let analysis = self.analysis(usage, "spec.strategy.canary.analysis")?;
                Some(Background { starting_step, analysis })
            }
        };
        let dead_man = dead_man(document)?;
        let abort_delay = seconds(canary, "abortScaleDownDelaySeconds").unwrap_or(30_000);
        Ok(Recipe {
            name: document.at(&["metadata", "name"]).and_then(Node::text).unwrap_or_default().to_owned(),
            steps,
            background,
            scale_down_delay_ms: seconds(canary, "scaleDownDelaySeconds").unwrap_or(30_000),
            abort_scale_down_delay_ms: (abort_delay > 0).then_some(abort_delay),
            progress_deadline_ms: seconds(spec, "progressDeadlineSeconds").unwrap_or(600_000),
            progress_deadline_abort: spec.get("progressDeadlineAbort").and_then(Node::bool) == Some(true),
            rollback_window: spec
                .at(&["rollbackWindow", "revisions"])
                .and_then(Node::int)
                .and_then(|r| u32::try_from(r).ok()),
            dead_man,
            error_retry_ms: 10_000,
            speed: 1.0,
            needs: std::mem::take(&mut self.needs),
        })
    }

    fn need(&mut self, field: &str, reason: &str) {
        self.needs.push(Refusal { field: field.to_owned(), reason: reason.to_owned() });
    }

    fn spec_needs(&mut self, spec: &Node) {
        if spec.get("replicas").and_then(Node::int).is_some_and(|r| r != 1) {
            self.need("spec.replicas", "each version runs as one process here: leave it out, or write 1");
        }
        if spec.get("minReadySeconds").and_then(Node::int).is_some_and(|s| s > 0) {
            self.need("spec.minReadySeconds", "a version is ready as soon as its health check answers: leave it out");
        }
        if spec.get("paused").and_then(Node::bool) == Some(true) {
            self.need("spec.paused", "a release is paused by the command, not by its recipe");
        }
        if spec.get("restartAt").is_some() {
            self.need("spec.restartAt", "processes are not restarted by a recipe");
        }
    }

    /// Whatever of the canary strategy needs Kubernetes or another router.
    fn canary_needs(&mut self, canary: &Node) {
        const PATH: &str = "spec.strategy.canary";
        for (field, reason) in [
            ("canaryService", "there are no Kubernetes Services here: the splitter knows its two versions"),
            ("stableService", "there are no Kubernetes Services here: the splitter knows its two versions"),
            ("pingPong", "there are no Kubernetes Services here"),
            ("maxSurge", "each version runs as one process here: there is nothing to surge"),
            ("maxUnavailable", "each version runs as one process here: none of it may be unavailable"),
            ("antiAffinity", "there are no nodes to choose from here"),
            ("canaryMetadata", "there are no pods to label here"),
            ("stableMetadata", "there are no pods to label here"),
            ("minPodsPerReplicaSet", "each version runs as one process here"),
            ("replicaProgressThreshold", "each version runs as one process here"),
            ("scaleDownDelayRevisionLimit", "one old version is kept here"),
        ] {
            if canary.get(field).is_some() {
                self.need(&format!("{PATH}.{field}"), reason);
            }
        }
        if canary.get("dynamicStableScale").and_then(Node::bool) == Some(true) {
            self.need(
                &format!("{PATH}.dynamicStableScale"),
                "each version runs as one process here: there is nothing to scale",
            );
        }
        let Some(traffic) = canary.get("trafficRouting") else { return };
        for (key, node) in traffic.entries() {
            let path = format!("{PATH}.trafficRouting.{}", key.name);
            match key.name.as_str() {
                "plugins" => {
                    for (plugin, _) in node.entries().iter().filter(|(k, _)| k.name != SPLITTER) {
                        self.need(
                            &format!("{path}.{}", plugin.name),
                            &format!("traffic goes through the built-in splitter: leave it out, or name {SPLITTER}"),
                        );
                    }
                }
                "maxTrafficWeight" if node.int() == Some(100) => {}
                "maxTrafficWeight" => self.need(&path, "weights are per cent here"),
                "managedRoutes" => self.need(&path, "the splitter routes by weight only"),
                _ => self.need(
                    &path,
                    &format!("traffic goes through the built-in splitter, not through {}: leave it out", key.name),
                ),
            }
        }
    }

    fn step(&mut self, step: &'a Node, path: &str) -> Result<Step, Wrong<'a>> {
        let kinds: Vec<&str> = step.entries().iter().map(|(k, _)| k.name.as_str()).collect();
        if kinds.len() > 1 {
            self.need(
                path,
                &format!("{} in one step: make it several steps, or one of them would be ignored", kinds.join(" and ")),
            );
        }
        if let Some(weight) = step.get("setWeight") {
            let percent = weight.int().and_then(|w| u8::try_from(w).ok()).and_then(|w| Weight::new(w).ok());
            // Above 100 only with a larger maxTrafficWeight, which is refused by name.
            return match percent {
                Some(weight) => Ok(Step::SetWeight(weight)),
                None => Err(Wrong {
                    node: weight,
                    field: format!("{path}.setWeight"),
                    message: "weights are per cent here: 0 to 100".to_owned(),
                }),
            };
        }
        if let Some((_, pause)) = step.entries().iter().find(|(k, _)| k.name == "pause") {
            let ms = pause.get("duration").and_then(|d| duration::pause_ms(d.text().unwrap_or_default()).ok());
            return Ok(Step::Pause(ms));
        }
        if let Some(usage) = step.get("analysis") {
            return Ok(Step::Analysis(self.analysis(usage, &format!("{path}.analysis"))?));
        }
        for (kind, reason) in [
            ("setCanaryScale", "each version runs as one process here: there is nothing to scale"),
            ("experiment", "experiments need Kubernetes"),
            ("setHeaderRoute", "the splitter routes by weight only"),
            ("setMirrorRoute", "the splitter does not mirror"),
            ("plugin", "step plugins are not run here"),
        ] {
            if step.entries().iter().any(|(k, _)| k.name == kind) {
                self.need(&format!("{path}.{kind}"), reason);
                return Ok(Step::Other(kind));
            }
        }
        Err(Wrong { node: step, field: path.to_owned(), message: "this is no step".to_owned() })
    }

    fn analysis(&mut self, usage: &'a Node, path: &str) -> Result<Analysis, Wrong<'a>> {
        let wrong = |field: String, message: String| Wrong { node: usage, field, message };
        let resolved = self.templates.resolve(self.document, usage).map_err(|missing| match missing {
            Missing::Template(name) => {
                wrong(format!("{path}.templates"), format!("there is no analysis template {name:?} in these files"))
            }
            Missing::Argument(name) => wrong(format!("{path}.args"), format!("args.{name} was not resolved")),
            Missing::Other(why) => wrong(format!("{path}.templates"), why),
        })?;
        self.needs.extend(resolved.needs);
        if usage.get("analysisRunMetadata").is_some() {
            self.need(
                &format!("{path}.analysisRunMetadata"),
                "analysis runs are receipts here: there is nothing to label",
            );
        }
        let mut metrics = Vec::new();
        for node in &resolved.metrics {
            let name = node.str("name");
            let dry_run = resolved.dry_run.iter().any(|pattern| matches(pattern, name));
            let metric = self
                .metric(node, dry_run)
                .map_err(|(field, message)| wrong(format!("{path} metric {name} {field}"), message))?;
            metrics.push(metric);
        }
        if metrics.is_empty() {
            return Err(wrong(format!("{path}.templates"), "no metrics specified".to_owned()));
        }
        if metrics.iter().filter(|m| matches!(m.provider, Provider::Builtin(_))).count() > 1 {
            return Err(wrong(format!("{path}.templates"), "the built-in rule can be named once".to_owned()));
        }
        Ok(Analysis { metrics })
    }

    fn metric(&mut self, node: &Node, dry_run: bool) -> Result<Metric, (String, String)> {
        let name = node.str("name").to_owned();
        let bad = |field: &str, message: String| (field.to_owned(), message);
        let number = |field: &str, otherwise: i64| match node.str(field) {
            "" => Ok(otherwise),
            text => text.parse::<i64>().map_err(|_| bad(field, format!("must be a whole number, and is {text:?}"))),
        };
        let natural = |field: &str, otherwise: i64| {
            let value = number(field, otherwise)?;
            u32::try_from(value).map_err(|_| bad(field, format!("must be 0 or more, and is {value}")))
        };
        let go = |field: &str| match node.str(field) {
            "" => Ok(None),
            text => match duration::go_ms(text) {
                Ok(ms) if ms >= 0 => Ok(Some(ms)),
                Ok(_) => Err(bad(field, "must not be negative".to_owned())),
                Err(why) => Err(bad(field, why)),
            },
        };
        let interval_ms = go("interval")?;
        // Argo's effective count: once without an interval, for ever with one.
        let count = match (natural("count", 0)?, interval_ms) {
            (0, None) => Some(1),
            (0, Some(_)) => None,
            (n, _) => Some(n),
        };
        let condition = |field: &str| {
            let text = node.str(field).to_owned();
            match expr::check(&text) {
                Err(why) if !text.is_empty() => Err(bad(field, format!("the condition cannot be evaluated: {why}"))),
                _ => Ok(text),
            }
        };
        let failure_limit = match number("failureLimit", 0)? {
            -1 => None,
            _ => Some(natural("failureLimit", 0)?),
        };
        Ok(Metric {
            provider: self.provider(&name, node)?,
            interval_ms,
            initial_delay_ms: go("initialDelay")?.unwrap_or(0),
            count,
            success_condition: condition("successCondition")?,
            failure_condition: condition("failureCondition")?,
            failure_limit,
            inconclusive_limit: natural("inconclusiveLimit", 0)?,
            consecutive_error_limit: natural("consecutiveErrorLimit", 4)?,
            consecutive_success_limit: natural("consecutiveSuccessLimit", 0)?,
            dry_run,
            name,
        })
    }

    fn provider(&mut self, metric: &str, node: &Node) -> Result<Provider, (String, String)> {
        let Some(provider) = node.get("provider") else {
            return Err(("provider".to_owned(), "no provider specified".to_owned()));
        };
        match builtin(node) {
            Some(Ok(builtin)) => return Ok(Provider::Builtin(builtin)),
            Some(Err(misuse)) => return Err((misuse.field, misuse.message)),
            None => {}
        }
        let mut here = |field: &str, reason: &str| self.need(&format!("metric {metric} provider.{field}"), reason);
        const CREDENTIALS: &str = "credentials of metric sources stand in the server's configuration";
        const INSECURE: &str = "certificates are always checked";
        let headers =
            |n: &Node| n.list("headers").iter().map(|h| (h.str("key").to_owned(), h.str("value").to_owned())).collect();
        let timeout =
            |n: &Node, field: &str| n.get(field).and_then(Node::int).filter(|s| *s > 0).map(|s| s.min(3_600) * 1_000);
        if let Some(p) = provider.get("prometheus") {
            if p.get("authentication").is_some() {
                here("prometheus.authentication", CREDENTIALS);
            }
            if p.get("insecure").and_then(Node::bool) == Some(true) {
                here("prometheus.insecure", INSECURE);
            }
            return Ok(Provider::Prometheus(Prometheus {
                address: p.str("address").to_owned(),
                query: p.str("query").to_owned(),
                range: p.get("rangeQuery").map(range).transpose()?,
                headers: headers(p),
                timeout_ms: timeout(p, "timeout"),
            }));
        }
        if let Some(w) = provider.get("web") {
            if w.get("authentication").is_some() {
                here("web.authentication", CREDENTIALS);
            }
            if w.get("insecure").and_then(Node::bool) == Some(true) {
                here("web.insecure", INSECURE);
            }
            let body = match (w.get("jsonBody"), w.get("body")) {
                (Some(_), Some(_)) => return Err(("provider.web".to_owned(), "either body or jsonBody".to_owned())),
                (Some(json), None) => Some(WebBody::Json(json.to_json())),
                (None, body) => body.and_then(Node::text).map(|t| WebBody::Text(t.to_owned())),
            };
            return Ok(Provider::Web(Web {
                url: w.str("url").to_owned(),
                method: if w.str("method").is_empty() { "GET".to_owned() } else { w.str("method").to_owned() },
                headers: headers(w),
                body,
                json_path: w.str("jsonPath").to_owned(),
                timeout_ms: timeout(w, "timeoutSeconds"),
            }));
        }
        let other = provider.entries().first().map(|(k, n)| match n.entries().first() {
            Some((plugin, _)) if k.name == "plugin" => format!("plugin {}", plugin.name),
            _ => k.name.clone(),
        });
        let other = other.unwrap_or_default();
        here(
            &other,
            &format!("the metric provider {other} is not available: use the built-in rule, prometheus or web"),
        );
        Ok(Provider::Other(other))
    }
}

fn range(node: &Node) -> Result<Range, (String, String)> {
    let ago = |field: &str, otherwise: &str| {
        let text = node.str(field);
        expr::ms_ago(if text.is_empty() { otherwise } else { text })
            .map_err(|why| (format!("provider.prometheus.rangeQuery.{field}"), why))
    };
    let step = duration::go_ms(node.str("step")).ok().filter(|ms| *ms > 0);
    let range = Range {
        start_ms_ago: ago("start", "")?,
        end_ms_ago: ago("end", "now()")?,
        step_ms: step.ok_or_else(|| {
            ("provider.prometheus.rangeQuery.step".to_owned(), "must be a duration above 0".to_owned())
        })?,
    };
    if range.start_ms_ago <= range.end_ms_ago {
        return Err(("provider.prometheus.rangeQuery".to_owned(), "it must begin before it ends".to_owned()));
    }
    Ok(range)
}

/// A field that is not used as it must be.
pub(crate) struct Misuse<'a> {
    /// Where it stands.
    pub(crate) node: &'a Node,
    /// Its path below the metric.
    pub(crate) field: String,
    /// What is wrong.
    pub(crate) message: String,
}

/// The built-in rule that a metric asks for, if it does.
pub(crate) fn builtin(metric: &Node) -> Option<Result<Builtin, Misuse<'_>>> {
    let plugin = metric.get("provider")?.get("plugin")?;
    let rule = plugin.entries().iter().find(|(key, _)| key.name == BUILTIN).map(|(_, node)| node)?;
    let wrong = |node, name: &str, message: String| {
        Some(Err(Misuse { node, field: format!("provider.plugin.{BUILTIN}.{name}"), message }))
    };
    const FIELDS: [&str; 5] = ["rule", "mode", "alpha", "warmUpSeconds", "endCertifiedSteps"];
    if let Some((key, node)) = rule.entries().iter().find(|(key, _)| !FIELDS.contains(&key.name.as_str())) {
        return wrong(node, &key.name, format!("unknown field: the built-in rule has {}", FIELDS.join(", ")));
    }
    for field in ["successCondition", "failureCondition", "consecutiveSuccessLimit"] {
        if let Some(node) = metric.get(field) {
            let message = "the built-in rule decides by itself: it takes no condition".to_owned();
            return Some(Err(Misuse { node, field: field.to_owned(), message }));
        }
    }
    let name = match rule.str("rule") {
        "" => "sequential",
        named => named,
    };
    let option = rule.entries().iter().find(|(key, _)| key.name != "rule");
    if let (Some((key, node)), true) = (option, name != "sequential") {
        return wrong(node, &key.name, "only the rule sequential takes it".to_owned());
    }
    let mode = match (rule.get("mode"), rule.str("mode")) {
        (None, _) => None,
        (_, mode @ ("requests" | "blocks")) => Some(mode.to_owned()),
        (Some(node), _) => return wrong(node, "mode", "neither requests nor blocks".to_owned()),
    };
    let alpha = match rule.get("alpha") {
        None => None,
        Some(node) => match node.float().filter(|alpha| *alpha > 0.0 && *alpha <= 0.5) {
            Some(alpha) => Some(alpha),
            None => return wrong(node, "alpha", "not a chance above 0 and at most 0.5".to_owned()),
        },
    };
    let warm_up_ms = match rule.get("warmUpSeconds") {
        None => None,
        Some(node) => match node.int().filter(|seconds| (0..=3_600).contains(seconds)) {
            Some(seconds) => Some(seconds * 1_000),
            None => return wrong(node, "warmUpSeconds", "not a number of seconds from 0 to 3600".to_owned()),
        },
    };
    let end_certified_steps = match rule.get("endCertifiedSteps") {
        None => false,
        Some(node) => match node.bool() {
            Some(ends) => ends,
            None => return wrong(node, "endCertifiedSteps", "neither true nor false".to_owned()),
        },
    };
    Some(Ok(Builtin { rule: name.to_owned(), mode, alpha, warm_up_ms, end_certified_steps }))
}

/// What a Rollout's annotations say of a controller that is gone.
pub(crate) fn dead_man(document: &Node) -> Result<DeadMan, Wrong<'_>> {
    let annotation = |name: &str| document.at(&["metadata", "annotations"]).and_then(|a| a.get(name));
    let mut dead_man = DeadMan { after_ms: 60_000, stated: false, abort: false };
    if let Some(node) = annotation(DEAD_MAN_SECONDS) {
        dead_man.stated = true;
        dead_man.after_ms = match node.text().unwrap_or_default().parse::<i64>() {
            // A day is the longest that a release is left alone; less than 5 s would fire at every restart.
            Ok(s @ 5..=86_400) => s * 1_000,
            _ => {
                return Err(bad_annotation(node, DEAD_MAN_SECONDS, "must be a number of seconds, 5 to 86400"));
            }
        };
    }
    if let Some(node) = annotation(ON_CONTROLLER_LOSS) {
        dead_man.abort = match node.text() {
            Some("abort") => true,
            Some("resume") => false,
            _ => return Err(bad_annotation(node, ON_CONTROLLER_LOSS, "must be resume or abort")),
        };
    }
    let known = [DEAD_MAN_SECONDS, ON_CONTROLLER_LOSS];
    let ours = document.at(&["metadata", "annotations"]).map_or(&[][..], Node::entries);
    match ours.iter().find(|(k, _)| k.name.starts_with("deliveryos.dev/") && !known.contains(&k.name.as_str())) {
        Some((key, node)) => Err(bad_annotation(
            node,
            &key.name,
            "is not known: deliveryos.dev/ has dead-man-seconds and on-controller-loss",
        )),
        None => Ok(dead_man),
    }
}

fn bad_annotation<'a>(node: &'a Node, name: &str, message: &str) -> Wrong<'a> {
    Wrong { node, field: format!("metadata.annotations.{name}"), message: message.to_owned() }
}
