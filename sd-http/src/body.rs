//! Bodies of requests and responses, whose octets count while they take memory.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use sd_net::{Busy, Connection, Held};

use crate::{activity::InProgress, read::BODY_LIMIT};

/// The body of a request, as an [`HttpServer`](crate::HttpServer) gives it to its service.
///
/// A service reads it as any [`Body`] and has nothing else to do. Its octets count in the server's
/// [`Limits`](crate::Limits) until the request is answered.
#[derive(Debug)]
pub struct RequestBody {
    body: Incoming,
    upload: Arc<Upload>,
    read: usize,
}

/// The octets that a request holds until it is answered: those of its body.
#[derive(Debug)]
pub(crate) struct Upload {
    connection: Connection,
    state: Mutex<(Option<Held>, Option<Busy>)>,
}

impl Upload {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection, state: Mutex::default() }
    }

    /// The most octets that a service may keep of the body.
    pub(crate) fn octets(body: &Incoming) -> usize {
        let most = body.size_hint().upper().and_then(|most| usize::try_from(most).ok());
        most.map_or(BODY_LIMIT, |most| most.min(BODY_LIMIT))
    }

    /// The body is being read.
    pub(crate) fn begin(&self, held: Held) {
        let whole = held.octets() == 0;
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0 = Some(held);
        if whole {
            self.end(0);
        }
    }

    /// The body is read, and had `read` octets. From now on the client waits for the service.
    fn end(&self, read: usize) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (held, busy) = &mut *state;
        if let Some(held) = held
            && busy.is_none()
        {
            held.shrink_to(read);
            *busy = Some(self.connection.busy());
        }
    }
}

impl RequestBody {
    pub(crate) fn new(body: Incoming, upload: Arc<Upload>) -> Self {
        Self { body, upload, read: 0 }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            self.read += frame.data_ref().map_or(0, Bytes::len);
        }
        if frame.is_none() || self.body.is_end_stream() {
            self.upload.end(self.read);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.upload.end(self.read);
    }
}

/// The body of the service's response, or of the server's own.
pub(crate) type Answer<B> = Either<B, Full<Bytes>>;

pin_project! {
    /// The body of a response. Its octets count, and the request is in progress, until the last octet is
    /// written.
    pub(crate) struct ResponseBody<B> {
        #[pin]
        body: Answer<B>,
        // Octets that were not taken out of the body yet.
        rest: Held,
        in_progress: Arc<InProgress>,
    }
}

/// A piece of a response. It counts wherever it waits to be written.
struct Piece {
    data: Bytes,
    _held: Held,
    _in_progress: Arc<InProgress>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl<B> ResponseBody<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    pub(crate) fn new(body: Answer<B>, mut in_progress: InProgress) -> Self {
        in_progress.has_response();
        let octets = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        let rest = in_progress.connection().hold(octets);
        Self { body, rest, in_progress: Arc::new(in_progress) }
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(context));
        let counted = |data: Bytes| match data.len() {
            0 => data,
            octets => Bytes::from_owner(Piece {
                data,
                _held: this.rest.split(octets),
                _in_progress: Arc::clone(this.in_progress),
            }),
        };
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(counted))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
