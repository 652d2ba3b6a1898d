//! Command line and environment. Every flag is also a variable.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use sd_core::{
    CloudMap, Mode, Quotas, Scope, Timing,
    model::{AccountId, HealthStart, Region},
};
use sd_dns::{Forwarder, SystemResolverError};
use sd_http::{
    Origin,
    health_checks::{MIN_INTERVAL, Prober},
};

use crate::{listen::Listen, probe::Probe};

const LOG: &str =
    "SD_LOG sets the log level, such as debug, or a filter, such as sd_dns=debug,warn [default: warn]";

/// AWS Cloud Map in one process: the HTTP API, DNS, and a registry in memory.
#[derive(Debug, Parser)]
#[command(name = "sd-server", version, args_conflicts_with_subcommands = true, after_help = LOG)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) settings: Settings,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print the shell exports that the AWS CLI and SDKs need to reach a server with these settings.
    Env(Settings),
    /// Probe the instances of a service of a running server now, and print how long each phase took. The results do not
    /// count.
    Probe(Probe),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Settings {
    /// Address of the HTTP API: HOST:PORT, or :PORT for localhost, which is 127.0.0.1 and ::1. Port 0 is any
    /// free port.
    #[arg(long, env = "SD_HTTP", value_name = "ADDR", default_value = "localhost:5373")]
    pub(crate) http: Listen,
    /// Address of the admin port: GET /_sd/health, /_sd/ready, /_sd/dns, /_sd/http,
    /// /_sd/health-checks; POST /_sd/probe, /_sd/reset.
    #[arg(long, env = "SD_ADMIN", value_name = "ADDR", default_value = "127.0.0.1:5374")]
    pub(crate) admin: Listen,
    /// Addresses of DNS, UDP and TCP, separated by commas.
    #[arg(
        long,
        env = "SD_DNS",
        value_name = "ADDR",
        default_value = "127.0.0.1:8053",
        value_delimiter = ','
    )]
    pub(crate) dns: Vec<Listen>,
    /// Upstream resolvers for all other names, separated by commas: `IP[:PORT]`, or `system` for
    /// /etc/resolv.conf. Unset: REFUSED.
    #[arg(long, env = "SD_FORWARD", value_name = "ADDR", value_delimiter = ',')]
    pub(crate) forward: Vec<Upstream>,
    /// Account of requests without an access key of 12 digits.
    #[arg(
        long,
        env = "SD_ACCOUNT",
        value_name = "ID",
        default_value = "123456789012",
        value_parser = AccountId::parse
    )]
    pub(crate) account: AccountId,
    /// Region of requests without a signature.
    #[arg(
        long,
        env = "SD_REGION",
        value_name = "NAME",
        default_value = "us-east-1",
        value_parser = Region::parse
    )]
    pub(crate) region: Region,
    /// Time until operations finish and health reports take effect: none, or about that of AWS.
    #[arg(long, env = "SD_TIMING", value_name = "HOW", default_value = "instant")]
    pub(crate) timing: TimingChoice,
    /// Time between health checks of an instance, such as 500ms or 10s: 100ms or more [default: 1s, or 30s with --timing aws]
    #[arg(long, env = "SD_HEALTH_INTERVAL", value_name = "TIME", value_parser = health_interval)]
    pub(crate) health_interval: Option<Duration>,
    /// Status of an instance before its first health check. As at AWS it is healthy; the others keep traffic away until the
    /// check succeeds.
    #[arg(long, env = "SD_HEALTH_START", value_name = "STATUS", default_value = "healthy")]
    pub(crate) health_start: HealthStartChoice,
    /// Do not check the health of instances: they keep the status that they have.
    #[arg(long, env = "SD_NO_HEALTH_CHECKS")]
    pub(crate) no_health_checks: bool,
    /// Let health checks ask link-local addresses, such as that of the metadata of a machine in a cloud.
    #[arg(long, env = "SD_PROBE_LINK_LOCAL")]
    pub(crate) probe_link_local: bool,
    /// Service quotas and throttling: none, or AWS defaults.
    #[arg(long, env = "SD_QUOTAS", value_name = "WHICH", default_value = "none")]
    pub(crate) quotas: QuotasChoice,
    /// Origins of browser pages that may call, besides loopback, separated by commas: `SCHEME://HOST[:PORT]`.
    #[arg(long, env = "SD_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    pub(crate) allow_origin: Vec<Origin>,
    /// Refuse every request that AWS refuses.
    #[arg(long, env = "SD_STRICT")]
    pub(crate) strict: bool,
}

/// A value of `--forward`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// The resolvers of `/etc/resolv.conf`.
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
        address.map(Self::Address).map_err(|_| "expected IP, IP:PORT, [IPv6]:PORT or system")
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum TimingChoice {
    Instant,
    Aws,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum HealthStartChoice {
    Healthy,
    Unhealthy,
    Unknown,
}

/// A time of at least [`MIN_INTERVAL`].
fn health_interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if interval < MIN_INTERVAL {
        return Err(format!("expected at least {}", humantime::format_duration(MIN_INTERVAL)));
    }
    Ok(interval)
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum QuotasChoice {
    None,
    Aws,
}

impl Settings {
    /// The forwarder to the upstream resolvers, or `None` without `--forward`.
    ///
    /// # Errors
    /// `--forward system`, and `/etc/resolv.conf` cannot be read.
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
        let timing = match self.timing {
            TimingChoice::Instant => Timing::instant(),
            TimingChoice::Aws => Timing::aws(),
        };
        match self.health_interval {
            Some(interval) => timing.with_health_check_interval(interval),
            None => timing,
        }
    }

    pub(crate) fn health_start(&self) -> HealthStart {
        match self.health_start {
            HealthStartChoice::Healthy => HealthStart::Healthy,
            HealthStartChoice::Unhealthy => HealthStart::Unhealthy,
            HealthStartChoice::Unknown => HealthStart::Unknown,
        }
    }

    /// The prober, not started, unless health is not checked.
    pub(crate) fn prober(&self, cloud_map: &CloudMap) -> Option<Prober> {
        let prober = (!self.no_health_checks).then(|| Prober::new(cloud_map.clone()))?;
        Some(if self.probe_link_local { prober.with_link_local() } else { prober })
    }

    pub(crate) fn scope(&self) -> Scope {
        Scope::new(self.account.clone(), self.region.clone())
    }

    pub(crate) fn mode(&self) -> Mode {
        if self.strict { Mode::Strict } else { Mode::Lenient }
    }
}

/// The shell exports that a client needs.
pub(crate) struct Exports<'a> {
    pub(crate) settings: &'a Settings,
    /// The address of the API, with the port that it has.
    pub(crate) http: &'a Listen,
}

/// An address at which clients on this machine reach a server.
fn reachable(listen: &Listen) -> Listen {
    match listen {
        Listen::Address(address) if address.ip().is_unspecified() => Listen::Localhost(address.port()),
        listen => listen.clone(),
    }
}

impl fmt::Display for Exports<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { account, region, .. } = self.settings;
        let exports = [
            ("AWS_ENDPOINT_URL_SERVICEDISCOVERY", format!("http://{}", reachable(self.http))),
            // Otherwise DiscoverInstances goes to data-localhost, which does not resolve.
            ("AWS_DISABLE_HOST_PREFIX_INJECTION", "true".to_owned()),
            // An access key of twelve digits is the account. Real keys are not sent here by mistake.
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
