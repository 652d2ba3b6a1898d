//! `sd-server probe`: asks the admin port of a running server for a probe now, and prints its phases.

use std::io;

use clap::Args;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::{
    Request, StatusCode, Uri,
    body::Bytes,
    header::{ACCEPT, HOST},
};
use hyper_util::rt::TokioIo;
use sd_core::model::{AccountId, Region};
use tokio::net::TcpStream;

use crate::listen::Listen;

/// The most octets of an answer: those of the most instances have less.
const ANSWER_LIMIT: usize = 1 << 20;

#[derive(Clone, Debug, Args)]
pub(crate) struct Probe {
    /// The service: an id, an ARN, NAME.NAMESPACE, or a name that only one service has.
    service: String,
    /// The instance's id. Without it, the first 100 instances of the service are probed, in the order of their ids.
    instance: Option<String>,
    /// Address of the server's admin port.
    #[arg(long, env = "SD_ADMIN", value_name = "ADDR", default_value = "127.0.0.1:5374")]
    admin: Listen,
    /// Account of the service [default: the server's]
    #[arg(long, env = "SD_ACCOUNT", value_name = "ID", value_parser = AccountId::parse)]
    account: Option<AccountId>,
    /// Region of the service [default: the server's]
    #[arg(long, env = "SD_REGION", value_name = "NAME", value_parser = Region::parse)]
    region: Option<Region>,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeError {
    #[error("cannot connect to the admin port of a server at {0}: {1}")]
    Connect(String, io::Error),
    #[error("no answer from the admin port at {0}: {1}")]
    Answer(String, Box<dyn std::error::Error + Send + Sync>),
    #[error("{0}")]
    Refused(String),
}

impl Probe {
    /// The results, as text for people.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    #[tokio::main(flavor = "current_thread")]
    pub(crate) async fn run(&self) -> Result<String, ProbeError> {
        let admin = self.admin.to_string();
        let answer =
            |error: Box<dyn std::error::Error + Send + Sync>| ProbeError::Answer(admin.clone(), error);
        let stream =
            TcpStream::connect(&admin).await.map_err(|error| ProbeError::Connect(admin.clone(), error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| answer(error.into()))?;
        let connection = tokio::spawn(connection);
        let request = Request::post(self.uri().map_err(|error| answer(error.into()))?)
            .header(HOST, &admin)
            .header(ACCEPT, "text/plain")
            .body(Empty::<Bytes>::new())
            .map_err(|error| answer(error.into()))?;
        let response = sender.send_request(request).await.map_err(|error| answer(error.into()))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await.map_err(|error| {
            answer(if error.is::<LengthLimitError>() { "the answer is too long".into() } else { error })
        })?;
        connection.abort();
        let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        match status {
            StatusCode::OK => Ok(text),
            _ if text.is_empty() => {
                Err(ProbeError::Refused(format!("the server at {admin} answers {status}")))
            }
            _ => Err(ProbeError::Refused(text.trim_end().to_owned())),
        }
    }

    fn uri(&self) -> Result<Uri, hyper::http::Error> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("service", &self.service).append_pair("limit", "100");
        if let Some(instance) = &self.instance {
            query.append_pair("instance", instance);
        }
        if let Some(account) = &self.account {
            query.append_pair("account", account.as_str());
        }
        if let Some(region) = &self.region {
            query.append_pair("region", region.as_str());
        }
        Uri::builder().path_and_query(format!("/_sd/probe?{}", query.finish())).build()
    }
}
