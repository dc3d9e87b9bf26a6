//! Nonsense of every kind at every door: refused in words, never an error of ours, and nothing happens.

use access::Role;
use axum::{
    body::Body,
    http::{HeaderValue, Method, StatusCode, header},
};
use futures::StreamExt as _;
use server::router::inventory;

use crate::support::{ORIGIN, Server, request, text};

/// Pieces of paths and queries, as they stand in an address.
const PIECES: [&str; 18] = [
    "%00",
    "%ff%fe",
    "%F0%9F%92%A9",
    "..%2f..%2fetc%2fpasswd",
    "....//....//etc/passwd",
    "-1",
    "18446744073709551615",
    "18446744073709551616",
    "1e9",
    "0x10",
    "%27%20OR%201%3D1--",
    "%3Cscript%3Ealert(1)%3C%2Fscript%3E",
    "checkout-99999999999999999999",
    "sha256:zz",
    "sha256%3A0000000000000000000000000000000000000000000000000000000000000000",
    "%E2%80%AE",
    "{id}",
    "%0d%0aset-cookie:%20a=b",
];

fn is_known_no(status: StatusCode) -> bool {
    !status.is_server_error()
}

#[tokio::test]
async fn no_address_is_an_error_of_ours() {
    let server = Server::start().await;
    server.append("one").await;
    let token = server.token(Role::Admin).await;
    let long = "a".repeat(5_000);
    let pieces = || PIECES.iter().copied().chain([long.as_str()]);
    let mut paths: Vec<String> = Vec::new();
    for route in inventory().into_iter().filter(|route| route.method == Method::GET && route.path != "/events") {
        for piece in pieces() {
            let mut path = route.path.clone();
            for name in ["{id}", "{index}", "{digest}", "{*path}", "{release}"] {
                path = path.replace(name, piece);
            }
            paths.push(path.clone());
            paths.push(format!(
                "{path}?limit={piece}&before={piece}&kind={piece}&after={piece}&release={piece}&next={piece}"
            ));
        }
    }
    for tile in [
        "0/x001",
        "0/1",
        "64/000",
        "0/x036/x028/x797/x018/x963/968",
        "entries/x001/x002",
        "0/000.p/0",
        "0/000.p/256",
        "0/000.p/257",
        "-1/000",
        "data/000",
        "",
    ] {
        paths.push(format!("/tile/{tile}"));
    }
    for path in paths {
        // What is no address at all is refused by the server's own parser.
        let Ok(sent) =
            request(Method::GET, &path).header(header::AUTHORIZATION, format!("Bearer {token}")).body(Body::empty())
        else {
            continue;
        };
        let response = server.send(sent).await;
        assert!(is_known_no(response.status()), "{path}: {}", response.status());
        assert!(!response.headers().contains_key(header::SET_COOKIE), "{path}");
        let said =
            String::from_utf8_lossy(&http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes())
                .into_owned();
        assert!(!said.contains("<script>alert(1)"), "{path}: markup comes back: {said}");
    }
}

#[tokio::test]
async fn no_header_is_an_error_of_ours() {
    let server = Server::start().await;
    let session = server.session(Role::Admin).await;
    let cookie = &server.cookie;
    let many = (0..5_000).map(|n| format!("c{n}=v")).collect::<Vec<_>>().join("; ");
    let cookies: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b";;;===".to_vec(),
        cookie.to_string().into_bytes(),
        format!("{cookie}=").into_bytes(),
        format!("{cookie}=\"").into_bytes(),
        format!("{cookie}={}", "A".repeat(60_000)).into_bytes(),
        [format!("{cookie}=").as_bytes(), b"\xff\xfe"].concat(),
        format!("{cookie}=wrong; {cookie}={}", session.secret).into_bytes(),
        many.into_bytes(),
    ];
    for value in cookies {
        let sent =
            request(Method::GET, "/api/v1/releases").header(header::COOKIE, HeaderValue::from_bytes(&value).unwrap());
        let status = server.send(sent.body(Body::empty()).unwrap()).await.status();
        assert!(is_known_no(status), "cookie {}: {status}", String::from_utf8_lossy(&value[..value.len().min(80)]));
    }
    for value in [&b"Bearer"[..], b"Bearer ", b"bearer \xff", b"Basic YTpi", b"Bearer dlv_token_", b"Bearer a b c"] {
        let sent = request(Method::GET, "/api/v1/releases")
            .header(header::AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        let status = server.send(sent.body(Body::empty()).unwrap()).await.status();
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{}", String::from_utf8_lossy(value));
    }
}

#[tokio::test]
async fn no_body_is_an_error_of_ours() {
    let server = Server::start().await;
    let session = server.session(Role::Admin).await;
    let deep = "[".repeat(100_000);
    let deep_object = "{\"a\":".repeat(50_000);
    let bodies: Vec<Vec<u8>> = vec![
        vec![],
        b"null".to_vec(),
        b"[]".to_vec(),
        b"{".to_vec(),
        b"\xff\xfe\x00".to_vec(),
        b"=&=&%zz&%".to_vec(),
        b"release=a-1&release=b-1&kind=abort&kind=retry&command_id=1&form_token=x".to_vec(),
        b"release=checkout-1&kind=explode&command_id=0123456789".to_vec(),
        b"release=..%2F..&kind=abort&command_id=0123456789".to_vec(),
        b"{\"id\":\"0123456789\",\"id\":\"0123456789\"}".to_vec(),
        b"{\"id\":1e400}".to_vec(),
        deep.into_bytes(),
        deep_object.into_bytes(),
    ];
    for route in inventory().into_iter().filter(|route| route.method == Method::POST && route.path != "/logout") {
        let path = route.path.replace("{id}", "checkout-1");
        for body in &bodies {
            for media_type in
                ["application/json", "application/x-www-form-urlencoded", "text/plain", "multipart/form-data"]
            {
                let form = [body.as_slice(), format!("&form_token={}", session.form_token).as_bytes()].concat();
                let sent = request(Method::POST, &path)
                    .header(header::ORIGIN, ORIGIN)
                    .header(header::COOKIE, format!("{}={}", server.cookie, session.secret))
                    .header("x-form-token", &session.form_token)
                    .header(header::CONTENT_TYPE, media_type);
                let is_form = media_type == "application/x-www-form-urlencoded";
                let response =
                    server.send(sent.body(Body::from(if is_form { form } else { body.clone() })).unwrap()).await;
                let status = response.status();
                let said = text(response).await;
                let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
                assert!(is_known_no(status), "{path} {media_type} {shown:?}: {status} {said}");
                assert!(!said.contains(&session.secret), "{path} {media_type} {shown:?}: {said}");
            }
        }
    }
    assert_eq!(server.reached.count(), 0, "nothing of it was a command");
}

/// A release goes where its service runs, and a reason reads as it is written, wherever its record is shown.
#[tokio::test]
async fn another_environment_and_a_hidden_reason_are_refused_in_words() {
    let server = Server::start().await;
    let token = server.token(Role::Operator).await;
    let start =
        |more: &str| format!(r#"{{"id":"0123456789","service":"checkout","version":"v2","recipe":"x",{more}}}"#);
    let order = |reason: &str| format!(r#"{{"id":"0123456789","command":"abort","reason":"{reason}"}}"#);
    for (path, body, status, why) in [
        (
            "/api/v1/releases",
            start(r#""environment":"nowhere""#),
            StatusCode::CONFLICT,
            "checkout runs in production here, not in nowhere",
        ),
        ("/api/v1/releases", start(r#""reason":"\u001b[31m""#), StatusCode::BAD_REQUEST, "U+001B"),
        ("/api/v1/releases/checkout-1/commands", order(r"one\ntwo"), StatusCode::BAD_REQUEST, "U+000A"),
        ("/api/v1/releases/checkout-1/commands", order(r"\u202evil"), StatusCode::BAD_REQUEST, "U+202E"),
    ] {
        let sent = request(Method::POST, path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.clone()));
        let response = server.send(sent.unwrap()).await;
        let (found, said) = (response.status(), text(response).await);
        assert!(found == status && said.contains(why), "{path} {body}: {found} {said}");
    }
    assert_eq!(server.reached.count(), 0, "nothing of it was a command");
}

/// A place that this log has not reached: after the database was put back, say. What comes is told all the same.
#[tokio::test]
async fn a_stream_from_beyond_the_end_tells_what_comes() {
    let server = Server::start().await;
    server.append("one").await;
    let token = server.token(Role::Viewer).await;
    for after in ["999", "18446744073709551615"] {
        let sent = request(Method::GET, &format!("/events?after={after}"))
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header("last-event-id", after);
        let response = server.send(sent.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK);
        let mut stream = response.into_body().into_data_stream();
        let index = server.append(after).await;
        let found = tokio::time::timeout(std::time::Duration::from_secs(20), async {
            while let Some(chunk) = stream.next().await {
                if String::from_utf8_lossy(&chunk.unwrap()).contains(&format!("id: {index}\n")) {
                    return true;
                }
            }
            false
        });
        assert!(found.await.unwrap_or(false), "after {after}: receipt {index} is told");
    }
}
