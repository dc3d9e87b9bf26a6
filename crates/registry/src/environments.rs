//! Environments in their order, and who may promote what where, and when. Pure: time and facts are arguments.

use model::{Actor, Digest, Timestamp};

/// The rules of one environment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// Its name.
    pub name: String,
    /// The environment that an image must have been in before; none for the first.
    pub after: Option<String>,
    /// True: two people are needed, one to ask and another one to agree.
    pub two_person: bool,
    /// When nothing comes in.
    pub freezes: Vec<Freeze>,
}

/// A time in which nothing comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freeze {
    /// From then.
    pub from: Timestamp,
    /// Until then, this moment not included.
    pub until: Timestamp,
    /// Why; shown to whoever is refused.
    pub reason: String,
}

/// What is known when somebody wants to promote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts<'a> {
    /// What is to come in.
    pub digest: &'a Digest,
    /// Under which tag.
    pub tag: &'a str,
    /// Who wants it.
    pub actor: &'a Actor,
    /// Now.
    pub now: Timestamp,
    /// What the tag names in the environment.
    pub tag_there: Option<&'a Digest>,
    /// What the same tag names in the environment before.
    pub tag_before: Option<&'a Digest>,
    /// An earlier request for the same, which this one agrees to.
    pub request: Option<Request<'a>>,
}

/// An earlier request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// Who asked.
    pub actor: &'a Actor,
    /// For what.
    pub digest: &'a Digest,
    /// Into which environment.
    pub environment: &'a str,
    /// Under which tag.
    pub tag: &'a str,
    /// When.
    pub at: Timestamp,
}

/// A request that nobody agreed to in this time has to be made again: what was true of the image may have changed.
pub const REQUEST_MS: i64 = 24 * 3_600 * 1_000;

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Do it.
    Allowed,
    /// Nothing is against it but that a second person has to agree.
    NeedsSecond,
    /// No, for all of these reasons.
    Refused(Vec<Reason>),
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Nothing comes in at present.
    #[error("{environment} is frozen until {until}: {reason}")]
    Frozen {
        /// Where.
        environment: String,
        /// Until when.
        until: Timestamp,
        /// Why.
        reason: String,
    },
    /// It was not in the environment before.
    #[error("{digest} has not been in {before} under the tag {tag}: promote it there first")]
    NotBefore {
        /// What.
        digest: Digest,
        /// The environment before.
        before: String,
        /// The tag.
        tag: String,
    },
    /// Tags do not move.
    #[error("the tag {tag} already names {there} in {environment}; tags do not move: choose another one")]
    TagTaken {
        /// Where.
        environment: String,
        /// The tag.
        tag: String,
        /// What it names.
        there: Digest,
    },
    /// Agreeing with oneself is not agreeing.
    #[error("{actor} asked for it, and somebody else has to agree")]
    SamePerson {
        /// Who.
        actor: Actor,
    },
    /// The request is not for this.
    #[error("the request agreed to is for another image, tag or environment")]
    OtherRequest,
    /// The request is from too long ago, or from the future.
    #[error("the request was made at {at} and is good for 24 hours: ask again")]
    OldRequest {
        /// When it was made.
        at: Timestamp,
    },
}

/// Whether an image may come in. All reasons are given, not only the first.
pub fn decide(rules: &Rules, facts: &Facts<'_>) -> Decision {
    let mut reasons = Vec::new();
    let frozen = rules.freezes.iter().filter(|f| f.from <= facts.now && facts.now < f.until);
    reasons.extend(frozen.map(|f| Reason::Frozen {
        environment: rules.name.clone(),
        until: f.until,
        reason: f.reason.clone(),
    }));
    if let Some(before) = &rules.after
        && facts.tag_before != Some(facts.digest)
    {
        reasons.push(Reason::NotBefore {
            digest: facts.digest.clone(),
            before: before.clone(),
            tag: facts.tag.to_owned(),
        });
    }
    if let Some(there) = facts.tag_there.filter(|there| *there != facts.digest) {
        reasons.push(Reason::TagTaken {
            environment: rules.name.clone(),
            tag: facts.tag.to_owned(),
            there: there.clone(),
        });
    }
    if let Some(request) = &facts.request {
        let same = request.digest == facts.digest && request.environment == rules.name && request.tag == facts.tag;
        if !same {
            reasons.push(Reason::OtherRequest);
        }
        if request.actor == facts.actor {
            reasons.push(Reason::SamePerson { actor: facts.actor.clone() });
        }
        let age = facts.now.since(request.at);
        if !(0..=REQUEST_MS).contains(&age) {
            reasons.push(Reason::OldRequest { at: request.at });
        }
    }
    match (reasons.is_empty(), rules.two_person && facts.request.is_none()) {
        (false, _) => Decision::Refused(reasons),
        (true, true) => Decision::NeedsSecond,
        (true, false) => Decision::Allowed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest_of;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000).plus_millis(hours * 3_600_000)
    }

    struct Case {
        rules: Rules,
        there: Option<Digest>,
        before: Option<Digest>,
        request: Option<(&'static str, Digest, &'static str, i64)>,
    }

    fn case() -> Case {
        let rules = Rules { name: "prod".into(), after: Some("staging".into()), two_person: false, freezes: vec![] };
        Case { rules, there: None, before: Some(digest_of(b"image")), request: None }
    }

    fn decided(case: &Case) -> String {
        let (digest, actor) = (digest_of(b"image"), "ann".parse::<Actor>().unwrap());
        let other = case.request.as_ref().map(|(who, ..)| who.parse::<Actor>().unwrap());
        let request = case.request.as_ref().zip(other.as_ref()).map(|((_, digest, environment, hours), actor)| {
            Request { actor, digest, environment, tag: "v1", at: at(*hours) }
        });
        let facts = Facts {
            digest: &digest,
            tag: "v1",
            actor: &actor,
            now: at(0),
            tag_there: case.there.as_ref(),
            tag_before: case.before.as_ref(),
            request,
        };
        match decide(&case.rules, &facts) {
            Decision::Allowed => "allowed".into(),
            Decision::NeedsSecond => "second".into(),
            Decision::Refused(reasons) => reasons.iter().map(Reason::to_string).collect::<Vec<_>>().join("; "),
        }
    }

    fn check(change: impl FnOnce(&mut Case), expected: &[&str]) {
        let mut case = case();
        change(&mut case);
        let said = decided(&case);
        assert!(expected.iter().all(|part| said.contains(part)), "{said:?} has not all of {expected:?}");
    }

    #[test]
    fn decisions() {
        let image = || digest_of(b"image");
        let freeze = |from, until| Freeze { from: at(from), until: at(until), reason: "black friday".into() };
        check(|_| {}, &["allowed"]);
        check(|c| c.before = None, &["has not been in staging"]);
        check(|c| c.before = Some(digest_of(b"other")), &["has not been in staging"]);
        check(|c| (c.rules.after, c.before) = (None, None), &["allowed"]);
        check(|c| c.there = Some(image()), &["allowed"]);
        check(|c| c.there = Some(digest_of(b"other")), &["tags do not move"]);
        check(|c| c.rules.freezes = vec![freeze(-1, 1)], &["frozen", "black friday"]);
        check(|c| c.rules.freezes = vec![freeze(0, 1)], &["frozen"]);
        check(|c| c.rules.freezes = vec![freeze(-1, 0), freeze(1, 2)], &["allowed"]);
        check(|c| (c.before, c.rules.freezes) = (None, vec![freeze(-1, 1)]), &["frozen", "staging"]);
        check(|c| c.rules.two_person = true, &["second"]);
        check(|c| (c.rules.two_person, c.request) = (true, Some(("bob", image(), "prod", -1))), &["allowed"]);
        check(|c| (c.rules.two_person, c.request) = (true, Some(("ann", image(), "prod", -1))), &["somebody else"]);
        check(|c| c.request = Some(("bob", digest_of(b"other"), "prod", -1)), &["another image"]);
        check(|c| c.request = Some(("bob", image(), "staging", -1)), &["another image"]);
        check(|c| c.request = Some(("bob", image(), "prod", -25)), &["ask again"]);
        check(|c| c.request = Some(("bob", image(), "prod", 1)), &["ask again"]);
    }
}
