//! A browser module cut at its split points (`#[wasm_split]`).
//!
//! ```text
//! hydrate.wasm --cut-->  hydrate.main.wasm          to wasm-bindgen, as a module that is not cut
//!                        NAME.parts.js              loads parts; imported by NAME.js
//!                        {split_P,chunk_N}.HASH.wasm   the parts, and what several of them share
//!                        P.HASH.pack                all files of a part in one
//!                        NAME.parts.json            part -> its files and its pack
//! ```
//! The first part that a document loads comes as its pack: compressed as one, its files take an eighth less than one by one. Later parts come
//! file by file, since the document has some of them already.
//!
//! A part fits the module that it was cut from and no other, so its name carries that module's hash: a page that is still open after an
//! upgrade finds no part of another build by mistake.

use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::bare;

/// Hexadecimal digits of the hash in a part's name.
const HASH: usize = 12;

/// Writes the parts of `module` into `out`, made smaller by the programs in `minify`, and returns the module that is left.
pub(crate) fn split(module: &Path, name: &str, out: &Path, keep_names: bool, minify: Option<&Path>) -> Result<PathBuf> {
    let bytes = std::fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
    let bytes = if keep_names { bytes } else { bare::without_places(&bytes)? };
    let hash = hex::encode(Sha256::digest(&bytes));
    let hash = hash.get(..HASH).unwrap_or(&hash);
    let main = module.with_extension("main.wasm");
    let script = format!("{name}.parts.js");
    let (link, glue) = (format!("./{script}"), format!("./{name}.js"));
    let cut = wasm_split_cli_support::transform({
        let mut options = wasm_split_cli_support::Options::new(&bytes);
        options.output_dir = out;
        options.main_out_path = &main;
        options.link_name = &link;
        options.main_module = &glue;
        options
    })
    .map_err(|report| anyhow!("cannot cut {}: {report:#}", module.display()))?;

    let script = out.join(script);
    let mut loader = std::fs::read_to_string(&script)?;
    let mut files = Vec::new();
    for module in &cut.split_modules {
        let stem = module.file_stem().and_then(|stem| stem.to_str()).context("a part without a name")?;
        let bytes = std::fs::read(module)?;
        let bytes = if keep_names { bytes } else { bare::without_notes(&bytes)? };
        let file = format!("{stem}.{hash}.wasm");
        std::fs::write(out.join(&file), &bytes)?;
        std::fs::remove_file(module)?;
        let asked = format!("fetch(new URL(\"./{stem}.wasm\", import.meta.url))");
        loader = replaced(&loader, &asked, &format!("source(\"./{file}\")"))?;
        files.push(file);
    }
    if let Some(programs) = minify {
        crate::minify::files(programs, &files.iter().map(|file| out.join(file)).collect::<Vec<_>>())?;
    }
    let read = |file: String| std::fs::read(out.join(&file)).map(|bytes| (file, bytes));
    let modules = files.into_iter().map(read).collect::<Result<BTreeMap<_, _>, _>>()?;
    let mut parts = BTreeMap::new();
    for (name, stems) in cut.prefetch_map {
        let files: Vec<String> = stems.into_iter().map(|stem| format!("{stem}.{hash}.wasm")).collect();
        let pack = format!("{name}.{hash}.pack");
        std::fs::write(out.join(&pack), packed(&files, &modules)?)?;
        let load = format!("__wasm_split_load_{name} = wrapAsyncCb(makeLoad(");
        let first = format!("__wasm_split_load_{name} = wrapAsyncCb(makePackedLoad(\"./{pack}\", ");
        loader = replaced(&loader, &load, &first)?;
        parts.insert(name, Part { pack, files });
    }
    std::fs::write(&script, loader + include_str!("packs.js"))?;
    std::fs::write(out.join(format!("{name}.parts.json")), serde_json::to_vec(&parts)?)?;
    Ok(main)
}

/// What a part is made of.
#[derive(Serialize)]
struct Part {
    pack: String,
    files: Vec<String>,
}

/// The files in one: the length of the table (32 bits, little-endian), the table (name and length of each), and the files.
fn packed(files: &[String], modules: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>> {
    let file = |name: &String| modules.get(name).with_context(|| format!("a part has no file {name}"));
    let table: Vec<_> = files.iter().map(|name| Ok((format!("./{name}"), file(name)?.len()))).collect::<Result<_>>()?;
    let table = serde_json::to_vec(&table)?;
    let mut pack = u32::try_from(table.len())?.to_le_bytes().to_vec();
    pack.extend(table);
    for name in files {
        pack.extend(file(name)?);
    }
    Ok(pack)
}

/// The text with one place in it changed. The loader is written by a library: when it writes it differently, this says so.
fn replaced(text: &str, from: &str, to: &str) -> Result<String> {
    if text.matches(from).count() != 1 {
        bail!("the loader of the parts does not have {from:?} once");
    }
    Ok(text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_has_its_files_behind_their_table() {
        let modules =
            [("a.wasm", vec![1, 2]), ("b.wasm", vec![3])].map(|(name, bytes)| (name.to_owned(), bytes)).into();
        let pack = packed(&["b.wasm".to_owned(), "a.wasm".to_owned()], &modules).unwrap();
        let (length, rest) = pack.split_first_chunk().unwrap();
        let (table, files) = rest.split_at(u32::from_le_bytes(*length) as usize);
        assert_eq!((table, files), (&br#"[["./b.wasm",1],["./a.wasm",2]]"#[..], &[3, 1, 2][..]));
        assert!(packed(&["c.wasm".to_owned()], &modules).is_err());
    }

    #[test]
    fn a_loader_that_is_written_differently_is_refused() {
        assert_eq!(replaced("a b", "a", "c").unwrap(), "c b");
        assert!(replaced("a a", "a", "c").is_err());
        assert!(replaced("b", "a", "c").is_err());
    }
}
