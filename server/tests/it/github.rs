//! What `deploy/github` holds: the gate's script as GitHub runs it, and a workflow whose commands there are.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{peers::peer, process::run};

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/github").join(path)
}

/// The script of the action's one step, without its indentation.
fn script() -> String {
    let action = fs::read_to_string(deploy("gate/action.yml")).unwrap();
    let (_, script) = action.split_once("      run: |\n").unwrap();
    script.lines().map(|line| format!("{}\n", line.strip_prefix("        ").unwrap_or(line))).collect()
}

/// The gate decides, and what it decided is told, whatever it is: the shell that GitHub starts ends at the first command that fails.
#[test]
fn the_action_tells_each_decision() {
    for (code, decision) in [(0, "passed"), (1, "failed"), (2, "failed"), (101, "failed")] {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let program = format!(
            "#!/bin/sh\nprintf '%s\\n' \"$@\" > {}\necho '{{\"reasons\":[{{\"text\":\"a reason\"}}]}}'\nexit {code}\n",
            at("said")
        );
        fs::write(at("gate"), program).unwrap();
        fs::set_permissions(at("gate"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(at("step.sh"), script()).unwrap();
        let mut shell = Command::new("bash");
        shell.args(["--noprofile", "--norc", "-eo", "pipefail", &at("step.sh")]).current_dir(dir.path());
        shell.env("RUNNER_TEMP", dir.path()).env("GITHUB_OUTPUT", at("out")).env("GITHUB_STEP_SUMMARY", at("summary"));
        shell
            .env("GATE_REPORTS", "a b.json\n--odd.sarif")
            .env("GATE_POLICY", "gates.toml")
            .env("GATE_BINARY", at("gate"));
        shell.env("GATE_SUBJECT", "sha256:4f").env("GATE_AGAINST", "").env("GATE_SERVER", "https://dos.example");
        let ended = shell.env("GATE_SERVICE", "checkout").output().unwrap();
        assert_eq!(ended.status.code(), Some(code), "{}", String::from_utf8_lossy(&ended.stderr));
        let told = fs::read_to_string(at("out")).unwrap();
        assert_eq!(told, format!("json={}\ndecision={decision}\n", at("deliveryos-gate.json")));
        assert!(fs::read_to_string(at("summary")).unwrap().starts_with(&format!("### Gate: {decision}\n")));
        assert!(fs::read_to_string(at("deliveryos-gate.json")).unwrap().contains("a reason"));
        let said = fs::read_to_string(at("said")).unwrap();
        let asked = "gate check --policy gates.toml --subject sha256:4f --server https://dos.example --service checkout --json -- a b.json --odd.sarif";
        assert_eq!(said.trim().replace('\n', " "), asked);
    }
}

/// Every command of the workflow is one of ours, with options that it has.
#[test]
fn the_workflow_gives_commands_that_there_are() {
    let workflow = fs::read_to_string(deploy("workflows/deliver.yml")).unwrap().replace("\\\n", " ");
    let dir = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    let lines: Vec<&str> = workflow.lines().collect();
    for (i, line) in lines.iter().enumerate().filter(|(_, line)| line.trim_start().starts_with("deliveryos ")) {
        // A folded scalar goes on in the lines that are as far to the right.
        let indent = line.len() - line.trim_start().len();
        let more = lines[i + 1..].iter().take_while(|next| next.len() - next.trim_start().len() == indent);
        let more = more.take_while(|next| next.trim_start().starts_with("--"));
        let whole = std::iter::once(line).chain(more).copied().collect::<Vec<_>>().join(" ");
        let words: Vec<&str> = whole.split_whitespace().skip(1).collect();
        let command: Vec<&str> =
            words.iter().copied().take_while(|w| w.chars().all(|c| c.is_ascii_lowercase())).collect();
        let (code, help, err) = run(dir.path(), &[&command[..], &["--help"]].concat());
        assert_eq!(code, 0, "{whole}: {err}");
        for option in words.iter().filter(|word| word.starts_with("--")) {
            assert!(
                help.contains(&format!("{option} ")) || help.contains(&format!("{option}\n")),
                "{command:?} has no {option}"
            );
        }
        seen.push(command.join(" "));
    }
    assert_eq!(seen, ["attest build", "attest sbom", "attest sign", "promote"]);
    assert!(workflow.contains("subject: ${{ steps.build.outputs.digest }}"), "the gate is about the image");
}

/// As GitHub reads it, by a real actionlint.
#[test]
fn the_workflow_is_one() {
    let Some(actionlint) = peer("actionlint") else { return };
    let ended = Command::new(actionlint)
        .args(["-no-color", "-shellcheck=", "-pyflakes="])
        .arg(deploy("workflows/deliver.yml"))
        .output();
    let ended = ended.unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
}
