//! A registry that keeps images in memory and misbehaves on demand: it pages, ignores filters, says 429, forgets headers, moves tags between
//! calls and changes bytes. Real ones do each of these things.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, Method, Response, StatusCode, header},
};
use http_body_util::BodyExt as _;
use model::Digest;
use serde_json::{Value, json};

use crate::{Contents, INDEX, Manifest, digest_of};

/// What it does wrong.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// It has no referrers API (as docker-registry 2).
    pub no_referrers_api: bool,
    /// It has the API as go-containerregistry has it: a write does not say so, a list has the configuration's type for the artifact's, and a
    /// repository in which nothing is has no list.
    pub quiet_referrers_api: bool,
    /// Referrers on one page; the rest behind `Link`.
    pub page_size: Option<usize>,
    /// Its pages lead back to the first one.
    pub endless_pages: bool,
    /// Its `Link` leads to this address.
    pub foreign_link: Option<String>,
    /// It answers every n-th request with 429.
    pub busy_every: Option<u64>,
    /// What it then says in `Retry-After`.
    pub retry_after: Option<String>,
    /// Every request is answered with 429.
    pub always_busy: bool,
    /// Referrers are answered with this status.
    pub referrers_status: Option<u16>,
    /// It answers a manifest's PUT without `Location`.
    pub no_location: bool,
    /// It answers an upload's POST without `Location`.
    pub no_upload_location: bool,
    /// A tag that names another digest each time it is asked for.
    pub flip: Option<(String, Vec<Digest>)>,
    /// Bytes of this digest come changed.
    pub tamper: Option<Digest>,
    /// It wants a token for this name and password.
    pub login: Option<(String, String)>,
    /// It honours `If-Match` and `If-None-Match` on manifests.
    pub conditional: bool,
    /// It answers the referrers tag with the image itself.
    pub referrers_tag_is_image: bool,
    /// It lists these as referrers of everything.
    pub extra_referrers: Vec<Value>,
    /// It answers referrers with this body as `text/html`.
    pub html_referrers: bool,
    /// It accepts this manifest and does not keep it.
    pub forget: Option<Digest>,
    /// Takes no blob over from another repository.
    pub no_mount: bool,
}

/// What it keeps.
#[derive(Default)]
struct Kept {
    blobs: HashMap<Digest, Bytes>,
    /// By repository.
    manifests: HashMap<(String, Digest), (String, Bytes)>,
    tags: BTreeMap<(String, String), Digest>,
    flips: usize,
    requests: u64,
    uploads: u64,
    log: Vec<String>,
}

/// Called with what was just done (`blob sha256:…`, `manifest sha256:…`, `tag v1`), or is about to be answered (`read sha256:…`: a blob).
pub type Hook = Arc<dyn Fn(&str) + Send + Sync>;

#[derive(Clone)]
struct App {
    kept: Arc<Mutex<Kept>>,
    faults: Arc<Mutex<Faults>>,
    hook: Arc<Mutex<Option<Hook>>>,
    address: SocketAddr,
}

/// The running registry; it ends when this is dropped.
pub struct Hostile {
    app: App,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The token that it gives.
const TOKEN: &str = "a-token-that-expires";

impl Hostile {
    /// Starts one on a free port of this machine.
    pub async fn start(faults: Faults) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let app = App {
            kept: Arc::default(),
            faults: Arc::new(Mutex::new(faults)),
            hook: Arc::default(),
            address: listener.local_addr().unwrap(),
        };
        let router = Router::new().fallback(answer).with_state(app.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { app, task }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.app.address.to_string()
    }

    /// Changes what it does wrong.
    pub fn change(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.app.faults.lock().unwrap());
    }

    /// Is told what is read and written.
    pub fn hook(&self, hook: Hook) {
        *self.app.hook.lock().unwrap() = Some(hook);
    }

    /// `METHOD path` of every request.
    pub fn log(&self) -> Vec<String> {
        self.app.kept().log.clone()
    }

    /// What a tag names.
    pub fn tagged(&self, repository: &str, tag: &str) -> Option<Digest> {
        self.app.kept().tags.get(&(repository.to_owned(), tag.to_owned())).cloned()
    }

    /// Digests of the blobs that it keeps.
    pub fn blobs(&self) -> Vec<Digest> {
        self.app.kept().blobs.keys().cloned().collect()
    }

    /// Whether it keeps a manifest.
    pub fn has_manifest(&self, repository: &str, digest: &Digest) -> bool {
        self.app.kept().manifests.contains_key(&(repository.to_owned(), digest.clone()))
    }
}

impl App {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap()
    }

    fn tell(&self, what: &str) {
        let hook = self.hook.lock().unwrap().clone();
        if let Some(hook) = hook {
            hook(what);
        }
    }
}

fn plain(status: u16) -> Response<Body> {
    Response::builder().status(status).body(Body::empty()).unwrap()
}

fn error(status: u16, code: &str) -> Response<Body> {
    let body = json!({ "errors": [{ "code": code, "message": code.to_lowercase() }] }).to_string();
    Response::builder().status(status).header(header::CONTENT_TYPE, "application/json").body(body.into()).unwrap()
}

async fn answer(State(app): State<App>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let faults = app.faults.lock().unwrap().clone();
    let path = parts.uri.path().to_owned();
    let query: HashMap<String, String> =
        url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let number = {
        let mut kept = app.kept();
        kept.requests += 1;
        kept.log.push(format!("{} {path}", parts.method));
        kept.requests
    };
    if faults.always_busy || faults.busy_every.is_some_and(|n| number % n == 0) {
        let mut busy = error(429, "TOOMANYREQUESTS");
        if let Some(wait) = &faults.retry_after {
            busy.headers_mut().insert(header::RETRY_AFTER, wait.parse().unwrap());
        }
        return busy;
    }
    if path == "/token" {
        return token(&faults, &parts.headers);
    }
    let allowed = parts
        .headers
        .get(header::AUTHORIZATION)
        .is_some_and(|v| v.to_str().unwrap_or_default() == format!("Bearer {TOKEN}"));
    if faults.login.is_some() && !allowed {
        let mut no = error(401, "UNAUTHORIZED");
        let challenge = format!("Bearer realm=\"http://{}/token\",service=\"hostile\"", app.address);
        no.headers_mut().insert(header::WWW_AUTHENTICATE, challenge.parse().unwrap());
        return no;
    }
    let Some(rest) = path.strip_prefix("/v2/") else { return error(404, "NAME_UNKNOWN") };
    if rest.is_empty() {
        // Others ask this first.
        return plain(200);
    }
    let split = |word: &str| rest.split_once(word).map(|(repository, rest)| (repository.to_owned(), rest.to_owned()));
    if let Some((repository, rest)) = split("/blobs/uploads/") {
        return upload(&app, &faults, &parts.method, &repository, &rest, &query, body).await;
    }
    if let Some((_, digest)) = split("/blobs/") {
        return blob(&app, &faults, &parts.method, &digest);
    }
    if let Some((repository, named)) = split("/manifests/") {
        let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        return manifest(&app, &faults, &parts.method, &repository, &named, &parts.headers, bytes);
    }
    if let Some((repository, subject)) = split("/referrers/") {
        return referrers(&app, &faults, &repository, &subject, &query);
    }
    if let Some((repository, _)) = split("/tags/list") {
        let kept = app.kept();
        let tags: Vec<&String> = kept.tags.keys().filter(|(r, _)| *r == repository).map(|(_, tag)| tag).collect();
        if tags.is_empty() && !kept.manifests.keys().any(|(r, _)| *r == repository) {
            return error(404, "NAME_UNKNOWN");
        }
        return Response::new(json!({ "name": repository, "tags": tags }).to_string().into());
    }
    error(404, "UNSUPPORTED")
}

fn token(faults: &Faults, headers: &HeaderMap) -> Response<Body> {
    use base64::Engine as _;
    let (user, password) = faults.login.clone().unwrap_or_default();
    let wanted = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    let given = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if given != format!("Basic {wanted}") {
        return error(401, "UNAUTHORIZED");
    }
    Response::new(json!({ "token": TOKEN }).to_string().into())
}

async fn upload(
    app: &App,
    faults: &Faults,
    method: &Method,
    repository: &str,
    session: &str,
    query: &HashMap<String, String>,
    body: Body,
) -> Response<Body> {
    match *method {
        Method::POST => {
            let mounted = query.get("mount").and_then(|d| d.parse::<Digest>().ok());
            if mounted.is_some_and(|digest| app.kept().blobs.contains_key(&digest)) && !faults.no_mount {
                return plain(201);
            }
            let mut kept = app.kept();
            kept.uploads += 1;
            let mut begun = plain(202);
            if !faults.no_upload_location {
                let location = format!("/v2/{repository}/blobs/uploads/{}?state=x", kept.uploads);
                begun.headers_mut().insert(header::LOCATION, location.parse().unwrap());
            }
            begun
        }
        Method::PUT if !session.is_empty() => {
            // The client went away in the middle: nothing is kept.
            let Ok(bytes) = body.collect().await.map(http_body_util::Collected::to_bytes) else { return plain(400) };
            let digest = digest_of(&bytes);
            if query.get("digest").map(String::as_str) != Some(digest.as_str()) {
                return error(400, "DIGEST_INVALID");
            }
            app.kept().blobs.insert(digest.clone(), bytes);
            app.tell(&format!("blob {digest}"));
            plain(201)
        }
        _ => plain(405),
    }
}

fn blob(app: &App, faults: &Faults, method: &Method, digest: &str) -> Response<Body> {
    let Ok(digest) = digest.parse::<Digest>() else { return error(400, "DIGEST_INVALID") };
    let Some(bytes) = app.kept().blobs.get(&digest).cloned() else { return error(404, "BLOB_UNKNOWN") };
    let bytes = tampered(faults, &digest, bytes);
    if *method == Method::GET {
        app.tell(&format!("read {digest}"));
    }
    let answer = Response::builder().header(header::CONTENT_LENGTH, bytes.len());
    answer.body(if *method == Method::HEAD { Body::empty() } else { bytes.into() }).unwrap()
}

fn tampered(faults: &Faults, digest: &Digest, bytes: Bytes) -> Bytes {
    if faults.tamper.as_ref() != Some(digest) {
        return bytes;
    }
    // One bit: a manifest stays JSON by changing a letter of a string to another.
    let mut changed = bytes.to_vec();
    let at = changed.iter().rposition(|b| b.is_ascii_digit()).unwrap_or(0);
    changed[at] ^= 1;
    changed.into()
}

fn manifest(
    app: &App,
    faults: &Faults,
    method: &Method,
    repository: &str,
    named: &str,
    headers: &HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let mut kept = app.kept();
    let key = (repository.to_owned(), named.to_owned());
    if *method == Method::PUT {
        let there = kept.tags.get(&key).cloned();
        if faults.conditional {
            let wanted = headers.get(header::IF_MATCH).and_then(|v| v.to_str().ok());
            let stale = wanted.is_some_and(|w| there.as_ref().is_none_or(|d| w != format!("\"{d}\"")));
            if stale || (headers.contains_key(header::IF_NONE_MATCH) && there.is_some()) {
                return error(412, "PRECONDITION_FAILED");
            }
        }
        let media_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        let digest = digest_of(&body);
        let Ok(parsed) = Manifest::parse(&media_type, &body, &digest) else { return error(400, "MANIFEST_INVALID") };
        let has = |d: &Digest| kept.manifests.contains_key(&(repository.to_owned(), d.clone()));
        let complete = parsed.blobs().all(|b| kept.blobs.contains_key(&b.digest))
            && parsed.children().iter().all(|c| has(&c.digest));
        if !complete {
            return error(404, "MANIFEST_BLOB_UNKNOWN");
        }
        let by_digest = named.parse::<Digest>().ok();
        if by_digest.as_ref().is_some_and(|d| *d != digest) {
            return error(400, "DIGEST_INVALID");
        }
        if faults.forget.as_ref() != Some(&digest) {
            kept.manifests.insert((repository.to_owned(), digest.clone()), (media_type, body));
        }
        if by_digest.is_none() {
            kept.tags.insert(key, digest.clone());
        }
        drop(kept);
        app.tell(&if by_digest.is_some() { format!("manifest {digest}") } else { format!("tag {named}") });
        let mut created = plain(201);
        let headers = created.headers_mut();
        if !faults.no_location {
            headers.insert(header::LOCATION, format!("/v2/{repository}/manifests/{digest}").parse().unwrap());
            headers.insert(HeaderName::from_static("docker-content-digest"), digest.as_str().parse().unwrap());
        }
        if let (Some(subject), false) = (parsed.subject, faults.no_referrers_api || faults.quiet_referrers_api) {
            headers.insert(HeaderName::from_static("oci-subject"), subject.digest.as_str().parse().unwrap());
        }
        return created;
    }
    let mut digest = named.parse::<Digest>().ok().or_else(|| kept.tags.get(&key).cloned());
    if let Some((tag, flips)) = &faults.flip
        && tag == named
    {
        digest = Some(flips[kept.flips % flips.len()].clone());
        kept.flips += 1;
    }
    if faults.referrers_tag_is_image
        && let Some(hex) = named.strip_prefix("sha256-")
    {
        digest = format!("sha256:{hex}").parse().ok();
    }
    let found =
        digest.and_then(|digest| Some((digest.clone(), kept.manifests.get(&(repository.to_owned(), digest))?.clone())));
    let Some((digest, (media_type, bytes))) = found else { return error(404, "MANIFEST_UNKNOWN") };
    let bytes = tampered(faults, &digest, bytes);
    Response::builder()
        .header(header::CONTENT_TYPE, media_type)
        .header("docker-content-digest", digest.as_str())
        .header(header::ETAG, format!("\"{digest}\""))
        .body(if *method == Method::HEAD { Body::empty() } else { bytes.into() })
        .unwrap()
}

fn referrers(
    app: &App,
    faults: &Faults,
    repository: &str,
    subject: &str,
    query: &HashMap<String, String>,
) -> Response<Body> {
    if let Some(status) = faults.referrers_status {
        return error(status, "DENIED");
    }
    if faults.no_referrers_api {
        return error(404, "UNSUPPORTED");
    }
    if faults.html_referrers {
        return Response::builder().header(header::CONTENT_TYPE, "text/html").body("<p>hello</p>".into()).unwrap();
    }
    let Ok(subject) = subject.parse::<Digest>() else { return error(400, "DIGEST_INVALID") };
    let kept = app.kept();
    if faults.quiet_referrers_api && !kept.manifests.keys().any(|(r, _)| r == repository) {
        return error(404, "NAME_UNKNOWN");
    }
    let mut found: Vec<(Digest, Value)> = Vec::new();
    for ((r, digest), (media_type, bytes)) in &kept.manifests {
        let Ok(parsed) = Manifest::parse(media_type, bytes, digest) else { continue };
        if r == repository && parsed.subject.as_ref().is_some_and(|s| s.digest == subject) {
            let own = crate::Descriptor::of(media_type, bytes);
            let mut listed = parsed.as_referrer(&own);
            if let (Contents::Image { config, .. }, true) = (&parsed.contents, faults.quiet_referrers_api) {
                listed.artifact_type = Some(config.media_type.clone());
            }
            found.push((digest.clone(), serde_json::to_value(listed).unwrap()));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    // No filter is ever applied: many registries ignore `artifactType`.
    let mut all: Vec<Value> = found.into_iter().map(|(_, d)| d).collect();
    all.extend(faults.extra_referrers.clone());
    let from: usize = query.get("from").and_then(|n| n.parse().ok()).unwrap_or(0);
    let size = faults.page_size.unwrap_or(usize::MAX);
    let page: Vec<Value> = all.iter().skip(from).take(size).cloned().collect();
    let mut answer = Response::builder().status(StatusCode::OK).header(header::CONTENT_TYPE, INDEX);
    let next = from.saturating_add(size);
    if let Some(link) = &faults.foreign_link {
        answer = answer.header(header::LINK, format!("<{link}>; rel=\"next\""));
    } else if faults.endless_pages {
        answer = answer.header(header::LINK, format!("</v2/{repository}/referrers/{subject}?from=0>; rel=\"next\""));
    } else if next < all.len() {
        answer =
            answer.header(header::LINK, format!("</v2/{repository}/referrers/{subject}?from={next}>; rel=\"next\""));
    }
    answer.body(json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": page }).to_string().into()).unwrap()
}
