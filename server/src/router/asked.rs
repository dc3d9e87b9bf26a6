//! What an address or a body says, or a plain no: the framework's own refusals give back what was sent.

use axum::{
    extract::{FromRequestParts, Path, Query, rejection::JsonRejection},
    http::{StatusCode, request::Parts},
};
use serde::de::DeserializeOwned;

use super::api::Problem;

/// The values in the path.
pub(super) struct InPath<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(values)) => Ok(Self(values)),
            Err(_) => Err(Problem::invalid("the address does not name such a thing")),
        }
    }
}

/// The values after the question mark.
pub(super) struct InQuery<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for InQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(values)) => Ok(Self(values)),
            Err(_) => Err(Problem::invalid(
                "what stands after the question mark of the address is not known, or not of its form",
            )),
        }
    }
}

/// Why a body cannot be read, with what is wrong in it and how to set it right; the framework's words are a programmer's.
pub(super) fn unreadable(rejection: &JsonRejection) -> (StatusCode, String) {
    let why = match rejection {
        JsonRejection::MissingJsonContentType(_) => {
            "the body is not announced as JSON: say Content-Type: application/json".to_owned()
        }
        JsonRejection::JsonDataError(_) => format!("the body cannot be used: {}", data_words(&parsers(rejection))),
        JsonRejection::JsonSyntaxError(_) => format!("the body is not JSON: {}", place_words(&parsers(rejection))),
        other => match other.status() {
            StatusCode::PAYLOAD_TOO_LARGE => "the body is longer than this address takes".to_owned(),
            _ => "the body could not be read to its end: send it again".to_owned(),
        },
    };
    (rejection.status(), why)
}

/// What the parser says, after the framework's sentence.
fn parsers(rejection: &JsonRejection) -> String {
    let said = rejection.body_text();
    said.split_once(": ").map_or(said.clone(), |(_, said)| said.to_owned())
}

/// `path: missing field …at line 1 column 2` in plain words: a caller knows fields, not where they stand in a line.
fn data_words(said: &str) -> String {
    let said = said.rsplit_once(" at line ").map_or(said, |(before, _)| before);
    for start in ["missing field ", "unknown field ", "unknown variant ", "duplicate field ", "invalid "] {
        let Some(at) = said.find(start) else { continue };
        let (place, rest) = said.split_at(at);
        let place = match place.trim_end_matches(": ") {
            "" | "." => String::new(),
            place => format!("in `{place}`: "),
        };
        let rest = rest.strip_prefix(start).unwrap_or(rest);
        let (what, known) = match rest.split_once(", expected ") {
            Some((what, known)) => (what, known),
            None => (rest, ""),
        };
        let known = known.strip_prefix("one of ").unwrap_or(known);
        return match start {
            "missing field " => format!("{place}the field {what} is missing"),
            "duplicate field " => format!("{place}the field {what} stands there twice"),
            "unknown field " if known == "no field" || known == "there are no fields" => {
                format!("{place}there is no field {what}: leave it out")
            }
            "unknown field " => format!("{place}there is no field {what}: choose from {known}"),
            "unknown variant " => format!("{place}{what} is not known: choose from {known}"),
            _ if known.is_empty() => format!("{place}{start}{rest}"),
            _ => {
                let what = what.strip_prefix("type: ").or_else(|| what.strip_prefix("value: ")).unwrap_or(what);
                format!("{place}{known} is expected, not {what}")
            }
        };
    }
    said.to_owned()
}

/// `… at line 1 column 2` → `… in line 1, column 2`.
fn place_words(said: &str) -> String {
    match said.rsplit_once(" at line ").and_then(|(what, place)| Some((what, place.split_once(" column ")?))) {
        Some((what, (line, column))) => format!("{what} (line {line}, column {column})"),
        None => said.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parsers_words_become_ours() {
        for (said, words) in [
            ("missing field `id` at line 1 column 2", "the field `id` is missing"),
            (
                "reports[1].name: missing field `name` at line 3 column 9",
                "in `reports[1].name`: the field `name` is missing",
            ),
            (
                "unknown field `ids`, expected one of `id`, `reason` at line 1 column 9",
                "there is no field `ids`: choose from `id`, `reason`",
            ),
            (
                "command: unknown variant `stop`, expected one of `abort`, `retry` at line 1 column 30",
                "in `command`: `stop` is not known: choose from `abort`, `retry`",
            ),
            (
                "speed: invalid type: string \"x\", expected f64 at line 1 column 30",
                "in `speed`: f64 is expected, not string \"x\"",
            ),
            ("id: \"\" is no command id at line 1 column 2", "id: \"\" is no command id"),
        ] {
            assert_eq!(data_words(said), words);
        }
        assert_eq!(place_words("expected value at line 1 column 2"), "expected value (line 1, column 2)");
    }
}
