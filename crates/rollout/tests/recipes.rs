//! The recipes of others, and our own: how they lint, and what they become.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)] // a test that cannot go on says so by failing

use std::{
    fs,
    path::{Path, PathBuf},
};

use rollout::{Finding, LintReport, Recipe, Severity, lint, unsupported_locally};

fn data() -> Option<PathBuf> {
    let Some(dir) = std::env::var_os("DELIVERYOS_TEST_DATA") else {
        eprintln!("SKIPPED: DELIVERYOS_TEST_DATA is not set, recipes of others are not linted");
        return None;
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    Some(root.join(dir).join("rollouts"))
}

fn files_under(dir: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files_under(&path, found);
        } else {
            found.push(path);
        }
    }
}

fn lint_text(text: &str) -> LintReport {
    lint(&[("file.yaml", text.as_bytes())])
}

fn errors(report: &LintReport) -> Vec<&Finding> {
    report.findings.iter().filter(|f| f.severity == Severity::Error).collect()
}

#[test]
fn argos_examples_lint_as_argo_would() {
    let Some(data) = data() else { return };
    let mut files = Vec::new();
    files_under(&data.join("argo-examples"), &mut files);
    let with_rollout: Vec<&PathBuf> = files
        .iter()
        .filter(|f| f.extension().is_some_and(|e| e == "yaml"))
        .filter(|f| fs::read_to_string(f).unwrap().lines().any(|l| l.trim_end() == "kind: Rollout"))
        .collect();
    assert_eq!(with_rollout.len(), 22);
    let mut clean = 0;
    for file in with_rollout {
        let text = fs::read_to_string(file).unwrap();
        let report = lint_text(&text);
        let name = file.strip_prefix(&data).unwrap().display().to_string();
        match name.as_str() {
            "argo-examples/helm-blue-green/templates/rollout.yaml"
            | "argo-examples/traffic-management/rollout-linkerd.yaml" => {
                let errors = errors(&report);
                assert_eq!(errors.len(), 1, "{name}: {errors:#?}");
                assert!(
                    errors[0].message.contains("not YAML") && errors[0].line > 0 && errors[0].column > 0,
                    "{name}: {errors:#?}"
                );
                assert!(text.lines().nth(errors[0].line as usize - 1).unwrap().contains("{{"), "{name}: {errors:#?}");
            }
            _ => {
                assert!(report.is_clean(), "{name}: {:#?}", errors(&report));
                assert!(report.documents.iter().any(|d| d.kind == "Rollout"), "{name}");
                clean += 1;
            }
        }
    }
    assert_eq!(clean, 20);
}

/// How a file fails, and its repair in memory.
enum Fails {
    /// It is no YAML.
    Yaml,
    /// These fields are named.
    Fields(&'static [&'static str]),
    /// Only at run time: it lints clean as it is.
    AtRunTime,
}

#[test]
fn bad_recipes_fail_as_the_table_says() {
    let Some(data) = data() else { return };
    let memory = |text: &str| text.replace("memory: invalid", "memory: 64Mi");
    let outdent = |text: &str| {
        let (head, tail) = text.split_once("    - name: fail-after-30").unwrap();
        let tail: Vec<String> = tail.lines().map(|l| l.strip_prefix("  ").unwrap_or(l).to_owned()).collect();
        format!("{head}  - name: fail-after-30{}\n", tail.join("\n"))
    };
    let containers =
        |text: &str| format!("{text}\n      spec:\n        containers:\n        - name: a\n          image: b\n");
    let nothing = |text: &str| text.to_owned();
    type Repair<'a> = &'a dyn Fn(&str) -> String;
    let table: [(&str, Fails, Repair<'_>); 12] = [
        ("analysis-run-failfast.yaml", Fails::Yaml, &outdent),
        ("analysis-run-prometheus-bad-server.yaml", Fails::AtRunTime, &nothing),
        ("experiment-degrade.yaml", Fails::AtRunTime, &nothing),
        ("experiment-error-template-missing.yaml", Fails::AtRunTime, &nothing),
        ("experiment-failed-analysis.yaml", Fails::AtRunTime, &nothing),
        ("experiment-invalid.yaml", Fails::Fields(&["spec.templates[1].template.spec.containers"]), &containers),
        (
            "malformed-analysisrun.yaml",
            Fails::Fields(&["spec.metrics[0].provider.job.spec.template.spec.containers[0].resources.requests.memory"]),
            &memory,
        ),
        (
            "malformed-analysistemplate.yaml",
            Fails::Fields(&["spec.metrics[0].provider.job.spec.template.spec.containers[0].resources.requests.memory"]),
            &memory,
        ),
        (
            "malformed-clusteranalysistemplate.yaml",
            Fails::Fields(&["spec.metrics[0].provider.job.spec.template.spec.containers[0].resources.requests.memory"]),
            &memory,
        ),
        (
            "malformed-experiment.yaml",
            Fails::Fields(&["spec.templates[0].template.spec.containers[0].resources.requests.memory"]),
            &memory,
        ),
        (
            "malformed-rollout-ephemeral.yaml",
            Fails::Fields(&[
                "spec.template.spec.containers[0].resources.requests.memory",
                "spec.template.spec.ephemeralContainers[0].resources.requests.memory",
            ]),
            &memory,
        ),
        (
            "malformed-rollout.yaml",
            Fails::Fields(&["spec.template.spec.containers[0].resources.requests.memory"]),
            &memory,
        ),
    ];
    let mut present = Vec::new();
    files_under(&data.join("bad"), &mut present);
    assert_eq!(present.len(), table.len(), "the table is not about these files");
    for (name, fails, repair) in table {
        let text = fs::read_to_string(data.join("bad").join(name)).unwrap();
        let report = lint_text(&text);
        let found = errors(&report);
        match fails {
            Fails::Yaml => assert!(
                found.len() == 1 && found[0].message.contains("not YAML") && found[0].line > 0,
                "{name}: {found:#?}"
            ),
            Fails::Fields(fields) => {
                let named: Vec<&str> = found.iter().map(|f| f.field.as_str()).collect();
                assert_eq!(named, fields, "{name}: {found:#?}");
                assert!(found.iter().all(|f| f.line > 0 && f.column > 0), "{name}: {found:#?}");
            }
            Fails::AtRunTime => assert!(found.is_empty(), "{name}: {found:#?}"),
        }
        let repaired = repair(&text);
        assert!(lint_text(&repaired).is_clean(), "{name} repaired: {:#?}\n{repaired}", errors(&lint_text(&repaired)));
    }
}

fn example(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name)).unwrap()
}

#[test]
fn our_examples_are_carried_out_locally() {
    for name in ["rollout-default.yaml", "rollout-prometheus.yaml", "rollout-web.yaml"] {
        let text = example(name);
        let report = lint_text(&text);
        assert!(report.findings.is_empty(), "{name}: {:#?}", report.findings);
        let recipe = Recipe::load(&[(name, text.as_bytes())]).unwrap_or_else(|r| panic!("{name}: {r:#?}"));
        assert_eq!(unsupported_locally(&recipe), [], "{name}");
        assert!(recipe.background.is_some(), "{name}");
    }
    let recipe = Recipe::load(&[("r", example("rollout-default.yaml").as_bytes())]).unwrap();
    let weights: Vec<(i64, u8)> =
        rollout::planned_weights(&recipe).iter().map(|p| (p.at_ms / 1_000, p.weight.percent())).collect();
    assert_eq!(weights, [(0, 5), (120, 25), (300, 50), (480, 100)]);
    assert_eq!(rollout::planned_ms(&recipe), Some(720_000));
    assert_eq!(rollout::planned_ms(&recipe.speed(6.0)), Some(120_000));
}

/// A Rollout with this canary strategy (indented by six), and a template for it.
fn rollout_with(canary: &str) -> String {
    format!(
        "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {{name: r}}\nspec:\n  selector: {{matchLabels: {{a: b}}}}\n  template:\n    metadata: {{labels: {{a: b}}}}\n    spec: {{containers: [{{name: c, image: i}}]}}\n  strategy:\n    canary:\n{canary}"
    )
}

const TEMPLATE: &str = "\n---\napiVersion: argoproj.io/v1alpha1\nkind: AnalysisTemplate\nmetadata: {name: t}\nspec:\n  args: [{name: x}]\n  metrics:\n";

#[track_caller]
fn check(canary: &str, field: &str, says: &str) {
    let text = rollout_with(canary);
    let report = lint_text(&text);
    let errors = errors(&report);
    assert!(
        errors.iter().any(|f| f.field == field && f.message.contains(says) && f.line > 0),
        "{text}\nexpected {field}: {says}, found {errors:#?}"
    );
}

#[test]
fn canary_strategies_that_argo_refuses() {
    check("      stepz: []", "spec.strategy.canary.stepz", "unknown field");
    check("      steps: 5", "spec.strategy.canary.steps", "must be a list");
    check("      steps: [{setWeight: '5'}]", "spec.strategy.canary.steps[0].setWeight", "must be a whole number");
    check(
        "      steps: [{setWeight: 101}]",
        "spec.strategy.canary.steps[0].setWeight",
        "SetWeight needs to be between 0 and 100",
    );
    check(
        "      steps: [{setWeight: -1}]",
        "spec.strategy.canary.steps[0].setWeight",
        "SetWeight needs to be between 0 and 100",
    );
    check(
        "      steps: [{pause: {duration: ten}}]",
        "spec.strategy.canary.steps[0].pause.duration",
        "Duration needs to be greater than 0",
    );
    check(
        "      steps: [{pause: {duration: -5}}]",
        "spec.strategy.canary.steps[0].pause.duration",
        "Duration needs to be greater than 0",
    );
    check("      steps: [{}]", "spec.strategy.canary.steps[0]", "Step must have one of");
    check("      steps: [{setWeight: 5, pause: {}}]", "spec.strategy.canary.steps[0]", "Step must have one of");
    check("      canaryService: a\n      stableService: a", "spec.strategy.canary.stableService", "same service");
    check("      trafficRouting: {nginx: {stableIngress: a}}", "spec.strategy.canary.canaryService", "must to be set");
    check(
        "      scaleDownDelaySeconds: 5",
        "spec.strategy.canary.scaleDownDelaySeconds",
        "only be used with traffic routing",
    );
    check(
        "      dynamicStableScale: true",
        "spec.strategy.canary.dynamicStableScale",
        "only be used with traffic routing",
    );
    check("      maxSurge: 0\n      maxUnavailable: 0", "spec.strategy.canary.maxSurge", "both can not be zero");
    check("      maxSurge: 0%", "spec.strategy.canary.maxSurge", "both can not be zero");
    check(
        "      steps: [{setCanaryScale: {weight: 5}}]",
        "spec.strategy.canary.trafficRouting",
        "SetCanaryScale requires",
    );
    check(
        "      steps: [{setHeaderRoute: {name: a}}]",
        "spec.strategy.canary.steps[0].setHeaderRoute",
        "requires TrafficRouting",
    );
    check(
        "      steps: [{setMirrorRoute: {name: a}}]",
        "spec.strategy.canary.steps[0].setMirrorRoute",
        "requires TrafficRouting",
    );
    check(
        "      steps: [{experiment: {templates: [{name: a, specRef: canary, weight: 5}]}}]",
        "spec.strategy.canary.steps[0].experiment.templates[0].weight",
        "cannot be set unless",
    );
    check(
        "      trafficRouting: {smi: {}, maxTrafficWeight: 1000}",
        "spec.strategy.canary.trafficRouting.maxTrafficWeight",
        "only supported in",
    );
    check(
        "      antiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: {weight: 0}}",
        "spec.strategy.canary.antiAffinity.weight",
        "1-100",
    );
    check(
        "      pingPong: {pingService: a, pongService: a}",
        "spec.strategy.canary.pingPong.pingService",
        "two different services",
    );
    check(
        "      analysis: {templates: [{templateName: t}], startingStep: 3}",
        "spec.strategy.canary.analysis.startingStep",
        "there are 0 steps",
    );
}

#[test]
fn analyses_that_argo_refuses() {
    let metric = |rest: &str| format!("  - name: m\n    provider: {{prometheus: {{address: a, query: q}}}}\n{rest}");
    let check = |usage: &str, metrics: &str, field: &str, says: &str| {
        let text = format!("{}{TEMPLATE}{metrics}", rollout_with(usage));
        let report = lint_text(&text);
        let errors = errors(&report);
        assert!(
            errors.iter().any(|f| f.field == field && f.message.contains(says)),
            "{text}\nexpected {field}: {says}, found {errors:#?}"
        );
    };
    let inline = "      steps: [{analysis: {templates: [{templateName: t}], args: [{name: x, value: v}]}}]";
    let background = "      analysis: {templates: [{templateName: t}], args: [{name: x, value: v}]}";
    check(inline, &metric("    interval: 5s"), "spec.strategy.canary.steps[0].analysis.templates", "runs indefinitely");
    check(
        "      analysis: {templates: [{templateName: t}]}",
        &metric(""),
        "spec.strategy.canary.analysis.args",
        "missing analysis arguments",
    );
    check(background, &metric("    count: 2"), "spec.metrics[0].interval", "interval must be specified when count > 1");
    check(background, &metric("    interval: 5"), "spec.metrics[0].interval", "missing unit");
    check(background, &metric("    count: 1\n    failureLimit: 2"), "spec.metrics[0].count", "must be >= failureLimit");
    check(
        background,
        &metric("    count: 1\n    inconclusiveLimit: 2"),
        "spec.metrics[0].count",
        "must be >= inconclusiveLimit",
    );
    check(background, &metric("    failureLimit: -2"), "spec.metrics[0].failureLimit", "or -1 to be disabled");
    check(background, &metric("    failureLimit: -1"), "spec.metrics[0].failureLimit", "cannot both be disabled");
    check(
        background,
        &metric("    consecutiveErrorLimit: -1"),
        "spec.metrics[0].consecutiveErrorLimit",
        "must be >= 0",
    );
    check(
        background,
        &metric("    successCondition: result >"),
        "spec.metrics[0].successCondition",
        "cannot be evaluated",
    );
    check(
        background,
        &metric("    successCondition: results[0] > 1"),
        "spec.metrics[0].successCondition",
        "unknown name results",
    );
    check(
        background,
        &metric("    successCondition: result == '{{args.y}}'"),
        "spec.metrics[0]",
        "has no such argument",
    );
    check(background, &format!("{0}\n{0}", metric("")), "spec.metrics[1].name", "duplicate name 'm'");
    check(background, "  - name: m\n    provider: {}", "spec.metrics[0].provider", "no provider specified");
    check(
        background,
        "  - name: m\n    provider: {web: {url: u}, graphite: {}}",
        "spec.metrics[0].provider",
        "multiple providers",
    );
    check(
        background,
        "  - name: m\n    provider: {web: {url: u, jsonPaht: p}}",
        "spec.metrics[0].provider.web.jsonPaht",
        "unknown field",
    );
}

#[test]
fn what_one_machine_cannot_do_is_refused_by_name() {
    let refused = |canary: &str| -> Vec<String> {
        let text = rollout_with(canary);
        let recipe = Recipe::load(&[("r", text.as_bytes())]).unwrap_or_else(|r| panic!("{text}\n{r:#?}"));
        unsupported_locally(&recipe).into_iter().map(|r| r.field).collect()
    };
    for (canary, field) in [
        (
            "      trafficRouting: {istio: {virtualService: {name: v}}}\n      canaryService: a\n      stableService: b",
            "spec.strategy.canary.trafficRouting.istio",
        ),
        (
            "      trafficRouting: {plugins: {argoproj-labs/gatewayAPI: {}}}",
            "spec.strategy.canary.trafficRouting.plugins.argoproj-labs/gatewayAPI",
        ),
        (
            "      steps: [{experiment: {templates: [{name: a, specRef: canary}]}}]",
            "spec.strategy.canary.steps[0].experiment",
        ),
        ("      steps: [{plugin: {name: p}}]", "spec.strategy.canary.steps[0].plugin"),
        (
            "      trafficRouting: {plugins: {deliveryos/splitter: {}}}\n      steps: [{setCanaryScale: {replicas: 2}}]",
            "spec.strategy.canary.steps[0].setCanaryScale",
        ),
        ("      maxSurge: 25%", "spec.strategy.canary.maxSurge"),
        ("      canaryMetadata: {labels: {a: b}}", "spec.strategy.canary.canaryMetadata"),
    ] {
        assert!(refused(canary).iter().any(|f| f == field), "{canary}: {:?} does not name {field}", refused(canary));
    }
    assert_eq!(refused("      steps: [{setWeight: 5}, {pause: {}}]"), [""; 0]);
    let with = |metric: &str| {
        let text = format!(
            "{}{TEMPLATE}{metric}",
            rollout_with("      analysis: {templates: [{templateName: t}], args: [{name: x, value: v}]}")
        );
        let recipe = Recipe::load(&[("r", text.as_bytes())]).unwrap_or_else(|r| panic!("{text}\n{r:#?}"));
        unsupported_locally(&recipe).into_iter().map(|r| r.field).collect::<Vec<_>>()
    };
    assert_eq!(with("  - name: m\n    provider: {datadog: {query: q}}"), ["metric m provider.datadog"]);
    assert_eq!(with("  - name: m\n    provider: {plugin: {a/b: {}}}"), ["metric m provider.plugin a/b"]);
    assert_eq!(
        with("  - name: m\n    provider: {prometheus: {insecure: true}}"),
        ["metric m provider.prometheus.insecure"]
    );
    assert_eq!(
        with("  - name: m\n    interval: 1s\n    provider: {plugin: {deliveryos/builtin: {rule: oracle}}}").len(),
        1
    );
    assert!(with("  - name: m\n    provider: {web: {url: u}}").is_empty());
}

#[test]
fn what_a_recipe_becomes() {
    let text = format!(
        "{}{TEMPLATE}  - name: m\n    interval: 30s\n    failureLimit: 2\n    successCondition: 'result[0] < {{{{args.x}}}}'\n    provider:\n      prometheus:\n        address: p\n        query: 'q{{v=\"{{{{ args.hash }}}}\"}}'\n        rangeQuery: {{start: 'now() - duration(\"10m\")', end: now(), step: 30s}}\n",
        rollout_with("      abortScaleDownDelaySeconds: 0\n      steps:\n      - setWeight: 20\n      - pause: {duration: 10}\n      - pause: {duration: \"20\"}\n      - pause: {duration: 1h}\n      - pause: {}\n      - pause:\n      analysis:\n        startingStep: 1\n        templates: [{templateName: t}]\n        dryRun: [{metricName: m}]\n        args:\n        - {name: x, value: \"5\"}\n        - {name: hash, valueFrom: {podTemplateHashValue: Latest}}")
    )
    .replace("args: [{name: x}]", "args: [{name: x}, {name: hash}]");
    let recipe = Recipe::load(&[("r", text.as_bytes())]).unwrap_or_else(|r| panic!("{text}\n{r:#?}"));
    use rollout::recipe::{Provider, Step};
    let pauses: Vec<Option<i64>> =
        recipe.steps.iter().filter_map(|s| if let Step::Pause(ms) = s { Some(*ms) } else { None }).collect();
    assert_eq!(pauses, [Some(10_000), Some(20_000), Some(3_600_000), None, None]);
    assert_eq!(recipe.abort_scale_down_delay_ms, None);
    let background = recipe.background.unwrap();
    assert_eq!(background.starting_step, 1);
    let metric = &background.analysis.metrics[0];
    assert_eq!(
        (metric.count, metric.interval_ms, metric.failure_limit, metric.dry_run),
        (None, Some(30_000), Some(2), true)
    );
    assert_eq!(metric.success_condition, "result[0] < 5");
    let Provider::Prometheus(p) = &metric.provider else { panic!() };
    assert_eq!(p.range.map(|r| (r.start_ms_ago, r.end_ms_ago, r.step_ms)), Some((600_000, 0, 30_000)));
    assert!(p.query.contains("deliveryos.canary"));
}

#[test]
fn a_rollout_that_cannot_be_loaded_says_why() {
    for (text, says) in [
        (
            rollout_with("      analysis: {templates: [{templateName: nowhere}]}"),
            "there is no analysis template \"nowhere\"",
        ),
        (rollout_with("      activeService: a").replace("canary:", "blueGreen:"), "blue-green is not carried out"),
        (TEMPLATE.to_owned() + "  - name: m\n    provider: {web: {url: u}}", "no Rollout"),
        (format!("{0}\n---\n{0}", rollout_with("      {}")), "more than one Rollout"),
        (
            rollout_with("      {}")
                .replace("{name: r}", "{name: r, annotations: {deliveryos.dev/on-controller-loss: explode}}"),
            "must be resume or abort",
        ),
        (
            rollout_with("      {}").replace("{name: r}", "{name: r, annotations: {deliveryos.dev/oops: '1'}}"),
            "is not known",
        ),
    ] {
        let report = Recipe::load(&[("r", text.as_bytes())]).expect_err(&text);
        assert!(
            report.findings.iter().any(|f| f.severity == Severity::Error && f.message.contains(says)),
            "{text}\n{report:#?}"
        );
    }
    assert!(Recipe::load(&[("r", rollout_with("      {}").as_bytes())]).is_ok());
}

/// What `start` would refuse, lint refuses: at the same place, in the same words.
#[test]
fn lint_finds_the_misuse_of_what_is_ours() {
    let builtin = |plugin: &str, more: &str| {
        let metric =
            format!("  - name: m\n    interval: 1s\n{more}    provider: {{plugin: {{deliveryos/builtin: {plugin}}}}}");
        format!(
            "{}{TEMPLATE}{metric}",
            rollout_with("      analysis: {templates: [{templateName: t}], args: [{name: x, value: v}]}")
        )
    };
    let annotated = |annotation: &str| {
        rollout_with("      {}").replace("{name: r}", &format!("{{name: r, annotations: {{{annotation}}}}}"))
    };
    for (text, field, says) in [
        (
            builtin("{rule: threshold, p99: 5}", ""),
            "spec.metrics[0].provider.plugin.deliveryos/builtin.p99",
            "unknown field",
        ),
        (builtin("{}", "    successCondition: result < 1\n"), "spec.metrics[0].successCondition", "decides by itself"),
        (
            builtin("{}", "    consecutiveSuccessLimit: 2\n"),
            "spec.metrics[0].consecutiveSuccessLimit",
            "decides by itself",
        ),
        (
            annotated("deliveryos.dev/dead-man-seconds: '4'"),
            "metadata.annotations.deliveryos.dev/dead-man-seconds",
            "5 to 86400",
        ),
        (annotated("deliveryos.dev/oops: '1'"), "metadata.annotations.deliveryos.dev/oops", "is not known"),
    ] {
        let report = lint_text(&text);
        let found = errors(&report);
        assert!(
            found.iter().any(|f| f.field == field && f.message.contains(says) && f.line > 0),
            "{text}\n{report:#?}"
        );
        assert!(Recipe::load(&[("r", text.as_bytes())]).is_err(), "{text}");
    }
    assert!(lint_text(&builtin("{rule: threshold}", "")).is_clean());
    assert!(lint_text(&annotated("deliveryos.dev/dead-man-seconds: '5', other.example/x: y")).is_clean());
}

#[test]
fn kinds_that_are_not_part_of_a_recipe_are_passed_over_and_said_so() {
    let report = lint_text("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {anything: goes}\n");
    assert!(report.is_clean());
    assert_eq!(report.findings[0].severity, Severity::Note);
    assert!(!lint_text("just: text\n").is_clean());
    assert!(!lint_text("- a\n- b\n").is_clean());
    assert!(lint_text("").is_clean());
}
