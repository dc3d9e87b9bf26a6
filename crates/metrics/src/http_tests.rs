//! Both sources against peers that misbehave.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use controller::MetricError;
use model::Timestamp;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::{Allowed, PrometheusSource, Secret, SourceConfig, WebSource, prometheus, web};

/// What a peer does with every request.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Answers with these bytes, whole response.
    Raw(Vec<u8>),
    /// Answers 200 with a JSON body.
    Json(String),
    /// Answers 200 with this where buckets are asked for, and else with no series.
    Counters(String),
    /// Reads and never answers.
    Hang,
    /// A byte of body every 50 ms, for ever.
    Drip,
    /// A body without end, without a length.
    Endless,
    /// Closes at once.
    Close,
    /// Answers 200 with the request itself as a JSON string.
    Echo,
}

/// A peer on a port of its own, until dropped.
pub(crate) struct Peer {
    pub(crate) url: String,
    pub(crate) requests: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Peer {
    pub(crate) async fn start(reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicU64::new(0));
        let count = requests.clone();
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (reply, count) = (reply.clone(), count.clone());
                tokio::spawn(async move {
                    let request = read_request(&mut stream).await;
                    count.fetch_add(1, Ordering::SeqCst);
                    let json = |body: &str| {
                        format!(
                            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                            body.len()
                        )
                    };
                    const OPEN: &[u8] = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
                    // A client that has gone away is part of these tests.
                    let _ = match reply {
                        Reply::Raw(bytes) => stream.write_all(&bytes).await,
                        Reply::Json(body) => stream.write_all(json(&body).as_bytes()).await,
                        Reply::Counters(body) => {
                            const NONE: &str = r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;
                            let body = if request.contains("buckets") { body.as_str() } else { NONE };
                            stream.write_all(json(body).as_bytes()).await
                        }
                        Reply::Echo => stream.write_all(json(&Value::String(request).to_string()).as_bytes()).await,
                        Reply::Close => Ok(()),
                        Reply::Hang => {
                            let mut rest = Vec::new();
                            stream.read_to_end(&mut rest).await.map(drop)
                        }
                        Reply::Drip => {
                            let mut sent = stream.write_all(OPEN).await;
                            while sent.is_ok() {
                                tokio::time::sleep(Duration::from_millis(50)).await;
                                sent = stream.write_all(b" ").await;
                            }
                            sent
                        }
                        Reply::Endless => {
                            let mut sent = stream.write_all(OPEN).await;
                            while sent.is_ok() {
                                sent = stream.write_all(&[b' '; 65_536]).await;
                            }
                            sent
                        }
                    };
                });
            }
        });
        Self { url, requests, task }
    }
}

async fn read_request(stream: &mut tokio::net::TcpStream) -> String {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .filter_map(|l| l.split_once(':'))
                .find(|(k, _)| k.eq_ignore_ascii_case("content-length"))
                .map_or(0, |(_, v)| v.trim().parse::<usize>().unwrap());
            if body.len() >= length {
                return text;
            }
        }
        match stream.read(&mut buffer).await {
            Ok(n) if n > 0 => request.extend_from_slice(&buffer[..n]),
            _ => return text,
        }
    }
}

pub(crate) fn allow(url: &str) -> Allowed {
    let headers = BTreeMap::from([("Authorization".to_owned(), Secret::new("Bearer hunter2"))]);
    Allowed::new(&BTreeMap::from([("peer".to_owned(), SourceConfig { url: url.to_owned(), headers })])).unwrap()
}

fn prometheus_ask(address: &str) -> prometheus::Ask<'_> {
    prometheus::Ask { address, query: "up", range: None, headers: Vec::new(), timeout: Duration::from_millis(700) }
}

fn web_ask(url: &str) -> web::Ask<'_> {
    web::Ask { url, method: "GET", headers: Vec::new(), body: None, json_path: "", timeout: Duration::from_millis(700) }
}

fn now() -> Timestamp {
    Timestamp::from_millis(1_790_000_000_000)
}

/// Both sources must fail in this way, soon, without showing the credentials.
async fn check(name: &str, reply: Reply, expected: fn(&MetricError) -> bool) {
    let peer = Peer::start(reply).await;
    let begun = Instant::now();
    let errors = [
        PrometheusSource::new(allow(&peer.url)).ask(prometheus_ask("peer"), now()).await.map(|a| a.value),
        WebSource::new(allow(&peer.url))
            .ask(web::Ask { json_path: "{$.data}", ..web_ask("peer") })
            .await
            .map(|a| a.value),
    ];
    for error in errors {
        let error = error.expect_err(name);
        assert!(expected(&error), "{name}: {error:?}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{name}: {error:?}");
        assert!(error.to_string().len() < 600, "{name}: {error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{name} took {:?}", begun.elapsed());
}

#[tokio::test]
async fn hostile_peers() {
    use MetricError::{Answered, Unreachable, Unreadable};
    let raw = |text: &str| Reply::Raw(text.as_bytes().to_vec());
    check("hangs", Reply::Hang, |e| matches!(e, Unreachable(..))).await;
    check("drips", Reply::Drip, |e| matches!(e, Unreachable(..))).await;
    check("closes", Reply::Close, |e| matches!(e, Unreachable(..))).await;
    check("endless", Reply::Endless, |e| matches!(e, Unreadable(_, why) if why.contains("larger"))).await;
    check(
        "announces a terabyte",
        raw("HTTP/1.1 200 OK\r\ncontent-length: 1099511627776\r\n\r\n"),
        |e| matches!(e, Unreadable(_, why) if why.contains("larger")),
    )
    .await;
    check(
        "redirects",
        raw("HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n"),
        |e| matches!(e, Answered(_, why) if why.contains("redirects")),
    )
    .await;
    check(
        "500",
        raw("HTTP/1.1 500 Oops\r\ncontent-length: 4\r\n\r\noops"),
        |e| matches!(e, Answered(_, why) if why.contains("500")),
    )
    .await;
    check("not HTTP", raw("SSH-2.0-OpenSSH_9.2\r\n"), |e| matches!(e, Unreachable(..))).await;
    check("HTML", Reply::Json("<html>sign in</html>".to_owned()), |e| matches!(e, Unreadable(..))).await;
    check("deep", Reply::Json("[".repeat(200_000)), |e| matches!(e, Unreadable(..))).await;
    check("other JSON", Reply::Json("{\"a\":1}".to_owned()), |e| matches!(e, Unreadable(..))).await;
    check(
        "compressed",
        raw("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\n\x1f\x08\x00"),
        |e| matches!(e, Unreadable(..)),
    )
    .await;
}

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = PrometheusSource::new(allow(&url)).ask(prometheus_ask("peer"), now()).await.unwrap_err();
    assert!(matches!(&error, MetricError::Unreachable(_, why) if why.contains("no connection")), "{error:?}");
}

#[tokio::test]
async fn what_is_not_allowed_is_never_asked() {
    let (allowed, other) = (Peer::start(Reply::Echo).await, Peer::start(Reply::Echo).await);
    let source = WebSource::new(allow(&allowed.url));
    let error = source.ask(web_ask(&other.url)).await.unwrap_err();
    assert!(matches!(error, MetricError::NotAllowed(_)), "{error:?}");
    assert_eq!(other.requests.load(Ordering::SeqCst), 0);
    source.ask(web_ask(&allowed.url)).await.unwrap();
    assert_eq!(allowed.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_prometheus_request_as_sent() {
    let peer =
        Peer::start(Reply::Json(r#"{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}"#.to_owned()))
            .await;
    let source = PrometheusSource::new(allow(&peer.url));
    let answer = source.ask(prometheus_ask("peer"), now()).await.unwrap();
    assert_eq!((answer.value, answer.source), (json!(2.0), format!("{}/", peer.url)));

    let echo = Peer::start(Reply::Echo).await;
    let source = WebSource::new(allow(&echo.url));
    let path = format!("{}/check?x=1", echo.url);
    let ask = web::Ask {
        method: "POST",
        headers: vec![("x-scope-orgid", "7")],
        body: Some(web::Body::Json(&json!({"a": 1}))),
        ..web_ask(&path)
    };
    let answer = source.ask(ask).await.unwrap();
    assert_eq!(answer.source, format!("{}/check", echo.url), "no query in the source's name");
    let request = answer.value.as_str().unwrap().to_lowercase();
    for part in [
        "post /check?x=1 http/1.1",
        "authorization: bearer hunter2",
        "x-scope-orgid: 7",
        "content-type: application/json",
        "{\"a\":1}",
        "user-agent: deliveryos/",
    ] {
        assert!(request.contains(part), "{part} in {request}");
    }
    let refused = source.ask(web::Ask { method: "DELETE", ..web_ask("peer") }).await.unwrap_err();
    assert!(matches!(refused, MetricError::NotSupported(_)), "{refused:?}");
    let refused = source.ask(web::Ask { json_path: "{$..a}", ..web_ask("peer") }).await.unwrap_err();
    assert!(matches!(&refused, MetricError::NotSupported(why) if why.contains("recursive")), "{refused:?}");
}

fn prometheus(address: &str) -> rollout::Provider {
    rollout::Provider::Prometheus(rollout::recipe::Prometheus {
        address: address.to_owned(),
        query: "up".to_owned(),
        range: None,
        headers: Vec::new(),
        timeout_ms: None,
    })
}

fn web(url: &str) -> rollout::Provider {
    rollout::Provider::Web(rollout::recipe::Web {
        url: url.to_owned(),
        method: "GET".to_owned(),
        headers: Vec::new(),
        body: None,
        json_path: "{$.data.result[1]}".to_owned(),
        timeout_ms: None,
    })
}

/// Peers for the conformance suite: one that answers, hangs, is down, garbles, and one that is not allowed.
async fn subject(
    source: fn(Allowed) -> Arc<dyn controller::MetricSource>,
    provider: fn(&str) -> rollout::Provider,
    foreign: rollout::Provider,
    counts: bool,
) -> controller::conformance::MetricSubject {
    let answers =
        Peer::start(Reply::Json(r#"{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}"#.to_owned()))
            .await;
    const MATRIX: &str = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"le":"0.1"},"values":[[1790000000,"1"]]},{"metric":{"le":"+Inf"},"values":[[1790000000,"2"]]}]}}"#;
    let counted = Peer::start(Reply::Counters(MATRIX.to_owned())).await;
    let (hangs, garbles, forbidden) = (
        Peer::start(Reply::Hang).await,
        Peer::start(Reply::Json("<html>".to_owned())).await,
        Peer::start(Reply::Hang).await,
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let down = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let sources = [("a", &answers.url), ("c", &counted.url), ("h", &hangs.url), ("d", &down), ("g", &garbles.url)]
        .map(|(name, url)| (name.to_owned(), SourceConfig { url: url.clone(), headers: BTreeMap::new() }));
    controller::conformance::MetricSubject {
        source: source(Allowed::new(&BTreeMap::from(sources)).unwrap()),
        answers: provider(&answers.url),
        hangs: provider("h"),
        down: provider(&down),
        garbles: provider("g"),
        forbidden: provider(&forbidden.url),
        foreign,
        counters: counts.then(|| controller::conformance::CounterSubject {
            answers: counted.url.clone(),
            hangs: "h".to_owned(),
            down,
            garbles: "g".to_owned(),
            forbidden: forbidden.url.clone(),
        }),
        keep: Box::new((answers, counted, hangs, garbles, forbidden)),
    }
}

#[tokio::test]
async fn both_keep_the_contract() {
    use controller::conformance::metric_source;
    metric_source(|| subject(|a| Arc::new(PrometheusSource::new(a)), prometheus, web("a"), true)).await;
    metric_source(|| subject(|a| Arc::new(WebSource::new(a)), web, prometheus("a"), false)).await;
}
