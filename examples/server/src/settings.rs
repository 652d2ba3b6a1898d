//! What can be set: every flag is also a variable.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use sd_core::{
    Mode, Quotas, Scope, Timing,
    ids::{AccountId, Region},
};
use sd_dns::{Forwarder, SystemResolverError};

/// AWS Cloud Map in one process: the HTTP API, DNS for what is registered, and a registry in memory.
#[derive(Debug, Parser)]
#[command(name = "sd-server", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) settings: Settings,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print the exports that the AWS CLI and SDKs need to talk to a server with these settings, and nothing else.
    Env(Settings),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Settings {
    /// Where the HTTP API listens; localhost is both loopback addresses.
    #[arg(long, env = "SD_HTTP", value_name = "ADDR", default_value = "localhost:5373")]
    pub(crate) http: String,
    /// Where the admin port listens (GET /_sd/health, GET /_sd/dns, POST /_sd/reset).
    #[arg(long, env = "SD_ADMIN", value_name = "ADDR", default_value = "127.0.0.1:5374")]
    pub(crate) admin: String,
    /// Where DNS listens, UDP and TCP; several addresses with commas between them.
    #[arg(
        long,
        env = "SD_DNS",
        value_name = "ADDR",
        default_value = "127.0.0.1:8053",
        value_delimiter = ','
    )]
    pub(crate) dns: Vec<SocketAddr>,
    /// Who is asked for names that are in no namespace: addresses with commas between them, of port 53 unless they say
    /// otherwise, or `system` for the servers that this machine's programs ask. Without it such names are refused.
    #[arg(long, env = "SD_FORWARD", value_name = "ADDR", value_delimiter = ',')]
    pub(crate) forward: Vec<Upstream>,
    /// The account of requests that name none: 12 digits.
    #[arg(long, env = "SD_ACCOUNT", value_name = "ID", default_value = "123456789012", value_parser = AccountId::parse)]
    pub(crate) account: AccountId,
    /// The Region of requests that name none.
    #[arg(long, env = "SD_REGION", value_name = "NAME", default_value = "us-east-1", value_parser = Region::parse)]
    pub(crate) region: Region,
    /// How long operations and reports of health take: nothing at all, or about as long as AWS takes.
    #[arg(long, env = "SD_TIMING", value_name = "HOW", default_value = "instant")]
    pub(crate) timing: TimingChoice,
    /// How much an account may have and how often it may ask: as it likes, or as AWS lets it by default.
    #[arg(long, env = "SD_QUOTAS", value_name = "WHICH", default_value = "none")]
    pub(crate) quotas: QuotasChoice,
    /// Refuse whatever AWS refuses.
    #[arg(long, env = "SD_STRICT")]
    pub(crate) strict: bool,
}

/// Whom questions are forwarded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upstream {
    System,
    Address(SocketAddr),
}

impl FromStr for Upstream {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const PORT: u16 = 53;
        if text == "system" {
            return Ok(Self::System);
        }
        let address = text.parse().or_else(|_| text.parse().map(|ip: IpAddr| (ip, PORT).into()));
        address.map(Self::Address).map_err(|_| "neither an IP address, with or without :PORT, nor system")
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum TimingChoice {
    Instant,
    Aws,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum QuotasChoice {
    None,
    Aws,
}

impl Settings {
    /// Who is asked for names that are not ours; nobody unless it is wanted.
    pub(crate) fn forwarder(&self) -> Result<Option<Forwarder>, SystemResolverError> {
        let mut upstreams = Vec::new();
        for upstream in &self.forward {
            match upstream {
                Upstream::System => upstreams.extend(Forwarder::system()?.upstreams()),
                Upstream::Address(address) => upstreams.push(*address),
            }
        }
        Ok((!upstreams.is_empty()).then(|| Forwarder::new(upstreams)))
    }

    pub(crate) fn quotas(&self) -> Quotas {
        match self.quotas {
            QuotasChoice::None => Quotas::none(),
            QuotasChoice::Aws => Quotas::aws(),
        }
    }

    pub(crate) fn timing(&self) -> Timing {
        match self.timing {
            TimingChoice::Instant => Timing::instant(),
            TimingChoice::Aws => Timing::aws(),
        }
    }

    pub(crate) fn scope(&self) -> Scope {
        Scope::new(self.account.clone(), self.region.clone())
    }

    pub(crate) fn mode(&self) -> Mode {
        if self.strict { Mode::Strict } else { Mode::Lenient }
    }
}

/// The exports that a client needs, for a shell to evaluate.
pub(crate) struct Exports<'a> {
    pub(crate) settings: &'a Settings,
    /// Where the API listens, host and port.
    pub(crate) http: &'a str,
}

/// The address that reaches a server which listens on all addresses.
fn reachable(address: &str) -> String {
    match address.rsplit_once(':') {
        Some(("0.0.0.0" | "[::]", port)) => format!("localhost:{port}"),
        _ => address.to_owned(),
    }
}

impl fmt::Display for Exports<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { account, region, .. } = self.settings;
        let exports = [
            ("AWS_ENDPOINT_URL_SERVICEDISCOVERY", format!("http://{}", reachable(self.http))),
            // DiscoverInstances would go to data-localhost, which is no host.
            ("AWS_DISABLE_HOST_PREFIX_INJECTION", "true".to_owned()),
            // An access key of twelve digits is the account. Keys of another account are not sent here by mistake.
            ("AWS_ACCESS_KEY_ID", account.to_string()),
            ("AWS_SECRET_ACCESS_KEY", "none".to_owned()),
            ("AWS_REGION", region.to_string()),
            ("AWS_DEFAULT_REGION", region.to_string()),
        ];
        for (name, value) in exports {
            writeln!(f, "export {name}={value}")?;
        }
        Ok(())
    }
}
