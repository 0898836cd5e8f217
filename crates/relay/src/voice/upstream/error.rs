/// What went wrong with the upstream. None of these holds a word of what it said, in which the key may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It does not take the relay's key.
    Auth,
    /// It wants fewer requests; when it says so, after how many seconds again.
    Rate(Option<u64>),
    /// It does not take the offer or the session.
    Refused(u16),
    /// It is broken.
    Failed(u16),
    /// It sends elsewhere, which is not followed: the key would go along.
    Redirect,
    /// It does not answer in time.
    Timeout,
    /// It cannot be reached, or breaks off.
    Unreachable,
    /// Its certificate is not one to be trusted, or TLS does not come about.
    Tls,
    /// What it says cannot be understood.
    Malformed,
}

impl Trouble {
    /// By the status of an answer that is not a success.
    pub(super) fn of(status: u16, retry_after_s: Option<u64>) -> Self {
        match status {
            401 | 403 => Self::Auth,
            408 | 504 => Self::Timeout,
            429 => Self::Rate(retry_after_s),
            300..=399 => Self::Redirect,
            400..=499 => Self::Refused(status),
            500..=599 => Self::Failed(status),
            _ => Self::Malformed,
        }
    }

    /// Its stable code.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Auth => "upstream_auth",
            Self::Rate(_) => "rate_limit_exceeded",
            Self::Refused(_) => "upstream_refused",
            Self::Failed(_) => "upstream_failed",
            Self::Redirect => "upstream_redirect",
            Self::Timeout => "upstream_timeout",
            Self::Unreachable => "upstream_unreachable",
            Self::Tls => "upstream_tls",
            Self::Malformed => "upstream_malformed",
        }
    }

    /// Whether it may be otherwise in a moment.
    pub(super) fn passes(self) -> bool {
        matches!(
            self,
            Self::Rate(_) | Self::Failed(_) | Self::Timeout | Self::Unreachable
        )
    }

    /// The status that the relay answers with.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::Rate(_) => 429,
            Self::Refused(_) => 400,
            Self::Timeout => 504,
            _ => 502,
        }
    }

    /// What a person reads.
    pub(crate) fn message(self) -> String {
        match self {
            Self::Auth => "The upstream does not take this relay's API key; its operator has to set OPENAI_API_KEY.".into(),
            Self::Rate(_) => "The upstream wants fewer requests; try again later.".into(),
            Self::Refused(status) => format!(
                "The upstream does not take this offer or session (status {status}); check the model and the offer."
            ),
            Self::Failed(status) => {
                format!("The upstream failed (status {status}); try again later.")
            }
            Self::Redirect => "The upstream answers with a redirect, which is not followed; its operator has to correct OPENAI_BASE_URL.".into(),
            Self::Timeout => "The upstream did not answer in time; try again later.".into(),
            Self::Unreachable => "The upstream cannot be reached, or broke off; try again later.".into(),
            Self::Tls => "The upstream's certificate cannot be trusted; --upstream-ca names the authorities.".into(),
            Self::Malformed => "The upstream's answer cannot be understood.".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_sorted() {
        for (status, code, ours) in [
            (401, "upstream_auth", 502),
            (403, "upstream_auth", 502),
            (429, "rate_limit_exceeded", 429),
            (404, "upstream_refused", 400),
            (400, "upstream_refused", 400),
            (302, "upstream_redirect", 502),
            (500, "upstream_failed", 502),
            (504, "upstream_timeout", 504),
            (204, "upstream_malformed", 502),
        ] {
            let trouble = Trouble::of(status, None);
            assert_eq!((trouble.code(), trouble.status()), (code, ours), "{status}");
        }
    }
}
