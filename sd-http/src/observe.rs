//! Observes a request: its counters, its span, and the event of its end.

use std::{error::Error, sync::Arc};

use http::HeaderValue;
use sd_core::{Action, Scope};
use tracing::{Span, field};

use crate::{
    counters::{Counted, Outcome, RequestCounts},
    error::Failure,
    protocol::Protocol,
};

/// A request from its head until its answer is ready. Dropped before that, the request is canceled.
pub(crate) struct Observed {
    counted: Counted,
    span: Span,
    has_ended: bool,
}

impl Observed {
    /// Begins with the head of a request. `asked` is what the request is for, if it names an operation.
    pub(crate) fn begin(
        counts: &Arc<RequestCounts>,
        id: &HeaderValue,
        protocol: Protocol,
        asked: Option<(Action, &Scope)>,
    ) -> Self {
        let span = tracing::debug_span!(
            "request",
            id = text(id),
            operation = asked.map(|(action, _)| action.as_str()),
            scope = asked.map(|(_, scope)| field::display(scope)),
            protocol = protocol.as_str(),
            code = field::Empty,
            duration_us = field::Empty,
        );
        let counted = counts.begin(asked.map(|(action, _)| action), protocol);
        Self { counted, span, has_ended: false }
    }

    /// The span of the whole request. Its last event is that of the end.
    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// The answer is ready, and has this many octets.
    pub(crate) fn answered(mut self, octets: usize) {
        self.end(Outcome::Answered);
        tracing::debug!(octets, "answered");
    }

    /// The request is refused. The client is told neither the cause of an error nor where it happened, so both
    /// are logged as a warning, with the id that the client has.
    pub(crate) fn refused(mut self, failure: &Failure, id: &HeaderValue, asked: Option<(Action, &Scope)>) {
        let duration_us = self.end(failure.into());
        let cause = match failure {
            Failure::Api(error) => error.source(),
            Failure::Protocol(_) => None,
        };
        match cause {
            Some(cause) => tracing::warn!(
                id = text(id),
                operation = asked.map(|(action, _)| action.as_str()),
                scope = asked.map(|(_, scope)| field::display(scope)),
                code = failure.code(),
                duration_us,
                error = %failure,
                %cause,
                "request failed"
            ),
            None => tracing::debug!(error = %failure, "refused"),
        }
    }

    fn end(&mut self, outcome: Outcome) -> u64 {
        self.has_ended = true;
        let duration_us = self.counted.end(outcome);
        self.span.record("code", outcome.as_str()).record("duration_us", duration_us);
        duration_us
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        if !self.has_ended {
            self.end(Outcome::Canceled);
            tracing::debug!("canceled: the client left, or the server gave the request up");
        }
    }
}

fn text(id: &HeaderValue) -> &str {
    id.to_str().unwrap_or_default()
}
