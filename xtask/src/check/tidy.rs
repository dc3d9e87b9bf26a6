//! Small promises that no compiler holds.

use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::path::Path;

/// A file longer than this has two subjects, as a rule.
const LONG_FILE: usize = 600;
/// Unfinished or forgotten code. Written in pieces so that this file does not find itself.
const UNFINISHED: [&str; 4] =
    [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("dbg", "!("), concat!("FIX", "ME")];

pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let mut wrong = Vec::new();
    for file in workspace.files()? {
        let ends = |end: &str| file.extension().is_some_and(|found| found == end);
        if !(ends("rs") || ends("ts") || ends("css")) {
            continue;
        }
        let text =
            std::fs::read_to_string(workspace.root.join(&file)).with_context(|| format!("{}", file.display()))?;
        let lines = text.lines().count();
        if lines > LONG_FILE {
            eprintln!("    long: {} has {lines} lines; over {LONG_FILE} is two subjects, as a rule", file.display());
        }
        for (number, line) in text.lines().enumerate() {
            for word in UNFINISHED {
                if line.contains(word) {
                    wrong.push(format!("{}:{}: {word}", file.display(), number + 1));
                }
            }
        }
    }
    let manifest = read(workspace, "Cargo.toml")?;
    wrong.extend(dependencies_without_reason(&manifest));
    wrong.extend(settings_that_disagree(&manifest, &read(workspace, "Leptos.toml")?)?);
    let lock = Path::new("end2end").join("package-lock.json");
    if read(workspace, &lock.to_string_lossy())?.contains("\"resolved\"") {
        wrong.push(format!(
            "{}: names a registry; write it with `npm install --package-lock-only --omit-lockfile-registry-resolved`",
            lock.display()
        ));
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(())
}

fn read(workspace: &Workspace, name: &str) -> Result<String> {
    std::fs::read_to_string(workspace.root.join(name)).with_context(|| format!("cannot read {name}"))
}

/// External dependencies of the workspace whose line does not say why they are there. The first comment of a list without blank lines
/// holds for the family below it (`http`, `http-body`, …) when the name begins alike.
fn dependencies_without_reason(manifest: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.trim() == "[workspace.dependencies]";
            continue;
        }
        let Some((name, value)) = line.split_once(" = ") else {
            continue;
        };
        if inside && !name.starts_with('#') && !value.contains("path = ") && !value.contains('#') {
            wrong.push(format!("Cargo.toml: {name} does not say why it is there (a comment at the end of its line)"));
        }
    }
    wrong
}

/// Leptos.toml is what the server reads while it runs, Cargo.toml's table what cargo-leptos reads: they must say the same.
fn settings_that_disagree(manifest: &str, leptos: &str) -> Result<Vec<String>> {
    let table = |text: &str, file: &str| -> Result<toml::Table> {
        let all: toml::Table = text.parse().with_context(|| file.to_owned())?;
        let found =
            all.get("workspace").and_then(|v| v.get("metadata")).and_then(|v| v.get("leptos")).and_then(|v| v.get(0));
        found
            .and_then(|v| v.as_table())
            .cloned()
            .with_context(|| format!("{file} has no [[workspace.metadata.leptos]]"))
    };
    let (left, right) = (table(manifest, "Cargo.toml")?, table(leptos, "Leptos.toml")?);
    let keys = right.keys().filter(|key| left.get(*key) != right.get(*key));
    Ok(keys.map(|key| format!("Leptos.toml and Cargo.toml disagree on {key}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_needs_a_reason() {
        let manifest =
            "[workspace.dependencies]\nmodel = { path = \"x\" }\na = \"1\" # why\nb = \"1\"\n[profile.dev]\nc = 1\n";
        let wrong = dependencies_without_reason(manifest);
        assert_eq!(wrong.len(), 1);
        assert!(wrong[0].contains(": b "), "{wrong:?}");
    }

    #[test]
    fn settings_are_compared_key_by_key() {
        let text =
            |port: u16| format!("[[workspace.metadata.leptos]]\nsite-addr = \"127.0.0.1:{port}\"\nname = \"x\"\n");
        assert!(settings_that_disagree(&text(1), &text(1)).unwrap().is_empty());
        assert_eq!(settings_that_disagree(&text(1), &text(2)).unwrap().len(), 1);
        assert!(settings_that_disagree(&text(1), "").is_err());
    }
}
