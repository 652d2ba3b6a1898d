//! The account and Region that a request is for.

use http::{HeaderMap, header::AUTHORIZATION};
use sd_core::{
    Scope,
    model::{AccountId, Region},
};

/// The account and Region of a request, set by a host that knows them better than the signature does.
///
/// The host puts it into the request's extensions. Without it, the credential scope of the signature gives the Region, and an
/// access key of twelve digits the account. The service's default scope gives whatever is missing. Signatures are never
/// verified.
///
/// ```
/// use sd_core::Scope;
/// use sd_http::Caller;
///
/// let mut request = http::Request::new("{}");
/// request.extensions_mut().insert(Caller::new(Scope::parse("210987654321", "eu-west-1").unwrap()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Caller {
    /// The account and Region of the request's resources.
    pub scope: Scope,
}

impl Caller {
    /// A caller in this account and Region.
    #[must_use]
    pub fn new(scope: Scope) -> Self {
        Self { scope }
    }
}

/// The parts of `Credential=<access key>/<date>/<region>/<service>/aws4_request` in an `Authorization` header (Signature
/// Version 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CredentialScope<'a> {
    pub(crate) access_key: &'a str,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
}

impl<'a> CredentialScope<'a> {
    pub(crate) fn of(headers: &'a HeaderMap) -> Option<Self> {
        let header = headers.get(AUTHORIZATION)?.as_bytes();
        let ends = |octet: &u8| matches!(octet, b',' | b' ');
        let credential = match header.strip_prefix(b"AWS4-HMAC-SHA256 Credential=") {
            // The common form: the rest of the header, which is long, is not read.
            Some(rest) => rest.split(ends).next()?,
            None => header.split(ends).find_map(|part| part.strip_prefix(b"Credential="))?,
        };
        // Read from the end, because only an access key may contain slashes.
        let mut parts = credential.rsplitn(5, |octet| *octet == b'/').skip(1);
        let (service, region, _date, access_key) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let text = |part| str::from_utf8(part).ok();
        let (service, region, access_key) = (text(service)?, text(region)?, text(access_key)?);
        Some(Self { access_key, region, service })
    }
}

/// The scope of a request without a [`Caller`].
pub(crate) fn scope_of(headers: &HeaderMap, default: &Scope) -> Scope {
    let Some(credential) = CredentialScope::of(headers) else {
        return default.clone();
    };
    let same = credential.region == default.region().as_str();
    match (AccountId::parse(credential.access_key), same) {
        (Err(_), true) => default.clone(),
        (Ok(account), true) if account == *default.account() => default.clone(),
        (account, _) => {
            let region = Region::parse(credential.region).unwrap_or_else(|_| default.region().clone());
            Scope::new(account.unwrap_or_else(|_| default.account().clone()), region)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(authorization: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, authorization.parse().unwrap());
        scope_of(&headers, &Scope::default()).to_string()
    }

    #[test]
    fn the_credential_scope_gives_region_and_account() {
        let signed = |credential: &str| {
            scope(&format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=00"))
        };
        assert_eq!(
            signed("AKIDEXAMPLE/20200913/eu-west-1/servicediscovery/aws4_request"),
            "123456789012/eu-west-1"
        );
        assert_eq!(
            signed("210987654321/20200913/us-east-1/servicediscovery/aws4_request"),
            "210987654321/us-east-1"
        );
        assert_eq!(signed("a/b/20200913/us-east-2/servicediscovery/aws4_request"), "123456789012/us-east-2");
    }

    #[test]
    fn an_unreadable_signature_leaves_the_default() {
        for header in
            ["", "Bearer x", "AWS4-HMAC-SHA256 Credential=", "AWS4-HMAC-SHA256 Credential=a/b/C D/e/f"]
        {
            assert_eq!(scope(header), "123456789012/us-east-1", "{header}");
        }
    }
}
