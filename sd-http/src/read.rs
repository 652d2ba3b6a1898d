//! Reads the bodies of requests, up to a limit.

use std::pin::pin;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;

use crate::error::ProtocolError;

/// The most octets of a request's body. A longer body is answered with 413.
pub const BODY_LIMIT: usize = 1024 * 1024;

/// The most octets that are read of a body whose request is refused.
const DROP_LIMIT: usize = 16 * BODY_LIMIT;

/// Reads a body. A body that is too long is read on, up to [`DROP_LIMIT`], and dropped: a client that is still
/// sending when the connection closes never sees the answer.
pub(crate) async fn read<B: Body>(body: B) -> Result<Bytes, ProtocolError> {
    let mut body = pin!(body);
    let mut kept = Bytes::new();
    let mut more = BytesMut::new();
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(ProtocolError::Incomplete);
        };
        let Ok(mut data) = frame.into_data() else { continue };
        let first = read == 0;
        read += data.remaining();
        if read > DROP_LIMIT {
            break;
        } else if read > BODY_LIMIT {
            more = BytesMut::new();
        } else if first {
            // Most bodies are one piece. It is not copied.
            kept = data.copy_to_bytes(data.remaining());
        } else {
            if more.is_empty() {
                more.extend_from_slice(&kept);
            }
            more.put(data);
        }
    }
    match read {
        0..=BODY_LIMIT if more.is_empty() => Ok(kept),
        0..=BODY_LIMIT => Ok(more.freeze()),
        _ => Err(ProtocolError::TooLarge(BODY_LIMIT)),
    }
}

/// Reads the body of a request that is refused, up to [`DROP_LIMIT`], and drops it: a client that is still
/// sending when the connection closes never sees the answer.
pub(crate) async fn discard<B: Body>(body: B) {
    let mut body = pin!(body);
    let mut read = 0;
    while read <= DROP_LIMIT
        && let Some(Ok(frame)) = body.frame().await
    {
        read += frame.data_ref().map_or(0, Buf::remaining);
    }
}
