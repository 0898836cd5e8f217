//! Who is there: `connected`, `auth`, its renewal, as on the orders socket.

use super::super::super::grant::{self, Grant, Terms};
use super::super::super::session::Claims;
use super::super::super::{Moment, Token};
use super::{Code, Denied, Live, Phase, Stream, StreamOutput, Timer, Told};
use tautline_protocol::limits::{self, hit};
use tautline_protocol::request::{self, Refused, Request};
use tautline_protocol::{AuthCode, CloseCode, rfc3339, server_frame};

const NOT_THE_ROLE: &str =
    "the token's role may not hold a call here; the voice policy names those that may";

impl Stream {
    pub(super) fn opened(&mut self, at: Moment) {
        if !matches!(self.phase, Phase::Opening) {
            return;
        }
        let max = self.config.limits.max_message;
        let frame = server_frame::connected(self.config.heartbeat_ms, max, &rfc3339(at.wall_ms));
        self.out.push_back(StreamOutput::Send(frame));
        self.timers.set(Timer::Auth, at.now + limits::AUTH_MS);
        self.phase = Phase::Greeted;
    }

    /// The first message must be `auth`.
    pub(super) fn first(&mut self, text: &str) {
        let first = request::parse(text, false).map(|mut requests| requests.pop());
        if let Err(Refused {
            limit: Some(limit), ..
        }) = &first
        {
            self.hits.hit(limit);
        }
        let Ok(Some(Ok(Request::Auth(auth)))) = first else {
            return self.close(CloseCode::POLICY, "the first message must be auth");
        };
        self.out.push_back(StreamOutput::Verify {
            token: Token::new(auth.token),
            restaurant_id: auth.restaurant_id.clone(),
        });
        self.phase = Phase::Admitting(auth.restaurant_id);
    }

    pub(super) fn verified(&mut self, claims: Result<Claims, Denied>, at: Moment) {
        match &mut self.phase {
            Phase::Admitting(wanted) => {
                let wanted = wanted.take();
                let admitted = claims.and_then(|claims| {
                    Grant::admit(claims, wanted.as_deref(), at.now).map_err(Denied::Auth)
                });
                match admitted {
                    Ok(grant) => {
                        self.timers.clear(Timer::Auth);
                        self.succeed(&grant, false, at);
                        self.phase = Phase::Live(Box::new(Live {
                            grant,
                            renewing: None,
                            renewed: None,
                            starting: None,
                            session: None,
                        }));
                    }
                    Err(denied) => {
                        let (frame, code, reason) = match denied {
                            Denied::Auth(code) => (
                                grant::refusal(code, false, at.wall_ms),
                                grant::close_code(code),
                                code.as_str(),
                            ),
                            Denied::Role => (
                                server_frame::auth_failed(
                                    AuthCode::RestaurantForbidden,
                                    NOT_THE_ROLE,
                                    false,
                                    &rfc3339(at.wall_ms),
                                ),
                                CloseCode::FORBIDDEN,
                                AuthCode::RestaurantForbidden.as_str(),
                            ),
                        };
                        self.out.push_back(StreamOutput::Send(frame));
                        self.close(code, reason);
                    }
                }
            }
            Phase::Live(live) => {
                let Some(wanted) = live.renewing.take() else {
                    return;
                };
                let claims = claims.map_err(|denied| match denied {
                    Denied::Auth(code) => code,
                    Denied::Role => AuthCode::RestaurantForbidden,
                });
                match live.grant.renew(claims, wanted.as_deref(), at.now) {
                    Ok(grant) => {
                        self.succeed(&grant, true, at);
                        if let Phase::Live(live) = &mut self.phase {
                            live.grant = grant;
                        }
                    }
                    // Never closes: the token in use is still good.
                    Err(code) => {
                        let frame = grant::refusal(code, true, at.wall_ms);
                        self.out.push_back(StreamOutput::Send(frame));
                    }
                }
            }
            Phase::Opening | Phase::Greeted | Phase::Closed => {}
        }
    }

    fn succeed(&mut self, grant: &Grant, renewal: bool, at: Moment) {
        let terms = Terms {
            v1: false,
            renewal,
            place: None,
            limits: self.config.limits,
            spread_ms: limits::RECONNECT_SPREAD_MS,
        };
        let frame = grant.success(&terms, at.now, at.wall_ms);
        self.out.push_back(StreamOutput::Send(frame));
        let ends = grant.expires + limits::TOKEN_LEEWAY_MS;
        self.timers.set(Timer::Expiry, ends);
    }

    pub(super) fn renew(&mut self, text: &str, at: Moment) {
        let Phase::Live(live) = &mut self.phase else {
            return;
        };
        let Ok(Some(Ok(Request::Auth(auth)))) =
            request::parse(text, false).map(|mut requests| requests.pop())
        else {
            let what = "An auth event has a token.";
            return self.error(Told::new(Code::Unknown, what), at);
        };
        let soon = live
            .renewed
            .is_some_and(|last| at.now - last < limits::RENEWAL_EVERY_MS);
        if soon || live.renewing.is_some() {
            self.hits.hit(hit::RENEWAL_RATE);
            let what = "A token is renewed at most every 10 s.";
            return self.error(Told::new(Code::Rate, what), at);
        }
        live.renewed = Some(at.now);
        live.renewing = Some(auth.restaurant_id);
        let restaurant_id = Some(live.grant.restaurant_id.clone());
        self.out.push_back(StreamOutput::Verify {
            token: Token::new(auth.token),
            restaurant_id,
        });
    }
}
