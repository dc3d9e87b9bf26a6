//! The service: makes links, sessions and tokens, and says whom a secret belongs to.

use std::{fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use model::{Actor, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::{AccessError, AccessStore, Credential, CredentialKind, Identity, Role, Via};

/// A login link is good for ten minutes: long enough to copy it from a terminal, short enough for a scroll-back to be worthless.
pub const LINK_MS: i64 = 10 * 60 * 1000;
/// A session ends after twelve hours without use: one working day.
pub const SESSION_IDLE_MS: i64 = 12 * 60 * 60 * 1000;
/// A session ends seven days after login, used or not.
pub const SESSION_MAX_MS: i64 = 7 * 24 * 60 * 60 * 1000;
/// A token lives a year at most, so that forgotten ones die.
pub const TOKEN_MAX_MS: i64 = 365 * 24 * 60 * 60 * 1000;

/// A session's end is written at most every five minutes, not at each request.
const EXTEND_EVERY_MS: i64 = 5 * 60 * 1000;
/// Characters of a secret: prefix and 43 of base64. Anything longer is not hashed at all.
const MAX_SECRET: usize = 64;
/// A form's token under its mask is no longer than this.
const MAX_MASKED: usize = 128;
/// Random bytes of a secret.
const SECRET_BYTES: usize = 32;

/// A secret that is shown once. `Debug` and errors do not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// A login that succeeded.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// For the cookie.
    pub secret: Secret,
    /// Who it is.
    pub identity: Identity,
    /// When it ends at the latest, used or not: the cookie's age.
    pub ends: Timestamp,
}

/// A token that was made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// For `Authorization: Bearer`.
    pub secret: Secret,
    /// Its id in lists, by which it is revoked.
    pub id: String,
    /// Good until.
    pub expires: Timestamp,
}

/// Makes and checks credentials.
#[derive(Clone)]
pub struct Access {
    store: Arc<dyn AccessStore>,
}

impl Secret {
    /// The secret, to be sent to whom it belongs and nowhere else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn new(kind: CredentialKind) -> Result<Self, AccessError> {
        Ok(Self(format!("{}{}", prefix(kind), random()?)))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Access {
    /// Over this store.
    pub fn new(store: Arc<dyn AccessStore>) -> Self {
        Self { store }
    }

    /// A login link's secret for `actor`, good once within [`LINK_MS`].
    pub async fn make_link(&self, actor: Actor, role: Role, now: Timestamp) -> Result<Secret, AccessError> {
        let (secret, _) = self.make(CredentialKind::Link, actor, role, now, now.plus_millis(LINK_MS)).await?;
        Ok(secret)
    }

    /// Redeems a link: it is used up, also when it has expired.
    pub async fn redeem_link(&self, secret: &str, now: Timestamp) -> Result<NewSession, AccessError> {
        let hash = hash_of(CredentialKind::Link, secret)?;
        let link = self.store.take(&hash).await?.filter(|found| found.kind == CredentialKind::Link);
        let link = link.ok_or(AccessError::Unknown)?;
        if link.expires <= now {
            return Err(AccessError::Expired);
        }
        let expires = now.plus_millis(SESSION_IDLE_MS);
        let (secret, session) = self.make(CredentialKind::Session, link.actor, link.role, now, expires).await?;
        Ok(NewSession { secret, identity: identity(session)?, ends: now.plus_millis(SESSION_MAX_MS) })
    }

    /// Whom a session cookie belongs to. Using a session keeps it alive, within [`SESSION_MAX_MS`].
    pub async fn session(&self, secret: &str, now: Timestamp) -> Result<Identity, AccessError> {
        let session = self.find(CredentialKind::Session, secret, now).await?;
        let last = session.created.plus_millis(SESSION_MAX_MS);
        if last <= now {
            return Err(AccessError::Expired);
        }
        let expires = now.plus_millis(SESSION_IDLE_MS).min(last);
        if expires.since(session.expires) >= EXTEND_EVERY_MS && !self.store.extend(&session.hash, expires).await? {
            return Err(AccessError::Unknown);
        }
        identity(session)
    }

    /// Ends a session: the cookie is worthless from here on. A session that is not there has ended already.
    pub async fn end_session(&self, secret: &str) -> Result<(), AccessError> {
        match hash_of(CredentialKind::Session, secret) {
            Ok(hash) => self.store.take(&hash).await.map(|_| ()),
            Err(_) => Ok(()),
        }
    }

    /// A token for a tool, good for `lifetime_ms`, at most [`TOKEN_MAX_MS`].
    pub async fn make_token(
        &self,
        actor: Actor,
        role: Role,
        lifetime_ms: i64,
        now: Timestamp,
    ) -> Result<NewToken, AccessError> {
        let expires = now.plus_millis(lifetime_ms.clamp(0, TOKEN_MAX_MS));
        let (secret, token) = self.make(CredentialKind::Token, actor, role, now, expires).await?;
        Ok(NewToken { secret, id: token.hash, expires })
    }

    /// Whom a bearer token belongs to.
    pub async fn token(&self, secret: &str, now: Timestamp) -> Result<Identity, AccessError> {
        identity(self.find(CredentialKind::Token, secret, now).await?)
    }

    /// What there is of one kind, for an administrator. The hash is the id.
    pub async fn list(&self, kind: CredentialKind) -> Result<Vec<Credential>, AccessError> {
        self.store.list(kind).await
    }

    /// Revokes by id: the next request with it is refused.
    pub async fn revoke(&self, id: &str) -> Result<(), AccessError> {
        self.store.take(id).await?.map(|_| ()).ok_or(AccessError::Unknown)
    }

    /// Deletes what has expired; how many.
    pub async fn prune(&self, now: Timestamp) -> Result<u64, AccessError> {
        self.store.prune(now).await
    }

    async fn make(
        &self,
        kind: CredentialKind,
        actor: Actor,
        role: Role,
        now: Timestamp,
        expires: Timestamp,
    ) -> Result<(Secret, Credential), AccessError> {
        let secret = Secret::new(kind)?;
        let form_token = if kind == CredentialKind::Session { Some(random()?) } else { None };
        let hash = hash_of(kind, secret.expose())?;
        let credential = Credential { hash, kind, actor, role, created: now, expires, form_token };
        self.store.put(&credential).await?;
        Ok((secret, credential))
    }

    async fn find(&self, kind: CredentialKind, secret: &str, now: Timestamp) -> Result<Credential, AccessError> {
        let found = self.store.get(&hash_of(kind, secret)?).await?.filter(|found| found.kind == kind);
        let found = found.ok_or(AccessError::Unknown)?;
        if found.expires <= now { Err(AccessError::Expired) } else { Ok(found) }
    }
}

impl Identity {
    /// Refuses when the role does not suffice.
    pub fn require(&self, needed: Role) -> Result<(), AccessError> {
        if self.role >= needed {
            Ok(())
        } else {
            Err(AccessError::Forbidden { actor: self.actor.clone(), has: self.role, needed })
        }
    }

    /// Refuses a mutation by a session whose form does not carry its token. A bearer token needs none.
    pub fn require_form_token(&self, sent: Option<&str>) -> Result<(), AccessError> {
        match &self.via {
            Via::Token => Ok(()),
            Via::Session { form_token } => {
                let matches = sent.is_some_and(|sent| form_token_matches(form_token, sent));
                if matches { Ok(()) } else { Err(AccessError::FormToken) }
            }
        }
    }
}

impl Role {
    /// The word shown and given on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Role {
    type Err = model::ParseError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let role = [Self::Viewer, Self::Operator, Self::Admin].into_iter().find(|role| role.as_str() == text);
        role.ok_or_else(|| model::ParseError::new("a role: viewer, operator or admin", text))
    }
}

/// A form's token as a page carries it: under a mask that is another one each time, in base64url. Pages are compressed, and what a page weighs
/// must not tell what is in it.
///
/// # Errors
/// When the operating system gives no randomness.
pub fn masked_form_token(form_token: &str) -> Result<String, AccessError> {
    let mut both = vec![0; form_token.len()];
    getrandom::fill(&mut both).map_err(|_| no_randomness())?;
    let hidden: Vec<u8> = both.iter().zip(form_token.bytes()).map(|(mask, byte)| mask ^ byte).collect();
    both.extend(hidden);
    Ok(URL_SAFE_NO_PAD.encode(both))
}

/// Whether a form's token, under its mask, is the session's. Hashes are compared, so that time tells nothing about the token.
pub fn form_token_matches(expected: &str, sent: &str) -> bool {
    let Some(both) = (sent.len() <= MAX_MASKED).then(|| URL_SAFE_NO_PAD.decode(sent).ok()).flatten() else {
        return false;
    };
    let (mask, hidden) = both.split_at(both.len() / 2);
    let token: Vec<u8> = mask.iter().zip(hidden).map(|(mask, byte)| mask ^ byte).collect();
    both.len() == 2 * expected.len() && Sha256::digest(expected) == Sha256::digest(token)
}

/// What a secret begins with, so that scanners for leaked secrets and people see what it is.
fn prefix(kind: CredentialKind) -> &'static str {
    match kind {
        CredentialKind::Link => "dlv_link_",
        CredentialKind::Session => "dlv_sess_",
        CredentialKind::Token => "dlv_token_",
    }
}

fn random() -> Result<String, AccessError> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(|_| no_randomness())?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn no_randomness() -> AccessError {
    AccessError::Unavailable("the operating system gave no randomness".to_owned())
}

/// The hash under which a secret of this kind is kept. What cannot be one is not looked up.
fn hash_of(kind: CredentialKind, secret: &str) -> Result<String, AccessError> {
    if secret.len() > MAX_SECRET || !secret.starts_with(prefix(kind)) {
        return Err(AccessError::Unknown);
    }
    Ok(hex::encode(Sha256::digest(secret)))
}

fn identity(credential: Credential) -> Result<Identity, AccessError> {
    let via = match (credential.kind, credential.form_token) {
        (CredentialKind::Session, Some(form_token)) => Via::Session { form_token },
        (CredentialKind::Session, None) => {
            return Err(AccessError::Unavailable("a stored session has no form token".to_owned()));
        }
        (CredentialKind::Token, _) => Via::Token,
        (CredentialKind::Link, _) => return Err(AccessError::Unknown),
    };
    Ok(Identity { actor: credential.actor, role: credential.role, via })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::MemoryAccessStore;

    fn access() -> (Access, Arc<MemoryAccessStore>) {
        let store = Arc::new(MemoryAccessStore::new());
        (Access::new(store.clone()), store)
    }

    fn dana() -> Actor {
        "dana".parse().unwrap()
    }

    const T0: i64 = 1_778_162_792_045;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(T0 + ms)
    }

    #[tokio::test]
    async fn a_link_is_good_once_and_for_ten_minutes() {
        let (access, _) = access();
        let link = access.make_link(dana(), Role::Operator, at(0)).await.unwrap();
        let session = access.redeem_link(link.expose(), at(LINK_MS - 1)).await.unwrap();
        assert_eq!((session.identity.actor, session.identity.role), (dana(), Role::Operator));
        assert_eq!(access.redeem_link(link.expose(), at(0)).await.unwrap_err(), AccessError::Unknown);

        let late = access.make_link(dana(), Role::Viewer, at(0)).await.unwrap();
        assert_eq!(access.redeem_link(late.expose(), at(LINK_MS)).await.unwrap_err(), AccessError::Expired);
        assert_eq!(access.redeem_link(late.expose(), at(0)).await.unwrap_err(), AccessError::Unknown);
    }

    #[tokio::test]
    async fn of_many_who_redeem_at_once_one_gets_in() {
        let (access, _) = access();
        let link = access.make_link(dana(), Role::Admin, at(0)).await.unwrap();
        let tries = (0..32).map(|_| {
            let (access, link) = (access.clone(), link.clone());
            tokio::spawn(async move { access.redeem_link(link.expose(), at(1)).await.is_ok() })
        });
        let mut entered = 0;
        for attempt in tries.collect::<Vec<_>>() {
            entered += u32::from(attempt.await.unwrap());
        }
        assert_eq!(entered, 1);
    }

    #[tokio::test]
    async fn a_session_lives_by_use_and_not_for_ever() {
        let (access, _) = access();
        let start = async || {
            let link = access.make_link(dana(), Role::Viewer, at(0)).await.unwrap();
            access.redeem_link(link.expose(), at(0)).await.unwrap().secret
        };
        let idle = start().await;
        assert_eq!(access.session(idle.expose(), at(SESSION_IDLE_MS)).await, Err(AccessError::Expired));

        let used = start().await;
        let mut now = 0;
        while now + SESSION_IDLE_MS - 1 < SESSION_MAX_MS {
            now += SESSION_IDLE_MS - 1;
            assert!(access.session(used.expose(), at(now)).await.is_ok(), "{now}");
        }
        assert_eq!(access.session(used.expose(), at(SESSION_MAX_MS)).await, Err(AccessError::Expired));

        let ended = start().await;
        access.end_session(ended.expose()).await.unwrap();
        access.end_session(ended.expose()).await.unwrap();
        assert_eq!(access.session(ended.expose(), at(1)).await, Err(AccessError::Unknown));
    }

    #[tokio::test]
    async fn a_session_that_was_ended_is_not_revived() {
        let (access, store) = access();
        let link = access.make_link(dana(), Role::Viewer, at(0)).await.unwrap();
        let session = access.redeem_link(link.expose(), at(0)).await.unwrap().secret;
        let hash = hash_of(CredentialKind::Session, session.expose()).unwrap();
        store.take(&hash).await.unwrap();
        assert!(!store.extend(&hash, at(SESSION_IDLE_MS)).await.unwrap());
        assert_eq!(store.get(&hash).await.unwrap(), None);
    }

    #[tokio::test]
    async fn tokens_are_of_their_role_and_are_revoked() {
        let (access, _) = access();
        let token = access.make_token("ci".parse().unwrap(), Role::Operator, i64::MAX, at(0)).await.unwrap();
        assert_eq!(token.expires, at(TOKEN_MAX_MS));
        let who = access.token(token.secret.expose(), at(1)).await.unwrap();
        assert_eq!(who.via, Via::Token);
        assert!(who.require(Role::Viewer).is_ok() && who.require(Role::Operator).is_ok());
        assert!(matches!(who.require(Role::Admin), Err(AccessError::Forbidden { .. })));
        assert_eq!(access.list(CredentialKind::Token).await.unwrap()[0].hash, token.id);
        access.revoke(&token.id).await.unwrap();
        assert_eq!(access.token(token.secret.expose(), at(1)).await, Err(AccessError::Unknown));
        assert_eq!(access.revoke(&token.id).await, Err(AccessError::Unknown));
    }

    #[tokio::test]
    async fn one_kind_does_not_pass_for_another() {
        let (access, _) = access();
        let link = access.make_link(dana(), Role::Admin, at(0)).await.unwrap();
        let token = access.make_token(dana(), Role::Admin, 1000, at(0)).await.unwrap().secret;
        assert_eq!(access.session(link.expose(), at(1)).await, Err(AccessError::Unknown));
        assert_eq!(access.token(link.expose(), at(1)).await, Err(AccessError::Unknown));
        assert_eq!(access.session(token.expose(), at(1)).await, Err(AccessError::Unknown));
        assert_eq!(access.redeem_link(token.expose(), at(1)).await.unwrap_err(), AccessError::Unknown);
    }

    #[tokio::test]
    async fn forms_carry_their_sessions_token() {
        let (access, _) = access();
        let session = async || {
            let link = access.make_link(dana(), Role::Operator, at(0)).await.unwrap();
            access.redeem_link(link.expose(), at(0)).await.unwrap().identity
        };
        let (ours, other) = (session().await, session().await);
        let token = |identity: &Identity| match &identity.via {
            Via::Session { form_token } => form_token.clone(),
            Via::Token => panic!("not a session"),
        };
        let sent = |identity: &Identity| masked_form_token(&token(identity)).unwrap();
        let (one, again) = (sent(&ours), sent(&ours));
        assert_ne!(one, again, "under another mask each time");
        for good in [&one, &again] {
            assert!(ours.require_form_token(Some(good)).is_ok());
        }
        let (cut, long) = (&one[..one.len() - 4], format!("{one}AAAA"));
        let bare = token(&ours);
        for bad in [None, Some(""), Some("x"), Some(sent(&other).as_str()), Some(&bare), Some(cut), Some(&long)] {
            assert_eq!(ours.require_form_token(bad), Err(AccessError::FormToken), "{bad:?}");
        }
        let tool = Identity { actor: dana(), role: Role::Operator, via: Via::Token };
        assert!(tool.require_form_token(None).is_ok());
    }

    #[tokio::test]
    async fn secrets_are_kept_as_hashes_and_do_not_show() {
        let (access, store) = access();
        let link = access.make_link(dana(), Role::Admin, at(0)).await.unwrap();
        let kept = format!("{:?}", store.list(CredentialKind::Link).await.unwrap());
        assert!(!kept.contains(link.expose()));
        assert_eq!(format!("{link:?}"), "Secret(…)");
    }

    proptest! {
        // Whatever is sent, nobody is let in who holds no secret; and no input makes it panic.
        #[test]
        fn guesses_are_unknown(guess in "\\PC{0,100}", prefixed in any::<bool>()) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let (access, _) = access();
                access.make_token(dana(), Role::Admin, 1000, at(0)).await.unwrap();
                let guess = if prefixed { format!("dlv_token_{guess}") } else { guess };
                prop_assert_eq!(access.token(&guess, at(1)).await, Err(AccessError::Unknown));
                prop_assert_eq!(access.session(&guess, at(1)).await, Err(AccessError::Unknown));
                Ok(())
            })?;
        }

        // A session is good exactly while no gap between uses reaches the idle limit and the age limit is not reached.
        #[test]
        fn a_session_is_good_while_it_is_used(gaps in proptest::collection::vec(0..SESSION_IDLE_MS * 3 / 2, 1..40)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let (access, _) = access();
                let link = access.make_link(dana(), Role::Viewer, at(0)).await.unwrap();
                let session = access.redeem_link(link.expose(), at(0)).await.unwrap().secret;
                let mut now = 0;
                for gap in gaps {
                    now += gap;
                    let good = access.session(session.expose(), at(now)).await.is_ok();
                    // The end is written every five minutes only: within that of the idle limit both answers are right.
                    if gap >= SESSION_IDLE_MS || now >= SESSION_MAX_MS {
                        prop_assert!(!good);
                        break;
                    }
                    if gap < SESSION_IDLE_MS - EXTEND_EVERY_MS {
                        prop_assert!(good);
                    }
                    if !good { break; }
                }
                Ok(())
            })?;
        }
    }
}
