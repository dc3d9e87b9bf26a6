//! A browser module cut at its split points (`#[wasm_split]`).
//!
//! ```text
//! hydrate.wasm --cut-->  hydrate.main.wasm          to wasm-bindgen, as a module that is not cut
//!                        NAME.parts.js              loads parts; imported by NAME.js
//!                        {split_P,chunk_N}.HASH.wasm   the parts, and what several of them share
//!                        NAME.parts.json            part -> its files
//! ```
//! A part fits the module that it was cut from and no other, so its name carries that module's hash: a page that is still open after an
//! upgrade finds no part of another build by mistake.

use anyhow::{Context, Result, anyhow, bail};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Hexadecimal digits of the hash in a part's name.
const HASH: usize = 12;

/// Writes the parts of `module` into `out` and returns the module that is left.
pub(crate) fn split(module: &Path, name: &str, out: &Path, keep_names: bool) -> Result<PathBuf> {
    let bytes = std::fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
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
    for part in &cut.split_modules {
        let stem = part.file_stem().and_then(|stem| stem.to_str()).context("a part without a name")?;
        let bytes = std::fs::read(part)?;
        let bytes = if keep_names { bytes } else { without_notes(&bytes)? };
        std::fs::write(out.join(format!("{stem}.{hash}.wasm")), bytes)?;
        std::fs::remove_file(part)?;
        loader = loader.replace(&format!("\"./{stem}.wasm\""), &format!("\"./{stem}.{hash}.wasm\""));
    }
    std::fs::write(&script, loader)?;
    let files: BTreeMap<_, Vec<_>> = cut
        .prefetch_map
        .into_iter()
        .map(|(part, stems)| (part, stems.into_iter().map(|stem| format!("{stem}.{hash}.wasm")).collect()))
        .collect();
    std::fs::write(out.join(format!("{name}.parts.json")), serde_json::to_vec(&files)?)?;
    Ok(main)
}

/// A module without its custom sections: names of functions and tools, which only people read.
fn without_notes(module: &[u8]) -> Result<Vec<u8>> {
    /// Magic number and version.
    const HEAD: usize = 8;
    let (head, mut rest) = module.split_at_checked(HEAD).context("not a module")?;
    let mut out = head.to_vec();
    while let Some((&id, after)) = rest.split_first() {
        let (length, digits) = number(after)?;
        let whole = 1 + digits + length;
        let Some((section, next)) = rest.split_at_checked(whole) else { bail!("a section ends after the module") };
        if id != 0 {
            out.extend_from_slice(section);
        }
        rest = next;
    }
    Ok(out)
}

/// An unsigned LEB128 number of 32 bits, and how many bytes it takes.
fn number(bytes: &[u8]) -> Result<(usize, usize)> {
    let mut value = 0_usize;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok((value, index + 1));
        }
    }
    bail!("a number without an end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_left_out_and_the_rest_stays() {
        let head = *b"\0asm\x01\0\0\0";
        let types = [1, 4, 1, 0x60, 0, 0];
        let long = [&[0, 0x84, 0x01][..], &[7; 132]].concat();
        let module = [&head[..], &long, &types, &[0, 1, 9]].concat();
        assert_eq!(without_notes(&module).unwrap(), [&head[..], &types].concat());
        assert!(without_notes(&module[..module.len() - 1]).is_err());
        assert!(without_notes(b"\0as").is_err());
    }
}
