//! The steps of the site's build that need heavy libraries: cutting a module into parts, wasm-bindgen's glue, minifying, brotli.
//!
//! `cargo xtask build` calls this program; it is a crate of its own so that `xtask` starts in seconds on a bare machine. The library
//! `wasm-bindgen-cli-support` has the very version of `wasm-bindgen` in `Cargo.lock`, so no tool has to be installed and none can mismatch.

mod bare;
mod minify;
mod parts;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};

/// Brotli's highest quality: compressed once, sent often.
const QUALITY: i32 = 11;
/// Brotli's largest standard window, 16 MiB: more than any file of ours.
const WINDOW: i32 = 24;

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Writes NAME.js, NAME.wasm and their snippets.
    Bind {
        /// The module that Cargo built.
        module: PathBuf,
        #[arg(long)]
        name: String,
        #[arg(long)]
        out: PathBuf,
        /// Cut it at its split points: parts that the page loads when it needs them.
        #[arg(long)]
        split: bool,
        /// Keep function names, for readable stack traces while developing.
        #[arg(long)]
        keep_names: bool,
        /// Make modules and scripts smaller, with the programs in this directory.
        #[arg(long, value_name = "PROGRAMS")]
        minify: Option<PathBuf>,
    },
    /// Makes modules, scripts and style sheets smaller where they are, with the programs in a directory.
    Minify { programs: PathBuf, files: Vec<PathBuf> },
    /// Writes FILE.br beside each file.
    Compress { files: Vec<PathBuf> },
}

fn main() -> Result<()> {
    match Args::parse().verb {
        Verb::Bind { module, name, out, split, keep_names, minify } => {
            let minify = minify.as_deref();
            let main = if split {
                parts::split(&module, &name, &out, keep_names, minify)?
            } else if keep_names {
                module
            } else {
                let bare = module.with_extension("bare.wasm");
                std::fs::write(&bare, bare::without_places(&std::fs::read(&module)?)?)?;
                bare
            };
            bind(&main, &name, &out, split, keep_names)?;
            let Some(programs) = minify else { return Ok(()) };
            let mut written = vec![out.join(format!("{name}.wasm")), out.join(format!("{name}.js"))];
            written.extend(split.then(|| out.join(format!("{name}.parts.js"))));
            minify::files(programs, &written)?;
            shorten(&out.join(format!("{name}.wasm")), &out.join(format!("{name}.js")))
        }
        Verb::Minify { programs, files } => minify::files(&programs, &files),
        Verb::Compress { files } => files.iter().try_for_each(|file| compress(file)),
    }
}

fn bind(module: &Path, name: &str, out: &Path, split: bool, keep_names: bool) -> Result<()> {
    let mut bindgen = wasm_bindgen_cli_support::Bindgen::new();
    bindgen
        .input_path(module)
        .out_name(name)
        .typescript(false)
        // The parts are linked to what the first load exports, by its names as they are.
        .keep_lld_exports(split)
        .demangle(!split)
        .remove_name_section(!keep_names)
        .remove_producers_section(true);
    bindgen.web(true)?;
    bindgen.generate(out).with_context(|| format!("wasm-bindgen refuses {}", module.display()))?;
    // wasm-bindgen's `NAME_bg.wasm` becomes `NAME.wasm`, as Leptos asks for it when it knows the output name.
    let (from, to) = (format!("{name}_bg.wasm"), format!("{name}.wasm"));
    std::fs::rename(out.join(&from), out.join(&to))?;
    let script = out.join(format!("{name}.js"));
    let text = std::fs::read_to_string(&script)?;
    std::fs::write(&script, text.replace(&from, &to))?;
    Ok(())
}

/// Short names for what the module takes from its script.
fn shorten(module: &Path, script: &Path) -> Result<()> {
    let (short, text) = bare::with_short_imports(&std::fs::read(module)?, &std::fs::read_to_string(script)?)?;
    std::fs::write(module, short)?;
    std::fs::write(script, text)?;
    Ok(())
}

fn compress(file: &Path) -> Result<()> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let params = brotli::enc::BrotliEncoderParams {
        quality: QUALITY,
        lgwin: WINDOW,
        size_hint: bytes.len(),
        ..Default::default()
    };
    let mut compressed = Vec::new();
    brotli::BrotliCompress(&mut bytes.as_slice(), &mut compressed, &params)?;
    // A file that does not shrink is sent as it is.
    if compressed.len() < bytes.len() {
        let mut name = file.as_os_str().to_owned();
        name.push(".br");
        std::fs::write(&name, compressed)?;
    }
    Ok(())
}
