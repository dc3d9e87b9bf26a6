//! `cargo xtask test`: everything in order, one summary, one last line `N passed, N failed, N skipped`.

use crate::check::{self, BROWSER, CheckArgs};
use crate::go_peers;
use crate::oci_peers;
use crate::progress::{self, Stages};
use crate::setup;
use crate::workspace::{Package, Workspace};
use crate::{binary, run, site};
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A test program that prints nothing for this long hangs. The longest quiet stretch is one simulation test.
const TEST_QUIET: Duration = Duration::from_secs(600);
/// A test says so itself when something it needs is absent.
const SKIP_WORD: &str = "SKIPPED:";
/// Lines of a failed program that are shown; all of it is in the log file that is named beside.
const SHOWN_LINES: usize = 200;
/// Lines of each failure that the summary repeats.
const SUMMED_LINES: usize = 12;

#[derive(clap::Args)]
pub(crate) struct TestArgs {
    /// Only these sections.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Section>,
    /// All but these.
    #[arg(long, value_delimiter = ',')]
    skip: Vec<Section>,
    /// Only the cargo tests of these crates.
    #[arg(long, short)]
    package: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    /// As `cargo xtask check`.
    Check,
    /// `cargo test`, crate by crate.
    Unit,
    /// The examples in the documentation.
    Doc,
    /// Playwright, hydrated and with JavaScript off, against the built executable.
    Browser,
}

/// What was counted.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Counts {
    passed: u64,
    failed: u64,
    skipped: u64,
}

/// One line of the summary.
struct Line {
    name: String,
    counts: Counts,
    time: Duration,
    /// What failed, a test each: its name, and how. Repeated at the end, where it is found.
    failed: Vec<String>,
    /// What passed at its second try only, in the same way.
    flaky: Vec<String>,
}

impl Line {
    fn new(name: impl Into<String>, counts: Counts, begun: Instant) -> Self {
        Self { name: name.into(), counts, time: begun.elapsed(), failed: Vec::new(), flaky: Vec::new() }
    }
}

/// Runs the sections, all of them even when one fails.
///
/// # Errors
/// When anything failed.
pub(crate) fn run(workspace: &Workspace, args: &TestArgs) -> Result<()> {
    let start = Instant::now();
    let mut lines = Vec::new();
    for section in Section::value_variants() {
        if (!args.only.is_empty() && !args.only.contains(section)) || args.skip.contains(section) {
            continue;
        }
        if !args.package.is_empty() && *section != Section::Unit {
            continue;
        }
        let name = section.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        eprintln!("\n==== {name} ====");
        let begun = Instant::now();
        let done = match section {
            Section::Check => Ok(checks(workspace)),
            Section::Unit => unit(workspace, &args.package),
            Section::Doc => doc(workspace),
            Section::Browser => browser(workspace),
        };
        match done {
            Ok(done) => lines.extend(done),
            Err(error) => {
                eprintln!("{name}: FAILED\n{error:#}");
                let failed = vec![format!("{error:#}")];
                lines.push(Line { failed, ..Line::new(name, Counts { failed: 1, ..Counts::default() }, begun) });
            }
        }
    }
    summary(&lines, start.elapsed())
}

fn summary(lines: &[Line], time: Duration) -> Result<()> {
    let mut sum = Counts::default();
    println!("\n{:<44} {:>7} {:>7} {:>8} {:>12}", "", "passed", "failed", "skipped", "time");
    for line in lines {
        let Counts { passed, failed, skipped } = line.counts;
        let mark = if failed > 0 { "  <- FAILED" } else { "" };
        println!("{:<44} {passed:>7} {failed:>7} {skipped:>8} {:>12}{mark}", line.name, run::seconds(line.time));
        sum.add(line.counts);
    }
    for (what, line, tests) in lines.iter().flat_map(|line| {
        [
            ("passed at the second try only, which says something too,", line, &line.flaky),
            ("failed", line, &line.failed),
        ]
    }) {
        if tests.is_empty() {
            continue;
        }
        println!("\n{what} in {}:", line.name);
        for test in tests {
            println!("  {}", test.trim_end().replace('\n', "\n    "));
        }
    }
    println!("all of it in {}", run::seconds(time));
    println!("{} passed, {} failed, {} skipped", sum.passed, sum.failed, sum.skipped);
    if sum.failed > 0 {
        bail!("{} failed", sum.failed);
    }
    Ok(())
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// From the lines of Rust's test harness. A test that says [`SKIP_WORD`] has not tested: it is counted as skipped.
    fn of_harness(text: &str) -> Self {
        let mut counts = Self::default();
        for line in text.lines().filter_map(|line| line.strip_prefix("test result: ")) {
            let mut words = line.split([' ', ';']).filter(|word| !word.is_empty()).peekable();
            while let Some(word) = words.next() {
                let (Ok(number), Some(kind)) = (word.parse::<u64>(), words.peek()) else {
                    continue;
                };
                match *kind {
                    "passed" => counts.passed += number,
                    "failed" => counts.failed += number,
                    "ignored" => counts.skipped += number,
                    _ => {}
                }
            }
        }
        let mut saying = 0;
        let mut said = true;
        for line in text.lines() {
            if line.starts_with("---- ") {
                said = false;
            } else if line.contains(SKIP_WORD) && !said {
                said = true;
                saying += 1;
            }
        }
        let saying = u64::min(saying, counts.passed);
        counts.passed -= saying;
        counts.skipped += saying;
        counts
    }
}

fn checks(workspace: &Workspace) -> Vec<Line> {
    let start = Instant::now();
    let outcomes = check::outcomes(workspace, &CheckArgs::default());
    let mut counts = Counts::default();
    for outcome in &outcomes {
        if outcome.failure.is_some() {
            counts.failed += 1;
            eprintln!("check {} failed", outcome.part);
        } else {
            counts.passed += 1;
        }
    }
    let failed = outcomes.iter().filter(|outcome| outcome.failure.is_some()).map(|outcome| outcome.part.to_string());
    vec![Line { failed: failed.collect(), ..Line::new("check", counts, start) }]
}

/// A compiled test program.
struct Program {
    package: String,
    target: String,
    dir: PathBuf,
    path: PathBuf,
}

fn unit(workspace: &Workspace, only: &[String]) -> Result<Vec<Line>> {
    for name in only {
        if !workspace.packages.iter().any(|package| package.name == *name) {
            bail!("no crate is named {name}");
        }
    }
    // Loud when absent; the tests that need it say so once more.
    setup::prometheus(workspace)?.required_on_ci("Prometheus")?;
    oci_peers::docker_registry(workspace)?.required_on_ci("docker-registry")?;
    for (name, client) in oci_peers::clients(workspace)? {
        client.required_on_ci(name)?;
    }
    for (name, program) in go_peers::programs(workspace)? {
        program.wanted(name);
    }
    setup::sigstore_js(workspace)?.required_on_ci("npm's @sigstore/verify")?;
    if std::env::var_os("DELIVERYOS_TEST_DATA").is_none() {
        eprintln!(
            "{SKIP_WORD} DELIVERYOS_TEST_DATA is not set: tests against published vectors and recipes of others are skipped"
        );
    }
    let programs = compile_tests(workspace, only)?;
    let mut lines = Vec::new();
    for package in workspace.packages.iter().filter(|package| only.is_empty() || only.contains(&package.name)) {
        for program in programs.iter().filter(|program| program.package == package.name) {
            lines.push(run_program(workspace, program)?);
        }
        if package.name == GOLDEN.0 {
            lines.push(golden_in_the_browsers_target(workspace)?);
        }
    }
    Ok(lines)
}

/// A crate's program that computes golden values and ends with 0 when all agree, else with the number of the first that does not.
const GOLDEN: (&str, &str) = ("judge", "judge-golden");
/// The browser's target has no command line: `main` is a function of the module, and its value is the program's.
const RUN_MODULE: &str = "WebAssembly.instantiate(require('fs').readFileSync(process.argv[1]), {})\
     .then(({ instance }) => process.exit(instance.exports.main(0, 0)), error => { console.error(error); process.exit(254); });";

/// The judge's golden values where browsers and auditors recompute them: in WebAssembly, run by Node.
fn golden_in_the_browsers_target(workspace: &Workspace) -> Result<Line> {
    let start = Instant::now();
    let (package, name) = GOLDEN;
    let line = |counts| Line::new(format!("{package} (WebAssembly)"), counts, start);
    let Some(node) = setup::node()?.required_on_ci("Node.js")? else {
        return Ok(line(Counts { skipped: 1, ..Counts::default() }));
    };
    let mut cargo = setup::browser_target(workspace)?.cargo_build(workspace, false);
    cargo.args(["--package", package, "--bin", name, "--features", "golden"]);
    run::step("compile the golden values for the browser", || progress::cargo(&mut cargo))?;
    let module = setup::BrowserTarget::program(workspace, false, name);
    let status = run::command(&node.to_string_lossy()).args(["-e", RUN_MODULE]).arg(&module).status()?;
    if status.success() {
        return Ok(line(Counts { passed: 1, ..Counts::default() }));
    }
    eprintln!(
        "{package}: FAILED in WebAssembly: {} of {} is the first golden value that differs, or it did not run",
        status.code().map_or_else(|| "no".to_owned(), |code| code.to_string()),
        module.display()
    );
    Ok(line(Counts { failed: 1, ..Counts::default() }))
}

/// Compiles all tests in one go, so that every crate has the features it has in the executable.
fn compile_tests(workspace: &Workspace, only: &[String]) -> Result<Vec<Program>> {
    let mut cargo = run::cargo();
    cargo.current_dir(&workspace.root).args(["test", "--no-run", "--message-format", "json-render-diagnostics"]);
    if only.is_empty() {
        cargo.arg("--workspace");
        for name in BROWSER {
            cargo.args(["--exclude", name]);
        }
    }
    for name in only {
        cargo.args(["--package", name]);
    }
    if only.iter().any(|name| name == "server") {
        // Its tests run the demo, whose program is built with the crate's own tests.
        cargo.args(["--package", "demo"]);
    }
    let shown = run::line(&cargo);
    let output = run::step("compile the tests", || {
        let output = cargo.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start `{shown}`"))?;
        if !output.status.success() {
            bail!("`{shown}` failed ({})", output.status);
        }
        Ok(output)
    })?;
    let text = String::from_utf8(output.stdout).context("cargo wrote no UTF-8")?;
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let tests = messages.filter(|message| message["profile"]["test"] == true);
    Ok(tests.filter_map(|message| program(workspace, &message)).collect())
}

fn program(workspace: &Workspace, message: &Value) -> Option<Program> {
    let id = message["package_id"].as_str()?;
    let package: &Package = workspace.packages.iter().find(|package| package.id == id)?;
    Some(Program {
        package: package.name.clone(),
        target: message["target"]["name"].as_str()?.to_owned(),
        dir: package.dir.clone(),
        path: PathBuf::from(message["executable"].as_str()?),
    })
}

fn run_program(workspace: &Workspace, program: &Program) -> Result<Line> {
    let name = if program.package.replace('-', "_") == program.target.replace('-', "_") {
        program.package.clone()
    } else {
        format!("{} ({})", program.package, program.target)
    };
    let mut command = run::command(&program.path.to_string_lossy());
    command
        .current_dir(&program.dir)
        .env("CARGO_MANIFEST_DIR", &program.dir)
        .env("CARGO_PKG_NAME", &program.package)
        .env("PATH", path_with_peers(workspace)?)
        .arg("--show-output");
    let start = Instant::now();
    let ended = run::limited(&mut command, TEST_QUIET, || 0, |_| {})?;
    let mut counts = Counts::of_harness(&ended.text);
    let good = ended.status.is_some_and(|status| status.success());
    if !good && counts.failed == 0 {
        // Killed, or crashed before it could count.
        counts.failed = 1;
    }
    let log = workspace.cache().join("test-logs").join(format!("{}-{}.log", program.package, program.target));
    write_log(&log, &ended.text)?;
    for line in ended.text.lines().filter(|line| line.contains(SKIP_WORD)) {
        eprintln!("    {line}");
    }
    let mut line = Line::new(name, counts, start);
    let name = &line.name;
    if good {
        eprintln!("{name}: {} passed ({})", counts.passed, run::seconds(line.time));
    } else {
        let why = if ended.status.is_none() {
            format!("silent for {}, killed", run::seconds(TEST_QUIET))
        } else {
            "FAILED".to_owned()
        };
        eprintln!("{name}: {why}; whole output in {}\n{}", log.display(), failures(&ended.text));
        line.failed = failed_tests(&ended.text);
        if line.failed.is_empty() {
            line.failed.push(why);
        }
    }
    Ok(line)
}

/// The failed tests of Rust's harness, with the first lines that each printed.
fn failed_tests(text: &str) -> Vec<String> {
    let text = failures(text);
    let parts = text.split("    ---- ").skip(1).filter_map(|part| part.split_once(" stdout ----"));
    let first = |said: &str| {
        let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
        lines.take_while(|line| *line != "stack backtrace:").take(SUMMED_LINES).collect::<Vec<_>>().join("\n")
    };
    parts.map(|(name, said)| format!("{name}\n{}", first(said))).collect()
}

/// The harness repeats what failed after the line `failures:`; a crash has no such line, then the end is shown.
fn failures(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.iter().position(|line| *line == "failures:").unwrap_or(lines.len().saturating_sub(SHOWN_LINES));
    lines[from..].iter().take(SHOWN_LINES).map(|line| format!("    {line}\n")).collect()
}

fn write_log(path: &Path, text: &str) -> Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn path_with_peers(workspace: &Workspace) -> Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let parts = std::env::split_paths(&path).chain([setup::peers(workspace)]);
    std::env::join_paths(parts).context("PATH holds an impossible entry")
}

fn doc(workspace: &Workspace) -> Result<Vec<Line>> {
    let start = Instant::now();
    let mut cargo = run::cargo();
    cargo.current_dir(&workspace.root).args(["test", "--doc", "--workspace", "--no-fail-fast"]);
    for name in BROWSER {
        cargo.args(["--exclude", name]);
    }
    let ended = run::limited(&mut cargo, TEST_QUIET, || 0, |_| {})?;
    let mut counts = Counts::of_harness(&ended.text);
    if !ended.status.is_some_and(|status| status.success()) {
        counts.failed = counts.failed.max(1);
        eprintln!("{}", failures(&ended.text));
    }
    let failed = failed_tests(&ended.text);
    Ok(vec![Line { failed, ..Line::new("examples in the documentation", counts, start) }])
}

fn browser(workspace: &Workspace) -> Result<Vec<Line>> {
    let start = Instant::now();
    let line = |counts| vec![Line::new("browser (Playwright)", counts, start)];
    let skipped = Counts { skipped: 1, ..Counts::default() };
    let mut stages = Stages::of(site::STAGES + binary::STAGES);
    site::build(workspace, false, &mut stages)?;
    let executable = binary::build(workspace, false, &mut stages)?;
    let Some(playwright) = setup::playwright(workspace)?.required_on_ci("Playwright")? else {
        return Ok(line(skipped));
    };
    let Some(chromium) = setup::chromium()?.required_on_ci("Chromium")? else {
        return Ok(line(skipped));
    };

    let report = workspace.cache().join("playwright.json");
    match std::fs::remove_file(&report) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut command = run::command(&playwright.to_string_lossy());
    command
        .current_dir(workspace.root.join("end2end"))
        .args(["test", "--reporter=list,json"])
        .env("PLAYWRIGHT_JSON_OUTPUT_FILE", &report)
        .env("DELIVERYOS_BIN", &executable)
        .env("CHROMIUM", &chromium);
    let status = command.status().context("cannot start Playwright")?;
    let text = std::fs::read_to_string(&report).context("Playwright wrote no report")?;
    let json: Value = serde_json::from_str(&text).context("Playwright's report is not JSON")?;
    let stat = |key: &str| json["stats"][key].as_u64().unwrap_or(0);
    // There are second tries where the whole check runs by itself only.
    let mut counts =
        Counts { passed: stat("expected") + stat("flaky"), failed: stat("unexpected"), skipped: stat("skipped") };
    if !status.success() && counts.failed == 0 {
        counts.failed = 1;
    }
    let mut lines = line(counts);
    if let Some(line) = lines.first_mut() {
        line.failed = specs(&json, "unexpected");
        line.flaky = specs(&json, "flaky");
    }
    Ok(lines)
}

/// The specs of Playwright's report that ended so, with the first lines of each error.
fn specs(report: &Value, status: &str) -> Vec<String> {
    fn all<'a>(suite: &'a Value, into: &mut Vec<&'a Value>) {
        let of = |key: &str| suite[key].as_array().into_iter().flatten();
        into.extend(of("specs"));
        of("suites").for_each(|suite| all(suite, into));
    }
    let mut specs = Vec::new();
    all(report, &mut specs);
    let mut found = Vec::new();
    for spec in specs {
        for test in spec["tests"].as_array().into_iter().flatten().filter(|test| test["status"] == status) {
            let mut errors =
                test["results"].as_array().into_iter().flatten().filter_map(|r| r["error"]["message"].as_str());
            let said = without_colours(errors.next_back().unwrap_or("no message"));
            let word = |of: &Value| of.as_str().unwrap_or_default().to_owned();
            let said = said.lines().take(SUMMED_LINES).collect::<Vec<_>>().join("\n");
            let place = format!("{}:{}", word(&spec["file"]), spec["line"]);
            found.push(format!("[{}] {place} {}\n{said}", word(&test["projectName"]), word(&spec["title"])));
        }
    }
    found
}

/// A text without a terminal's sequences for colours.
fn without_colours(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + part.split_once('m').map_or(part, |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_harness_is_counted() {
        let text = "test a ... ok\ntest result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s\n\
                    test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n";
        assert_eq!(Counts::of_harness(text), Counts { passed: 8, failed: 2, skipped: 1 });
    }

    #[test]
    fn failures_are_summed_up() {
        let text = "test a ... FAILED\n\nfailures:\n\n---- a stdout ----\nthread 'a' panicked at x.rs:1:2:\nno\nstack backtrace:\n 0: b\n\n\nfailures:\n    a\n";
        assert_eq!(failed_tests(text), ["a\nthread 'a' panicked at x.rs:1:2:\nno"]);
        assert_eq!(failed_tests("crashed"), [""; 0]);
        let report = serde_json::json!({ "suites": [{ "specs": [], "suites": [{ "specs": [
            { "title": "it climbs", "file": "a.spec.ts", "line": 7, "tests": [
                { "projectName": "hydrated", "status": "unexpected", "results": [{ "error": { "message": "\u{1b}[31mToo\u{1b}[39m late" } }] },
                { "projectName": "plain", "status": "flaky", "results": [{ "error": { "message": "Once" } }, {}] },
            ] },
        ] }] }] });
        assert_eq!(specs(&report, "unexpected"), ["[hydrated] a.spec.ts:7 it climbs\nToo late"]);
        assert_eq!(specs(&report, "flaky"), ["[plain] a.spec.ts:7 it climbs\nOnce"]);
    }

    #[test]
    fn a_test_that_says_skipped_has_not_passed() {
        let text = "successes:\n\n---- a stdout ----\nSKIPPED: no data\nSKIPPED: no data\n\n---- b stdout ----\nSKIPPED: no peer\n\n\
                    test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n";
        assert_eq!(Counts::of_harness(text), Counts { passed: 1, failed: 0, skipped: 2 });
    }
}
