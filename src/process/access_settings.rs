//! What can be set about who may ask.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::quantity::number;
use super::usage::Objection;
use crate::service::access::addresses::AddressRules;
use crate::service::access::rate_limit::RateLimit;
use crate::service::access::tokens::Tokens;
use crate::service::access::users::Users;
use crate::service::access::{Realm, Rules, Scoped};

/// Who may ask, and how often.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Access")]
pub struct AccessSettings {
    /// Ask for a user and a password that are in FILE, made by htpasswd -B
    #[arg(long, value_name = "FILE", env = "TIDEMILL_BASIC_AUTH", hide_env = true)]
    basic_auth: Option<PathBuf>,

    /// What browsers show when they ask for a password [default: restricted]
    #[arg(long, value_name = "TEXT", env = "TIDEMILL_REALM", hide_env = true)]
    realm: Option<Realm>,

    /// Ask for a bearer token that is in FILE, a token or its SHA-256 a line; with --basic-auth either is enough
    #[arg(long, value_name = "FILE", env = "TIDEMILL_BEARER_TOKENS", hide_env = true)]
    bearer_tokens: Option<PathBuf>,

    /// Clients that may ask, and no others: ADDRESS | 10.0.0.0/8 | unix | all; repeatable, or separated by commas
    #[arg(long, value_name = "RANGE", env = "TIDEMILL_ALLOW", hide_env = true, value_delimiter = ',')]
    allow: Vec<String>,

    /// Clients that may not ask, as with --allow; the most specific range decides
    #[arg(long, value_name = "RANGE", env = "TIDEMILL_DENY", hide_env = true, value_delimiter = ',')]
    deny: Vec<String>,

    /// Requests of each client: RATE/s, /m or /h, then burst=N and by=FIELD if wanted, such as '10/s burst=20'
    #[arg(long, value_name = "RATE", env = "TIDEMILL_RATE_LIMIT", hide_env = true)]
    rate_limit: Option<RateLimit>,

    /// Connections of each client that have requests in progress, 1 to 1000000
    #[arg(
        long, value_name = "N", env = "TIDEMILL_MAX_CONNECTIONS_PER_CLIENT", hide_env = true,
        value_parser = number(1..=1_000_000)
    )]
    max_connections_per_client: Option<u32>,
}

/// Files that were read already: many routes may name the same.
#[derive(Default)]
pub(super) struct ReadFiles {
    users: HashMap<PathBuf, Arc<Users>>,
    tokens: HashMap<PathBuf, Arc<Tokens>>,
}

/// Where the rules that count are written: what has the same scope counts together.
#[derive(Debug, Clone, Default)]
pub struct Scopes {
    /// That of `rate-limit`.
    pub rate: String,
    /// That of `max-connections-per-client`.
    pub connections: String,
}

impl AccessSettings {
    /// What no single value shows.
    pub(super) fn check(&self) -> Result<(), Objection> {
        self.addresses().map(|_| ())
    }

    /// The same where all of them stand in one table, and nothing beneath it can have what the realm is for.
    pub(super) fn check_alone(&self) -> Result<(), Objection> {
        self.check()?;
        if self.realm.is_some() && !self.asks_for_credentials() {
            return Err(Objection::to_argument("realm", "needs --basic-auth or --bearer-tokens"));
        }
        Ok(())
    }

    fn addresses(&self) -> Result<Option<AddressRules>, Objection> {
        if self.allow.is_empty() && self.deny.is_empty() {
            return Ok(None);
        }
        let allow = (!self.allow.is_empty()).then_some(&self.allow[..]);
        AddressRules::new(allow, &self.deny).map(Some).map_err(|error| {
            let list = if error.list == "allow" { &self.allow } else { &self.deny };
            Objection::new(error.list, list.get(error.index).map_or("", String::as_str), error.what.clone())
        })
    }

    /// The files of users and tokens.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.basic_auth.iter().chain(&self.bearer_tokens).map(PathBuf::as_path)
    }

    /// Whether a file of users or tokens is read for them.
    pub(super) fn asks_for_credentials(&self) -> bool {
        self.files().next().is_some()
    }

    /// Reads what they name; `None`: everybody may ask. May block. The error is one line for the user.
    pub(super) fn read(&self, scopes: &Scopes, files: &mut ReadFiles) -> Result<Option<Rules>, String> {
        let scoped = |scope: &str| Arc::<str>::from(scope);
        let addresses = self.addresses().map_err(|objection| objection.to_string())?;
        let users = match &self.basic_auth {
            Some(path) => Some(read_once(&mut files.users, path, |path| Users::read(path))?),
            None => None,
        };
        let tokens = match &self.bearer_tokens {
            Some(path) => Some(read_once(&mut files.tokens, path, |path| Tokens::read(path))?),
            None => None,
        };
        let rate = self.rate_limit.clone().map(|rule| Scoped { scope: scoped(&scopes.rate), rule });
        let connections_max =
            self.max_connections_per_client.map(|rule| Scoped { scope: scoped(&scopes.connections), rule });
        let asks =
            addresses.is_some() || users.is_some() || tokens.is_some() || rate.is_some() || connections_max.is_some();
        let realm = self.realm.clone().unwrap_or_default();
        let addresses = addresses.map(Arc::new);
        Ok(asks.then_some(Rules { addresses, connections_max, rate, users, tokens, realm }))
    }
}

/// What was made of the file at this path, or is made of it now.
fn read_once<T, E: std::fmt::Display>(
    known: &mut HashMap<PathBuf, Arc<T>>,
    path: &PathBuf,
    read: impl FnOnce(&PathBuf) -> Result<T, E>,
) -> Result<Arc<T>, String> {
    if let Some(known) = known.get(path) {
        return Ok(Arc::clone(known));
    }
    let made = Arc::new(read(path).map_err(|error| error.to_string())?);
    known.insert(path.clone(), Arc::clone(&made));
    Ok(made)
}
