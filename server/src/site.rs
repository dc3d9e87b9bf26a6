//! The browser's files: modules, style sheet, static files.
//!
//! Release builds carry them inside, compressed; other builds read `target/site`. `DELIVERYOS_SITE` names another directory.
//! Names are stable, so every answer carries an ETag over its content and is asked for again: 304 when it is the same.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use sha2::{Digest as _, Sha256};

/// Longest path asked for: the site is flat.
const MAX_PATH: usize = 200;

/// The site that `cargo xtask build` made.
#[derive(rust_embed::RustEmbed)]
#[folder = "../target/site"]
#[allow_missing = true]
struct Site;

struct File {
    bytes: Cow<'static, [u8]>,
    etag: String,
    encoding: Option<&'static str>,
}

/// The file at this path of the site, if there is one.
pub fn answer(path: &str, headers: &HeaderMap) -> Option<Response> {
    let path = path.trim_start_matches('/');
    let plain = path.len() <= MAX_PATH
        && !path.is_empty()
        && path.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && !part.contains('\\'))
        && !path.ends_with(".br");
    if !plain {
        return None;
    }
    let accepts = |coding: &str| {
        let accepted = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok());
        accepted.flat_map(|v| v.split(',')).any(|v| {
            let mut parts = v.split(';').map(str::trim);
            parts.next() == Some(coding) && !parts.any(|q| q == "q=0")
        })
    };
    let compressed = || {
        accepts("br").then(|| load(&format!("{path}.br"))).flatten().map(|file| File { encoding: Some("br"), ..file })
    };
    let file = compressed().or_else(|| load(path))?;
    let mut response = if matches(headers, &file.etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Response::new(match file.bytes {
            Cow::Borrowed(bytes) => Body::from(bytes),
            Cow::Owned(bytes) => Body::from(bytes),
        })
    };
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type(path)));
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    out.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Ok(etag) = HeaderValue::from_str(&file.etag) {
        out.insert(header::ETAG, etag);
    }
    if let Some(encoding) = file.encoding {
        out.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    Some(response)
}

/// A part of the browser's code.
#[derive(serde::Deserialize)]
struct Part {
    /// All its files in one.
    pack: String,
    files: Vec<String>,
}

/// What a page whose code is in these parts, its own first, needs beside the first load, as addresses: its own part in one file, of the others
/// the files that are not in it.
pub fn parts(names: &[&str]) -> Vec<String> {
    static PARTS: OnceLock<BTreeMap<String, Part>> = OnceLock::new();
    let parts = PARTS.get_or_init(|| {
        let file = load("pkg/deliveryos.parts.json");
        file.and_then(|file| serde_json::from_slice(&file.bytes).ok()).unwrap_or_default()
    });
    files(parts, names)
}

fn files(parts: &BTreeMap<String, Part>, names: &[&str]) -> Vec<String> {
    let mut known = names.iter().filter_map(|name| parts.get(*name));
    let Some(own) = known.next() else { return Vec::new() };
    let beside: BTreeSet<_> = known.flat_map(|part| &part.files).filter(|file| !own.files.contains(file)).collect();
    std::iter::once(&own.pack).chain(beside).map(|file| format!("/pkg/{file}")).collect()
}

/// True when the site is there: without it pages have no style and do not come alive.
pub fn is_there() -> bool {
    load("pkg/deliveryos.css").is_some()
}

fn load(path: &str) -> Option<File> {
    let quoted = |hash: &[u8]| format!("\"{}\"", hex::encode(hash.get(..16).unwrap_or(hash)));
    if let Some(root) = overridden() {
        let bytes = std::fs::read(root.join(path)).ok()?;
        let etag = quoted(&Sha256::digest(&bytes));
        return Some(File { bytes: Cow::Owned(bytes), etag, encoding: None });
    }
    let found = Site::get(path)?;
    Some(File { etag: quoted(&found.metadata.sha256_hash()), bytes: found.data, encoding: None })
}

fn overridden() -> Option<&'static Path> {
    static ROOT: OnceLock<Option<PathBuf>> = OnceLock::new();
    ROOT.get_or_init(|| std::env::var_os("DELIVERYOS_SITE").filter(|v| !v.is_empty()).map(PathBuf::from)).as_deref()
}

fn matches(headers: &HeaderMap, etag: &str) -> bool {
    let sent = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok());
    sent.flat_map(|v| v.split(',')).any(|v| v.trim().trim_start_matches("W/") == etag)
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "wasm" => "application/wasm",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "json" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" => "text/plain; charset=utf-8",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_the_site() {
        for path in
            ["", "/", "/../Cargo.toml", "/pkg/../../Cargo.toml", "/pkg//x", "/pkg/deliveryos.css.br", "/pkg\\x", "/./x"]
        {
            assert!(answer(path, &HeaderMap::new()).is_none(), "{path}");
        }
    }

    #[test]
    fn a_page_is_given_its_part_in_one_file_and_of_the_others_what_is_not_in_it() {
        let parts = r#"{"a":{"pack":"a.pack","files":["shared.wasm","a.wasm"]},"b":{"pack":"b.pack","files":["shared.wasm","b.wasm"]}}"#;
        let parts = serde_json::from_str(parts).unwrap();
        assert_eq!(files(&parts, &["a"]), ["/pkg/a.pack"]);
        assert_eq!(files(&parts, &["b", "a"]), ["/pkg/b.pack", "/pkg/a.wasm"]);
        assert!(files(&parts, &["unknown"]).is_empty());
    }
}
