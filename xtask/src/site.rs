//! The site: browser modules, style sheet, static files, in `target/site`.
//!
//! ```text
//! crates/hydrate       --cargo, wasm32-->  hydrate.wasm       --cut-->  main module --wasm-bindgen-->  pkg/deliveryos.{js,wasm}
//!                                                                       and parts                -->  pkg/deliveryos.parts.{js,json}, pkg/*.HASH.wasm
//! style/main.css with its @imports, joined                                                       -->  pkg/deliveryos.css
//! public/**                                                                                      -->  **
//! ```
//! Those of a release are made smaller by the tools of `xtask/minify`, where npm is there. A release also carries a `.br` beside every file that compresses. Names are stable: the server sends an ETag over the content.
//!
//! Cargo decides what to recompile; the steps after it run again only when their inputs (modules, style, static files, tools) changed.

use crate::fingerprint::{self, Fingerprint};
use crate::progress::{self, Stages};
use crate::run;
use crate::setup::{self, BrowserTarget};
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How many stages [`build`] has.
pub(crate) const STAGES: usize = 2;
/// What a first visit may cost over the network, compressed: scripts and module, the part of the page that is visited first, and the style
/// sheet. With the page itself, at most 19 kB for a long release, that is 350 kB: about a second on a phone's 3 Mbit/s.
const FIRST_LOAD_LIMIT: u64 = 331_000;
/// The part of the page where the login link leads.
const FIRST_PART: &str = "overview";
/// What a press brings: the part that has it, and the part of a page that it is on. An address that opens a receipt needs both at once.
const PRESSED: [(&str, &str); 3] = [("aside", "release"), ("palette", "overview"), ("check", "receipts")];
/// A page that needs a second part at once: a receipt is checked as soon as it is there.
const AT_ONCE: (&str, &str) = ("check", "receipt");
/// Most bytes that a press may bring, compressed: a third of a second on the same line.
const PRESSED_LIMIT: u64 = 120_000;
/// What every first visit loads, beside the part of its page.
const FIRST_LOAD: [&str; 4] =
    ["pkg/deliveryos.js", "pkg/deliveryos.parts.js", "pkg/deliveryos.wasm", "pkg/deliveryos.css"];
/// Which files make up which part.
const PARTS: &str = "pkg/deliveryos.parts.json";
/// The browser's crate, whose module is cut into parts, and the name of its files.
const MODULE: (&str, &str) = ("hydrate", "deliveryos");
/// Files that brotli makes smaller; images and fonts are compressed already.
const COMPRESSIBLE: [&str; 9] = ["js", "wasm", "pack", "css", "svg", "json", "txt", "html", "webmanifest"];
/// What the site weighs.
pub(crate) struct Report {
    /// Path in the site, bytes, bytes after brotli (releases only).
    files: Vec<(String, u64, Option<u64>)>,
    parts: BTreeMap<String, Part>,
}

/// A part of the browser's code.
#[derive(serde::Deserialize)]
struct Part {
    /// All its files in one: what a first visit loads.
    pack: String,
    files: Vec<String>,
}

/// Builds the site, or finds it as it should be.
pub(crate) fn build(workspace: &Workspace, release: bool, stages: &mut Stages) -> Result<Report> {
    let target = setup::browser_target(workspace)?;
    stages.next("the pages, compiled for the browser", || compile(workspace, &target, release))?;

    let fingerprint = inputs(workspace, &target, release)?;
    let stamp = workspace.root.join("target/site.stamp");
    stages.next("the site they make up, with styles and fonts", || {
        if !fingerprint::fresh(&stamp, &fingerprint) || !workspace.site().is_dir() {
            assemble(workspace, release)?;
            fingerprint::remember(&stamp, &fingerprint)?;
        }
        Ok(())
    })?;
    Report::read(workspace)
}

/// Compiles the browser crates.
pub(crate) fn compile(workspace: &Workspace, target: &BrowserTarget, release: bool) -> Result<()> {
    let mut cargo = target.cargo_build(workspace, release);
    cargo.args(["--package", MODULE.0]);
    progress::cargo(&mut cargo)
}

fn inputs(workspace: &Workspace, target: &BrowserTarget, release: bool) -> Result<String> {
    let mut all = Fingerprint::default();
    all.value("release", &[u8::from(release)]);
    all.value("target", target.describe().as_bytes());
    all.file(&BrowserTarget::artifact(workspace, release, MODULE.0))?;
    all.tree(&workspace.root.join("style"))?.tree(&workspace.root.join("public"))?;
    all.tree(&workspace.root.join("xtask/site"))?.file(&workspace.root.join("xtask/src/site.rs"))?;
    all.file(&setup::minifiers_lock(workspace))?.value("minifiers", &[u8::from(run::exists("npm"))]);
    Ok(all.finish())
}

fn assemble(workspace: &Workspace, release: bool) -> Result<()> {
    // Beside the real one and swapped in whole: a server that reads from it never sees half a site.
    let fresh = workspace.root.join("target/site.new");
    remove(&fresh)?;
    let pkg = fresh.join("pkg");
    std::fs::create_dir_all(&pkg)?;
    copy_tree(&workspace.root.join("public"), &fresh)?;

    let tool = site_tool(workspace)?;
    let minifiers = if release { minifiers(workspace)? } else { None };
    let module = BrowserTarget::artifact(workspace, release, MODULE.0);
    let mut bind = run::command(&tool.to_string_lossy());
    bind.arg("bind").arg(&module).args(["--name", MODULE.1, "--split"]).arg("--out").arg(&pkg);
    if !release {
        bind.arg("--keep-names");
    }
    if let Some(programs) = &minifiers {
        bind.arg("--minify").arg(programs);
    }
    run::run(&mut bind)?;
    let styles = pkg.join("deliveryos.css");
    std::fs::write(&styles, join_styles(&workspace.root.join("style"))?)?;
    if let Some(programs) = &minifiers {
        run::run(run::command(&tool.to_string_lossy()).arg("minify").arg(programs).arg(&styles))?;
    }
    if release {
        run::step("brotli", || {
            let mut compress = run::command(&tool.to_string_lossy());
            compress.arg("compress");
            compress.args(fingerprint::files_below(&fresh)?.iter().filter(|file| compressible(file)));
            run::run(&mut compress)
        })?;
    }
    remove(&workspace.site())?;
    std::fs::rename(&fresh, workspace.site())?;
    Ok(())
}

/// Where the tools are that make a site smaller; without them it works as well and weighs 3 % more.
fn minifiers(workspace: &Workspace) -> Result<Option<PathBuf>> {
    match setup::minifiers(workspace)? {
        setup::Found::At(programs) => Ok(Some(programs)),
        setup::Found::Missing(why) => {
            eprintln!("    the site is not minified and weighs 3 % more: {why}");
            Ok(None)
        }
    }
}

fn compressible(path: &Path) -> bool {
    path.extension().is_some_and(|end| COMPRESSIBLE.iter().any(|known| end == *known))
}

/// wasm-bindgen's library and brotli, in a program of its own: they take most of a minute to build, and `cargo xtask --help` should not.
fn site_tool(workspace: &Workspace) -> Result<PathBuf> {
    let mut cargo = run::cargo();
    cargo.current_dir(&workspace.root).args(["build", "--package", "xtask-site"]);
    progress::cargo(&mut cargo)?;
    Ok(workspace.target.join("debug/xtask-site"))
}

/// `style/main.css` with each `@import "part.css";` replaced by the part, so that the order stands in one place to read. Every file in
/// `style/` must be imported once.
fn join_styles(dir: &Path) -> Result<String> {
    let main = dir.join("main.css");
    let text = std::fs::read_to_string(&main).with_context(|| format!("cannot read {}", main.display()))?;
    let mut css = String::new();
    let mut imported = vec![main];
    for line in text.lines() {
        let Some(import) = line.trim().strip_prefix("@import ") else {
            css.push_str(line);
            css.push('\n');
            continue;
        };
        let import = import.trim_end_matches(';').trim();
        let (name, layer) = match import.split_once(" layer(") {
            Some((name, layer)) => (name, Some(layer.trim_end_matches(')'))),
            None => (import, None),
        };
        let part = dir.join(name.trim().trim_start_matches("url(").trim_end_matches(')').trim_matches(['"', '\'']));
        let body =
            std::fs::read_to_string(&part).with_context(|| format!("style/main.css imports {}", part.display()))?;
        match layer {
            Some(layer) => css.push_str(&format!("@layer {layer} {{\n{body}}}\n")),
            None => css.push_str(&body),
        }
        imported.push(part);
    }
    for file in fingerprint::files_below(dir)? {
        if file.extension().is_some_and(|end| end == "css") && !imported.contains(&file) {
            bail!("style/main.css does not import {}", file.display());
        }
    }
    Ok(css)
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    for file in fingerprint::files_below(from)? {
        let target = to.join(file.strip_prefix(from)?);
        if let Some(dir) = target.parent() {
            std::fs::create_dir_all(dir)?;
        }
        std::fs::copy(&file, &target).with_context(|| format!("cannot copy {}", file.display()))?;
    }
    Ok(())
}

fn remove(dir: &Path) -> Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

impl Report {
    fn read(workspace: &Workspace) -> Result<Self> {
        let site = workspace.site();
        let mut files = Vec::new();
        for path in fingerprint::files_below(&site)? {
            if path.extension().is_some_and(|end| end == "br") {
                continue;
            }
            let compressed = PathBuf::from(format!("{}.br", path.display()));
            let compressed = std::fs::metadata(compressed).ok().map(|meta| meta.len());
            let name = path.strip_prefix(&site)?.to_string_lossy().into_owned();
            files.push((name, std::fs::metadata(&path)?.len(), compressed));
        }
        let parts = site.join(PARTS);
        let text = std::fs::read_to_string(&parts).with_context(|| format!("cannot read {}", parts.display()))?;
        let parts = serde_json::from_str(&text).with_context(|| format!("cannot read {}", parts.display()))?;
        Ok(Self { files, parts })
    }

    /// Bytes over the network on a first visit, with the part of each page that it may be. A file without a compressed twin did not shrink
    /// and is sent as it is.
    ///
    /// # Errors
    /// When a file is missing, or nothing is compressed: then this is no release.
    fn visits(&self) -> Result<Vec<(&str, u64)>> {
        if self.files.iter().all(|file| file.2.is_none()) {
            bail!("nothing is compressed: not a release");
        }
        let every = self.sum(FIRST_LOAD)?;
        self.parts
            .keys()
            .filter(|part| PRESSED.iter().all(|(pressed, _)| part != pressed))
            .map(|part| {
                let beside = if part == AT_ONCE.1 { self.pressed(AT_ONCE)? } else { 0 };
                Ok((part.as_str(), every + self.part(part)? + beside))
            })
            .collect()
    }

    /// Holds every first visit against its limit.
    ///
    /// # Errors
    /// When one is over it, or cannot be told.
    pub(crate) fn check_sizes(&self) -> Result<()> {
        let visits = self.visits()?;
        if !visits.iter().any(|visit| visit.0 == FIRST_PART) {
            bail!("the site has no part {FIRST_PART}");
        }
        let over: Vec<String> = visits
            .into_iter()
            .filter(|(_, bytes)| *bytes > FIRST_LOAD_LIMIT)
            .map(|(part, bytes)| format!("{part}: {bytes} bytes, at most {FIRST_LOAD_LIMIT} are allowed"))
            .collect();
        if !over.is_empty() {
            bail!("the first load is too large. {}", over.join("; "));
        }
        for press in PRESSED {
            let bytes = self.pressed(press)?;
            if bytes > PRESSED_LIMIT {
                bail!("a press is too large: {}: {bytes} bytes, at most {PRESSED_LIMIT} are allowed", press.0);
            }
        }
        Ok(())
    }

    /// What the first press brings, beside the files that its page has.
    ///
    /// # Errors
    /// When a file is missing.
    fn pressed(&self, (part, page): (&str, &str)) -> Result<u64> {
        let files = |part: &str| self.parts.get(part).map(|part| part.files.as_slice()).unwrap_or_default();
        let has = files(page);
        let new = files(part).iter().filter(|file| !has.contains(file));
        self.sum(new.map(|file| format!("pkg/{file}")))
    }

    /// What a part adds to the first load.
    fn part(&self, part: &str) -> Result<u64> {
        self.sum(self.parts.get(part).map(|part| format!("pkg/{}", part.pack)))
    }

    fn sum(&self, names: impl IntoIterator<Item = impl AsRef<str>>) -> Result<u64> {
        names.into_iter().try_fold(0, |sum, name| {
            let name = name.as_ref();
            let file = self.files.iter().find(|file| file.0 == name);
            let file = file.with_context(|| format!("the site has no {name}"))?;
            Ok(sum + file.2.unwrap_or(file.1))
        })
    }

    /// The table of sizes and the sum against its limit.
    pub(crate) fn print_sizes(&self) {
        println!("{:<44} {:>11} {:>11}", "file", "bytes", "brotli");
        for (name, raw, compressed) in &self.files {
            let compressed = compressed.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string());
            println!("{name:<44} {raw:>11} {compressed:>11}");
        }
        println!("\n{:<44} {:>11} {:>11}", "first visit, with the part", "brotli", "limit");
        match self.visits() {
            Ok(visits) => {
                for (part, bytes) in visits {
                    let mark = if bytes > FIRST_LOAD_LIMIT { "  <- TOO LARGE" } else { "" };
                    println!("{part:<44} {bytes:>11} {FIRST_LOAD_LIMIT:>11}{mark}");
                }
            }
            Err(error) => println!("unknown ({error})"),
        }
        for press in PRESSED {
            if let Ok(bytes) = self.pressed(press) {
                println!("{:<44} {bytes:>11} {PRESSED_LIMIT:>11}", format!("at the first press: {}", press.0));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visit_is_the_first_load_and_the_files_of_its_part() {
        let file = |name: &str, raw, brotli| (name.to_owned(), raw, brotli);
        // With the four files of every page it is what is allowed.
        let most = FIRST_LOAD_LIMIT - 400;
        let mut files: Vec<_> = FIRST_LOAD.into_iter().map(|name| file(name, 1_000, Some(100))).collect();
        files.push(file("pkg/shared.wasm", 50, None));
        files.push(file("pkg/overview.wasm", 500_000, Some(most)));
        let parts = |list: &[(&str, &str, &[&str])]| {
            let own = |files: &[&str]| files.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            let part = |pack: &str, files| Part { pack: pack.to_owned(), files: own(files) };
            list.iter().map(|(name, pack, files)| ((*name).to_owned(), part(pack, files))).collect()
        };
        let mut fits =
            Report { files, parts: parts(&[("overview", "overview.wasm", &[]), ("lists", "shared.wasm", &[])]) };
        assert_eq!(fits.visits().unwrap(), [("lists", 450), ("overview", FIRST_LOAD_LIMIT)]);
        assert_eq!(fits.pressed(PRESSED[0]).unwrap(), 0, "nothing is pressed here");
        fits.check_sizes().unwrap();
        fits.files.push(file("pkg/over.pack", 900_000, Some(most + 1)));
        let mut over = Report { parts: parts(&[("overview", "over.pack", &[])]), ..fits };
        assert!(
            over.check_sizes().unwrap_err().to_string().contains(&format!("overview: {} bytes", FIRST_LOAD_LIMIT + 1))
        );
        over.files.push(file("pkg/check.wasm", 9, Some(7)));
        let both = parts(&[
            ("receipt", "shared.wasm", &["shared.wasm"]),
            ("check", "check.wasm", &["shared.wasm", "check.wasm"]),
            ("overview", "shared.wasm", &["shared.wasm"]),
            ("release", "shared.wasm", &["shared.wasm"]),
            ("aside", "shared.wasm", &["shared.wasm", "overview.wasm"]),
        ]);
        let press = Report { parts: both, ..over };
        assert_eq!(press.pressed(PRESSED[0]).unwrap(), most, "what the page has is not loaded again");
        assert!(press.visits().unwrap().iter().all(|visit| visit.0 != "aside"), "no page is it alone");
        assert!(press.visits().unwrap().contains(&("receipt", 457)), "a receipt is checked at once");
        assert!(
            press
                .check_sizes()
                .unwrap_err()
                .to_string()
                .contains(&format!("a press is too large: aside: {most} bytes"))
        );
        let none = Report { parts: parts(&[("lists", "gone.wasm", &[])]), ..press };
        assert!(none.check_sizes().unwrap_err().to_string().contains("no pkg/gone.wasm"));
    }

    #[test]
    fn styles_are_joined_in_the_order_of_main() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("main.css", "@layer base, parts;\n@import \"b.css\" layer(base);\n@import url(\"a.css\");\n");
        write("a.css", "a {}\n");
        write("b.css", "b {}\n");
        assert_eq!(join_styles(dir.path()).unwrap(), "@layer base, parts;\n@layer base {\nb {}\n}\na {}\n");
        write("c.css", "c {}\n");
        assert!(join_styles(dir.path()).unwrap_err().to_string().contains("c.css"));
    }
}
