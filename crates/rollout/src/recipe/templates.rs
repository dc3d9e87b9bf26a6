//! Analysis templates resolved for a use: nested templates merged, arguments filled in.

use std::collections::BTreeMap;

use super::{
    CANARY_LABEL, Refusal, STABLE_LABEL,
    yaml::{Data, Node},
};
use crate::lint::Sound;

/// Deepest nesting of templates within templates; Argo has no limit and follows a circle for ever.
const MAX_NESTING: usize = 16;

/// Most metrics of one analysis: each is asked at its own rate.
const MAX_METRICS: usize = 64;

/// The templates of some files.
pub(crate) struct Templates<'a> {
    all: &'a [Sound],
}

/// Why a use of templates cannot be resolved.
pub(crate) enum Missing {
    /// A template that is not there.
    Template(String),
    /// An argument without a value.
    Argument(String),
    /// Something else, in words.
    Other(String),
}

/// An analysis with its metrics as written, arguments filled in.
pub(crate) struct Resolved {
    pub(crate) metrics: Vec<Node>,
    /// `metricName` patterns of dry runs.
    pub(crate) dry_run: Vec<String>,
    /// What is needed of the runtime.
    pub(crate) needs: Vec<Refusal>,
}

impl<'a> Templates<'a> {
    pub(crate) fn new(all: &'a [Sound]) -> Self {
        Self { all }
    }

    /// Resolves the `templates` and `args` of a background or inline analysis of this Rollout.
    pub(crate) fn resolve(&self, rollout: &Node, usage: &Node) -> Result<Resolved, Missing> {
        let mut specs = Vec::new();
        self.collect(usage, &mut specs, 0)?;
        let mut needs = Vec::new();
        // The templates' own values first; one that another template gives differently is a contradiction.
        let mut values: BTreeMap<String, Option<String>> = BTreeMap::new();
        for (template, spec) in &specs {
            for arg in spec.list("args") {
                let name = arg.str("name").to_owned();
                if arg.at(&["valueFrom", "secretKeyRef"]).is_some() {
                    needs.push(Refusal {
                        field: format!("AnalysisTemplate {template} args {name} valueFrom.secretKeyRef"),
                        reason: "there are no Kubernetes Secrets here: credentials of metric sources stand in the server's configuration".to_owned(),
                    });
                    values.entry(name).or_insert_with(|| Some(String::new()));
                    continue;
                }
                let value = match arg.get("valueFrom").and_then(|v| v.at(&["fieldRef", "fieldPath"])) {
                    Some(path) => Some(field(rollout, path.text().unwrap_or_default(), &mut needs)?),
                    None => arg.get("value").and_then(Node::text).map(str::to_owned),
                };
                match values.get(&name) {
                    Some(Some(old)) if value.as_ref().is_some_and(|v| v != old) => {
                        return Err(Missing::Other(format!("two templates give the argument {name} different values")));
                    }
                    Some(Some(_)) => {}
                    _ => {
                        values.insert(name, value);
                    }
                }
            }
        }
        // The Rollout's values override them.
        for arg in usage.list("args") {
            let from = arg.get("valueFrom");
            let value = if let Some(hash) = from.and_then(|v| v.get("podTemplateHashValue")) {
                match hash.text() {
                    Some("Stable") => STABLE_LABEL.to_owned(),
                    Some("Latest") => CANARY_LABEL.to_owned(),
                    other => {
                        return Err(Missing::Other(format!(
                            "podTemplateHashValue must be Stable or Latest, and is {other:?}"
                        )));
                    }
                }
            } else if let Some(path) = from.and_then(|v| v.at(&["fieldRef", "fieldPath"])) {
                field(rollout, path.text().unwrap_or_default(), &mut needs)?
            } else {
                arg.str("value").to_owned()
            };
            values.insert(arg.str("name").to_owned(), Some(value));
        }
        let known: BTreeMap<String, String> =
            values.iter().filter_map(|(k, v)| Some((k.clone(), v.clone()?))).collect();
        if let Some(name) = values.iter().find_map(|(name, v)| v.is_none().then_some(name)) {
            return Err(Missing::Argument(name.clone()));
        }
        let mut metrics: Vec<Node> = Vec::new();
        let mut dry_run: Vec<String> = usage.list("dryRun").iter().map(|d| d.str("metricName").to_owned()).collect();
        for (_, spec) in &specs {
            dry_run.extend(spec.list("dryRun").iter().map(|d| d.str("metricName").to_owned()));
            for metric in spec.list("metrics") {
                if metrics.iter().any(|m| m.str("name") == metric.str("name")) {
                    return Err(Missing::Other(format!("two metrics have the same name {:?}", metric.str("name"))));
                }
                if metrics.len() >= MAX_METRICS {
                    return Err(Missing::Other(format!("more than {MAX_METRICS} metrics")));
                }
                metrics.push(fill_in(metric, &known)?);
            }
        }
        for pattern in &dry_run {
            if !metrics.iter().any(|m| matches(pattern, m.str("name"))) {
                return Err(Missing::Other(format!("dryRun: the rule {pattern:?} does not match any metric name")));
            }
        }
        Ok(Resolved { metrics, dry_run, needs })
    }

    fn collect(&self, usage: &Node, specs: &mut Vec<(String, &'a Node)>, depth: usize) -> Result<(), Missing> {
        if depth > MAX_NESTING {
            return Err(Missing::Other(format!("templates are nested deeper than {MAX_NESTING}, or in a circle")));
        }
        for reference in usage.list("templates") {
            let name = reference.str("templateName");
            let cluster = reference.get("clusterScope").and_then(Node::bool) == Some(true);
            let kind = if cluster { "ClusterAnalysisTemplate" } else { "AnalysisTemplate" };
            let found = self.all.iter().find(|d| d.kind == kind && d.name == name);
            let Some(spec) = found.and_then(|d| d.node.get("spec")) else {
                return Err(Missing::Template(name.to_owned()));
            };
            if specs.iter().any(|(n, s)| n == name && std::ptr::eq(*s, spec)) {
                continue;
            }
            specs.push((name.to_owned(), spec));
            self.collect(spec, specs, depth + 1)?;
        }
        Ok(())
    }
}

/// A dry-run rule: a name, `*` for all, or a name with `.*` in it.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    let parts: Vec<&str> = pattern.split(".*").collect();
    let [first, middle @ .., last] = parts.as_slice() else { return name == pattern };
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

/// A field of the Rollout, as `fieldRef` names it.
fn field(rollout: &Node, path: &str, needs: &mut Vec<Refusal>) -> Result<String, Missing> {
    let bad = || Missing::Other(format!("invalid path {path} in rollout"));
    if path.starts_with("status") || path == "metadata.uid" {
        needs.push(Refusal {
            field: format!("fieldRef {path}"),
            reason: "there is no Kubernetes object with a status here: give the argument a value".to_owned(),
        });
        return Ok(String::new());
    }
    let mut node = rollout;
    // `metadata.labels['app']` as well as `spec.template.spec.containers[0].image`.
    let plain = path.replace("['", ".").replace("']", "").replace(['[', ']'], ".");
    let (mut sections, in_labels) = match plain.split_once("labels.").or_else(|| plain.split_once("annotations.")) {
        Some((_, key)) if path.contains("['") => {
            (plain.strip_suffix(key).unwrap_or_default().split('.').collect::<Vec<_>>(), Some(key))
        }
        _ => (plain.split('.').collect(), None),
    };
    sections.retain(|s| !s.is_empty());
    for section in sections.into_iter().chain(in_labels) {
        node = match &node.data {
            Data::List(items) => section.parse::<usize>().ok().and_then(|i| items.get(i)).ok_or_else(bad)?,
            Data::Map(_) => node.get(section).ok_or_else(bad)?,
            _ => return Err(bad()),
        };
    }
    node.text().map(str::to_owned).ok_or_else(bad)
}

/// Every `{{args.name}}` in the texts of a node, with where it stands.
pub(crate) fn placeholders(node: &Node) -> Vec<(String, &Node)> {
    let mut found = Vec::new();
    visit(node, &mut |node, text| {
        let mut rest = text;
        while let Some((name, _, after)) = next_placeholder(rest) {
            found.push((name.to_owned(), node));
            rest = after;
        }
    });
    found
}

fn visit<'a>(node: &'a Node, see: &mut impl FnMut(&'a Node, &'a str)) {
    match &node.data {
        Data::Null => {}
        Data::Scalar(text, _) => see(node, text),
        Data::List(items) => items.iter().for_each(|n| visit(n, see)),
        Data::Map(entries) => entries.iter().for_each(|(_, n)| visit(n, see)),
    }
}

/// The next `{{ args.name }}`: its name, what is before it, what is after it.
fn next_placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let rest = text.get(from..)?;
        let open = from + rest.find("{{")?;
        let inside = text.get(open + 2..)?;
        let close = inside.find("}}")?;
        if let Some(name) = inside.get(..close)?.trim().strip_prefix("args.") {
            return Some((name, text.get(..open)?, inside.get(close + 2..)?));
        }
        from = open + 2;
    }
}

fn fill_in(node: &Node, values: &BTreeMap<String, String>) -> Result<Node, Missing> {
    let mut node = node.clone();
    fill_in_place(&mut node, values)?;
    Ok(node)
}

fn fill_in_place(node: &mut Node, values: &BTreeMap<String, String>) -> Result<(), Missing> {
    match &mut node.data {
        Data::Null => {}
        Data::Scalar(text, _) => {
            let mut out = String::new();
            let mut rest = text.as_str();
            while let Some((name, before, after)) = next_placeholder(rest) {
                out.push_str(before);
                out.push_str(values.get(name).ok_or_else(|| Missing::Argument(name.to_owned()))?);
                rest = after;
            }
            out.push_str(rest);
            *text = out;
        }
        Data::List(items) => items.iter_mut().try_for_each(|n| fill_in_place(n, values))?,
        Data::Map(entries) => entries.iter_mut().try_for_each(|(_, n)| fill_in_place(n, values))?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dry_run_rules() {
        for (pattern, name, yes) in [
            ("*", "a", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("a.*", "ab", true),
            (".*b", "ab", true),
            (".*b", "abc", false),
            ("a.*c", "abc", true),
            ("x.*", "ab", false),
        ] {
            assert_eq!(matches(pattern, name), yes, "{pattern} {name}");
        }
    }
}
