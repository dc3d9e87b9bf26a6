//! Every route that changes something × every attack on it. The routes come from the router's own inventory.

use access::Role;
use axum::{
    body::Body,
    http::{HeaderValue, Method, Request, StatusCode, header},
};
use receipt_log::Log as _;
use server::router::{Need, Route, inventory};

use crate::support::{HOST, ORIGIN, Server, Session, is_refusal, request, text};

/// A path with its parameters filled in.
fn path(route: &Route) -> String {
    let digest = format!("sha256:{}", "0".repeat(64));
    route
        .path
        .replace("{id}", "checkout-1")
        .replace("{index}", "0")
        .replace("{digest}", &digest)
        .replace("{*path}", "entries/000")
}

/// Ids of gate decisions: the same id twice is one decision.
static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1_000_000_000);

/// A body that the route would take, as a form or as JSON.
fn body(route: &Route, form_token: &str) -> (&'static str, String) {
    match route.path.as_str() {
        "/api/v1/releases" => {
            ("application/json", r#"{"id":"0123456789","service":"checkout","version":"v2","recipe":"x"}"#.to_owned())
        }
        "/api/v1/releases/{id}/commands" => ("application/json", r#"{"id":"0123456789","command":"abort"}"#.to_owned()),
        "/api/v1/tokens" => ("application/json", r#"{"name":"ci","role":"viewer","days":1}"#.to_owned()),
        "/api/v1/gates" => (
            "application/json",
            format!(
                r#"{{"id":"{}","service":"checkout","reports":[{{"name":"a.json","base64":"e30="}}]}}"#,
                NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
            ),
        ),
        "/api/v1/promotions" => (
            "application/json",
            format!(
                r#"{{"id":"{}","service":"checkout","environment":"dev","tag":"v1"}}"#,
                NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
            ),
        ),
        "/rekor/api/v2/log/entries" => {
            let (key, _) = attest::SigningKey::generate().unwrap();
            ("application/json", key.file(&mut &b"a file"[..]).unwrap().log_request())
        }
        "/settings/tokens" => {
            ("application/x-www-form-urlencoded", format!("name=ci&role=viewer&days=1&form_token={form_token}"))
        }
        _ => (
            "application/x-www-form-urlencoded",
            format!("release=checkout-1&kind=abort&reason=&command_id=0123456789&form_token={form_token}"),
        ),
    }
}

struct Sent<'a> {
    method: Option<Method>,
    origin: Option<&'a str>,
    site: Option<&'a str>,
    host: &'a str,
    session: Option<&'a Session>,
    bearer: Option<&'a str>,
    form_token: Option<&'a str>,
}

impl<'a> Sent<'a> {
    /// As a page of ours sends it.
    fn proper(session: &'a Session) -> Self {
        Self {
            method: None,
            origin: Some(ORIGIN),
            site: Some("same-origin"),
            host: HOST,
            session: Some(session),
            bearer: None,
            form_token: Some(&session.form_token),
        }
    }

    fn request(&self, server: &Server, route: &Route) -> Request<Body> {
        let (media_type, body) = body(route, self.form_token.unwrap_or_default());
        let mut request = Request::builder()
            .method(self.method.clone().unwrap_or_else(|| route.method.clone()))
            .uri(path(route))
            .header(header::HOST, self.host)
            .header(header::CONTENT_TYPE, media_type)
            .body(Body::from(body))
            .unwrap();
        let headers = request.headers_mut();
        let value = |text: &str| HeaderValue::from_str(text).unwrap();
        if let Some(origin) = self.origin {
            headers.insert(header::ORIGIN, value(origin));
        }
        if let Some(site) = self.site {
            headers.insert("sec-fetch-site", value(site));
        }
        if let Some(session) = self.session {
            headers.insert(header::COOKIE, value(&format!("{}={}", server.cookie, session.secret)));
        }
        if let Some(bearer) = self.bearer {
            headers.insert(header::AUTHORIZATION, value(&format!("Bearer {bearer}")));
        }
        if let (Some(token), "application/json") = (self.form_token, media_type) {
            headers.insert("x-form-token", value(token));
        }
        request
    }
}

/// What reached the controller or let somebody in.
async fn effects(server: &Server) -> (usize, usize, u64) {
    let tokens = server.app.access.list(access::CredentialKind::Token).await.unwrap().len();
    (server.reached.count(), tokens, *server.log.size().borrow())
}

#[tokio::test]
async fn nothing_changes_by_a_request_that_is_not_ours() {
    let server = Server::start().await;
    let admin = server.session(Role::Admin).await;
    let changing: Vec<Route> = inventory().into_iter().filter(|route| route.need.changes()).collect();
    let names: Vec<&str> = changing.iter().map(|route| route.path.as_str()).collect();
    for known in [
        "/logout",
        "/api/release_command",
        "/api/v1/releases",
        "/api/v1/releases/{id}/commands",
        "/api/v1/tokens",
        "/settings/tokens",
        "/settings/revoke",
    ] {
        assert!(names.contains(&known), "{known} is missing in {names:?}");
    }
    for route in &changing {
        let lower = match route.need {
            Need::Administer => Some(Role::Operator),
            Need::Operate => Some(Role::Viewer),
            _ => None,
        };
        let lower_session = match lower {
            Some(role) => Some(server.session(role).await),
            None => None,
        };
        let unknown = Session { secret: format!("dlv_sess_{}", "A".repeat(43)), form_token: admin.form_token.clone() };
        let other = server.session(Role::Admin).await;
        let proper = || Sent::proper(&admin);
        let mut attacks: Vec<(&str, Sent<'_>)> = vec![
            ("neither Origin nor Sec-Fetch-Site", Sent { origin: None, site: None, ..proper() }),
            ("foreign Origin", Sent { origin: Some("https://evil.example"), site: None, ..proper() }),
            ("foreign Origin, site says same", Sent { origin: Some("https://evil.example"), ..proper() }),
            ("Origin with another port", Sent { origin: Some("http://127.0.0.1:3001"), site: None, ..proper() }),
            ("Origin with another scheme", Sent { origin: Some("https://127.0.0.1:3000"), site: None, ..proper() }),
            ("Origin null", Sent { origin: Some("null"), site: None, ..proper() }),
            ("cross-site", Sent { origin: None, site: Some("cross-site"), ..proper() }),
            ("same-site (a sibling domain)", Sent { origin: None, site: Some("same-site"), ..proper() }),
            ("typed address", Sent { origin: None, site: Some("none"), ..proper() }),
            ("ours by Origin, cross-site by site", Sent { site: Some("cross-site"), ..proper() }),
            (
                "a name pointed here",
                Sent { origin: Some("http://evil.example:3000"), host: "evil.example:3000", ..proper() },
            ),
            ("GET", Sent { method: Some(Method::GET), ..proper() }),
            ("HEAD", Sent { method: Some(Method::HEAD), ..proper() }),
            ("PUT", Sent { method: Some(Method::PUT), ..proper() }),
            ("no form token", Sent { form_token: None, ..proper() }),
            ("wrong form token", Sent { form_token: Some("wrong"), ..proper() }),
            ("another session's form token", Sent { form_token: Some(&other.form_token), ..proper() }),
            ("unknown session", Sent { session: Some(&unknown), ..proper() }),
            ("no session", Sent { session: None, ..proper() }),
            ("unknown token", Sent { session: None, bearer: Some("dlv_token_wrong"), ..proper() }),
            ("session's secret as token", Sent { session: None, bearer: Some(&admin.secret), ..proper() }),
        ];
        if let Some(session) = &lower_session {
            attacks.push(("lower role", Sent::proper(session)));
        }
        for (name, attack) in attacks {
            let before = effects(&server).await;
            // The read behind the same path of the API is allowed to be read.
            let is_read = attack.method.as_ref().is_some_and(|m| *m == Method::GET || *m == Method::HEAD)
                && route.path == "/api/v1/releases";
            let response = server.send(attack.request(&server, route)).await;
            let status = response.status();
            assert!(is_read || is_refusal(status), "{} {}: {name}: {status}", route.method, route.path);
            assert_eq!(effects(&server).await, before, "{} {}: {name}", route.method, route.path);
            let said = text(response).await;
            assert!(!said.contains(&admin.secret) && !said.contains(&admin.form_token), "{name}: {said}");
        }
        if let Some(role) = lower {
            let token = server.token(role).await;
            let attack = Sent { session: None, origin: None, site: None, bearer: Some(&token), ..proper() };
            let before = effects(&server).await;
            let status = server.send(attack.request(&server, route)).await.status();
            assert_eq!(status, StatusCode::FORBIDDEN, "{}: token of a lower role", route.path);
            assert_eq!(effects(&server).await, before);
        }
    }
    // An expired session.
    server.clock.advance_millis(access::SESSION_IDLE_MS + 1);
    for route in &changing {
        let status = server.send(Sent::proper(&admin).request(&server, route)).await.status();
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{}: expired session", route.path);
    }
    assert_eq!(server.reached.count(), 0);
}

#[tokio::test]
async fn what_is_ours_is_let_through() {
    let server = Server::start().await;
    // Those that end something have tests of their own.
    let ends = ["/logout", "/settings/revoke"];
    for route in inventory().into_iter().filter(|route| route.need.changes() && !ends.contains(&route.path.as_str())) {
        let session = server.session(Role::Admin).await;
        let before = effects(&server).await;
        for proper in [Sent::proper(&session), Sent { site: None, ..Sent::proper(&session) }] {
            let status = server.send(proper.request(&server, &route)).await.status();
            assert!(status.is_success(), "{}: {status}", route.path);
        }
        let token = server.token(Role::Admin).await;
        let tool = Sent {
            session: None,
            origin: None,
            site: None,
            form_token: None,
            bearer: Some(&token),
            ..Sent::proper(&session)
        };
        let status = server.send(tool.request(&server, &route)).await.status();
        assert!(status.is_success(), "{} by token: {status}", route.path);
        assert_ne!(effects(&server).await, before, "{}", route.path);
    }
    let commands = server.reached.commands.lock().unwrap();
    assert!(commands.iter().all(|command| command.actor == crate::support::actor(Role::Admin)));
}

#[tokio::test]
async fn tokens_and_sessions_are_made_and_ended_with_a_receipt() {
    let server = Server::start().await;
    let admin = server.session(Role::Admin).await;
    let viewer = server.session(Role::Viewer).await;
    let post = async |session: &Session, path: &str, form: String| {
        let form = format!("{form}&form_token={}", session.form_token);
        let request = request(Method::POST, path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ORIGIN, ORIGIN)
            .header(header::COOKIE, format!("{}={}", server.cookie, session.secret))
            .body(Body::from(form));
        server.send(request.unwrap()).await
    };
    let last = async || {
        let size = *server.log.size().borrow();
        server.log.range(size - 1, 1).await.unwrap().remove(0).payload
    };
    let made = text(post(&admin, "/settings/tokens", "name=ci&role=operator&days=30".to_owned()).await).await;
    let secret = made.split("dlv_token_").nth(1).unwrap().split('<').next().unwrap();
    let secret = format!("dlv_token_{secret}");
    assert_eq!(server.app.access.token(&secret, server.app.clock.now()).await.unwrap().role, Role::Operator);
    let receipt = last().await;
    assert_eq!(receipt.actor, crate::support::actor(Role::Admin));
    assert_eq!((&receipt.facts["command"], &receipt.facts["subject"]), (&"create-token".into(), &"ci".into()));
    assert!(!serde_json::to_string(&receipt).unwrap().contains("dlv_"), "no secret is written down");
    for wrong in ["name=&role=operator&days=30", "name=ci&role=root&days=30", "name=ci&role=viewer&days=366"] {
        assert_eq!(post(&admin, "/settings/tokens", wrong.to_owned()).await.status(), StatusCode::BAD_REQUEST);
    }

    let list = async |kind| server.app.access.list(kind).await.unwrap();
    let token = list(access::CredentialKind::Token).await.remove(0).hash;
    let sessions = list(access::CredentialKind::Session).await;
    let of = |role: Role| sessions.iter().find(|s| s.actor == crate::support::actor(role)).unwrap().hash.clone();
    for others in [token.clone(), of(Role::Admin), "0".repeat(64)] {
        let status = post(&viewer, "/settings/revoke", format!("id={others}")).await.status();
        assert_eq!(status, StatusCode::NOT_FOUND, "a viewer ends their own sessions only");
    }
    assert_eq!(post(&admin, "/settings/revoke", format!("id={token}")).await.status(), StatusCode::SEE_OTHER);
    assert!(list(access::CredentialKind::Token).await.is_empty());
    assert_eq!(last().await.facts["command"], "revoke-token");
    let own = of(Role::Viewer);
    assert_eq!(post(&viewer, "/settings/revoke", format!("id={own}")).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(post(&viewer, "/settings/revoke", format!("id={own}")).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_stranger_sees_nothing() {
    let server = Server::start().await;
    let open = ["/healthz", "/login", "/pkg/{*path}"];
    for route in inventory().iter().filter(|route| route.method == Method::GET || route.need == Need::Read) {
        let response = server.send(request(route.method.clone(), &path(route)).body(Body::empty()).unwrap()).await;
        let status = response.status();
        if open.contains(&route.path.as_str()) {
            assert_ne!(status, StatusCode::UNAUTHORIZED, "{}", route.path);
        } else {
            assert!(is_refusal(status), "{} {}: {status}", route.method, route.path);
        }
    }
    // A person is led to the login, and back afterwards.
    let page =
        request(Method::GET, "/releases/checkout-1?tab=x").header(header::ACCEPT, "text/html").body(Body::empty());
    let response = server.send(page.unwrap()).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(response.headers()[header::LOCATION], "/login?next=%2Freleases%2Fcheckout-1%3Ftab%3Dx");
}

#[tokio::test]
async fn a_public_log_shows_hashes_and_no_entries() {
    let server = Server::with(true, None).await;
    let status = async |path: &str| server.send(request(Method::GET, path).body(Body::empty()).unwrap()).await.status();
    assert_eq!(status("/checkpoint").await, StatusCode::OK);
    assert_eq!(status("/tile/0/000.p/1").await, StatusCode::OK);
    assert_eq!(status("/tile/entries/000.p/1").await, StatusCode::UNAUTHORIZED);
    for open in ["/rekor/checkpoint", "/rekor/api/v2/checkpoint", "/rekor/trusted_root.json"] {
        assert_eq!(status(open).await, StatusCode::OK, "{open}");
    }
    assert_eq!(status("/rekor/tile/0/000.p/1").await, StatusCode::NOT_FOUND, "it is empty");
    assert_eq!(status("/rekor/tile/entries/000.p/1").await, StatusCode::UNAUTHORIZED);
    assert_eq!(status("/receipts/0/dsse").await, StatusCode::UNAUTHORIZED);
    assert_eq!(status("/events").await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn every_server_function_is_a_post_with_a_stated_need() {
    let functions: Vec<Route> =
        inventory().into_iter().filter(|r| r.path.starts_with("/api/") && !r.path.starts_with("/api/v1/")).collect();
    assert!(functions.len() >= 6, "{functions:?}");
    for function in functions {
        assert_eq!(function.method, Method::POST, "{}", function.path);
        let expected = if function.path.starts_with("/api/get_") { Need::Read } else { Need::Operate };
        assert_eq!(function.need, expected, "{}", function.path);
    }
}

#[tokio::test]
async fn a_link_is_good_once_and_a_session_ends() {
    let server = Server::start().await;
    let now = server.app.clock.now();
    let link = server.app.access.make_link("dana".parse().unwrap(), Role::Operator, now).await.unwrap();
    let login = |next: &str, origin: Option<&str>| {
        let mut request =
            request(Method::POST, "/login").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(origin) = origin {
            request = request.header(header::ORIGIN, origin);
        }
        request.body(Body::from(format!("token={}&next={next}", link.expose()))).unwrap()
    };
    // Looking at the link does not use it up, and neither does another site.
    let shown = server
        .send(request(Method::GET, &format!("/login?token={}", link.expose())).body(Body::empty()).unwrap())
        .await;
    assert_eq!(shown.status(), StatusCode::OK);
    assert!(text(shown).await.contains("<button type=\"submit\""));
    assert_eq!(server.send(login("/", None)).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(server.send(login("/", Some("https://evil.example"))).await.status(), StatusCode::FORBIDDEN);

    let response = server.send(login("//evil.example/", Some(ORIGIN))).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(response.headers()[header::LOCATION], "/", "never elsewhere");
    let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
    assert!(cookie.starts_with("deliveryos-3000=dlv_sess_") && cookie.contains("; HttpOnly; SameSite=Lax"), "{cookie}");
    let again = server.send(login("/", Some(ORIGIN))).await;
    assert_eq!(again.status(), StatusCode::FORBIDDEN);
    assert!(text(again).await.contains("not good any more"));

    let sent = cookie.split(';').next().unwrap().to_owned();
    let page = |path: &str| request(Method::GET, path).header(header::COOKIE, &sent).body(Body::empty()).unwrap();
    let overview = server.send(page("/")).await;
    assert_eq!(overview.status(), StatusCode::OK);
    assert!(text(overview).await.contains("dana"));
    let secret = sent.split_once('=').unwrap().1.to_owned();
    let access::Via::Session { form_token } = server.app.access.session(&secret, now).await.unwrap().via else {
        panic!()
    };
    let session = Session { secret, form_token: access::masked_form_token(&form_token).unwrap() };
    let logout = Route { method: Method::POST, path: "/logout".into(), need: Need::Own };
    let response = server.send(Sent::proper(&session).request(&server, &logout)).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(server.send(page("/receipts/0/dsse")).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn behind_tls_the_public_address_counts() {
    let server = Server::with(false, Some("https://deliveries.example.com")).await;
    let admin = server.session(Role::Admin).await;
    assert_eq!(server.cookie, "__Host-deliveryos");
    let route = Route { method: Method::POST, path: "/api/v1/releases/{id}/commands".into(), need: Need::Operate };
    let send = async |origin: &str| {
        let sent = Sent { origin: Some(origin), host: "deliveries.example.com", ..Sent::proper(&admin) };
        server.send(sent.request(&server, &route)).await.status()
    };
    assert_eq!(send("https://deliveries.example.com").await, StatusCode::ACCEPTED);
    assert_eq!(send("http://deliveries.example.com").await, StatusCode::FORBIDDEN);
    assert_eq!(send("https://evil.example.com").await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn attempts_to_log_in_are_limited() {
    use axum::Extension;
    use server::auth::Peer;
    let server = Server::start().await;
    let router = server.router.clone().layer(Extension(Peer([10, 0, 0, 1].into())));
    let mut last = StatusCode::OK;
    for _ in 0..30 {
        let attempt =
            request(Method::POST, "/login").header(header::ORIGIN, ORIGIN).body(Body::from("token=x")).unwrap();
        last = tower::ServiceExt::oneshot(router.clone(), attempt).await.unwrap().status();
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
}
