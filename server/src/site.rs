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

/// The files of these parts of the browser's code, as addresses, each once: what a page of theirs needs beside the first load.
pub fn parts(names: &[&str]) -> Vec<String> {
    static PARTS: OnceLock<BTreeMap<String, Vec<String>>> = OnceLock::new();
    let parts = PARTS.get_or_init(|| {
        let file = load("pkg/deliveryos.parts.json");
        file.and_then(|file| serde_json::from_slice(&file.bytes).ok()).unwrap_or_default()
    });
    files(parts, names)
}

fn files(parts: &BTreeMap<String, Vec<String>>, names: &[&str]) -> Vec<String> {
    let files: BTreeSet<_> = names.iter().filter_map(|name| parts.get(*name)).flatten().collect();
    files.into_iter().map(|file| format!("/pkg/{file}")).collect()
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
    fn a_file_that_two_parts_share_is_named_once() {
        let parts = serde_json::from_str(r#"{"a":["shared.wasm","a.wasm"],"b":["shared.wasm"],"c":[]}"#).unwrap();
        assert_eq!(files(&parts, &["a", "b"]), ["/pkg/a.wasm", "/pkg/shared.wasm"]);
        assert!(files(&parts, &["c", "unknown"]).is_empty());
    }
}
