//! Where things are, and what crates there are.

use crate::run;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The workspace as Cargo sees it.
pub(crate) struct Workspace {
    /// The directory of the root `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Where Cargo builds; may lie outside the root (`CARGO_TARGET_DIR`, a user's configuration).
    pub(crate) target: PathBuf,
    /// The crates, in Cargo's order.
    pub(crate) packages: Vec<Package>,
    /// The oldest Rust that the workspace accepts, e.g. `1.95`.
    pub(crate) rust_version: String,
}

/// One crate of the workspace.
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) dir: PathBuf,
    /// Names of the workspace crates it depends on, by kind.
    pub(crate) deps: Vec<Dep>,
}

/// A dependency on another crate of the workspace.
pub(crate) struct Dep {
    pub(crate) name: String,
    /// Used by tests only.
    pub(crate) dev: bool,
}

impl Workspace {
    /// Asks Cargo.
    pub(crate) fn locate() -> Result<Self> {
        // The manifest directory of xtask, fixed when it was compiled, would be wrong in a moved clone.
        let text = run::output(run::cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?;
        let json: Value = serde_json::from_str(&text).context("cargo metadata did not answer with JSON")?;
        let path = |key: &str| -> Result<PathBuf> {
            Ok(PathBuf::from(json[key].as_str().with_context(|| format!("cargo metadata has no {key}"))?))
        };
        let root = path("workspace_root")?;
        let list = json["packages"].as_array().context("cargo metadata has no packages")?;
        let mut packages = Vec::new();
        for package in list {
            packages.push(Package::read(package)?);
        }
        if packages.is_empty() {
            bail!("no crates in {}", root.display());
        }
        let rust_version = list
            .iter()
            .find_map(|package| package["rust_version"].as_str())
            .context("no rust-version in Cargo.toml")?
            .to_owned();
        Ok(Self { target: path("target_directory")?, root, packages, rust_version })
    }

    /// The finished site. Always inside the workspace, wherever Cargo builds: the release executable embeds it by this path.
    pub(crate) fn site(&self) -> PathBuf {
        self.root.join("target/site")
    }

    /// What xtask remembers between runs: stamps, logs, things it fetched.
    pub(crate) fn cache(&self) -> PathBuf {
        self.target.join("xtask")
    }

    /// A path below the root, for people to read.
    pub(crate) fn relative<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }

    /// Files that git knows (or would add), relative to the root.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>> {
        let list = run::output(run::command("git").current_dir(&self.root).args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
        ]))?;
        let mut files: Vec<PathBuf> =
            list.lines().map(PathBuf::from).filter(|path| self.root.join(path).is_file()).collect();
        files.sort();
        files.dedup();
        Ok(files)
    }
}

impl Package {
    fn read(json: &Value) -> Result<Self> {
        let text = |key: &str| -> Result<String> {
            Ok(json[key].as_str().with_context(|| format!("a package without {key}"))?.to_owned())
        };
        let manifest = PathBuf::from(text("manifest_path")?);
        let deps = json["dependencies"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|dep| dep["path"].is_string())
            .filter_map(|dep| Some(Dep { name: dep["name"].as_str()?.to_owned(), dev: dep["kind"] == "dev" }))
            .collect();
        Ok(Self {
            name: text("name")?,
            id: text("id")?,
            dir: manifest.parent().context("a manifest without a directory")?.to_owned(),
            deps,
        })
    }
}
