//! Reads: each needs a viewer.

use leptos::{prelude::*, server_fn::codec::Post};
use model::{ReleaseId, Tick, Timestamp};
use projections::{Overview, Receipt, ReceiptProof, ReleaseRow, ReleaseView};
use serde::{Deserialize, Serialize};

use super::{ApiError, encoding::TextJson, metrics::Tiles};

/// Points of a timeline: two a pixel of its widest drawing would not be seen.
pub const MAX_POINTS: u32 = 720;

/// Who is logged in, and what their forms carry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Their name.
    pub actor: String,
    /// Their role, as a word.
    pub role: String,
    /// True when they may give commands.
    pub commands: bool,
    /// What forms carry as `form_token`; empty when none is needed.
    pub form_token: String,
}

/// The overview with the last second of each release under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OverviewPage {
    /// The overview.
    pub overview: Overview,
    /// The last tick of each release under way that has one.
    pub latest: Vec<(ReleaseId, Tick)>,
    /// Delivery metrics.
    pub metrics: Tiles,
}

/// A release with its ticks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReleasePage {
    /// What the log says.
    pub view: ReleaseView,
    /// What the data plane counted, thinned to [`MAX_POINTS`].
    pub ticks: Vec<Tick>,
    /// The release of this service before it.
    pub previous: Option<ReleaseRow>,
    /// What is known of its image, as markup that the server made.
    pub chain: String,
}

/// A receipt with what is needed to check it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReceiptPage {
    /// As the server reads it; the browser checks it.
    pub receipt: Receipt,
    /// Entry, inclusion proof, checkpoint.
    pub proof: ReceiptProof,
    /// The log's key as the server states it; the browser keeps the first one it saw.
    pub vkey: String,
}

/// Receipts with their proofs, to be checked in one go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProofsPage {
    /// In the order asked for; without the `.tlog-proof` text, which says the same again.
    pub proofs: Vec<ReceiptProof>,
    /// The log's key as the server states it; the browser keeps the first one it saw.
    pub vkey: String,
}

/// Proofs in one answer: an entry of the largest size is 88 kB in base64, the usual one 2 kB.
pub const MAX_PROOFS: usize = 64;

#[cfg(feature = "ssr")]
pub(super) fn could_not(e: projections::ReadError) -> ApiError {
    ApiError::Unavailable(e.to_string())
}

#[cfg(feature = "ssr")]
pub(super) fn parsed<T: std::str::FromStr<Err = model::ParseError>>(text: &str) -> Result<Option<T>, ApiError> {
    if text.is_empty() {
        Ok(None)
    } else {
        text.parse().map(Some).map_err(|e: model::ParseError| ApiError::Invalid(e.to_string()))
    }
}

/// Who is logged in; `None` when nobody is.
#[server(prefix = "/api", endpoint = "get_session", output = Post<TextJson>)]
pub async fn get_session() -> Result<Option<Session>, ApiError> {
    use super::context::{form_token, identity};
    Ok(identity().map(|who| Session {
        form_token: form_token(&who),
        commands: who.role >= access::Role::Operator,
        role: format!("{:?}", who.role).to_lowercase(),
        actor: who.actor.to_string(),
    }))
}

/// The overview.
#[server(prefix = "/api", endpoint = "get_overview", output = Post<TextJson>)]
pub async fn get_overview() -> Result<OverviewPage, ApiError> {
    use super::context::{answered, now, reader};
    /// A second that is older says nothing about now.
    const FRESH_MS: i64 = 10_000;
    let read = answered(reader())?;
    let now = now();
    let overview = answered(read.overview().await.map_err(could_not))?;
    let mut latest = Vec::new();
    for row in &overview.in_flight {
        let ticks = answered(read.ticks(&row.id, now.plus_millis(-FRESH_MS), now, 20).await.map_err(could_not))?;
        latest.extend(ticks.into_iter().next_back().map(|t| (row.id.clone(), t)));
    }
    let metrics = answered(super::metrics::tiles(&*read).await)?;
    Ok(OverviewPage { overview, latest, metrics })
}

/// One release with its ticks.
#[server(prefix = "/api", endpoint = "get_release", output = Post<TextJson>)]
pub async fn get_release(release: String) -> Result<ReleasePage, ApiError> {
    use super::context::{answered, now, reader};
    answered(
        async {
            let read = reader()?;
            let missing = || ApiError::NotFound(format!("release {release}"));
            let id: ReleaseId = release.parse().map_err(|_| missing())?;
            let view = read.release(&id).await.map_err(could_not)?.ok_or_else(missing)?;
            let until = view.row.ended.map_or_else(now, |end| end.plus_millis(5_000));
            let ticks =
                read.ticks(&id, view.row.started.plus_millis(-5_000), until, MAX_POINTS).await.map_err(could_not)?;
            let before = projections::ReleaseFilter {
                service: Some(view.row.service.clone()),
                before: Some(view.row.started),
                limit: 1,
                ..projections::ReleaseFilter::default()
            };
            let previous = read.releases(before).await.map_err(could_not)?.pop();
            let chain = chain(&*read, &view).await?;
            Ok(ReleasePage { view, ticks, previous, chain })
        }
        .await,
    )
}

/// What is known of a release's image, as markup.
#[server(prefix = "/api", endpoint = "get_chain", output = Post<TextJson>)]
pub async fn get_chain(release: String) -> Result<String, ApiError> {
    use super::context::{answered, reader};
    answered(
        async {
            let read = reader()?;
            let missing = || ApiError::NotFound(format!("release {release}"));
            let id: ReleaseId = release.parse().map_err(|_| missing())?;
            let view = read.release(&id).await.map_err(could_not)?.ok_or_else(missing)?;
            chain(&*read, &view).await
        }
        .await,
    )
}

/// Receipts of one kind about one image that are looked at, newest first: what is older has been overtaken.
#[cfg(feature = "ssr")]
const ABOUT_IMAGE: u32 = 20;

#[cfg(feature = "ssr")]
async fn chain(read: &dyn projections::ReadModel, view: &ReleaseView) -> Result<String, ApiError> {
    use model::Kind;
    use projections::{MAX_PAGE, ReceiptFilter};
    let about =
        |kind, limit| ReceiptFilter { subject: Some(view.row.digest.clone()), kind, limit, ..ReceiptFilter::default() };
    let mut found = read.receipts(about(None, MAX_PAGE)).await.map_err(could_not)?;
    if found.len() as u32 == MAX_PAGE {
        // One kind must not hide the others.
        found.clear();
        for kind in [
            Kind::BuildCompleted,
            Kind::AttestationSlsa,
            Kind::AttestationSignature,
            Kind::AttestationSbom,
            Kind::AttestationVuln,
            Kind::GatesPassed,
            Kind::GatesFailed,
            Kind::PromotionCopied,
            Kind::PromotionRefused,
            Kind::AdmissionAllowed,
            Kind::AdmissionDenied,
            Kind::CommandAccepted,
            Kind::CommandRefused,
        ] {
            found.extend(read.receipts(about(Some(kind), ABOUT_IMAGE)).await.map_err(could_not)?);
        }
    }
    let order = use_context::<super::context::Environments>().unwrap_or_default();
    Ok(crate::pages::release_chain::markup(view, &found, &order.0))
}

/// Ticks of a release between two times, thinned to [`MAX_POINTS`].
#[server(prefix = "/api", endpoint = "get_ticks", output = Post<TextJson>)]
pub async fn get_ticks(release: ReleaseId, from: Timestamp, to: Timestamp) -> Result<Vec<Tick>, ApiError> {
    use super::context::{answered, reader};
    answered(async { reader()?.ticks(&release, from, to, MAX_POINTS).await.map_err(could_not) }.await)
}

/// One receipt with its proof.
#[server(prefix = "/api", endpoint = "get_receipt", output = Post<TextJson>)]
pub async fn get_receipt(index: String) -> Result<ReceiptPage, ApiError> {
    use super::context::{LogKey, answered, reader, service};
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    answered(
        async {
            let read = reader()?;
            let missing = || ApiError::NotFound(format!("receipt {index}"));
            let at: u64 = index.parse().map_err(|_| missing())?;
            let proof = read.receipt(at).await.map_err(could_not)?.ok_or_else(missing)?;
            let unreadable = |why: String| ApiError::Unavailable(format!("receipt {at} cannot be read: {why}"));
            let entry = STANDARD.decode(&proof.entry).map_err(|e| unreadable(e.to_string()))?;
            let payload = receipts::read_unverified(&entry).map_err(|e| unreadable(e.to_string()))?;
            Ok(ReceiptPage { receipt: Receipt { index: at, payload }, proof, vkey: service::<LogKey>("log key")?.0 })
        }
        .await,
    )
}

/// Receipts with their proofs, by their indices, with commas between them; at most [`MAX_PROOFS`].
#[server(prefix = "/api", endpoint = "get_proofs", output = Post<TextJson>)]
pub async fn get_proofs(indices: String) -> Result<ProofsPage, ApiError> {
    use super::context::{LogKey, answered, reader, service};
    answered(
        async {
            let read = reader()?;
            let asked: Result<Vec<u64>, _> = indices.split(',').take(MAX_PROOFS + 1).map(str::parse).collect();
            let asked = asked.map_err(|_| ApiError::Invalid("the indices are not numbers".to_owned()))?;
            if asked.len() > MAX_PROOFS {
                return Err(ApiError::Invalid(format!("ask for at most {MAX_PROOFS} receipts at once")));
            }
            let mut proofs = Vec::with_capacity(asked.len());
            for index in asked {
                let proof = read.receipt(index).await.map_err(could_not)?;
                let proof = proof.ok_or_else(|| ApiError::NotFound(format!("receipt {index}")))?;
                proofs.push(ReceiptProof { tlog_proof: String::new(), ..proof });
            }
            Ok(ProofsPage { proofs, vkey: service::<LogKey>("log key")?.0 })
        }
        .await,
    )
}

/// The consistency proof between two sizes of the log, base64 hashes; `None` when a size is beyond the log.
#[server(prefix = "/api", endpoint = "get_consistency", output = Post<TextJson>)]
pub async fn get_consistency(old: u64, new: u64) -> Result<Option<Vec<String>>, ApiError> {
    use super::context::{answered, reader};
    answered(async { reader()?.consistency(old, new).await.map_err(could_not) }.await)
}

/// The server's time: what both sides start their clock from.
#[cfg(feature = "ssr")]
pub(crate) fn server_now() -> Timestamp {
    super::context::now()
}
#[cfg(not(feature = "ssr"))]
pub(crate) fn server_now() -> Timestamp {
    Timestamp::default()
}
