//! A repository of a registry that speaks the OCI distribution specification 1.1.

mod auth;
mod credentials;
mod http;
mod referrers;
mod upload;

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use reqwest::{Method, StatusCode, header};
use serde::Deserialize;
use url::Url;

pub use credentials::Credentials;

use crate::{
    At, ByteStream, Descriptor, Error, Fetched, Origin, Place, Source, Tag, limits, manifest::ACCEPT, place::expect,
    reference::is_repository,
};
use http::{Ask, Http, Payload};
use model::Digest;

/// How a registry is spoken to.
#[derive(Debug, Clone, Default)]
pub struct RegistryOptions {
    /// HTTP without TLS also to hosts that are not this machine.
    pub plain_http: bool,
    /// Who we are. [`Credentials::from_environment`] finds what `docker login` left.
    pub credentials: Credentials,
}

/// A repository.
#[derive(Clone)]
pub struct Registry {
    host: String,
    repository: String,
    http: Arc<Http>,
    /// Whether the referrers API is there: 0 not known, 1 yes, 2 no.
    api: Arc<AtomicU8>,
    /// One writer of referrers tags at a time in this process; others elsewhere are met by reading again.
    merging: Arc<tokio::sync::Mutex<()>>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Registry({}/{})", self.host, self.repository)
    }
}

impl Registry {
    /// A repository at a host. Nothing is asked yet.
    pub fn new(host: &str, repository: &str, options: RegistryOptions) -> Result<Self, Error> {
        if !is_repository(repository) {
            return Err(Error::Reference { text: repository.to_owned(), why: "the name of a repository" });
        }
        let scheme = if options.plain_http || is_this_machine(host) { "http" } else { "https" };
        // Docker Hub's registry answers under another name than people write.
        let address = if host == "docker.io" { "registry-1.docker.io" } else { host };
        let base = Url::parse(&format!("{scheme}://{address}/"))
            .map_err(|_| Error::Reference { text: host.to_owned(), why: "a host with an optional port" })?;
        let http = Http::new(base, host.to_owned(), options.credentials)?;
        Ok(Self {
            host: host.to_owned(),
            repository: repository.to_owned(),
            http: Arc::new(http),
            api: Arc::default(),
            merging: Arc::default(),
        })
    }

    fn path(&self, rest: &str) -> Result<Url, Error> {
        self.http.url(&format!("v2/{}/{rest}", self.repository))
    }

    fn pull(&self) -> String {
        format!("repository:{}:pull", self.repository)
    }

    fn push(&self) -> String {
        format!("repository:{}:pull,push", self.repository)
    }

    fn answer(&self, what: &str, why: impl Into<String>) -> Error {
        Error::Answer { place: self.name(), what: what.to_owned(), why: why.into() }
    }

    fn not_found(&self, what: impl Into<String>) -> Error {
        Error::NotFound { place: self.name(), what: what.into() }
    }

    fn note_api(&self, there: bool) {
        self.api.store(if there { 1 } else { 2 }, Ordering::Relaxed);
    }

    async fn get_manifest(&self, named: &str, what: &str) -> Result<(Fetched, Option<String>), Error> {
        let mut ask = Ask::new(Method::GET, self.path(&format!("manifests/{named}"))?, self.pull(), what);
        ask.headers.push((header::ACCEPT, ACCEPT.to_owned()));
        let answer = self.http.send(&self.name(), &ask).await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(self.not_found(what)),
            other => return Err(self.answer(what, format!("status {other}"))),
        }
        let text =
            |name: header::HeaderName| answer.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let announced = text(header::HeaderName::from_static("docker-content-digest"));
        let etag = text(header::ETAG);
        let media_type = text(header::CONTENT_TYPE).ok_or_else(|| self.answer(what, "without a Content-Type"))?;
        let media_type = media_type.split(';').next().unwrap_or_default().trim().to_owned();
        let bytes = self.http.body(&self.name(), what, answer, limits::MANIFEST_BYTES).await?;
        // Another algorithm's digest says nothing that we could hold the bytes against.
        if let Some(announced) = announced.as_deref().and_then(|text| text.parse::<Digest>().ok()) {
            expect(&self.name(), &announced, &bytes)?;
        }
        Ok((Fetched::new(&media_type, bytes), etag))
    }

    async fn put_manifest_at(
        &self,
        named: &str,
        manifest: &Fetched,
        condition: Option<(header::HeaderName, String)>,
    ) -> Result<reqwest::Response, Error> {
        let what = format!("writing the manifest {named}");
        let mut ask = Ask::new(Method::PUT, self.path(&format!("manifests/{named}"))?, self.push(), &what);
        ask.headers.push((header::CONTENT_TYPE, manifest.descriptor.media_type.clone()));
        ask.headers.extend(condition);
        ask.payload = Payload::Bytes(manifest.bytes.clone());
        self.http.send(&self.name(), &ask).await
    }

    /// Says in words what a registry answered to a write.
    async fn refused(&self, what: &str, answer: reqwest::Response) -> Error {
        let status = answer.status();
        let body = self.http.body(&self.name(), what, answer, limits::ANSWER_BYTES).await.unwrap_or_default();
        self.answer(what, format!("status {status}{}", said(&body)))
    }
}

/// An error in the specification's form.
#[derive(Deserialize)]
struct Said {
    code: String,
    #[serde(default)]
    message: Option<String>,
}

/// The first error of an answer, when it is in the specification's form.
fn first_error(body: &[u8]) -> Option<Said> {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<Said>,
    }
    serde_json::from_slice::<Errors>(body).ok()?.errors.into_iter().next()
}

/// What a registry says beside its status.
fn said(body: &[u8]) -> String {
    let Some(Said { code, message }) = first_error(body) else { return String::new() };
    let cut = |text: &str| text.chars().filter(|c| !c.is_control()).take(120).collect::<String>();
    format!(": {} {}", cut(&code), cut(message.as_deref().unwrap_or_default())).trim_end().to_owned()
}

/// Registries on this machine speak HTTP, as Docker takes it.
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[async_trait]
impl Place for Registry {
    fn name(&self) -> String {
        format!("{}/{}", self.host, self.repository)
    }

    fn origin(&self) -> Option<Origin> {
        Some(Origin { host: self.host.clone(), repository: self.repository.clone() })
    }

    async fn manifest(&self, at: &At) -> Result<Fetched, Error> {
        match at {
            At::Tag(tag) => Ok(self.get_manifest(tag.as_str(), &format!("tag {tag}")).await?.0),
            At::Digest(digest) => {
                let (fetched, _) = self.get_manifest(digest.as_str(), &format!("manifest {digest}")).await?;
                expect(&self.name(), digest, &fetched.bytes)?;
                Ok(fetched)
            }
        }
    }

    async fn blob(&self, blob: &Descriptor) -> Result<ByteStream, Error> {
        let what = format!("blob {}", blob.digest);
        let ask = Ask::new(Method::GET, self.path(&format!("blobs/{}", blob.digest))?, self.pull(), &what);
        let answer = self.http.send(&self.name(), &ask).await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(self.not_found(what)),
            other => return Err(self.answer(&what, format!("status {other}"))),
        }
        let place = self.name();
        let stream = futures::stream::try_unfold(answer, move |mut answer| {
            let (place, what) = (place.clone(), what.clone());
            async move {
                let chunk = tokio::time::timeout(limits::IDLE, answer.chunk()).await;
                let lost = |cause: String| Error::Unreachable { place, what, cause };
                match chunk {
                    Err(_) => Err(lost(format!("no byte for {} s", limits::IDLE.as_secs()))),
                    Ok(Err(error)) => Err(lost(http::root(&error.without_url()))),
                    Ok(Ok(chunk)) => Ok(chunk.map(|chunk| (chunk, answer))),
                }
            }
        });
        Ok(stream.boxed())
    }

    async fn has_blob(&self, blob: &Descriptor) -> Result<bool, Error> {
        let what = format!("blob {}", blob.digest);
        let ask = Ask::new(Method::HEAD, self.path(&format!("blobs/{}", blob.digest))?, self.pull(), &what);
        let answer = self.http.send(&self.name(), &ask).await?;
        match answer.status() {
            StatusCode::OK => {
                let length =
                    answer.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
                match length {
                    // Without a length it will be seen when it is read.
                    None => Ok(true),
                    Some(length) if length == blob.size => Ok(true),
                    Some(found) => Err(Error::Length {
                        place: self.name(),
                        digest: blob.digest.clone(),
                        expected: blob.size,
                        found,
                    }),
                }
            }
            StatusCode::NOT_FOUND => Ok(false),
            other => Err(self.answer(&what, format!("status {other}"))),
        }
    }

    async fn put_blob(&self, blob: &Descriptor, source: &dyn Source) -> Result<(), Error> {
        if self.has_blob(blob).await? {
            return Ok(());
        }
        self.upload(blob, source).await
    }

    async fn put_manifest(&self, manifest: &Fetched) -> Result<(), Error> {
        let parsed = manifest.parse()?;
        let digest = &manifest.descriptor.digest;
        let answer = self.put_manifest_at(digest.as_str(), manifest, None).await?;
        if !answer.status().is_success() {
            return Err(self.refused(&format!("writing the manifest {digest}"), answer).await);
        }
        let Some(subject) = &parsed.subject else { return Ok(()) };
        if answer.headers().contains_key("oci-subject") {
            self.note_api(true);
            return Ok(());
        }
        if self.api_lists(&subject.digest, digest).await? {
            return Ok(());
        }
        self.list_under_tag(&subject.digest, parsed.as_referrer(&manifest.descriptor)).await
    }

    async fn tag(&self, tag: &Tag, manifest: &Fetched) -> Result<(), Error> {
        let answer = self.put_manifest_at(tag.as_str(), manifest, None).await?;
        if answer.status().is_success() {
            return Ok(());
        }
        Err(self.refused(&format!("setting the tag {tag}"), answer).await)
    }

    async fn referrers(&self, subject: &Digest, artifact_type: Option<&str>) -> Result<Vec<Descriptor>, Error> {
        self.list_referrers(subject, artifact_type).await
    }

    async fn tags(&self) -> Result<Vec<Tag>, Error> {
        #[derive(Deserialize)]
        struct Listed {
            #[serde(default)]
            tags: Option<Vec<String>>,
        }
        let mut all = Vec::new();
        let what = "its tags";
        let mut pages = self.pages(self.path("tags/list?n=500")?, what, None);
        while let Some(page) = pages.next(self).await? {
            let Some(page) = page else { return Err(self.not_found("such repository")) };
            let listed: Listed = serde_json::from_slice(&page).map_err(|e| self.answer(what, e.to_string()))?;
            all.extend(listed.tags.unwrap_or_default().iter().filter_map(|tag| tag.parse::<Tag>().ok()));
            if all.len() > limits::TAGS {
                return Err(Error::limit(format!("the number of tags of {}", self.name()), limits::TAGS.to_string()));
            }
        }
        Ok(all)
    }
}

/// Pages of a listing, by the `Link` header.
struct Pages {
    next: Option<Url>,
    seen: Vec<Url>,
    what: String,
    accept: Option<&'static str>,
    /// The code of a 404.
    said: Option<String>,
}

impl Registry {
    fn pages(&self, first: Url, what: &str, accept: Option<&'static str>) -> Pages {
        Pages { next: Some(first), seen: Vec::new(), what: what.to_owned(), accept, said: None }
    }
}

impl Pages {
    /// The next page: `None` at the end, `Some(None)` for a 404 at the first.
    async fn next(&mut self, registry: &Registry) -> Result<Option<Option<Bytes>>, Error> {
        let Some(url) = self.next.take() else { return Ok(None) };
        if self.seen.contains(&url) {
            return Err(registry.answer(&self.what, "with pages in a circle"));
        }
        if self.seen.len() >= limits::PAGES {
            return Err(Error::limit(format!("the number of pages of {}", self.what), limits::PAGES.to_string()));
        }
        let mut ask = Ask::new(Method::GET, url.clone(), registry.pull(), &self.what);
        ask.headers.extend(self.accept.map(|accept| (header::ACCEPT, accept.to_owned())));
        let answer = registry.http.send(&registry.name(), &ask).await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND if self.seen.is_empty() => {
                // A word that cannot be read is none.
                let body = registry.http.body(&registry.name(), &self.what, answer, limits::ANSWER_BYTES).await;
                self.said = first_error(&body.unwrap_or_default()).map(|error| error.code);
                return Ok(Some(None));
            }
            other => return Err(registry.answer(&self.what, format!("status {other}"))),
        }
        if let Some(accept) = self.accept {
            let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
            if kind.split(';').next().unwrap_or_default().trim() != accept {
                let kind: String = kind.chars().take(80).collect();
                return Err(registry.answer(&self.what, format!("with {kind:?} instead of {accept}")));
            }
        }
        if let Some(link) = answer.headers().get(header::LINK).and_then(|v| v.to_str().ok()).and_then(next_link) {
            let target = url.join(&link).map_err(|_| registry.answer(&self.what, "with a Link that is no address"))?;
            // Credentials go with the request: another host must not get them, nor be called at a registry's word.
            if target.origin() != url.origin() {
                return Err(registry.answer(&self.what, "with a Link to another host"));
            }
            self.next = Some(target);
        }
        self.seen.push(url);
        let body = registry.http.body(&registry.name(), &self.what, answer, limits::MANIFEST_BYTES).await?;
        Ok(Some(Some(body)))
    }
}

/// The target of `rel="next"` in a `Link` header (RFC 8288).
fn next_link(header: &str) -> Option<String> {
    header.split(',').find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let next = parameters.split(';').any(|p| {
            let p = p.trim().to_ascii_lowercase();
            p == "rel=next" || p == "rel=\"next\""
        });
        next.then(|| target.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links() {
        assert_eq!(
            next_link("</v2/a/referrers/x?n=1&last=b>; rel=\"next\""),
            Some("/v2/a/referrers/x?n=1&last=b".into())
        );
        assert_eq!(next_link("<a>; rel=prev, <b>; rel=next"), Some("b".into()));
        assert_eq!(next_link("<a>; rel=prev"), None);
        assert_eq!(next_link("rubbish"), None);
    }

    #[test]
    fn this_machine_speaks_http() {
        for (host, this) in [
            ("localhost:5000", true),
            ("127.0.0.1:1", true),
            ("[::1]:5000", true),
            ("a.b:5000", false),
            ("10.0.0.1:1", false),
        ] {
            assert_eq!(is_this_machine(host), this, "{host}");
        }
    }

    #[test]
    fn what_a_registry_says_is_cut() {
        assert_eq!(said(br#"{"errors":[{"code":"DENIED","message":"no\nway"}]}"#), ": DENIED noway");
        assert_eq!(said(b"<html>"), "");
    }
}
