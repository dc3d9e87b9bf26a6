//! Why a server function did not do it. A refusal is one thing, not being able to find out another.

use leptos::server_fn::error::{FromServerFnError, ServerFnErrorErr};
use serde::{Deserialize, Serialize};

use super::encoding::TextJson;

/// Said by the browser when nothing came back: what the server did is not known then.
const NO_ANSWER: &str = "the server did not answer";

/// Why a server function did not do it. The texts are shown on pages and hold no secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case", tag = "error", content = "detail")]
pub enum ApiError {
    /// Nobody is logged in.
    #[error("log in to see this")]
    NotLoggedIn,
    /// The role does not suffice.
    #[error("{0} may read only: commands need the role operator")]
    Forbidden(String),
    /// The form's token is not the session's: the page is from another session, or not ours.
    #[error("this page belongs to another session: load it again and repeat the command")]
    FormExpired,
    /// There is no such thing.
    #[error("there is no {0}")]
    NotFound(String),
    /// An argument is not what it must be.
    #[error("{0}")]
    Invalid(String),
    /// The state does not allow it.
    #[error("refused: {0}")]
    Refused(String),
    /// It could not be found out, or not be written down.
    #[error("{0}")]
    Unavailable(String),
}

impl ApiError {
    /// The HTTP status that says the same.
    pub fn status(&self) -> u16 {
        match self {
            Self::NotLoggedIn => 401,
            Self::Forbidden(_) | Self::FormExpired => 403,
            Self::NotFound(_) => 404,
            Self::Invalid(_) => 400,
            Self::Refused(_) => 409,
            Self::Unavailable(_) => 503,
        }
    }

    /// True when nothing came back at all.
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Unavailable(why) if why == NO_ANSWER)
    }

    /// True when the answer is no; false when there is no answer.
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Self::Unavailable(_))
    }

    /// The word that stands for it in a page's address after a plain form.
    pub fn word(&self) -> &'static str {
        match self {
            Self::NotLoggedIn => "not-logged-in",
            Self::Forbidden(_) => "forbidden",
            Self::FormExpired => "form-expired",
            Self::NotFound(_) => "not-found",
            Self::Invalid(_) => "invalid",
            Self::Refused(_) => "refused",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

impl FromServerFnError for ApiError {
    type Encoder = TextJson;

    fn from_server_fn_error(value: ServerFnErrorErr) -> Self {
        match value {
            ServerFnErrorErr::Args(why) | ServerFnErrorErr::Deserialization(why) => {
                Self::Invalid(format!("the request could not be read: {why}"))
            }
            ServerFnErrorErr::MissingArg(what) => Self::Invalid(format!("the request lacks {what}")),
            ServerFnErrorErr::Request(_) => Self::Unavailable(NO_ANSWER.to_owned()),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_cross_the_wire() {
        for e in [
            ApiError::NotLoggedIn,
            ApiError::Forbidden("dana".into()),
            ApiError::FormExpired,
            ApiError::NotFound("release a-1".into()),
            ApiError::Invalid("x".into()),
            ApiError::Refused("it is paused already".into()),
            ApiError::Unavailable("the store could not be read".into()),
        ] {
            assert_eq!(ApiError::de(e.ser()), e);
        }
    }
}
