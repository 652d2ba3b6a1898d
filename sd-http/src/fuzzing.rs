//! The decoders, for fuzz targets.

use std::fmt::Debug;

use sd_core::{Action, request};

#[cfg(feature = "health-checks")]
use crate::health_checks::head::Head;
use crate::{
    protocol::Protocol,
    wire::request::{FromWire, Sent},
};

/// Reads a JSON body as a request of every operation. Returns whether any operation takes it.
///
/// A request that is read, written in either protocol, and read again must be the same.
///
/// # Errors
/// The two differ.
pub fn json(body: &[u8]) -> Result<bool, String> {
    read_all(Protocol::Json, body)
}

/// As [`json`], with a CBOR body.
///
/// # Errors
/// As for [`json`].
pub fn cbor(body: &[u8]) -> Result<bool, String> {
    read_all(Protocol::Cbor, body)
}

/// Reads a JSON body as a request of every operation, as a server does. Returns how many operations take it.
#[must_use]
pub fn decoded_json(body: &[u8]) -> usize {
    decoded_all(Protocol::Json, body)
}

/// As [`decoded_json`], with a CBOR body.
#[must_use]
pub fn decoded_cbor(body: &[u8]) -> usize {
    decoded_all(Protocol::Cbor, body)
}

fn read_all(protocol: Protocol, body: &[u8]) -> Result<bool, String> {
    Action::ALL.iter().try_fold(false, |any, action| Ok(read(*action, protocol, body)? || any))
}

fn decoded_all(protocol: Protocol, body: &[u8]) -> usize {
    Action::ALL.iter().filter(|action| decoded(**action, protocol, body)).count()
}

/// Reads the head of a response to a health check. Returns the status, or `None` if the head is not complete.
///
/// # Errors
/// It is malformed.
#[cfg(feature = "health-checks")]
pub fn read_head(octets: &[u8]) -> Result<Option<u16>, String> {
    Head::default().receive(octets).map_err(|failure| failure.to_string())
}

/// Reads the head of a response whole, in two parts, and octet by octet. Returns whether it is complete.
///
/// # Errors
/// The results differ. What comes after an error does not matter, so that parts may fail earlier.
#[cfg(feature = "health-checks")]
pub fn head(octets: &[u8]) -> Result<bool, String> {
    let parts = |cuts: &mut dyn Iterator<Item = &[u8]>| {
        let mut head = Head::default();
        cuts.map(|part| head.receive(part)).find(|told| *told != Ok(None)).unwrap_or(Ok(None))
    };
    let whole = Head::default().receive(octets);
    let (first, second) = octets.split_at(octets.len() / 2);
    let halves = parts(&mut [first, second].into_iter());
    let single = parts(&mut octets.chunks(1));
    if whole != halves || whole != single {
        return Err(format!("whole {whole:?}, in halves {halves:?}, octet by octet {single:?}"));
    }
    Ok(matches!(whole, Ok(Some(_))))
}

macro_rules! read {
    (
        write { $($write:ident $wm:ident $wq:ident => $wr:ty: $wp:path,)* }
        read { $($read:ident $rm:ident $rq:ident => $rr:ty: $rp:path,)* }
    ) => {
        fn read(action: Action, protocol: Protocol, body: &[u8]) -> Result<bool, String> {
            match action {
                $(Action::$write => round_trip::<request::$wq>(protocol, body),)*
                $(Action::$read => round_trip::<request::$rq>(protocol, body),)*
            }
        }

        fn decoded(action: Action, protocol: Protocol, body: &[u8]) -> bool {
            match action {
                $(Action::$write => can_be::<request::$wq>(protocol, body),)*
                $(Action::$read => can_be::<request::$rq>(protocol, body),)*
            }
        }
    };
}

sd_core::for_each_action!(read);

fn round_trip<T: FromWire + Debug + PartialEq>(protocol: Protocol, body: &[u8]) -> Result<bool, String> {
    let Ok(wire) = protocol.decode(body) else { return Ok(false) };
    let request = T::from_wire(wire);
    for protocol in [Protocol::Json, Protocol::Cbor] {
        let written = protocol.encode(&Sent(&request)).map_err(|error| format!("{request:?}: {error}"))?;
        match protocol.decode(&written).map(T::from_wire) {
            Ok(again) if again == request => {}
            again => {
                return Err(format!("{request:?} is {written:02x?} in {protocol:?}, and that is {again:?}"));
            }
        }
    }
    Ok(true)
}

fn can_be<T: FromWire>(protocol: Protocol, body: &[u8]) -> bool {
    protocol.decode(body).map(T::from_wire).is_ok()
}
