//! Takes out of a release's module what no page shows: where in the sources a panic was, and the long names of what it imports.
//!
//! A panic of a release still says what happened; where, a module built with its names says. Paths of the machine that built it are not sent.

use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};

/// Magic number and version.
const HEAD: usize = 8;
/// Numbers of sections.
const IMPORTS: u8 = 2;
const DATA: u8 = 11;

/// A section: its number and what is in it.
struct Section<'a> {
    id: u8,
    content: &'a [u8],
}

/// The sections of a module, in their order.
fn sections(module: &[u8]) -> Result<(&[u8], Vec<Section<'_>>)> {
    let (head, mut rest) = module.split_at_checked(HEAD).context("not a module")?;
    let mut all = Vec::new();
    while let Some((&id, after)) = rest.split_first() {
        let (length, digits) = number(after)?;
        let content = after.get(digits..digits + length).context("a section ends after the module")?;
        all.push(Section { id, content });
        rest = after.get(digits + length..).unwrap_or_default();
    }
    Ok((head, all))
}

fn section(id: u8, content: &[u8], out: &mut Vec<u8>) {
    out.push(id);
    write_number(content.len(), out);
    out.extend_from_slice(content);
}

/// A module without its custom sections: names of functions and tools, which only people read.
pub(crate) fn without_notes(module: &[u8]) -> Result<Vec<u8>> {
    let (head, all) = sections(module)?;
    let mut out = head.to_vec();
    for Section { id, content } in all.into_iter().filter(|section| section.id != 0) {
        section(id, content, &mut out);
    }
    Ok(out)
}

/// A module whose panics do not say where they are: paths of sources are blank, lines and columns 0. Nothing changes its place.
pub(crate) fn without_places(module: &[u8]) -> Result<Vec<u8>> {
    let mut out = module.to_vec();
    let (_, all) = sections(module)?;
    let start = |content: &[u8]| content.as_ptr() as usize - module.as_ptr() as usize;
    let mut pieces = Vec::new();
    for Section { content, .. } in all.iter().filter(|section| section.id == DATA) {
        for Piece { address, at, length } in data(content)? {
            pieces.push(Piece { address, at: start(content) + at, length });
        }
    }
    let mut paths = BTreeSet::new();
    for piece in &pieces {
        let bytes = module.get(piece.at..piece.at + piece.length).context("data end after the module")?;
        for (from, length) in paths_of_sources(bytes) {
            paths.insert((piece.address + from, length));
            out.get_mut(piece.at + from..piece.at + from + length).context("a path out of its data")?.fill(b' ');
        }
    }
    // `core::panic::Location`: address and length of the path, line, column, each of 32 bits.
    for piece in &pieces {
        for from in (0..piece.length.saturating_sub(15)).filter(|from| (piece.address + from) % 4 == 0) {
            let place = out.get_mut(piece.at + from..piece.at + from + 16).context("a place out of its data")?;
            let (path, rest) = place.split_at_mut(8);
            let word = |bytes: &[u8]| bytes.try_into().map(u32::from_le_bytes).map(|word| word as usize);
            let (address, length) = path.split_at(4);
            if paths.contains(&(word(address)?, word(length)?)) {
                rest.fill(0);
            }
        }
    }
    Ok(out)
}

/// A piece of the data: where it comes in memory, where it is in its section, how long it is.
struct Piece {
    address: usize,
    at: usize,
    length: usize,
}

fn data(content: &[u8]) -> Result<Vec<Piece>> {
    /// `i32.const`.
    const CONST: u8 = 0x41;
    /// `end`.
    const END: u8 = 0x0b;
    let mut pieces = Vec::new();
    let (count, mut at) = number(content)?;
    let rest = |at: usize| content.get(at..).context("data end within a piece");
    for _ in 0..count {
        let (kind, digits) = number(rest(at)?)?;
        at += digits;
        let [CONST, ..] = rest(at)? else { bail!("data of kind {kind} without a constant address") };
        if kind != 0 {
            bail!("data of kind {kind}, which comes to no fixed place");
        }
        let (address, digits) = number(rest(at + 1)?)?;
        at += 1 + digits;
        let [END, ..] = rest(at)? else { bail!("the address of data is computed") };
        let (length, digits) = number(rest(at + 1)?)?;
        at += 1 + digits;
        pieces.push(Piece { address, at, length });
        at += length;
    }
    Ok(pieces)
}

/// Where paths of sources are: what ends with `.rs` and begins at a registry, at the standard library or at a crate of ours.
fn paths_of_sources(bytes: &[u8]) -> Vec<(usize, usize)> {
    const END: &[u8] = b".rs";
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(end) = find(bytes.get(from..).unwrap_or_default(), END).map(|at| from + at + END.len()) {
        let before = bytes.get(from..end).unwrap_or_default();
        let run = before.iter().rev().take_while(|b| b.is_ascii_alphanumeric() || b"/_-.\\:+".contains(b)).count();
        let run = before.get(before.len() - run..).unwrap_or_default();
        if let Some(start) = beginning(run) {
            found.push((end - (run.len() - start), run.len() - start));
        }
        from = end;
    }
    found
}

/// Where in `…/src/name.rs` the path begins: what stands before it belongs to another text.
fn beginning(run: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(run).ok()?;
    let rooted = ["/rustc/", "/rust/deps/", "library/"].iter().filter_map(|root| text.find(root)).min();
    let registry = text.find("/registry/src/").or_else(|| text.find("/git/checkouts/"));
    let absolute = registry.and_then(|at| text.get(..at)?.find('/').or(Some(at)));
    let crates = ["app/src/", "crates/"].iter().filter_map(|root| text.rfind(root)).max();
    absolute.or(rooted).or(crates)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// The module and its script with short names for what the one takes from the other.
pub(crate) fn with_short_imports(module: &[u8], script: &str) -> Result<(Vec<u8>, String)> {
    let (head, all) = sections(module)?;
    let mut names = BTreeMap::new();
    let mut out = head.to_vec();
    for Section { id, content } in all {
        if id == IMPORTS {
            section(id, &imports(content, &mut names)?, &mut out);
        } else {
            section(id, content, &mut out);
        }
    }
    let renamed = rename(script, &names);
    for (long, _) in names.iter().filter(|(long, _)| long.len() > 3) {
        if !words(script).any(|word| word == long) {
            bail!("the script does not have the import {long}");
        }
    }
    Ok((out, renamed))
}

fn imports(content: &[u8], names: &mut BTreeMap<String, String>) -> Result<Vec<u8>> {
    let (count, mut at) = number(content)?;
    let mut out = Vec::new();
    write_number(count, &mut out);
    for _ in 0..count {
        let mut text = || -> Result<&str> {
            let (length, digits) = number(content.get(at..).context("imports end within a name")?)?;
            let text = content.get(at + digits..at + digits + length).context("a name ends after the imports")?;
            at += digits + length;
            Ok(std::str::from_utf8(text)?)
        };
        let (module, name) = (text()?, text()?);
        // The glue's own: what is taken from other modules is named by them.
        let short = if name.starts_with("__wbg_") || name.starts_with("__wbindgen_") {
            let next = names.len();
            names.entry(name.to_owned()).or_insert_with(|| letters(next)).as_str()
        } else {
            name
        };
        for text in [module, short] {
            write_number(text.len(), &mut out);
            out.extend_from_slice(text.as_bytes());
        }
        let from = at;
        at += described(content.get(at..).context("imports end within one")?)?;
        out.extend_from_slice(content.get(from..at).context("an import ends after the imports")?);
    }
    Ok(out)
}

/// How many bytes say what sort of thing is imported.
fn described(bytes: &[u8]) -> Result<usize> {
    let limits = |from: usize| -> Result<usize> {
        let flags = *bytes.get(from).context("an import without limits")?;
        let (_, least) = number(bytes.get(from + 1..).unwrap_or_default())?;
        let most = if flags & 1 == 1 { number(bytes.get(from + 1 + least..).unwrap_or_default())?.1 } else { 0 };
        Ok(1 + least + most)
    };
    Ok(match bytes.first() {
        Some(0) => 1 + number(bytes.get(1..).unwrap_or_default())?.1,
        Some(1) => 2 + limits(2)?,
        Some(2) => 1 + limits(1)?,
        Some(3) => 3,
        Some(4) => 2 + number(bytes.get(2..).unwrap_or_default())?.1,
        kind => bail!("an import of kind {kind:?}"),
    })
}

/// `a`, `b`, … `z`, `a1`, `b1`, …
fn letters(n: usize) -> String {
    let letter = char::from(b'a' + (n % 26) as u8);
    match n / 26 {
        0 => letter.to_string(),
        rest => format!("{letter}{rest}"),
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$'
}

fn words(script: &str) -> impl Iterator<Item = &str> {
    script.split(|c| !is_word(c))
}

fn rename(script: &str, names: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(script.len());
    for piece in script.split_inclusive(|c| !is_word(c)) {
        let end = piece.find(|c| !is_word(c)).unwrap_or(piece.len());
        let (word, rest) = piece.split_at(end);
        out.push_str(names.get(word).map_or(word, String::as_str));
        out.push_str(rest);
    }
    out
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

fn write_number(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: [u8; 8] = *b"\0asm\x01\0\0\0";

    fn module(all: &[(u8, &[u8])]) -> Vec<u8> {
        let mut out = START.to_vec();
        for (id, content) in all {
            section(*id, content, &mut out);
        }
        out
    }

    #[test]
    fn notes_are_left_out_and_the_rest_stays() {
        let types = [1, 0x60, 0, 0];
        let whole = module(&[(0, &[7; 132]), (1, &types), (0, &[9])]);
        assert_eq!(without_notes(&whole).unwrap(), module(&[(1, &types)]));
        assert!(without_notes(&whole[..whole.len() - 1]).is_err());
        assert!(without_notes(b"\0as").is_err());
    }

    #[test]
    fn paths_of_sources_are_found_in_what_stands_around_them() {
        let text = |text: &str| -> Vec<String> {
            let found = paths_of_sources(text.as_bytes()).into_iter();
            found.map(|(from, length)| text[from..from + length].to_owned()).collect()
        };
        assert_eq!(
            text("indexOverview/root/.cargo/registry/src/index.crates.io-19/tachys-0.2/src/a.rscrates/model/src/b.rs!"),
            ["/root/.cargo/registry/src/index.crates.io-19/tachys-0.2/src/a.rs", "crates/model/src/b.rs"]
        );
        assert_eq!(text("a receiptapp/src/api/reads.rs"), ["app/src/api/reads.rs"]);
        assert_eq!(text("Some/rustc/0a1b/library/core/src/str/mod.rs"), ["/rustc/0a1b/library/core/src/str/mod.rs"]);
        assert_eq!(text("Sum/rust/deps/hashbrown-0.16.1/src/raw.rs"), ["/rust/deps/hashbrown-0.16.1/src/raw.rs"]);
        assert_eq!(text("say main.rs, or a/b.rs"), [""; 0]);
    }

    #[test]
    fn a_panic_does_not_say_where_and_all_else_stays_where_it_is() {
        let path = b"app/src/lib.rs";
        let (address, padded) = (64_u32, 16);
        let mut bytes = [&path[..], b"!!"].concat();
        assert_eq!(bytes.len(), padded);
        for word in [address, path.len() as u32, 27, 5, address, 3, 27, 5] {
            bytes.extend(word.to_le_bytes());
        }
        let piece = |bytes: &[u8]| {
            let mut content = vec![1, 0, 0x41, 0xc0, 0, 0x0b];
            write_number(bytes.len(), &mut content);
            content.extend(bytes);
            module(&[(1, &[0]), (DATA, &content)])
        };
        let mut wanted = bytes.clone();
        wanted[..path.len()].fill(b' ');
        wanted[padded + 8..padded + 16].fill(0);
        assert_eq!(without_places(&piece(&bytes)).unwrap(), piece(&wanted));
        let passive = module(&[(DATA, &[1, 1, 1, 9])]);
        assert!(without_places(&passive).is_err());
    }

    #[test]
    fn imports_have_the_same_short_names_on_both_sides() {
        let import = |name: &str| {
            let mut content = vec![2, 1, b'm', name.len() as u8];
            content.extend(name.as_bytes());
            content.extend([0, 0, 1, b'm', 6]);
            content.extend(b"memory\x02\x01\x01\x02");
            module(&[(IMPORTS, &content)])
        };
        let script = "x={__wbg_log_0a:function(a){},__wbg_log_0ab:1}";
        let (renamed, text) = with_short_imports(&import("__wbg_log_0a"), script).unwrap();
        assert_eq!(text, "x={a:function(a){},__wbg_log_0ab:1}");
        assert_eq!(renamed, import("a"));
        assert!(with_short_imports(&import("__wbg_warn_0a"), script).is_err());
        let names: BTreeSet<String> = (0..2_000).map(letters).collect();
        assert_eq!(names.len(), 2_000);
    }
}
