//! The two addresses that a cluster asks: `/validate` judges, `/pin` replaces tags by digests.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use admission::{Decision, Mode, NotAReview, Purpose, ReasonCode, Request, Review, answer, decide, needs};
use axum::{
    Json, Router,
    body::{Body, Bytes, to_bytes},
    extract::{RawQuery, Request as HttpRequest, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use model::Timestamp;
use receipt_log::{Clock, Log};
use tokio::{sync::Semaphore, time::Instant};

use super::{Loaded, Policies, Registries, limits, record::record};

/// What decides. A clone is another handle.
#[derive(Clone)]
pub struct Admission(Arc<Parts>);

struct Parts {
    policies: Arc<Policies>,
    registries: Registries,
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    places: Semaphore,
    corrections: Arc<Semaphore>,
    counts: Counts,
}

/// What was answered since the start.
#[derive(Debug, Default)]
struct Counts {
    allowed: AtomicU64,
    denied: AtomicU64,
    malformed: AtomicU64,
}

/// When to answer, and until when evidence is waited for.
#[derive(Debug, Clone, Copy)]
struct Times {
    look: Instant,
    answer: Instant,
}

impl Admission {
    /// From its parts.
    pub fn new(policies: Policies, registries: Registries, log: Arc<dyn Log>, clock: Arc<dyn Clock>) -> Self {
        let places = Semaphore::new(limits::UNDER_WAY);
        let policies = Arc::new(policies);
        let corrections = Arc::new(Semaphore::new(limits::UNDER_WAY));
        Self(Arc::new(Parts { policies, registries, log, clock, places, corrections, counts: Counts::default() }))
    }

    /// Reads the policies once, so that what is wrong with them shows at the start.
    pub async fn check(&self) -> Result<(), String> {
        self.policies().await.map(|_| ())
    }

    async fn policies(&self) -> Result<Arc<Loaded>, String> {
        let policies = self.0.policies.clone();
        let read = tokio::task::spawn_blocking(move || policies.current());
        read.await.unwrap_or_else(|error| Err(format!("the policies could not be read: {error}")))
    }

    /// What is decided of a review, recorded where it must be. Does not end by itself when something hangs.
    async fn judge(&self, review: &Review, purpose: Purpose, times: Times) -> Decision {
        // In doubt whether there is room for it: not without a bound, and not for longer than there is time.
        let Ok(Ok(_place)) = tokio::time::timeout_at(times.look, self.0.places.acquire()).await else {
            return Decision::refusal(ReasonCode::Unknown, format!("{} reviews are under way", limits::UNDER_WAY));
        };
        let now = self.0.clock.now();
        let loaded = match tokio::time::timeout_at(times.look, self.policies()).await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(why)) => {
                let decision = Decision::refusal(ReasonCode::Unknown, format!("the policies cannot be used: {why}"));
                return self.recorded(review, decision, None, purpose, now, times).await;
            }
            Err(_) => return Decision::refusal(ReasonCode::Unknown, "the policies could not be read in time"),
        };
        let needs = needs(review, &loaded.set, now, purpose);
        let looked = self.0.registries.look(needs, &loaded, times.look).await;
        let request = Request { review, policies: &loaded.set, looked: &looked, now, purpose };
        let decision = decide(request);
        self.recorded(review, decision, Some(&loaded), purpose, now, times).await
    }

    /// The decision with what its recording says against it.
    async fn recorded(
        &self,
        review: &Review,
        mut decision: Decision,
        loaded: Option<&Arc<Loaded>>,
        purpose: Purpose,
        now: Timestamp,
        times: Times,
    ) -> Decision {
        // Pinning decides nothing that the validating webhook does not decide again, and a dry run must have no effects.
        let pinned = purpose == Purpose::Pin && decision.allowed;
        if review.dry_run || pinned {
            return decision;
        }
        let until =
            if decision.allowed { times.answer } else { times.answer.min(Instant::now() + limits::DENIAL_RECEIPT) };
        if let Err(why) = record(&self.0.log, "", review, &decision, loaded.map(|l| &**l), now, until).await {
            tracing::warn!(
                review = review.uid,
                allowed = decision.allowed,
                why,
                "an admission decision is not recorded"
            );
            if decision.allowed {
                let mode = loaded.map_or(Mode::Enforce, strictest);
                decision.refuse(ReasonCode::NotRecorded, format!("the decision could not be recorded: {why}"), mode);
                if !decision.allowed {
                    self.corrected(review, &decision, loaded, now);
                }
            }
        }
        decision
    }

    /// A receipt that came too late may still say "allowed" where "denied" was answered: one that follows it says so. Nobody waits for it.
    fn corrected(&self, review: &Review, decision: &Decision, loaded: Option<&Arc<Loaded>>, now: Timestamp) {
        let Ok(place) = self.0.corrections.clone().try_acquire_owned() else { return };
        let (log, loaded) = (self.0.log.clone(), loaded.cloned());
        let (review, decision) = (review.clone(), decision.clone());
        tokio::spawn(async move {
            let until = Instant::now() + limits::LOOK;
            let noted = record(&log, "/corrected", &review, &decision, loaded.as_deref(), now, until).await;
            if let Err(why) = noted {
                tracing::warn!(review = review.uid, why, "a denial for want of a receipt has none itself");
            }
            drop(place);
        });
    }

    /// The answer to a request's body.
    async fn answer(&self, bytes: Bytes, purpose: Purpose, times: Times) -> Response {
        let parsed = if bytes.len() <= limits::SMALL {
            Review::parse(&bytes)
        } else {
            let work = tokio::task::spawn_blocking(move || Review::parse(&bytes));
            match tokio::time::timeout_at(times.look, work).await {
                Ok(Ok(parsed)) => parsed,
                _ => return problem(StatusCode::SERVICE_UNAVAILABLE, "the review could not be read in time"),
            }
        };
        let review = match parsed {
            Ok(review) => review,
            Err(NotAReview { uid, why }) => {
                self.0.counts.malformed.fetch_add(1, Ordering::Relaxed);
                let text = format!("this is no review: {why}");
                return match uid {
                    Some(uid) => reply(&uid, &Decision::refusal(ReasonCode::Malformed, text)),
                    // Without an id there is no answer under which the API server would know it: an error, which denies as well.
                    None => problem(StatusCode::BAD_REQUEST, &text),
                };
            }
        };
        let decision = match tokio::time::timeout_at(times.answer, self.judge(&review, purpose, times)).await {
            Ok(decision) => decision,
            Err(_) => Decision::refusal(ReasonCode::Unknown, "it could not be decided in time"),
        };
        let count = if decision.allowed { &self.0.counts.allowed } else { &self.0.counts.denied };
        count.fetch_add(1, Ordering::Relaxed);
        if !decision.allowed {
            let why = decision.reasons.iter().map(|reason| reason.text.as_str()).collect::<Vec<_>>().join("; ");
            tracing::info!(review = review.uid, namespace = review.namespace, name = review.name, why, "denied");
        }
        reply(&review.uid, &decision)
    }
}

/// The strictest mode that any policy has: what cannot be recorded is refused where anything is enforced.
fn strictest(loaded: &Arc<Loaded>) -> Mode {
    loaded.set.policies.iter().filter_map(|policy| policy.mode).fold(loaded.set.mode, Mode::max)
}

/// The routes.
pub fn router(admission: Admission) -> Router {
    Router::new()
        .route("/validate", post(validate))
        .route("/pin", post(pin))
        .route("/healthz", get(healthz))
        .with_state(admission)
}

async fn validate(State(admission): State<Admission>, RawQuery(query): RawQuery, request: HttpRequest) -> Response {
    handle(&admission, query.as_deref(), request, Purpose::Validate).await
}

async fn pin(State(admission): State<Admission>, RawQuery(query): RawQuery, request: HttpRequest) -> Response {
    handle(&admission, query.as_deref(), request, Purpose::Pin).await
}

async fn handle(admission: &Admission, query: Option<&str>, request: HttpRequest, purpose: Purpose) -> Response {
    let times = times(Instant::now(), query);
    if !is_json(request.headers()) {
        return problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a review is application/json");
    }
    let body: Body = request.into_body();
    match tokio::time::timeout_at(times.look, to_bytes(body, admission::limits::REVIEW_BYTES)).await {
        Ok(Ok(bytes)) => admission.answer(bytes, purpose, times).await,
        Ok(Err(_)) => problem(StatusCode::PAYLOAD_TOO_LARGE, "the review is too long, or was cut off"),
        Err(_) => problem(StatusCode::REQUEST_TIMEOUT, "the review did not come in time"),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn reply(uid: &str, decision: &Decision) -> Response {
    Json(answer(uid, decision)).into_response()
}

fn problem(status: StatusCode, why: &str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{why}\n")).into_response()
}

/// Whether the policies can be used; a cluster's probe asks.
async fn healthz(State(admission): State<Admission>) -> Response {
    match admission.check().await {
        Ok(()) => {
            let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
            let Counts { allowed, denied, malformed } = &admission.0.counts;
            let body = serde_json::json!({
                "status": "ok", "allowed": count(allowed), "denied": count(denied), "malformed": count(malformed),
            });
            Json(body).into_response()
        }
        Err(_) => problem(StatusCode::SERVICE_UNAVAILABLE, "the policies cannot be used; the server's log says why"),
    }
}

/// The times of a review that came now, by what the API server says it waits for.
fn times(now: Instant, query: Option<&str>) -> Times {
    let said = query.into_iter().flat_map(|query| query.split('&')).find_map(|pair| pair.strip_prefix("timeout="));
    let waits = said.map_or(limits::DEFAULT_TIMEOUT, |text| {
        // One that cannot be read is taken for a short one.
        duration(text).unwrap_or(Duration::from_secs(1)).clamp(limits::MIN_TIMEOUT, limits::MAX_TIMEOUT)
    });
    let part = |percent: u32| now + waits * percent / 100;
    Times { look: part(limits::LOOK_PERCENT), answer: part(limits::DEADLINE_PERCENT) }
}

/// A duration as Go writes it: `10s`, `1m30s`, `1.5s`, `500ms`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = 0.0_f64;
    if rest.is_empty() || rest.len() > 32 {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let seconds = match unit {
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * seconds;
        rest = after;
    }
    Duration::try_from_secs_f64(total).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_go_writes_them() {
        let check = |text: &str, ms: Option<u64>| {
            assert_eq!(duration(text), ms.map(Duration::from_millis), "{text}");
        };
        check("10s", Some(10_000));
        check("1m30s", Some(90_000));
        check("1.5s", Some(1_500));
        check("500ms", Some(500));
        for bad in ["", "10", "s", "-1s", "1x", "1s2", "..s", "999999999999999999999999999999999h", "1e9s"] {
            check(bad, None);
        }
    }

    #[test]
    fn the_answer_comes_before_the_api_server_gives_up() {
        let now = Instant::now();
        let check = |query: Option<&str>, waits_ms: u64| {
            let times = times(now, query);
            let end = now + Duration::from_millis(waits_ms);
            assert!(now < times.look && times.look < times.answer && times.answer < end, "{query:?}");
        };
        check(None, 10_000);
        check(Some("timeout=10s"), 10_000);
        check(Some("a=b&timeout=1s"), 1_000);
        check(Some("timeout=nonsense"), 1_000);
        check(Some("timeout=1h"), 30_000);
    }
}
